// How much a request matters when there is not room for all. Pure.

/** `critical` goes before others and is shed last; `sheddable` never waits and is shed first. */
export type TrafficClass = 'critical' | 'normal' | 'sheddable';

/** What a header says; anything unknown is normal. */
export function readTrafficClass(text: string): TrafficClass {
  return text === 'critical' || text === 'sheddable' ? text : 'normal';
}

/** The less important of two: a request made on behalf of a sheddable one is sheddable itself. */
export function lesserClass(a: TrafficClass, b: TrafficClass): TrafficClass {
  if (a === 'sheddable' || b === 'sheddable') return 'sheddable';
  return a === 'normal' || b === 'normal' ? 'normal' : 'critical';
}

/**
 * Requests in flight that a class may have.
 *
 * @param limit             of the service
 * @param sheddablePercent  share of it that sheddable requests may use; at least one
 */
export function limitOfClass(limit: number, trafficClass: TrafficClass, sheddablePercent: number): number {
  return trafficClass === 'sheddable' ? Math.max(1, Math.floor((limit * sheddablePercent) / 100)) : limit;
}
