// Problems that only show when documents are seen together.

import type { Problem } from '../problem.ts';
import type { ServicePolicySpec } from '../schema/policy-schema.ts';
import type { HTTPRouteSpec } from '../schema/route-schema.ts';
import type { Sections } from '../schema/sections-schema.ts';
import { parseDuration } from '../text/durations.ts';
import { listWords } from '../text/problem-words.ts';
import { type Explained, explainLayers, type Layer } from './effective.ts';
import { layersOf, type RouteRuleSpec, ruleLayer } from './layers.ts';
import { subsetsOf } from './plan.ts';
import type { PolicyDocument, PolicyId } from './policy.ts';
import { nameRule } from './routes.ts';

/** Calls nobody: with it only overrides for `*` would match, and those are looked at one by one. */
const NO_CALLER = '';

/**
 * Identities that are there twice, and settings that can never take effect because of what another document says: an attempt
 * timeout longer than the request timeout it inherits, a longest ejection shorter than the first one.
 *
 * A closer document that only tightens an inherited value is no contradiction: the other half gives way.
 *
 * @param documents documents that are valid each for itself
 * @returns paths begin with the document: `ServicePolicy/payments: spec.timeouts.backendRequest`
 */
export function checkConsistency(documents: readonly PolicyDocument[]): Problem[] {
  return [...duplicateIdentities(documents), ...documents.flatMap((document) => contradictions(documents, document))];
}

function duplicateIdentities(documents: readonly PolicyDocument[]): Problem[] {
  const seen = new Set<string>();
  return documents.flatMap(({ kind, metadata }): Problem[] => {
    const id = `${kind}/${metadata.name}`;
    if (!seen.has(id)) {
      seen.add(id);
      return [];
    }
    return [{ code: 'OTR_DUPLICATE', path: `${id}: metadata.name`, message: `must be unique, found ${id} twice` }];
  });
}

function contradictions(documents: readonly PolicyDocument[], document: PolicyDocument): Problem[] {
  const { name } = document.metadata;
  const id: PolicyId = `${document.kind}/${name}`;
  const at = (path: string) => `${id}: ${path}`;
  // Each cast is what parsePolicy established for the kind.
  switch (document.kind) {
    case 'MeshDefaults':
      return checkTop([], { from: id, sections: document.spec as Sections }, at('spec'));
    case 'ServicePolicy': {
      const spec = document.spec as ServicePolicySpec;
      const { overrides = [], ...sections } = spec;
      const general = layersOf(documents, NO_CALLER, name).filter(({ from }) => from !== id);
      const own: Layer = { from: id, sections };
      return [
        ...checkTop(general, own, at('spec')),
        ...overrides.flatMap((override, index) =>
          checkTop([...general, own], { from: id, sections: override }, at(`spec.overrides[${index}]`)),
        ),
      ];
    }
    case 'HTTPRoute':
      return (document.spec as HTTPRouteSpec).rules.flatMap((rule, index) => [
        ...checkRule(documents, name, rule, index, at(`spec.rules[${index}]`)),
        ...checkSubsets(documents, rule, at(`spec.rules[${index}]`)),
      ]);
    case 'ServiceIntentions':
      return [];
  }
}

function checkRule(
  documents: readonly PolicyDocument[],
  name: string,
  rule: RouteRuleSpec,
  index: number,
  path: string,
): Problem[] {
  if (rule.timeouts?.backendRequest === undefined) return [];
  for (const { name: backend } of rule.backendRefs ?? [{ name }]) {
    const problems = checkTop(layersOf(documents, NO_CALLER, backend), ruleLayer(name, rule, []), path);
    if (problems.length > 0) {
      return problems.map((problem) => ({
        ...problem,
        message: `${problem.message}, in ${nameRule(rule, index)} for ${backend}`,
      }));
    }
  }
  return [];
}

/** Every subset that a rule names is one of its service. */
function checkSubsets(documents: readonly PolicyDocument[], rule: RouteRuleSpec, path: string): Problem[] {
  const named = [
    ...(rule.backendRefs ?? []).map((ref, index) => ({ ref, place: `${path}.backendRefs[${index}]` })),
    ...(rule.filters ?? []).flatMap(({ requestMirror: mirror }, index) =>
      mirror === undefined
        ? []
        : [{ ref: mirror.backendRef, place: `${path}.filters[${index}].requestMirror.backendRef` }],
    ),
  ];
  return named.flatMap(({ ref: { name, subset }, place }): Problem[] => {
    if (subset === undefined) return [];
    const known = subsetsOf(documents, name).map((one) => one.name);
    if (known.includes(subset)) return [];
    const message = `must be ${known.length === 0 ? `a subset of ${name}, which has none` : listWords(known)}, found ${subset}`;
    const hint = `define it in spec.subsets of ServicePolicy/${name}`;
    return [{ code: 'OTR_INCONSISTENT', path: `${place}.subset`, message, hint }];
  });
}

/** What the topmost layer says, against what it inherits. Both halves in one layer is parsePolicy's business. */
function checkTop(below: readonly Layer[], top: Layer, path: string): Problem[] {
  const inherited = explainLayers(below);
  const { timeouts = {}, outlierDetection = {} } = top.sections;
  const problems: Problem[] = [];
  const { request } = inherited.timeouts;
  const attempt = timeouts.backendRequest;
  if (
    attempt !== undefined &&
    timeouts.request === undefined &&
    isLonger(attempt, request.value) &&
    isLimit(request.value)
  ) {
    problems.push(
      contradiction(
        `${path}.timeouts.backendRequest`,
        `at most timeouts.request, ${origin(request)}`,
        attempt,
        'say timeouts.request here too',
      ),
    );
  }
  const { baseEjectionTime: base, maxEjectionTime: max } = inherited.outlierDetection;
  const ownMax = outlierDetection.maxEjectionTime;
  const ownBase = outlierDetection.baseEjectionTime;
  if (ownMax !== undefined && ownBase === undefined && isLonger(base.value, ownMax)) {
    problems.push(
      contradiction(
        `${path}.outlierDetection.maxEjectionTime`,
        `at least baseEjectionTime, ${origin(base)}`,
        ownMax,
        'say baseEjectionTime here too',
      ),
    );
  }
  if (ownBase !== undefined && ownMax === undefined && max.from !== 'default' && isLonger(ownBase, max.value)) {
    problems.push(
      contradiction(
        `${path}.outlierDetection.baseEjectionTime`,
        `at most maxEjectionTime, ${origin(max)}`,
        ownBase,
        'say maxEjectionTime here too',
      ),
    );
  }
  return problems;
}

function contradiction(path: string, expected: string, found: string, hint: string): Problem {
  return { code: 'OTR_INCONSISTENT', path, message: `must be ${expected}, found ${found}`, hint };
}

function origin({ value, from }: Explained<string>): string {
  return from === 'default' ? `which is ${value} by default` : `which ${from} sets to ${value}`;
}

function isLonger(left: string, right: string): boolean {
  return (parseDuration(left) ?? 0) > (parseDuration(right) ?? 0);
}

/** 0 turns a timeout off. */
function isLimit(text: string): boolean {
  return (parseDuration(text) ?? 0) > 0;
}
