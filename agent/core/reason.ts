// Why the agent answered a request itself. One closed list: response header, metric label, access log and docs/errors.md.

/**
 * Status the agent answers with, by reason. `null` means nothing can be sent any more (the downstream is gone, or part of
 * the response went out).
 */
export const REASON_STATUS = {
  bad_request: 400,
  request_timeout: 408,
  no_route: 404,
  method_not_allowed: 405,
  expectation_failed: 417,
  length_required: 411,
  uri_too_long: 414,
  head_too_large: 431,
  not_implemented: 501,
  version_not_supported: 505,
  no_healthy_upstream: 503,
  upstream_overflow: 503,
  upstream_connect_failure: 503,
  upstream_connect_timeout: 503,
  upstream_reset: 502,
  upstream_protocol_error: 502,
  upstream_timeout: 504,
  deadline_exceeded: 504,
  overloaded: 503,
  admission_rejected: 503,
  denied: 403,
  rate_limited: 429,
  loop_detected: 508,
  draining: 503,
  fault_injected: 503,
  response_aborted: null,
  downstream_disconnect: null,
} as const satisfies Record<string, number | null>;

export type Reason = keyof typeof REASON_STATUS;

/** How a request ended: `ok` when a response was relayed whole (whatever its status), else the reason. */
export type RequestResult = 'ok' | Reason;
