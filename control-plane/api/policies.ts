// Reading, writing and explaining policies. The order of a write: parse, judge the set that would be, store durably, and
// only then answer; the hub hears of it from the store.

import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { isServiceName } from '#contract/names.ts';
import { checkConsistency } from '#contract/policy/consistency.ts';
import { parsePolicy } from '#contract/policy/parse-policy.ts';
import { explainPlan } from '#contract/policy/plan.ts';
import { POLICY_KINDS, type PolicyDocument, type PolicyId } from '#contract/policy/policy.ts';
import { parseDuration } from '#contract/text/durations.ts';
import { nearest } from '#contract/text/suggest.ts';
import { diffDocuments, withOrigins } from '../core/document-diff.ts';
import type { Ledger, Tally } from '../core/ledger.ts';
import { pageOf } from '../core/pages.ts';
import { type Condition, etagOf, parseCondition, withDocument, withoutDocument } from '../core/revisions.ts';
import { isActive, type Rollout, SOAK_MS, stableDocuments } from '../core/rollout.ts';
import type { Signal } from '../core/signal.ts';
import {
  type PolicyRevision,
  type PolicySet,
  policyIdOf,
  type Store,
  type StoredPolicy,
  type WriteResult,
} from '../store/store.ts';
import { refuseForeignDocument } from './auth.ts';
import { type FrozenBy, forceOf, refuseWhileFrozen } from './budget-guard.ts';
import { readPageQuery } from './paging.ts';
import { invalid, JSON_TYPE, readPolicies, readPolicy, YAML_TYPES } from './policy-text.ts';
import { ApiError } from './problem.ts';
import type { RolloutControl } from './rollouts.ts';
import { policyRouteSchemas as schemas } from './schemas.ts';

export interface PolicyRoutesOptions {
  readonly store: Store;
  readonly ledger: Ledger;
  /** Emitted whenever a verdict arrived or a stream opened or closed. */
  readonly verdicts: Signal;
  readonly rollouts: RolloutControl;
  /** The service whose error budget holds back a change of a document; null: none does. */
  readonly frozenBy: FrozenBy;
}

/** `?wait=` may not keep a connection longer than this. */
const LONGEST_WAIT_MS = 30_000;
/** How often a write is judged anew because a write of another replica came between. */
const WRITE_ATTEMPTS = 64;
/** Time at each stage of a rollout; agents report every 2 s. */
const SHORTEST_SOAK_MS = 1_000;
const LONGEST_SOAK_MS = 86_400_000;
/** `?message=` is for a line or two, not for a document. */
const LONGEST_MESSAGE = 500;

interface Named {
  readonly Params: { readonly kind: string; readonly name: string };
  readonly Querystring: {
    readonly wait?: string;
    readonly message?: string;
    readonly rollout?: string;
    readonly soak?: string;
    readonly force?: string;
  };
}

/** One after the other: writes of one control plane that judge the same set could only send each other back. */
type InTurn = <T>(write: () => Promise<T>) => Promise<T>;

export async function policyRoutes(app: FastifyInstance, routeOptions: PolicyRoutesOptions): Promise<void> {
  const { store } = routeOptions;
  const options = { ...routeOptions, inTurn: createTurns() };
  for (const type of [JSON_TYPE, ...YAML_TYPES]) {
    app.addContentTypeParser(type, { parseAs: 'string' }, async (_request: FastifyRequest, text: string) => ({
      text,
      isJson: type === JSON_TYPE,
    }));
  }
  // Schemas here describe; parsePolicy and the handlers judge.
  app.setValidatorCompiler(() => () => true);
  const readers = { config: { access: ['viewer'] as const } };
  const editors = { config: { access: ['editor'] as const } };

  app.get('/v1/policies', { ...readers, schema: schemas.list }, async (request) => {
    const { version, policies } = await store.list();
    const { items, nextCursor } = pageOf(policies.map(viewOf), ({ id }) => id, readPageQuery(request.query));
    return { version, policies: items, nextCursor };
  });

  app.get<Named>('/v1/policies/:kind/:name', { ...readers, schema: schemas.get }, async (request, reply) => {
    const policy = await store.get(idOf(request.params));
    if (policy === null) throw notFound(idOf(request.params));
    reply.header('etag', etagOf(policy.revision));
    if (request.headers['if-none-match'] === etagOf(policy.revision)) return reply.code(304).send();
    return viewOf(policy);
  });

  app.put<Named>('/v1/policies/:kind/:name', { ...editors, schema: schemas.put }, async (request, reply) => {
    const id = idOf(request.params);
    const document = readPolicy(request.body);
    refuseOtherName(document, id);
    return change(request, reply, options, document);
  });

  app.delete<Named>('/v1/policies/:kind/:name', { ...editors, schema: schemas.remove }, async (request, reply) =>
    change(request, reply, options, null),
  );

  app.get<Named>('/v1/policies/:kind/:name/history', { ...readers, schema: schemas.history }, async (request) => {
    const revisions = await store.history(idOf(request.params));
    if (revisions.length === 0) throw notFound(idOf(request.params));
    const { items, nextCursor } = pageOf(revisions, newestFirst, readPageQuery(request.query));
    return { revisions: items, nextCursor };
  });

  app.get<Named & { Querystring: { from?: string; to?: string } }>(
    '/v1/policies/:kind/:name/diff',
    { ...readers, schema: schemas.diff },
    async (request) => {
      const id = idOf(request.params);
      const revisions = await store.history(id);
      const [latest] = revisions;
      if (latest === undefined) throw notFound(id);
      const to = revisionNumber(request.query.to, 'to') ?? latest.revision;
      const from = revisionNumber(request.query.from, 'from') ?? to - 1;
      // Before the first revision there was no document.
      const before = from === 0 ? null : revisionOf(revisions, id, from).document;
      return { from, to, differences: diffDocuments(before, revisionOf(revisions, id, to).document) };
    },
  );

  app.post<Named>(
    '/v1/policies/:kind/:name/rollback',
    { ...editors, schema: schemas.rollback },
    async (request, reply) => {
      const document = await formerDocument(store, idOf(request.params), revisionIn(request.body));
      // What puts a former document back mends something, and is let through.
      return change(request, reply, options, document, true);
    },
  );

  // `::` is a literal colon to the router.
  const dry = { config: { ...readers.config, audit: 'off' as const } };
  app.post('/v1/policies::validate', { ...dry, schema: schemas.validate }, async (request) => {
    const { version, policies } = await store.list();
    return { version, changes: dryRun(readPolicies(request.body), policies) };
  });

  app.get<{ Params: { caller: string; service: string } }>(
    '/v1/effective/:caller/:service',
    { ...readers, schema: schemas.effective },
    async (request) => {
      const { caller, service } = request.params;
      for (const name of [caller, service]) {
        if (!isServiceName(name)) throw new ApiError('OTR_ERR_BAD_REQUEST', 'caller and service must be service names');
      }
      const { version, policies } = await store.list();
      const revisions = new Map(policies.map((policy) => [policyIdOf(policy.document), policy.revision]));
      const plan = explainPlan(documentsOf(policies), caller, service);
      return { version, ...(withOrigins(plan, revisions) as typeof plan) };
    },
  );
}

function createTurns(): InTurn {
  let last: Promise<unknown> = Promise.resolve();
  return (write) => {
    const turn = last.then(write);
    last = turn.catch(() => undefined);
    return turn;
  };
}

interface Wish {
  readonly id: PolicyId;
  /** Null removes. */
  readonly document: PolicyDocument | null;
  readonly message: string;
  /** Record of a rollout over the set that is being changed; null: at once and everywhere. */
  readonly begin: ((set: PolicySet) => Rollout) | null;
}

/** Judges the whole set first, and again when another write came between. */
async function write(store: Store, request: FastifyRequest, wish: Wish): Promise<WriteResult> {
  const ifMatch = conditionOf(request);
  const { id, document, message, begin } = wish;
  for (let attempt = 0; attempt < WRITE_ATTEMPTS; attempt++) {
    const set: PolicySet = await store.list();
    refuseDuringRollout(set, id, begin !== null);
    const documents = documentsOf(set.policies);
    const next = document === null ? withoutDocument(documents, id) : withDocument(documents, document);
    // During a rollout the set is in force in two forms, and both must hold.
    const other = isActive(set.rollout) ? stableDocuments(next, set.rollout) : null;
    const problems = [...checkConsistency(next), ...(other === null ? [] : checkConsistency(other))];
    if (problems.length > 0) throw invalid(problems);
    const rollout = begin === null ? {} : { rollout: begin(set) };
    const options = { ifMatch, ifVersion: set.version, author: request.operator, message, ...rollout };
    const result = document === null ? await store.remove(id, options) : await store.put(document, options);
    if (result.kind === 'stale') throw stale(id, result.revision);
    if (result.kind === 'missing') throw notFound(id);
    if (result.kind !== 'moved') return result;
  }
  throw new ApiError('OTR_ERR_UNAVAILABLE', `other writes kept coming between; try again`);
}

/** One at a time, because two changes at once could not be told apart by what they do to the agents. */
function refuseDuringRollout({ rollout }: PolicySet, id: PolicyId, isRollout: boolean): void {
  if (!isActive(rollout) || (rollout.policy !== id && !isRollout)) return;
  const what = `rollout ${rollout.id} of ${rollout.policy} is ${rollout.state}`;
  throw new ApiError('OTR_ERR_ROLLOUT', `${what}; wait for its end or abort it`, null, { rollout: rollout.id });
}

async function change(
  request: FastifyRequest<Named>,
  reply: FastifyReply,
  { store, ledger, verdicts, rollouts, frozenBy, inTurn }: PolicyRoutesOptions & { readonly inTurn: InTurn },
  document: PolicyDocument | null,
  isMending = false,
): Promise<unknown> {
  refuseForeignDocument(request, request.params.kind, request.params.name);
  // Judged before the write: an answer of 400 must mean that nothing happened.
  const waitMs = waitOf(request.query.wait);
  const message = messageOf(request.query.message);
  const id = idOf(request.params);
  if (!isMending && !forceOf(request.query.force)) refuseWhileFrozen(id, frozenBy);
  const soakMs = soakOf(request.query);
  const begin =
    soakMs === null ? null : (set: PolicySet) => rollouts.begin(set, id, document, request.operator, soakMs);
  const result = await inTurn(() => write(store, request, { id, document, message, begin }));
  if (result.kind !== 'written') throw new Error(`write ended as ${result.kind}`);
  const agents = waitMs === 0 ? ledger.tally(result.version) : await settled(ledger, verdicts, result.version, waitMs);
  if (request.method !== 'DELETE') reply.header('etag', etagOf(result.revision));
  return reply
    .code(result.isCreated ? 201 : 200)
    .send({ revision: result.revision, version: result.version, isChanged: result.isChanged, agents });
}

/** Waits until every connected agent answered the version, or the time is over. */
async function settled(ledger: Ledger, verdicts: Signal, version: number, waitMs: number): Promise<Tally> {
  const isSettled = (): boolean => {
    const { wanted, applied, rejected } = ledger.tally(version);
    return applied + rejected >= wanted;
  };
  if (!isSettled()) {
    await new Promise<void>((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        stopListening();
        resolve();
      };
      const timer = setTimeout(done, waitMs);
      const stopListening = verdicts.listen(() => {
        if (isSettled()) done();
      });
    });
  }
  return ledger.tally(version);
}

function dryRun(documents: readonly PolicyDocument[], policies: readonly StoredPolicy[]): unknown[] {
  // Put one after the other, as they would be; two of the same name in one body are a problem, not a sequence.
  const problems = checkConsistency(documents).filter(({ code }) => code === 'OTR_DUPLICATE');
  const next = documents.reduce((set: readonly PolicyDocument[], one) => withDocument(set, one), documentsOf(policies));
  problems.push(...checkConsistency(next));
  if (problems.length > 0) throw invalid(problems);
  return documents.map((document) => {
    const id = `${document.kind}/${document.metadata.name}`;
    const current = policies.find(({ document: { kind, metadata } }) => `${kind}/${metadata.name}` === id);
    const isSame = current !== undefined && JSON.stringify(current.document) === JSON.stringify(document);
    const differences = diffDocuments(current?.document ?? null, document);
    return { id, change: current === undefined ? 'create' : isSame ? 'none' : 'update', differences };
  });
}

async function formerDocument(store: Store, id: PolicyId, revision: number): Promise<PolicyDocument> {
  const history = await store.history(id);
  if (history.length === 0) throw notFound(id);
  const former = revisionOf(history, id, revision);
  if (former.document === null) {
    throw invalid([{ code: 'OTR_INCONSISTENT', path: 'revision', message: `revision ${revision} is a removal` }]);
  }
  // What was valid when it was written need not be valid for this version.
  const parsed = parsePolicy(former.document);
  if (!parsed.ok) throw invalid(parsed.problems);
  return parsed.value;
}

function revisionOf(history: readonly PolicyRevision[], id: PolicyId, revision: number): PolicyRevision {
  const found = history.find((one) => one.revision === revision);
  if (found !== undefined) return found;
  throw new ApiError('OTR_ERR_NOT_FOUND', `${id} has no revision ${revision} in its history`);
}

/** Null when it is not said. */
function revisionNumber(text: unknown, name: string): number | null {
  if (text === undefined) return null;
  if (typeof text === 'string' && /^\d{1,15}$/.test(text)) return Number(text);
  throw new ApiError('OTR_ERR_BAD_REQUEST', `${name} must be the number of a revision`);
}

function revisionIn(body: unknown): number {
  const text = typeof body === 'object' && body !== null && 'text' in body ? String(body.text) : '';
  try {
    const value: unknown = JSON.parse(text);
    const revision = typeof value === 'object' && value !== null && 'revision' in value ? value.revision : null;
    if (typeof revision === 'number' && Number.isSafeInteger(revision) && revision > 0) return revision;
  } catch {
    // Not JSON is the same mistake as a JSON without the number.
  }
  throw new ApiError('OTR_ERR_BAD_REQUEST', 'the body must be {"revision": N}, one of the history');
}

function idOf({ kind, name }: { readonly kind: string; readonly name: string }): PolicyId {
  const known = POLICY_KINDS.find((one) => one === kind);
  if (known !== undefined) return `${known}/${name}`;
  const suggestion = nearest(kind, POLICY_KINDS);
  const hint = suggestion === null ? '' : `; did you mean ${suggestion}?`;
  throw new ApiError(
    'OTR_ERR_NOT_FOUND',
    `there is no kind ${kind.slice(0, 64)}, only ${POLICY_KINDS.join(', ')}${hint}`,
  );
}

function refuseOtherName({ kind, metadata }: PolicyDocument, id: PolicyId): void {
  const [urlKind, urlName] = [id.slice(0, id.indexOf('/')), id.slice(id.indexOf('/') + 1)];
  const problems = [];
  const code = 'OTR_INCONSISTENT' as const;
  if (kind !== urlKind) problems.push({ code, path: 'kind', message: `is ${kind}, the URL says ${urlKind}` });
  if (metadata.name !== urlName) {
    problems.push({ code, path: 'metadata.name', message: `is ${metadata.name}, the URL says ${urlName}` });
  }
  if (problems.length > 0) throw invalid(problems);
}

function conditionOf(request: FastifyRequest): Condition {
  const { 'if-match': ifMatch, 'if-none-match': ifNoneMatch } = request.headers;
  const condition = parseCondition(ifMatch, ifNoneMatch);
  if (condition !== null) return condition;
  throw new ApiError('OTR_ERR_STALE_REVISION', 'If-Match must be one "<revision>" or *, If-None-Match must be *');
}

/** Null: no rollout is asked for. */
function soakOf({ rollout, soak }: Named['Querystring']): number | null {
  if (rollout === undefined && soak === undefined) return null;
  if (rollout !== 'staged') throw new ApiError('OTR_ERR_BAD_REQUEST', 'rollout must be staged; soak goes with it');
  const soakMs = soak === undefined ? SOAK_MS : parseDuration(soak);
  if (soakMs !== null && soakMs >= SHORTEST_SOAK_MS && soakMs <= LONGEST_SOAK_MS) return soakMs;
  throw new ApiError('OTR_ERR_BAD_REQUEST', 'soak must be a duration between 1s and 1d');
}

function waitOf(text: string | undefined): number {
  if (text === undefined) return 0;
  const waitMs = parseDuration(text);
  if (waitMs === null) throw new ApiError('OTR_ERR_BAD_REQUEST', 'wait must be a duration like 2s');
  return Math.min(waitMs, LONGEST_WAIT_MS);
}

function messageOf(text: string | readonly string[] = ''): string {
  // Control characters could draw on a terminal that shows the history.
  const isFine = typeof text === 'string' && text.length <= LONGEST_MESSAGE && !/\p{Cc}/u.test(text);
  if (isFine) return text;
  throw new ApiError(
    'OTR_ERR_BAD_REQUEST',
    `message must be one text of at most ${LONGEST_MESSAGE} characters in one line`,
  );
}

/** Key of a page: larger revisions come first. */
function newestFirst({ revision }: { readonly revision: number }): string {
  return String(Number.MAX_SAFE_INTEGER - revision).padStart(16, '0');
}

function viewOf(policy: StoredPolicy): StoredPolicy & { readonly id: string } {
  return { id: `${policy.document.kind}/${policy.document.metadata.name}`, ...policy };
}

function documentsOf(policies: readonly StoredPolicy[]): PolicyDocument[] {
  return policies.map(({ document }) => document);
}

function notFound(id: PolicyId): ApiError {
  return new ApiError('OTR_ERR_NOT_FOUND', `there is no ${id}`);
}

function stale(id: PolicyId, revision: number | null): ApiError {
  const now = revision === null ? 'does not exist' : `is at revision ${revision}`;
  return new ApiError('OTR_ERR_STALE_REVISION', `${id} ${now}`, null, { revision });
}
