// Configuration in, a running control plane, and an orderly end on signals. Nothing else.

import { readFileSync } from 'node:fs';
import closeWithGrace from 'close-with-grace';
import { formatProblems, readSources } from '#contract/text/problem-text.ts';
import { loadControlPlaneConfig } from './config.ts';
import { createControlPlane } from './control-plane.ts';

/** Exit code for usage and configuration mistakes. */
const EXIT_USAGE = 2;
const EXIT_FAILED = 1;
const STOP_DEADLINE_MS = 5_000;

export interface RunOptions {
  /** Null: environment and defaults only. */
  readonly configFile: string | null;
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** Runs until a signal. Settles once it serves, or with process.exitCode set when it cannot. */
export async function runControlPlane({ configFile, env }: RunOptions): Promise<void> {
  const config = loadControlPlaneConfig({
    ...(configFile === null ? {} : { file: configFile }),
    env,
    readFile,
  });
  if (!config.ok) {
    const sources = readSources(config.problems, readFile);
    process.stderr.write(`${formatProblems(config.problems, { sources })}\n`);
    process.exitCode = EXIT_USAGE;
    return;
  }
  const controlPlane = createControlPlane({ config: config.value });
  const grace = closeWithGrace({ delay: STOP_DEADLINE_MS * 2, logger: undefined }, async ({ err }) => {
    if (err !== undefined) process.stderr.write(`${err.stack ?? err.message}\n`);
    await controlPlane.stop(STOP_DEADLINE_MS);
  });
  try {
    await controlPlane.start();
  } catch (error) {
    process.stderr.write(`error ${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = EXIT_FAILED;
    grace.uninstall();
  }
}

function readFile(path: string): string {
  return readFileSync(path, 'utf8');
}

if (import.meta.main) {
  await runControlPlane({ configFile: process.argv[2] ?? process.env.OUTRIGGER_CONFIG ?? null, env: process.env });
}
