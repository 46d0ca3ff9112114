// Configuration → createAgent → signals. Nothing else.

import { readFileSync } from 'node:fs';
import closeWithGrace from 'close-with-grace';
import type { Problem } from '#contract/problem.ts';
import { formatProblems, readSources } from '#contract/text/problem-text.ts';
import { createAgent } from './agent.ts';
import { loadAgentConfig } from './config.ts';
import { loadLocalPolicies } from './sync/local-policies.ts';
import { openLog } from './telemetry/log.ts';

/** What a stop may take altogether. */
const STOP_DEADLINE_MS = 30_000;

export interface RunAgentOptions {
  /** YAML or JSON; null: the environment alone. */
  readonly configFile: string | null;
  readonly env: NodeJS.ProcessEnv;
}

/** Runs the agent until a signal. Resolves once it has started; with problems it prints all of them and sets exit code 2. */
export async function runAgent({ configFile, env }: RunAgentOptions): Promise<void> {
  const config = loadAgentConfig({ ...(configFile === null ? {} : { file: configFile }), env, readFile });
  if (!config.ok) return refuse(config.problems);
  const local = config.value.policies === null ? null : loadLocalPolicies(config.value.policies);
  if (local !== null && !local.ok) return refuse(local.problems);

  const log = openLog({ level: config.value.log.level, name: 'outrigger-agent' });
  const agent = createAgent({
    config: config.value,
    localPolicies: local?.value ?? null,
    log,
    softwareVersion: softwareVersion(),
  });
  // close-with-grace also answers an uncaught exception: it is logged, the agent drains, and the exit code is 1.
  closeWithGrace({ delay: STOP_DEADLINE_MS + 5_000, logger: false }, async ({ err, signal }) => {
    if (err !== undefined) log.logger.fatal({ err }, 'unexpected error, stopping');
    else log.logger.info({ signal }, 'stopping');
    await agent.stop(STOP_DEADLINE_MS);
    await log.close(1_000);
  });
  try {
    await agent.start();
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    process.stderr.write(`outrigger agent: ${message}\n`);
    process.exit(1);
  }
}

function readFile(path: string): string {
  return readFileSync(path, 'utf8');
}

function refuse(problems: readonly Problem[]): void {
  process.stderr.write(`${formatProblems(problems, { sources: readSources(problems, readFile) })}\n`);
  process.exitCode = 2;
}

function softwareVersion(): string {
  const manifest: unknown = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'));
  return (manifest as { version: string }).version; // our own file
}

if (import.meta.main) await runAgent({ configFile: process.argv[2] ?? null, env: process.env });
