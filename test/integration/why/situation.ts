// The form of a prepared situation.

import type { WhyMesh } from '../../support/why-mesh.ts';

/** What a line of the explanation must say, and the place that must stand on the same line; null: no place of a document. */
export type Line = readonly [text: RegExp, at: string | null];

export interface Situation {
  readonly what: string;
  readonly service: string;
  readonly request?: Parameters<WhyMesh['ask']>[2];
  /** Beginning of the answer. */
  readonly answer: RegExp;
  readonly lines: readonly Line[];
  /** What has to happen before. */
  readonly before?: (mesh: WhyMesh) => Promise<unknown>;
}
