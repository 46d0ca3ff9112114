// Reads a Consul config entry field by field and remembers what nobody read: whatever is not carried over is said, so that nothing
// is lost in silence.

/** Something that an imported document does not say, or says otherwise. */
export interface ImportNote {
  /** `service-router/web`. */
  readonly entry: string;
  /** `Routes[2].Match.HTTP.CaseInsensitive`; empty for the whole entry. */
  readonly path: string;
  /** Lower case, no full stop. */
  readonly message: string;
}

/** What Consul adds to every entry, and what says only where it lives. */
const BOOKKEEPING: ReadonlySet<string> = new Set([
  'Kind',
  'Name',
  'CreateIndex',
  'ModifyIndex',
  'Hash',
  'Namespace',
  'Partition',
  'Status',
]);

export class Fields {
  readonly #value: Readonly<Record<string, unknown>>;
  readonly #entry: string;
  readonly #path: string;
  readonly #notes: ImportNote[];
  readonly #read = new Set<string>();

  /** @param value  anything; what is no mapping has no fields, and that is noted */
  constructor(value: unknown, entry: string, path: string, notes: ImportNote[]) {
    const isMapping = typeof value === 'object' && value !== null && !Array.isArray(value);
    this.#value = isMapping ? (value as Record<string, unknown>) : {};
    this.#entry = entry;
    this.#path = path;
    this.#notes = notes;
    if (!isMapping) this.note('', 'must be a mapping, and is left out');
  }

  note(key: string, message: string): void {
    const path = key === '' ? this.#path : this.#pathOf(key);
    this.#notes.push({ entry: this.#entry, path, message });
  }

  #pathOf(key: string): string {
    return this.#path === '' ? key : `${this.#path}.${key}`;
  }

  /** The value, or undefined when it is absent, null or of another type (which is noted). */
  #take<T>(key: string, type: string, is: (value: unknown) => value is T): T | undefined {
    this.#read.add(key);
    if (!Object.hasOwn(this.#value, key)) return undefined;
    const value = this.#value[key];
    if (value === null || value === undefined) return undefined;
    if (is(value)) return value;
    this.note(key, `must be ${type}, and is left out`);
    return undefined;
  }

  /** Empty texts count as absent, as Consul has it. */
  text(key: string): string | undefined {
    const found = this.#take(key, 'a text', (value) => typeof value === 'string');
    return found === '' ? undefined : found;
  }

  /** Zero counts as absent. */
  number(key: string): number | undefined {
    const found = this.#take(key, 'a number', (value) => typeof value === 'number');
    return found === 0 || !Number.isFinite(found) ? undefined : found;
  }

  flag(key: string): boolean {
    return this.#take(key, 'true or false', (value) => typeof value === 'boolean') ?? false;
  }

  /** `"15s"`, or a number of nanoseconds as Consul's API writes it, as one of our durations; zero counts as absent. */
  duration(key: string): string | undefined {
    const found = this.#take(key, 'a duration', (value) => typeof value === 'string' || typeof value === 'number');
    if (found === undefined || found === 0 || found === '' || found === '0s') return undefined;
    return typeof found === 'string' ? found : inMs(found / 1e6);
  }

  milliseconds(key: string): string | undefined {
    const found = this.number(key);
    return found === undefined ? undefined : inMs(found);
  }

  texts(key: string): string[] | undefined {
    const found = this.#list(key);
    const texts = found?.filter((one) => typeof one === 'string');
    if (texts !== undefined && texts.length !== found?.length) this.note(key, 'holds something that is no text');
    return texts === undefined || texts.length === 0 ? undefined : texts;
  }

  numbers(key: string): number[] | undefined {
    const found = this.#list(key)?.filter((one) => typeof one === 'number');
    return found === undefined || found.length === 0 ? undefined : found;
  }

  #list(key: string): unknown[] | undefined {
    return this.#take(key, 'a list', (value): value is unknown[] => Array.isArray(value));
  }

  /** Every mapping of a list. */
  each(key: string): Fields[] {
    return (this.#list(key) ?? []).map((one, index) => this.#inner(one, `${key}[${index}]`));
  }

  /** Every mapping of a mapping, with its key. */
  entries(key: string): [string, Fields][] {
    const found = this.#take(key, 'a mapping', isRecord) ?? {};
    return Object.entries(found).map(([name, one]) => [name, this.#inner(one, `${key}.${name}`)]);
  }

  /** Texts of a mapping. */
  pairs(key: string): { name: string; value: string }[] {
    const found = this.#take(key, 'a mapping', isRecord) ?? {};
    return Object.entries(found).map(([name, value]) => ({ name, value: String(value) }));
  }

  /** Null when it is absent. */
  within(key: string): Fields | null {
    const found = this.#take(key, 'a mapping', isRecord);
    return found === undefined ? null : this.#inner(found, key);
  }

  #inner(value: unknown, key: string): Fields {
    return new Fields(value, this.#entry, this.#pathOf(key), this.#notes);
  }

  /** Notes what nobody has read. */
  rest(): void {
    for (const [key, value] of Object.entries(this.#value)) {
      const isBookkeeping = this.#path === '' && BOOKKEEPING.has(key);
      if (!this.#read.has(key) && !isBookkeeping && !isNothing(value))
        this.note(key, 'has no counterpart and is left out');
    }
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isNothing(value: unknown): boolean {
  if (value === null || value === undefined || value === '' || value === 0 || value === false) return true;
  if (Array.isArray(value)) return value.length === 0;
  return isRecord(value) && Object.values(value).every(isNothing);
}

function inMs(ms: number): string {
  return ms >= 1000 && ms % 1000 === 0 ? `${ms / 1000}s` : `${Math.max(1, Math.round(ms))}ms`;
}
