// What holds for every input of parsePolicy and every set of documents.

import fc from 'fast-check';
import t from 'tap';
import { isMapping } from '#contract/input/validate.ts';
import { locateProblems, parseYamlDocuments } from '#contract/input/yaml-documents.ts';
import { serviceFromHost } from '#contract/names.ts';
import { checkConsistency } from '#contract/policy/consistency.ts';
import { parsePolicy } from '#contract/policy/parse-policy.ts';
import { type ExplainedPlan, explainPlan, planService } from '#contract/policy/plan.ts';
import { POLICY_KINDS, type PolicyDocument } from '#contract/policy/policy.ts';
import { sloOf } from '#contract/policy/slo.ts';
import { formatDuration, parseDuration } from '#contract/text/durations.ts';
import { formatProblems } from '#contract/text/problem-text.ts';

const SEED = { seed: 20_260_721 };
const names = fc.constantFrom('api', 'web', 'pay-2');
const option = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined });
const timeouts = fc
  .record({
    request: option(fc.integer({ min: 1, max: 90_000 })),
    backendRequest: option(fc.integer({ min: 0, max: 90_000 })),
  })
  .filter(({ request, backendRequest }) => request === undefined || (backendRequest ?? 0) <= request)
  .map(({ request, backendRequest }) => ({
    ...(request === undefined ? {} : { request: formatDuration(request) }),
    ...(backendRequest === undefined ? {} : { backendRequest: formatDuration(backendRequest) }),
  }));
const sections = fc.record(
  {
    timeouts,
    retries: fc.record(
      { attempts: fc.integer({ min: 0, max: 10 }), on: fc.uniqueArray(fc.constantFrom('reset', '5xx', '503', '429')) },
      { requiredKeys: [] },
    ),
    exposeEndpoint: fc.boolean(),
  },
  { requiredKeys: [] },
);
const wanted = fc.oneof(
  fc.record({ type: fc.constant('Exact'), name: names, value: fc.constantFrom('1', 'a b') }),
  fc.record({ type: fc.constant('RegularExpression'), name: names, value: fc.constantFrom('v[0-9]+', '(a|b)*') }),
  fc.record({ type: fc.constant('Present'), name: names }),
);
const wantedList = fc.uniqueArray(wanted, { maxLength: 2, selector: ({ name }) => name });
const filter = fc.oneof(
  fc.record({
    type: fc.constant('URLRewrite'),
    urlRewrite: fc.record({
      hostname: names,
      path: fc.record({ type: fc.constant('ReplaceFullPath'), replaceFullPath: fc.constantFrom('/', '/x/y') }),
    }),
  }),
  fc.record({
    type: fc.constant('RequestMirror'),
    requestMirror: fc.record({ backendRef: fc.record({ name: names }), percent: fc.integer({ min: 0, max: 100 }) }),
  }),
  fc.record({
    type: fc.constant('FaultInjection'),
    faultInjection: fc.record({
      delay: fc.record({ duration: fc.constant('5ms'), percent: fc.integer({ min: 0, max: 100 }) }),
      abort: fc.record({ status: fc.constantFrom(429, 503) }),
    }),
  }),
);
const rule = fc.record(
  {
    matches: fc.array(
      fc.record(
        {
          path: fc.oneof(
            fc.record({
              type: fc.constantFrom('Exact', 'PathPrefix'),
              value: fc.constantFrom('/', '/a', '/a/b/', '/a/b/c'),
            }),
            fc.record({ type: fc.constant('RegularExpression'), value: fc.constantFrom('/v[12]/.*', '.*') }),
          ),
          method: fc.constantFrom('GET', 'PUT'),
          headers: wantedList,
          queryParams: wantedList,
        },
        { requiredKeys: [] },
      ),
      { maxLength: 3 },
    ),
    backendRefs: fc.uniqueArray(fc.record({ name: names, weight: fc.integer({ min: 1, max: 9 }) }), {
      minLength: 1,
      maxLength: 3,
      selector: ({ name }) => name,
    }),
    sticky: fc.constantFrom({ header: 'x-a' }, { cookie: 'sid' }, { source: true }),
    filters: fc.uniqueArray(filter, { maxLength: 3, selector: ({ type }) => type }),
    timeouts,
  },
  { requiredKeys: [] },
);
const envelope = (kind: string, name: string, spec: unknown) => ({
  apiVersion: 'outrigger.dev/v1',
  kind,
  metadata: { name },
  spec,
});
/** Of a whole document; overrides for single callers have no promise. */
const promise = fc.record(
  {
    target: fc.double({ min: 50, max: 99.9999, noNaN: true }),
    window: fc.constantFrom('1d', '36h', '30d'),
    latencyThreshold: fc.integer({ min: 0, max: 3_600_000 }).map(formatDuration),
  },
  { requiredKeys: [] },
);
const topSections = fc
  .tuple(sections, option(promise))
  .map(([spec, slo]) => (slo === undefined ? spec : { ...spec, slo }));
const valid = fc.oneof(
  topSections.map((spec) => envelope('MeshDefaults', 'global', spec)),
  fc.tuple(names, topSections, fc.array(sections, { maxLength: 1 })).map(([name, spec, [override]]) =>
    envelope('ServicePolicy', name, {
      subsets: { stable: { filter: 'Service.Meta.version == "1"' } },
      ...spec,
      ...(override === undefined ? {} : { overrides: [{ caller: 'w*', ...override }] }),
    }),
  ),
  fc
    .tuple(names, fc.array(rule, { minLength: 1, maxLength: 5 }))
    .map(([name, rules]) => envelope('HTTPRoute', name, { parentRefs: [{ kind: 'Service', name }], rules })),
  names.map((name) =>
    envelope('ServiceIntentions', name, { defaultAction: 'deny', sources: [{ name: 'web', action: 'allow' }] }),
  ),
);
const hostile = fc.oneof(
  fc.anything({
    withBigInt: true,
    withDate: true,
    withMap: true,
    withSet: true,
    withNullPrototype: true,
    withSparseArray: true,
    withTypedArray: true,
  }),
  fc
    .tuple(fc.constantFrom(...POLICY_KINDS), fc.anything(), fc.anything())
    .map(([kind, metadata, spec]) => ({ apiVersion: 'outrigger.dev/v1', kind, metadata, spec })),
);

/** Every path to a scalar or an empty collection of JSON data. */
function leavesOf(value: unknown, path: (string | number)[] = []): (string | number)[][] {
  if (Array.isArray(value)) return value.flatMap((item, index) => leavesOf(item, [...path, index]));
  if (isMapping(value)) return Object.keys(value).flatMap((key) => leavesOf(value[key], [...path, key]));
  return [path];
}

function replaceAt(value: unknown, [step, ...rest]: readonly (string | number)[], replacement: unknown): unknown {
  if (step === undefined) return replacement;
  if (Array.isArray(value))
    return value.map((item, index) => (index === step ? replaceAt(item, rest, replacement) : item));
  return isMapping(value) ? { ...value, [step]: replaceAt(value[String(step)], rest, replacement) } : value;
}

t.test(
  'total: any input gives a value or problems that can be printed; what is accepted is accepted again',
  async () => {
    fc.assert(
      fc.property(hostile, (input) => {
        const parsed = parsePolicy(input);
        if (!parsed.ok) return parsed.problems.length > 0 && formatProblems(parsed.problems).includes('error OTR_');
        return parsePolicy(JSON.parse(JSON.stringify(parsed.value))).ok;
      }),
      { ...SEED, numRuns: 2_000 },
    );
  },
);

t.test('valid documents come back as they were written, by JSON and by YAML', async () => {
  fc.assert(
    fc.property(valid, (input) => {
      const parsed = parsePolicy(input);
      const documents = parseYamlDocuments(JSON.stringify(input, null, 1), 'x');
      const again = documents.ok ? parsePolicy(documents.value[0]?.value) : null;
      return (
        parsed.ok &&
        again?.ok === true &&
        JSON.stringify(parsed.value) === JSON.stringify(input) &&
        JSON.stringify(again.value) === JSON.stringify(input)
      );
    }),
    { ...SEED, numRuns: 500 },
  );
});

t.test(
  'S5: a valid document with one value of a wrong type is refused at that value, the same from an object and from text',
  async () => {
    fc.assert(
      fc.property(
        valid,
        fc.nat(),
        fc.constantFrom(-1, { __proto__: null, x: 1 }, ['x', []], 'no such \u0000 word', 1e9),
        (input, choice, wrong) => {
          const leaves = leavesOf(input);
          const path = leaves[choice % leaves.length] ?? [];
          const broken = replaceAt(input, path, wrong);
          const parsed = parsePolicy(broken);
          const documents = parseYamlDocuments(JSON.stringify(broken), 'x');
          const [document] = documents.ok ? documents.value : [];
          if (parsed.ok || document === undefined) return false;
          const again = parsePolicy(document.value);
          const located = locateProblems(parsed.problems, document, 'x');
          return (
            !again.ok &&
            JSON.stringify(again.problems) === JSON.stringify(parsed.problems) &&
            located.every(({ line }) => line === 1)
          );
        },
      ),
      { ...SEED, numRuns: 1_000 },
    );
  },
);

t.test('plans: bounded, frozen, independent of the order of documents, and the explanation agrees', async () => {
  fc.assert(
    fc.property(
      fc.uniqueArray(valid, { maxLength: 6, selector: ({ kind, metadata }) => `${kind}/${metadata.name}` }),
      names,
      names,
      (inputs, caller, service) => {
        const documents = inputs
          .map((input) => parsePolicy(input))
          .flatMap((parsed): PolicyDocument[] => (parsed.ok ? [parsed.value] : []));
        const plan = planService(documents, caller, service);
        const policies = [plan.policy, ...plan.rules.flatMap((compiled) => compiled.policies)];
        const explained = explainPlan(documents, caller, service);
        return (
          documents.length === inputs.length &&
          JSON.stringify(planService(documents.toReversed(), caller, service)) === JSON.stringify(plan) &&
          policies.every(
            ({ timeouts: { requestMs, backendRequestMs } }) => requestMs === 0 || backendRequestMs <= requestMs,
          ) &&
          plan.rules.every(
            (compiled) => compiled.policies.length === compiled.backends.length && compiled.matches.length === 1,
          ) &&
          parseDuration(explained.policy.timeouts.request.value) === plan.policy.timeouts.requestMs &&
          explained.policy.retries.attempts.value === plan.policy.retries.attempts &&
          isPromised(documents, explained) &&
          explained.rules.length === plan.rules.length &&
          checkConsistency(documents).every(({ code }) => code === 'OTR_INCONSISTENT')
        );
      },
    ),
    { ...SEED, numRuns: 500 },
  );
});

/** What is explained to a caller is what the control plane counts by, whoever the caller is. */
function isPromised(documents: readonly PolicyDocument[], { service, policy: { slo } }: ExplainedPlan): boolean {
  const { objective, windowMs, latencyThresholdMs, from } = sloOf(documents, service);
  return (
    Math.abs(objective - slo.target.value / 100) < 1e-8 &&
    objective < 1 &&
    windowMs === parseDuration(slo.window.value) &&
    latencyThresholdMs === parseDuration(slo.latencyThreshold.value) &&
    from.target === slo.target.from &&
    from.window === slo.window.from
  );
}

t.test('names and durations: no text throws, what is written reads back', async () => {
  fc.assert(
    fc.property(
      fc.string({ unit: 'binary' }),
      (text) => serviceFromHost(text) === serviceFromHost(text.toUpperCase()) || /[^\0-\x7f]/.test(text),
    ),
    SEED,
  );
  fc.assert(
    fc.property(fc.nat({ max: 10 ** 9 }), (ms) => parseDuration(formatDuration(ms)) === ms),
    SEED,
  );
});
