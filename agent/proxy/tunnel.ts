// After a 101 that was asked for: bytes pass both ways untouched until either side ends. FIN passes on as FIN, a loss as a
// loss; each side waits for the other to take what was written.

import type { DownstreamConnection } from './downstream-connection.ts';
import { composeInformationalHead } from './headers.ts';
import type { ResponseHead } from './http1/response-head.ts';
import type { ProxyScope } from './scope.ts';
import type { TunnelEnd, UpstreamConnection } from './upstream-connection.ts';

export class Tunnel implements TunnelEnd {
  readonly #down: DownstreamConnection;
  readonly #up: UpstreamConnection;
  readonly #scope: ProxyScope;
  readonly #lifetimeEndsAt: number;
  readonly #onClosed: () => void;
  #isDownEnded = false;
  #isUpEnded = false;
  #isClosed = false;

  constructor(down: DownstreamConnection, up: UpstreamConnection, scope: ProxyScope, onClosed: () => void) {
    this.#down = down;
    this.#up = up;
    this.#scope = scope;
    this.#lifetimeEndsAt = scope.deadlines.now + scope.limits.tunnelLifetimeMs;
    this.#onClosed = onClosed;
  }

  /** @param rest  what the upstream sent right behind its 101, which is `head` */
  start(head: ResponseHead, rest: Buffer): void {
    this.#down.write(composeInformationalHead(head));
    this.#up.startTunnel(this);
    const early = this.#down.startTunnel(this);
    if (rest.length > 0) this.onUpstreamData(rest);
    if (early !== null) this.onDownstreamData(early);
    this.#touch();
  }

  onDownstreamData(bytes: Buffer): void {
    this.#touch();
    if (!this.#up.socket.write(bytes)) this.#down.socket.pause();
  }

  onUpstreamData(bytes: Buffer): void {
    this.#touch();
    if (!this.#down.socket.write(bytes)) this.#up.socket.pause();
  }

  onDownstreamDrain(): void {
    this.#up.socket.resume();
  }

  onUpstreamDrain(): void {
    this.#down.socket.resume();
  }

  onDownstreamEnd(): void {
    this.#isDownEnded = true;
    this.#up.socket.end();
    if (this.#isUpEnded) this.#close();
  }

  onUpstreamEnd(): void {
    this.#isUpEnded = true;
    this.#down.socket.end();
    if (this.#isDownEnded) this.#close();
  }

  onDownstreamClose(): void {
    this.#up.destroy();
    this.#close();
  }

  onUpstreamClose(): void {
    if (!this.#isUpEnded) this.#down.socket.destroy();
    this.#close();
  }

  onUpstreamDeadline(): void {
    this.#down.socket.destroy();
    this.#up.destroy();
    this.#close();
  }

  #touch(): void {
    const { deadlines, limits } = this.#scope;
    this.#up.deadlineAt = Math.min(deadlines.now + limits.tunnelIdleMs, this.#lifetimeEndsAt);
  }

  #close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#onClosed();
  }
}
