// A control plane that is killed again and again in the middle of writes, over SQLite and over a real Consul: every acknowledged
// change is there afterwards, whole, and no version is half there. OUTRIGGER_TEST_KILLS says how often, 20 by default.

import { setTimeout as sleep } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { ConsulKv } from '../../control-plane/store/consul-kv.ts';
import { createConsulStore } from '../../control-plane/store/consul-store.ts';
import { createSqliteStore } from '../../control-plane/store/sqlite-store.ts';
import type { Store } from '../../control-plane/store/store.ts';
import { type Ack, faultsOf, writeOnce } from '../support/acknowledged-writes.ts';
import { startControlPlaneProcess } from '../support/control-plane-process.ts';
import { consulOrFail, startConsul } from '../support/real-consul.ts';

const KILLS = Number(process.env.OUTRIGGER_TEST_KILLS ?? 20);
const WRITERS = 3;
const LONGEST_LIFE_MS = 250;
/** Writes until the connection breaks; each document carries a number that no other write has. */
async function write(url: string, writer: number, life: number, acks: Ack[], onFirst: () => void): Promise<void> {
  for (let count = 0; ; count++) {
    const wrote = (life * 100_000 + count) * WRITERS + writer + 1;
    // fetch fails once the process is dead.
    const answer = await writeOnce(url, writer, count, wrote).catch(() => null);
    if (answer === null) return;
    if (typeof answer === 'number') throw new Error(`a write was answered ${answer}`);
    acks.push(answer);
    onFirst();
  }
}

async function killAgainAndAgain(t: Test, store: object, open: () => Promise<Store>): Promise<void> {
  const folder = t.testdir();
  let total = 0;
  let recent: Ack[] = [];
  for (let life = 0; life < KILLS; life++) {
    const { url, process } = await startControlPlaneProcess(t, { folder, store });
    const acks: Ack[] = [];
    let isDoomed = false;
    const doom = (): void => {
      if (!isDoomed) void sleep((life * 37) % LONGEST_LIFE_MS).then(() => process.end('SIGKILL'));
      isDoomed = true;
    };
    await Promise.all(Array.from({ length: WRITERS }, (_, writer) => write(url, writer, life, acks, doom)));
    await process.end('SIGKILL');
    if (acks.length === 0) t.fail(`life ${life} acknowledged nothing`);
    total += acks.length;
    recent = [...recent, ...acks].slice(-2_000);
    const opened = await open();
    const faults = await faultsOf(opened, WRITERS, recent);
    await opened.close();
    for (const fault of faults) t.fail(`after kill ${life + 1}: ${fault}`);
    if (faults.length > 0) return;
  }
  t.comment(`${total} changes acknowledged over ${KILLS} kills, 0 lost, 0 half versions`);
  t.ok(total >= KILLS);
}

const LIMIT_MS = 30_000 + KILLS * 5_000;

t.test(`SQLite: no acknowledged change is lost over ${KILLS} kills`, { timeout: LIMIT_MS }, async (t) => {
  const path = `${t.testdir()}/state/policies.db`;
  await killAgainAndAgain(t, { sqlite: path }, async () => createSqliteStore({ path, epochMs: () => 0 }));
});

t.test(`Consul: no acknowledged change is lost over ${KILLS} kills`, { timeout: LIMIT_MS }, async (t) => {
  if (consulOrFail(t) === null) return;
  const { url } = await startConsul(t);
  const open = async (): Promise<Store> =>
    createConsulStore({
      kv: await ConsulKv.open({ url, token: null, tokenFile: null, datacenter: null }),
      prefix: 'outrigger/',
      epochMs: () => 0,
      now: () => performance.now(),
      random: Math.random,
      onNotice: (text) => t.fail(text),
    });
  await killAgainAndAgain(t, { consul: { url } }, open);
});
