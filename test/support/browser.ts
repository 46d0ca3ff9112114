// Debian's Chromium for the tests of the dashboard, with an ear for everything that a page complains of or asks of strangers.

import { existsSync } from 'node:fs';
import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core';
import type { Teardown } from './processes.ts';

const CHROMIUM = '/usr/bin/chromium';
const FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking'];

/** Null where there is none, which is said; in CI that is an error. */
export async function launchBrowser(t: Teardown, what: string): Promise<Browser | null> {
  if (!existsSync(CHROMIUM)) {
    if (process.env.CI !== undefined) throw new Error(`${CHROMIUM} is missing: install the chromium package`);
    process.stderr.write(`not checked, ${CHROMIUM} is not installed: ${what}\n`);
    return null;
  }
  const browser = await chromium.launch({ executablePath: CHROMIUM, args: FLAGS });
  t.teardown(() => browser.close());
  return browser;
}

export interface WatchedPage {
  readonly page: Page;
  /** Errors and warnings of the console, and what was thrown. */
  readonly complaints: string[];
  /** Addresses of another origin that were asked for. */
  readonly foreign: string[];
}

/** A context of its own for one test. */
export async function openWatched(
  t: Teardown,
  browser: Browser,
  url: string,
  options: BrowserContextOptions = {},
): Promise<WatchedPage> {
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, ...options });
  t.teardown(() => context.close());
  const page = await context.newPage();
  const complaints: string[] = [];
  const foreign: string[] = [];
  page.on('console', (message) => {
    if (message.type() === 'error' || message.type() === 'warning') complaints.push(message.text());
  });
  page.on('pageerror', (error) => complaints.push(String(error)));
  page.on('request', (request) => {
    if (new URL(request.url()).origin !== new URL(url).origin) foreign.push(request.url());
  });
  await page.goto(url);
  return { page, complaints, foreign };
}
