// Fails when a source file is longer than 400 lines, the size at which a file should be asked what its two halves are called.
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';

const LIMIT = 400;
const files = execFileSync('git', ['ls-files', '-co', '--exclude-standard', '*.ts', '*.tsx', '*.mjs'], {
  encoding: 'utf8',
})
  .split('\n')
  .filter((file) => file !== '' && existsSync(file));
const long = files
  .map((file) => ({ file, lines: readFileSync(file, 'utf8').split('\n').length - 1 }))
  .filter(({ lines }) => lines > LIMIT);
for (const { file, lines } of long) console.error(`${file}: ${lines} lines, the limit is ${LIMIT}`);
console.log(`${files.length} files checked, ${long.length} over ${LIMIT} lines`);
process.exit(long.length === 0 ? 0 : 1);
