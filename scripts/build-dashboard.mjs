// Builds the dashboard into control-plane/dashboard/dist, which is not in git. Does nothing while the output is newer than every
// source, so it can stand before each start: about 30 ms then, about a second otherwise.
import { existsSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const folder = join(root, 'control-plane/dashboard');
const output = join(folder, 'dist');
const page = join(output, 'index.html');

if (!isFresh()) {
  const { build } = await import('vite').catch(() => {
    console.error(
      'The dashboard is not built, and vite is not installed: run `npm ci` without --omit=dev and start again.\n' +
        'Everything but the page at / works without it.',
    );
    return { build: null };
  });
  if (build !== null) await build(configuration());
}

function isFresh() {
  if (!existsSync(page)) return false;
  const builtAt = statSync(page).mtimeMs;
  const sources = readdirSync(join(folder, 'src'), { recursive: true, encoding: 'utf8' }).map((name) =>
    join(folder, 'src', name),
  );
  return [
    ...sources,
    join(folder, 'index.html'),
    fileURLToPath(import.meta.url),
    join(root, 'package-lock.json'),
  ].every((file) => !existsSync(file) || statSync(file).mtimeMs <= builtAt);
}

/** Few files with fixed names: the control plane serves exactly these, from memory, with an ETag each. */
function configuration() {
  return {
    root: folder,
    configFile: false,
    logLevel: 'warn',
    publicDir: join(folder, 'static'),
    // One element factory for all .tsx files, without an import in each.
    oxc: { jsx: { runtime: 'automatic', importSource: 'preact' } },
    build: {
      outDir: output,
      emptyOutDir: true,
      target: 'es2022',
      // No inline anything: the content security policy forbids it.
      assetsInlineLimit: 0,
      modulePreload: false,
      cssCodeSplit: false,
      rollupOptions: {
        output: {
          entryFileNames: 'dashboard.js',
          assetFileNames: 'dashboard[extname]',
          codeSplitting: false,
        },
      },
    },
  };
}
