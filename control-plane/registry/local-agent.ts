// What Consul calls the agent: services and checks registered here, written through to the catalog in the same write.
// The one place that joins registrations, the schedule of checks and the catalog.

import type { CheckSchedule } from './check-schedule.ts';
import type { CheckDefinition, Outcome } from './definitions.ts';
import { bad } from './definitions.ts';
import type { CheckInput, CheckStatus, NodeInput, ServiceInput } from './state/model.ts';
import type { Store } from './state/store.ts';
import type { After, Random } from './time.ts';

/** A new output under the same status reaches the catalog late, so that chatty checks do not wake every watcher. */
const OUTPUT_SYNC_MS = 300_000;

interface LocalCheck {
  readonly input: CheckInput;
  readonly deregisterAfterMs: number | null;
}

interface Timers {
  deregister: (() => void) | null;
  output: (() => void) | null;
}

export class LocalAgent {
  readonly node: NodeInput;
  readonly #store: Store;
  readonly #after: After;
  readonly #random: Random;
  readonly #schedule: CheckSchedule;
  readonly #services = new Map<string, ServiceInput>();
  readonly #checks = new Map<string, LocalCheck>();
  readonly #timers = new Map<string, Timers>();

  /** Puts its own node and a passing serfHealth check into the catalog. */
  constructor(options: { node: NodeInput; store: Store; after: After; random: Random; schedule: CheckSchedule }) {
    this.node = options.node;
    this.#store = options.store;
    this.#after = options.after;
    this.#random = options.random;
    this.#schedule = options.schedule;
    this.#store.write((index) => {
      this.#store.catalog.ensureNode(index, this.node);
      const serf = { ...this.#blankCheck('serfHealth', 'Serf Health Status', ''), Type: '' };
      this.#store.catalog.ensureCheck(index, { ...serf, Status: 'passing', Output: 'Agent alive and reachable' });
    });
  }

  services(): ServiceInput[] {
    return [...this.#services.values()].sort((a, b) => (a.ID < b.ID ? -1 : 1));
  }

  service(id: string): ServiceInput | null {
    return this.#services.get(id) ?? null;
  }

  checks(): CheckInput[] {
    const own = [...this.#checks.values()].map(({ input }) => this.#withService(input));
    return own.sort((a, b) => (a.CheckID < b.CheckID ? -1 : 1));
  }

  /**
   * Registers or replaces a service with its checks. A check that was there keeps its status and output, whatever the
   * registration says; checks that are not named stay, unless `replaceChecks`.
   */
  registerService(service: ServiceInput, definitions: readonly CheckDefinition[], replaceChecks: boolean): void {
    const named = definitions.map((definition, position) => {
      const generated = definitions.length === 1 ? `service:${service.ID}` : `service:${service.ID}:${position + 1}`;
      const name = definition.name === '' ? `Service '${service.Service}' check` : definition.name;
      return { ...definition, id: definition.id === '' ? generated : definition.id, name, serviceId: service.ID };
    });
    const kept = new Set(named.map(({ id }) => id));
    this.#services.set(service.ID, service);
    const gone = replaceChecks
      ? this.#checksOf(service.ID).filter((id) => !kept.has(id) && id !== maintenanceId(service.ID))
      : [];
    for (const id of gone) this.#forgetCheck(id);
    for (const definition of named) this.#rememberCheck(definition);
    this.#store.write((index) => {
      const { catalog } = this.#store;
      catalog.ensureNode(index, this.node);
      catalog.ensureService(index, this.node.Node, service);
      for (const id of gone) catalog.deleteCheck(index, this.node.Node, id);
      for (const id of this.#checksOf(service.ID)) this.#writeCheck(index, id);
    });
    this.#store.touchAgent();
  }

  /** Takes a service and its checks out; unknown ids do nothing, as in Consul. */
  deregisterService(id: string): void {
    for (const checkId of this.#checksOf(id)) this.#forgetCheck(checkId);
    if (!this.#services.delete(id)) return;
    this.#store.write((index) => this.#store.catalog.deleteService(index, this.node.Node, id));
    this.#store.touchAgent();
  }

  registerCheck(definition: CheckDefinition): Outcome<null> {
    if (definition.name === '') return bad(400, 'Missing check name');
    if (definition.serviceId !== '' && !this.#services.has(definition.serviceId)) {
      return bad(500, `ServiceID ${JSON.stringify(definition.serviceId)} does not exist`);
    }
    const id = definition.id === '' ? definition.name : definition.id;
    this.#rememberCheck({ ...definition, id });
    this.#syncCheck(id);
    return { ok: true, value: null };
  }

  deregisterCheck(id: string): void {
    if (!this.#checks.has(id)) return;
    this.#forgetCheck(id);
    this.#store.write((index) => this.#store.catalog.deleteCheck(index, this.node.Node, id));
    this.#store.touchAgent();
  }

  beat(id: string, status: CheckStatus, output: string): Outcome<null> {
    if (this.#schedule.beat(id, status, output)) return { ok: true, value: null };
    return bad(500, `CheckID ${JSON.stringify(id)} does not have associated TTL`);
  }

  /** A result of the schedule. Only a new status is a change for the catalog at once. */
  report(id: string, status: CheckStatus, output: string): void {
    const former = this.#checks.get(id);
    if (former === undefined) return;
    if (former.input.Status === status && former.input.Output === output) return;
    this.#checks.set(id, { ...former, input: { ...former.input, Status: status, Output: output } });
    this.#armDeregistration(id);
    if (former.input.Status === status) this.#syncLater(id);
    else this.#syncCheck(id);
  }

  /** @param serviceId null for the whole node */
  setMaintenance(serviceId: string | null, isOn: boolean, reason: string): Outcome<null> {
    if (serviceId !== null && !this.#services.has(serviceId)) {
      return bad(404, `No service registered with ID ${JSON.stringify(serviceId)}`);
    }
    const id = serviceId === null ? '_node_maintenance' : maintenanceId(serviceId);
    if (!isOn) {
      this.deregisterCheck(id);
    } else if (!this.#checks.has(id)) {
      const [scope, name] =
        serviceId === null ? ['node', 'Node Maintenance Mode'] : ['service', 'Service Maintenance Mode'];
      const silent = `Maintenance mode is enabled for this ${scope}, but no reason was provided. This is a default message.`;
      const blank = this.#blankCheck(id, name, serviceId ?? '');
      const input = { ...blank, Notes: reason === '' ? silent : reason, Type: 'maintenance' };
      this.#checks.set(id, { input, deregisterAfterMs: null });
      this.#syncCheck(id);
    }
    return { ok: true, value: null };
  }

  /** Cancels every timer of its own; the schedule is stopped by its owner. */
  close(): void {
    for (const id of [...this.#timers.keys()]) this.#cancelTimers(id);
  }

  #rememberCheck(definition: CheckDefinition): void {
    const former = this.#checks.get(definition.id)?.input;
    const input: CheckInput = {
      ...this.#blankCheck(definition.id, definition.name, definition.serviceId),
      Notes: definition.notes,
      Type: definition.probe.kind,
      Status: former?.Status ?? definition.status,
      Output: former?.Output ?? '',
    };
    this.#checks.set(definition.id, { input, deregisterAfterMs: definition.deregisterAfterMs });
    this.#cancelTimers(definition.id);
    this.#schedule.start(definition.id, definition);
    this.#armDeregistration(definition.id);
  }

  #forgetCheck(id: string): void {
    this.#schedule.stop(id);
    this.#cancelTimers(id);
    this.#checks.delete(id);
  }

  /** A service whose check stays critical for its time is taken out; the time runs from the first critical result. */
  #armDeregistration(id: string): void {
    const check = this.#checks.get(id);
    if (check === undefined || check.deregisterAfterMs === null || check.input.ServiceID === '') return;
    const timers = this.#timersOf(id);
    if (check.input.Status !== 'critical') {
      timers.deregister?.();
      timers.deregister = null;
    } else {
      const { ServiceID } = check.input;
      timers.deregister ??= this.#after(check.deregisterAfterMs, () => this.deregisterService(ServiceID));
    }
  }

  #syncLater(id: string): void {
    const delayMs = OUTPUT_SYNC_MS / 2 + this.#random() * OUTPUT_SYNC_MS;
    this.#timersOf(id).output ??= this.#after(delayMs, () => this.#syncCheck(id));
    this.#store.touchAgent();
  }

  #syncCheck(id: string): void {
    const timers = this.#timers.get(id);
    timers?.output?.();
    if (timers !== undefined) timers.output = null;
    this.#store.write((index) => this.#writeCheck(index, id));
    this.#store.touchAgent();
  }

  #writeCheck(index: number, id: string): void {
    const check = this.#checks.get(id);
    if (check !== undefined) this.#store.catalog.ensureCheck(index, check.input);
  }

  #checksOf(serviceId: string): string[] {
    return [...this.#checks.values()]
      .filter(({ input }) => input.ServiceID === serviceId)
      .map(({ input }) => input.CheckID);
  }

  #withService(input: CheckInput): CheckInput {
    const service = this.#services.get(input.ServiceID);
    return { ...input, ServiceName: service?.Service ?? '', ServiceTags: service?.Tags ?? [] };
  }

  #timersOf(id: string): Timers {
    const timers = this.#timers.get(id) ?? { deregister: null, output: null };
    this.#timers.set(id, timers);
    return timers;
  }

  #cancelTimers(id: string): void {
    const timers = this.#timers.get(id);
    timers?.deregister?.();
    timers?.output?.();
    this.#timers.delete(id);
  }

  #blankCheck(id: string, name: string, serviceId: string): CheckInput {
    return {
      Node: this.node.Node,
      CheckID: id,
      Name: name,
      Status: 'critical',
      Notes: '',
      Output: '',
      ServiceID: serviceId,
      ServiceName: '',
      ServiceTags: [],
      Type: '',
      Definition: {},
    };
  }
}

function maintenanceId(serviceId: string): string {
  return `_service_maintenance:${serviceId}`;
}
