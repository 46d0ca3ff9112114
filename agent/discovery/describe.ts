// How discovery says what it knows: status for the admin page and reports, events when something begins or ends. Decides
// nothing.

import type { DropReason, LeftOut } from '#contract/consul/health.ts';
import type { MeshEvent, ServiceReport } from '#contract/frames.ts';
import type { Clock } from '../clock.ts';
import type { KnownSet } from './last-known-good.ts';
import type { WatchStatus } from './watcher.ts';

/**
 * `live`: the source's newest answer is served. `holding`: it is not, see `holding`. `stale`: the source does not answer.
 * `cold`: it has not answered yet since the start.
 */
export type DiscoveryState = 'static' | 'live' | 'holding' | 'stale' | 'cold';

export interface DiscoveryStatus extends Pick<ServiceReport, 'service' | 'source' | 'ageMs' | 'holding'> {
  readonly state: DiscoveryState;
  readonly endpoints: number;
  /** Entries of the newest answer that could not be used, by reason. */
  readonly dropped: Readonly<Partial<Record<DropReason, number>>>;
  /** Whom the newest answer has, and has as unfit. */
  readonly leftOut: readonly LeftOut[];
  /** Last fault while the source does not answer, else null. */
  readonly failure: string | null;
}

export function staticStatus(service: string, endpoints: number): DiscoveryStatus {
  const nothingWrong = { ageMs: null, holding: null, dropped: {}, leftOut: [], failure: null };
  return { service, source: 'static', state: 'static', endpoints, ...nothingWrong };
}

export function watchStatus(
  service: string,
  watch: WatchStatus,
  known: KnownSet | null,
  clock: Clock,
): DiscoveryStatus {
  const { hasAnswered, confirmedAt, holding, failure, health, serving } = watch;
  const source = watch.origin ?? (known !== null ? 'disk' : 'none');
  const ageMs =
    confirmedAt !== null
      ? clock.now() - confirmedAt
      : known !== null
        ? Math.max(0, clock.epochMs() - known.confirmedAtEpochMs)
        : null;
  const state = !hasAnswered ? 'cold' : failure !== null ? 'stale' : holding !== null ? 'holding' : 'live';
  return {
    service,
    source,
    ageMs,
    holding: failure === null ? holding : `${speaker(watch)} does not answer (${failure}); ${held(serving.length)}`,
    state,
    endpoints: serving.length,
    dropped: health?.dropped ?? {},
    leftOut: health?.leftOut ?? [],
    failure,
  };
}

function speaker({ asked }: WatchStatus): string {
  return asked === 'control-plane' ? 'The control plane' : 'Consul';
}

function held(count: number): string {
  return count === 0 ? 'nothing is known yet' : `keeping the ${count} known`;
}

/** Turns changes of a watch's status into events: one when something begins, one when it ends. */
export function describer(
  service: string,
  emit: (reason: string, text: string, kind?: MeshEvent['kind']) => void,
): (status: WatchStatus) => void {
  let former: Pick<WatchStatus, 'holding' | 'failure'> = { holding: null, failure: null };
  let dropped = '{}';
  return (status) => {
    if (status.failure !== null && former.failure === null) {
      const kept = held(status.serving.length);
      emit('source_failed', `${speaker(status)} does not tell who serves ${service}: ${status.failure}; ${kept}.`);
    } else if (status.failure === null && former.failure !== null) {
      emit('source_recovered', `${speaker(status)} tells who serves ${service} again.`);
    }
    if (status.holding !== null && status.holding !== former.holding) {
      const isPanic = status.health?.isPanicSet === true;
      emit(isPanic ? 'all_critical' : 'holding', `${service}: ${status.holding}.`, isPanic ? 'panic' : 'discovery');
    } else if (status.holding === null && former.holding !== null) {
      emit('released', `What Consul says about ${service} is served as it is again.`);
    }
    const drops = JSON.stringify(status.health?.dropped ?? {});
    if (drops !== dropped && drops !== '{}') {
      emit('bad_entries', `Entries of ${service} in Consul were left out: ${drops.slice(1, -1)}.`);
    }
    dropped = drops;
    former = { holding: status.holding, failure: status.failure };
  };
}
