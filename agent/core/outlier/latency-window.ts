// Latencies of one endpoint within one window, as counts on a logarithmic scale: 72 buckets of 19 % from 0.25 ms to a minute.
// Recording costs one logarithm and allocates nothing.

const FLOOR_MS = 0.25;
const PER_OCTAVE = 4;
const BUCKETS = 72;

export class LatencyWindow {
  readonly #counts = new Uint32Array(BUCKETS);
  #total = 0;
  /** Highest bucket in use. */
  #top = 0;

  get total(): number {
    return this.#total;
  }

  record(latencyMs: number): void {
    const at = bucketOf(latencyMs);
    this.#counts[at] = (this.#counts[at] ?? 0) + 1;
    this.#total++;
    if (at > this.#top) this.#top = at;
  }

  clear(): void {
    if (this.#total === 0) return;
    this.#counts.fill(0, 0, this.#top + 1);
    this.#total = 0;
    this.#top = 0;
  }

  /** Quantile in ms, interpolated within its bucket: at most 19 % off. 0 without a sample. */
  quantile(share: number): number {
    // From the top, since quantiles that matter are high ones.
    const rank = (1 - share) * this.#total;
    let above = 0;
    for (let at = this.#top; at >= 0; at--) {
      const count = this.#counts[at] ?? 0;
      if (count > 0 && above + count >= rank) {
        return FLOOR_MS * 2 ** ((at + 1 - Math.max(0, rank - above) / count) / PER_OCTAVE);
      }
      above += count;
    }
    return 0;
  }

  /** Samples above `limitMs`, counted by whole buckets: those of the bucket that the limit lies in are not above it. */
  countAbove(limitMs: number): number {
    let above = 0;
    for (let at = this.#top; at > bucketOf(limitMs); at--) above += this.#counts[at] ?? 0;
    return above;
  }
}

function bucketOf(latencyMs: number): number {
  if (latencyMs <= FLOOR_MS) return 0;
  return Math.min(BUCKETS - 1, Math.floor(PER_OCTAVE * Math.log2(latencyMs / FLOOR_MS)));
}
