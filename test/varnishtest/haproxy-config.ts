// Reads the simple part of an HAProxy configuration: which frontend listens where, and which servers it balances over. What
// else stands there is returned by name, so that a reason can be given.

export interface Frontend {
  readonly name: string;
  /** Name in `fd@${name}`. */
  binds: string[];
  /** `${s1_addr}:${s1_port}` of each server. */
  servers: string[];
  backend: string | null;
}

export interface HaproxyConfig {
  readonly frontends: readonly Frontend[];
  /** Directives that have no counterpart here, each once. */
  readonly unknown: readonly string[];
}

/** Directives that say nothing about the messages, or what the agent does anyway. */
const SILENT =
  /^(?:mode http$|timeout|log(?: |$)|maxconn|retries|id |description|stats |nbthread|no-memory-trimming|presetenv|setenv|balance roundrobin|http-reuse|tune\.|option (?:httplog|httpclose|http-server-close|http-keep-alive|dontlognull|dontlog-normal|splice-\w+|socket-stats|abortonclose|prefer-last-server|http-buffer-request)|no option )/;

export function readHaproxyConfig(text: string): HaproxyConfig {
  const frontends: Frontend[] = [];
  const backends = new Map<string, string[]>();
  const unknown = new Set<string>();
  let frontend: Frontend | null = null;
  let servers: string[] = [];
  for (const raw of text.split('\n')) {
    const line = raw.replace(/\s#.*$|^\s*#.*$/, '').trim();
    const [word = '', name = '', ...rest] = line.split(/\s+/);
    if (line === '') continue;
    if (/^(?:global|defaults|frontend|backend|listen)$/.test(word)) {
      servers = [];
      frontend = word === 'frontend' || word === 'listen' ? { name, binds: [], servers, backend: null } : null;
      if (frontend !== null) frontends.push(frontend);
      if (word === 'backend') backends.set(name, servers);
    } else if (word === 'bind') {
      const bound = /^"?fd@\$\{(\w+)\}"?$/.exec(name)?.[1];
      if (bound === undefined || rest.length > 0) unknown.add(`bind ${rest.join(' ')}`.trim());
      else frontend?.binds.push(bound);
    } else if (word === 'server') {
      const [address = '', ...more] = rest;
      if (more.length > 0) unknown.add(`server ${more[0]}`);
      servers.push(address);
    } else if (word === 'default_backend' || (word === 'use_backend' && rest.length === 0)) {
      if (frontend !== null) frontend.backend = name;
    } else if (!SILENT.test(line)) {
      unknown.add(/^(?:http-\w+|tcp-\w+|option|balance|mode)$/.test(word) ? `${word} ${name}` : word);
    }
  }
  for (const entry of frontends) if (entry.backend !== null) entry.servers = backends.get(entry.backend) ?? [];
  return { frontends, unknown: [...unknown] };
}
