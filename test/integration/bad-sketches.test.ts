// Latencies in a report over HTTP that are no sketch: a clear refusal that names the place, and nothing of the report is counted.

import t from 'tap';
import { BUCKETS } from '#contract/latency-sketch.ts';
import { ask, orderReport, startControlPlane } from '../support/control-plane-client.ts';

const BAD: readonly (readonly [name: string, latency: unknown])[] = [
  ['an odd number of numbers', [1]],
  ['a bucket before the first', [-1, 1]],
  ['the same bucket twice', [3, 1, 0, 1]],
  ['a bucket beyond the last', [BUCKETS, 1]],
  ['a sum of gaps beyond the last', [BUCKETS - 1, 1, 1, 1]],
  ['a count of nothing', [1, 0]],
  ['a count below nothing', [1, -5]],
  ['a part of a value', [1, 1.5]],
  ['more than can be counted', [0, 2 ** 53]],
  ['counts whose sum cannot be', [0, Number.MAX_SAFE_INTEGER, 1, 1]],
];

/** Not even of the type or length: the schema says so. */
const OF_ANOTHER_TYPE: readonly (readonly [name: string, latency: unknown])[] = [
  ['no number', [1, null]],
  ['a text', [1, '1']],
  ['a list in the list', [1, [1]]],
  ['an object', { 1: 1 }],
  ['more pairs than buckets', Array.from({ length: 2 * BUCKETS + 2 }, () => 1)],
];

t.test('what is no sketch is refused by its place, in an edge and in an endpoint', async (t) => {
  const { url } = await startControlPlane(t);
  const edge = { direction: 'outbound', source: 'orders', destination: 'payments', requests: 1, successes: 1 } as const;
  const endpoint = {
    id: 'p1',
    address: '10.0.0.7:80',
    state: 'serving',
    weight: 1,
    inFlight: 0,
    connections: 0,
  } as const;
  const measured = { ewmaMs: null, attempts: 1, failures: 0, reason: null, ejectedUntilEpochMs: null };
  const seen = { service: 'payments', source: 'consul', ageMs: 0, holding: null, isPanicking: false } as const;
  const post = (latencyOfEdge: unknown, latencyOfEndpoint: unknown) => {
    const edges = [{ ...edge, retries: 0, inFlight: 0, latency: latencyOfEdge }];
    const services = [{ ...seen, endpoints: [{ ...endpoint, ...measured, latency: latencyOfEndpoint }] }];
    // As it comes over the wire: nothing of it is believed.
    return ask(`${url}/v1/agents/orders-1/reports`, 'POST', orderReport(1, { edges, services } as object));
  };
  for (const [name, latency] of BAD) {
    for (const [answer, path] of [
      [await post(latency, [1, 1]), 'edges[0].latency'],
      [await post([1, 1], latency), 'services[0].endpoints[0].latency'],
    ] as const) {
      t.equal(answer.status, 422, `${name} in ${path}`);
      const problems = answer.body.problems as readonly { readonly path: string; readonly code: string }[]; // the API
      t.ok(
        problems.some((problem) => problem.path.startsWith(path) && problem.code.startsWith('OTR_')),
        JSON.stringify(answer.body),
      );
    }
  }
  for (const [name, latency] of OF_ANOTHER_TYPE) {
    for (const answer of [await post(latency, [1, 1]), await post([1, 1], latency)])
      t.match(answer, { status: 400, body: { code: 'OTR_ERR_BAD_REQUEST', detail: /latency/ } }, name);
  }
  t.equal((await ask(`${url}/v1/services/payments`, 'GET')).status, 404, 'nothing of them was counted');
  t.equal((await post([1, 1], [1, 1])).status, 204);
  t.match(await ask(`${url}/v1/services/payments`, 'GET'), { status: 200, body: { service: 'payments' } });
});
