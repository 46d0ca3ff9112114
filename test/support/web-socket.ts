// The `ws` package, which comes without types: the few words of it that tests use.

import { createRequire } from 'node:module';

export interface Socket {
  readonly protocol: string;
  send(data: string | Buffer): void;
  ping(data?: string): void;
  close(code?: number, reason?: string): void;
  terminate(): void;
  on(event: 'open', listener: () => void): void;
  on(event: 'message', listener: (data: Buffer, isBinary: boolean) => void): void;
  on(event: 'ping' | 'pong', listener: (data: Buffer) => void): void;
  on(event: 'close', listener: (code: number, reason: Buffer) => void): void;
  on(event: 'error', listener: (error: Error) => void): void;
}

export interface WebSocketServer {
  on(event: 'listening', listener: () => void): void;
  on(event: 'connection', listener: (socket: Socket) => void): void;
  address(): { port: number };
  close(): void;
}

interface Ws {
  WebSocket: new (url: string, options: { headers: Record<string, string>; autoPong?: boolean }) => Socket;
  WebSocketServer: new (options: { port: number; host: string; maxPayload?: number }) => WebSocketServer;
}

export const { WebSocket, WebSocketServer }: Ws = createRequire(import.meta.url)('ws');
