// docs/operations.md and the alerts name each other: whoever is woken finds a section, and no section is about an alert that is gone.

import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { parse } from 'yaml';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const read = (path: string): string => readFileSync(`${ROOT}${path}`, 'utf8');

interface Alert {
  readonly alert?: string;
  readonly labels?: { readonly severity: string };
  readonly annotations?: { readonly summary: string; readonly runbook: string };
}

const alerts = (parse(read('deploy/prometheus/alerts.yml')).groups as { readonly rules: readonly Alert[] }[])
  .flatMap(({ rules }) => rules)
  .filter(({ alert }) => alert !== undefined);
const sections = new Map(
  (read('docs/operations.md').split('## Play-book')[1]?.split('\n## ')[0] ?? '')
    .split('\n### ')
    .slice(1)
    .map((text) => [text.split('\n')[0] ?? '', text]),
);

t.test('every alert has a section in the play-book, and every section an alert', async (t) => {
  t.ok(alerts.length > 10);
  t.same([...sections.keys()].sort(), alerts.map(({ alert }) => alert).sort());
});

t.test('every alert says how urgent it is, what is wrong, and where to read on', async (t) => {
  for (const { alert = '', labels, annotations } of alerts) {
    t.match(labels?.severity, /^(?:page|warn)$/, alert);
    t.ok(annotations?.summary, alert);
    // What GitHub and others make of a heading without spaces.
    t.equal(annotations?.runbook, `docs/operations.md#${alert.toLowerCase()}`);
    const section = sections.get(alert) ?? '';
    t.match(section, labels?.severity === 'page' ? /\bPage\b/ : /\bWarning\b/, `${alert}: the same urgency`);
    t.match(section, 'Do: ', `${alert}: what to do`);
  }
});

t.test('the tests that the page names are there', async (t) => {
  const named = read('docs/operations.md').match(/test\/[a-z0-9-]+\/[a-z0-9-]+\.test\.ts/g) ?? [];
  t.ok(named.length > 5);
  for (const file of named) t.ok(read(file), file);
});
