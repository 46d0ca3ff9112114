// Prometheus' text format, written in slices: whoever renders asks the pacer after every piece of work, and the event loop
// gets its turn before traffic could notice. Owns the format; knows no metric.

import { setImmediate as turn } from 'node:timers/promises';
import type { Family, Sample } from './families.ts';

/** Longest time that a rendering holds the event loop, ms. One piece of work may overrun it by its own length. */
const SLICE_MS = 2;
/** Samples between two looks at the time. */
const SAMPLES_PER_LOOK = 64;

/** Decides when to let others run, and remembers the longest slice. */
export class Pacer {
  #sliceStart = performance.now();
  #longestMs = 0;

  /** Longest slice so far, ms. */
  get longestMs(): number {
    return Math.max(this.#longestMs, performance.now() - this.#sliceStart);
  }

  get isDue(): boolean {
    return performance.now() - this.#sliceStart >= SLICE_MS;
  }

  async rest(): Promise<void> {
    this.#longestMs = this.longestMs;
    await turn();
    this.#sliceStart = performance.now();
  }
}

export function header({ name, help, type }: Pick<Family, 'name' | 'help' | 'type'>): string {
  return `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n`;
}

/** `a="b",c="d"`, escaped. */
export function formatLabels(labels: Readonly<Record<string, string>>): string {
  let text = '';
  for (const name in labels) text += `${text === '' ? '' : ','}${name}="${escapeValue(labels[name] ?? '')}"`;
  return text;
}

function escapeValue(value: string): string {
  return /["\\\n]/.test(value) ? value.replace(/\\/g, '\\\\').replace(/\n/g, '\\n').replace(/"/g, '\\"') : value;
}

/** One line; `labels` is what formatLabels gave, `''` for none. */
export function formatLine(name: string, labels: string, value: number): string {
  return labels === '' ? `${name} ${formatValue(value)}\n` : `${name}{${labels}} ${formatValue(value)}\n`;
}

function formatValue(value: number): string {
  if (Number.isFinite(value)) return String(value);
  if (Number.isNaN(value)) return 'NaN';
  return value > 0 ? '+Inf' : '-Inf';
}

/** Lines of one family, with pauses. */
export async function formatSamples(name: string, samples: readonly Sample[], pacer: Pacer): Promise<string> {
  const lines: string[] = [];
  for (let index = 0; index < samples.length; index += 1) {
    const { labels, value } = samples[index] as Sample; // index < length
    lines.push(formatLine(name, formatLabels(labels), value));
    if (index % SAMPLES_PER_LOOK === 0 && pacer.isDue) await pacer.rest();
  }
  return lines.join('');
}
