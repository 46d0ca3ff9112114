// `--watch`: draws the same result again and again until the person has seen enough.

import { setTimeout as sleep } from 'node:timers/promises';
import { cutLines, plain } from './output.ts';
import { CommandFailure, type Terminal } from './terminal.ts';

const INTERVAL_MS = 2_000;
const HOME_AND_CLEAR = '\u001b[H\u001b[2J';

/**
 * Draws once, or every two seconds with `isWatching`. On a screen each frame replaces the last; in a pipe they follow
 * each other. A control plane that is gone for a while is shown, not fatal.
 *
 * @param signal  ends the watch; SIGINT ends the process anyway
 */
export async function drawResult(
  terminal: Terminal,
  isWatching: boolean,
  render: () => Promise<string>,
  signal?: AbortSignal,
): Promise<void> {
  if (!isWatching) {
    terminal.out(await render());
    return;
  }
  while (signal?.aborted !== true) {
    const frame = await render().catch((error: unknown) => {
      if (error instanceof CommandFailure) return `${plain(error.message)}\n`;
      throw error;
    });
    const stamp = new Date(terminal.epochMs()).toISOString().slice(11, 19);
    const text = `${frame}${stamp}Z, every ${INTERVAL_MS / 1000} s\n`;
    // On a screen a wrapped line would push the first ones out; a pipe gets all of it.
    terminal.out(terminal.isInteractive ? `${HOME_AND_CLEAR}${cutLines(text, terminal.columns)}` : text);
    try {
      await sleep(INTERVAL_MS, undefined, signal === undefined ? {} : { signal });
    } catch {
      return; // aborted: the watch is over
    }
  }
}
