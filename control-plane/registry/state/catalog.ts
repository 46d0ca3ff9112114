// Nodes, services and checks with Consul's index arithmetic: one index a table, one a service, one for the last service that
// went extinct. Pure state: indexes are handed in by the store, waiters and sessions are told through two callbacks.

import { isDeepStrictEqual } from 'node:util';
import type { CheckInput, CheckRow, NodeInput, NodeRow, Result, ServiceInput, ServiceRow } from './model.ts';
import { refused } from './model.ts';

export interface CatalogEvents {
  /** Something in the catalog changed. */
  touched(): void;
  /** A check turned critical or went away: sessions bound to it end in the same write. */
  checkLost(index: number, node: string, checkId: string): void;
  nodeLost(index: number, node: string): void;
}

interface NodeShelf {
  row: NodeRow;
  readonly services: Map<string, ServiceRow>;
  readonly checks: Map<string, CheckRow>;
}

export interface HealthEntry {
  readonly Node: NodeRow;
  readonly Service: ServiceRow;
  readonly Checks: readonly CheckRow[];
}

type Table = 'nodes' | 'services' | 'checks';

export class Catalog {
  readonly #events: CatalogEvents;
  readonly #shelves = new Map<string, NodeShelf>();
  readonly #tables: Record<Table, number> = { nodes: 0, services: 0, checks: 0 };
  /** Lower-cased service name → index of the last change that a reader of that service could see. */
  readonly #serviceIndexes = new Map<string, number>();
  #lastExtinction = 0;

  constructor(events: CatalogEvents) {
    this.#events = events;
  }

  // --- writes; each is a no-op without a new index when nothing would change ---

  ensureNode(index: number, input: NodeInput): void {
    const shelf = this.#shelves.get(key(input.Node));
    if (shelf === undefined) {
      const row = { ...input, CreateIndex: index, ModifyIndex: index };
      this.#shelves.set(key(input.Node), { row, services: new Map(), checks: new Map() });
    } else {
      if (isSame(shelf.row, input)) return;
      shelf.row = { ...input, CreateIndex: shelf.row.CreateIndex, ModifyIndex: index };
      this.#moveServicesOf(shelf, index);
    }
    this.#move('nodes', index);
  }

  ensureService(index: number, node: string, input: ServiceInput): Result<null> {
    const shelf = this.#shelves.get(key(node));
    if (shelf === undefined) return refused('Missing node registration');
    const former = shelf.services.get(input.ID);
    if (former !== undefined && isSame(former, input)) return { ok: true, value: null };
    const CreateIndex = former?.CreateIndex ?? index;
    shelf.services.set(input.ID, { ...input, Node: shelf.row.Node, CreateIndex, ModifyIndex: index });
    if (former !== undefined && key(former.Service) !== key(input.Service)) this.#retire(former.Service, index);
    this.#serviceIndexes.set(key(input.Service), index);
    this.#move('services', index);
    return { ok: true, value: null };
  }

  /** Fills in the service's name and tags, so a check always agrees with the service it belongs to. */
  ensureCheck(index: number, input: CheckInput): Result<null> {
    const shelf = this.#shelves.get(key(input.Node));
    if (shelf === undefined) return refused('Missing node registration');
    const service = input.ServiceID === '' ? undefined : shelf.services.get(input.ServiceID);
    if (input.ServiceID !== '' && service === undefined) return refused('Missing service registration');
    const full = { ...input, ServiceName: service?.Service ?? '', ServiceTags: service?.Tags ?? [] };
    const former = shelf.checks.get(full.CheckID);
    if (former !== undefined && isSame(former, full)) return { ok: true, value: null };
    const CreateIndex = former?.CreateIndex ?? index;
    shelf.checks.set(full.CheckID, { ...full, CreateIndex, ModifyIndex: index });
    if (service === undefined) this.#moveServicesOf(shelf, index);
    else this.#serviceIndexes.set(key(service.Service), index);
    this.#move('checks', index);
    if (full.Status === 'critical') this.#events.checkLost(index, full.Node, full.CheckID);
    return { ok: true, value: null };
  }

  deleteService(index: number, node: string, id: string): void {
    const shelf = this.#shelves.get(key(node));
    const former = shelf?.services.get(id);
    if (shelf === undefined || former === undefined) return;
    for (const check of [...shelf.checks.values()]) {
      if (check.ServiceID === id) this.deleteCheck(index, node, check.CheckID);
    }
    shelf.services.delete(id);
    this.#retire(former.Service, index);
    this.#move('services', index);
  }

  deleteCheck(index: number, node: string, checkId: string): void {
    const shelf = this.#shelves.get(key(node));
    const former = shelf?.checks.get(checkId);
    if (shelf === undefined || former === undefined) return;
    shelf.checks.delete(checkId);
    if (former.ServiceID === '') this.#moveServicesOf(shelf, index);
    else this.#serviceIndexes.set(key(former.ServiceName), index);
    this.#move('checks', index);
    this.#events.checkLost(index, node, checkId);
  }

  deleteNode(index: number, node: string): void {
    const shelf = this.#shelves.get(key(node));
    if (shelf === undefined) return;
    for (const id of [...shelf.services.keys()]) this.deleteService(index, node, id);
    for (const id of [...shelf.checks.keys()]) this.deleteCheck(index, node, id);
    this.#shelves.delete(key(node));
    this.#move('nodes', index);
    this.#events.nodeLost(index, shelf.row.Node);
  }

  // --- reads; rows come in Consul's order: by node, then by id ---

  nodes(): NodeRow[] {
    return this.#sortedShelves().map((shelf) => shelf.row);
  }

  node(name: string): NodeRow | null {
    return this.#shelves.get(key(name))?.row ?? null;
  }

  servicesOf(node: string): ServiceRow[] {
    return sorted(this.#shelves.get(key(node))?.services);
  }

  checksOf(node: string): CheckRow[] {
    return sorted(this.#shelves.get(key(node))?.checks);
  }

  /** O(instances of all services): a laptop's registry, not a datacenter's. */
  instances(service: string): { node: NodeRow; service: ServiceRow }[] {
    const wanted = key(service);
    return this.#sortedShelves().flatMap((shelf) =>
      sorted(shelf.services)
        .filter((row) => key(row.Service) === wanted)
        .map((row) => ({ node: shelf.row, service: row })),
    );
  }

  /** Instances with the checks of their node first and then their own, as Consul lists them. */
  health(service: string): HealthEntry[] {
    return this.instances(service).map(({ node, service: row }) => {
      const checks = this.checksOf(node.Node);
      const ofNode = checks.filter((check) => check.ServiceID === '');
      return { Node: node, Service: row, Checks: [...ofNode, ...checks.filter((check) => check.ServiceID === row.ID)] };
    });
  }

  checks(): CheckRow[] {
    return this.#sortedShelves().flatMap((shelf) => sorted(shelf.checks));
  }

  /** Service name → union of its instances' tags. */
  serviceTags(): Record<string, string[]> {
    const tags = new Map<string, Set<string>>();
    for (const shelf of this.#sortedShelves()) {
      for (const row of sorted(shelf.services)) {
        const seen = tags.get(row.Service) ?? new Set<string>();
        for (const tag of row.Tags) seen.add(tag);
        tags.set(row.Service, seen);
      }
    }
    return Object.fromEntries([...tags].map(([name, seen]) => [name, [...seen]]));
  }

  // --- indexes ---

  tableIndex(...tables: readonly Table[]): number {
    return Math.max(...tables.map((table) => this.#tables[table]));
  }

  /**
   * Index of a result set about one service. A service without instances has the index of the last extinction of any service,
   * so a watcher sees its own service go; before any extinction it has the catalog's.
   */
  serviceIndex(service: string, withChecks: boolean): number {
    const own = this.#serviceIndexes.get(key(service));
    if (own !== undefined) return own;
    if (this.#lastExtinction > 0) return this.#lastExtinction;
    return withChecks ? this.tableIndex('nodes', 'services', 'checks') : this.tableIndex('nodes', 'services');
  }

  #move(table: Table, index: number): void {
    this.#tables[table] = index;
    this.#events.touched();
  }

  #moveServicesOf(shelf: NodeShelf, index: number): void {
    for (const row of shelf.services.values()) this.#serviceIndexes.set(key(row.Service), index);
  }

  /** After an instance left: the service's index moves, or, when it was the last one, the extinction index does. */
  #retire(service: string, index: number): void {
    if (this.instances(service).length > 0) {
      this.#serviceIndexes.set(key(service), index);
    } else {
      this.#serviceIndexes.delete(key(service));
      this.#lastExtinction = index;
    }
  }

  #sortedShelves(): NodeShelf[] {
    return [...this.#shelves].sort(byKey).map(([, shelf]) => shelf);
  }
}

/** Consul's lookups of nodes and services ignore case. */
function key(name: string): string {
  return name.toLowerCase();
}

function byKey(a: readonly [string, unknown], b: readonly [string, unknown]): number {
  return a[0] < b[0] ? -1 : 1;
}

function sorted<T>(rows: ReadonlyMap<string, T> | undefined): T[] {
  return rows === undefined ? [] : [...rows].sort(byKey).map(([, row]) => row);
}

/** Whether a write of `input` over `row` would change anything but the indexes. */
function isSame(row: object, input: object): boolean {
  const { CreateIndex: _created, ModifyIndex: _modified, ...content } = row as Record<string, unknown>;
  // A service row also carries the name of its node, which is part of its place and not of its content.
  if (!('Node' in input)) delete content.Node;
  return isDeepStrictEqual(content, { ...input });
}
