// The one file of prom-client that is loaded; the package declares types for its entry only.

declare module 'prom-client/lib/registry.js' {
  import type { Registry } from 'prom-client';

  const registry: typeof Registry;
  export = registry;
}
