// One address that serves a service, as discovery learned it. Measurement lives elsewhere and outlives this.

/** `service@address:port` for static endpoints, `service@<Consul service id>@address:port` for discovered ones. */
export type EndpointId = string;

export interface Endpoint {
  readonly id: EndpointId;
  /** IP address or host name to connect to. */
  readonly address: string;
  readonly port: number;
  /** Share of traffic relative to the other endpoints, 1–65535. */
  readonly weight: number;
  readonly zone: string | null;
  readonly tags: readonly string[];
  readonly meta: Readonly<Record<string, string>>;
}
