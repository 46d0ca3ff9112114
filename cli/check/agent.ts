// One agent by its admin API: ready, in step, with fresh endpoints, and not in panic.

import type { ClusterView } from '../../agent/admin/clusters.ts';
import { type Finding, sectionOf } from './finding.ts';
import { type Probe, probe } from './probe.ts';

const STALE_DISCOVERY_MS = 120_000;

export interface AgentAnswer {
  readonly findings: readonly Finding[];
  readonly isRunning: boolean;
}

/** @param base  of its admin API, or of the relay to it */
export async function checkAgent(base: string, token: string | null): Promise<AgentAnswer> {
  const { findings, say } = sectionOf('agent');
  const headers: Record<string, string> = token === null ? {} : { authorization: `Bearer ${token}` };
  const ask = (path: string): Promise<Probe> => probe(`${base.replace(/\/$/, '')}${path}`, headers);
  const ready = await ask('/ready');
  if (ready.kind === 'silence' || ready.status === 404 || ready.status === 502) {
    const why = ready.kind === 'silence' ? ready.text : `status ${ready.status}`;
    const text = `no agent answers at ${base} (${why})`;
    say('failure', 'agent_unreachable', text, 'outrigger agent --config agent.yaml   (or name another: --admin URL)');
    return { findings, isRunning: false };
  }
  if (ready.status === 200) say('ok', 'agent_ready', `${base} is ready`);
  else {
    const { reasons } = (ready.body ?? {}) as { reasons?: readonly string[] }; // checked next
    const why = Array.isArray(reasons) && reasons.length > 0 ? reasons.join('; ') : `status ${ready.status}`;
    const fix =
      why.includes('healthcheck') || why.includes('told')
        ? `curl -X POST ${base}/healthcheck/ok`
        : `curl -s ${base}/clusters   (what it waits for)`;
    say('failure', 'agent_not_ready', `the agent is not ready: ${why}`, fix);
  }
  const clusters = await ask('/clusters?format=json');
  if (clusters.kind === 'answer' && clusters.status === 200 && Array.isArray(clusters.body)) {
    for (const view of clusters.body as readonly ClusterView[]) judgeService(view, say);
  }
  const info = await ask('/server_info');
  if (info.kind === 'answer' && info.status === 200) {
    const { isControlPlaneConnected } = (info.body ?? {}) as { isControlPlaneConnected?: unknown };
    if (isControlPlaneConnected === false) {
      const text = 'the agent has no policy stream: it keeps the policies it has';
      say(
        'warning',
        'agent_no_stream',
        text,
        `outrigger config dump config --admin ${base}   (controlPlane.url in it)`,
      );
    }
  }
  return { findings, isRunning: true };
}

function judgeService(view: ClusterView, say: ReturnType<typeof sectionOf>['say']): void {
  const { service, isPanicking, endpoints, holding, ageMs, source } = view;
  const out = endpoints.filter(({ state }) => state !== 'serving');
  if (isPanicking) {
    const text = `${service} is in panic: ${out.length} of ${endpoints.length} endpoints are out, so all are used`;
    say('failure', 'panic', text, `outrigger endpoints ${service}   (why each of them is out)`);
  }
  const isOld = source === 'consul' && ageMs !== null && ageMs > STALE_DISCOVERY_MS;
  if (holding !== null || isOld) {
    const why = holding ?? `last confirmed ${Math.round((ageMs ?? 0) / 1000)} s ago`;
    say(
      'failure',
      'discovery_stale',
      `old endpoints of ${service} are in use: ${why}`,
      'outrigger check   (its consul section says what is wrong there)',
    );
  }
  if (endpoints.length === 0) {
    say(
      'failure',
      'no_endpoints',
      `${service} has no endpoints: calls are answered 503`,
      `consul catalog nodes -service=${service}`,
    );
  } else if (!isPanicking && out.length > 0) {
    say(
      'warning',
      'endpoints_out',
      `${out.length} of ${endpoints.length} endpoints of ${service} are out`,
      `outrigger endpoints ${service}`,
    );
  } else if (!isPanicking && holding === null && !isOld) {
    say('ok', 'service', `${service}: ${endpoints.length} endpoints serve`);
  }
}
