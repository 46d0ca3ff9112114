// What a watch asks, and what it may be answered, whoever is asked: Consul itself, or the control plane that watches Consul for
// many agents.

import type { HealthFacts } from '#contract/endpoint-frames.ts';

export type Origin = 'consul' | 'control-plane';

export interface HealthQuestion {
  readonly service: string;
  /** Null: the state as it is, at once. Otherwise what is newer, or the same again after `waitMs`. */
  readonly index: bigint | null;
  readonly waitMs: number;
  /** From the question to the end of the answer. */
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

export type HealthAnswer =
  | {
      readonly kind: 'health';
      readonly origin: Origin;
      readonly facts: HealthFacts;
      /** Differs when the answer does. */
      readonly digest: string;
      /** As X-Consul-Index said it. */
      readonly index: string | string[];
      /** How old the facts are, ms. */
      readonly ageMs: number;
      /** Time since Consul came back or lost its state, ms; null: not that the source knows. */
      readonly recoveredMs: number | null;
      /** The agent may not know who serves this: the empty set is an order. */
      readonly isDenied: boolean;
    }
  | {
      readonly kind: 'failure';
      readonly origin: Origin;
      readonly text: string;
      /** Consul may have lost its state since. */
      readonly wasGone: boolean;
    }
  /** The question's own signal. */
  | { readonly kind: 'stopped' }
  /** Another source is asked from now on. */
  | { readonly kind: 'moved' };

export interface HealthSource {
  /** Never rejects. */
  ask(question: HealthQuestion): Promise<HealthAnswer>;
}
