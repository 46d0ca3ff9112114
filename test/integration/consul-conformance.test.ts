// One list of cases, run against the embedded registry and against a real Consul 1.8: the fake cannot drift from the original.
// A case returns what it saw, without ids and index numbers; it must equal what the case expects, and in any case both
// servers must have seen the same.

import t from 'tap';
import { systemClock } from '../../agent/clock.ts';
import { createRegistry } from '../../control-plane/registry/registry.ts';
import { consulOrFail, startConsul } from '../support/real-consul.ts';
import { registrationCases } from './consul-conformance/agent-cases.ts';
import { blockingCases } from './consul-conformance/blocking-cases.ts';
import { catalogCases } from './consul-conformance/catalog-cases.ts';
import { healthCases } from './consul-conformance/health-cases.ts';
import { kvCases } from './consul-conformance/kv-cases.ts';
import { refusalCases } from './consul-conformance/refusal-cases.ts';
import { sessionCases } from './consul-conformance/session-cases.ts';
import { type Case, createWorld, startApp, type World } from './consul-conformance/world.ts';

const CASES: readonly Case[] = [
  ...registrationCases,
  ...refusalCases,
  ...blockingCases,
  ...healthCases,
  ...catalogCases,
  ...kvCases,
  ...sessionCases,
];

type Seen = Map<string, { readonly value: unknown } | { readonly error: string }>;

/** In order, because cases share one server and some look at what earlier ones left. */
async function observe(world: World): Promise<Seen> {
  const seen: Seen = new Map();
  for (const { name, run } of CASES) {
    try {
      seen.set(name, { value: await run(world) });
    } catch (error) {
      seen.set(name, { error: String(error) });
    }
  }
  return seen;
}

t.test('the embedded registry and Consul answer alike', async (t) => {
  t.equal(new Set(CASES.map(({ name }) => name)).size, CASES.length, 'every case has a name of its own');
  const registry = createRegistry({
    clock: systemClock,
    log: { error: (details) => t.fail('handler threw', details) },
  });
  const { host, port } = await registry.listen({ host: '127.0.0.1', port: 0 });
  t.teardown(() => registry.close());
  const observed = [
    { label: 'embedded registry', seen: createWorld(`http://${host}:${port}`, await startApp(t)).then(observe) },
  ];
  if (consulOrFail(t) !== null) {
    const app = await startApp(t);
    const seen = startConsul(t).then(async ({ url }) => observe(await createWorld(url, app)));
    observed.push({ label: 'Consul', seen });
  }
  const [ours, theirs] = await Promise.all(observed.map(({ seen }) => seen));
  for (const { label, seen } of observed) {
    for (const { name, ...rest } of CASES) {
      const result = (await seen).get(name) ?? { error: 'did not run' };
      if ('error' in result) t.fail(`${label}: ${name}`, result);
      else if ('expect' in rest) t.same(result.value, rest.expect, `${label}: ${name}`);
    }
  }
  if (ours === undefined || theirs === undefined) return;
  for (const { name } of CASES) t.same(ours.get(name), theirs.get(name), `both alike: ${name}`);
});
