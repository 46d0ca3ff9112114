// Writes docs/screenshots/*.png: every screen of the dashboard, light and dark, against a demo that it starts, breaks and ends.
// Usage: npm exec -- node scripts/screenshots.mjs (Linux with Debian's chromium; about a minute and a half).
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
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
const VIEW = { width: 1280, height: 800 };
/** Long enough for lines in the charts. */
const CALM_MS = 25_000;
const BROKEN_MS = 20_000;
/** Ejection times stretch with the round: the broken instance stays out while the pictures are taken. */
const ROUND = '10m';
const BROKEN = 'payments-3';
const LIMIT_BYTES = 150_000;

mkdirSync(folder, { recursive: true });
// A folder of its own, so that `break` finds this demo and no other.
const env = { ...process.env, TMPDIR: mkdtempSync(join(tmpdir(), 'outrigger-screenshots-')) };
const command = (...args) =>
  spawn(process.execPath, [`${root}cli/main.ts`, ...args], { env, stdio: ['ignore', 'pipe', 'inherit'] });
const demo = command('demo', '--calm', '--duration', ROUND);
const ended = once(demo, 'exit');
const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: FLAGS });
try {
  const url = await addressOf(demo);
  // Both watch from the beginning: the page draws what it saw.
  const pages = await Promise.all(['light', 'dark'].map((theme) => openPage(url, theme)));
  await sleep(CALM_MS);
  await once(command('break', BROKEN, '500').stdout.resume(), 'end');
  await sleep(BROKEN_MS);
  for (const { page, theme } of pages) await shootAll(page, theme);
} finally {
  await browser.close();
  demo.kill('SIGTERM');
  await ended;
  rmSync(env.TMPDIR, { recursive: true, force: true });
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
  await page.bringToFront();
  const go = async (hash, ready) => {
    await page.evaluate((to) => {
      location.hash = to;
    }, hash);
    await page.locator(ready).first().waitFor();
    await sleep(1_200);
  };
  const shoot = async (name) => {
    const path = `${folder}/${name}-${theme}.png`;
    await page.screenshot({ path });
    const { size } = statSync(path);
    if (size > LIMIT_BYTES) throw new Error(`${path} has ${size} bytes, at most ${LIMIT_BYTES} are allowed`);
  };
  await go('#/mesh', '[data-node=payments] .badge');
  await shoot('mesh');
  await go('#/service/payments', '#slo meter');
  await shoot('service');
  await go('#/endpoints', '#endpoints tr.row-bad');
  await shoot('endpoints');
  await page.getByRole('button', { name: 'Drain payments-1' }).click();
  await page.locator('dialog').waitFor();
  await page.locator('dialog input[name=reason]').fill('kernel update');
  await shoot('endpoints-drain');
  await page.keyboard.press('Escape');
  await go('#/timeline?span=2', '#timeline li');
  await shoot('timeline');
  await go('#/policies/ServicePolicy/payments', '#source');
  const source = page.locator('#source');
  await source.fill((await source.inputValue()).replace(/backendRequest: .*/, 'backendRequest: soon'));
  await page.locator('#problems').waitFor();
  await shoot('policies');
}
