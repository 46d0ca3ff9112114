// The API as an OpenAPI 3.1 document. What a route declares (schema, roles) is what is written; what holds for every route (its
// problems, its token) is added here, so that no route can forget it.

import swagger from '@fastify/swagger';
import type { FastifyInstance, FastifySchema } from 'fastify';
import { type Access, rolesOf } from '../core/roles.ts';
import { answer, problemAnswers } from './answers.ts';
import { API_ERRORS, type ApiErrorCode } from './problem.ts';
import { policyComponents } from './schemas.ts';

const PROBLEM = {
  type: 'object',
  description: 'RFC 9457. `code` is stable; `detail` is for people and may change',
  required: ['type', 'title', 'status', 'code', 'detail'],
  properties: {
    type: { type: 'string', format: 'uri' },
    title: { type: 'string' },
    status: { type: 'integer' },
    code: { type: 'string', enum: Object.keys(API_ERRORS) },
    detail: { type: 'string' },
    problems: {
      type: 'array',
      description: 'Everything that is wrong with a document, for OTR_ERR_INVALID',
      items: {
        type: 'object',
        required: ['code', 'path', 'message'],
        properties: {
          code: { type: 'string' },
          path: { type: 'string' },
          message: { type: 'string' },
          hint: { type: 'string' },
          line: { type: 'integer' },
          column: { type: 'integer' },
        },
      },
    },
  },
  additionalProperties: true,
};

const RELAY = {
  summary: "Relay to the agent's admin API",
  tags: ['agents'],
  params: { type: 'object', properties: { id: { type: 'string' }, '*': { type: 'string' } }, required: ['id'] },
};

interface Described {
  readonly schema: FastifySchema;
  readonly url: string;
  readonly route: {
    readonly method: string | readonly string[];
    readonly config?: { readonly access?: readonly Access[] };
  };
}

/** Before any route is added: those that were there already are not in the document. */
export async function registerOpenApi(app: FastifyInstance, softwareVersion: string): Promise<void> {
  // Schemas of answers describe; what is sent is what the handler made, whole.
  app.setSerializerCompiler(() => (data) => JSON.stringify(data));
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: { title: 'Outrigger control plane', version: softwareVersion },
      components: {
        schemas: componentSchemas(),
        securitySchemes: { bearer: { type: 'http', scheme: 'bearer' } },
      },
      security: [{ bearer: [] }],
    },
    transform: (described) => ({ schema: describe(described as Described), url: described.url }),
  });
  const schema = {
    summary: 'This document',
    tags: ['health'],
    response: { 200: answer('OpenAPI 3.1') },
  };
  app.get('/v1/openapi.json', { config: { access: ['any'] }, schema }, async () => app.swagger());
}

function componentSchemas(): Record<string, object> {
  return { ...policyComponents(), Problem: PROBLEM };
}

function describe({ schema, url, route }: Described): FastifySchema {
  if ((schema as { hide?: boolean } | undefined)?.hide === true) return schema;
  const access = route.config?.access ?? [];
  const isPublic = access.includes('public');
  const hasBody = [route.method].flat().some((method) => method === 'PUT' || method === 'POST');
  const isRead = [route.method].flat().every((method) => method === 'GET' || method === 'HEAD');
  const codes: ApiErrorCode[] = [
    'OTR_ERR_BAD_REQUEST',
    'OTR_ERR_FOREIGN_HOST',
    'OTR_ERR_INTERNAL',
    'OTR_ERR_UNAVAILABLE',
  ];
  if (!isPublic) codes.push('OTR_ERR_UNAUTHORIZED', 'OTR_ERR_FORBIDDEN', 'OTR_ERR_TOO_MANY_FAILURES');
  if (url.includes(':')) codes.push('OTR_ERR_NOT_FOUND');
  if (hasBody) codes.push('OTR_ERR_TOO_LARGE', 'OTR_ERR_MEDIA_TYPE', 'OTR_ERR_INVALID', 'OTR_ERR_FULL');
  if (!isRead) codes.push('OTR_ERR_OUTCOME_UNKNOWN');
  if (url.includes('/admin')) codes.push('OTR_ERR_AGENT_UNREACHABLE', 'OTR_ERR_AGENT_TIMEOUT');
  return {
    // The relay's routes are made by the proxy, which passes no schema on.
    ...(url.includes('/admin') ? RELAY : {}),
    ...schema,
    ...(isPublic ? { security: [] } : {}),
    'x-outrigger-roles': isPublic ? ['public'] : rolesOf(access),
    response: {
      ...(schema?.response ?? { 200: { description: 'whatever the agent answers' } }),
      ...problemAnswers(codes),
    },
  } as FastifySchema;
}
