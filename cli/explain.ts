// `outrigger explain route METHOD URL`: which document and line decides each step of a request, and why not the others. Works on
// files, or on what the control plane has; nothing is sent to any service.

import { type Command, InvalidArgumentError } from 'commander';
import { stringify } from 'yaml';
import { parseYamlDocuments } from '#contract/input/yaml-documents.ts';
import { isServiceName, serviceFromHost } from '#contract/names.ts';
import type { PolicyDocument } from '#contract/policy/policy.ts';
import type { EndpointView } from '../control-plane/core/views.ts';
import { type ApiOptions, callPages, withApiOptions } from './api.ts';
import { explainRequest, type RequestExplanation, type RequestQuestion } from './explain/explain-request.ts';
import { MAX_MISSES } from './explain/places.ts';
import { endpointName, readService } from './fleet.ts';
import { type OutputFormat, outputOption, paint, printResult } from './output.ts';
import { type LocatedPolicy, readLocatedPolicies } from './policy-files.ts';
import { CommandFailure, EXIT, type Terminal } from './terminal.ts';

const MAX_ENDPOINTS = 20;

interface ExplainOptions extends ApiOptions {
  readonly from: string;
  readonly header: ReadonlyMap<string, string>;
  readonly file?: readonly string[];
  readonly output: OutputFormat;
}

export function addExplainCommand(program: Command, terminal: Terminal): void {
  const explain = program.command('explain').description('tell what the policies decide');
  withApiOptions(explain.command('route'))
    .description('tell where a request would go, and which document:line decides; nothing is sent')
    .argument('<method>')
    .argument('<url>', 'http://orders/cart/7')
    .option('--from <service>', 'the service that calls', 'unknown')
    .option('-H, --header <name: value>', 'a header of the request; may be repeated', addHeader, new Map())
    .option('-f, --file <file...>', 'judge these files instead of what the control plane has')
    .addOption(outputOption())
    .action((method: string, url: string, options: ExplainOptions) => explainUrl(method, url, options, terminal));
}

async function explainUrl(method: string, text: string, options: ExplainOptions, terminal: Terminal): Promise<void> {
  const url = URL.canParse(text) ? new URL(text) : null;
  const service = url === null ? null : serviceFromHost(url.host);
  if (url === null || service === null) {
    throw new CommandFailure(`'${text}' names no service`, {
      exitCode: EXIT.usage,
      next: 'write the URL as the application does: http://orders/cart/7',
    });
  }
  const caller = options.from.toLowerCase();
  if (!isServiceName(caller)) {
    throw new CommandFailure(`--from must be a service name, got '${options.from}'`, { exitCode: EXIT.usage });
  }
  const question: RequestQuestion = {
    caller,
    service,
    method: method.toUpperCase(),
    target: `${url.pathname}${url.search}`,
    // As the application's client sends it, unless told otherwise.
    headers: new Map([['host', url.host], ...options.header]),
  };
  const policies = options.file === undefined ? await readStored(options) : readLocatedPolicies(options.file);
  const explanation = explainRequest(policies, question);
  const endpoints = options.file === undefined ? await readEndpoints(explanation, options) : [];
  const isRefused = !explanation.permission.isAllowed || explanation.backends.length === 0;
  if (isRefused) terminal.exitCode = EXIT.problemFound;
  printResult(
    terminal,
    options.output,
    { question: { ...question, headers: [...question.headers] }, ...explanation, endpoints },
    () => renderRequest(question, explanation, endpoints, terminal),
  );
}

/** Stored documents have no files: their lines are those that `outrigger policy get` prints. */
async function readStored(options: ApiOptions): Promise<LocatedPolicy[]> {
  const { policies } = (await callPages(options, '/v1/policies', 'policies')) as {
    policies: readonly { document: PolicyDocument }[]; // the same version on both sides
  };
  return policies.flatMap(({ document }) => {
    const file = `${document.kind}/${document.metadata.name}`;
    const parsed = parseYamlDocuments(stringify(document, { lineWidth: 0 }), file);
    return parsed.ok ? parsed.value.map((source) => ({ document, file, source })) : [];
  });
}

async function readEndpoints({ backends }: RequestExplanation, options: ApiOptions): Promise<readonly EndpointView[]> {
  const names = [...new Set(backends.map(({ service }) => service))];
  const services = await Promise.all(names.map((name) => readService(options, name)));
  return services.flatMap((service) => service?.endpoints ?? []);
}

export function renderRequest(
  { caller, method, target }: RequestQuestion,
  { service, permission, route, backends }: RequestExplanation,
  endpoints: readonly EndpointView[],
  terminal: Pick<Terminal, 'hasColours'>,
): string {
  const lines = [paint(terminal, 'bold', `${method} ${target} from ${caller} to ${service}; nothing is sent`)];
  const say = (title: string, text: string, at: string | null = null): void => {
    lines.push(
      `${title.padEnd(9)} ${paint(terminal, null, text)}${at === null ? '' : `  ${paint(terminal, 'dim', at)}`}`,
    );
  };
  say('access', permission.text, permission.at);
  if (!permission.isAllowed) {
    say('answer', '403 denied, by the agent itself');
    return `${lines.join('\n')}\n`;
  }
  say('route', route.rule === null ? route.text : `rule ${route.rule}`, route.at);
  for (const { rule, failed, at } of route.misses.slice(0, MAX_MISSES))
    say('', `not ${rule}: ${failed.join(', and ')}`, at);
  if (route.misses.length > MAX_MISSES) say('', `and ${route.misses.length - MAX_MISSES} more`);
  if (backends.length === 0) say('answer', '404 no_route, by the agent itself');
  for (const backend of backends) {
    const part = backend.subset === null ? '' : ` subset ${backend.subset}`;
    say('backend', `${backend.service}${part}, ${backend.share} % of such requests`, backend.at);
    if (backend.filter !== null) say('', `only endpoints with ${backend.filter.text}`, backend.filter.at);
    for (const { name, value, from, at } of backend.settings) say('', `${name} ${value}`, at ?? from);
  }
  for (const { id, state, reason } of endpoints.slice(0, MAX_ENDPOINTS)) {
    const name = endpointName(id);
    say('endpoint', state === 'serving' ? `${name} serves` : `not ${name}: ${reason ?? state}`);
  }
  return `${lines.join('\n')}\n`;
}

function addHeader(text: string, former: ReadonlyMap<string, string>): ReadonlyMap<string, string> {
  const colon = text.indexOf(':');
  const name = text.slice(0, colon).trim().toLowerCase();
  if (colon < 1 || !/^[\w!#$%&'*+.^`|~-]+$/.test(name)) throw new InvalidArgumentError("Write 'name: value'.");
  return new Map([...former, [name, text.slice(colon + 1).trim()]]);
}
