// A north-south gateway in Fastify: everything outside needs a key, pages of one origin may call, and what comes through goes to the
// mesh. Start it with:  GATEWAY_KEY=… node examples/gateway/gateway.ts   (Consul at 127.0.0.1:8500)

import { timingSafeEqual } from 'node:crypto';
import { type FastifyInstance, fastify } from 'fastify';
import { type MeshOptions, mesh } from '../../gateway/fastify.ts';

export interface GatewayOptions {
  /** What callers put into `Authorization: Bearer …`. */
  readonly key: string;
  /** Whose pages may call, `https://shop.example`. */
  readonly origin: string;
  readonly mesh: MeshOptions;
}

export async function createGateway({ key, origin, mesh: options }: GatewayOptions): Promise<FastifyInstance> {
  const app = fastify({ logger: { level: 'warn' } });
  // CORS by hand, so that the example needs no more packages; @fastify/cors goes in the same place.
  app.addHook('onRequest', async (request, reply) => {
    if (request.headers.origin !== origin) return;
    reply.headers({ 'access-control-allow-origin': origin, vary: 'Origin' });
    if (request.method !== 'OPTIONS' || request.headers['access-control-request-method'] === undefined) return;
    return reply.code(204).header('access-control-allow-headers', 'authorization').send();
  });
  app.addHook('onRequest', async (request, reply) => {
    if (isSame(request.headers.authorization ?? '', `Bearer ${key}`)) return;
    return reply.code(401).header('www-authenticate', 'Bearer').send({ error: 'a key is needed' });
  });
  await app.register(mesh, options);
  return app;
}

function isSame(given: string, wanted: string): boolean {
  const [left, right] = [Buffer.from(given), Buffer.from(wanted)];
  return left.length === right.length && timingSafeEqual(left, right);
}

if (process.argv[1] === import.meta.filename) {
  const { GATEWAY_KEY: key = '', GATEWAY_ORIGIN: origin = 'http://localhost:8080' } = process.env;
  if (key.length < 16) {
    console.error('set GATEWAY_KEY to at least 16 characters');
    process.exit(2);
  }
  const routes = [{ prefix: '/orders', service: 'orders' }];
  const options = { caller: 'gateway', routes, consul: { url: 'http://127.0.0.1:8500' } };
  const app = await createGateway({ key, origin, mesh: options });
  await app.listen({ host: '127.0.0.1', port: 8080 });
  console.log('gateway at http://127.0.0.1:8080/orders');
}
