// The page as it is served: under TLS, from the package, not built at all; with thousands of rows; and without a mouse.

import { writeFileSync } from 'node:fs';
import Fastify from 'fastify';
import type { Browser, CDPSession, Page } from 'playwright-core';
import t, { type Test } from 'tap';
import type { AgentReport, EndpointReport } from '#contract/frames.ts';
import { pageRoutes } from '../../control-plane/api/page.ts';
import { launchBrowser, openWatched } from '../support/browser.ts';
import { ask, orderReport, startControlPlane } from '../support/control-plane-client.ts';
import { makePair } from '../support/key-pair.ts';
import { installPacked } from '../support/packed.ts';
import { freePorts, startNode, temporaryFolder } from '../support/processes.ts';

const VIEWER = 'viewer-secret-0123456789';
const SERVICES = 10;
const ENDPOINTS_EACH = 500;
/** Rows in sight and some more; far from all of them. */
const MAX_ROWS = 100;
const UPDATES = 10;

function endpointOf(service: string, nth: number, attempts: number): EndpointReport {
  const address = `10.${Math.floor(nth / 250)}.0.${(nth % 250) + 1}:7001`;
  return {
    id: `${service}@${service}-${nth}@${address}`,
    address,
    state: 'serving',
    weight: 1,
    inFlight: nth % 7,
    connections: 2,
    ewmaMs: 1 + (nth % 90),
    attempts,
    failures: nth % 3,
    reason: null,
    ejectedUntilEpochMs: null,
  };
}

/** One agent that calls `service`, which has many endpoints. */
function crowdedReport(sequence: number, service: string): AgentReport {
  const facts = { source: 'consul', ageMs: 0, holding: null, isPanicking: false } as const;
  const endpoints = Array.from({ length: ENDPOINTS_EACH }, (_, nth) => endpointOf(service, nth, sequence * 100));
  return orderReport(sequence, { service: `caller-of-${service}`, services: [{ service, ...facts, endpoints }] });
}

async function sendCrowd(url: string, sequence: number): Promise<void> {
  for (let nth = 0; nth < SERVICES; nth++) {
    const { status, body } = await ask(
      `${url}/v1/agents/agent-${nth}/reports`,
      'POST',
      crowdedReport(sequence, `service-${nth}`),
    );
    if (status !== 204) throw new Error(`${status} ${JSON.stringify(body)}`);
  }
}

t.test('a page that is not built is a 503 that says what builds it, and is looked for again', async (t) => {
  const folder = temporaryFolder(t);
  const app = Fastify();
  t.teardown(() => app.close());
  await app.register(pageRoutes, { folder: new URL(`file://${folder}/`) });
  for (const path of ['/', '/dashboard.js', '/dashboard.css', '/favicon.svg']) {
    const answer = await app.inject(path);
    t.equal(answer.statusCode, 503, path);
    t.match(answer.body, 'npm run build:dashboard');
    t.match(answer.headers, { 'cache-control': 'no-store', 'content-security-policy': /default-src 'none'/ });
  }
  writeFileSync(`${folder}/index.html`, '<!doctype html><title>built</title>');
  t.match(await app.inject('/'), { statusCode: 200, body: /built/ }, 'no restart is needed');
  t.equal((await app.inject('/dashboard.js')).statusCode, 503);
});

async function tlsTest(t: Test, browser: Browser): Promise<void> {
  const folder = temporaryFolder(t);
  writeFileSync(`${folder}/tokens.yaml`, `tokens:\n  - { name: screen, role: viewer, token: ${VIEWER} }\n`);
  const tls = makePair(folder, 'page');
  const { url } = await startControlPlane(t, { folder, tls, tokensFile: `${folder}/tokens.yaml` });
  t.match(url, /^https:/);
  const { page, complaints, foreign } = await openWatched(t, browser, url, { ignoreHTTPSErrors: true });
  await page.locator('#token').fill(VIEWER);
  await page.locator('#sign-in button').click();
  await page.locator('.age[data-link=live]').waitFor();
  await page.locator('#main').getByText('No agent has reported yet.').waitFor();
  t.equal(await page.evaluate('isSecureContext'), true);
  t.same(
    complaints.filter((text) => !/status of 401/.test(text)),
    [],
  );
  t.same(foreign, [], 'everything comes by the same TLS');
}

async function packedTest(t: Test, browser: Browser): Promise<void> {
  const folder = temporaryFolder(t);
  const home = installPacked(folder);
  const [port = 0] = await freePorts(1);
  writeFileSync(
    `${folder}/control-plane.yaml`,
    `listen: 127.0.0.1:${port}\nstore: { sqlite: ${folder}/policies.db }\n`,
  );
  const controlPlane = startNode(t, [
    `${home}/bin/outrigger.mjs`,
    'control-plane',
    '--config',
    `${folder}/control-plane.yaml`,
  ]);
  await controlPlane.waitFor('listening', 30_000);
  const { page, complaints, foreign } = await openWatched(t, browser, `http://127.0.0.1:${port}`);
  await page.locator('.age[data-link=live]').waitFor();
  for (const [hash, text] of [
    ['#/endpoints', 'No agent watches an endpoint yet.'],
    ['#/policies', 'None was written; every value is a default.'],
  ] as const) {
    await page.goto(`http://127.0.0.1:${port}/${hash}`);
    await page.locator('main').getByText(text).waitFor();
  }
  t.same(complaints, []);
  t.same(foreign, []);
}

type Busy = Record<'task' | 'script' | 'layout' | 'style', number>;

/** Seconds of the page's main thread since it was opened, by kind. */
async function busySeconds(session: CDPSession): Promise<Busy> {
  const { metrics } = await session.send('Performance.getMetrics');
  const of = (name: string): number => metrics.find((metric) => metric.name === name)?.value ?? Number.NaN;
  return {
    task: of('TaskDuration'),
    script: of('ScriptDuration'),
    layout: of('LayoutDuration'),
    style: of('RecalcStyleDuration'),
  };
}

async function crowdTest(t: Test, browser: Browser): Promise<void> {
  const { url } = await startControlPlane(t);
  await sendCrowd(url, 1);
  const { page, complaints } = await openWatched(t, browser, `${url}/#/endpoints`, {
    viewport: { width: 1600, height: 900 },
  });
  const all = (SERVICES * ENDPOINTS_EACH).toLocaleString('en');
  await page.locator('.card-head .muted').getByText(all, { exact: true }).waitFor();
  await page.evaluate(`
    window.longest = 0;
    new PerformanceObserver((list) => {
      for (const { duration } of list.getEntries()) window.longest = Math.max(window.longest, duration);
    }).observe({ type: 'longtask' });
  `);
  const rows = page.locator('#endpoints tr[data-row]');
  const session = await page.context().newCDPSession(page);
  await session.send('Performance.enable');
  const before = await busySeconds(session);
  for (let nth = 0; nth < UPDATES; nth++) {
    const sequence = nth + 2;
    await sendCrowd(url, sequence);
    // Attempts are on the screen in the column of their own.
    await rows
      .first()
      .getByText((sequence * 100).toLocaleString('en'), { exact: true })
      .waitFor();
  }
  const after = await busySeconds(session);
  const each = (key: keyof Busy): string => `${((1000 * (after[key] - before[key])) / UPDATES).toFixed(1)} ms`;
  t.comment(
    `${all} endpoints, each of ${UPDATES} updates of all: ${each('task')} of the main thread (script ${each('script')}, ` +
      `layout ${each('layout')}, style ${each('style')}), longest task ${await page.evaluate('window.longest')} ms`,
  );
  t.ok((await rows.count()) <= MAX_ROWS, `${await rows.count()} rows exist`);
  await page.evaluate(
    `(() => { const box = document.querySelector('.windowed'); box.scrollTop = box.scrollHeight; })()`,
  );
  await page.locator('#endpoints').getByText('service-9-99', { exact: true }).waitFor();
  t.ok((await rows.count()) <= MAX_ROWS, 'also at the end');
  await page.locator('#filter').fill('service-7-123');
  await page.locator('.card-head .muted').getByText(`1 of ${all}`, { exact: true }).waitFor();
  t.same(complaints, []);
}

/** Everything that Tab reaches from the top, once around: its role or tag, its name, and whether one can see where one is. */
async function walk(page: Page): Promise<{ what: string; name: string; isMarked: boolean }[]> {
  const stops: { what: string; name: string; isMarked: boolean }[] = [];
  await page.evaluate('document.activeElement.blur(); scrollTo(0, 0)');
  for (let nth = 0; nth < 200; nth++) {
    await page.keyboard.press('Tab');
    const stop = (await page.evaluate(`(() => {
      const element = document.activeElement;
      if (element === null || element === document.body || element.dataset.seen === window.turn) return null;
      element.dataset.seen = window.turn;
      const label = element.labels?.[0]?.textContent ?? '';
      const { outlineStyle, outlineWidth, stroke } = getComputedStyle(element.querySelector('rect') ?? element);
      return {
        what: element.tagName.toLowerCase(),
        name: (element.getAttribute('aria-label') ?? (label || element.textContent || element.title)).trim(),
        isMarked: (outlineStyle !== 'none' && outlineWidth !== '0px') || (element.matches('a.node') && stroke !== 'none'),
      };
    })()`)) as { what: string; name: string; isMarked: boolean } | null;
    if (stop === null) return stops;
    stops.push(stop);
  }
  throw new Error('Tab never comes around');
}

async function keyboardTest(t: Test, browser: Browser): Promise<void> {
  const { url } = await startControlPlane(t);
  const payments = endpointOf('payments', 1, 10);
  const facts = { service: 'payments', source: 'consul', ageMs: 0, holding: null, isPanicking: false } as const;
  const edge = {
    direction: 'outbound',
    source: 'orders',
    destination: 'payments',
    requests: 10,
    successes: 10,
    retries: 0,
    inFlight: 0,
    latency: [356, 10],
  } as const;
  const report = orderReport(1, { services: [{ ...facts, endpoints: [payments] }], edges: [edge] });
  t.equal((await ask(`${url}/v1/agents/orders-1/reports`, 'POST', report)).status, 204);
  const { page, complaints } = await openWatched(t, browser, url);
  await page.locator('[data-node=payments]').waitFor();
  for (const [keys, screen, control] of [
    ['g m', 'mesh', 'payments'],
    ['g e', 'endpoints', 'Eject payments-1'],
    ['g t', 'timeline', 'Last'],
    ['g p', 'policies', 'New'],
  ] as const) {
    for (const key of keys.split(' ')) await page.keyboard.press(key);
    await page.locator(`main[data-screen=${screen}]`).waitFor();
    await page.locator('main .card').first().waitFor();
    await page.evaluate(`window.turn = '${screen}'`);
    const stops = await walk(page);
    t.same(
      stops.filter(({ name }) => name === ''),
      [],
      `${screen}: everything has a name`,
    );
    t.same(
      stops.filter(({ isMarked }) => !isMarked),
      [],
      `${screen}: the focus can be seen`,
    );
    t.ok(
      stops.some(({ name }) => name.startsWith(control)),
      `${screen}: ${control} is among ${stops.length} stops`,
    );
    await page.evaluate('document.activeElement.blur()');
  }
  // A policy from nothing, its error, its mending, and applying it, without a mouse.
  await page.locator('.new-policy input').focus();
  await page.keyboard.type('payments');
  await page.keyboard.press('Enter');
  await page.locator('#source').waitFor();
  await page.locator('#source').focus();
  await page.keyboard.press('Control+A');
  const text = (request: string): string =>
    `apiVersion: outrigger.dev/v1\nkind: ServicePolicy\nmetadata: { name: payments }\nspec: { timeouts: { request: ${request} } }\n`;
  await page.keyboard.insertText(text('soon'));
  await page.locator('#problems').getByText('request').first().waitFor();
  await page.keyboard.press('Control+A');
  await page.keyboard.insertText(text('3s'));
  await page.locator('#problems').waitFor({ state: 'detached' });
  await page.locator('#editor button[type=submit]:enabled').waitFor();
  const isAtApply = () => page.evaluate(`document.activeElement.matches('#editor button[type=submit]')`);
  for (let nth = 0; nth < 10 && !(await isAtApply()); nth++) await page.keyboard.press('Tab');
  t.equal(await isAtApply(), true, 'Tab leaves the text and comes to Apply');
  await page.keyboard.press('Enter');
  await page.locator('#policies').getByText('revision 1').waitFor();
  t.match((await ask(`${url}/v1/policies/ServicePolicy/payments`, 'GET')).body, { revision: 1 });
  t.same(
    complaints.filter((one) => !/status of 422/.test(one)),
    [],
  );
}

const browser = await launchBrowser(t, 'the dashboard as it is served');
if (browser !== null) {
  t.test('under TLS, with a token', (t) => tlsTest(t, browser));
  t.test('from the package that npm pack makes', { timeout: 110_000 }, (t) => packedTest(t, browser));
  t.test('5,000 endpoints: few rows exist, an update of all is shown', { timeout: 110_000 }, (t) =>
    crowdTest(t, browser),
  );
  t.test('keyboard only: every control of every screen, and a policy written', { timeout: 110_000 }, (t) =>
    keyboardTest(t, browser),
  );
}
