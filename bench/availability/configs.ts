// Each proxy as somebody sets it up who cares for availability and reads its manual: health checks every second, ejection of
// instances that fail, retries of what is safe, a limit for one try below the caller's patience. nginx has no active checks
// without its commercial edition.

const TRY_MS = 400;
const CONNECT_MS = 250;
const WHOLE_MS = 950;

export function agentConfig(port: number, adminPort: number, origins: readonly number[]): string {
  return JSON.stringify({
    service: { name: 'bench', id: 'bench-1' },
    listeners: { outbound: `127.0.0.1:${port}`, admin: `127.0.0.1:${adminPort}` },
    upstreams: [{ service: 'payments', endpoints: origins.map((origin) => `127.0.0.1:${origin}`) }],
    consul: false,
    controlPlane: false,
    policies: 'policies.yaml',
    stateDir: './state',
    log: { level: 'info', access: 'off' },
  });
}

/** Everything that is not here is the agent's default. */
export function agentPolicies(): string {
  return `
apiVersion: outrigger.dev/v1
kind: ServicePolicy
metadata: { name: payments }
spec:
  timeouts: { request: ${WHOLE_MS}ms, backendRequest: ${TRY_MS}ms, connect: ${CONNECT_MS}ms }
  retries: { attempts: 2, on: [connectFailure, reset, timeout, 5xx] }
  healthCheck: { type: http, path: /healthz, interval: 1s, timeout: 500ms, unhealthyThreshold: 2 }
`;
}

export function nginxConfig(home: string, port: number, origins: readonly number[]): string {
  return `
daemon off; master_process off; pid nginx.pid; error_log stderr crit;
events { worker_connections 4096; }
http {
  access_log off; keepalive_requests 100000000; keepalive_timeout 600s;
  client_body_temp_path ${home}/b; proxy_temp_path ${home}/p; fastcgi_temp_path ${home}/f; uwsgi_temp_path ${home}/u; scgi_temp_path ${home}/s;
  upstream payments {
    ${origins.map((origin) => `server 127.0.0.1:${origin} max_fails=3 fail_timeout=3s;`).join(' ')}
    keepalive 64;
  }
  server {
    listen 127.0.0.1:${port};
    location / {
      proxy_pass http://payments;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_connect_timeout ${CONNECT_MS}ms; proxy_read_timeout ${TRY_MS}ms; proxy_send_timeout ${TRY_MS}ms;
      proxy_next_upstream error timeout http_500 http_502 http_503 http_504;
      proxy_next_upstream_tries 3;
      proxy_next_upstream_timeout ${WHOLE_MS}ms;
    }
  }
}
`;
}

export function haproxyConfig(port: number, origins: readonly number[]): string {
  return `
global
  nbthread 1
defaults
  mode http
  http-reuse safe
  timeout connect ${CONNECT_MS}ms
  timeout client 600s
  timeout server ${TRY_MS}ms
  timeout queue ${TRY_MS}ms
  timeout check 500ms
frontend in
  bind 127.0.0.1:${port}
  default_backend payments
backend payments
  balance leastconn
  option httpchk GET /healthz
  option redispatch 1
  retries 2
  retry-on all-retryable-errors
  http-request disable-l7-retry if METH_POST
  default-server check inter 1s fastinter 500ms fall 2 rise 2 observe layer7 error-limit 5 on-error mark-down
${origins.map((origin, index) => `  server s${index} 127.0.0.1:${origin}`).join('\n')}
`;
}

export function envoyConfig(port: number, origins: readonly number[]): unknown {
  const socket = (portValue: number) => ({
    address: { socket_address: { address: '127.0.0.1', port_value: portValue } },
  });
  const retries = (on: string) => ({
    retry_on: on,
    num_retries: 2,
    per_try_timeout: `${TRY_MS / 1000}s`,
    retry_host_predicate: [
      {
        name: 'envoy.retry_host_predicates.previous_hosts',
        typed_config: {
          '@type': 'type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate',
        },
      },
    ],
    host_selection_retry_max_attempts: 3,
  });
  const route = (on: string) => ({
    cluster: 'payments',
    timeout: `${WHOLE_MS / 1000}s`,
    retry_policy: retries(on),
  });
  const isPost = [{ name: ':method', string_match: { exact: 'POST' } }];
  const hcm = {
    '@type': 'type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager',
    stat_prefix: 'in',
    http_filters: [
      {
        name: 'envoy.filters.http.router',
        typed_config: { '@type': 'type.googleapis.com/envoy.extensions.filters.http.router.v3.Router' },
      },
    ],
    route_config: {
      virtual_hosts: [
        {
          name: 'payments',
          domains: ['*'],
          routes: [
            // A POST goes elsewhere only when it cannot have arrived.
            { match: { prefix: '/', headers: isPost }, route: route('connect-failure,refused-stream') },
            { match: { prefix: '/' }, route: route('5xx,reset,connect-failure') },
          ],
        },
      ],
    },
  };
  return {
    static_resources: {
      listeners: [
        {
          name: 'in',
          ...socket(port),
          filter_chains: [{ filters: [{ name: 'envoy.filters.network.http_connection_manager', typed_config: hcm }] }],
        },
      ],
      clusters: [
        {
          name: 'payments',
          type: 'STATIC',
          lb_policy: 'LEAST_REQUEST',
          connect_timeout: `${CONNECT_MS / 1000}s`,
          // By default Envoy asks dead hosts, too, once more than half of them are.
          common_lb_config: { healthy_panic_threshold: { value: 0 } },
          outlier_detection: {
            consecutive_5xx: 5,
            interval: '1s',
            base_ejection_time: '5s',
            max_ejection_percent: 80,
          },
          circuit_breakers: {
            thresholds: [{ retry_budget: { budget_percent: { value: 20 }, min_retry_concurrency: 10 } }],
          },
          health_checks: [
            {
              timeout: '0.5s',
              interval: '1s',
              unhealthy_threshold: 2,
              healthy_threshold: 2,
              http_health_check: { path: '/healthz' },
            },
          ],
          load_assignment: {
            cluster_name: 'payments',
            endpoints: [{ lb_endpoints: origins.map((origin) => ({ endpoint: socket(origin) })) }],
          },
        },
      ],
    },
  };
}
