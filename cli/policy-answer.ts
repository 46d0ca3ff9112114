// What the control plane says to a change of a policy, read with care: it may be another version than we are.

/** What was stored, and how the connected agents stood towards it when the control plane answered. */
export interface PolicyAnswer {
  readonly revision: number;
  readonly version: number;
  readonly agents: { readonly wanted: number; readonly applied: number; readonly rejected: number };
}

/** Missing or unexpected numbers read as 0. */
export function readPolicyAnswer(body: unknown): PolicyAnswer {
  const { revision, version, agents } = (body ?? {}) as Partial<PolicyAnswer>; // checked field by field below
  return {
    revision: count(revision),
    version: count(version),
    agents: { wanted: count(agents?.wanted), applied: count(agents?.applied), rejected: count(agents?.rejected) },
  };
}

function count(value: unknown): number {
  return typeof value === 'number' && Number.isFinite(value) ? value : 0;
}
