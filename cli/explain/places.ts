// Where documents say what applies: `policies/orders.yaml:14:7`. Pure.

import type { ExplainedPolicy } from '#contract/policy/effective.ts';
import { matchesGlob } from '#contract/policy/layers.ts';
import type { PolicyId, PolicyKind } from '#contract/policy/policy.ts';
import type { LocatedPolicy } from '../policy-files.ts';

/** Rules that did not match, as far as a person is shown them. */
export const MAX_MISSES = 20;

/** A value that applies to the request and who said it. */
export interface Setting {
  readonly name: string;
  readonly value: string;
  readonly from: PolicyId | 'default';
  readonly at: string | null;
}

export type SettingPath = readonly [section: string, ...keys: string[]];

/** Whose request it is, and under which rule of the HTTPRoute; -1 for none. */
export interface SettingContext {
  readonly caller: string;
  readonly ruleIndex: number;
}

/** @param policy  as it applies to the caller, the service and the rule */
export function settingOf(
  policies: readonly LocatedPolicy[],
  policy: ExplainedPolicy,
  path: SettingPath,
  context: SettingContext,
): Setting {
  const leaf = path.reduce<unknown>((node, key) => (node as Readonly<Record<string, unknown>>)?.[key], policy);
  const { value, from } = (leaf ?? { value: '', from: 'default' }) as { value: unknown; from: Setting['from'] };
  const items = Array.isArray(value) ? value : [value];
  const shown = items.map((item) => (typeof item === 'object' ? JSON.stringify(item) : String(item))).join(' ');
  const at = from === 'default' ? null : settingAt(policies, from, path, context);
  return { name: path.join('.'), value: shown, from, at };
}

/** A rule says it as `timeouts` or `retry`; a ServicePolicy in the last override for the caller that has it, or in itself. */
function settingAt(
  policies: readonly LocatedPolicy[],
  from: PolicyId,
  path: SettingPath,
  { caller, ruleIndex }: SettingContext,
): string | null {
  const slash = from.indexOf('/');
  const [kind, name] = [from.slice(0, slash) as PolicyKind, from.slice(slash + 1)];
  const [section, key] = path;
  if (kind === 'HTTPRoute') {
    const word = section === 'retries' ? `retry.${key === 'on' ? 'codes' : key}` : path.join('.');
    return placeOf(policies, kind, name, `spec.rules[${ruleIndex}].${word}`);
  }
  const spec =
    policies.find(({ document }) => `${document.kind}/${document.metadata.name}` === from)?.document.spec ?? {};
  const { overrides } = spec as { overrides?: readonly Readonly<Record<string, unknown>>[] }; // went through parsePolicy
  const index = (overrides ?? []).findLastIndex((one) => matchesGlob(String(one.caller), caller) && says(one, path));
  return placeOf(policies, kind, name, `spec.${index < 0 ? '' : `overrides[${index}].`}${path.join('.')}`);
}

function says(sections: unknown, path: readonly string[]): boolean {
  const [key = '', ...rest] = path;
  if (typeof sections !== 'object' || sections === null || !Object.hasOwn(sections, key)) return false;
  return rest.length === 0 || says((sections as Readonly<Record<string, unknown>>)[key], rest);
}

/** `policies/orders.yaml:14:7`, or null when no such document is there. */
export function placeOf(
  policies: readonly LocatedPolicy[],
  kind: PolicyKind,
  name: string,
  path: string,
): string | null {
  const found = policies.find(({ document }) => document.kind === kind && document.metadata.name === name);
  if (found === undefined) return null;
  const { line, column } = found.source.locate(path, 'key');
  return `${found.file}:${line}:${column}`;
}
