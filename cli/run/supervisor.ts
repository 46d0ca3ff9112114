// Runs an application with its agent: agent first, application second; on the way down the other way round. Each is started
// again when it crashes. Knows no configuration and no command line.

import { constants } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Clock, Random } from '../../agent/clock.ts';
import { type Child, type ChildExit, describeExit } from '../children.ts';
import { CommandFailure, EXIT } from '../terminal.ts';
import { PROVEN_AFTER_MS, restartDelayMs } from './backoff.ts';

export interface SupervisorOptions {
  startAgent(): Child;
  startApp(): Child;
  /** One probe of the agent's readiness. */
  isAgentReady(): Promise<boolean>;
  /** Tells the agent that the instance is about to go, before the application hears of it. Must not reject. */
  drainAgent(): Promise<void>;
  say(text: string): void;
  readonly clock: Clock;
  readonly random: Random;
  readonly readyDeadlineMs: number;
  /** Given to the application after a signal, and to the agent after that. */
  readonly graceMs: number;
  /** False: a crash of the application ends the run with its exit code. */
  readonly restartsApp: boolean;
}

const PROBE_EVERY_MS = 50;

export class Supervisor {
  readonly #options: SupervisorOptions;
  readonly #stopping = new AbortController();
  #agent: Child | null = null;
  #app: Child | null = null;
  #isEnding = false;

  constructor(options: SupervisorOptions) {
    this.#options = options;
  }

  /** @returns the exit code of the application: its own, or 128 + the number of the signal that ended it */
  async run(): Promise<number> {
    try {
      await this.#startAgent();
      const exit = await this.#keepAppRunning();
      return exit === null ? EXIT.ok : codeOf(exit);
    } finally {
      this.#isEnding = true;
      this.#stopping.abort();
      await this.#agent?.stop(this.#options.graceMs);
    }
  }

  /**
   * Passes a signal on and lets the run end when the application does.
   *
   * @param isDelivered  true when the terminal has sent the signal to the application already
   */
  async signal(name: NodeJS.Signals, isDelivered: boolean): Promise<void> {
    const isFirst = !this.#stopping.signal.aborted;
    this.#stopping.abort();
    if (isFirst) await this.#options.drainAgent();
    const app = this.#app;
    if (app === null) return;
    if (!isDelivered) app.signal(name);
    const timer = setTimeout(() => app.signal('SIGKILL'), this.#options.graceMs);
    await app.exited;
    clearTimeout(timer);
  }

  async #startAgent(): Promise<void> {
    const { clock, readyDeadlineMs } = this.#options;
    const agent = this.#options.startAgent();
    this.#agent = agent;
    let exit: ChildExit | null = null;
    void agent.exited.then((ended) => {
      exit = ended;
    });
    const giveUpAt = clock.now() + readyDeadlineMs;
    while (!(await this.#options.isAgentReady())) {
      if (exit !== null) throw agentFailure(agent, exit);
      if (this.#stopping.signal.aborted) return;
      if (clock.now() >= giveUpAt) {
        throw new CommandFailure(`the agent was not ready within ${readyDeadlineMs / 1000} s`, {
          exitCode: EXIT.problemFound,
          next: 'ask it why: GET /ready on its admin address; --ready-timeout waits longer',
        });
      }
      await sleep(PROBE_EVERY_MS);
    }
    void this.#keepAgentRunning(agent);
  }

  /** The application keeps running without its agent: taking it down as well would turn one fault into two. */
  async #keepAgentRunning(first: Child): Promise<void> {
    let agent = first;
    let crashes = 0;
    for (;;) {
      const startedAt = this.#options.clock.now();
      const exit = await agent.exited;
      if (this.#isEnding) return;
      crashes = this.#crashesAfter(crashes, startedAt);
      if (!(await this.#pause('agent', exit, crashes))) return;
      agent = this.#options.startAgent();
      this.#agent = agent;
    }
  }

  /** Null when the run was stopped before the application was started. */
  async #keepAppRunning(): Promise<ChildExit | null> {
    let crashes = 0;
    let exit: ChildExit | null = null;
    while (!this.#stopping.signal.aborted) {
      const startedAt = this.#options.clock.now();
      this.#app = this.#options.startApp();
      exit = await this.#app.exited;
      this.#app = null;
      const isDone = exit.code === 0 || exit.code === 127 || !this.#options.restartsApp;
      if (isDone || this.#stopping.signal.aborted) return exit;
      crashes = this.#crashesAfter(crashes, startedAt);
      if (!(await this.#pause('application', exit, crashes))) return exit;
    }
    return exit;
  }

  #crashesAfter(former: number, startedAt: number): number {
    return this.#options.clock.now() - startedAt >= PROVEN_AFTER_MS ? 1 : former + 1;
  }

  /** False when the run is stopped meanwhile. */
  async #pause(who: string, exit: ChildExit, crashes: number): Promise<boolean> {
    const delay = restartDelayMs(crashes, this.#options.random);
    this.#options.say(`${who} ${describeExit(exit)}; starting it again in ${(delay / 1000).toFixed(1)} s`);
    try {
      await sleep(delay, undefined, { signal: this.#stopping.signal });
      return true;
    } catch {
      return false; // aborted: nothing is started any more
    }
  }
}

function agentFailure(agent: Child, exit: ChildExit): CommandFailure {
  const lines = agent.lastLines().map((line) => `\n       ${line}`);
  return new CommandFailure(`the agent ${describeExit(exit)} before it was ready${lines.join('')}`, {
    exitCode: exit.code === EXIT.usage ? EXIT.usage : EXIT.problemFound,
  });
}

/** As a shell would say it. */
function codeOf({ code, signal }: ChildExit): number {
  return code ?? 128 + (signal === null ? 0 : constants.signals[signal]);
}
