// Compiles the sources to dist/ for images without TypeScript. In a checkout nothing needs this: Node runs the sources.
import { execFileSync } from 'node:child_process';
import { cpSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
rmSync(`${root}dist`, { recursive: true, force: true });
execFileSync(process.execPath, [`${root}node_modules/typescript/bin/tsc`, '-p', `${root}tsconfig.build.json`], {
  stdio: 'inherit',
});
// The compiler rewrites relative imports only; the alias is mapped from `#contract/x.ts` to the compiled file here.
const { name, version, type } = JSON.parse(readFileSync(`${root}package.json`, 'utf8'));
const manifest = { name, version, private: true, type, imports: { '#contract/*.ts': './contract/*.js' } };
writeFileSync(`${root}dist/package.json`, `${JSON.stringify(manifest, null, 2)}\n`);
// The page is built by its own script and served as it is.
execFileSync(process.execPath, [`${root}scripts/build-dashboard.mjs`], { stdio: 'inherit' });
const page = 'control-plane/dashboard/dist';
cpSync(`${root}${page}`, `${root}dist/${page}`, { recursive: true });
