// Walks the way of somebody who meets Outrigger for the first time, in a new folder with an empty npm cache, and prints how long each step
// takes: clone, install, demo, and an ejection explained. docs/first-steps.md tells it. Ends with 1 when it takes three minutes or more.
// Usage: node scripts/first-steps.mjs [REPOSITORY]   (default: this checkout, as committed; needs git, npm and the package registry)
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const LIMIT_S = 180;
const repository = process.argv[2] ?? `file://${fileURLToPath(new URL('..', import.meta.url))}`;
const home = mkdtempSync(join(tmpdir(), 'outrigger-first-steps-'));
const checkout = join(home, 'outrigger');
mkdirSync(join(home, 'tmp'));
// Nothing of this checkout, and nothing that npm kept from before.
const env = {
  ...Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(npm_|NODE_)/i.test(name))),
  PATH: (process.env.PATH ?? '')
    .split(':')
    .filter((part) => !part.includes('node_modules'))
    .join(':'),
  npm_config_cache: join(home, 'cache'),
  TMPDIR: join(home, 'tmp'),
};
let startedAt = performance.now();
const steps = [];

try {
  await step('git clone URL && cd outrigger', () =>
    run(home, 'git', 'clone', '--quiet', '--depth', '1', repository, checkout),
  );
  await step('npm ci', () => run(checkout, 'npm', 'ci'));
  const demo = start(checkout, 'npm', 'run', 'demo');
  try {
    await step('npm run demo, until the mesh is ready', () => demo.until(/mesh ready/));
    await step('… until the first ejection', () => demo.until(/: payments-3 ejected for .*/));
    await step('npx outrigger endpoints payments', () => explained());
  } finally {
    await demo.end();
  }
} finally {
  rmSync(home, { recursive: true, force: true });
}
const total = steps.reduce((sum, { seconds }) => sum + seconds, 0);
console.log('\nseconds  step');
for (const { name, seconds } of steps) console.log(`${seconds.toFixed(1).padStart(7)}  ${name}`);
console.log(`${total.toFixed(1).padStart(7)}  in all, of ${LIMIT_S} at most`);
process.exitCode = total < LIMIT_S ? 0 : 1;

async function step(name, act) {
  startedAt = performance.now();
  const said = await act();
  steps.push({ name, seconds: (performance.now() - startedAt) / 1000 });
  console.log(`$ ${name}\n${said.trimEnd()}\n`);
}

/** Exit codes other than 0 and those in `accept` are errors. */
async function run(cwd, ...command) {
  const { text, code } = await output(cwd, command);
  if (code !== 0) throw new Error(`${command.join(' ')} ended with ${code}:\n${text}`);
  return text;
}

/** 1 is what `endpoints` ends with while one is out. Asked again when the endpoint came back just before. */
async function explained() {
  for (;;) {
    const { text, code } = await output(checkout, ['npx', 'outrigger', 'endpoints', 'payments']);
    if (code === 1 && /ejected for .*: /.test(text)) return text;
    if (code > 1) throw new Error(`outrigger endpoints ended with ${code}:\n${text}`);
    await sleep(500);
  }
}

async function output(cwd, [file, ...args]) {
  const child = spawn(file, args, { cwd, env, stdio: ['ignore', 'pipe', 'pipe'] });
  let text = '';
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (part) => (text += part));
  const [code] = await once(child, 'close');
  return { text, code };
}

/** A command that goes on: waited for by what it says, ended with all it started. */
function start(cwd, file, ...args) {
  const child = spawn(file, args, { cwd, env, stdio: ['ignore', 'pipe', 'pipe'], detached: true });
  let text = '';
  let seen = 0;
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (part) => (text += part));
  const ended = once(child, 'exit');
  return {
    /** Resolves with what was said since the last time, up to the line that matches. */
    async until(pattern) {
      for (;;) {
        const found = pattern.exec(text.slice(seen));
        if (found !== null) {
          const end = text.indexOf('\n', seen + found.index);
          if (end >= 0) {
            const said = text.slice(seen, end + 1);
            seen = end + 1;
            return said;
          }
        }
        if (child.exitCode !== null) throw new Error(`${args.join(' ')} ended with ${child.exitCode}:\n${text}`);
        await sleep(20);
      }
    },
    async end() {
      if (child.exitCode === null) process.kill(-child.pid, 'SIGINT');
      await ended;
    },
  };
}
