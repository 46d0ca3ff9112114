// Writes docs/screenshots/*.png: every screen of the dashboard, light and dark, against a demo that it starts and ends.
// Usage: node scripts/screenshots.mjs (Linux with Debian's chromium; about a minute and a half).
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';

const root = fileURLToPath(new URL('..', import.meta.url));
const folder = `${root}docs/screenshots`;
const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--no-first-run',
  '--disable-background-networking',
  '--font-render-hinting=none',
];
const VIEW = { width: 1440, height: 900 };
/** Long enough for lines in the charts, and until after the first ejection of a round. */
const LOOK_MS = 45_000;
const ROUND = '60s';

mkdirSync(folder, { recursive: true });
const demo = spawn(process.execPath, [`${root}cli/main.ts`, 'demo', '--duration', ROUND], {
  stdio: ['ignore', 'pipe', 'inherit'],
});
const ended = once(demo, 'exit');
const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: FLAGS });
try {
  const url = await addressOf(demo);
  // Both watch from the beginning: the page draws what it saw.
  const pages = await Promise.all(['light', 'dark'].map((theme) => openPage(url, theme)));
  await sleep(LOOK_MS);
  for (const { page, theme } of pages) await shootAll(page, theme);
} finally {
  await browser.close();
  demo.kill('SIGTERM');
  await ended;
}

async function addressOf({ stdout }) {
  let text = '';
  for await (const chunk of stdout.setEncoding('utf8').iterator({ destroyOnReturn: false })) {
    text += chunk;
    const found = /dashboard (http:\S+)/.exec(text);
    if (found !== null) {
      stdout.resume(); // a full pipe would stop the demo
      return found[1];
    }
  }
  throw new Error(`the demo ended early: ${text}`);
}

async function openPage(url, theme) {
  const context = await browser.newContext({ viewport: VIEW, colorScheme: theme, reducedMotion: 'reduce' });
  const page = await context.newPage();
  await page.goto(url);
  return { page, theme };
}

async function shootAll(page, theme) {
  const go = async (hash, ready) => {
    await page.evaluate((to) => {
      location.hash = to;
    }, hash);
    await page.locator(ready).first().waitFor();
    await sleep(1_200);
  };
  const shoot = (name) => page.screenshot({ path: `${folder}/${name}-${theme}.png` });
  await go('#/mesh', '[data-node=payments]');
  await shoot('mesh');
  await go('#/service/payments', '#slo meter');
  await shoot('service');
  await go('#/endpoints', '#endpoints tbody [data-row]');
  await shoot('endpoints');
  await page.getByRole('button', { name: 'Drain payments-1' }).click();
  await page.locator('dialog').waitFor();
  await shoot('endpoints-drain');
  await page.keyboard.press('Escape');
  await go('#/timeline', '#timeline li');
  await shoot('timeline');
  await go('#/policies/ServicePolicy/payments', '#source');
  await page.locator('#source').press('Control+End');
  await page.locator('#source').pressSequentially('  timeouts:\n  request: soon');
  await page.locator('#problems').waitFor();
  await shoot('policies');
}
