// Policy documents from a file or a folder beside the agent, used until the control plane speaks. All problems are found at
// once, each with file, line and column.

import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { locateProblems, parseYamlDocuments } from '#contract/input/yaml-documents.ts';
import { checkConsistency } from '#contract/policy/consistency.ts';
import { parsePolicy } from '#contract/policy/parse-policy.ts';
import type { PolicyDocument } from '#contract/policy/policy.ts';
import type { Parsed, Problem } from '#contract/problem.ts';

const MAX_FILES = 1_000;

/**
 * Reads every `.yaml`, `.yml` and `.json` file directly in the folder (in order of name), or the one file.
 *
 * @returns the documents, or every problem of every file; a path that cannot be read is the problem OTR_FILE
 */
export function loadLocalPolicies(path: string): Parsed<readonly PolicyDocument[]> {
  const problems: Problem[] = [];
  const documents: PolicyDocument[] = [];
  const files = filesOf(path);
  if (typeof files === 'string') return { ok: false, problems: [fileProblem(path, files)] };
  for (const file of files) {
    let text: string;
    try {
      text = readFileSync(file, 'utf8');
    } catch (error) {
      problems.push(fileProblem(file, messageOf(error)));
      continue;
    }
    const parsed = parseYamlDocuments(text, file);
    if (!parsed.ok) {
      problems.push(...parsed.problems);
      continue;
    }
    for (const located of parsed.value) {
      const policy = parsePolicy(located.value);
      if (policy.ok) documents.push(policy.value);
      else problems.push(...locateProblems(policy.problems, located, file));
    }
  }
  if (problems.length === 0) problems.push(...checkConsistency(documents));
  return problems.length === 0 ? { ok: true, value: documents } : { ok: false, problems };
}

/** Paths of the files, or why there are none. */
function filesOf(path: string): string[] | string {
  try {
    if (!statSync(path).isDirectory()) return [path];
    const files = readdirSync(path, { withFileTypes: true })
      .filter((entry) => !entry.isDirectory() && /\.(ya?ml|json)$/i.test(entry.name) && !entry.name.startsWith('.'))
      .map((entry) => join(path, entry.name))
      .sort();
    return files.length > MAX_FILES ? `must hold at most ${MAX_FILES} files, found ${files.length}` : files;
  } catch (error) {
    return messageOf(error);
  }
}

function fileProblem(file: string, message: string): Problem {
  return { code: 'OTR_FILE', path: '', message: `could not be read: ${message}`, file };
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
