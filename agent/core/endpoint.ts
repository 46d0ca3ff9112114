// One address that serves a service, and all of them as one source tells it. Measurement lives in stats.ts and outlives this.

import type { Endpoint } from '#contract/endpoint.ts';

export type { Endpoint, EndpointId } from '#contract/endpoint.ts';

/** All endpoints of a service at one moment, as one source tells it. */
export interface EndpointSet {
  readonly service: string;
  readonly source: 'consul' | 'control-plane' | 'static' | 'disk';
  /** Order irrelevant; ids unique. */
  readonly endpoints: readonly Endpoint[];
}
