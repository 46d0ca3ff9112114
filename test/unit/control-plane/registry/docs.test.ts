// docs/registry.md lists what is served: the same paths and methods as the routes, both ways.

import { readdirSync, readFileSync } from 'node:fs';
import t from 'tap';

const ROOT = new URL('../../../../', import.meta.url);
const ROUTES = new URL('control-plane/registry/routes/', ROOT);

t.test('the table of paths agrees with the routes', async (t) => {
  const table = readFileSync(new URL('docs/registry.md', ROOT), 'utf8').matchAll(
    /^\|\s*`(\/v1\/[^`]+)`\s*\|\s*([A-Z, ]+)\|/gm,
  );
  const documented = [...table].map(([, path, methods]) => `${path} ${methods?.trim()}`).sort();
  const served = readdirSync(ROUTES)
    .map((file) => readFileSync(new URL(file, ROUTES), 'utf8'))
    .flatMap((text) =>
      [...text.matchAll(/path: '(\/v1\/[^']+)',([\s\S]*?)(?=path: '|\n {2}\];|\];\n)/g)].map(([, path, rest]) => {
        const methods = [...(rest ?? '').matchAll(/\b(GET|PUT|DELETE):/g)].map(([, method]) => method);
        return `${path} ${methods.join(', ')}`;
      }),
    )
    .sort();
  t.ok(served.length > 30, 'the routes were found');
  t.same(documented, served);
});
