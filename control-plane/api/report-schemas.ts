// What a verdict and a report must look like before anything of them is kept. Bounds, not only types: an agent with a
// valid token must not be able to fill memory or break a page. Plain JSON Schema for Fastify's validator; mirrors
// contract/frames.ts.

import { MAX_WATCHED } from '#contract/endpoint-frames.ts';
import { GENERATION_PATTERN } from '#contract/event-id.ts';
import { FAILURE_KINDS } from '#contract/failures.ts';
import { BUCKETS } from '#contract/latency-sketch.ts';

const word = { type: 'string', maxLength: 128 };
const name = { type: 'string', minLength: 1, maxLength: 128 };
const sentence = { type: 'string', maxLength: 1_000 };
const count = { type: 'integer', minimum: 0, maximum: Number.MAX_SAFE_INTEGER };
const instant = { type: 'number', minimum: 0, maximum: 8.64e15 };
const measure = { type: ['number', 'null'], minimum: 0, maximum: 1e12 };
const nullable = (schema: { readonly type: string }): object => ({ ...schema, type: [schema.type, 'null'] });

function record(properties: Readonly<Record<string, object>>, optional: readonly string[] = []): object {
  const required = Object.keys(properties).filter((key) => !optional.includes(key));
  // Further keys are ignored, so that a newer agent can report to an older control plane.
  return { type: 'object', properties, required };
}

function list(items: object, maxItems: number): object {
  return { type: 'array', items, maxItems };
}

/** Only its size: what the numbers mean is judged where reports are taken. */
const sketch = list({ type: 'number' }, 2 * BUCKETS);

const problem = record(
  { code: word, path: sentence, message: sentence, hint: sentence, file: sentence, line: count, column: count },
  ['hint', 'file', 'line', 'column'],
);

const endpoint = record(
  {
    id: name,
    address: name,
    state: { enum: ['serving', 'ejected', 'probing', 'draining'] },
    weight: { type: 'number', minimum: 0, maximum: 1e6 },
    inFlight: count,
    connections: count,
    ewmaMs: measure,
    attempts: count,
    failures: count,
    reason: nullable(sentence),
    ejectedUntilEpochMs: nullable({ ...instant, type: 'number' }),
    isAccused: { type: 'boolean' },
    failuresInARow: count,
    latency: sketch,
  },
  ['isAccused', 'failuresInARow', 'latency'],
);

const service = record({
  service: name,
  source: { enum: ['consul', 'control-plane', 'static', 'disk', 'none'] },
  ageMs: measure,
  holding: nullable(sentence),
  isPanicking: { type: 'boolean' },
  endpoints: list(endpoint, 2_000),
});

const edge = record(
  {
    direction: { enum: ['outbound', 'inbound'] },
    source: name,
    destination: name,
    requests: count,
    successes: count,
    failures: record(Object.fromEntries(FAILURE_KINDS.map((kind) => [kind, count]))),
    retries: count,
    inFlight: count,
    latency: sketch,
    slow: count,
  },
  ['failures', 'latency', 'slow'],
);

const event = record({
  atEpochMs: instant,
  kind: { enum: ['ejection', 'reinstatement', 'overflow', 'detection', 'panic', 'policy', 'discovery', 'lifecycle'] },
  service: nullable(word),
  endpoint: nullable(word),
  reason: word,
  text: sentence,
});

/** `POST /v1/agents/:id/reports`. */
export const reportSchema = record(
  {
    sequence: { ...count, minimum: 1 },
    sentAtEpochMs: instant,
    startedAtEpochMs: instant,
    service: name,
    zone: nullable(word),
    softwareVersion: word,
    adminUrl: { type: 'string', maxLength: 256 },
    isReady: { type: 'boolean' },
    isDraining: { type: 'boolean' },
    policy: record(
      {
        appliedVersion: count,
        generation: { type: 'string', pattern: GENERATION_PATTERN },
        wantedVersion: count,
        problems: list(problem, 200),
      },
      ['generation'],
    ),
    services: list(service, 500),
    edges: list(edge, 2_000),
    events: list(event, 100),
    eventsDropped: count,
  },
  ['zone'],
);

/** `POST /v1/agents/:id/acks`. */
export const verdictSchema = record({
  version: count,
  nonce: name,
  verdict: { enum: ['ACK', 'NACK'] },
  appliedVersion: count,
  problems: list(problem, 200),
});

/** `POST /v1/agents/:id/watches`. */
export const watchListSchema = record({ life: { type: 'string', maxLength: 128 }, services: list(name, MAX_WATCHED) });

/** Ids of agents: what a path, a label and a page can carry without care. */
export const AGENT_ID_PATTERN = '^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$';

export const agentParams = {
  type: 'object',
  properties: { id: { type: 'string', pattern: AGENT_ID_PATTERN } },
  required: ['id'],
};
