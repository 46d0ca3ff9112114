// A control plane that is killed in the middle of changes: whatever it acknowledged is in the audit log, tokens are there, and
// the chain is whole.

import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { type AuditEntry, firstBroken } from '../../control-plane/core/audit.ts';
import { createSqliteAccessStore } from '../../control-plane/store/sqlite-access-store.ts';
import { type Ack, writeOnce } from '../support/acknowledged-writes.ts';
import { ask } from '../support/control-plane-client.ts';
import { startControlPlaneProcess } from '../support/control-plane-process.ts';
import { temporaryFolder } from '../support/processes.ts';

const KILLS = 8;
const WRITERS = 3;
const digest = (text: string) => createHash('sha256').update(text).digest('hex');

t.test(`over ${KILLS} kills no acknowledged change is missing in the log`, { timeout: 120_000 }, async (t) => {
  const folder = temporaryFolder(t);
  const store = { sqlite: `${folder}/policies.db` };
  const acks: Ack[] = [];
  const made: string[] = [];
  for (let life = 0; life < KILLS; life++) {
    const { url, process } = await startControlPlaneProcess(t, { folder, store });
    // Each until the process is dead, which fetch tells by failing.
    const write = async (writer: number): Promise<void> => {
      for (let count = 0; ; count++) {
        const wrote = (life * 100_000 + count) * WRITERS + writer + 1;
        const answer = await writeOnce(url, writer, count, wrote).catch(() => null);
        if (answer === null) return;
        if (typeof answer === 'number') throw new Error(`a write was answered ${answer}`);
        acks.push(answer);
      }
    };
    const make = async (): Promise<void> => {
      for (;;) {
        const answer = await ask(`${url}/v1/tokens`, 'POST', { name: 'x', role: 'viewer' }).catch(() => null);
        if (answer === null) return;
        made.push((answer.body.token as { id: string }).id);
      }
    };
    const doom = sleep(100 + ((life * 53) % 200)).then(() => process.end('SIGKILL'));
    await Promise.all([...Array.from({ length: WRITERS }, (_, writer) => write(writer)), make(), doom]);
  }
  const access = createSqliteAccessStore({ path: `${folder}/policies-access.db` });
  t.teardown(() => access.close());
  const entries: AuditEntry[] = [];
  for (let after = 0; ; after = entries.length) {
    const batch = await access.oldest(after, 1_000);
    entries.push(...batch);
    if (batch.length < 1_000) break;
  }
  t.equal(firstBroken(entries, null, digest), null);
  t.comment(
    `${acks.length} changes and ${made.length} tokens acknowledged over ${KILLS} kills, ${entries.length} entries`,
  );
  t.ok(acks.length >= KILLS && made.length >= KILLS);
  const seen = new Set(entries.map(({ path, result }) => `${path} ${result}`));
  const missing = [
    ...acks.filter(({ name, revision }) => !seen.has(`/v1/policies/ServicePolicy/${name} revision ${revision}`)),
    ...made.filter((id) => !seen.has(`/v1/tokens token ${id}`)),
  ];
  t.same(missing, []);
  const tokens = new Set((await access.tokens()).map(({ id }) => id));
  t.same(
    made.filter((id) => !tokens.has(id)),
    [],
    'every acknowledged token is there',
  );
});
