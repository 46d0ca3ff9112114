// `outrigger why ID`: why a request went where it went, from the agent that remembers it.

import { isDeepStrictEqual } from 'node:util';
import type { Command } from 'commander';
import { stringify } from 'yaml';
import { parseYamlDocuments } from '#contract/input/yaml-documents.ts';
import type { PolicyDocument } from '#contract/policy/policy.ts';
import type { Explanation } from '../agent/core/decision/explain.ts';
import { type AdminOptions, callAdmin, withAdminOptions } from './admin-api.ts';
import { MAX_MISSES, type Setting } from './explain/places.ts';
import { type WhyPlaces, whyPlaces } from './explain/why-places.ts';
import { readAgents } from './fleet.ts';
import { type OutputFormat, outputOption, paint, printResult } from './output.ts';
import { type LocatedPolicy, readLocatedPolicies } from './policy-files.ts';
import { CommandFailure, EXIT, type Terminal } from './terminal.ts';

interface WhyOptions extends AdminOptions {
  readonly failed?: boolean;
  readonly file?: readonly string[];
  readonly output: OutputFormat;
}

export function addWhyCommand(program: Command, terminal: Terminal): void {
  withAdminOptions(program.command('why'))
    .description('tell why a request went where it went; without an ID, the last decisions')
    .argument('[id]', 'what x-outrigger-why or x-request-id said')
    .option('-f, --file <file...>', 'where the policies stand: places are then of these files')
    .option('--failed', 'without an ID: only those that went wrong')
    .addOption(outputOption())
    .action((id: string | undefined, options: WhyOptions) =>
      id === undefined ? listDecisions(options, terminal) : explain(id, options, terminal),
    );
}

async function listDecisions(options: WhyOptions, terminal: Terminal): Promise<void> {
  const { body } = await callAdmin(options, 'GET', options.failed === true ? '/why?failed=true' : '/why');
  const { decisions } = body as { decisions: readonly { id: string; at: string; text: string }[] }; // the same version
  printResult(terminal, options.output, decisions, () =>
    decisions.length === 0
      ? 'no request has gone through this agent yet\n'
      : decisions
          .map(
            ({ id, at, text }) =>
              `${paint(terminal, 'bold', id)}  ${at.slice(11, 23)}  ${paint(terminal, null, text)}\n`,
          )
          .join(''),
  );
}

async function explain(id: string, options: WhyOptions, terminal: Terminal): Promise<void> {
  const path = `/why/${encodeURIComponent(id)}`;
  const { status, body } = await callAdmin(options, 'GET', path, { accept: [404] });
  const found =
    status === 404 ? await findElsewhere(path, options) : { from: options, explanation: body as Explanation }; // the same version
  if (found === null) {
    throw new CommandFailure(`no decision '${id}' is remembered`, {
      exitCode: EXIT.problemFound,
      next: 'outrigger why --failed   (the last ones; an agent keeps 4096, and 1024 that went wrong)',
    });
  }
  const { explanation } = found;
  const held = await readPolicies(found.from);
  const located = locate(held.documents, options.file);
  const places = whyPlaces(located.policies, held.caller, explanation);
  // What the record does not tell goes by the documents of now.
  const isChanged = explanation.policyVersion !== held.policyVersion && explanation.limits !== null;
  const notes = [
    ...(isChanged
      ? [`policies have changed since, to version ${held.policyVersion}: places are of the documents of now`]
      : []),
    ...located.differing.map(
      (name) => `${name} in the files is not what the agent has: its places are not of the files`,
    ),
  ];
  printResult(terminal, options.output, { ...explanation, places, notes }, () =>
    renderExplanation(explanation, places, notes, terminal),
  );
}

interface HeldPolicies {
  readonly caller: string;
  readonly policyVersion: number;
  readonly documents: readonly PolicyDocument[];
}

async function readPolicies(options: AdminOptions): Promise<HeldPolicies> {
  return (await callAdmin(options, 'GET', '/policies')).body as HeldPolicies; // the same version
}

/** A document of the agent, found in the files where these say the same; else its lines are those that `policy get` prints. */
function locate(
  documents: readonly PolicyDocument[],
  files: readonly string[] | undefined,
): { readonly policies: LocatedPolicy[]; readonly differing: string[] } {
  const inFiles = files === undefined ? [] : readLocatedPolicies(files);
  const differing: string[] = [];
  const policies = documents.flatMap((document) => {
    const file = `${document.kind}/${document.metadata.name}`;
    const found = inFiles.find((one) => `${one.document.kind}/${one.document.metadata.name}` === file);
    if (found !== undefined && isDeepStrictEqual(plain(found.document), plain(document)))
      return [{ ...found, document }];
    if (found !== undefined) differing.push(file);
    const parsed = parseYamlDocuments(stringify(document, { lineWidth: 0 }), file);
    return parsed.ok ? parsed.value.map((source) => ({ document, file, source })) : [];
  });
  return { policies, differing };
}

/** Without what only one of two ways of reading leaves behind, such as a prototype. */
function plain(document: PolicyDocument): unknown {
  return JSON.parse(JSON.stringify(document));
}

/** An id from a caller's log says nothing about which agent it was: the control plane knows all of them. */
async function findElsewhere(
  path: string,
  options: WhyOptions,
): Promise<{ from: AdminOptions; explanation: Explanation } | null> {
  if (options.agent !== undefined) return null;
  const agents = await readAgents(options).catch((error: unknown) => {
    if (error instanceof CommandFailure) return []; // no control plane to ask: then nobody else is known
    throw error;
  });
  for (const { id: agent, isConnected } of agents) {
    if (!isConnected) continue;
    const from = { ...options, agent };
    const { status, body } = await callAdmin(from, 'GET', path, { accept: [404, 502, 504] });
    if (status === 200) return { from, explanation: body as Explanation }; // the same version on both sides
  }
  return null;
}

export function renderExplanation(
  found: Explanation,
  places: WhyPlaces,
  notes: readonly string[],
  terminal: Pick<Terminal, 'hasColours'>,
): string {
  const lines = [paint(terminal, 'bold', found.text), ''];
  const say = (title: string, text: string, at: string | null = null): void => {
    const place = at === null ? '' : `  ${paint(terminal, 'dim', at)}`;
    lines.push(`${title.padEnd(9)} ${paint(terminal, null, text)}${place}`);
  };
  say('when', `${found.at}, policy version ${found.policyVersion}, snapshot ${found.snapshotGeneration}`);
  for (const note of notes) say('note', note);
  if (found.isPathCut)
    say('note', 'the path is cut: a record keeps its first 64 bytes where no rules are looked through');
  if (places.access !== null) say('access', places.access.text, places.access.at);
  if (places.access?.isAllowed !== false) sayRoute(found, places, say);
  if (found.limits !== null) {
    const { inFlight, limit, isAdaptive, queuedMs } = found.limits;
    const bound = limit > 0 ? `${limit}${isAdaptive ? ', adaptive' : ''}` : 'none';
    const waited = queuedMs > 0 ? `, waited ${queuedMs} ms` : '';
    say('limits', `${inFlight} in flight, limit ${bound}${waited}`, placeIn(places.limit));
  }
  const { deadline } = found;
  say(
    'deadline',
    deadline.ms === null ? 'none' : `${deadline.ms} ms from the ${deadline.from}`,
    placeIn(places.deadline),
  );
  found.attempts.forEach((attempt, index) => {
    const its = places.attempts[index];
    say(`attempt ${index + 1}`, attempt.text, placeIn(its?.balancer));
    const { group } = attempt;
    if (group?.isPanicking === true) {
      say('', 'panic: so few serve that those that are out are used too', placeIn(its?.panic));
    }
    if (group !== null && group.sharePercent < 100) {
      const where = group.zone === null ? `priority level ${group.priority}` : `zone ${group.zone}`;
      say('', `${where} gets ${group.sharePercent} % of the requests`);
    }
    say('', attempt.afterText, placeIn(its?.after));
    attempt.excluded.forEach(({ endpoint, text }, at) => {
      say('', `not ${endpoint}: ${text}`, placeIn(its?.excluded[at]));
    });
    if (attempt.unlisted > 0) say('', `and ${attempt.unlisted} more`);
  });
  if (places.answer !== null) {
    say('answer', `${found.status} ${found.result}: ${named(places.answer)}`, placeIn(places.answer));
  }
  return `${lines.join('\n')}\n`;
}

function sayRoute(
  found: Explanation,
  places: WhyPlaces,
  say: (title: string, text: string, at?: string | null) => void,
): void {
  const { route, rule } = found;
  say('route', route?.text ?? (rule === null ? 'the service has no routes' : `rule ${rule}`), places.rule);
  const misses = route?.misses ?? [];
  misses.slice(0, MAX_MISSES).forEach((miss, index) => {
    say('', `not ${miss.rule}: ${miss.failed.join(', and ')}`, places.misses[index]);
  });
  if (misses.length > MAX_MISSES) say('', `and ${misses.length - MAX_MISSES} more`);
  for (const { text, at } of places.filters) say('filter', text, at);
  if (places.backend === null) return;
  const subset = found.attempts[0]?.subset ?? null;
  say('backend', `${found.service}${subset === null ? '' : ` subset ${subset}`}`, places.backend);
}

function named({ name, value }: Setting): string {
  return `${name} ${value}`;
}

function placeIn(setting: Setting | null | undefined): string | null {
  if (setting === null || setting === undefined) return null;
  return setting.at ?? (setting.from === 'default' ? `${named(setting)}, default` : setting.from);
}
