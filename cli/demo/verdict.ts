// Did the demo keep its promises? Pure: facts in, one answer with every broken promise out.

export interface DemoFacts {
  readonly readyMs: number | null;
  /** Endpoints that at least one agent was seen to eject, and those seen serving again afterwards. */
  readonly ejected: readonly string[];
  readonly reinstated: readonly string[];
  readonly policy: { readonly acknowledged: number; readonly wanted: number; readonly tookMs: number } | null;
  readonly sent: number;
  readonly succeeded: number;
  /** Requests that were due but not sent: the machine could not keep the rate. */
  readonly skipped: number;
}

export interface DemoVerdict extends DemoFacts {
  readonly ok: boolean;
  readonly successPercent: number;
  readonly broken: readonly string[];
}

const MAX_READY_MS = 10_000;
const MAX_POLICY_MS = 1_000;
const MIN_SUCCESS_RATIO = 0.999;

/** @param agentCount  agents that must acknowledge the policy change */
export function judgeDemo(facts: DemoFacts, agentCount: number): DemoVerdict {
  const { readyMs, policy, sent, succeeded } = facts;
  const broken: string[] = [];
  if (readyMs === null) broken.push('the mesh never became ready');
  else if (readyMs > MAX_READY_MS)
    broken.push(`the mesh took ${seconds(readyMs)} to become ready, promised ${seconds(MAX_READY_MS)}`);
  if (facts.ejected.length === 0) broken.push('no endpoint was ejected');
  if (facts.reinstated.length === 0) broken.push('no endpoint was reinstated');
  if (policy === null) broken.push('the policy change was not made');
  else if (policy.acknowledged < agentCount)
    broken.push(`${policy.acknowledged} of ${agentCount} agents acknowledged the policy change`);
  else if (policy.tookMs > MAX_POLICY_MS)
    broken.push(`the policy change took ${Math.round(policy.tookMs)} ms, promised ${MAX_POLICY_MS} ms`);
  if (sent === 0) broken.push('no request was sent');
  else if (succeeded / sent < MIN_SUCCESS_RATIO)
    broken.push(`${sent - succeeded} of ${sent} requests failed, promised at most 0.1 %`);
  return {
    ...facts,
    ok: broken.length === 0,
    successPercent: sent === 0 ? 0 : Math.floor((succeeded / sent) * 100_000) / 1000,
    broken,
  };
}

/** One line a person can read. */
export function verdictSentence(verdict: DemoVerdict): string {
  if (!verdict.ok) return `demo failed: ${verdict.broken.join('; ')}`;
  const { readyMs, policy, sent, succeeded, ejected, reinstated } = verdict;
  return (
    `demo passed: mesh ready in ${seconds(readyMs ?? 0)}; ${ejected.length} ejected, ${reinstated.length} reinstated; ` +
    `policy acknowledged by ${policy?.acknowledged} of ${policy?.wanted} agents in ${Math.round(policy?.tookMs ?? 0)} ms; ` +
    `${succeeded} of ${sent} requests succeeded (${verdict.successPercent} %)`
  );
}

/** What a round came to, for who watches on. */
export function roundSentence({ sent, succeeded, ejected, reinstated }: DemoFacts, round: number): string {
  const back = ejected.filter((name) => reinstated.includes(name));
  return (
    `round ${round} is over: ${succeeded} of ${sent} requests of end users succeeded so far; callers left ` +
    `${ejected.join(', ') || 'nobody'} and took back ${back.join(', ') || 'nobody'}; the same again now`
  );
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}
