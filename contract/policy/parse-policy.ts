// Unknown input in, a policy document or every problem with it out. The API, the agent and the command line call this same
// function, so that nothing which one of them accepts is refused by another.

import { copyJson } from '../input/json-copy.ts';
import { isMapping, validate } from '../input/validate.ts';
import type { Parsed, Problem } from '../problem.ts';
import type { JsonSchema } from '../schema/json-schema.ts';
import { WRITTEN_POLICY_SCHEMAS } from '../schema/written.ts';
import { API_VERSION } from './api-version.ts';
import { FOREIGN_KINDS } from './foreign-keys.ts';
import { POLICY_KINDS, type PolicyDocument, type PolicyKind } from './policy.ts';
import { POLICY_RULES } from './policy-rules.ts';

/** As JSON. */
export const MAX_DOCUMENT_BYTES = 256 * 1024;
export const MAX_DOCUMENT_DEPTH = 16;

/** What is checked when the kind is not known: only that the envelope is one. */
const ENVELOPE: JsonSchema = {
  type: 'object',
  required: ['apiVersion', 'kind', 'metadata', 'spec'],
  properties: {
    apiVersion: { const: API_VERSION },
    kind: { enum: POLICY_KINDS },
    metadata: {},
    spec: {},
  },
};

/**
 * Total: never throws, whatever the input, and returns all problems (at most 200) in the order of the schema.
 *
 * @param input JSON data, as from JSON.parse or parseYamlDocuments; anything else is a problem
 * @returns a frozen copy: what the caller does with `input` afterwards does not matter
 */
export function parsePolicy(input: unknown): Parsed<PolicyDocument> {
  const copied = copyJson(input, { maxBytes: MAX_DOCUMENT_BYTES, maxDepth: MAX_DOCUMENT_DEPTH });
  if (!copied.ok) return copied;
  const document = copied.value;
  const schema = schemaOf(document);
  const problems =
    schema === null ? withKindHint(validate(ENVELOPE, document), document) : validate(schema, document, POLICY_RULES);
  // The schemas describe PolicyDocument kind by kind.
  return problems.length === 0 ? { ok: true, value: document as PolicyDocument } : { ok: false, problems };
}

/** `Kind/name` of a document, or of what claims to be one; for messages. */
export function nameDocument(input: unknown): string {
  if (!isMapping(input) || typeof input.kind !== 'string') return 'document';
  const name = isMapping(input.metadata) ? input.metadata.name : undefined;
  return typeof name === 'string' ? `${input.kind.slice(0, 64)}/${name.slice(0, 128)}` : input.kind.slice(0, 64);
}

function schemaOf(document: unknown): JsonSchema | null {
  const kind = isMapping(document) && Object.hasOwn(document, 'kind') ? document.kind : undefined;
  return POLICY_KINDS.includes(kind as PolicyKind) ? WRITTEN_POLICY_SCHEMAS[kind as PolicyKind] : null;
}

function withKindHint(problems: readonly Problem[], document: unknown): Problem[] {
  const kind = isMapping(document) ? document.kind : undefined;
  const hint = typeof kind === 'string' ? FOREIGN_KINDS.get(kind) : undefined;
  return problems.map((problem) =>
    problem.path === 'kind' && problem.hint === undefined && hint !== undefined ? { ...problem, hint } : problem,
  );
}
