// A change that a spent error budget holds back is offered by force on the page, and only such a one.

import t from 'tap';
import { launchBrowser, openWatched } from '../support/browser.ts';
import { ask, orderReport, startControlPlane } from '../support/control-plane-client.ts';

const text = (attempts: number): string =>
  `apiVersion: outrigger.dev/v1\nkind: ServicePolicy\nmetadata: { name: payments }\nspec:\n  slo: { target: 99, freezeBelow: 25 }\n  retries: { attempts: ${attempts} }\n`;

const browser = await launchBrowser(t, 'the policy editor while changes are held back');
if (browser === null) {
  t.pass('there is no browser here');
} else {
  t.test('held back, then applied by force, and written down as such', async (t) => {
    const { url } = await startControlPlane(t);
    const path = `${url}/v1/policies/ServicePolicy/payments`;
    const document = {
      apiVersion: 'outrigger.dev/v1',
      kind: 'ServicePolicy',
      metadata: { name: 'payments' },
      spec: { slo: { target: 99, freezeBelow: 25 }, retries: { attempts: 1 } },
    };
    t.equal((await ask(path, 'PUT', document)).status, 201);
    const { page, complaints } = await openWatched(t, browser, `${url}/#/policies/ServicePolicy/payments`);
    await page.locator('#source').waitFor();
    const write = async (attempts: number): Promise<void> => {
      await page.locator('#source').focus();
      await page.keyboard.press('Control+A');
      await page.keyboard.insertText(text(attempts));
      await page.locator('#editor button[type=submit]:enabled').click();
    };
    await write(2);
    await page.locator('#written.good').waitFor();
    t.equal(await page.locator('#force').count(), 0, 'nothing is held back: no force');

    const ends = { direction: 'outbound', source: 'orders', destination: 'payments', retries: 0, inFlight: 0 } as const;
    const startedAtEpochMs = Date.now();
    const told = (sequence: number, requests: number, bad: number) => {
      const edges = [{ ...ends, requests, successes: requests - bad }];
      return ask(`${url}/v1/agents/orders-1/reports`, 'POST', orderReport(sequence, { startedAtEpochMs, edges }));
    };
    await told(1, 1_000, 0);
    await told(2, 1_100, 20);
    t.match((await ask(`${url}/v1/slo/payments`, 'GET')).body, { isFrozen: true });
    await write(3);
    await page.locator('#written').getByText('error budget left').waitFor();
    t.match((await ask(path, 'GET')).body, { revision: 2 });
    await page.locator('#force').waitFor();
    await write(4);
    await page.locator('#written').getByText('error budget left').waitFor();
    await page.locator('#force').waitFor();
    await page.locator('#source').focus();
    await page.keyboard.press('Control+A');
    await page.keyboard.insertText(text(3));
    await page.locator('#force').waitFor({ state: 'detached' });
    await page.locator('#editor button[type=submit]:enabled').click();
    await page.locator('#force').click();
    await page.locator('#written.good').getByText('Revision 3').waitFor();
    t.equal(await page.locator('#force').count(), 0, 'once it is through, there is no force');
    t.match((await ask(path, 'GET')).body, { revision: 3, document: { spec: { retries: { attempts: 3 } } } });
    t.match(JSON.stringify((await ask(`${url}/v1/audit`, 'GET')).body), /revision [^"]+, by force/);
    t.same(
      complaints.filter((one) => !/status of 409/.test(one)),
      [],
    );
  });
}
