// What /v1/openapi.json says about the policy routes. Description only: bodies are judged by parsePolicy, which finds every
// problem where a schema validator stops at the first.

import { POLICY_KINDS } from '#contract/policy/policy.ts';
import { POLICY_SCHEMAS } from '#contract/schema/policy-schema.ts';
import { answer, problemAnswers } from './answers.ts';
import { pageQuerySchema, pageSchema } from './paging.ts';

const tags = ['policies'];
/** Of a write with If-Match or If-None-Match; what every route can answer is added where the document is made. */
const stale = problemAnswers(['OTR_ERR_STALE_REVISION', 'OTR_ERR_INVALID', 'OTR_ERR_ROLLOUT', 'OTR_ERR_BUDGET_SPENT']);
const version = { version: { type: 'integer' } };
const written = {
  revision: { type: 'integer' },
  ...version,
  isChanged: { type: 'boolean' },
  agents: { type: 'object' },
};
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
    force: {
      type: 'string',
      enum: ['true', 'false'],
      description: 'Although too little of an error budget is left for changes',
    },
    message: { type: 'string', maxLength: 500, description: 'Why, for the history' },
  },
};
const documentBody = {
  content: {
    'application/json': { schema: { $ref: '#/components/schemas/PolicyDocument' } },
    'application/yaml': { schema: { $ref: '#/components/schemas/PolicyDocument' } },
  },
};

export const policyRouteSchemas = {
  list: {
    summary: 'All policies in force',
    tags,
    querystring: pageQuerySchema,
    response: { 200: pageSchema('policies', version) },
  },
  get: {
    summary: 'One policy; ETag is its revision',
    tags,
    params: named,
    response: {
      200: answer('the policy', { id: { type: 'string' }, document: { $ref: '#/components/schemas/PolicyDocument' } }),
    },
  },
  put: {
    summary: 'Create or replace a policy (If-Match, If-None-Match)',
    tags,
    params: named,
    querystring: waiting,
    body: documentBody,
    response: { 200: answer('replaced', written), 201: answer('created', written), ...stale },
  },
  remove: {
    summary: 'Remove a policy (If-Match)',
    tags,
    params: named,
    querystring: waiting,
    response: { 200: answer('removed', written), ...stale },
  },
  history: {
    summary: 'Revisions, newest first',
    tags,
    params: named,
    querystring: pageQuerySchema,
    response: { 200: pageSchema('revisions') },
  },
  diff: {
    summary: 'What changed from one revision to another, value by value; by default what the last change did',
    tags,
    params: named,
    querystring: { type: 'object', properties: { from: { type: 'string' }, to: { type: 'string' } } },
    response: { 200: answer('the differences', { differences: { type: 'array' } }) },
  },
  rollback: {
    summary: 'Put a former revision in force again, as a new revision (If-Match)',
    tags,
    params: named,
    querystring: waiting,
    body: { type: 'object', properties: { revision: { type: 'integer', minimum: 1 } }, required: ['revision'] },
    response: { 200: answer('in force', written), ...stale },
  },
  validate: {
    summary: 'Dry run: judge documents against the set in force, store nothing',
    tags,
    body: documentBody,
    response: { 200: answer('what would change', { ...version, changes: { type: 'array' } }) },
  },
  effective: {
    summary: 'What applies to requests of one caller to one service, and which document says so',
    tags,
    params: {
      type: 'object',
      properties: { caller: { type: 'string' }, service: { type: 'string' } },
      required: ['caller', 'service'],
    },
    response: { 200: answer('every value with its origin', { ...version, policy: { type: 'object' } }) },
  },
} as const;

/** Named schemas of the OpenAPI document: the ones that parsePolicy applies. */
export function policyComponents(): Record<string, object> {
  return {
    ...POLICY_SCHEMAS,
    PolicyDocument: { oneOf: POLICY_KINDS.map((kind) => ({ $ref: `#/components/schemas/${kind}` })) },
  };
}
