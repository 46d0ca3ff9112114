// Where the numbers, texts and references of decision records lie: side by side in long arrays, so that writing one touches a few
// neighbouring cache lines and allocates nothing. References go to what lives long anyway and texts are copied: a young string
// that were kept for 4096 requests would be carried along by the collector, at the cost of everything else here together.

/** Room for many records. */
export interface Room {
  readonly numbers: Float64Array;
  readonly refs: unknown[];
  readonly texts: Uint8Array;
}

/** Where one record lies. */
export class Place implements Room {
  numbers: Float64Array;
  refs: unknown[];
  texts: Uint8Array;
  /** First number, reference and byte of the record. */
  at: number;
  refAt: number;
  textAt: number;

  constructor(room: Room, slot: number) {
    this.numbers = room.numbers;
    this.refs = room.refs;
    this.texts = room.texts;
    this.at = slot * NUMBERS;
    this.refAt = slot * REFS;
    this.textAt = slot * TEXTS;
  }

  /** To be called before writing after a time: a record whose request is slow may have been moved. */
  secure(): void {}

  moveTo(other: Place): void {
    this.numbers = other.numbers;
    this.refs = other.refs;
    this.texts = other.texts;
    this.at = other.at;
    this.refAt = other.refAt;
    this.textAt = other.textAt;
  }

  /** The same contents in a place of their own. */
  copy(): Place {
    const { numbers, at, refs, refAt, texts, textAt } = this;
    const room = {
      numbers: numbers.slice(at, at + NUMBERS),
      refs: refs.slice(refAt, refAt + REFS),
      texts: texts.slice(textAt, textAt + TEXTS),
    };
    return new Place(room, 0);
  }
}

/** Numbers, references and bytes of text of one record with its first attempt. */
export const NUMBERS = 40;
export const REFS = 20;
export const TEXTS = 96;
/** Of these bytes the first are for the target, the rest for the request id; what is longer is cut. */
export const TARGET_BYTES = 64;
export const ID_BYTES = TEXTS - TARGET_BYTES;

/** Numbers of the request. */
export const SEQUENCE = 0;
export const STARTED = 1;
export const DURATION = 2;
export const QUEUED = 3;
export const DEADLINE = 4;
export const IN_FLIGHT = 5;
export const LIMIT = 6;
export const REJECTING = 7;
export const POLICY_VERSION = 8;
export const GENERATION = 9;
export const STATUS = 10;
export const FLAGS = 11;
export const ATTEMPTS = 12;

/** Bits of FLAGS. */
export const IS_OPEN = 1;
export const HAS_LIMITS = 2;
export const IS_ADAPTIVE = 4;
export const IS_INBOUND = 8;
/** The target is longer than its place. */
export const IS_CUT = 16;

/** Numbers of an attempt. */
export const SEED = 13;
export const PICKED_AT = 14;
export const HASH = 15;
export const PICKS = 16;
export const ROUND_ROBIN_AT = 17;
export const SERVICE_IN_FLIGHT = 18;
export const SAMPLES = 19;
export const WAITED = 20;
export const ATTEMPT_STATUS = 21;
export const LATENCY = 22;
export const BUDGET = 23;
export const IS_HEDGE = 24;
/** Lengths of the two texts, in the numbers. */
export const TARGET_LENGTH = 25;
export const ID_LENGTH = 26;
/** Of the attempt again: 1 when the request may act only once. */
export const ACTS_ONCE = 27;
/** The first FEW_SAMPLES samples, SAMPLE_WIDTH numbers each: load, inFlight, ewmaMs, ewmaAt, penaltyMs, penaltyAt. */
export const FIRST_SAMPLE = 28;
export const FEW_SAMPLES = 2;
export const SAMPLE_WIDTH = 6;

/** References of the request. */
export const METHOD = 2;
export const ROUTES = 3;
export const SERVICE = 4;
export const RULE = 5;
export const FIELDS = 6;
export const RESULT = 7;
export const MESSAGE = 8;
export const DEADLINE_FROM = 9;
/** References of an attempt. */
export const HELD = 10;
export const ENDPOINT = 11;
export const TRIED = 12;
export const KIND = 13;
export const AFTER = 14;
export const WAY = 15;
/** Endpoints of the first FEW_SAMPLES samples. */
export const SAMPLED = 16;
/** Of the request again, only where rules were looked through: its Host, and its target when that was cut. */
export const HOST = 18;
export const WHOLE_TARGET = 19;

/** Room for `count` records side by side. */
export function roomFor(count: number): Room {
  return {
    numbers: new Float64Array(count * NUMBERS),
    refs: new Array(count * REFS).fill(null),
    texts: new Uint8Array(count * TEXTS),
  };
}

/** Copies the low byte of each character: heads are Latin-1. Returns how many were copied. */
export function writeText(texts: Uint8Array, at: number, limit: number, text: string): number {
  const length = Math.min(text.length, limit);
  for (let index = 0; index < length; index++) texts[at + index] = text.charCodeAt(index);
  return length;
}

export function readText(texts: Uint8Array, at: number, length: number): string {
  let text = '';
  for (let index = 0; index < length; index++) text += String.fromCharCode(texts[at + index] ?? 0);
  return text;
}
