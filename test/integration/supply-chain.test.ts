// What goes into the package and what it stands on: the lockfile binds every byte, nothing of others runs at install, the tarball is
// the same twice, and npm can list it all.

import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { pack } from '../support/packed.ts';
import { ROOT, temporaryFolder } from '../support/processes.ts';

interface Locked {
  readonly version?: string;
  readonly integrity?: string;
  readonly dev?: boolean;
  readonly optional?: boolean;
  readonly hasInstallScript?: boolean;
}

const { packages } = JSON.parse(readFileSync(join(ROOT, 'package-lock.json'), 'utf8')) as {
  packages: Record<string, Locked>;
};
const all = Object.entries(packages).filter(([path]) => path !== '');
const inImage = all.filter(([, { dev = false, optional = false }]) => !dev && !optional);

t.test('every package of the lockfile is bound to its bytes', async (t) => {
  t.ok(all.length > 100, `${all.length} packages`);
  t.same(
    all.filter(([, { integrity = '' }]) => !/^sha512-/.test(integrity)).map(([path]) => path),
    [],
  );
});

t.test('nothing that is installed for running has a script of its own', async (t) => {
  t.ok(inImage.length > 20, `${inImage.length} packages`);
  t.same(
    inImage.filter(([, { hasInstallScript = false }]) => hasInstallScript).map(([path]) => path),
    [],
  );
});

t.test('the tarball is the same twice', { timeout: 100_000 }, async (t) => {
  const [first, second] = ['first', 'second'].map(() => {
    return createHash('sha256')
      .update(readFileSync(pack(temporaryFolder(t))))
      .digest('hex');
  });
  t.match(first, /^[0-9a-f]{64}$/);
  t.equal(first, second);
});

t.test('npm lists what it stands on as CycloneDX', async (t) => {
  // Without --omit=dev: npm 11 then leaves out too what a development tool happens to need as well, `yaml` for one.
  const args = ['sbom', '--sbom-format=cyclonedx', '--package-lock-only'];
  const { components } = JSON.parse(
    execFileSync('npm', args, { cwd: ROOT, encoding: 'utf8', maxBuffer: 64 * 1024 * 1024 }),
  ) as {
    components: { name: string; version: string }[];
  };
  const listed = new Set(components.map(({ name, version }) => `${name}@${version}`));
  const missing = inImage.filter(([path, { version }]) => {
    return !listed.has(`${path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length)}@${version}`);
  });
  t.same(missing, []);
});
