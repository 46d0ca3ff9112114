// Runs the fuzzer: draws inputs from a seed, judges each, and adds up.

import { seededRandom } from '../support/seeded-random.ts';
import { judgeInput } from './compare.ts';
import { drawInput, type MessageKind } from './grammar.ts';
import { createOracle, type Oracle } from './llhttp.ts';

export interface Failure {
  readonly kind: MessageKind;
  /** Latin-1 text. */
  readonly input: string;
  readonly cuts: readonly number[];
  readonly isHead: boolean;
  readonly problem: string;
}

export interface FuzzResult {
  readonly executions: number;
  /** Messages that both parsers read alike. */
  readonly accepted: number;
  /** Inputs with at least one such message. */
  readonly fruitful: number;
  /** Explained refusals where llhttp accepts, by class. */
  readonly stricter: ReadonlyMap<string, number>;
  /** Explained cases of the opposite. */
  readonly laxer: ReadonlyMap<string, number>;
  readonly failures: readonly Failure[];
  readonly failureCount: number;
}

const MAX_FAILURES = 20;
/** Every so many inputs one is cut behind every byte instead of twice at random. */
const BYTEWISE_EVERY = 50;
const MAX_BYTEWISE = 700;

export interface Oracles {
  readonly request: Oracle;
  readonly response: Oracle;
}

export function createOracles(): Oracles {
  return { request: createOracle('request'), response: createOracle('response') };
}

/** @param only  messages of this kind; null: both, requests more often */
export function fuzz(executions: number, seed: number, only: MessageKind | null = null): FuzzResult {
  const random = seededRandom(seed);
  const oracles = createOracles();
  const stricter = new Map<string, number>();
  const laxer = new Map<string, number>();
  const failures: Failure[] = [];
  let failureCount = 0;
  let accepted = 0;
  let fruitful = 0;
  for (let done = 0; done < executions; done += 1) {
    const drawn = random() < 0.7 ? 'request' : 'response';
    const kind = only ?? drawn;
    const input = drawInput(random, kind);
    const isHead = kind === 'response' && random() < 0.1;
    const cuts = drawCuts(random, input.length, done);
    const judgement = judge({ kind, input, cuts, isHead }, oracles);
    accepted += judgement.accepted;
    if (judgement.accepted > 0) fruitful += 1;
    if (judgement.stricter !== null) count(stricter, judgement.stricter);
    for (const name of judgement.laxer) count(laxer, name);
    if (judgement.problem === null) continue;
    failureCount += 1;
    if (failures.length < MAX_FAILURES) failures.push({ kind, input, cuts, isHead, problem: judgement.problem });
  }
  return { executions, accepted, fruitful, stricter, laxer, failures, failureCount };
}

/** Judges one input; an exception of a parser is a problem like any other. */
export function judge(
  { kind, input, cuts, isHead }: Omit<Failure, 'problem'>,
  oracles: Oracles,
): ReturnType<typeof judgeInput> {
  try {
    return judgeInput(Buffer.from(input, 'latin1'), kind, cuts, isHead, oracles[kind]);
  } catch (error) {
    return { accepted: 0, stricter: null, laxer: [], problem: `throws ${String(error)}` };
  }
}

function drawCuts(random: () => number, length: number, turn: number): number[] {
  if (turn % BYTEWISE_EVERY === 0 && length <= MAX_BYTEWISE) return Array.from({ length }, (_, at) => at + 1);
  const first = Math.floor(random() * (length + 1));
  const second = Math.floor(random() * (length + 1));
  return first < second ? [first, second] : [second, first];
}

function count(counts: Map<string, number>, name: string): void {
  counts.set(name, (counts.get(name) ?? 0) + 1);
}

/** The report that the program prints. */
export function formatResult(result: FuzzResult, seed: number, seconds: number): string {
  const table = (title: string, counts: ReadonlyMap<string, number>): string[] => {
    return [title, ...[...counts].sort().map(([name, number]) => `${String(number).padStart(10)}  ${name}`)];
  };
  const rate = Math.round(result.executions / seconds);
  const share = ((100 * result.fruitful) / result.executions).toFixed(1);
  return [
    `${result.executions} executions, seed ${seed}, ${seconds.toFixed(1)} s (${rate}/s)`,
    `${result.accepted} messages read alike; ${share} % of the inputs held at least one`,
    ...table('refused here, accepted by llhttp, explained:', result.stricter),
    ...table('accepted here, refused by llhttp, explained:', result.laxer),
    `${result.failureCount} unexplained`,
    ...result.failures.map(({ kind, input, cuts, isHead, problem }) => {
      return `  ${problem}\n    { kind: '${kind}', isHead: ${isHead}, cuts: [${cuts.join(', ')}], input: ${JSON.stringify(input)} }`;
    }),
  ].join('\n');
}
