// ARCHITECTURE.md tells three walks with file names; they must be the walks that the code takes.

import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, normalize, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const PAGE = readFileSync(join(ROOT, 'ARCHITECTURE.md'), 'utf8');
const FILES = [...PAGE.matchAll(/`((?:agent|contract|control-plane|cli|test)\/[\w./-]+)`/g)].map(
  (match) => match[1] ?? '',
);

/** Steps of the walks that are one file importing the next; the composition roots join the others by functions. */
const IMPORTS: readonly (readonly [string, string])[] = [
  ['agent/proxy/listener.ts', 'agent/proxy/downstream-connection.ts'],
  ['agent/proxy/downstream-connection.ts', 'agent/proxy/http1/request-head.ts'],
  ['agent/proxy/http1/request-head.ts', 'agent/proxy/http1/framing.ts'],
  ['agent/proxy/downstream-connection.ts', 'agent/proxy/exchange.ts'],
  ['agent/proxy/exchange.ts', 'agent/proxy/destination.ts'],
  ['agent/proxy/destination.ts', 'agent/core/route.ts'],
  ['agent/proxy/destination.ts', 'agent/core/permission.ts'],
  ['agent/proxy/exchange.ts', 'agent/proxy/upstream-call.ts'],
  ['agent/proxy/upstream-call.ts', 'agent/proxy/picks.ts'],
  ['agent/proxy/picks.ts', 'agent/core/pick.ts'],
  ['agent/proxy/exchange.ts', 'agent/core/limits/gate.ts'],
  ['agent/proxy/exchange.ts', 'agent/proxy/turn.ts'],
  ['agent/proxy/upstream-call.ts', 'agent/proxy/http-attempt.ts'],
  ['agent/proxy/http-attempt.ts', 'agent/proxy/attempt.ts'],
  ['agent/proxy/pools.ts', 'agent/proxy/upstream-connection.ts'],
  ['agent/proxy/upstream-call.ts', 'agent/proxy/retries.ts'],
  ['agent/proxy/retries.ts', 'agent/core/retry/decide.ts'],
  ['agent/proxy/exchange.ts', 'agent/proxy/response-relay.ts'],
  ['agent/proxy/attempt.ts', 'agent/core/outlier/record.ts'],
  ['agent/proxy/exchange.ts', 'agent/proxy/rescue.ts'],
  ['agent/discovery/consul-source.ts', 'contract/consul/health.ts'],
  ['agent/discovery/endpoint-feed.ts', 'contract/endpoint-frames.ts'],
  ['control-plane/push/hub.ts', 'control-plane/push/endpoint-pushes.ts'],
  ['control-plane/push/endpoint-pushes.ts', 'contract/endpoint-frames.ts'],
  ['agent/discovery/watcher.ts', 'agent/discovery/guard.ts'],
  ['agent/discovery/discovery.ts', 'agent/discovery/watcher.ts'],
  ['agent/mesh/mesh.ts', 'agent/mesh/membership.ts'],
  ['agent/mesh/mesh.ts', 'agent/mesh/sweeper.ts'],
  ['agent/mesh/sweeper.ts', 'agent/core/outlier/sweep.ts'],
  ['agent/mesh/documents.ts', 'contract/policy/parse-policy.ts'],
  ['control-plane/push/hub.ts', 'control-plane/push/session.ts'],
  ['agent/sync/policy-stream.ts', 'agent/sync/verdicts.ts'],
];

t.test('every file and folder that ARCHITECTURE.md names is there', async (t) => {
  t.ok(FILES.length > 40, `${FILES.length} names found`);
  for (const file of FILES) t.ok(existsSync(join(ROOT, file)), file);
});

t.test('the steps of the walks import each other as told', async (t) => {
  for (const [from, to] of IMPORTS) t.ok(importsOf(from).includes(to), `${from} → ${to}`);
});

t.test('the request path imports neither discovery nor sync, and awaits nothing', async (t) => {
  for (const step of [
    'exchange',
    'upstream-call',
    'turn',
    'picks',
    'http-attempt',
    'attempt',
    'pools',
    'upstream-connection',
    'response-relay',
    'downstream-connection',
  ]) {
    const path = `agent/proxy/${step}.ts`;
    const code = readFileSync(join(ROOT, path), 'utf8').replace(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, '');
    t.notMatch(code, /\bawait\b|\basync\b|new Promise/, `${path} waits for nothing`);
    t.same(
      importsOf(path).filter((one) => /^agent\/(discovery|sync|admin)\//.test(one)),
      [],
      `${path} imports no source`,
    );
  }
});

function importsOf(path: string): string[] {
  return [...readFileSync(join(ROOT, path), 'utf8').matchAll(/from '([^']+)'/g)].map((match) => {
    const specifier = match[1] ?? '';
    if (specifier.startsWith('#contract/')) return `contract/${specifier.slice('#contract/'.length)}`;
    if (!specifier.startsWith('.')) return specifier;
    return normalize(join(dirname(path), specifier))
      .split(sep)
      .join('/');
  });
}
