// The part of JSON Schema 2020-12 that our schemas use, and the `x-…` words that we add. Types only.

/**
 * Plain JSON: TypeBox schemas are assignable to it, and so is a schema read from a file.
 *
 * Editors ignore the `x-…` words; validate.ts understands them.
 */
export interface JsonSchema {
  readonly type?: string;
  readonly title?: string;
  readonly description?: string;
  readonly default?: unknown;
  readonly examples?: unknown;
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly anyOf?: readonly JsonSchema[];
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly patternProperties?: Readonly<Record<string, JsonSchema>>;
  /** TypeBox types say undefined where every property is optional. */
  readonly required?: readonly string[] | undefined;
  readonly additionalProperties?: unknown;
  readonly maxProperties?: number;
  readonly items?: JsonSchema;
  readonly minItems?: number;
  readonly maxItems?: number;
  readonly uniqueItems?: boolean;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly pattern?: string;
  /** Name of a check in text-checks.ts that takes the place of `pattern` and knows more than a pattern can say. */
  readonly 'x-check'?: string;
  /** Bounds of a duration, written as durations. */
  readonly 'x-min'?: string;
  readonly 'x-max'?: string;
  /** What is expected, in words; completes "must be …". */
  readonly 'x-expected'?: string;
  /** What a larger value costs. */
  readonly 'x-larger'?: string;
  /** Key whose value must differ between the mappings of a list. */
  readonly 'x-unique'?: string;
  /** Rules that look at several values at once; run when everything below is valid. */
  readonly 'x-rules'?: readonly string[];
  /** The value is never repeated in a message. */
  readonly 'x-secret'?: boolean;
}
