// The fuzzer as a program: `node test/fuzz/http1-fuzz.ts --executions 10000000 --seed 7`. Exits 1 when something is
// unexplained; the inputs it prints belong into regressions.ts.

import { parseArgs } from 'node:util';
import { formatResult, fuzz } from './fuzz.ts';

const { values } = parseArgs({
  options: { executions: { type: 'string', default: '10000000' }, seed: { type: 'string' } },
});
const executions = Number(values.executions);
const seed = values.seed === undefined ? Math.floor(Math.random() * 2 ** 32) : Number(values.seed);
const started = performance.now();
const result = fuzz(executions, seed);
process.stdout.write(`${formatResult(result, seed, (performance.now() - started) / 1000)}\n`);
process.exitCode = result.failureCount === 0 ? 0 : 1;
