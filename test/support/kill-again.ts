// A control plane that is killed again and again in the middle of writes: every acknowledged change is there afterwards, whole, and no
// version is half there. OUTRIGGER_TEST_KILLS says how often, 20 by default.

import { setTimeout as sleep } from 'node:timers/promises';
import type { Test } from 'tap';
import type { Store } from '../../control-plane/store/store.ts';
import { type Ack, faultsOf, writeOnce } from './acknowledged-writes.ts';
import { startControlPlaneProcess } from './control-plane-process.ts';

export const KILLS = Number(process.env.OUTRIGGER_TEST_KILLS ?? 20);
export const KILLS_LIMIT_MS = 30_000 + KILLS * 5_000;
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

/** Kills one over the given store KILLS times. @param open  the same store, to look at what is there */
export async function killAgainAndAgain(t: Test, store: object, open: () => Promise<Store>): Promise<void> {
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
