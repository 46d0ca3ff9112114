// Requests as they end, for whoever listens right now. Stands in front of the access log, so that records are made for a tap even
// where the log wants none; with nobody listening it asks one number and is gone.

import type { RequestResult } from '../core/reason.ts';
import { type AccessLog, type AccessRecord, readableRecord, type ShownRecord } from './access-log.ts';

export interface TapFilter {
  readonly service: string | null;
  readonly method: string | null;
  /** A prefix of the path. */
  readonly path: string | null;
  readonly status: StatusRange | null;
}

export interface StatusRange {
  readonly from: number;
  readonly to: number;
}

export interface TapListener {
  readonly filter: TapFilter;
  /** At most this many in any second; the rest is counted. Above 0. */
  readonly perSecond: number;
  onRecord(record: ShownRecord): void;
}

interface Tapping {
  readonly listener: TapListener;
  secondAt: number;
  sent: number;
  skipped: number;
}

export class RequestTap implements AccessLog {
  readonly #log: AccessLog;
  readonly #now: () => number;
  readonly #tapping = new Set<Tapping>();

  /** @param now  monotonic ms */
  constructor(log: AccessLog, now: () => number) {
    this.#log = log;
    this.#now = now;
  }

  wants(result: RequestResult, status: number): boolean {
    return this.#tapping.size > 0 || this.#log.wants(result, status);
  }

  write(record: AccessRecord): void {
    this.#log.write(record);
    if (this.#tapping.size === 0) return;
    const now = this.#now();
    let shown: ShownRecord | null = null;
    for (const tapping of this.#tapping) {
      if (!isWanted(record, tapping.listener.filter)) continue;
      if (now - tapping.secondAt >= 1000) {
        tapping.secondAt = now;
        tapping.sent = 0;
      }
      if (tapping.sent >= tapping.listener.perSecond) {
        tapping.skipped++;
        continue;
      }
      tapping.sent++;
      shown ??= readableRecord(record, false);
      tapping.listener.onRecord(shown);
    }
  }

  get listeners(): number {
    return this.#tapping.size;
  }

  /** @returns `close` ends it; `skipped` is what the bound has kept back since the former call */
  listen(listener: TapListener): { close(): void; skipped(): number } {
    const tapping: Tapping = { listener, secondAt: Number.NEGATIVE_INFINITY, sent: 0, skipped: 0 };
    this.#tapping.add(tapping);
    return {
      close: () => void this.#tapping.delete(tapping),
      skipped: () => {
        const { skipped } = tapping;
        tapping.skipped = 0;
        return skipped;
      },
    };
  }
}

function isWanted(record: AccessRecord, { service, method, path, status }: TapFilter): boolean {
  if (service !== null && record.destination !== service && record.source !== service) return false;
  if (method !== null && record.method !== method) return false;
  if (path !== null && !record.path.startsWith(path)) return false;
  return status === null || (record.status >= status.from && record.status <= status.to);
}

/** `503`, `5xx`, `400-499`; null for anything else. */
export function parseStatusRange(text: string): StatusRange | null {
  const exact = /^([0-9]{3})(?:-([0-9]{3}))?$/.exec(text);
  if (exact !== null) {
    const [from, to] = [Number(exact[1]), Number(exact[2] ?? exact[1])];
    return from <= to ? { from, to } : null;
  }
  const hundred = /^([1-5])xx$/i.exec(text);
  return hundred === null ? null : { from: Number(hundred[1]) * 100, to: Number(hundred[1]) * 100 + 99 };
}
