// Bodies that hold policy documents: JSON or YAML text in, values with a way to say where in the text a problem is.

import { type LocatedDocument, locateProblems, parseYamlDocuments } from '#contract/input/yaml-documents.ts';
import { parsePolicy } from '#contract/policy/parse-policy.ts';
import type { PolicyDocument } from '#contract/policy/policy.ts';
import type { Problem } from '#contract/problem.ts';
import { ApiError } from './problem.ts';

/** Content types that a policy may come in. */
export const JSON_TYPE = 'application/json';
export const YAML_TYPES = ['application/yaml', 'application/x-yaml', 'text/yaml', 'text/x-yaml'];
/** Documents in one body at most. */
const DOCUMENT_LIMIT = 100;

/** What the content type parser hands on. */
export interface PolicyText {
  readonly text: string;
  readonly isJson: boolean;
}

/** The one document of a PUT. @throws ApiError with all problems and their places in the text */
export function readPolicy(body: unknown): PolicyDocument {
  const [located, ...more] = readValues(body);
  if (located === undefined) throw invalid([{ code: 'OTR_MISSING', path: '', message: 'must be a policy document' }]);
  if (more.length > 0) {
    throw invalid([{ code: 'OTR_INCONSISTENT', path: '', message: `must be one document, got ${more.length + 1}` }]);
  }
  return parse(located);
}

/** Every document of a dry run: YAML documents, or a JSON array. @throws ApiError with the problems of all of them */
export function readPolicies(body: unknown): PolicyDocument[] {
  const documents: PolicyDocument[] = [];
  const problems: Problem[] = [];
  for (const located of readValues(body)) {
    const parsed = parsePolicy(located.value);
    if (parsed.ok) documents.push(parsed.value);
    else problems.push(...withPlaces(parsed.problems, located));
  }
  if (problems.length > 0) throw invalid(problems);
  return documents;
}

/** 422 with the whole list. */
export function invalid(problems: readonly Problem[]): ApiError {
  const count = problems.length === 1 ? '1 problem' : `${problems.length} problems`;
  return new ApiError('OTR_ERR_INVALID', count, problems);
}

function parse(located: LocatedDocument): PolicyDocument {
  const parsed = parsePolicy(located.value);
  if (parsed.ok) return parsed.value;
  throw invalid(withPlaces(parsed.problems, located));
}

function readValues(body: unknown): readonly LocatedDocument[] {
  if (!isPolicyText(body)) throw new ApiError('OTR_ERR_BAD_REQUEST', 'the body must be a policy document');
  if (body.isJson) refuseBrokenJson(body.text);
  // JSON is read as the YAML it also is: that finds duplicate keys, and knows the line of every value.
  const parsed = parseYamlDocuments(body.text, '');
  if (!parsed.ok) throw invalid(parsed.problems.map(withoutFile));
  const values = parsed.value.flatMap((located): LocatedDocument[] => (body.isJson ? elements(located) : [located]));
  if (values.length > DOCUMENT_LIMIT) {
    throw invalid([{ code: 'OTR_TOO_LARGE', path: '', message: `must be at most ${DOCUMENT_LIMIT} documents` }]);
  }
  return values;
}

function elements(located: LocatedDocument): LocatedDocument[] {
  if (!Array.isArray(located.value)) return [located];
  return located.value.map((value: unknown, index) => ({
    value,
    locate: (path, part) => located.locate(path === '' ? `[${index}]` : `[${index}].${path}`, part),
  }));
}

function refuseBrokenJson(text: string): void {
  try {
    JSON.parse(text);
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    throw invalid([{ code: 'OTR_SYNTAX', path: '', message: `is not JSON: ${message}` }]);
  }
}

function withPlaces(problems: readonly Problem[], located: LocatedDocument): Problem[] {
  return locateProblems(problems, located, '').map(withoutFile);
}

/** A body has no file name. */
function withoutFile({ file: _file, ...problem }: Problem): Problem {
  return problem;
}

function isPolicyText(body: unknown): body is PolicyText {
  return typeof body === 'object' && body !== null && 'text' in body && 'isJson' in body;
}
