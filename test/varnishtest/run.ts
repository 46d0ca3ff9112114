// Runs one translated file: our agent, whole and in process, where HAProxy would be; varnishtest as clients and servers.

import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createAgent } from '../../agent/agent.ts';
import { loadAgentConfig } from '../../agent/config.ts';
import { openLog } from '../../agent/telemetry/log.ts';
import type { PolicyDocument } from '../../contract/policy/policy.ts';
import type { Translation } from './translate.ts';

const LIMIT_SECONDS = '8';
/** HAProxy takes its servers in turn when it is told nothing else. */
const POLICIES: readonly PolicyDocument[] = [
  {
    apiVersion: 'outrigger.dev/v1',
    kind: 'MeshDefaults',
    metadata: { name: 'global' },
    spec: { loadBalancer: { policy: 'roundRobin' } },
  },
];

/** Null when varnishtest is content, else the end of what it says. */
export async function runTranslated(
  translation: Translation,
  ports: readonly [number, number],
): Promise<string | null> {
  const folder = mkdtempSync(join(tmpdir(), 'outrigger-vtc-'));
  const script = join(folder, 'test.vtc');
  writeFileSync(script, translation.script, 'latin1');
  const loaded = loadAgentConfig({
    file: 'agent.json',
    env: {},
    readFile: () => JSON.stringify(configOf(translation, ports, folder)),
  });
  if (!loaded.ok) throw new Error(JSON.stringify(loaded.problems));
  const log = openLog({ level: 'silent', name: 'agent' });
  const agent = createAgent({ config: loaded.value, localPolicies: POLICIES, log, softwareVersion: '0' });
  try {
    await agent.start();
    return await varnishtest(script);
  } finally {
    await agent.stop(0);
    await log.close(0);
    rmSync(folder, { recursive: true, force: true });
  }
}

function configOf(translation: Translation, [outbound, admin]: readonly [number, number], folder: string): object {
  return {
    service: { name: 'web', id: 'web-1' },
    listeners: { outbound: `127.0.0.1:${outbound}`, admin: `127.0.0.1:${admin}` },
    upstreams: translation.upstreams.map(({ service, port, endpoints }) => {
      return { service, listen: `127.0.0.1:${port}`, endpoints: endpoints.map((endpoint) => `127.0.0.1:${endpoint}`) };
    }),
    consul: false,
    controlPlane: false,
    stateDir: join(folder, 'state'),
  };
}

function varnishtest(script: string): Promise<string | null> {
  return new Promise((resolve, reject) => {
    const child = spawn('varnishtest', ['-t', LIMIT_SECONDS, '-v', script], { stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    const collect = (bytes: Buffer) => {
      output += bytes.toString('latin1');
    };
    child.stdout.on('data', collect);
    child.stderr.on('data', collect);
    child.on('error', reject);
    child.on('close', (code) => resolve(code === 0 ? null : lastWords(output)));
  });
}

/** The lines that say what was expected and what came. */
function lastWords(output: string): string {
  const marked = output.split('\n').filter((line) => line.startsWith('----') || line.includes('EXPECT'));
  return (marked.length > 0 ? marked : output.split('\n').slice(-12)).slice(-4).join('\n');
}
