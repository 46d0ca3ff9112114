// `outrigger why ID`: why a request went where it went, from the agent that remembers it.

import type { Command } from 'commander';
import type { Explanation } from '../agent/core/decision/explain.ts';
import { type AdminOptions, callAdmin, withAdminOptions } from './admin-api.ts';
import { readAgents } from './fleet.ts';
import { type OutputFormat, outputOption, paint, printResult } from './output.ts';
import { CommandFailure, EXIT, type Terminal } from './terminal.ts';

interface WhyOptions extends AdminOptions {
  readonly failed?: boolean;
  readonly output: OutputFormat;
}

export function addWhyCommand(program: Command, terminal: Terminal): void {
  withAdminOptions(program.command('why'))
    .description('tell why a request went where it went; without an ID, the last decisions')
    .argument('[id]', 'what x-outrigger-why or x-request-id said')
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
  const found = status === 404 ? await findElsewhere(path, options) : (body as Explanation); // the same version
  if (found === null) {
    throw new CommandFailure(`no decision '${id}' is remembered`, {
      exitCode: EXIT.problemFound,
      next: 'outrigger why --failed   (the last ones; an agent keeps 4096, and 1024 that went wrong)',
    });
  }
  printResult(terminal, options.output, found, () => renderExplanation(found, terminal));
}

/** An id from a caller's log says nothing about which agent it was: the control plane knows all of them. */
async function findElsewhere(path: string, options: WhyOptions): Promise<Explanation | null> {
  if (options.agent !== undefined) return null;
  const agents = await readAgents(options).catch((error: unknown) => {
    if (error instanceof CommandFailure) return []; // no control plane to ask: then nobody else is known
    throw error;
  });
  for (const { id: agent, isConnected } of agents) {
    if (!isConnected) continue;
    const { status, body } = await callAdmin({ ...options, agent }, 'GET', path, { accept: [404, 502, 504] });
    if (status === 200) return body as Explanation; // the same version on both sides
  }
  return null;
}

export function renderExplanation(found: Explanation, terminal: Pick<Terminal, 'hasColours'>): string {
  const lines = [paint(terminal, 'bold', found.text), ''];
  const say = (title: string, text: string): void =>
    void lines.push(`${title.padEnd(9)} ${paint(terminal, null, text)}`);
  say('when', `${found.at}, policy version ${found.policyVersion}, snapshot ${found.snapshotGeneration}`);
  say('route', found.route?.text ?? (found.rule === null ? 'the service has no routes' : `rule ${found.rule}`));
  if (found.limits !== null) {
    const { inFlight, limit, isAdaptive, queuedMs } = found.limits;
    const bound = limit > 0 ? `${limit}${isAdaptive ? ', adaptive' : ''}` : 'none';
    say('limits', `${inFlight} in flight, limit ${bound}${queuedMs > 0 ? `, waited ${queuedMs} ms` : ''}`);
  }
  say('deadline', found.deadline.ms === null ? 'none' : `${found.deadline.ms} ms from the ${found.deadline.from}`);
  found.attempts.forEach((attempt, index) => {
    say(`attempt ${index + 1}`, attempt.text);
    say('', attempt.afterText);
    for (const { endpoint, text } of attempt.excluded) say('', `not ${endpoint}: ${text}`);
  });
  return `${lines.join('\n')}\n`;
}
