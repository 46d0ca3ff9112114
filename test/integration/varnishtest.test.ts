// HAProxy's regression tests, as Debian's source package ships them, with our agent in HAProxy's place. Every file passes or
// stands in test/varnishtest/exceptions.md with a reason. In CI the absence of the tools is a failure, elsewhere a skip.

import { execFileSync } from 'node:child_process';
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { freePorts } from '../support/processes.ts';
import { runTranslated } from '../varnishtest/run.ts';
import { translate } from '../varnishtest/translate.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
/** More than any of the files needs. */
const PORTS = 130;
const AT_ONCE = 4;
/** A port found free may be taken before varnishtest binds it: then, and only then, the file is run again with other ports. */
const PORT_TAKEN = /cannot be resolved: bind\(2\)/;
const TRIES = 3;

interface Rows {
  /** File → reason why it is not run. */
  readonly excepted: ReadonlyMap<string, string>;
  /** File → clients that run, the others being excepted. */
  readonly parts: ReadonlyMap<string, readonly string[]>;
}

function readRows(): Rows {
  const excepted = new Map<string, string>();
  const parts = new Map<string, readonly string[]>();
  for (const line of readFileSync(join(ROOT, 'test/varnishtest/exceptions.md'), 'utf8').split('\n')) {
    const [, file = '', clients = '', reason = ''] = line.split('|').map((cell) => cell.trim());
    if (!file.endsWith('.vtc`')) continue;
    const name = file.slice(1, -1);
    if (reason === '') throw new Error(`no reason for ${name}`);
    if (clients === 'none') excepted.set(name, reason);
    else parts.set(name, clients.split(' '));
  }
  return { excepted, parts };
}

/** The folder of the tests, or null where the tools are missing and that is allowed. */
function findTests(): string | null {
  try {
    execFileSync('varnishtest', ['-h'], { stdio: 'ignore' });
  } catch (error) {
    const isMissing = error instanceof Error && 'code' in error && error.code === 'ENOENT';
    if (isMissing) return missing('varnishtest is missing: install the varnish package', error);
  }
  try {
    return execFileSync(join(ROOT, 'scripts/install-reg-tests.sh'), {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
    }).trim();
  } catch (error) {
    return missing('the haproxy source package cannot be had', error);
  }
}

function missing(what: string, cause: unknown): null {
  if (process.env.CI !== undefined) throw new Error(what, { cause });
  process.stderr.write(`not checked, ${what}\n`);
  return null;
}

/** What went wrong in varnishtest's words, or null. */
async function runOnFreePorts(text: string, clients: readonly string[] | null): Promise<string | null> {
  const free = await freePorts(PORTS);
  const port = () => free.pop() ?? 0;
  return runTranslated(translate(text, port, clients), [port(), port()]);
}

t.test("HAProxy's own tests: each passes or is excepted with a reason", async (t) => {
  const folder = findTests();
  if (folder === null) return;
  const files = globSync('**/*.vtc', { cwd: folder }).sort();
  const { excepted, parts } = readRows();
  for (const name of [...excepted.keys(), ...parts.keys()]) t.ok(files.includes(name), `${name} is in the package`);
  const applicable = files.filter((name) => !excepted.has(name));
  let passed = 0;
  const run = async (): Promise<void> => {
    for (let name = applicable.shift(); name !== undefined; name = applicable.shift()) {
      const clients = parts.get(name) ?? null;
      const text = readFileSync(join(folder, name), 'latin1');
      let words = await runOnFreePorts(text, clients);
      for (let again = 1; again < TRIES && PORT_TAKEN.test(words ?? ''); again++) {
        words = await runOnFreePorts(text, clients);
      }
      t.equal(words, null, `${name}${clients === null ? '' : ` (${clients.join(' ')})`}`);
      if (words === null) passed += 1;
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, run));
  t.comment(`${passed} of ${files.length} files pass (${parts.size} in part), ${excepted.size} are excepted`);
  t.ok(passed + excepted.size >= 40);
});
