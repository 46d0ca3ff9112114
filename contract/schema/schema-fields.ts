// Builders of documented fields: bounds, default, meaning, cost and foreign name of a field in one call.

import { Type } from 'typebox';
import { DURATION_PATTERN, RATE_PATTERN } from '../text/durations.ts';

/** What a reader needs to know about a field. */
export interface FieldNotes {
  /** Meaning and unit, a full sentence. */
  readonly means: string;
  /** What a larger value costs, lower case, no full stop. */
  readonly larger?: string;
  /** The name elsewhere: `Envoy consecutive_5xx`. */
  readonly elsewhere?: string;
}

/** The words of a schema for one field; spread into the options of a TypeBox type. */
export function notes({ means, larger, elsewhere }: FieldNotes): Record<string, unknown> {
  return {
    description: [
      means,
      ...(larger === undefined ? [] : [`Larger: ${larger}.`]),
      ...(elsewhere === undefined ? [] : [`Elsewhere: ${elsewhere}.`]),
    ].join(' '),
    ...(larger === undefined ? {} : { 'x-larger': larger }),
  };
}

/** Every object of ours: unknown keys are refused. */
export const CLOSED = { additionalProperties: false } as const;

export function duration(fallback: string, min: string, max: string, text: FieldNotes) {
  return Type.Optional(
    Type.String({
      pattern: DURATION_PATTERN,
      default: fallback,
      'x-check': 'duration',
      'x-min': min,
      'x-max': max,
      ...notes(text),
    }),
  );
}

/** A duration without a default: a rule that does not say it inherits it. */
export function inheritedDuration(min: string, max: string, text: FieldNotes) {
  return Type.Optional(
    Type.String({ pattern: DURATION_PATTERN, 'x-check': 'duration', 'x-min': min, 'x-max': max, ...notes(text) }),
  );
}

export function rate(fallback: string, text: FieldNotes) {
  return Type.Optional(Type.String({ pattern: RATE_PATTERN, default: fallback, 'x-check': 'rate', ...notes(text) }));
}

export function count(fallback: number, minimum: number, maximum: number, text: FieldNotes) {
  return Type.Optional(Type.Integer({ minimum, maximum, default: fallback, ...notes(text) }));
}

export function flag(fallback: boolean, text: FieldNotes) {
  return Type.Optional(Type.Boolean({ default: fallback, ...notes(text) }));
}

export function word<const Words extends string[]>(
  fallback: Words[number],
  words: readonly [...Words],
  text: FieldNotes,
) {
  return Type.Optional(Type.Enum([...words], { default: fallback, ...notes(text) }));
}

/** Text judged by a check of text-checks.ts. */
export function checked(check: string, text: FieldNotes, options: Record<string, unknown> = {}) {
  return Type.String({ maxLength: 512, 'x-check': check, ...notes(text), ...options });
}
