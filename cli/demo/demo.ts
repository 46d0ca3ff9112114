// The demo from start to end: start everything in parallel, play rounds of the script under steady traffic, show what the
// control plane knows, and leave nothing behind.

import { mkdtempSync, rmSync } from 'node:fs';
import { flushCompileCache } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { systemClock, systemRandom } from '../../agent/clock.ts';
import type { ServiceView } from '../../control-plane/core/views.ts';
import { callApi } from '../api.ts';
import { firstSignal } from '../children.ts';
import { readServices } from '../fleet.ts';
import { paint } from '../output.ts';
import { readPolicyAnswer } from '../policy-answer.ts';
import { CommandFailure, EXIT, type Terminal } from '../terminal.ts';
import { FleetObserver } from './observer.ts';
import { findFreePorts } from './ports.ts';
import { setFault, startProcesses, untilControlPlaneReady, untilMeshReady } from './processes.ts';
import { noteRunningDemo, WHAT_TO_TRY } from './running.ts';
import { renderFrame, renderLine } from './screen.ts';
import { type Break, buildScript, describeStory, initialPolicies, type PolicyInput, type Step } from './script.ts';
import { buildTopology, controlPlaneUrl, INSTANCE_COUNT, PORT_COUNT, type Topology } from './topology.ts';
import { Traffic } from './traffic.ts';
import { type DemoFacts, judgeDemo, roundSentence, verdictSentence } from './verdict.ts';

export interface DemoSettings {
  readonly isOnce: boolean;
  readonly durationMs: number;
  readonly perSecond: number;
  readonly breaks: Break | null;
  /** Nothing breaks and no policy changes unless somebody does it. */
  readonly isCalm: boolean;
  /** Null: the control plane runs the embedded registry. */
  readonly consulUrl: string | null;
  /** Result as one JSON object on standard output; everything else then goes to standard error. */
  readonly isJson: boolean;
}

const DRAW_EVERY_MS = 1_000;
const LOOK_EVERY_MS = 250;
const TRAFFIC_STOP_MS = 3_000;
const KEPT_NEWS = 50;
const DEATH_NOTICE_MS = 300;
const HOME = '\u001b[H';
const CLEAR = '\u001b[2J';
const CLEAR_BELOW = '\u001b[J';

export async function runDemo(settings: DemoSettings, terminal: Terminal): Promise<void> {
  const startedAt = systemClock.now();
  const topology = buildTopology(await findFreePorts(PORT_COUNT, systemRandom), settings.consulUrl);
  checkBreak(settings.breaks, topology);
  const folder = mkdtempSync(join(tmpdir(), 'outrigger-demo-'));
  const ending = new AbortController();
  await compileOnce();
  const processes = startProcesses(topology, folder);
  const forget = noteRunningDemo(topology);
  const interrupted = firstSignal(['SIGINT', 'SIGTERM', 'SIGHUP'], ending.signal);
  interrupted.catch(() => {}); // rejects only because the demo ended by itself
  try {
    const play = new Demo(settings, topology, terminal, ending.signal).play(startedAt);
    play.catch(() => {}); // seen through the race, or no longer wanted after an interruption
    const end = await Promise.race([play, processes.failed, interrupted]).catch(async (error: unknown) => {
      // A connection that broke is often the first sign of a process that died; its own last words explain more.
      await Promise.race([processes.failed, sleep(DEATH_NOTICE_MS)]);
      throw error;
    });
    // A round that was cut short has proved nothing.
    if (end !== undefined && settings.isOnce) terminal.exitCode = EXIT.problemFound;
  } finally {
    ending.abort();
    forget();
    await processes.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Nine processes that start at once would each compile the same files: compile them here, before, and keep the result. */
async function compileOnce(): Promise<void> {
  await Promise.all([import('../../agent/main.ts'), import('../../control-plane/main.ts')]);
  flushCompileCache();
}

function checkBreak(breaks: Break | null, { instances }: Topology): void {
  if (breaks === null || instances.some(({ id }) => id === breaks.instance)) return;
  throw new CommandFailure(`--break: there is no instance '${breaks.instance}'`, {
    exitCode: EXIT.usage,
    next: `instances: ${instances.map(({ id }) => id).join(', ')}`,
  });
}

class Demo {
  readonly #settings: DemoSettings;
  readonly #topology: Topology;
  readonly #terminal: Terminal;
  readonly #signal: AbortSignal;
  readonly #observer = new FleetObserver();
  readonly #traffic: Traffic;
  readonly #news: string[] = [];
  #services: readonly ServiceView[] = [];
  #readyMs: number | null = null;
  #readyAt = 0;
  #policy: DemoFacts['policy'] = null;
  #next: { readonly at: number; readonly text: string } | null = null;

  constructor(settings: DemoSettings, topology: Topology, terminal: Terminal, signal: AbortSignal) {
    this.#settings = settings;
    this.#topology = topology;
    this.#terminal = terminal;
    this.#signal = signal;
    const port = topology.instances[0]?.ports.inbound ?? 0;
    this.#traffic = new Traffic({
      host: '127.0.0.1',
      port,
      path: '/',
      perSecond: settings.perSecond,
      clock: systemClock,
    });
  }

  async play(startedAt: number): Promise<void> {
    this.#say(
      `starting ${this.#topology.instances.length} services with an agent each, ${this.#settings.consulUrl === null ? 'a control plane and a registry' : `a control plane, and Consul at ${this.#settings.consulUrl}`}`,
    );
    await untilControlPlaneReady(this.#topology, this.#signal);
    for (const document of initialPolicies(this.#settings.durationMs)) await this.#put(document, '');
    await untilMeshReady(this.#topology, this.#signal);
    this.#readyAt = systemClock.now();
    this.#readyMs = this.#readyAt - startedAt;
    this.#say(`mesh ready in ${(this.#readyMs / 1000).toFixed(1)} s   dashboard ${controlPlaneUrl(this.#topology)}`);
    this.#say(describeStory(this.#settings));
    for (const line of WHAT_TO_TRY) this.#say(line);
    this.#traffic.start();
    const looking = this.#keepLooking();
    const drawing = this.#keepDrawing();
    try {
      await Promise.race([this.#playRounds(), looking, drawing]);
    } finally {
      await this.#traffic.stop(TRAFFIC_STOP_MS);
    }
    this.#judge();
  }

  async #playRounds(): Promise<void> {
    for (let round = 0; ; round++) {
      const startedAt = systemClock.now();
      const { durationMs, breaks, isCalm } = this.#settings;
      for (const step of isCalm ? [] : buildScript(durationMs, breaks, round)) {
        this.#next = { at: startedAt + step.atMs, text: step.text };
        await this.#sleepUntil(this.#next.at);
        await this.#perform(step);
      }
      this.#next = isCalm ? null : { at: startedAt + durationMs, text: 'the same again' };
      await this.#sleepUntil(startedAt + durationMs);
      if (this.#settings.isOnce) return;
      if (!isCalm) this.#tell(roundSentence(this.#facts(), round + 1));
    }
  }

  async #perform(step: Step): Promise<void> {
    this.#tell(step.text);
    if (step.kind === 'fault') {
      await setFault(this.#topology, step.instance, step.mode);
      return;
    }
    const startedAt = systemClock.now();
    const { wanted, applied } = await this.#put(step.document, '?wait=2s');
    const tookMs = systemClock.now() - startedAt;
    this.#policy = { acknowledged: applied, wanted, tookMs };
    this.#tell(`policy acknowledged by ${applied} of ${wanted} agents in ${Math.round(tookMs)} ms`);
  }

  async #put(document: PolicyInput, query: string): Promise<{ wanted: number; applied: number }> {
    const path = `/v1/policies/${document.kind}/${document.metadata.name}${query}`;
    const { body } = await callApi({ controlPlane: controlPlaneUrl(this.#topology) }, 'PUT', path, { body: document });
    return readPolicyAnswer(body).agents;
  }

  async #keepLooking(): Promise<void> {
    for (;;) {
      this.#services = await readServices({ controlPlane: controlPlaneUrl(this.#topology) });
      for (const sentence of this.#observer.look(this.#services)) this.#tell(sentence);
      await sleep(LOOK_EVERY_MS, undefined, { signal: this.#signal });
    }
  }

  async #keepDrawing(): Promise<void> {
    if (this.#isScreen) this.#terminal.out(CLEAR);
    for (;;) {
      const frame = {
        readyMs: this.#readyMs ?? 0,
        elapsedMs: systemClock.now() - this.#readyAt,
        dashboardUrl: controlPlaneUrl(this.#topology),
        next: this.#next === null ? null : { inMs: this.#next.at - systemClock.now(), text: this.#next.text },
        traffic: this.#traffic.counts(),
        services: this.#services,
        news: this.#news,
      };
      if (this.#isScreen) {
        // Each line is erased to its end, so that the frame can be written over the last one without flicker.
        const text = renderFrame(frame, this.#terminal).replaceAll('\n', '\u001b[K\n');
        this.#terminal.out(`${HOME}${text}\u001b[K\n${CLEAR_BELOW}`);
      } else {
        this.#say(renderLine(frame));
      }
      await sleep(DRAW_EVERY_MS, undefined, { signal: this.#signal });
    }
  }

  #facts(): DemoFacts {
    const { sent, succeeded, skipped } = this.#traffic.counts();
    const { ejected, reinstated } = this.#observer;
    return { readyMs: this.#readyMs, ejected, reinstated, policy: this.#policy, sent, succeeded, skipped };
  }

  #judge(): void {
    const { lastFailure } = this.#traffic.counts();
    const verdict = judgeDemo(this.#facts(), INSTANCE_COUNT);
    if (this.#settings.isJson) this.#terminal.out(`${JSON.stringify({ ...verdict, lastFailure })}\n`);
    else this.#terminal.out(`${paint(this.#terminal, verdict.ok ? 'green' : 'red', verdictSentence(verdict))}\n`);
    if (!verdict.ok) this.#terminal.exitCode = EXIT.problemFound;
  }

  /** Something happened: kept for the screen, or said at once where there is none. */
  #tell(text: string): void {
    const at = ((systemClock.now() - this.#readyAt) / 1000).toFixed(1).padStart(5);
    this.#news.push(`${at} s  ${text}`);
    if (this.#news.length > KEPT_NEWS) this.#news.shift();
    if (!this.#isScreen) this.#say(`       ${text}`);
  }

  #say(text: string): void {
    if (this.#settings.isJson) this.#terminal.err(`${text}\n`);
    else this.#terminal.out(`${text}\n`);
  }

  get #isScreen(): boolean {
    return this.#terminal.isInteractive && !this.#settings.isJson;
  }

  async #sleepUntil(at: number): Promise<void> {
    await sleep(Math.max(0, at - systemClock.now()), undefined, { signal: this.#signal });
  }
}
