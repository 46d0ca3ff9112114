// Writes docs/cli-session.md from what every command prints against a demo that it starts and ends (about a minute).
// Usage: npm exec -- node scripts/cli-session.mjs
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { renderSession, runSession } from '../test/support/cli-session.ts';

const ends = [];
try {
  const session = await runSession({ teardown: (run) => ends.unshift(run) });
  writeFileSync(fileURLToPath(new URL('../docs/cli-session.md', import.meta.url)), renderSession(session));
} finally {
  for (const end of ends) await end();
}
