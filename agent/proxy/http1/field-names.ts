// Names of fields that were read before. Heads from one kind of sender have the same fields in the same order, so what a name means
// is looked up once and then only compared; so is the Host. Holds no state that could change a result.

import { normalizeAuthority } from './authority.ts';
import { isLookAlike } from './look-alikes.ts';

export const ORDINARY = -1;
export const LOOK_ALIKE = -2;

/** Further fields of a head are looked up each time. */
const MAX_NAMES = 32;

export class FieldNames {
  readonly #slots: ReadonlyMap<string, number>;
  readonly #raw: string[] = [];
  readonly #names: string[] = [];
  readonly #found: number[] = [];
  #lastHost = '';
  #lastAuthority: string | null = null;
  /** Of the field read last: its name in lower case. */
  name = '';
  /** Of the field read last: its slot, ORDINARY for a field that does not steer, LOOK_ALIKE for one that pretends to. */
  slot = ORDINARY;

  /** @param slots  fields that steer, by name in lower case */
  constructor(slots: ReadonlyMap<string, number>) {
    this.#slots = slots;
  }

  /** Reads the name at `from`; `index` is the place of the field in its head. */
  read(text: string, from: number, to: number, index: number): void {
    const known = this.#raw[index];
    if (known !== undefined && known.length === to - from && text.startsWith(known, from)) {
      this.name = this.#names[index] ?? '';
      this.slot = this.#found[index] ?? ORDINARY;
      return;
    }
    const raw = text.slice(from, to);
    this.name = raw.toLowerCase();
    this.slot =
      this.#slots.get(this.name) ?? (this.name.includes('_') && isLookAlike(this.name) ? LOOK_ALIKE : ORDINARY);
    if (index >= MAX_NAMES) return;
    // Joined anew: a slice would keep the whole head it was cut from.
    this.#raw[index] = [...raw].join('');
    this.#names[index] = [...this.name].join('');
    this.#found[index] = this.slot;
  }

  /** The normal form of a Host, null when it is none: see normalizeAuthority. Keeps the one head alive that it was last cut from. */
  authorityOf(host: string): string | null {
    if (host === this.#lastHost) return this.#lastAuthority;
    this.#lastAuthority = normalizeAuthority(host);
    this.#lastHost = host;
    return this.#lastAuthority;
  }
}
