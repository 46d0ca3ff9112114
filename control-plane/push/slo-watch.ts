// Looks at the error budgets every two seconds, tells what began or ended to burn, and has the counts written down now and then.

import type { Clock } from '../core/clock.ts';
import type { AlertChange, SloBook } from '../core/slo/book.ts';
import type { SloArchive } from '../store/slo-archive.ts';

export const LOOK_EVERY_MS = 2_000;
/** What a crash may lose of the counts. */
const SAVE_EVERY_MS = 10_000;

export interface SloWatchOptions {
  readonly book: SloBook;
  readonly archive: SloArchive;
  readonly clock: Clock;
  readonly onChange: (change: AlertChange) => void;
  readonly onFault: (text: string) => void;
}

export class SloWatch {
  readonly #options: SloWatchOptions;
  #timer: NodeJS.Timeout | null = null;
  #savedAt = Number.NEGATIVE_INFINITY;
  #saving: Promise<void> | null = null;
  #isFailing = false;

  constructor(options: SloWatchOptions) {
    this.#options = options;
  }

  /** Settles when what was kept is taken over. */
  async start(): Promise<void> {
    const { book, archive, clock } = this.#options;
    book.restore(await archive.load());
    this.#savedAt = clock.now();
    this.#timer = setInterval(() => this.#look(), LOOK_EVERY_MS);
  }

  async stop(): Promise<void> {
    if (this.#timer !== null) clearInterval(this.#timer);
    await this.#saving;
    if (this.#timer !== null) await this.#save();
  }

  #look(): void {
    const { book, clock, onChange } = this.#options;
    for (const change of book.evaluate(clock.epochMs())) onChange(change);
    if (this.#saving !== null || clock.now() - this.#savedAt < SAVE_EVERY_MS) return;
    this.#savedAt = clock.now();
    this.#saving = this.#save().finally(() => {
      this.#saving = null;
    });
  }

  async #save(): Promise<void> {
    const { book, archive, onFault } = this.#options;
    try {
      await archive.save(book.archive());
      this.#isFailing = false;
    } catch (error) {
      // Said once: a disk that is full is full for a while.
      if (!this.#isFailing) onFault(`the counts of error budgets could not be written: ${String(error)}`);
      this.#isFailing = true;
    }
  }
}
