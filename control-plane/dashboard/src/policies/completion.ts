// What can be written at a place in a YAML document, by its JSON schema. Pure. Reads indentation only: while somebody types, the
// text is seldom valid.

export interface FieldSchema {
  readonly description?: string;
  readonly type?: string | readonly string[];
  readonly properties?: Readonly<Record<string, FieldSchema>>;
  readonly patternProperties?: Readonly<Record<string, FieldSchema>>;
  readonly items?: FieldSchema;
  readonly anyOf?: readonly FieldSchema[];
  readonly oneOf?: readonly FieldSchema[];
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly default?: unknown;
}

export interface Completion {
  /** What is put in place of the word under way. */
  readonly insert: string;
  readonly label: string;
  readonly about: string;
}

export interface Completions {
  /** Where the word under way begins. */
  readonly from: number;
  readonly items: readonly Completion[];
}

const NONE: Completions = { from: 0, items: [] };

export function completionsAt(text: string, offset: number, schema: FieldSchema): Completions {
  const before = text.slice(0, offset);
  const lines = before.split('\n');
  const line = lines.at(-1) ?? '';
  const value = /^(\s*(?:- )*)([A-Za-z0-9_.-]+):\s+(\S*)$/.exec(line);
  if (value !== null) {
    const [, lead = '', key = '', word = ''] = value;
    const field = fieldAt(schema, [...pathAbove(lines, lead), key]);
    const items = valuesOf(field).filter(({ label }) => label.startsWith(word));
    return { from: offset - word.length, items };
  }
  const start = /^(\s*(?:- )*)([A-Za-z0-9_.-]*)$/.exec(line);
  if (start === null) return NONE;
  const [, lead = '', word = ''] = start;
  const parent = fieldAt(schema, pathAbove(lines, lead));
  const taken = siblings(text, before, lead.length);
  const items = keysOf(parent).filter(({ label }) => label.startsWith(word) && (label === word || !taken.has(label)));
  return { from: offset - word.length, items };
}

/** Keys that lead to a line with this lead; a list is the step `-`. */
function pathAbove(lines: readonly string[], lead: string): string[] {
  const path: string[] = [];
  let depth = lead.length;
  if (lead.includes('- ')) path.unshift('-');
  // The key over a dash stands further left than the dash's item, at the dash or before it.
  let limit = lead.includes('- ') ? lead.indexOf('- ') + 1 : depth;
  for (let at = lines.length - 2; at >= 0 && limit > 0; at--) {
    const found = /^(\s*(?:- )*)([A-Za-z0-9_./"-]+):/.exec(lines[at] ?? '');
    if (found === null) continue;
    const [, leadThere = '', key = ''] = found;
    if (leadThere.length < limit) {
      path.unshift(key.replaceAll('"', ''));
      depth = leadThere.length;
      limit = depth;
    }
    if (leadThere.includes('- ') && leadThere.length <= depth && leadThere.length > 0) {
      path.unshift('-');
      limit = leadThere.indexOf('- ') + 1;
      depth = limit;
    }
  }
  return path;
}

function fieldAt(schema: FieldSchema, path: readonly string[]): FieldSchema | null {
  let field: FieldSchema | null = schema;
  for (const step of path) {
    const forms: readonly FieldSchema[] = formsOf(field);
    field = null;
    for (const form of forms) {
      const inner: FieldSchema | undefined =
        step === '-' ? form.items : (form.properties?.[step] ?? Object.values(form.patternProperties ?? {})[0]);
      if (inner !== undefined) field = inner;
    }
    if (field === null) return null;
  }
  return field;
}

/** A field can have several forms. */
function formsOf(field: FieldSchema | null): readonly FieldSchema[] {
  if (field === null) return [];
  return [field, ...(field.anyOf ?? []), ...(field.oneOf ?? [])];
}

function keysOf(field: FieldSchema | null): Completion[] {
  return formsOf(field).flatMap(({ properties = {} }) =>
    Object.entries(properties).map(([label, inner]) => {
      const isNested = formsOf(inner).some((form) => form.properties !== undefined || form.items !== undefined);
      return { label, insert: `${label}:${isNested ? '' : ' '}`, about: aboutOf(inner) };
    }),
  );
}

function valuesOf(field: FieldSchema | null): Completion[] {
  const words = new Set<string>();
  for (const form of formsOf(field)) {
    for (const word of form.enum ?? []) words.add(String(word));
    if (form.const !== undefined) words.add(String(form.const));
    if (form.type === 'boolean') for (const word of ['true', 'false']) words.add(word);
    if (form.default !== undefined && typeof form.default !== 'object') words.add(String(form.default));
  }
  const usual = field?.default;
  return [...words].map((label) => ({ label, insert: label, about: label === String(usual) ? 'default' : '' }));
}

function aboutOf({ description = '', default: usual }: FieldSchema): string {
  const first = description.split(/(?<=\.)\s/, 1)[0] ?? '';
  return usual === undefined || typeof usual === 'object' ? first : `${first} Default ${String(usual)}.`;
}

/** Keys that the mapping has already, above and below. */
function siblings(text: string, before: string, depth: number): Set<string> {
  const lines = text.split('\n');
  const here = before.split('\n').length - 1;
  const keys = new Set<string>();
  for (const step of [-1, 1]) {
    for (let at = here + step; at >= 0 && at < lines.length; at += step) {
      const line = lines[at] ?? '';
      const found = /^(\s*(?:- )*)([^\s:#][^:]*)?/.exec(line);
      if (found === null || line.trim() === '') continue;
      const lead = found[1]?.length ?? 0;
      if (lead < depth) break;
      if (lead === depth && found[2] !== undefined && line.includes(':')) keys.add(found[2]);
    }
  }
  return keys;
}
