// `outrigger policy`: apply, get, list, delete. Documents are checked here first, with the same parser that agents use,
// so that a mistake is shown at its line and nothing half-valid is sent.

import { type Command, InvalidArgumentError } from 'commander';
import { POLICY_KINDS, type PolicyDocument, type PolicyId, type PolicyKind } from '#contract/policy/policy.ts';
import { parseDuration } from '#contract/text/durations.ts';
import type { StoredPolicy } from '../control-plane/store/store.ts';
import { type ApiOptions, callApi, callPages, withApiOptions } from './api.ts';
import { addImportCommand } from './import.ts';
import { formatAge, formatTable, type OutputFormat, outputOption, paint, printResult, renderResult } from './output.ts';
import { type PolicyAnswer, readPolicyAnswer } from './policy-answer.ts';
import { readPolicyFiles } from './policy-files.ts';
import { addPolicyHistoryCommands } from './policy-history.ts';
import { missingPolicy, parsePolicyId, policySentence } from './policy-id.ts';
import { addLintCommand } from './policy-lint.ts';
import { addRolloutCommand } from './policy-rollout.ts';
import { CommandFailure, EXIT, type Terminal } from './terminal.ts';

/** How long the control plane may wait for the agents' verdicts before it answers. */
const WAIT = '2s';

export function addPolicyCommand(program: Command, terminal: Terminal): void {
  const policy = program.command('policy').description('apply, read and delete policy documents');
  withApiOptions(policy.command('apply'))
    .description('check documents here, store them, and wait for the agents to acknowledge')
    .requiredOption('-f, --file <file...>', 'files or folders, several documents a file; - reads standard input')
    .option('--if-revision <number>', 'apply only if the document still has this revision (one document)', wholeNumber)
    .option('--staged', 'to one agent, then 10 %, 50 % and all, and back by itself if it does harm (one document)')
    .option('--soak <time>', 'with --staged: the rest at each stage, 1s to 1d', soak)
    .option('--force', 'although too little of an error budget is left for changes')
    .addOption(outputOption())
    .action((options: ApplyOptions) => applyPolicies(options, terminal));
  withApiOptions(policy.command('get'))
    .description('print one stored document, ready to be edited and applied')
    .argument('<kind/name>', 'for example ServicePolicy/payments')
    .addOption(outputOption('yaml'))
    .action((id: string, options: ApiOptions & { output: OutputFormat }) => getPolicy(id, options, terminal));
  withApiOptions(policy.command('list'))
    .description('list the stored documents')
    .addOption(outputOption())
    .action((options: ApiOptions & { output: OutputFormat }) => listPolicies(options, terminal));
  withApiOptions(policy.command('delete'))
    .description('delete one document; what it said falls back to the defaults')
    .argument('<kind/name>', 'for example ServicePolicy/payments')
    .option('--if-revision <number>', 'delete only if the document still has this revision', wholeNumber)
    .option('--force', 'although too little of an error budget is left for changes')
    .addOption(outputOption())
    .action((id: string, options: ApplyOptions) => deletePolicy(id, options, terminal));
  addLintCommand(policy, terminal);
  addRolloutCommand(policy, terminal);
  addImportCommand(policy, terminal);
  addPolicyHistoryCommands(policy, terminal);
}

interface ApplyOptions extends ApiOptions {
  readonly file: readonly string[];
  readonly ifRevision?: number;
  readonly staged?: boolean;
  readonly soak?: string;
  readonly force?: boolean;
  readonly output: OutputFormat;
}

async function applyPolicies(options: ApplyOptions, terminal: Terminal): Promise<void> {
  const documents = inOrderOfUse(readPolicyFiles(options.file));
  if (options.ifRevision !== undefined && documents.length !== 1) {
    throw new CommandFailure(`--if-revision goes with exactly one document, ${documents.length} were given`, {
      exitCode: EXIT.usage,
    });
  }
  if (options.staged === true) {
    const [document] = documents;
    if (document !== undefined && documents.length === 1) return beginRollout(document, options, terminal);
    throw new CommandFailure(`--staged goes with exactly one document, ${documents.length} were given`, {
      exitCode: EXIT.usage,
    });
  }
  if (options.soak !== undefined) {
    throw new CommandFailure('--soak goes with --staged', { exitCode: EXIT.usage });
  }
  const results: { id: PolicyId; took: number; applied: PolicyAnswer }[] = [];
  for (const document of documents) {
    const startedAt = performance.now();
    const answer = await callApi(options, 'PUT', `${pathOf(document)}?${waiting(options)}`, {
      body: document,
      headers: ifMatch(options.ifRevision),
    });
    const applied = readPolicyAnswer(answer.body);
    const took = performance.now() - startedAt;
    const id: PolicyId = `${document.kind}/${document.metadata.name}`;
    results.push({ id, took, applied });
    if (applied.agents.rejected > 0) terminal.exitCode = EXIT.problemFound;
    if (options.output === 'table' || options.output === 'wide')
      terminal.out(policySentence(id, 'applied', applied, took, terminal));
  }
  if (options.output === 'json' || options.output === 'yaml') {
    const data = results.map(({ id, took, applied }) => ({ id, ...applied, tookMs: Math.round(took) }));
    terminal.out(renderResult(options.output, data, () => ''));
  }
}

function waiting(options: Pick<ApplyOptions, 'force'>): URLSearchParams {
  return new URLSearchParams({ wait: WAIT, ...forced(options) });
}

function forced({ force }: Pick<ApplyOptions, 'force'>): { force?: string } {
  return force === true ? { force: 'true' } : {};
}

/** Most agents are meant not to have it yet, so nobody's verdict is waited for. */
async function beginRollout(document: PolicyDocument, options: ApplyOptions, terminal: Terminal): Promise<void> {
  const query = new URLSearchParams({
    rollout: 'staged',
    ...(options.soak === undefined ? {} : { soak: options.soak }),
    ...forced(options),
  });
  const { body } = await callApi(options, 'PUT', `${pathOf(document)}?${query}`, {
    body: document,
    headers: ifMatch(options.ifRevision),
  });
  const { version, revision } = readPolicyAnswer(body);
  const id: PolicyId = `${document.kind}/${document.metadata.name}`;
  printResult(terminal, options.output, { id, version, revision }, () => {
    const watch = 'outrigger policy rollout --watch';
    return `${paint(terminal, 'green', `${id} goes out in stages`)}: version ${version}\nsee   ${watch}\nstop  outrigger policy rollout abort\n`;
  });
}

/** Each is put alone and judged with what is there: a subset must be defined before a route names it. */
function inOrderOfUse(documents: readonly PolicyDocument[]): PolicyDocument[] {
  return documents.toSorted((left, right) => POLICY_KINDS.indexOf(left.kind) - POLICY_KINDS.indexOf(right.kind));
}

async function getPolicy(
  text: string,
  options: ApiOptions & { output: OutputFormat },
  terminal: Terminal,
): Promise<void> {
  const { kind, name } = parsePolicyId(text);
  const { body } = await fetchPolicy(options, kind, name);
  const document = unwrap(body);
  printResult(terminal, options.output, document, () => renderResult('yaml', document, () => ''));
}

async function listPolicies(options: ApiOptions & { output: OutputFormat }, terminal: Terminal): Promise<void> {
  const body = await callPages(options, '/v1/policies', 'policies');
  const stored = readList(body);
  const now = terminal.epochMs();
  printResult(terminal, options.output, body, () =>
    stored.length === 0
      ? 'no policies are stored: every service runs with the defaults (outrigger policy apply -f FILE)\n'
      : formatTable(
          [
            { title: 'KIND', cell: ({ document }) => document.kind },
            { title: 'NAME', cell: ({ document }) => document.metadata.name },
            { title: 'REVISION', cell: ({ revision }) => String(revision), align: 'right' },
            {
              title: 'CHANGED',
              cell: ({ updatedAtEpochMs: at }) => `${formatAge(now - at)} ago`,
            },
            { title: 'AUTHOR', cell: ({ author }) => author, isWide: true },
            { title: 'SECTIONS', cell: ({ document }) => Object.keys(document.spec).join(' '), isWide: true },
          ],
          stored,
          terminal,
          options.output === 'wide',
        ),
  );
}

async function deletePolicy(text: string, options: ApplyOptions, terminal: Terminal): Promise<void> {
  const { kind, name } = parsePolicyId(text);
  const startedAt = performance.now();
  const { status, body } = await callApi(
    options,
    'DELETE',
    `/v1/policies/${kind}/${encodeURIComponent(name)}?${waiting(options)}`,
    {
      headers: ifMatch(options.ifRevision),
      accept: [404],
    },
  );
  if (status === 404) throw await missingPolicy(options, kind, name);
  const applied = readPolicyAnswer(body);
  const took = performance.now() - startedAt;
  printResult(terminal, options.output, { id: `${kind}/${name}`, ...applied }, () =>
    policySentence(`${kind}/${name}`, 'deleted', applied, took, terminal),
  );
}

async function fetchPolicy(options: ApiOptions, kind: PolicyKind, name: string): Promise<{ body: unknown }> {
  const answer = await callApi(options, 'GET', `/v1/policies/${kind}/${encodeURIComponent(name)}`, { accept: [404] });
  if (answer.status === 404) throw await missingPolicy(options, kind, name);
  return answer;
}

function ifMatch(revision: number | undefined): Readonly<Record<string, string>> {
  return revision === undefined ? {} : { 'if-match': `"${revision}"` };
}

function pathOf(document: PolicyDocument): string {
  return `/v1/policies/${document.kind}/${encodeURIComponent(document.metadata.name)}`;
}

function wholeNumber(text: string): number {
  const number = Number(text);
  if (!Number.isSafeInteger(number) || number < 0) throw new InvalidArgumentError('It must be a whole number.');
  return number;
}

function soak(text: string): string {
  if (parseDuration(text) === null) throw new InvalidArgumentError('It must be a duration such as 1m.');
  return text;
}

/** The document without what the server wrote around it. */
function unwrap(body: unknown): unknown {
  const { document } = (body ?? {}) as { document?: unknown };
  return document ?? body;
}

function readList(body: unknown): StoredPolicy[] {
  const { policies } = (body ?? {}) as { policies?: unknown };
  const list = Array.isArray(body) ? body : Array.isArray(policies) ? policies : [];
  return list.filter((entry): entry is StoredPolicy => typeof entry?.document?.metadata?.name === 'string');
}
