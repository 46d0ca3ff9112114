// The fields of a schema as a list and as Markdown: what the reference pages show, and what their test compares them with.

import { listEnvKeys } from '../input/config-source.ts';
import { DURATION_PATTERN } from '../text/durations.ts';
import type { JsonSchema } from './json-schema.ts';

export interface Field {
  /** `spec.rules[].matches[].path.type`. */
  readonly path: string;
  readonly isRequired: boolean;
  /** As JSON writes it; null without one. */
  readonly fallback: string | null;
  /** Type and bounds in words. */
  readonly values: string;
  readonly description: string;
}

/** Every field that has a description, in the order of the schema. */
export function listFields(schema: JsonSchema, path = '', isRequired = true): Field[] {
  const branches = schema.anyOf ?? [schema];
  const mapping = branches.find(({ properties }) => properties !== undefined);
  const own: Field[] =
    path === '' || schema.description === undefined
      ? []
      : [{ path, isRequired, fallback: fallbackOf(schema), values: valuesOf(schema), description: schema.description }];
  const inner = Object.entries(mapping?.properties ?? {}).flatMap(([key, below]) =>
    listFields(below, path === '' ? key : `${path}.${key}`, mapping?.required?.includes(key) ?? false),
  );
  const items = schema.items?.properties === undefined ? [] : listFields(schema.items, `${path}[]`);
  return [...own, ...inner, ...items.filter((field) => field.path !== `${path}[]`)];
}

/** A Markdown table of the fields, without those that `skip` names. */
export function renderFieldTable(
  schema: JsonSchema,
  options: { readonly skip?: readonly string[]; readonly env?: boolean } = {},
): string {
  const skip = options.skip ?? [];
  const variables = new Map(
    options.env === true ? listEnvKeys(schema).map(({ name, keys }) => [keys.join('.'), name]) : [],
  );
  const head = ['field', 'default', 'values', 'meaning', ...(options.env === true ? ['variable'] : [])];
  const rows = listFields(schema)
    .filter(({ path }) => !skip.some((prefix) => path === prefix || path.startsWith(`${prefix}.`)))
    .map((field) => {
      const fallback = field.fallback === null ? (field.isRequired ? 'required' : '–') : `\`${field.fallback}\``;
      const variable = variables.get(field.path);
      const last = options.env === true ? [variable === undefined ? '–' : `\`${variable}\``] : [];
      return [`\`${field.path}\``, fallback, field.values, field.description, ...last];
    });
  return [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.map(escapeCell).join(' | ')} |`).join('\n');
}

function escapeCell(text: string): string {
  return text.replaceAll('|', '\\|');
}

function fallbackOf(schema: JsonSchema): string | null {
  const { default: fallback } = schema;
  if (fallback === undefined) return null;
  return typeof fallback === 'string' ? fallback : JSON.stringify(fallback);
}

function valuesOf(schema: JsonSchema): string {
  if (schema['x-expected'] !== undefined) return schema['x-expected'];
  if (schema.anyOf !== undefined) return schema.anyOf.map(valuesOf).join(' or ');
  if (schema.const !== undefined) return `\`${String(schema.const)}\``;
  if (schema.enum !== undefined) return schema.enum.map((word) => `\`${String(word)}\``).join(', ');
  const { minimum, maximum, minItems = 0, maxItems } = schema;
  if (schema.type === 'integer' || schema.type === 'number') return `${minimum}–${maximum}`;
  if (schema.type === 'array') return `list of ${minItems}–${maxItems}`;
  if (schema.pattern === DURATION_PATTERN) return `${schema['x-min']}–${schema['x-max']}`;
  if (schema.type === 'object') return 'mapping';
  return schema.type === 'boolean'
    ? '`true`, `false`'
    : (schema['x-check'] ?? 'text').replaceAll(/([A-Z])/g, ' $1').toLowerCase();
}
