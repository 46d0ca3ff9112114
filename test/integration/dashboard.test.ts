// The page as a person sees it: a real control plane, reports as agents send them, and Chromium without a mock in between.

import type { Page } from 'playwright-core';
import t from 'tap';
import type { AgentReport, EndpointReport } from '#contract/frames.ts';
import { launchBrowser, openWatched } from '../support/browser.ts';
import { ask, orderReport, startControlPlane } from '../support/control-plane-client.ts';

const VIEWER = 'viewer-secret-0123456789';
const HOSTILE = '<img src=x onerror="document.title=1">';
const SENTENCE =
  'payments-3 ejected for 5 s (1st time): 5 consecutive 5xx answers, last 500; 1 of 2 endpoints out, limit 1';

const browser = await launchBrowser(t, 'the dashboard in a browser');

function endpoint(name: string, changes: Partial<EndpointReport> = {}): EndpointReport {
  return {
    id: `payments@${name}@10.0.0.7:7001`,
    address: '10.0.0.7:7001',
    state: 'serving',
    weight: 1,
    inFlight: 0,
    connections: 1,
    ewmaMs: 2,
    attempts: 10,
    failures: 0,
    reason: null,
    ejectedUntilEpochMs: null,
    ...changes,
  };
}

function report(
  sequence: number,
  endpoints: readonly EndpointReport[],
  changes: Partial<AgentReport> = {},
): AgentReport {
  const facts = { source: 'consul', ageMs: 0, holding: null, isPanicking: false } as const;
  return orderReport(sequence, { services: [{ service: 'payments', ...facts, endpoints }], ...changes });
}

/** Whether the text is shown in the part of the page within 5 s. */
async function shows(page: Page, part: string, text: string): Promise<void> {
  await page.locator(part).getByText(text, { exact: false }).first().waitFor({ timeout: 5_000 });
}

/** By link, as a bookmark would; waits for the part. */
async function go(page: Page, hash: string, part: string): Promise<void> {
  await page.evaluate(`location.hash = ${JSON.stringify(hash)}`);
  await page.locator(part).first().waitFor({ timeout: 5_000 });
}

if (browser !== null) {
  t.test('services appear, an ejection is told in its sentence, recovery takes it back', async (t) => {
    const { url } = await startControlPlane(t);
    const { page, complaints } = await openWatched(t, browser, url);
    await shows(page, '#main', 'No agent has reported yet.');
    const send = (body: AgentReport) => ask(`${url}/v1/agents/orders-1/reports`, 'POST', body);
    await send(report(1, [endpoint('payments-1'), endpoint('payments-3')]));
    await shows(page, '#services', '2 serving');
    await go(page, '#/endpoints', '#endpoints');
    t.equal(await page.locator('#endpoints').getByText('payments-3', { exact: true }).count(), 1, 'by its short name');
    await go(page, '#/timeline', '#main');
    const event = { kind: 'ejection', service: 'payments', endpoint: 'payments-3', reason: 'consecutive_5xx' } as const;
    const out = { state: 'ejected', reason: SENTENCE, ejectedUntilEpochMs: Date.now() + 5_000, failures: 5 } as const;
    await send(
      report(2, [endpoint('payments-1'), endpoint('payments-3', out)], {
        events: [{ ...event, atEpochMs: Date.now(), text: SENTENCE }],
      }),
    );
    await shows(page, '#timeline', SENTENCE);
    await page.locator('#filter').fill('no such thing');
    await shows(page, '#main', 'Nothing of this kind has happened yet.');
    await page.locator('#filter').press('Escape');
    await shows(page, '#timeline', SENTENCE);
    await go(page, '#/endpoints', '#endpoints');
    t.match(await page.locator('tr.row-bad').innerText(), /payments-3[\s\S]*ejected[\s\S]*5 consecutive 5xx/);
    await go(page, '#/mesh', '#services');
    await shows(page, '#services', '1 ejected');
    await send(report(3, [endpoint('payments-1'), endpoint('payments-3')]));
    await shows(page, '#services', '2 serving');
    t.equal(await page.locator('[data-node=payments] .badge').count(), 0);
    t.same(complaints, [], 'no violation of the content security policy and no error');
  });

  t.test('a hostile name is text, in every table and in the timeline', async (t) => {
    const { url } = await startControlPlane(t);
    const services = [
      {
        ...({ service: HOSTILE, source: 'consul', ageMs: 0, holding: HOSTILE, isPanicking: false } as const),
        endpoints: [endpoint(HOSTILE, { id: HOSTILE, address: HOSTILE, reason: HOSTILE })],
      },
    ];
    const event = {
      atEpochMs: Date.now(),
      kind: 'policy',
      service: HOSTILE,
      endpoint: HOSTILE,
      reason: HOSTILE,
    } as const;
    const problem = { code: 'OTR_RANGE', path: HOSTILE, message: HOSTILE } as const;
    const body = orderReport(1, {
      service: HOSTILE,
      services,
      events: [{ ...event, text: HOSTILE }],
      policy: { appliedVersion: 0, wantedVersion: 1, problems: [problem] },
      softwareVersion: HOSTILE,
    });
    t.equal((await ask(`${url}/v1/agents/orders-1/reports`, 'POST', body)).status, 204);
    const { page, complaints } = await openWatched(t, browser, url);
    for (const [hash, part] of [
      ['#/mesh', '#services'],
      ['#/endpoints', '#endpoints'],
      ['#/timeline', '#timeline'],
      ['#/policies', '#agents'],
      [`#/service/${encodeURIComponent(HOSTILE)}`, 'h1'],
    ] as const) {
      await go(page, hash, part);
      await shows(page, part, HOSTILE);
      t.equal(await page.locator('main img').count(), 0, `nothing became an element on ${hash}`);
      t.not(await page.title(), '1');
    }
    t.same(complaints, []);
  });

  t.test('with tokens the page asks for one, says what is wrong with it, and follows with a good one', async (t) => {
    const tokens = `tokens:\n  - { name: screen, role: viewer, token: ${VIEWER} }\n`;
    const folder = t.testdir({ 'tokens.yaml': tokens });
    const { url } = await startControlPlane(t, { folder, tokensFile: `${folder}/tokens.yaml` });
    const { page, complaints } = await openWatched(t, browser, url);
    await page.locator('#token').fill('not the token at all');
    await page.locator('#sign-in button').click();
    await shows(page, '#sign-in-error', 'That token is not known.');
    t.equal(await page.locator('#totals').count(), 0);
    await page.locator('#token').fill(VIEWER);
    await page.locator('#sign-in button').click();
    await shows(page, '#main', 'No agent has reported yet.');
    t.equal(await page.locator('#sign-in').count(), 0);
    t.equal(await page.locator('.age [role=status]').innerText(), 'live');
    t.same(
      complaints.filter((text) => !/status of 401/.test(text)),
      [],
      'the browser itself notes each 401; there is nothing else',
    );
    t.notMatch(page.url(), VIEWER);
  });

  t.test('a control plane that goes away is told, and the last state stays', async (t) => {
    const { url, stop } = await startControlPlane(t);
    await ask(`${url}/v1/agents/orders-1/reports`, 'POST', report(1, [endpoint('payments-1')]));
    const { page } = await openWatched(t, browser, url);
    await shows(page, '#services', '1 serving');
    await stop();
    await shows(page, '[data-banner=link]', 'The control plane does not answer.');
    await shows(page, '#services', '1 serving');
  });
} else {
  t.pass('there is no browser here');
}
