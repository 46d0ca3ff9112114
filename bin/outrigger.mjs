#!/usr/bin/env node
// Says clearly when Node is too old to run TypeScript files, then hands over to the command line.
// Must itself stay plain JavaScript that any Node since 14 can parse.
const major = Number(process.versions.node.split('.')[0]);
if (major < 24) {
  console.error(
    `outrigger needs Node 24 or newer, this is ${process.version}.\n` +
      'Run `npm ci` without --omit=optional and start it through npm (npx outrigger …), which brings Node 26, or install Node 26.',
  );
  process.exit(2);
}
const { existsSync } = await import('node:fs');
// A checkout runs its sources, also when an older build lies beside them; an image has the build alone.
const source = new URL('../cli/main.ts', import.meta.url);
await import(existsSync(source) ? source.href : new URL('../dist/cli/main.js', import.meta.url).href);
