// A real Prometheus scrapes a running mesh and is asked what every Grafana panel and every alert asks: no name, label or function in
// them is stale, and every panel has something to show.

import { spawn, spawnSync } from 'node:child_process';
import { globSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { parse, stringify } from 'yaml';
import { freePorts, ROOT, temporaryFolder, until } from '../support/processes.ts';
import { startSmallMesh } from '../support/small-mesh.ts';
import { call, Load } from '../support/world.ts';

interface Panel {
  readonly id: number;
  readonly type: string;
  readonly title: string;
  readonly description: string;
  readonly datasource: { readonly uid: string };
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
  readonly fieldConfig: { readonly defaults: { readonly unit?: string } };
  readonly targets: readonly { readonly refId: string; readonly expr: string; readonly legendFormat: string }[];
}

interface Dashboard {
  readonly uid: string;
  readonly title: string;
  readonly panels: readonly Panel[];
  readonly templating: {
    readonly list: readonly { readonly name: string; readonly query: { readonly query: string } }[];
  };
}

interface Rule {
  readonly alert?: string;
  readonly record?: string;
  readonly expr: string;
}

const FOLDER = `${ROOT}deploy/grafana/dashboards/`;
const dashboards = globSync('*.json', { cwd: FOLDER })
  .sort()
  .map((name): Dashboard => JSON.parse(readFileSync(`${FOLDER}${name}`, 'utf8')));
const panels = dashboards.flatMap((one) =>
  one.panels.map((panel) => ({ ...panel, where: `${one.title}: ${panel.title}` })),
);
const rules: Rule[] = parse(readFileSync(`${ROOT}deploy/prometheus/alerts.yml`, 'utf8')).groups.flatMap(
  ({ rules: found }: { readonly rules: Rule[] }) => found,
);
const METRIC = /(?<![\w:])(?:outrigger|nodejs|process)_[a-z0-9_]+/g;

t.test(
  'there is a dashboard for the mesh, a service and an agent, whole and without a number used twice',
  async (t) => {
    t.same(
      dashboards.map(({ uid }) => uid),
      ['outrigger-agent', 'outrigger-mesh', 'outrigger-service'],
    );
    for (const { title, panels: own, templating } of dashboards) {
      t.equal(new Set(own.map(({ id }) => id)).size, own.length, `${title}: ids`);
      t.equal(new Set(own.map((panel) => panel.title)).size, own.length, `${title}: titles`);
      const cells = own.flatMap(({ gridPos: { x, y, w, h } }) =>
        Array.from({ length: w * h }, (_, nth) => `${x + (nth % w)},${y + Math.floor(nth / w)}`),
      );
      t.equal(new Set(cells).size, cells.length, `${title}: no panel covers another`);
      const used = own.flatMap(({ targets }) => targets.flatMap(({ expr }) => expr.match(/\$\w+/g) ?? []));
      t.same([...new Set(used)].sort(), templating.list.map(({ name }) => `$${name}`).sort(), `${title}: variables`);
    }
    for (const { where, type, description, datasource, fieldConfig, targets } of panels) {
      t.ok(['stat', 'timeseries'].includes(type) && description !== '', where);
      t.equal(datasource.uid, 'prometheus', where);
      t.ok(fieldConfig.defaults.unit, `${where} has a unit`);
      t.equal(new Set(targets.map(({ refId }) => refId)).size, targets.length, where);
      for (const { legendFormat } of targets) t.ok(legendFormat, `${where}: every line has a name`);
    }
  },
);

t.test('every alert is shown to fire and to stay silent by a promtool test, and says where to read on', async (t) => {
  const tests: { alert_rule_test?: { alertname: string; exp_alerts: unknown[] }[] }[] = parse(
    readFileSync(`${ROOT}deploy/prometheus/alerts.test.yml`, 'utf8'),
  ).tests;
  const shown = tests.flatMap(({ alert_rule_test: own = [] }) => own);
  const alerts = rules.flatMap(({ alert }) => alert ?? []);
  t.ok(alerts.length > 10);
  for (const name of alerts) {
    const own = shown.filter(({ alertname }) => alertname === name);
    t.ok(
      own.some(({ exp_alerts: expected }) => expected.length > 0),
      `${name} fires`,
    );
    t.ok(
      own.some(({ exp_alerts: expected }) => expected.length === 0),
      `${name} stays silent`,
    );
  }
  t.same([...new Set(shown.map(({ alertname }) => alertname))].sort(), [...alerts].sort(), 'and no other is tested');
});

async function scrape(url: string): Promise<string> {
  return (await call(url)).body;
}

/** Prometheus with the rules and jobs of deploy/, at other addresses and every second; null where it is not installed. */
async function startPrometheus(t: Test, agents: readonly string[], controlPlane: string): Promise<string | null> {
  if (spawnSync('prometheus', ['--version']).error !== undefined) {
    if (process.env.CI !== undefined) throw new Error('prometheus is missing: install the prometheus package');
    return null;
  }
  const folder = temporaryFolder(t);
  const config = parse(readFileSync(`${ROOT}deploy/prometheus/prometheus.yml`, 'utf8'));
  config.global = { scrape_interval: '1s', scrape_timeout: '1s', evaluation_interval: '1s' };
  config.rule_files = [`${ROOT}deploy/prometheus/alerts.yml`];
  const targets: Record<string, readonly string[]> = {
    'outrigger-agents': agents,
    'outrigger-control-plane': [new URL(controlPlane).host],
  };
  for (const job of config.scrape_configs) {
    job.authorization = undefined;
    job.static_configs = [{ targets: targets[job.job_name] }];
  }
  const file = join(folder, 'prometheus.yml');
  writeFileSync(file, stringify(config));
  const [port = 0] = await freePorts(1);
  const child = spawn(
    'prometheus',
    [`--config.file=${file}`, `--storage.tsdb.path=${folder}/data`, `--web.listen-address=127.0.0.1:${port}`],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  );
  let output = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    output += text;
  });
  const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  t.teardown(async () => {
    child.kill('SIGKILL');
    await gone;
  });
  const url = `http://127.0.0.1:${port}`;
  await until(
    () =>
      call(`${url}/-/ready`).then(
        ({ status }) => status === 200,
        () => false,
      ),
    20_000,
    () => output,
  );
  return url;
}

/** How many series the expression has now. payments calls nobody, so the panel of a service's callees is asked for web. */
async function query(url: string, expr: string): Promise<number> {
  const filled = expr
    .replaceAll('source="$service"', 'source="web"')
    .replaceAll('$service', 'payments')
    .replaceAll(/\$(?:source|destination|instance)/g, '.*');
  const { status, body } = await call(`${url}/api/v1/query?query=${encodeURIComponent(filled)}`);
  if (status !== 200) throw new Error(`${filled}: ${body}`);
  return JSON.parse(body).data.result.length;
}

t.test('what panels and alerts name is what a running mesh publishes', { timeout: 110_000 }, async (t) => {
  const { controlPlane, agents, web, instances } = await startSmallMesh(t);
  const prometheus = await startPrometheus(t, agents, controlPlane.url);
  const load = new Load(web.outbound, 'payments', 50);
  t.teardown(() => load.stop());
  await until(
    () => (load.answered()['payments-2'] ?? 0) > 0,
    20_000,
    () => `payments-2 answers: ${JSON.stringify([load.answered(), load.failures()])}`,
  );
  // Its check stays well: one that is gone leaves the registry before anybody has to eject it.
  const broken = await call(`http://127.0.0.1:${web.outbound}/break`, { headers: { host: 'payments' } });
  t.equal(broken.status, 200);
  // A result that is not `ok`.
  t.equal((await call(`http://127.0.0.1:${web.outbound}/`, { headers: { host: 'nobody' } })).status, 404);
  const ejected = /^outrigger_ejections_total\{[^}]*destination="payments"/m;
  await until(
    async () => ejected.test(await scrape(`http://127.0.0.1:${web.admin}/metrics`)),
    20_000,
    () => 'an ejection',
  );

  const texts = await Promise.all(
    [...agents.map((agent) => `http://${agent}`), controlPlane.url].map((url) => scrape(`${url}/metrics`)),
  );
  const published = new Set(texts.flatMap((text) => [...text.matchAll(/^(\w+)[{ ]/gm)].map(([, name]) => name)));
  const asked = [
    ...panels.flatMap(({ where, targets }) => targets.map(({ expr }) => ({ where, expr }))),
    ...dashboards.flatMap(({ title, templating }) =>
      templating.list.map(({ query: own }) => ({ where: title, expr: own.query })),
    ),
    ...rules.map(({ alert, record, expr }) => ({ where: alert ?? record ?? '', expr })),
  ];
  t.ok(asked.length > 70, `${asked.length} expressions`);
  for (const { where, expr } of asked) {
    for (const name of expr.match(METRIC) ?? []) t.ok(published.has(name), `${where}: ${name}`);
  }
  if (prometheus === null) {
    t.comment('not asked: prometheus is not installed');
    return;
  }
  const shows = async (ones: typeof asked): Promise<void> => {
    for (const { where, expr } of ones) {
      await t.resolves(
        until(
          async () => (await query(prometheus, expr)) > 0,
          10_000,
          () => expr,
        ),
        `${where} shows something`,
      );
    }
  };
  const alerts = new Set(rules.flatMap(({ alert }) => alert ?? []));
  for (const { where, expr } of asked.filter((one) => alerts.has(one.where)))
    t.type(await query(prometheus, expr), 'number', `${where} is a query`);
  const others = asked.filter(({ where, expr }) => !alerts.has(where) && !expr.startsWith('label_values'));
  // A connection that is refused is seen by the caller only when nobody else is left, so these come last.
  const isOfFailures = ({ expr }: { readonly expr: string }): boolean =>
    expr.includes('result!="ok"') || expr.includes('code_class="5xx"');
  await shows(others.filter((one) => !isOfFailures(one)));
  for (const { app } of instances) await app.end('SIGKILL');
  await shows(others.filter(isOfFailures));
});
