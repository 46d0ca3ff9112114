// A control plane over SQLite that is killed in the middle of writes (test/support/kill-again.ts).

import t from 'tap';
import { createSqliteStore } from '../../control-plane/store/sqlite-store.ts';
import { KILLS, KILLS_LIMIT_MS, killAgainAndAgain } from '../support/kill-again.ts';

t.test(`SQLite: no acknowledged change is lost over ${KILLS} kills`, { timeout: KILLS_LIMIT_MS }, async (t) => {
  const path = `${t.testdir()}/state/policies.db`;
  await killAgainAndAgain(t, { sqlite: path }, async () => createSqliteStore({ path, epochMs: () => 0 }));
});
