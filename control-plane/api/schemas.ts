// What /openapi.json says about the policy routes. Description only: bodies are judged by parsePolicy, which finds every
// problem where a schema validator stops at the first.

import { POLICY_KINDS } from '#contract/policy/policy.ts';
import { POLICY_SCHEMAS } from '#contract/schema/policy-schema.ts';

const tags = ['policies'];
const named = {
  type: 'object',
  properties: { kind: { type: 'string' }, name: { type: 'string' } },
  required: ['kind', 'name'],
};
const waiting = {
  type: 'object',
  properties: {
    wait: { type: 'string', description: 'Answer after every connected agent did, or after this long: 2s' },
    rollout: {
      type: 'string',
      enum: ['staged'],
      description: 'To one agent, 10 %, 50 %, all; back by itself when it does harm',
    },
    soak: { type: 'string', description: 'Time at each stage of the rollout: 1m' },
    message: { type: 'string', maxLength: 500, description: 'Why, for the history' },
  },
};
const problem = {
  description: 'Refused; `code` says why, `problems` lists everything that is wrong with a document',
  content: { 'application/problem+json': { schema: { type: 'object' } } },
};
const ok = (description: string): object => ({
  description,
  content: { 'application/json': { schema: { type: 'object', additionalProperties: true } } },
});
const documentBody = {
  content: {
    'application/json': { schema: { $ref: '#/components/schemas/PolicyDocument' } },
    'application/yaml': { schema: { $ref: '#/components/schemas/PolicyDocument' } },
  },
};

export const policyRouteSchemas = {
  list: { summary: 'All policies in force', tags, response: { 200: ok('version and policies') } },
  get: {
    summary: 'One policy; ETag is its revision',
    tags,
    params: named,
    response: { 200: ok('the policy'), 404: problem },
  },
  put: {
    summary: 'Create or replace a policy (If-Match, If-None-Match)',
    tags,
    params: named,
    querystring: waiting,
    body: documentBody,
    response: {
      200: ok('replaced'),
      201: ok('created'),
      412: problem,
      413: problem,
      422: problem,
      503: problem,
      507: problem,
    },
  },
  remove: {
    summary: 'Remove a policy (If-Match)',
    tags,
    params: named,
    querystring: waiting,
    response: { 200: ok('removed'), 404: problem, 412: problem, 422: problem },
  },
  history: {
    summary: 'Revisions, newest first',
    tags,
    params: named,
    response: { 200: ok('revisions'), 404: problem },
  },
  rollback: {
    summary: 'Put a former revision in force again, as a new revision (If-Match)',
    tags,
    params: named,
    querystring: waiting,
    body: { type: 'object', properties: { revision: { type: 'integer', minimum: 1 } }, required: ['revision'] },
    response: { 200: ok('in force'), 404: problem, 412: problem, 422: problem },
  },
  validate: {
    summary: 'Dry run: judge documents against the set in force, store nothing',
    tags,
    body: documentBody,
    response: { 200: ok('what would change'), 422: problem },
  },
  effective: {
    summary: 'What applies to requests of one caller to one service, and which document says so',
    tags,
    params: {
      type: 'object',
      properties: { caller: { type: 'string' }, service: { type: 'string' } },
      required: ['caller', 'service'],
    },
    response: { 200: ok('every value with its origin') },
  },
} as const;

/** Named schemas of the OpenAPI document: the ones that parsePolicy applies. */
export function policyComponents(): Record<string, object> {
  return {
    ...POLICY_SCHEMAS,
    PolicyDocument: { oneOf: POLICY_KINDS.map((kind) => ({ $ref: `#/components/schemas/${kind}` })) },
  };
}
