// Child processes that cannot be left behind: an IPC channel ends them when this process dies, stop() ends them before, and
// what they said last is kept for the moment one of them dies by itself.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { extname } from 'node:path';
import { fileURLToPath } from 'node:url';

const KEPT_LINES = 15;
const KEPT_LINE_LENGTH = 400;

export interface ChildExit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface Child {
  readonly name: string;
  readonly pid: number | undefined;
  /** Settles once; never rejects. A child that could not be started exits with code 127. */
  readonly exited: Promise<ChildExit>;
  /** The newest lines of its output, oldest first. */
  lastLines(): readonly string[];
  signal(name: NodeJS.Signals): void;
  /** SIGTERM, then SIGKILL after the deadline. Idempotent. */
  stop(deadlineMs: number): Promise<ChildExit>;
}

/** Path of a source file of this project beside the given one, whether running as TypeScript or compiled. */
export function siblingScript(from: string, relative: string): string {
  return fileURLToPath(new URL(`${relative}${extname(fileURLToPath(from))}`, from));
}

/**
 * Starts `node SCRIPT ARGS…` with an IPC channel that ties its life to ours.
 *
 * It gets its own process group, so that Ctrl-C in the terminal reaches only us and the order of stopping stays ours.
 */
export function startNode(
  name: string,
  script: string,
  args: readonly string[],
  onLine?: (line: string) => void,
): Child {
  const child = spawn(process.execPath, [script, ...args], {
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    detached: true,
  });
  const lines: string[] = [];
  for (const stream of [child.stdout, child.stderr]) {
    if (stream !== null) {
      eachLine(stream, (line) => {
        lines.push(line.slice(0, KEPT_LINE_LENGTH));
        if (lines.length > KEPT_LINES) lines.shift();
        onLine?.(line);
      });
    }
  }
  return wrapChild(name, child, lines);
}

/** Gives any child process the same handle; `lines` is filled by whoever reads its output. */
export function wrapChild(name: string, child: ChildProcess, lines: readonly string[] = []): Child {
  const exited = new Promise<ChildExit>((resolve) => {
    child.once('exit', (code, signal) => resolve({ code, signal }));
    child.once('error', () => {
      if (child.pid === undefined) resolve({ code: 127, signal: null });
    });
  });
  let stopping: Promise<ChildExit> | null = null;
  return {
    name,
    pid: child.pid,
    exited,
    lastLines: () => lines,
    signal: (signal) => void child.kill(signal),
    stop(deadlineMs) {
      stopping ??= stopChild(child, exited, deadlineMs);
      return stopping;
    },
  };
}

async function stopChild(child: ChildProcess, exited: Promise<ChildExit>, deadlineMs: number): Promise<ChildExit> {
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), deadlineMs);
  const exit = await exited;
  clearTimeout(timer);
  // A process that the child itself left holding the pipes must not keep us.
  child.stdout?.destroy();
  child.stderr?.destroy();
  return exit;
}

function eachLine(stream: NodeJS.ReadableStream, onLine: (line: string) => void): void {
  let rest = '';
  stream.setEncoding('utf8');
  stream.on('data', (chunk: string) => {
    const parts = (rest + chunk).split('\n');
    rest = (parts.pop() ?? '').slice(0, KEPT_LINE_LENGTH);
    for (const part of parts) if (part !== '') onLine(part);
  });
  stream.on('end', () => {
    if (rest !== '') onLine(rest);
  });
}

/** `exited with code 1` or `was ended by SIGKILL`. */
export function describeExit({ code, signal }: ChildExit): string {
  return signal === null ? `exited with code ${code}` : `was ended by ${signal}`;
}

/** Resolves with the first of the given signals. The listeners go with `signal` (an AbortSignal) or with the first one. */
export async function firstSignal(names: readonly NodeJS.Signals[], signal: AbortSignal): Promise<NodeJS.Signals> {
  const done = new AbortController();
  const stop = AbortSignal.any([signal, done.signal]);
  const name = await Promise.race(names.map((each) => once(process, each, { signal: stop }).then(() => each)));
  done.abort();
  return name;
}
