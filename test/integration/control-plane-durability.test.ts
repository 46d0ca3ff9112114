// A control plane that is killed again and again in the middle of writes: every acknowledged change is there afterwards.

import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import t from 'tap';
import { createSqliteStore } from '../../control-plane/store/sqlite-store.ts';

const KILLS = 30;
const LONGEST_LIFE_MS = 250;

/** Writes documents as fast as it can and prints the version of each after the store acknowledged it. */
const WRITER = `
  import { createSqliteStore } from ${JSON.stringify(new URL('../../control-plane/store/sqlite-store.ts', import.meta.url).href)};
  const store = createSqliteStore({ path: process.argv[1], epochMs: () => Date.now() });
  for (let version = await store.version(); ; version++) {
    const name = 'service-' + (version % 20);
    const document = { apiVersion: 'outrigger.dev/v1', kind: 'ServicePolicy', metadata: { name }, spec: { wrote: version + 1 } };
    const result = await store.put(document, { ifMatch: { kind: 'any' }, ifVersion: version, author: 'writer' });
    if (result.kind !== 'written') throw new Error(JSON.stringify(result));
    process.stdout.write(result.version + '\\n');
    await new Promise(setImmediate);
  }
`;

/** Lets one writer live for a while after its first acknowledgement. @returns the last version it acknowledged */
async function liveAndDie(path: string, lifeMs: number): Promise<number> {
  const child: ChildProcess = spawn(process.execPath, ['--input-type=module', '-e', WRITER, path], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exited = new Promise((resolve) => child.once('exit', resolve));
  let last = 0;
  if (child.stdout === null) throw new Error('the writer has no output');
  let isDoomed = false;
  for await (const line of createInterface({ input: child.stdout })) {
    last = Math.max(last, Number(line));
    if (!isDoomed) setTimeout(() => child.kill('SIGKILL'), lifeMs);
    isDoomed = true;
  }
  await exited;
  return last;
}

t.test(`no acknowledged write is lost over ${KILLS} kills`, { timeout: 90_000 }, async (t) => {
  const path = `${t.testdir()}/policies.db`;
  let acknowledged = 0;
  for (let kill = 0; kill < KILLS; kill++) {
    const last = await liveAndDie(path, (kill * 37) % LONGEST_LIFE_MS);
    if (last <= acknowledged) t.fail(`life ${kill} acknowledged nothing new`);
    acknowledged = last;
    const store = createSqliteStore({ path, epochMs: () => 0 });
    const { version, policies } = await store.list();
    await store.close();
    // One write more may be durable than its acknowledgement could be read.
    if (version < acknowledged || version > acknowledged + 1) t.fail(`${acknowledged} acknowledged, ${version} there`);
    for (let wrote = Math.max(1, version - 19); wrote <= version; wrote++) {
      const policy = policies.find(({ document }) => document.spec.wrote === wrote);
      if (policy?.version !== wrote) t.fail(`write ${wrote} of ${version} is missing`);
    }
  }
  t.comment(`${acknowledged} writes acknowledged, none lost`);
  t.ok(acknowledged >= KILLS);
});
