// The pictures of the dashboard: every screen in both themes, small enough to be looked at, and each shown where it is told of.

import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import t from 'tap';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const FOLDER = `${ROOT}docs/screenshots`;
const LIMIT_BYTES = 150_000;
const SCREENS = readdirSync(`${ROOT}control-plane/dashboard/src/screens`).map((file) => file.replace(/\.tsx$/, ''));

t.test('every screen has a light and a dark picture of its own that docs/dashboard.md shows', async (t) => {
  const page = readFileSync(`${ROOT}docs/dashboard.md`, 'utf8');
  const pictures = readdirSync(FOLDER).sort();
  for (const screen of SCREENS) {
    for (const theme of ['light', 'dark']) t.ok(pictures.includes(`${screen}-${theme}.png`), `${screen}, ${theme}`);
  }
  const shown = [...page.matchAll(/\]\(screenshots\/([\w-]+\.png)\)/g)].map(([, name]) => name).sort();
  t.same(shown, pictures, 'what is shown is there, and what is there is shown');
  const bytes = pictures.map((name) => readFileSync(`${FOLDER}/${name}`));
  t.equal(new Set(bytes.map((one) => one.toString('base64'))).size, pictures.length, 'no picture twice');
  for (const [index, one] of bytes.entries()) {
    t.equal(one.toString('latin1', 1, 4), 'PNG');
    t.ok(one.length <= LIMIT_BYTES, `${pictures[index]}: ${one.length} bytes`);
  }
});

t.test('the README shows one of them', async (t) => {
  t.match(readFileSync(`${ROOT}README.md`, 'utf8'), /\(docs\/screenshots\/mesh-light\.png\)/);
});
