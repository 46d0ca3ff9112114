// The control plane and, through it, the whole fleet: in step, of one version, with a sidecar for every service.

import { connect } from 'node:tls';
import type { AgentView } from '../../control-plane/core/agent-view.ts';
import { type Finding, type Say, sectionOf } from './finding.ts';
import { probe } from './probe.ts';

const STALE_DISCOVERY_MS = 120_000;
const MAX_SKEW_MS = 5_000;
const SHORT_CERTIFICATE_DAYS = 14;
const TLS_TIMEOUT_MS = 3_000;
const DAY_MS = 86_400_000;

export interface ControlPlaneQuestion {
  readonly url: string;
  readonly token: string | null;
  readonly epochMs: number;
  /** From Consul; null when it could not be asked. */
  readonly services: readonly string[] | null;
}

export async function checkControlPlane({ url, token, epochMs, services }: ControlPlaneQuestion): Promise<Finding[]> {
  const { findings, say } = sectionOf('control plane');
  const base = url.replace(/\/$/, '');
  if (base.startsWith('https:')) await checkCertificate(new URL(base), epochMs, say);
  const answer = await probe(`${base}/v1/agents`, token === null ? {} : { authorization: `Bearer ${token}` });
  if (answer.kind === 'silence') {
    const text = `${url} does not answer (${answer.text}); agents keep the policies they have`;
    say(
      'failure',
      'control_plane_unreachable',
      text,
      'outrigger control-plane   (or name another: --control-plane URL)',
    );
    return findings;
  }
  if (answer.status === 401 || answer.status === 403) {
    say(
      'failure',
      'control_plane_token',
      `${url} wants a token of a viewer`,
      'export OUTRIGGER_TOKEN=…   (docs/api.md, Tokens)',
    );
    return findings;
  }
  const { agents } = (answer.body ?? {}) as { agents?: readonly AgentView[] }; // checked next
  if (answer.status !== 200 || !Array.isArray(agents)) {
    say(
      'failure',
      'control_plane_answer',
      `${url} is no control plane: status ${answer.status}`,
      `curl -si ${base}/ready`,
    );
    return findings;
  }
  say('ok', 'control_plane', `${url} answers`);
  // The header has whole seconds, and half of the way took as long as the other.
  const skewMs = epochMs - Date.parse(answer.headers.get('date') ?? '');
  if (Math.abs(skewMs) > MAX_SKEW_MS) {
    const text = `this clock is ${Math.round(Math.abs(skewMs) / 1000)} s ${skewMs > 0 ? 'ahead of' : 'behind'} the control plane's`;
    say('failure', 'clock_skew', text, 'timedatectl set-ntp true');
  } else if (!Number.isNaN(skewMs)) say('ok', 'clock_skew', 'the clocks agree');
  judgeAgents(agents, say);
  judgeSidecars(agents, services, say);
  return findings;
}

function judgeAgents(agents: readonly AgentView[], say: Say): void {
  const before = agents.length;
  if (before === 0) {
    say(
      'warning',
      'no_agents',
      'no agent has connected',
      'outrigger agent --config agent.yaml   (controlPlane.url in it)',
    );
    return;
  }
  let isWell = true;
  const complain: Say = (...finding) => {
    isWell = false;
    say(...finding);
  };
  for (const agent of agents) judgeAgent(agent, complain);
  const versions = [...new Set(agents.flatMap(({ softwareVersion }) => softwareVersion ?? []))].sort();
  if (versions.length > 1) {
    complain(
      'warning',
      'version_skew',
      `agents run ${versions.length} versions: ${versions.join(', ')}`,
      'outrigger status -o wide   (docs/operations.md, upgrade)',
    );
  }
  if (isWell) say('ok', 'agents', `${agents.length} agents connected, ready and in step`);
}

function judgeAgent({ id, isConnected, state, policy, discovery, isReady, isDraining }: AgentView, say: Say): void {
  if (!isConnected || state === 'stale') {
    say(
      'warning',
      'agent_disconnected',
      `${id} is not connected`,
      `outrigger status   (is ${id} running? its controlPlane.url?)`,
    );
    return;
  }
  if (policy.verdict === 'NACK') {
    const [first] = policy.problems;
    const why = first === undefined ? '' : `: ${first.path} ${first.message}`;
    const text = `${id} rejected policy version ${policy.wantedVersion} and keeps ${policy.appliedVersion}${why}`;
    const name = first?.path.split(':')[0] ?? 'KIND/NAME';
    say('failure', 'policy_rejected', text, `outrigger policy rollback ${name}`);
  }
  if (!isReady && !isDraining) say('warning', 'agent_not_ready', `${id} is not ready`, `outrigger check --agent ${id}`);
  for (const { service, ageMs, holding, source } of discovery) {
    const isOld = source === 'consul' && ageMs !== null && ageMs > STALE_DISCOVERY_MS;
    if (!isOld && holding === null) continue;
    const text = `${id} has old endpoints of ${service}: ${holding ?? `last confirmed ${Math.round((ageMs ?? 0) / 1000)} s ago`}`;
    say(
      'failure',
      'discovery_stale',
      text,
      'outrigger check --consul URL   (what that agent asks; consul.url in its configuration)',
    );
  }
}

/** Consul itself has no sidecar, and neither have the sidecars of Connect. */
function judgeSidecars(agents: readonly AgentView[], services: readonly string[] | null, say: Say): void {
  const covered = new Set(agents.map(({ service }) => service));
  const alone = (services ?? []).filter(
    (name) => name !== 'consul' && !name.endsWith('-sidecar-proxy') && !covered.has(name),
  );
  for (const name of alone) {
    const text = `${name} is registered without an agent: its calls are not balanced, retried or measured`;
    say('warning', 'sidecar_missing', text, `outrigger run --config ${name}.yaml -- CMD`);
  }
}

function checkCertificate({ hostname, port }: URL, epochMs: number, say: Say): Promise<void> {
  return new Promise((done) => {
    // Whether it is trusted is told by the request itself; here only its time is read.
    const socket = connect({
      host: hostname,
      port: Number(port || 443),
      servername: hostname,
      rejectUnauthorized: false,
    });
    socket.setTimeout(TLS_TIMEOUT_MS, () => socket.destroy());
    socket.once('secureConnect', () => {
      const until = Date.parse(socket.getPeerCertificate().valid_to);
      const days = Math.floor((until - epochMs) / DAY_MS);
      const fix = `openssl s_client -connect ${hostname}:${port || 443} </dev/null | openssl x509 -noout -dates   (then renew tls.certFile)`;
      if (days < 0) say('failure', 'certificate', `the control plane's certificate ended ${-days} days ago`, fix);
      else if (days < SHORT_CERTIFICATE_DAYS)
        say('warning', 'certificate', `the control plane's certificate ends in ${days} days`, fix);
      else say('ok', 'certificate', `the control plane's certificate is valid for ${days} days`);
      socket.destroy();
    });
    socket.once('error', () => {}); // the request that follows says what is wrong
    socket.once('close', () => done());
  });
}
