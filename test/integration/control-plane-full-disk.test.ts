// A control plane whose disk is really full (a small tmpfs): writes are refused, nothing half is kept, streams and reads go on, and
// with room again writes do. Needs the right to mount; without it this is left out, in CI it is a failure.

import { spawnSync } from 'node:child_process';
import { closeSync, mkdirSync, openSync, rmSync, writeSync } from 'node:fs';
import t, { type Test } from 'tap';
import { ask, follow, nextPush, startControlPlane } from '../support/control-plane-client.ts';
import { temporaryFolder } from '../support/processes.ts';

/** A file system of `bytes` at a folder of the test, or null when nothing may be mounted here. */
function smallDisk(t: Test, bytes: number): string | null {
  // Not the test's own fixture folder: that is removed before the teardown unmounts.
  const folder = `${temporaryFolder(t)}/disk`;
  mkdirSync(folder);
  const { status, stderr, error } = spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${bytes}`, 'tmpfs', folder]);
  if (status === 0) {
    t.teardown(() => spawnSync('umount', ['-l', folder]));
    return folder;
  }
  const why = error?.message ?? String(stderr).trim();
  if (process.env.CI === 'true') t.fail(`no tmpfs can be mounted: ${why}`);
  else t.comment(`SKIPPED, no tmpfs can be mounted: ${why}`);
  return null;
}

/** Takes every byte that is left. */
function fill(path: string): void {
  const handle = openSync(path, 'w');
  try {
    for (const size of [65_536, 4_096]) {
      const block = Buffer.alloc(size);
      for (;;) {
        try {
          writeSync(handle, block);
        } catch (error) {
          if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
          break;
        }
      }
    }
  } finally {
    closeSync(handle);
  }
}

const document = (version: number) => ({
  apiVersion: 'outrigger.dev/v1',
  kind: 'ServicePolicy',
  metadata: { name: 'payments' },
  spec: { timeouts: { request: `${version}s` } },
});

t.test('a full disk refuses writes and nothing else', { timeout: 60_000 }, async (t) => {
  const folder = smallDisk(t, 2 * 1024 * 1024);
  if (folder === null) return;
  const { url } = await startControlPlane(t, { folder });
  const at = `${url}/v1/policies/ServicePolicy/payments`;
  const stream = await follow(`${url}/v1/agents/orders-1/stream`);
  t.teardown(() => stream.stop());
  t.match(await nextPush(stream), { version: 0 });
  t.match(await ask(at, 'PUT', document(1)), { status: 201 });
  t.match(await nextPush(stream), { version: 1 });

  fill(`${folder}/filler`);
  let accepted = 1;
  const refusals: number[] = [];
  // The log that is there already can take a few pages more.
  for (let tries = 0; tries < 600 && refusals.length < 3; tries++) {
    const { status } = await ask(at, 'PUT', document(accepted + 1));
    if (status === 200) {
      accepted++;
      t.match(await nextPush(stream), { version: accepted });
    } else refusals.push(status);
  }
  t.equal(refusals.length, 3, `${accepted} were accepted first`);
  for (const status of refusals) t.ok(status === 507 || status === 503, `refused with ${status}`);
  t.match(await ask(at, 'GET'), { status: 200, body: { version: accepted, document: document(accepted) } });
  t.equal((await ask(`${url}/live`, 'GET')).status, 200);
  const late = await follow(`${url}/v1/agents/orders-2/stream`);
  t.teardown(() => late.stop());
  t.match(await nextPush(late), { version: accepted, documents: [document(accepted)] });

  rmSync(`${folder}/filler`);
  t.match(await ask(at, 'PUT', document(accepted + 1)), { status: 200, body: { version: accepted + 1 } });
  t.match(await nextPush(stream), { version: accepted + 1 }, 'the stream from before is open and hears of it');
  t.match(await nextPush(late), { version: accepted + 1 });
});
