// Turns one event of the policy stream into a push. Pure. Says only whether it is a push at all; whether its documents are
// valid is decided where they are applied, by the same code as in the control plane.

import { isGeneration } from '#contract/event-id.ts';
import type { PolicyPush } from '#contract/frames.ts';
import type { Problem } from '#contract/problem.ts';

export type DecodedFrame =
  | { readonly kind: 'push'; readonly push: PolicyPush }
  /** Broken, but it can be named in a NACK. */
  | {
      readonly kind: 'refused';
      readonly version: number;
      readonly nonce: string;
      readonly problems: readonly Problem[];
    }
  /** Broken beyond an answer: no version or no nonce to answer with. */
  | { readonly kind: 'unreadable'; readonly text: string };

export function decodeFrame(data: string): DecodedFrame {
  let frame: unknown;
  try {
    frame = JSON.parse(data);
  } catch {
    return { kind: 'unreadable', text: `not JSON: ${data.slice(0, 60)}` };
  }
  if (typeof frame !== 'object' || frame === null) return { kind: 'unreadable', text: 'not an object' };
  const { version, generation = '', nonce, documents }: Partial<Record<keyof PolicyPush, unknown>> = frame;
  if (typeof version !== 'number' || !Number.isSafeInteger(version) || version < 0) {
    return { kind: 'unreadable', text: `version must be a whole number, got ${JSON.stringify(version)}` };
  }
  if (typeof nonce !== 'string' || nonce === '' || nonce.length > 256) {
    return { kind: 'unreadable', text: `nonce must be a text of 1 to 256 characters, got ${typeof nonce}` };
  }
  if (!isGeneration(generation)) {
    return { kind: 'unreadable', text: 'generation must be a text of letters and digits' };
  }
  if (!Array.isArray(documents)) {
    const message = `expected a list of documents, got ${typeof documents}`;
    return { kind: 'refused', version, nonce, problems: [{ code: 'OTR_TYPE', path: 'documents', message }] };
  }
  return { kind: 'push', push: { version, nonce, documents, ...(generation === '' ? {} : { generation }) } };
}
