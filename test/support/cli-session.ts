// Every command of the command line against a demo that runs, in the order a person might try them. The page docs/cli-session.md is
// written from what they print, and the test runs them again and compares the shape.

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { runCommandLine } from '../../cli/program.ts';
import type { Terminal } from '../../cli/terminal.ts';
import { type Demo, startDemo, untilEndpoint } from './running-demo.ts';

export interface Step {
  /** As a person types it; what differs each time is a variable. */
  readonly typed: string;
  readonly code: number;
  readonly out: string;
}

export interface Section {
  readonly title: string;
  readonly steps: readonly Step[];
}

/** Keys of what `-o json` prints, of the first element where it is a list, in the order they are printed. */
export interface JsonKeys {
  readonly typed: string;
  readonly keys: readonly string[];
}

export interface Session {
  readonly sections: readonly Section[];
  readonly json: readonly JsonKeys[];
}

const SHOWN_LINES = 40;
const STATE_MS = 30_000;

const POLICY = `apiVersion: outrigger.dev/v1
kind: ServicePolicy
metadata: { name: payments }
spec:
  loadBalancer: { policy: peakEwma }
  timeouts: { connect: 250ms, backendRequest: 400ms }
`;

export async function runSession(t: Parameters<typeof startDemo>[0]): Promise<Session> {
  const demo = await startDemo(t, '--calm', '--duration', '100s');
  enterShell(t, demo);
  const player = new Player(demo);
  const { say, section } = player;
  // Until the last endpoint of both services serves with a last minute to speak of.
  for (const instance of demo.note.instances) {
    if (!instance.startsWith('web')) await untilEndpoint(demo, instance, ({ attempts }) => attempts > 150, STATE_MS);
  }

  section('What runs');
  await say('status');
  await say('stat');
  await say('stat --by service');
  await say('top --to payments');
  await say('endpoints payments');
  await say('slo');
  await say('slo payments');

  section('One request');
  await say('tap --service payments -n 3');
  await say('explain route GET http://payments/ --from orders');
  await player.takeDecision();
  await say('why $ID');

  section('Policies');
  player.file('policy.yaml', POLICY);
  await say('policy list');
  await say('policy get ServicePolicy/payments');
  await say('policy lint -f policy.yaml');
  await say('policy diff -f policy.yaml');
  await say('policy apply -f policy.yaml');
  await say('policy history ServicePolicy/payments');
  await say('policy diff ServicePolicy/payments');
  await say('policy rollback ServicePolicy/payments');
  await say('policy apply -f policy.yaml --staged --soak 5m');
  await player.until('with it  1 agent,', 'policy', 'rollout');
  await say('policy rollout');
  await say('policy rollout abort');
  player.file('typo.yaml', POLICY.replace('connect', 'conect').replace('400ms', 'soon'));
  await say('policy lint -f typo.yaml');

  section('An endpoint by hand');
  await say('eject payments payments-2 --for 30s --reason "memory leak"');
  await untilEndpoint(demo, 'payments-2', ({ state }) => state === 'ejected', STATE_MS);
  await say('endpoints payments --agent orders-1');
  await say('restore payments payments-2');
  await say('drain payments payments-4 --everywhere');
  await untilEndpoint(demo, 'payments-4', ({ state }) => state === 'draining', STATE_MS);
  await say('restore payments payments-4 --everywhere');

  section('Something breaks');
  await say('break payments-3 500');
  await untilEndpoint(
    demo,
    'payments-3',
    ({ observers }) => observers.every(({ state }) => state === 'ejected'),
    STATE_MS,
  );
  await say('endpoints payments');
  await say('explain route GET http://payments/ --from orders');
  await say('check');
  await say('check --consul http://127.0.0.1:1');
  await say('break payments-3 ok');

  section('The rest');
  await say('config dump limits');
  await say('config dump services | head -12');
  await say('store backup --to backup.json');
  await say('schema policy | head -4');
  await say('completion bash | head -4');

  section('Mistakes');
  await say('staus');
  await say('endpoints paymnets');
  await say('policy get ServicePolicy/paymnets');
  await say('policy get ServicPolicy/payments');
  await say('eject payments payments-9');
  await say('break payments-9 slow');
  await say('break payments-2 slwo');
  await say('config dump limts');
  await say('status --output jsn');
  await say('policy lint -f missing.yaml');
  await say('status --control-plane http://127.0.0.1:1');

  const json: JsonKeys[] = [];
  for (const typed of [
    'status',
    'stat',
    'endpoints payments',
    'slo',
    'slo payments',
    'tap --service payments -n 1',
    'check',
    'why',
    'why $ID',
    'explain route GET http://payments/ --from orders',
    'policy list',
    'policy get ServicePolicy/payments',
    'policy history ServicePolicy/payments',
    'policy diff ServicePolicy/payments --from 1 --to 2',
    'policy rollout',
    'drain payments payments-1 --for 30s',
  ]) {
    if (typed.includes('$ID')) await player.takeDecision();
    const { out } = await player.run(...player.wordsOf(`${typed} -o json`));
    json.push({ typed: `${typed} -o json`, keys: keysOf(out) });
  }
  return { sections: player.sections, json };
}

/** The folder with the files, and the temporary folder where the demo is noted. */
function enterShell(t: Parameters<typeof startDemo>[0], demo: Demo): void {
  const former = { cwd: process.cwd(), env: { ...process.env } };
  process.chdir(demo.env.TMPDIR);
  Object.assign(process.env, demo.env); // where commands look for a demo that runs
  t.teardown(() => {
    process.chdir(former.cwd);
    process.env = former.env;
  });
}

function keysOf(text: string): string[] {
  const value: unknown = JSON.parse(text);
  const first: unknown = Array.isArray(value) ? value[0] : value;
  if (first === null || typeof first !== 'object') throw new Error(`neither objects nor one: ${text.slice(0, 200)}`);
  return Object.keys(first);
}

class Player {
  readonly sections: { title: string; steps: Step[] }[] = [];
  readonly #demo: Demo;
  readonly #variables = new Map<string, string>();

  constructor(demo: Demo) {
    this.#demo = demo;
    this.#variables.set('CONSUL', demo.note.consulUrl);
  }

  readonly section = (title: string): void => {
    this.sections.push({ title, steps: [] });
  };

  readonly say = async (typed: string): Promise<void> => {
    const [command = '', cut] = typed.split(' | head -');
    const { code, out } = await this.run(...this.wordsOf(command));
    const lines = this.#withVariables(out)
      .split('\n')
      .slice(0, Number(cut ?? SHOWN_LINES));
    this.sections.at(-1)?.steps.push({ typed, code, out: lines.join('\n').trimEnd() });
  };

  set(name: string, value: string): void {
    this.#variables.set(name, value);
  }

  file(name: string, text: string): void {
    writeFileSync(join(this.#demo.env.TMPDIR, name), text);
  }

  /** Words as a shell would make them: quotes hold together, variables are filled in. */
  wordsOf(typed: string): string[] {
    return [...typed.matchAll(/"([^"]*)"|(\S+)/g)].map(([, quoted, word]) =>
      (quoted ?? word ?? '').replace(/\$([A-Z]+)/g, (_, name: string) => this.#variables.get(name) ?? ''),
    );
  }

  /** In this process, which saves the start of sixty others; `cli/main.ts` adds nothing but the terminal. */
  async run(...args: string[]): Promise<{ code: number; out: string }> {
    let out = '';
    const say = (text: string): void => {
      out += text;
    };
    const terminal: Terminal = {
      out: say,
      err: say,
      isInteractive: false,
      hasColours: false,
      columns: 0,
      env: {},
      epochMs: () => Date.now(),
      exitCode: 0,
    };
    return { code: await runCommandLine(args, terminal), out };
  }

  /** Makes $ID the last request to payments that went as it should; an agent soon forgets it. */
  async takeDecision(): Promise<void> {
    const { out } = await this.run('why', '-o', 'json');
    const decisions = JSON.parse(out) as readonly { id: string; text: string }[]; // what the command prints
    const found = decisions.find(({ text }) => / to payments: 200 after 1 attempt /.test(text));
    if (found === undefined) throw new Error(`no request to payments among ${out}`);
    this.set('ID', found.id);
  }

  async until(text: string, ...args: string[]): Promise<void> {
    const giveUpAt = performance.now() + STATE_MS;
    for (;;) {
      const { out } = await this.run(...args);
      if (out.includes(text)) return;
      if (performance.now() > giveUpAt) throw new Error(`no "${text}" in what ${args.join(' ')} prints: ${out}`);
    }
  }

  #withVariables(text: string): string {
    const named = [
      [this.#demo.url, '$CP'],
      [this.#demo.adminUrl('orders-1'), '$ADMIN'],
      [this.#demo.env.TMPDIR, '$TMPDIR'],
      ...[...this.#variables].map(([name, value]) => [value, `$${name}`] as const),
    ] as const;
    return named.reduce((shown, [value, name]) => (value === '' ? shown : shown.replaceAll(value, name)), text);
  }
}

/** What is the same each time: words and their order, without numbers, identifiers, times, and how wide a column is. */
export function shapeOf(text: string): string[] {
  return text
    .split('\n')
    .map((line) =>
      line
        .replace(/[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, 'UUID')
        .replace(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, 'TIME')
        .replace(/\b(?:\d+\.){3}\d+(?::\d+)?/g, 'ADDRESS')
        .replace(/\d+(?:[.,]\d+)*/g, '#')
        .replace(/# ?(?:µs|ms|s|min|m|h|d)\b/g, 'DURATION')
        // Which of the two detectors was first, and how many requests there were so far, is chance.
        .replace(/(ejected for DURATION \(#st time\)): .*?; (# of)/, '$1: REASON; $2')
        .replace(/^(with it|without) .*$/, '$1 GROUP')
        .replace(/ +/g, ' ')
        .trimEnd(),
    )
    .sort();
}

/** Lines of the tables in a text: a heading in capitals, and what follows it up to an empty line. */
export function tableLines(text: string): string[] {
  const lines: string[] = [];
  let isTable = false;
  for (const line of text.split('\n')) {
    if (/^ *[A-Z][A-Z0-9/-]*(?: +[A-Z][A-Z0-9/-]*)+$/.test(line)) isTable = true;
    if (line === '') isTable = false;
    if (isTable) lines.push(line);
  }
  return lines;
}

const INTRODUCTION = `# Commands against the running demo, as seen

\`npx outrigger demo --calm --duration 100s\` in one window, these in another. \`node scripts/cli-session.mjs\` ran them and wrote this page;
\`test/integration/cli-session.test.ts\` runs them again and compares everything but numbers, times and identifiers. The demo takes free
ports: \`$CP\` stands for the address of the control plane, \`$ADMIN\` for the admin API of orders-1 and \`$CONSUL\` for the registry. While it
runs, commands that are given no address ask these.

A line \`[exit N]\` is the exit code where it is not 0.
`;

export function renderSession({ sections, json }: Session): string {
  const parts = sections.map(({ title, steps }) => {
    const text = steps.map(
      ({ typed, code, out }) => `$ outrigger ${typed}\n${out}${code === 0 ? '' : `\n[exit ${code}]`}`,
    );
    return `\n## ${title}\n\n\`\`\`text\n${text.join('\n\n')}\n\`\`\`\n`;
  });
  const rows = json.map(({ typed, keys }) => `| \`${typed}\` | ${keys.map((key) => `\`${key}\``).join(' ')} |`);
  return (
    `${INTRODUCTION}${parts.join('')}\n## Keys of \`-o json\`\n\n` +
    'Of one object, or of each in the list. They keep their names and meaning; there may be more in a later version.\n\n' +
    `| command | keys |\n| --- | --- |\n${rows.join('\n')}\n`
  );
}

/** The steps and keys that a page shows; the reverse of `renderSession`. */
export function parseSession(page: string): Session {
  const sections = [...page.matchAll(/\n## (.*)\n\n```text\n([\s\S]*?)\n```\n/g)].map(([, title = '', body = '']) => ({
    title,
    steps: body.split(/\n\n(?=\$ outrigger )/).map((text): Step => {
      const [first = '', ...rest] = text.split('\n');
      const code = /^\[exit (\d+)\]$/.exec(rest.at(-1) ?? '')?.[1];
      return {
        typed: first.replace('$ outrigger ', ''),
        code: Number(code ?? 0),
        out: (code === undefined ? rest : rest.slice(0, -1)).join('\n'),
      };
    }),
  }));
  const json = [...page.matchAll(/^\| `(.* -o json)` \| (.*) \|$/gm)].map(([, typed = '', keys = '']) => ({
    typed,
    keys: keys.split(' ').map((key) => key.replaceAll('`', '')),
  }));
  return { sections, json };
}
