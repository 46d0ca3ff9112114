// The mesh as this page knows it now, followed over `GET /v1/events`. Read by fetch, because EventSource cannot carry a token.

import { type Signal, signal } from '@preact/signals';
import type { Api } from './api.ts';
import { applyFrame, EMPTY_MESH, type MeshState, takeFrames } from './frames.ts';
import { History } from './history.ts';

const RETRY_MS = 1_500;
/** How often the store is asked after; it is the one thing that the stream does not tell. */
const STORE_EVERY_MS = 5_000;
const TICK_MS = 1_000;

export type Link = 'connecting' | 'live' | 'lost' | 'signed out';

export class LiveMesh {
  readonly mesh: Signal<MeshState> = signal(EMPTY_MESH);
  readonly link: Signal<Link> = signal<Link>('connecting');
  /** Why the token was not taken; empty before the first try. */
  readonly refusal = signal('');
  /** What is wrong with the control plane's store, or null. */
  readonly storeFault: Signal<string | null> = signal<string | null>(null);
  /** Local clock of the last frame, epoch ms; null before the first. */
  readonly receivedAt: Signal<number | null> = signal<number | null>(null);
  /** Moves once a second, for ages and countdowns. */
  readonly now = signal(Date.now());
  /** Counts samples, so that charts know of a new one. */
  readonly samples = signal(0);
  readonly history = new History();
  readonly #api: Api;

  constructor(api: Api) {
    this.#api = api;
  }

  /** The control plane's clock now: instants in events and ejections are its, not the browser's. */
  get serverNow(): number {
    const { atEpochMs } = this.mesh.value;
    const receivedAt = this.receivedAt.value;
    if (atEpochMs === null || receivedAt === null) return this.now.value;
    return atEpochMs + Math.max(0, this.now.value - receivedAt);
  }

  start(): void {
    setInterval(() => {
      this.now.value = Date.now();
      this.#sample();
    }, TICK_MS);
    setInterval(() => void this.#lookAtStore(), STORE_EVERY_MS);
    void this.#lookAtStore();
    void this.#run();
  }

  signIn(token: string): void {
    this.#api.token = token;
    void this.#run();
  }

  async #run(): Promise<void> {
    for (;;) {
      const isOver = await this.#follow().catch(() => false); // a lost connection is shown below and tried again
      if (isOver) return;
      this.link.value = 'lost';
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }

  /** True when there is no use in another try. */
  async #follow(): Promise<boolean> {
    const response = await this.#api.fetch('/v1/events');
    if (response.status === 401 || response.status === 403 || response.status === 429) {
      this.#askForToken(response.status);
      return true;
    }
    if (!response.ok || response.body === null) return false;
    this.refusal.value = '';
    this.link.value = 'live';
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let text = ''; ; ) {
      const { value, done } = await reader.read();
      if (done) return false;
      const { frames, rest } = takeFrames(text + value);
      text = rest;
      let mesh = this.mesh.value;
      for (const { event, data } of frames) mesh = applyFrame(mesh, event, JSON.parse(data));
      this.receivedAt.value = Date.now();
      this.now.value = Date.now();
      this.mesh.value = mesh;
      this.#sample();
    }
  }

  #sample(): void {
    if (this.link.value !== 'live') return;
    if (this.history.record(this.mesh.value.services.values(), Date.now())) this.samples.value++;
  }

  #askForToken(status: number): void {
    const hadToken = this.#api.token !== null;
    this.#api.token = null;
    const sentences: Readonly<Record<number, string>> = {
      401: 'That token is not known.',
      403: 'That token may not read the mesh.',
      429: 'Too many attempts; wait a minute.',
    };
    this.refusal.value = hadToken || status === 429 ? (sentences[status] ?? '') : '';
    this.link.value = 'signed out';
  }

  async #lookAtStore(): Promise<void> {
    const response = await this.#api.fetch('/ready').catch(() => null);
    // Not reaching the control plane at all is what `link` says.
    if (response === null || response.ok) this.storeFault.value = null;
    else
      this.storeFault.value =
        ((await response.json().catch(() => ({}))) as { detail?: string }).detail ?? 'no reason given';
  }
}
