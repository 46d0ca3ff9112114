// Prometheus' own linter reads what the agent publishes, and docs/metrics.md names exactly that.

import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { createEndpointStats } from '../../agent/core/stats.ts';
import { createServiceStats, createServiceView } from '../../agent/core/view.ts';
import { Metrics } from '../../agent/telemetry/metrics.ts';
import { DEFAULT_POLICY } from '../../contract/policy/plan.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

function promtool(args: readonly string[], input?: string): { status: number | null; output: string } | null {
  const run = spawnSync('promtool', args, { encoding: 'utf8', input, cwd: `${ROOT}deploy/prometheus` });
  if (run.error === undefined) return { status: run.status, output: run.stdout + run.stderr };
  if (process.env.CI !== undefined)
    throw new Error('promtool is missing: install the prometheus package', { cause: run.error });
  process.stderr.write(`not checked, promtool is not installed: promtool ${args.join(' ')}\n`);
  return null;
}

/** Every family with at least one sample. */
async function everything(metrics: Metrics): Promise<string> {
  const edge = metrics.edge('outbound', 'web', 'or"ders\\\n');
  edge.begin();
  edge.attempt('response');
  edge.retry('5xx');
  edge.budgetExhausted();
  edge.end('ok', 200, 12);
  metrics.ejection('orders', 'consecutive_5xx');
  metrics.detection('orders', 'failure_percentage');
  metrics.fault('orders', 'delay');
  metrics.mirrored('orders', 'answered');
  metrics.tcp('orders').end('ok');
  return metrics.render();
}

function openMetrics(): Metrics {
  const endpoint = { address: '127.0.0.1', port: 1, weight: 1, zone: null, tags: [], meta: {} };
  const views = ['a', 'b'].map((id) => ({ endpoint: { ...endpoint, id }, stats: createEndpointStats(id) }));
  const plan = {
    service: 'orders',
    policy: DEFAULT_POLICY,
    rules: [],
    subsets: [],
    permission: { kind: 'allow' },
  } as const;
  const view = createServiceView(plan, views, createServiceStats('orders'));
  return new Metrics({
    version: '0.1.0',
    sources: {
      snapshot: () => ({ generation: 1, policyVersion: 3, services: new Map([['orders', view]]) }),
      discovery: () => [{ service: 'orders', source: 'consul', ageMs: 1500 }],
      connections: () => [{ destination: 'orders', active: 1, idle: 2 }],
    },
  });
}

t.test('promtool finds nothing wrong with the exposition', async (t) => {
  const metrics = openMetrics();
  t.teardown(() => metrics.close());
  const text = await everything(metrics);
  t.match(text, 'outrigger_endpoints{destination="orders",state="serving"} 2');
  t.match(text, 'outrigger_panic{destination="orders"} 0');
  t.match(text, 'outrigger_discovery_age_seconds{destination="orders"} 1.5');
  const checked = promtool(['check', 'metrics'], text);
  if (checked !== null) t.same(checked, { status: 0, output: '' });
});

t.test('docs/metrics.md lists every family with its type and labels, and no other', async (t) => {
  const metrics = openMetrics();
  t.teardown(() => metrics.close());
  const text = await everything(metrics);
  const published = new Map<string, string>();
  for (const [, name = '', type = ''] of text.matchAll(/^# TYPE (\S+) (\S+)$/gm)) {
    const sample = new RegExp(`^${name}(?:_bucket)?(?:\\{(.*)\\})? `, 'm').exec(text);
    t.ok(sample, `${name} has a sample`);
    const labels = [...(sample?.[1] ?? '').matchAll(/([a-z_]+)="/g)]
      .map(([, label]) => label)
      .filter((label) => label !== 'le');
    published.set(name, `${type} ${labels.sort().join(' ')}`.trim());
  }
  const documented = new Map<string, string>();
  const agentPart = readFileSync(`${ROOT}docs/metrics.md`, 'utf8').split('## Control plane')[0] ?? '';
  for (const [, name = '', type = '', labels = ''] of agentPart.matchAll(/^\| `(\w+)` \| (\w+) \|([^|]*)\|/gm)) {
    const names = [...labels.matchAll(/`(\w+)`/g)].map(([, label]) => label);
    documented.set(name, `${type} ${names.sort().join(' ')}`.trim());
  }
  t.ok(documented.size > 20, `${documented.size} families are documented`);
  t.same(Object.fromEntries(documented), Object.fromEntries(published));
});

t.test('the Prometheus configuration, the alerts and their tests hold', async (t) => {
  const runs = [
    ['check', 'config', 'prometheus.yml'],
    ['check', 'rules', 'alerts.yml'],
    ['test', 'rules', 'alerts.test.yml'],
  ];
  for (const args of runs) {
    const checked = promtool(args);
    if (checked !== null) t.equal(checked.status, 0, `promtool ${args.join(' ')}: ${checked.output}`);
  }
});
