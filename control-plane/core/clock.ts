// Time as the control plane sees it; the same shape as the agent's, which this side must not import.

export interface Clock {
  /** Monotonic milliseconds; the origin is arbitrary. */
  now(): number;
  /** Wall-clock milliseconds since 1970, for what people and files see. */
  epochMs(): number;
}
