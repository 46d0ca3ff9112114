// Reading from sockets into memory that is there already. Node's streams allocate 64 KiB for every read, shrink it, wrap it and
// queue it; at tens of thousands of requests a second that is a third of the agent's own work. The price is a rule: bytes are
// lent for the time of one call, and who needs them longer copies them.

import { connect, type Socket, type TcpNetConnectOpts } from 'node:net';

/** Bytes of one read at most. */
const READ_BYTES = 65_536;

/** Memory to read into. Pages that no read has reached cost nothing. */
export function createReadBuffer(): Buffer {
  return Buffer.allocUnsafeSlow(READ_BYTES);
}

/** Gets bytes that are overwritten after the call. */
export type OnBytes = (bytes: Buffer) => void;

/**
 * Connects a socket that emits no `data`.
 *
 * @param nextBuffer  asked at the start and after each read for the memory of the next one
 */
export function connectReading(options: TcpNetConnectOpts, nextBuffer: () => Buffer, onBytes: OnBytes): Socket {
  const callback = (length: number, memory: Uint8Array) => {
    onBytes((memory as Buffer).subarray(0, length)); // the memory that nextBuffer gave
    return true;
  };
  return connect({ ...options, onread: { buffer: nextBuffer, callback } });
}

/** Lets an accepted socket read into memory that it shares with all others that were given to the same reader; no `data` either. */
export type SharedReader = (socket: Socket, onBytes: OnBytes) => void;

/**
 * Node has `onread` for sockets that connect only. Accepted ones have the same parts, but under private names; where these are
 * not as expected, the socket reads like any other and the rule above costs a copy it does not need.
 */
export function createSharedReader(): SharedReader {
  const memory = createReadBuffer();
  let memoryKey: symbol | undefined;
  let callbackKey: symbol | undefined;
  return (socket, onBytes) => {
    const handle: unknown = Reflect.get(socket, '_handle');
    if (memoryKey === undefined || callbackKey === undefined) {
      const own = Object.getOwnPropertySymbols(socket);
      memoryKey = own.find(({ description }) => description === 'kBuffer');
      callbackKey = own.find(({ description }) => description === 'kBufferCb');
    }
    if (!hasUserBuffer(handle) || memoryKey === undefined || callbackKey === undefined) {
      socket.on('data', onBytes);
      return;
    }
    Reflect.set(socket, memoryKey, memory);
    Reflect.set(socket, callbackKey, (length: number) => onBytes(memory.subarray(0, length)));
    handle.useUserBuffer(memory);
  };
}

function hasUserBuffer(handle: unknown): handle is { useUserBuffer(memory: Buffer): void } {
  return typeof handle === 'object' && handle !== null && 'useUserBuffer' in handle;
}
