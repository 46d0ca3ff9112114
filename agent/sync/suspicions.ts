// Notices when endpoints begin to speak against themselves, so that a report can go out at once. Asked by a timer: attempts end on the
// request path, which must not know of reports.

import { SUSPECT_AFTER } from '../core/outlier/advice.ts';
import type { MeshSnapshot } from '../core/snapshot.ts';

/** How often to look; what is found is told within twice this. */
export const LOOK_EVERY_MS = 50;
/** An endpoint that fails and recovers all the time must not make a report of each time. */
const LEAST_BETWEEN_MS = 200;

export class Suspicions {
  #suspects: ReadonlySet<string> = new Set();
  #toldAt = Number.NEGATIVE_INFINITY;

  /** True when an endpoint is suspect that was not before. O(endpoints), a few µs for a thousand. */
  look({ services }: MeshSnapshot, now: number): boolean {
    if (now - this.#toldAt < LEAST_BETWEEN_MS) return false;
    const suspects = new Set<string>();
    let isNew = false;
    for (const { endpoints } of services.values()) {
      for (const { stats } of endpoints) {
        if (stats.failuresInARow < SUSPECT_AFTER) continue;
        suspects.add(stats.id);
        if (!this.#suspects.has(stats.id)) isNew = true;
      }
    }
    this.#suspects = suspects;
    if (isNew) this.#toldAt = now;
    return isNew;
  }
}
