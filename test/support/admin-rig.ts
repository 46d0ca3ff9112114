// An admin API over stand-ins for everything it is given, and a client that says exactly what it is told to.

import { type IncomingHttpHeaders, request } from 'node:http';
import pino from 'pino';
import { createAdmin } from '../../agent/admin/admin.ts';
import type { AdminOptions } from '../../agent/admin/options.ts';
import { loadAgentConfig } from '../../agent/config.ts';
import { DecisionRecord } from '../../agent/core/decision/decision-record.ts';
import { explainDecision } from '../../agent/core/decision/explain.ts';
import { roomFor } from '../../agent/core/decision/storage.ts';
import { createEndpointStats } from '../../agent/core/stats.ts';
import { createServiceStats, createServiceView } from '../../agent/core/view.ts';
import { RequestTap } from '../../agent/telemetry/tap.ts';
import { DEFAULT_POLICY } from '../../contract/policy/plan.ts';
import type { Teardown } from './processes.ts';
import { VirtualClock } from './virtual-clock.ts';

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
}

const CONFIG_TEXT = `
service: { name: web }
consul: { url: "http://127.0.0.1:8500", token: CANARY }
controlPlane: { url: http://127.0.0.1:9700, token: CANARY }
`;

function config(): AdminOptions['config'] {
  const parsed = loadAgentConfig({ file: 'agent.yaml', env: {}, readFile: () => CONFIG_TEXT });
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.problems));
  return parsed.value;
}

/** Two endpoints of `orders`: one that serves, one that is out for ten more seconds. */
const ALLOW = { kind: 'allow' } as const;

export function snapshot(): ReturnType<AdminOptions['snapshot']> {
  const views = [7001, 7002].map((port) => {
    const id = `orders@127.0.0.1:${port}`;
    const endpoint = { id, address: '127.0.0.1', port, weight: 1, zone: null, tags: [], meta: {} };
    return { endpoint, stats: createEndpointStats(id) };
  });
  const [serving, out] = views.map(({ stats }) => stats);
  if (serving !== undefined)
    Object.assign(serving, { inFlight: 2, attempts: 40, failures: 1, ewmaMs: 12.3456, ewmaAt: 1 });
  if (out !== undefined)
    Object.assign(out, { state: 'ejected', ejectedUntil: 10_000, ejectionText: 'five times 503.' });
  const plan = { service: 'orders', policy: DEFAULT_POLICY, rules: [], subsets: [], permission: ALLOW };
  const view = createServiceView(plan, views, createServiceStats('orders'));
  return { generation: 4, policyVersion: 3, services: new Map([['orders', view]]) };
}

const RECORD = new DecisionRecord(roomFor(1), 0, null, 1);
RECORD.begin(0);
RECORD.end({
  direction: 'outbound',
  method: 'GET',
  target: '/a?b',
  requestId: 'r-1',
  service: 'orders',
  rule: null,
  routes: null,
  fields: null,
  host: 'orders',
  result: 'no_route',
  status: 404,
  message: 'no rule',
  durationMs: 1,
  queuedMs: 0,
});
const EXPLANATION = explainDecision(RECORD, 'web-1', 0);

export function options(over: Partial<AdminOptions> = {}): AdminOptions {
  let level: ReturnType<AdminOptions['log']['level']> = 'info';
  const shown = snapshot();
  return {
    address: { host: '127.0.0.1', port: 0 },
    service: 'web',
    agentId: 'web-1',
    softwareVersion: '0.1.0',
    config: config(),
    limits: { headMs: 10_000 },
    clock: new VirtualClock(),
    log: {
      logger: pino({ level: 'silent' }),
      level: () => level,
      setLevel: (next) => {
        level = next;
      },
      droppedLines: () => 0,
    },
    snapshot: () => shown,
    discovery: () => [{ service: 'orders', source: 'consul', ageMs: 1234.5, holding: null }],
    policy: () => ({ appliedVersion: 3, wantedVersion: 4, isConnected: true, problems: [] }),
    documents: () => [],
    connectionsOf: () => 5,
    events: () => [
      {
        atEpochMs: 1,
        kind: 'ejection',
        service: 'orders',
        endpoint: null,
        reason: 'consecutive_5xx',
        text: 'five times 503.',
      },
    ],
    why: (id) => (id === 'web-1' ? EXPLANATION : null),
    decisions: () => [EXPLANATION],
    metrics: async () =>
      '# HELP outrigger_panic x\n# TYPE outrigger_panic gauge\noutrigger_panic{destination="orders"} 0\nother_metric 1\n',
    notReady: () => [],
    isDraining: () => false,
    drain() {},
    failHealthcheck() {},
    overrule: () => ({ kind: 'refused', why: 'unknown', text: 'no endpoint is known' }),
    tap: new RequestTap({ wants: () => false, write() {} }, () => 0),
    ...over,
  };
}

export async function start(
  t: Teardown,
  over: Partial<AdminOptions> = {},
): Promise<{ host: string; port: number; options: AdminOptions; admin: ReturnType<typeof createAdmin> }> {
  const made = options(over);
  const admin = createAdmin(made);
  const bound = await admin.listen();
  t.teardown(() => admin.close());
  return { ...bound, options: made, admin };
}

export function ask(
  port: number,
  path: string,
  method = 'GET',
  headers: Record<string, string> = {},
  body = '',
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const sent = request({ host: '127.0.0.1', port, path, method, headers, agent: false }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk) => {
        text += chunk;
      });
      response.on('end', () => resolve({ status: response.statusCode ?? 0, headers: response.headers, text }));
    });
    sent.on('error', reject);
    sent.end(body);
  });
}
