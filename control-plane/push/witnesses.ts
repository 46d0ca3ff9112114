// Carries accusations in and advice out: lets the witness book decide soon after reports came, and tells each agent what concerns it.

import type { AdvicePush, AgentReport } from '#contract/frames.ts';
import type { Clock } from '../core/clock.ts';
import type { Fleet } from '../core/fleet.ts';
import { ADVISORY_TTL_MS, type Change, type Verdict, WitnessBook } from '../core/witness.ts';

/** Reports that come within this are judged together; those that do not accuse yet can wait a little longer. */
const COALESCE_MS = 20;
const COALESCE_SUPPORT_MS = 200;
const LOOK_EVERY_MS = 1_000;
/** Well before the TTL is over, so that one lost message changes nothing. */
const RENEW_EVERY_MS = 10_000;

export interface WitnessesOptions {
  readonly fleet: Fleet;
  readonly clock: Clock;
  /** Sends an AdvicePush, as JSON, to an agent. */
  readonly advise: (agentId: string, adviceJson: string) => void;
  readonly onChange: (change: Change) => void;
}

/** What the API shows. */
export interface AdviceView {
  readonly advisories: readonly (Omit<Verdict, 'since' | 'cause'> & { readonly sinceMs: number })[];
  /** Agents whose ejections are suspended. */
  readonly suspended: readonly string[];
}

export class Witnesses {
  readonly #options: WitnessesOptions;
  readonly #book = new WitnessBook();
  /** Last sent, by agent; those that were never sent anything but nothing are left out. */
  readonly #sent = new Map<string, { readonly json: string; readonly at: number }>();
  #soon: NodeJS.Timeout | null = null;
  #dueAt = 0;
  #timer: NodeJS.Timeout | null = null;

  constructor(options: WitnessesOptions) {
    this.#options = options;
  }

  start(): void {
    this.#timer = setInterval(() => this.#judge(), LOOK_EVERY_MS);
  }

  stop(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    if (this.#soon !== null) clearTimeout(this.#soon);
  }

  hear(agentId: string, report: AgentReport): void {
    this.#book.hear(agentId, report, this.#options.clock.now());
    if (this.#timer === null) return;
    const endpoints = report.services.flatMap((service) => service.endpoints);
    if (endpoints.some(({ isAccused }) => isAccused === true)) this.#judgeWithin(COALESCE_MS);
    else if (endpoints.some(({ failuresInARow = 0 }) => failuresInARow > 0)) this.#judgeWithin(COALESCE_SUPPORT_MS);
  }

  /** A new stream knows of nothing. */
  connected(agentId: string): void {
    this.#sent.delete(agentId);
  }

  view(): AdviceView {
    const now = this.#options.clock.now();
    const advisories = this.#book
      .verdicts()
      .map(({ since, cause: _cause, ...rest }) => ({ ...rest, sinceMs: Math.round(now - since) }));
    return { advisories, suspended: this.#book.suspended() };
  }

  #judgeWithin(ms: number): void {
    const dueAt = this.#options.clock.now() + ms;
    if (this.#soon !== null && this.#dueAt <= dueAt) return;
    if (this.#soon !== null) clearTimeout(this.#soon);
    this.#dueAt = dueAt;
    this.#soon = setTimeout(() => this.#judge(), ms);
  }

  #judge(): void {
    if (this.#soon !== null) clearTimeout(this.#soon);
    this.#soon = null;
    for (const change of this.#book.judge(this.#options.clock.now())) this.#options.onChange(change);
    this.#tell();
  }

  #tell(): void {
    const { fleet, clock, advise } = this.#options;
    const now = clock.now();
    const isQuiet = this.#book.verdicts().length === 0 && this.#book.suspended().length === 0;
    if (isQuiet && this.#sent.size === 0) return;
    for (const { agentId, report } of fleet.members()) {
      const json = JSON.stringify(this.#adviceFor(agentId, report));
      const sent = this.#sent.get(agentId);
      if (sent === undefined && json === NOTHING) continue;
      if (sent?.json === json && now - sent.at < RENEW_EVERY_MS) continue;
      advise(agentId, json);
      if (json === NOTHING) this.#sent.delete(agentId);
      else this.#sent.set(agentId, { json, at: now });
    }
  }

  /** Of the services that the agent itself said it knows, and no others. */
  #adviceFor(agentId: string, { services, zone = null }: AgentReport): AdvicePush {
    const known = new Set(services.map(({ service }) => service));
    const advisories = this.#book.verdicts().flatMap(({ service, endpoint, zone: concerned, since, cause }) => {
      if (!known.has(service) || (concerned !== null && concerned !== zone)) return [];
      return [{ service, endpoint, id: `${endpoint} ${Math.round(since)}`, ttlMs: ADVISORY_TTL_MS, text: cause }];
    });
    return { advisories, isSuspended: this.#book.isSuspended(agentId) };
  }
}

const NOTHING = JSON.stringify({ advisories: [], isSuspended: false } satisfies AdvicePush);
