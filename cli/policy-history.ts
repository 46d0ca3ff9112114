// `outrigger policy history|diff|rollback`: what a document said before, how that differs, and back to it.

import { type Command, InvalidArgumentError } from 'commander';
import { stringify } from 'yaml';
import type { PolicyDocument } from '#contract/policy/policy.ts';
import { type ApiOptions, callApi, callPages, withApiOptions } from './api.ts';
import { diffLines, renderDiff } from './diff.ts';
import { formatAge, formatTable, type OutputFormat, outputOption, printResult } from './output.ts';
import { readPolicyAnswer } from './policy-answer.ts';
import { readPolicyFiles } from './policy-files.ts';
import { missingPolicy, parsePolicyId, policySentence } from './policy-id.ts';
import { CommandFailure, EXIT, type Terminal } from './terminal.ts';

interface Revision {
  readonly revision: number;
  readonly version: number;
  readonly author: string;
  readonly atEpochMs: number;
  readonly message: string;
  /** Null: removed. */
  readonly document: PolicyDocument | null;
}

type Options = ApiOptions & { readonly output: OutputFormat };

export function addPolicyHistoryCommands(policy: Command, terminal: Terminal): void {
  withApiOptions(policy.command('history'))
    .description('list the last revisions of a document, newest first')
    .argument('<kind/name>', 'for example ServicePolicy/payments')
    .addOption(outputOption())
    .action((id: string, options: Options) => showHistory(id, options, terminal));
  withApiOptions(policy.command('diff'))
    .description('show what files would change, or what changed between two revisions; exit 1 when anything does')
    .argument('[kind/name]', 'without -f: the document whose revisions are compared')
    .option('-f, --file <file...>', 'compare these files with what is stored')
    .option('--from <revision>', 'the older one; default the one before --to', wholeNumber)
    .option('--to <revision>', 'the newer one; default the last', wholeNumber)
    .addOption(outputOption())
    .action((id: string | undefined, options: DiffOptions) => showDiff(id, options, terminal));
  withApiOptions(policy.command('rollback'))
    .description('put a former revision in force again, as a new one')
    .argument('<kind/name>', 'for example ServicePolicy/payments')
    .option('--to <revision>', 'which; default the one before the last', wholeNumber)
    .addOption(outputOption())
    .action((id: string, options: Options & { to?: number }) => rollBack(id, options, terminal));
}

interface DiffOptions extends Options {
  readonly file?: readonly string[];
  readonly from?: number;
  readonly to?: number;
}

async function showHistory(text: string, options: Options, terminal: Terminal): Promise<void> {
  const revisions = await readHistory(text, options);
  const now = terminal.epochMs();
  printResult(terminal, options.output, revisions, () =>
    formatTable(
      [
        { title: 'REVISION', cell: ({ revision }) => String(revision), align: 'right' },
        { title: 'CHANGED', cell: ({ atEpochMs: at }) => `${formatAge(now - at)} ago` },
        { title: 'AUTHOR', cell: ({ author }) => author },
        {
          title: 'WHAT',
          cell: ({ document }) => (document === null ? 'removed' : Object.keys(document.spec).join(' ')),
        },
        { title: 'MESSAGE', cell: ({ message }) => message, isWide: true },
      ],
      revisions,
      terminal,
      options.output === 'wide',
    ),
  );
}

async function showDiff(id: string | undefined, options: DiffOptions, terminal: Terminal): Promise<void> {
  if ((id === undefined) === (options.file === undefined)) {
    throw new CommandFailure('name either a document, or files with -f', {
      exitCode: EXIT.usage,
      next: 'outrigger policy diff ServicePolicy/payments, or outrigger policy diff -f policies/',
    });
  }
  const pairs = id === undefined ? await againstStored(options) : [await betweenRevisions(id, options)];
  const changed = pairs
    .map((pair) => ({ ...pair, lines: diffLines(textOf(pair.before), textOf(pair.after)) }))
    .filter(({ lines }) => lines.some(({ kind }) => kind !== 'same'));
  if (changed.length > 0) terminal.exitCode = EXIT.problemFound;
  printResult(
    terminal,
    options.output,
    changed.map(({ title, before, after }) => ({ title, before, after })),
    () =>
      changed.length === 0
        ? 'no difference\n'
        : changed.map(({ title, lines }) => renderDiff(title, lines, terminal)).join('\n'),
  );
}

interface Pair {
  readonly title: string;
  readonly before: PolicyDocument | null;
  readonly after: PolicyDocument | null;
}

async function againstStored(options: DiffOptions): Promise<Pair[]> {
  const documents = readPolicyFiles(options.file ?? []);
  return Promise.all(
    documents.map(async (after): Promise<Pair> => {
      const path = `/v1/policies/${after.kind}/${encodeURIComponent(after.metadata.name)}`;
      const { status, body } = await callApi(options, 'GET', path, { accept: [404] });
      const before = status === 404 ? null : (body as { document: PolicyDocument }).document; // the same version
      return { title: `${after.kind}/${after.metadata.name}: stored → file`, before, after };
    }),
  );
}

async function betweenRevisions(id: string, options: DiffOptions): Promise<Pair> {
  const revisions = await readHistory(id, options);
  const newer = pickRevision(revisions, options.to ?? revisions[0]?.revision, id);
  const before = revisions.find(({ revision }) => revision < newer.revision);
  const older = options.from === undefined ? (before ?? null) : pickRevision(revisions, options.from, id);
  const title = `${id}: ${older === null ? 'nothing' : `revision ${older.revision}`} → revision ${newer.revision}`;
  return { title, before: older?.document ?? null, after: newer.document };
}

async function rollBack(text: string, options: Options & { to?: number }, terminal: Terminal): Promise<void> {
  const { kind, name } = parsePolicyId(text);
  const revisions = await readHistory(text, options);
  const wanted = options.to ?? revisions[1]?.revision;
  if (wanted === undefined) {
    throw new CommandFailure(`${text} has one revision only`, {
      exitCode: EXIT.problemFound,
      next: `outrigger policy delete ${text}`,
    });
  }
  pickRevision(revisions, wanted, text);
  const startedAt = performance.now();
  const path = `/v1/policies/${kind}/${encodeURIComponent(name)}/rollback?wait=2s`;
  const { body } = await callApi(options, 'POST', path, { body: { revision: wanted } });
  const applied = readPolicyAnswer(body);
  if (applied.agents.rejected > 0) terminal.exitCode = EXIT.problemFound;
  const took = performance.now() - startedAt;
  printResult(terminal, options.output, { id: `${kind}/${name}`, restored: wanted, ...applied }, () =>
    policySentence(`${kind}/${name}`, `rolled back to revision ${wanted}`, applied, took, terminal),
  );
}

async function readHistory(text: string, options: ApiOptions): Promise<readonly Revision[]> {
  const { kind, name } = parsePolicyId(text);
  const path = `/v1/policies/${kind}/${encodeURIComponent(name)}/history`;
  const { status } = await callApi(options, 'GET', `${path}?limit=1`, { accept: [404] });
  if (status === 404) throw await missingPolicy(options, kind, name);
  const body = (await callPages(options, path, 'revisions')) as { revisions: readonly Revision[] }; // the same version
  return body.revisions;
}

function pickRevision(revisions: readonly Revision[], wanted: number | undefined, id: string): Revision {
  const found = revisions.find(({ revision }) => revision === wanted);
  if (found !== undefined) return found;
  throw new CommandFailure(`${id} has no revision ${wanted} among the last ${revisions.length}`, {
    exitCode: EXIT.problemFound,
    next: `outrigger policy history ${id}`,
  });
}

function textOf(document: PolicyDocument | null): string {
  return document === null ? '' : stringify(document, { lineWidth: 0 });
}

function wholeNumber(text: string): number {
  const number = Number(text);
  if (!Number.isSafeInteger(number) || number < 0) throw new InvalidArgumentError('It must be a whole number.');
  return number;
}
