// The dashboard in front of a mesh that runs: the demo as a person starts it, Chromium, and nothing in between.

import type { Browser, Page } from 'playwright-core';
import t, { type Test } from 'tap';
import { launchBrowser, openWatched, type WatchedPage } from '../support/browser.ts';
import { startDemo } from '../support/running-demo.ts';

const WAIT_MS = 20_000;
const PAGE_LIMIT_BYTES = 100_000;
/** The promise is 2 s; a machine that other tests share may be later, and the figure is printed. */
const SHOWN_WITHIN_MS = 6_000;
const PAINT_WITHIN_MS = 5_000;

/** What a browser says about an answer that the page asked for on purpose, to be refused. */
const ON_PURPOSE = /status of (409|422)/;
const unasked = (complaints: readonly string[]) => complaints.filter((text) => !ON_PURPOSE.test(text));

async function watch(t: Test, browser: Browser, url: string): Promise<WatchedPage> {
  const watched = await openWatched(t, browser, url);
  watched.page.setDefaultTimeout(WAIT_MS);
  await watched.page.locator('[data-node=payments]').waitFor();
  return watched;
}

function rowOf(page: Page, instance: string) {
  return page.locator('#endpoints tr[data-row]').filter({ has: page.getByText(instance, { exact: true }) });
}

const browser = await launchBrowser(t, 'the dashboard before the demo');
if (browser === null) {
  t.pass('there is no browser here');
} else {
  // A round so long that nothing breaks by itself while the tests look.
  const demo = await startDemo(t, '--duration', '60m', '--rps', '50');

  t.test('each screen loads by its link, light, and without a foreign request', async (t) => {
    const { page, complaints, foreign } = await watch(t, browser, demo.url);
    // An edge comes with the first report about it.
    await page.locator('[data-edge]').nth(2).waitFor();
    t.equal(await page.locator('[data-edge]').count(), 3, 'outside to web, web to orders, orders to payments');
    const paint = Number(
      await page.evaluate(`performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? NaN`),
    );
    const bytes = Number(
      await page.evaluate(
        `performance.getEntriesByType('resource').concat(performance.getEntriesByType('navigation'))
          .filter(({ name }) => !name.includes('/v1/')).reduce((sum, { encodedBodySize }) => sum + encodedBodySize, 0)`,
      ),
    );
    t.comment(`page ${bytes} bytes gzip, first paint after ${Math.round(paint)} ms`);
    t.ok(bytes > 10_000 && bytes < PAGE_LIMIT_BYTES, `${bytes} bytes are loaded`);
    t.ok(paint < PAINT_WITHIN_MS, `first paint after ${paint} ms`);
    for (const [link, part, text] of [
      ['#/service/payments', '#slo', 'Budget left'],
      ['#/service/payments', '#effective', 'ServicePolicy/payments'],
      ['#/endpoints?q=payments', '#endpoints', 'payments-4'],
      ['#/timeline', '#timeline', 'opened its policy stream'],
      ['#/policies/MeshDefaults/global', '#source', ''],
    ] as const) {
      await page.goto(`${demo.url}/${link}`);
      await page.reload();
      await page.locator(part).filter({ hasText: text }).first().waitFor();
    }
    t.equal(await page.locator('#agents tbody tr').count(), 7);
    await page.goto(`${demo.url}/#/service/payments`);
    await page.locator('.plot canvas').nth(1).waitFor();
    t.same(unasked(complaints), []);
    t.same(foreign, []);
  });

  t.test('an ejection appears while it is news', async (t) => {
    const { page, complaints } = await watch(t, browser, demo.url);
    await page.goto(`${demo.url}/#/timeline?lane=ejections&q=payments-2`);
    await demo.setFault('payments-2', '500');
    await page.locator('#timeline li').filter({ hasText: 'ejected' }).first().waitFor();
    const shownAt = Date.now();
    const toldAt = Date.parse((await page.locator('#timeline li time').last().getAttribute('datetime')) ?? '');
    t.comment(`ejection on the page ${shownAt - toldAt} ms after it happened`);
    t.ok(shownAt - toldAt < SHOWN_WITHIN_MS, `${shownAt - toldAt} ms`);
    await page.goto(`${demo.url}/#/mesh`);
    await page.locator('[data-node=payments] .badge').waitFor();
    await page.goto(`${demo.url}/#/endpoints?state=ejected`);
    const row = rowOf(page, 'payments-2').filter({ hasText: 'ejected' });
    await row.waitFor();
    const said = await row.locator('.sentence').getAttribute('title');
    t.match(said, /ejected for [0-9.]+ s .*: .{10,}/, 'the whole sentence on demand');
    const cause = await row.locator('.sentence').innerText();
    t.ok(cause.length > 10 && said?.endsWith(cause), `the cause at once: ${cause}`);
    await demo.setFault('payments-2', 'ok');
    t.same(unasked(complaints), []);
  });

  t.test('eject and restore from the table', async (t) => {
    const { page, complaints } = await watch(t, browser, demo.url);
    await page.goto(`${demo.url}/#/endpoints`);
    await page.getByRole('button', { name: 'Eject payments-1' }).click();
    await page.locator('dialog input[name=reason]').fill('disk <b>replaced</b>');
    await page.locator('dialog button[type=submit]').click();
    await page.locator('.answers .good').nth(1).waitFor();
    t.equal(await page.locator('.answers li').count(), 2, 'both agents of orders did it');
    await page.getByRole('button', { name: 'Close' }).click();
    const row = rowOf(page, 'payments-1');
    await row.filter({ hasText: 'ejected' }).filter({ hasText: 'disk <b>replaced</b>' }).waitFor();
    t.equal(await row.locator('b').count(), 0, 'a reason is text');
    await page.getByRole('button', { name: 'Restore payments-1' }).click();
    await page.locator('dialog button[type=submit]').click();
    await page.locator('.answers .good').nth(1).waitFor();
    await page.keyboard.press('Escape');
    await row.filter({ hasText: 'serving' }).waitFor();
    t.same(unasked(complaints), []);
  });

  t.test('a bad policy shows its line, and a rollout is watched to the end', { timeout: 110_000 }, async (t) => {
    const { page, complaints } = await watch(t, browser, demo.url);
    await page.goto(`${demo.url}/#/policies/ServicePolicy/payments`);
    const source = page.locator('#source');
    const text = (await source.inputValue()).replace(/backendRequest: .*/, 'backendRequest: soon');
    const line = text.split('\n').findIndex((one) => one.includes('soon')) + 1;
    await source.fill(text);
    await page
      .locator('#problems')
      .filter({ hasText: `${line}:` })
      .waitFor();
    t.match(await page.locator('#problems').innerText(), /backendRequest/);
    t.match(await page.locator(`.gutter [data-line="${line}"]`).getAttribute('class'), /bad/);
    t.equal(await page.locator('#editor button[type=submit]').isDisabled(), true);

    await source.fill(text.replace('soon', '450ms'));
    await page.locator('.differences').filter({ hasText: '450ms' }).waitFor();
    await page.locator('select[name=soak]').selectOption('5s');
    await page.locator('input[name=message]').fill('a little more time');
    await page.getByRole('button', { name: 'Start rollout' }).click();
    await page.locator('#rollout[data-state=running]').waitFor();
    await page.locator('#agents').getByText('staged').first().waitFor();
    await page.locator('#rollout[data-state=completed]').waitFor({ timeout: 90_000 });
    const version = /version (\d+)/.exec(await page.locator('#rollout').innerText())?.[1] ?? '';
    t.ok(Number(version) > 0, 'the panel says which version');
    await page.locator('#totals, #agents').first().waitFor();
    t.equal(await page.locator('#agents .pill').filter({ hasText: 'ACK' }).count(), 7, 'every agent acknowledged');
    t.same(unasked(complaints), []);
  });

  t.test('a whole task by keyboard: find an endpoint, drain it, bring it back', async (t) => {
    const { page, complaints } = await watch(t, browser, demo.url);
    const press = async (...keys: string[]): Promise<void> => {
      for (const key of keys) await page.keyboard.press(key);
    };
    const focused = () => page.evaluate(`document.activeElement.textContent.trim()`);
    await press('Tab');
    t.equal(await focused(), 'Skip to the content', 'first of all');
    await press('Enter', '?');
    await page.locator('dialog .keys').waitFor();
    await press('Escape', 'g', 'e');
    await page.locator('#endpoints').waitFor();
    await press('/');
    await page.keyboard.type('payments-4');
    await page.locator('#endpoints tr[data-row]').nth(1).waitFor({ state: 'detached' });
    t.match(page.url(), /q=payments-4/, 'the filter is part of the link');
    await page.evaluate(`document.activeElement.blur()`);
    await press('j', 'Tab', 'Tab', 'Tab');
    t.equal(await focused(), 'Drain');
    await press('Enter');
    await page.locator('dialog').waitFor();
    await press('Tab', 'Tab');
    await page.keyboard.type('no mouse');
    await press('Enter');
    await page.locator('.answers .good').nth(1).waitFor();
    await press('Escape');
    await page.locator('dialog').waitFor({ state: 'detached' });
    await page.locator('#endpoints').getByText('draining', { exact: true }).waitFor();
    t.match(await page.evaluate('document.activeElement.dataset.row'), /payments-4/, 'the focus is back at the row');
    await press('Tab', 'Tab');
    t.equal(await focused(), 'Restore');
    await press('Enter');
    await page.locator('dialog').waitFor();
    await press('Tab', 'Enter');
    await page.locator('.answers .good').nth(1).waitFor();
    await press('Escape');
    await page.locator('#endpoints').getByText('serving', { exact: true }).waitFor();
    t.same(unasked(complaints), []);
  });
}
