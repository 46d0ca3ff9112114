// The fuzzer as a test: half a million messages of one kind from a fixed seed. OUTRIGGER_FUZZ_SEED looks elsewhere,
// `npm run fuzz` longer. Two files share the million so that they run side by side.

import t from 'tap';
import { formatResult, fuzz } from './fuzz.ts';
import type { MessageKind } from './grammar.ts';

const EXECUTIONS = 500_000;
const SEED = Number(process.env.OUTRIGGER_FUZZ_SEED ?? 1);

export function fuzzFor(kind: MessageKind): void {
  t.test(`${EXECUTIONS} ${kind}s: no crash, no unexplained disagreement, no dependence on cuts`, async (t) => {
    const started = performance.now();
    const result = fuzz(EXECUTIONS, SEED, kind);
    const report = formatResult(result, SEED, (performance.now() - started) / 1000);
    t.comment(report);
    t.equal(result.executions, EXECUTIONS);
    t.equal(result.failureCount, 0, report);
    t.ok(result.accepted > EXECUTIONS / 5, `${result.accepted} messages were read alike by both`);
    t.ok(result.stricter.size > (kind === 'request' ? 20 : 8), `${result.stricter.size} classes of refusal came up`);
  });
}
