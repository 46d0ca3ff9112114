// The listener's certificate, read again when its file changes: whoever renews it need not restart anything.

import { readFileSync, statSync } from 'node:fs';
import { createSecureContext, type Server } from 'node:tls';

export interface TlsFiles {
  /** PEM, the chain included. */
  readonly certFile: string;
  readonly keyFile: string;
}

/** How long a new certificate may stay unused. */
export const REREAD_EVERY_MS = 2_000;

interface Pair {
  readonly cert: Buffer;
  readonly key: Buffer;
}

/** @throws Error that names the file, when one cannot be read or the two are not a pair */
export function readPair({ certFile, keyFile }: TlsFiles): Pair {
  const pair = { cert: readFileSync(certFile), key: readFileSync(keyFile) };
  try {
    createSecureContext(pair);
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    throw new Error(`tls.certFile ${certFile} and tls.keyFile ${keyFile} are no pair: ${text}`, { cause: error });
  }
  return pair;
}

/** Follows the files for new connections; a pair that cannot be used leaves the former one in place. @returns how to stop */
export function followPair(server: Server, files: TlsFiles, warn: (message: string) => void): () => void {
  let used = stampOf(files);
  const timer = setInterval(() => {
    try {
      const stamp = stampOf(files);
      if (stamp === used) return;
      // Remembered before it is judged: what is broken is told once, not every two seconds.
      used = stamp;
      server.setSecureContext(readPair(files));
      warn('the certificate changed and is in use for new connections');
    } catch (error) {
      warn(`the former certificate stays in use: ${error instanceof Error ? error.message : String(error)}`);
    }
  }, REREAD_EVERY_MS);
  timer.unref();
  return () => clearInterval(timer);
}

function stampOf({ certFile, keyFile }: TlsFiles): string {
  return [certFile, keyFile]
    .map((file) => {
      const { mtimeMs, size, ino } = statSync(file);
      return `${mtimeMs} ${size} ${ino}`;
    })
    .join(' ');
}
