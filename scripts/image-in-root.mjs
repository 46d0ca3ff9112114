// Goes through the Dockerfile step by step in bare Debian roots, for machines without a container engine, then starts the agent from the
// result as the image's user, with a read-only root and without a capability, and asks it whether it is ready.
//
//   node scripts/image-in-root.mjs [FOLDER]     root, mmdebstrap, unshare and setpriv; FOLDER keeps the bare root for the next time
//
// What stands for `node:26.10.0-slim`: Debian's minimal system, the Node of node_modules, and npm of this machine.

import { spawn, spawnSync } from 'node:child_process';
import { existsSync, globSync, mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const UID = '1000';
const READY_WITHIN_MS = 20_000;
const say = (text) => process.stdout.write(`${text}\n`);

function run(command, args, options = {}) {
  const done = spawnSync(command, args, { encoding: 'utf8', maxBuffer: 64 * 1024 * 1024, ...options });
  if (done.error !== undefined) throw done.error;
  if (done.status !== 0) throw new Error(`${command} ${args.join(' ')}: ${done.status}\n${done.stdout}${done.stderr}`);
  return done.stdout;
}

/** Instructions with continued lines joined; comments away. */
function readDockerfile(text) {
  const lines = text.replaceAll(/\\\n\s*/g, '').split('\n');
  return lines
    .filter((line) => /^[A-Z]/.test(line))
    .map((line) => {
      const [, verb, rest] = /^([A-Z]+)\s+(.*)$/.exec(line) ?? [];
      return { verb, rest, line };
    });
}

/** Debian's minimal system with what the image's base brings: CA certificates, libatomic, Node, npm, the user node. */
function makeBase(base) {
  if (existsSync(`${base}/usr/local/bin/node`)) return;
  const sources = globSync('/etc/apt/sources.list.d/*.sources').concat(globSync('/etc/apt/sources.list'));
  const mirror = sources
    .map(
      (file) =>
        /^(?:URIs:|deb(?: \[[^\]]*\])?)\s+(https?:\/\/\S+\/debian\/?)(?:\s|$)/m.exec(readFileSync(file, 'utf8'))?.[1],
    )
    .find((url) => url !== undefined);
  if (mirror === undefined) throw new Error('no Debian mirror in the sources of apt');
  const suite = /VERSION_CODENAME=(\w+)/.exec(readFileSync('/etc/os-release', 'utf8'))?.[1] ?? 'stable';
  const check = ['--aptopt=Acquire::Check-Valid-Until "false"'];
  run('mmdebstrap', [
    '--variant=minbase',
    '--include=ca-certificates,libatomic1',
    ...check,
    suite,
    base,
    `deb ${mirror} ${suite} main`,
  ]);
  const node = globSync(`${ROOT}node_modules/node-*/bin/node`)[0] ?? process.execPath;
  run('install', ['-D', '-m755', node, `${base}/usr/local/bin/node`]);
  const npm = dirname(dirname(realpathSync(run('sh', ['-c', 'command -v npm']).trim())));
  mkdirSync(`${base}/usr/local/lib/node_modules`, { recursive: true });
  run('cp', ['-a', npm, `${base}/usr/local/lib/node_modules/npm`]);
  run('ln', ['-sf', '../lib/node_modules/npm/bin/npm-cli.js', `${base}/usr/local/bin/npm`]);
  run('chroot', [base, 'useradd', '--uid', UID, '--user-group', '--create-home', 'node']);
}

/** What this machine needs to reach its registry: address, certificates, names. Nothing of it stays in the result. */
function networkOf(root) {
  run('cp', ['-L', '/etc/resolv.conf', '/etc/hosts', `${root}/etc/`]);
  const env = {
    npm_config_registry: run('npm', ['config', 'get', 'registry']).trim(),
    npm_config_update_notifier: 'false',
  };
  const bundle = process.env.NODE_EXTRA_CA_CERTS ?? process.env.SSL_CERT_FILE;
  if (bundle !== undefined && existsSync(bundle)) {
    run('cp', ['-L', bundle, `${root}/tmp/machine-ca.pem`]);
    env.NODE_EXTRA_CA_CERTS = '/tmp/machine-ca.pem';
  }
  return env;
}

/** Runs a shell line in the root with /proc and /dev, as RUN does. */
function runIn(root, { line, folder, env }) {
  const words = Object.entries({ PATH: '/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin', HOME: '/root', ...env });
  const script =
    'root=$1 line="cd $2; $3"; shift 3; mount -t proc proc "$root/proc"; mount --rbind /dev "$root/dev"; exec chroot "$root" env -i "$@" sh -ec "$line"';
  const args = ['--mount', '--pid', '--fork', '--kill-child', 'bash', '-ec', script, 'run', root, folder, line];
  run('unshare', [...args, ...words.map(([name, value]) => `${name}=${value}`)], { timeout: 300_000 });
}

/** Files of the build context that .dockerignore lets through: a line with `!` lets in, later patterns keep out again. */
function copyFromContext(source, target, isFolder) {
  const ignored = readFileSync(`${ROOT}.dockerignore`, 'utf8').split('\n');
  if (!ignored.includes(`!${source}`) && !ignored.includes(`!${source.split('/')[0]}`)) {
    throw new Error(`.dockerignore keeps ${source} out of the build`);
  }
  const excludes = ignored.flatMap((line) => {
    if (line.startsWith('**/')) return ['--exclude', line.slice(3)];
    return line.startsWith(`${source}/`) ? ['--exclude', `.${line.slice(source.length)}`] : [];
  });
  const folder = isFolder ? target : dirname(target);
  mkdirSync(folder, { recursive: true });
  const from = existsSync(`${ROOT}${source}/.`) ? `${ROOT}${source}` : dirname(`${ROOT}${source}`);
  const what = from === `${ROOT}${source}` ? '.' : basename(source);
  const script =
    'src=$1 what=$2 dst=$3; shift 3; tar -C "$src" "$@" -cf - "$what" | tar -C "$dst" --no-same-owner -xf -';
  run('bash', ['-ec', script, 'copy', from, what, folder, ...excludes]);
}

function build(work, base) {
  const stages = new Map();
  let stage = null;
  let count = 0;
  for (const { verb, rest, line } of readDockerfile(readFileSync(`${ROOT}Dockerfile`, 'utf8'))) {
    const startedAt = performance.now();
    if (verb === 'FROM') {
      const name = / AS (\w+)$/.exec(rest)?.[1] ?? 'image';
      stage = { root: join(work, name), folder: '/', env: {}, user: 'root', volumes: [], entry: [] };
      run('cp', ['-a', '--reflink=auto', base, stage.root]);
      stages.set(name, stage);
    } else if (verb === 'WORKDIR') {
      stage.folder = rest;
      mkdirSync(stage.root + rest, { recursive: true });
    } else if (verb === 'COPY') {
      const from = /^--from=(\w+) /.exec(rest)?.[1];
      const paths = rest.replace(/^--from=\w+ /, '').split(' ');
      const last = paths.pop() ?? '';
      for (const path of paths) {
        const isFolder = last.endsWith('/') || (from === undefined && existsSync(`${ROOT}${path}/.`));
        const target = join(stage.root, stage.folder, last);
        if (from === undefined) copyFromContext(path, target, isFolder);
        else run('cp', ['-a', stages.get(from).root + path, target]);
      }
    } else if (verb === 'RUN') {
      runIn(stage.root, { line: rest, folder: stage.folder, env: { ...networkOf(stage.root), ...stage.env } });
    } else if (verb === 'ENV') {
      const [, name, value] = /^(\w+)=(.*)$/.exec(rest) ?? [];
      stage.env[name] = value;
    } else if (verb === 'VOLUME') stage.volumes.push(rest);
    else if (verb === 'USER') stage.user = rest;
    else if (verb === 'ENTRYPOINT') stage.entry = JSON.parse(rest);
    else if (verb !== 'LABEL' && verb !== 'CMD') throw new Error(`no idea what ${verb} does: ${line}`);
    count++;
    say(
      `step ${count}  ${((performance.now() - startedAt) / 1000).toFixed(1).padStart(5)} s  ${line.replaceAll(/\s+/g, ' ').slice(0, 90)}`,
    );
  }
  return stages.get('image');
}

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

async function startAgent(image) {
  const [admin, outbound] = [await freePort(), await freePort()];
  const env = {
    PATH: '/usr/local/bin:/usr/bin:/bin',
    ...image.env,
    OUTRIGGER_SERVICE_NAME: 'orders',
    OUTRIGGER_CONSUL: 'false',
    OUTRIGGER_CONTROL_PLANE: 'false',
    OUTRIGGER_STATE_DIR: image.volumes[0],
    OUTRIGGER_LISTENERS_ADMIN: `127.0.0.1:${admin}`,
    OUTRIGGER_LISTENERS_OUTBOUND: `127.0.0.1:${outbound}`,
    OUTRIGGER_UPSTREAMS: '[{"service":"payments","endpoints":["127.0.0.1:9"]}]',
  };
  const id = run('chroot', [image.root, 'id', '-u', image.user]).trim();
  const script = `mount --bind "$1" "$1"; mount -t proc proc "$1/proc"; mount --rbind /dev "$1/dev"; mount -t tmpfs tmpfs "$1/tmp"
    mount -t tmpfs -o uid=$2,gid=$2 tmpfs "$1$3"; mount -o remount,ro,bind "$1"
    root=$1 uid=$2 folder=$4; shift 4
    exec chroot "$root" setpriv --reuid=$uid --regid=$uid --clear-groups --no-new-privs --bounding-set=-all --inh-caps=-all \\
      env -i -C "$folder" "$@"`;
  const words = Object.entries(env).map(([name, value]) => `${name}=${value}`);
  const args = ['--mount', 'bash', '-ec', script, 'start', image.root, id, image.volumes[0], image.folder];
  const child = spawn('unshare', [...args, ...words, ...image.entry, 'agent'], { stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text) => (output += text));
  const ended = new Promise((resolve) => child.once('exit', (code, signal) => resolve(code ?? signal)));
  try {
    const until = performance.now() + READY_WITHIN_MS;
    let status = 0;
    while (status !== 200) {
      if (performance.now() > until || child.exitCode !== null)
        throw new Error(`the agent is not ready: ${status}\n${output}`);
      await new Promise((resolve) => setTimeout(resolve, 100));
      status = await fetch(`http://127.0.0.1:${admin}/ready`).then(
        (answer) => answer.status,
        () => 0,
      );
    }
    const proc = readFileSync(`/proc/${child.pid}/status`, 'utf8');
    const fact = (name) => new RegExp(`^${name}:\\s+(\\S+)`, 'm').exec(proc)?.[1] ?? '';
    const mounts = readFileSync(`/proc/${child.pid}/mountinfo`, 'utf8').split('\n');
    const isReadOnly = mounts.some((line) => /^\d+ \d+ \S+ \S+ \/ ro[, ]/.test(line));
    const facts = {
      uid: fact('Uid'),
      capEff: fact('CapEff'),
      capBnd: fact('CapBnd'),
      noNewPrivs: fact('NoNewPrivs'),
      isReadOnly,
    };
    say(`ready ${status}  ${JSON.stringify(facts)}`);
    const live = await fetch(`http://127.0.0.1:${admin}/live`);
    const info = await (await fetch(`http://127.0.0.1:${admin}/server_info`)).json();
    say(`live ${live.status}  ${JSON.stringify({ state: info.state, version: info.version })}`);
    const isZero = (hex) => /^0+$/.test(hex);
    if (
      facts.uid !== UID ||
      !isZero(facts.capEff) ||
      !isZero(facts.capBnd) ||
      facts.noNewPrivs !== '1' ||
      !isReadOnly
    ) {
      throw new Error('the agent has more rights than the image promises');
    }
  } finally {
    child.kill('SIGTERM');
    const hard = setTimeout(() => child.kill('SIGKILL'), 15_000);
    const code = await ended;
    clearTimeout(hard);
    say(`ended with ${code} after SIGTERM`);
    if (code !== 0) process.exitCode = 1;
  }
}

const work = mkdtempSync(join(tmpdir(), 'outrigger-image-'));
const base = process.argv[2] ?? join(work, 'base');
try {
  const startedAt = performance.now();
  makeBase(base);
  say(`bare Debian root ${((performance.now() - startedAt) / 1000).toFixed(1)} s`);
  await startAgent(build(work, base));
} finally {
  // Mounts were made in namespaces of their own and ended with them.
  rmSync(work, { recursive: true, force: true });
}
