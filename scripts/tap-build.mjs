// tap's first run after an install still uses its default plugin list (with a TypeScript loader that TypeScript 7 does not
// support), so its test class is rebuilt here once per install and per change of .taprc.
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';

const mark = 'node_modules/.tap-built';
const want = readFileSync('.taprc', 'utf8');
if (!existsSync(mark) || readFileSync(mark, 'utf8') !== want) {
  execFileSync('tap', ['build'], { stdio: 'inherit' });
  writeFileSync(mark, want);
}
