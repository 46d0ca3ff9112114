// A control plane whose every word a test chooses, and which keeps all it hears.

import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AgentReport, PolicyVerdict } from '#contract/frames.ts';
import type { Teardown } from './processes.ts';

export interface Heard {
  readonly path: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
}

/** A control plane that records what it hears; `stream` is the newest open stream. */
export class ScriptedControlPlane {
  readonly streams: { response: ServerResponse; url: string; headers: IncomingMessage['headers'] }[] = [];
  readonly posts: Heard[] = [];
  /** Status of the answers to streams and posts. */
  streamStatus = 200;
  postStatus = 204;
  /** Posts are not answered at all while true. */
  isSilent = false;
  url = '';
  #nonce = 0;

  get acks(): PolicyVerdict[] {
    return this.posts.filter(({ path }) => path.endsWith('/acks')).map(({ body }) => JSON.parse(body));
  }

  get reports(): AgentReport[] {
    return this.posts.filter(({ path }) => path.endsWith('/reports')).map(({ body }) => JSON.parse(body));
  }

  write(text: string): void {
    this.streams.at(-1)?.response.write(text);
  }

  push(version: number, documents: unknown = [], nonce = `n${++this.#nonce}`): string {
    this.write(`id: ${version}\nevent: policies\ndata: ${JSON.stringify({ version, nonce, documents })}\n\n`);
    return nonce;
  }

  hangUp(): void {
    for (const { response } of this.streams) response.destroy();
  }

  async start(t: Teardown): Promise<this> {
    const server = createServer((request, response) => this.#answer(request, response));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    t.teardown(() => {
      server.closeAllConnections();
      server.close();
    });
    const address = server.address();
    this.url = `http://127.0.0.1:${typeof address === 'object' && address !== null ? address.port : 0}`;
    return this;
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const { url = '', headers } = request;
    if (request.method === 'GET') {
      response.writeHead(this.streamStatus, { 'content-type': 'text/event-stream' });
      if (this.streamStatus !== 200) response.end('no');
      else {
        response.flushHeaders();
        this.streams.push({ response, url, headers });
      }
      return;
    }
    let body = '';
    request.on('data', (chunk: Buffer) => {
      body += chunk.toString();
    });
    request.on('end', () => {
      this.posts.push({ path: url, headers, body });
      if (!this.isSilent) response.writeHead(this.postStatus).end();
    });
  }
}
