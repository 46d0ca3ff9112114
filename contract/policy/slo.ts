// What the documents promise for one service, from their spelling to numbers.

import { parseDuration } from '../text/durations.ts';
import { explainLayers } from './effective.ts';
import { layersOf } from './layers.ts';
import type { PolicyDocument, PolicyId } from './policy.ts';

export interface SloTarget {
  /** Share of requests that must succeed, 0.999 for 99.9 %. */
  readonly objective: number;
  readonly windowMs: number;
  /** Requests that take longer are bad events; 0 = none is. */
  readonly latencyThresholdMs: number;
  /** Share of the budget below which changes are held back; 0 = never. */
  readonly freezeBelow: number;
  /** The documents that say so. */
  readonly from: Readonly<Record<'target' | 'window' | 'latencyThreshold' | 'freezeBelow', PolicyId | 'default'>>;
}

/** A promise is one to all callers, so overrides have no say. Of a service that no document names: the mesh's, or the defaults. */
export function sloOf(documents: readonly PolicyDocument[], service: string): SloTarget {
  const { target, window, latencyThreshold, freezeBelow } = explainLayers(layersOf(documents, '', service)).slo;
  return {
    // 1 − 0.999 is to be 0.001 as far as percents are written.
    objective: Number((target.value / 100).toFixed(8)),
    windowMs: parseDuration(window.value) ?? 0,
    latencyThresholdMs: parseDuration(latencyThreshold.value) ?? 0,
    freezeBelow: freezeBelow.value / 100,
    from: {
      target: target.from,
      window: window.from,
      latencyThreshold: latencyThreshold.from,
      freezeBelow: freezeBelow.from,
    },
  };
}
