// What `npm pack` makes of this checkout, installed beside nothing but the dependencies that package.json names.

import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, readdirSync, readFileSync, symlinkSync } from 'node:fs';
import { ROOT } from './processes.ts';

/** What the build reads. It is built apart, because other tests serve the page of this checkout meanwhile. */
const SOURCES = ['agent', 'bin', 'cli', 'contract', 'control-plane', 'examples', 'gateway', 'schema', 'scripts'];
const FILES = ['package.json', 'tsconfig.json', 'tsconfig.build.json', 'README.md', 'LICENSE'];

/** Builds and packs this checkout anew in `folder`; returns the tarball. */
export function pack(folder: string): string {
  const checkout = `${folder}/checkout`;
  for (const name of [...SOURCES, ...FILES]) cpSync(`${ROOT}${name}`, `${checkout}/${name}`, { recursive: true });
  symlinkSync(`${ROOT}node_modules`, `${checkout}/node_modules`);
  // Through env: what tap hands to Node programs, the compiler does not bear. The build is what `prepack` does.
  const run = (...command: string[]): unknown =>
    execFileSync('env', ['-u', 'NODE_OPTIONS', ...command], { cwd: checkout });
  run(process.execPath, 'scripts/build.mjs');
  run('npm', 'pack', '--ignore-scripts', '--silent', '--pack-destination', folder);
  const tarball = readdirSync(folder).find((name) => name.endsWith('.tgz'));
  if (tarball === undefined) throw new Error('npm pack made no tarball');
  return `${folder}/${tarball}`;
}

/** Makes `folder` a project that has installed the packed package; returns where it lies. */
export function installPacked(folder: string): string {
  const tarball = pack(folder);
  const home = `${folder}/node_modules/outrigger`;
  mkdirSync(home, { recursive: true });
  execFileSync('tar', ['-xzf', tarball, '--strip-components=1', '-C', home]);
  const { dependencies } = JSON.parse(readFileSync(`${home}/package.json`, 'utf8'));
  for (const name of Object.keys(dependencies)) {
    if (name.includes('/')) mkdirSync(`${home}/node_modules/${name.split('/')[0]}`, { recursive: true });
    else mkdirSync(`${home}/node_modules`, { recursive: true });
    symlinkSync(`${ROOT}node_modules/${name}`, `${home}/node_modules/${name}`);
  }
  return home;
}
