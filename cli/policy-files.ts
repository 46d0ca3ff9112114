// From the files and folders a person names to checked policy documents. All problems of all files are told at once.

import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { type LocatedDocument, locateProblems, parseYamlDocuments } from '#contract/input/yaml-documents.ts';
import { parsePolicy } from '#contract/policy/parse-policy.ts';
import type { PolicyDocument } from '#contract/policy/policy.ts';
import type { Problem } from '#contract/problem.ts';
import { CommandFailure, EXIT, InputProblems, readNamedFile } from './terminal.ts';

const EXTENSIONS = /\.(ya?ml|json)$/;

/**
 * Reads, parses and checks every document.
 *
 * @param names  files, folders (read in depth, in order of name) or `-` for standard input
 * @throws       InputProblems with every problem, placed at file:line:column
 */
export function readPolicyFiles(names: readonly string[]): PolicyDocument[] {
  return readLocatedPolicies(names).map(({ document }) => document);
}

/** A valid document and where its parts stand. */
export interface LocatedPolicy {
  readonly file: string;
  readonly document: PolicyDocument;
  readonly source: LocatedDocument;
}

/** As readPolicyFiles, for whoever wants to point at a line. */
export function readLocatedPolicies(names: readonly string[]): LocatedPolicy[] {
  const sources = new Map<string, string>();
  for (const name of names.flatMap(expand)) {
    sources.set(name === '-' ? '(stdin)' : name, name === '-' ? readFileSync(0, 'utf8') : readNamedFile(name));
  }
  if (sources.size === 0) {
    throw new CommandFailure(`no .yaml, .yml or .json file in ${names.join(', ')}`, { exitCode: EXIT.usage });
  }
  const found = [...sources].flatMap(([file, text]) => parseFile(file, text));
  const problems = [...found.flatMap((each) => each.problems), ...duplicates(found)];
  if (problems.length > 0) throw new InputProblems(problems, sources);
  const documents = found.flatMap(({ file, document, source }) =>
    document === null || source === null ? [] : [{ file, document, source }],
  );
  if (documents.length === 0) {
    throw new CommandFailure(`no policy document in ${[...sources.keys()].join(', ')}`, { exitCode: EXIT.usage });
  }
  return documents;
}

interface Found {
  readonly file: string;
  readonly document: PolicyDocument | null;
  readonly source: LocatedDocument | null;
  readonly problems: readonly Problem[];
}

function parseFile(file: string, text: string): Found[] {
  const parsed = parseYamlDocuments(text, file);
  if (!parsed.ok) return [{ file, document: null, source: null, problems: parsed.problems }];
  return parsed.value.map((source) => {
    const policy = parsePolicy(source.value);
    return policy.ok
      ? { file, document: policy.value, source, problems: [] }
      : { file, document: null, source, problems: locateProblems(policy.problems, source, file) };
  });
}

/** The second of two documents with one name would silently win. */
function duplicates(found: readonly Found[]): Problem[] {
  const firstIn = new Map<string, string>();
  return found.flatMap(({ file, document, source }) => {
    if (document === null || source === null) return [];
    const id = `${document.kind}/${document.metadata.name}`;
    const earlier = firstIn.get(id);
    if (earlier === undefined) {
      firstIn.set(id, file);
      return [];
    }
    const message = `${id} is given twice, first in ${earlier}`;
    return locateProblems([{ code: 'OTR_DUPLICATE', path: 'metadata.name', message }], source, file);
  });
}

function expand(name: string): string[] {
  if (name === '-' || statSync(name, { throwIfNoEntry: false })?.isDirectory() !== true) return [name];
  return readdirSync(name, { recursive: true, encoding: 'utf8' })
    .filter((entry) => EXTENSIONS.test(entry))
    .sort()
    .map((entry) => join(name, entry));
}
