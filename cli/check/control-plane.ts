// The control plane and, through it, the whole fleet: in step, of one version, with a sidecar for every service.

import { isIP } from 'node:net';
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
  /** Whom the checked agent calls; null without a configuration. */
  readonly calls: { readonly caller: string; readonly services: readonly string[] } | null;
}

export async function checkControlPlane(question: ControlPlaneQuestion): Promise<Finding[]> {
  const { url, token, epochMs, services, calls } = question;
  const { findings, say } = sectionOf('control plane');
  const base = url.replace(/\/$/, '');
  if (base.startsWith('https:')) await checkCertificate(new URL(base), epochMs, say);
  const headers: Record<string, string> = token === null ? {} : { authorization: `Bearer ${token}` };
  const answer = await probe(`${base}/v1/agents`, headers);
  if (answer.kind === 'silence' && answer.why === 'certificate') {
    const text = `the certificate of ${url} is not trusted here: ${answer.text}`;
    say('failure', 'certificate_untrusted', text, 'export NODE_EXTRA_CA_CERTS=ca.pem   (agents: controlPlane.caFile)');
    return findings;
  }
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
      `${url} wants a token of a viewer${detailOf(answer.body)}`,
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
  for (const name of calls?.services ?? []) {
    await judgePermission(`${base}/v1/effective`, headers, calls?.caller ?? '', name, say);
  }
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

async function judgePermission(
  base: string,
  headers: Readonly<Record<string, string>>,
  caller: string,
  service: string,
  say: Say,
): Promise<void> {
  const answer = await probe(`${base}/${caller}/${service}`, headers);
  if (answer.kind !== 'answer' || answer.status !== 200) return; // who may not see policies is told nothing about them
  const { permission } = (answer.body ?? {}) as {
    permission?: { kind?: unknown; from?: { kind?: unknown; name?: unknown } };
  }; // checked next
  if (permission?.kind !== 'deny') return;
  const document = `${String(permission.from?.kind)}/${String(permission.from?.name)}`;
  const text = `${document} denies ${caller} every call to ${service}`;
  say(
    'failure',
    'upstream_denied',
    text,
    `outrigger policy get ${document}   (add ${caller} to spec.sources, then: outrigger policy apply -f FILE)`,
  );
}

/** What a problem of the API says beyond its status. */
function detailOf(body: unknown): string {
  const { detail } = (body ?? {}) as { detail?: unknown }; // RFC 9457; checked next
  return typeof detail === 'string' ? `: ${detail}` : '';
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
      ...(isIP(hostname) === 0 ? { servername: hostname } : {}),
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
