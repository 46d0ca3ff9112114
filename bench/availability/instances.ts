// The five instances and what is done to them. All proxies of a run have the same ones, so that a fault befalls all alike.

import { type ChildProcess, fork } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { freePort } from '../machine.ts';
import type { Executed, Mode } from './instance.ts';
import { FAULT_MS, type Fault } from './schedule.ts';

const PROGRAM = fileURLToPath(new URL('instance.ts', import.meta.url));

class Instance {
  readonly port: number;
  readonly #onExecuted: (id: string) => void;
  #child: ChildProcess | null = null;

  constructor(port: number, onExecuted: (id: string) => void) {
    this.port = port;
    this.#onExecuted = onExecuted;
  }

  async start(): Promise<void> {
    const child = fork(PROGRAM, [String(this.port)], { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
    this.#child = child;
    await new Promise<void>((resolve, reject) => {
      child.once('exit', (code, signal) => reject(new Error(`an instance ended (${code ?? signal})`)));
      child.on('message', (message: 'ready' | Executed) => {
        if (message === 'ready') resolve();
        else this.#onExecuted(message.executed);
      });
    });
  }

  tell(mode: Mode): void {
    this.#child?.send(mode);
  }

  signal(name: 'SIGSTOP' | 'SIGCONT'): void {
    this.#child?.kill(name);
  }

  /** Resolves when the process is gone. */
  async end(name: 'SIGKILL' | 'SIGTERM'): Promise<void> {
    const child = this.#child;
    this.#child = null;
    if (child === null || child.exitCode !== null || child.signalCode !== null) return;
    const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()));
    child.kill(name);
    await gone;
  }
}

export class Instances {
  readonly #all: readonly Instance[];

  private constructor(all: readonly Instance[]) {
    this.#all = all;
  }

  /** @param onExecuted  is told the `x-id` of each POST, at each execution */
  static async start(count: number, onExecuted: (id: string) => void): Promise<Instances> {
    const all: Instance[] = [];
    for (let index = 0; index < count; index++) all.push(new Instance(await freePort(), onExecuted));
    for (const one of all) await one.start();
    return new Instances(all);
  }

  get ports(): readonly number[] {
    return this.#all.map(({ port }) => port);
  }

  /** Lets a fault begin and end; resolves when its time is over and all are well again. */
  async suffer({ kind, instances }: Fault): Promise<void> {
    const over = sleep(FAULT_MS);
    const concerned = instances.map((index) => this.#all[index]).filter((one) => one !== undefined);
    const [first] = concerned;
    if (first === undefined) throw new Error(`no instance for ${kind}`);
    if (kind === 'crash' || kind === 'all_but_one') {
      await Promise.all(concerned.map((one) => one.end('SIGKILL')));
      await over;
      await Promise.all(concerned.map((one) => one.start()));
    } else if (kind === 'hang') {
      first.signal('SIGSTOP');
      await over;
      first.signal('SIGCONT');
    } else if (kind === 'two_at_once') {
      concerned[1]?.tell('errors');
      await first.end('SIGKILL');
      await over;
      concerned[1]?.tell('well');
      await first.start();
    } else if (kind === 'restart') {
      for (const one of concerned) {
        await one.end('SIGTERM');
        await one.start();
      }
      await over;
    } else {
      first.tell(kind);
      await over;
      first.tell('well');
    }
  }

  async stop(): Promise<void> {
    await Promise.all(this.#all.map((one) => one.end('SIGKILL')));
  }
}
