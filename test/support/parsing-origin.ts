// An origin that is node:http itself: what it reports is how another parser reads the bytes that the proxy sent. Answers by
// telling the method and the target back.

import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Test } from 'tap';

export interface ParsedRequest {
  readonly method: string;
  readonly target: string;
  /** Latin-1. */
  body: string;
  /** False when the connection ended before the body did. */
  isComplete: boolean;
}

export interface ParsingOrigin {
  readonly port: number;
  /** In the order in which their heads came. */
  readonly requests: ParsedRequest[];
  /** Error codes of node:http for bytes that were no request; the end of a connection inside a request is none. */
  readonly complaints: string[];
}

/** What the answer says. */
export function echoOf(method: string, target: string): string {
  return `${method} ${target}`;
}

export async function startParsingOrigin(t: Test): Promise<ParsingOrigin> {
  const requests: ParsedRequest[] = [];
  const complaints: string[] = [];
  const server = createServer({ insecureHTTPParser: false, requireHostHeader: true }, (request, response) => {
    const { method = '', url = '' } = request;
    const record: ParsedRequest = { method, target: url, body: '', isComplete: false };
    requests.push(record);
    collect(request, record, () => response.end(echoOf(method, url)));
  });
  server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
    if (error.code !== 'ECONNRESET' && error.code !== 'HPE_INVALID_EOF_STATE')
      complaints.push(error.code ?? error.message);
    socket.destroy();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  return { port: (server.address() as AddressInfo).port, requests, complaints }; // listening on TCP
}

function collect(request: IncomingMessage, record: ParsedRequest, whole: () => void): void {
  request.on('data', (bytes: Buffer) => {
    record.body += bytes.toString('latin1');
  });
  request.on('error', () => {});
  request.on('end', () => {
    record.isComplete = true;
    whole();
  });
}
