// A control plane that is killed again and again in the middle of writes, over SQLite and over a real Consul: every acknowledged
// change is there afterwards, whole, and no version is half there. OUTRIGGER_TEST_KILLS says how often, 20 by default.

import { setTimeout as sleep } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { ConsulKv } from '../../control-plane/store/consul-kv.ts';
import { createConsulStore } from '../../control-plane/store/consul-store.ts';
import { createSqliteStore } from '../../control-plane/store/sqlite-store.ts';
import type { PolicyRevision, Store } from '../../control-plane/store/store.ts';
import { startControlPlaneProcess } from '../support/control-plane-process.ts';
import { consulOrFail, startConsul } from '../support/real-consul.ts';

const KILLS = Number(process.env.OUTRIGGER_TEST_KILLS ?? 20);
const WRITERS = 3;
const DOCUMENTS_EACH = 4;
const LONGEST_LIFE_MS = 250;
/** Versions whose every revision must still be in the histories, whatever the documents that made them. */
const CHECKED_VERSIONS = 100;

/** An acknowledged change. */
interface Ack {
  readonly name: string;
  readonly revision: number;
  readonly version: number;
  readonly wrote: number;
}

/** Writes until the connection breaks; each document carries a number that no other write has. */
async function write(url: string, writer: number, life: number, acks: Ack[], onFirst: () => void): Promise<void> {
  for (let count = 0; ; count++) {
    const name = `w${writer}-${count % DOCUMENTS_EACH}`;
    const wrote = (life * 100_000 + count) * WRITERS + writer + 1;
    const body = {
      apiVersion: 'outrigger.dev/v1',
      kind: 'ServicePolicy',
      metadata: { name },
      spec: { timeouts: { request: `${wrote}ms` } },
    };
    let answer: { revision: number; version: number };
    try {
      const headers = { 'content-type': 'application/json' };
      const target = `${url}/v1/policies/ServicePolicy/${name}`;
      const response = await fetch(target, { method: 'PUT', headers, body: JSON.stringify(body) });
      if (!response.ok) throw new Error(`answered ${response.status}: ${await response.text()}`);
      answer = (await response.json()) as { revision: number; version: number };
    } catch (error) {
      // fetch fails with a TypeError once the process is dead; everything else is a finding.
      if (error instanceof TypeError) return;
      throw error;
    }
    acks.push({ name, revision: answer.revision, version: answer.version, wrote });
    onFirst();
  }
}

function wroteOf(revision: PolicyRevision | undefined): number {
  const timeouts = revision?.document?.spec.timeouts as { request: string } | undefined;
  return Number.parseInt(timeouts?.request ?? '0', 10);
}

/** @returns what is wrong with the store after `acks` were given */
async function faultsOf(store: Store, acks: readonly Ack[]): Promise<string[]> {
  const faults: string[] = [];
  const { version, policies } = await store.list();
  const revisions = new Map<string, readonly PolicyRevision[]>();
  const makers = new Map<number, number>();
  for (let writer = 0; writer < WRITERS; writer++) {
    for (let index = 0; index < DOCUMENTS_EACH; index++) {
      const name = `w${writer}-${index}`;
      const history = await store.history(`ServicePolicy/${name}`);
      revisions.set(name, history);
      for (const one of history) makers.set(one.version, (makers.get(one.version) ?? 0) + 1);
      const current = policies.find(({ document }) => document.metadata.name === name);
      const isWhole = current?.revision === history[0]?.revision && current?.version === history[0]?.version;
      if (!isWhole) faults.push(`${name} is at ${current?.revision}, its history at ${history[0]?.revision}`);
    }
  }
  for (let one = Math.max(1, version - CHECKED_VERSIONS + 1); one <= version; one++) {
    if (makers.get(one) !== 1) faults.push(`version ${one} of ${version} was made ${makers.get(one) ?? 0} times`);
  }
  for (const { name, revision, version: acked, wrote } of acks) {
    if (acked > version) faults.push(`version ${acked} was acknowledged, the store is at ${version}`);
    const history = revisions.get(name) ?? [];
    const oldest = history.at(-1)?.revision ?? 0;
    // What is older than the history had its turn after an earlier kill.
    if (revision < oldest) continue;
    const found = history.find((one) => one.revision === revision);
    if (wroteOf(found) !== wrote || found?.version !== acked) faults.push(`revision ${revision} of ${name} is lost`);
  }
  return faults;
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
    const faults = await faultsOf(opened, recent);
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
