// The control plane's view of an agent and nothing else of one: a policy stream, verdicts, reports. Thousands fit into a process.

import { type Agent as HttpAgent, type IncomingMessage, request } from 'node:http';
import type { AgentReport, EdgeReport, PolicyPush, PolicyVerdict, ServiceReport } from '#contract/frames.ts';

export interface SimulatedAgentOptions {
  /** Control planes; the first is the one to begin with, the next one's turn comes when a stream ends. */
  readonly urls: readonly string[];
  readonly id: string;
  readonly service: string;
  /** Connections for verdicts and reports; shared, as agents of one machine would not. */
  readonly connections: HttpAgent;
  /** What it makes of a push; ACK when absent. */
  readonly judge?: (push: PolicyPush) => Pick<PolicyVerdict, 'verdict' | 'problems'>;
  /** Traffic since the start, for each report. */
  readonly edges?: () => readonly EdgeReport[];
  /** Upstream services, for each report. */
  readonly services?: () => readonly ServiceReport[];
  /** Told of the data of each event `advice`. */
  readonly onAdvice?: (data: string) => void;
  readonly onApplied?: (version: number) => void;
  /** Between attempts to connect, as agents do: from `reconnect` half by chance. */
  readonly random: () => number;
}

const FIRST_BACK_OFF_MS = 100;
const LONGEST_BACK_OFF_MS = 5_000;

export class SimulatedAgent {
  readonly #options: SimulatedAgentOptions;
  readonly #startedAtEpochMs = Date.now();
  #stream: IncomingMessage | null = null;
  #timer: NodeJS.Timeout | null = null;
  #failures = 0;
  #sequence = 0;
  #isStopped = false;
  #turn = 0;
  /** The set in force here. */
  push: PolicyPush | null = null;
  /** Told of each event about endpoints, with the size of the whole event in characters. */
  onEndpoints: ((service: string, index: string, length: number) => void) | null = null;
  /** Times that a stream was opened. */
  connects = 0;

  constructor(options: SimulatedAgentOptions) {
    this.#options = options;
  }

  get isConnected(): boolean {
    return this.#stream !== null;
  }

  get #url(): string {
    const { urls } = this.#options;
    return urls[this.#turn % urls.length] ?? '';
  }

  start(): void {
    const { id, service } = this.#options;
    const target = `${this.#url}/v1/agents/${id}/stream?service=${service}&life=one`;
    const asked = request(target, { agent: false, headers: { accept: 'text/event-stream' } }, (answer) => {
      if (answer.statusCode !== 200) {
        answer.resume();
        this.#again();
        return;
      }
      this.#stream = answer;
      this.connects++;
      let text = '';
      answer.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk;
        for (let end = text.indexOf('\n\n'); end >= 0; end = text.indexOf('\n\n')) {
          this.#take(text.slice(0, end));
          text = text.slice(end + 2);
        }
      });
      answer.on('error', () => undefined); // 'close' follows
      answer.on('close', () => this.#again());
    });
    asked.on('error', () => this.#again());
    asked.end();
  }

  /** Says whose endpoints it wants. Resolves with the status, 0 without an answer. */
  watch(services: readonly string[]): Promise<number> {
    return this.#post('watches', { life: 'one', services });
  }

  /** Sends one report. Resolves with the status, 0 without an answer. */
  report(): Promise<number> {
    const appliedVersion = this.push?.version ?? 0;
    const report: AgentReport = {
      sequence: ++this.#sequence,
      sentAtEpochMs: Date.now(),
      startedAtEpochMs: this.#startedAtEpochMs,
      service: this.#options.service,
      softwareVersion: '0.1.0',
      adminUrl: 'http://127.0.0.1:15000',
      isReady: true,
      isDraining: false,
      policy: { appliedVersion, wantedVersion: appliedVersion, problems: [] },
      services: this.#options.services?.() ?? [],
      edges: this.#options.edges?.() ?? [],
      events: [],
      eventsDropped: 0,
    };
    return this.#post('reports', report);
  }

  stop(): void {
    this.#isStopped = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#stream?.destroy();
  }

  #again(): void {
    this.#stream = null;
    if (this.#isStopped || this.#timer !== null) return;
    this.#turn++;
    const full = Math.min(LONGEST_BACK_OFF_MS, FIRST_BACK_OFF_MS * 2 ** Math.min(16, this.#failures++));
    this.#timer = setTimeout(
      () => {
        this.#timer = null;
        this.start();
      },
      full / 2 + (full / 2) * this.#options.random(),
    );
  }

  #take(event: string): void {
    const data = event.split('\n').find((line) => line.startsWith('data: '));
    if (data === undefined) return;
    if (event.startsWith('event: advice\n')) {
      this.#options.onAdvice?.(data.slice('data: '.length));
      return;
    }
    if (event.startsWith('event: endpoints\n')) {
      const { service, index } = JSON.parse(data.slice('data: '.length)) as { service: string; index?: string };
      this.onEndpoints?.(service, index ?? '', event.length + 2);
      return;
    }
    this.#failures = 0;
    const push = JSON.parse(data.slice('data: '.length)) as PolicyPush;
    const { verdict, problems } = this.#options.judge?.(push) ?? { verdict: 'ACK', problems: [] };
    if (verdict === 'ACK') this.push = push;
    const { version, nonce } = push;
    void this.#post('acks', { version, nonce, verdict, problems, appliedVersion: this.push?.version ?? 0 });
    if (verdict === 'ACK') this.#options.onApplied?.(version);
  }

  #post(path: string, body: object): Promise<number> {
    const { id, connections } = this.#options;
    const url = this.#url;
    const text = JSON.stringify(body);
    const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) };
    return new Promise((resolve) => {
      const asked = request(
        `${url}/v1/agents/${id}/${path}`,
        { method: 'POST', agent: connections, headers },
        (answer) => {
          answer.resume().on('end', () => resolve(answer.statusCode ?? 0));
          answer.on('error', () => resolve(0));
        },
      );
      asked.on('error', () => resolve(0));
      asked.end(text);
    });
  }
}
