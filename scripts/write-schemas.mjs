// Writes schema/*.json and the generated tables of docs/*.md from the schemas in contract/. Run by `npm run schema`.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { fillTables, schemaFiles } from '#contract/schema/published.ts';

const PAGES = ['docs/policy.md', 'docs/configuration.md', 'docs/errors.md'];

mkdirSync('schema', { recursive: true });
const files = { ...schemaFiles() };
for (const page of PAGES) files[page] = fillTables(readFileSync(page, 'utf8'));
for (const [file, text] of Object.entries(files)) {
  writeFileSync(file, text);
  console.log(file);
}
