// The law of ARCHITECTURE.md: imports point down, layers do not import sideways, pure folders name nothing impure, and every
// third-party package has one home.

import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const TOPS = ['contract', 'agent', 'control-plane', 'cli', 'gateway'];

interface SourceFile {
  readonly path: string;
  readonly text: string;
  readonly imports: readonly { readonly specifier: string; readonly isTypeOnly: boolean }[];
}

function sourceFiles(): SourceFile[] {
  return TOPS.flatMap((top) =>
    readdirSync(join(ROOT, top), { recursive: true, encoding: 'utf8' })
      .map((name) => `${top}/${name.split(sep).join('/')}`)
      .filter((path) => /\.tsx?$/.test(path) && !path.includes('node_modules'))
      .map((path) => {
        const text = readFileSync(join(ROOT, path), 'utf8');
        return { path, text, imports: importsOf(text) };
      }),
  );
}

function importsOf(text: string): { specifier: string; isTypeOnly: boolean }[] {
  const found: { specifier: string; isTypeOnly: boolean }[] = [];
  for (const match of text.matchAll(/^\s*(?:import|export)\b([^'";]*?)\bfrom\s+'([^']+)'/gm)) {
    found.push({ specifier: match[2] ?? '', isTypeOnly: /^\s*type\b/.test(match[1] ?? '') });
  }
  for (const match of text.matchAll(/^\s*import\s+'([^']+)'/gm)) {
    found.push({ specifier: match[1] ?? '', isTypeOnly: false });
  }
  for (const match of text.matchAll(/\bimport\(\s*'([^']+)'\s*\)/g)) {
    found.push({ specifier: match[1] ?? '', isTypeOnly: false });
  }
  return found;
}

/** The file that a specifier names, as a path from the root, or null for a package or a node: module. */
function resolve(from: string, specifier: string): string | null {
  if (specifier.startsWith('#contract/')) return `contract/${specifier.slice('#contract/'.length)}`;
  if (!specifier.startsWith('.')) return null;
  return normalize(join(dirname(from), specifier))
    .split(sep)
    .join('/');
}

/** `agent/proxy/http1/x.ts` → `agent/proxy`; a file directly under a top folder is its own room. */
function roomOf(path: string): string {
  const parts = path.split('/');
  if (parts[0] === 'contract') return 'contract';
  if (parts[0] === 'cli' || parts[0] === 'gateway') return parts[0];
  return parts.length > 2 ? `${parts[0]}/${parts[1]}` : path;
}

const LAYERS: Readonly<Record<string, number>> = {
  contract: 0,
  'agent/core': 1,
  'agent/clock.ts': 1,
  'agent/config.ts': 1,
  'control-plane/core': 1,
  'control-plane/config.ts': 1,
  'agent/mesh': 2,
  'agent/telemetry': 2,
  'control-plane/store': 2,
  'agent/proxy': 3,
  'agent/discovery': 3,
  'agent/health': 3,
  'agent/sync': 3,
  'agent/admin': 3,
  'control-plane/api': 3,
  'control-plane/dashboard': 3,
  'control-plane/push': 3,
  'control-plane/discovery': 3,
  'control-plane/registry': 3,
  'agent/state-file.ts': 2,
  'agent/agent.ts': 4,
  'agent/readiness.ts': 3,
  'agent/open-listener.ts': 3,
  'agent/main.ts': 4,
  'control-plane/control-plane.ts': 4,
  'control-plane/main.ts': 4,
  cli: 5,
  // Another composition of the agent's parts, inside somebody's Fastify application.
  gateway: 5,
};

/** The one home of each package (and the type-only or test-only homes that come with it). */
const PACKAGE_HOMES: Readonly<Record<string, readonly string[]>> = {
  fastify: ['agent/admin', 'control-plane/api', 'control-plane/registry', 'gateway'],
  '@fastify/http-proxy': ['control-plane/api', 'gateway'],
  '@fastify/rate-limit': ['control-plane/api'],
  '@fastify/static': ['control-plane/api'],
  '@fastify/swagger': ['control-plane/api'],
  consul: ['agent/discovery', 'control-plane/store'],
  'prom-client': ['control-plane/api'],
  pino: ['agent/telemetry', 'control-plane/control-plane.ts'],
  typebox: ['contract'],
  re2js: ['contract'],
  yaml: ['cli', 'agent/config.ts', 'control-plane/config.ts', 'contract'],
  commander: ['cli'],
  preact: ['control-plane/dashboard'],
  '@preact/signals': ['control-plane/dashboard'],
  uplot: ['control-plane/dashboard'],
  'close-with-grace': ['agent/main.ts', 'control-plane/main.ts', 'cli'],
};

const PURE = ['contract/', 'agent/core/', 'agent/proxy/http1/', 'control-plane/core/'];
const BANNED_IN_PURE: readonly [RegExp, string][] = [
  [/\bDate\.now\b|\bnew Date\(\s*\)/, 'the wall clock'],
  [/\bperformance\./, 'the monotonic clock'],
  [/\bMath\.random\b/, 'chance'],
  [/\bset(Timeout|Interval|Immediate)\b|\bqueueMicrotask\b/, 'a timer'],
  [/\bprocess\./, 'the process'],
  [/\bconsole\./, 'a log'],
  [/\basync\b|\bawait\b/, 'async'],
];

const files = sourceFiles();

t.test('every source file belongs to a layer', async (t) => {
  for (const file of files) t.ok(roomOf(file.path) in LAYERS, `${file.path} is in a known room`);
});

t.test('imports point down, and never sideways between rooms', async (t) => {
  const faults: string[] = [];
  for (const file of files) {
    const from = roomOf(file.path);
    for (const { specifier } of file.imports) {
      const target = resolve(file.path, specifier);
      if (target === null) continue;
      const to = roomOf(target);
      if (from === to) continue;
      const fromLayer = LAYERS[from] ?? -1;
      const toLayer = LAYERS[to] ?? 99;
      // clock.ts and config.ts share layer 1 with core and are the two small exceptions that core never imports as values.
      const isClock = to === 'agent/clock.ts';
      if (toLayer >= fromLayer && !isClock && !(to === 'agent/agent.ts' && from === 'agent/main.ts')) {
        if (!(fromLayer === 4 && toLayer === 4)) faults.push(`${file.path} imports ${target}`);
      }
    }
  }
  t.same(faults, []);
});

t.test('agent and control plane do not import each other', async (t) => {
  const faults = files.flatMap((file) =>
    file.imports
      .map(({ specifier }) => resolve(file.path, specifier))
      .filter(
        (target) =>
          target !== null &&
          ((file.path.startsWith('agent/') && target.startsWith('control-plane/')) ||
            (file.path.startsWith('control-plane/') && target.startsWith('agent/')) ||
            (file.path.startsWith('contract/') && !target.startsWith('contract/'))),
      )
      .map((target) => `${file.path} imports ${target}`),
  );
  t.same(faults, []);
});

t.test('pure folders name no clock, chance, timer, process, log, async or node: module', async (t) => {
  const faults: string[] = [];
  for (const file of files.filter(({ path }) => PURE.some((folder) => path.startsWith(folder)))) {
    for (const { specifier, isTypeOnly } of file.imports) {
      if (specifier.startsWith('node:')) faults.push(`${file.path} imports ${specifier}`);
      if (specifier.endsWith('/clock.ts') && !isTypeOnly) faults.push(`${file.path} imports the clock as a value`);
    }
    // Words in comments are not uses.
    const code = file.text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/(^|[^:'"])\/\/.*$/gm, '$1');
    for (const [pattern, what] of BANNED_IN_PURE) if (pattern.test(code)) faults.push(`${file.path} uses ${what}`);
  }
  t.same(faults, []);
});

t.test('each third-party package stays in its home', async (t) => {
  const faults: string[] = [];
  for (const file of files) {
    for (const { specifier, isTypeOnly } of file.imports) {
      if (specifier.startsWith('.') || specifier.startsWith('#') || specifier.startsWith('node:')) continue;
      const name = specifier.startsWith('@')
        ? specifier.split('/').slice(0, 2).join('/')
        : (specifier.split('/')[0] ?? '');
      const homes = PACKAGE_HOMES[name];
      if (homes === undefined) faults.push(`${file.path} imports ${name}, which has no home`);
      else if (!isTypeOnly && !homes.includes(roomOf(file.path))) faults.push(`${file.path} imports ${name}`);
    }
  }
  t.same(faults, []);
});

t.test('no default exports, no barrels, no grab-bag names, no module-level mutable state', async (t) => {
  const faults: string[] = [];
  for (const { path, text } of files) {
    if (/^export default\b/m.test(text)) faults.push(`${path} has a default export`);
    if (/^export \* from/m.test(text)) faults.push(`${path} re-exports a whole module`);
    if (/(^|\/)(utils?|common|shared|helpers?|misc|index)(\/|\.ts$)/.test(path))
      faults.push(`${path} is a grab-bag name`);
    if (/^(export )?let\b/m.test(text)) faults.push(`${path} has module-level mutable state`);
  }
  t.same(faults, []);
});

t.test('what every start loads takes the schemas as they were written, not TypeBox', async (t) => {
  const faults = files
    .filter(({ path }) => /^(agent\/|contract\/(?!schema\/)|control-plane\/config\.ts)/.test(path))
    .flatMap((file) =>
      file.imports
        .filter(({ isTypeOnly }) => !isTypeOnly)
        .map(({ specifier }) => resolve(file.path, specifier) ?? specifier)
        .filter((target) => target.startsWith('contract/schema/') && target !== 'contract/schema/written.ts')
        .map((target) => `${file.path} imports ${target}`),
    );
  t.same(faults, []);
});
