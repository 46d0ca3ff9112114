// Configuration texts of the compared proxies. The rivals get their cheap settings: no access log, plain round robin; the
// agent gets what its users run.

/** Everything on: routing by Host, peak EWMA, outlier accounting, retries with a budget, metrics, log of failures. */
export function agentConfig(port: number, adminPort: number, origins: readonly number[]): string {
  return JSON.stringify({
    service: { name: 'bench', id: 'bench-1' },
    listeners: { outbound: `127.0.0.1:${port}`, admin: `127.0.0.1:${adminPort}` },
    upstreams: [{ service: 'payments', endpoints: origins.map((origin) => `127.0.0.1:${origin}`) }],
    consul: false,
    controlPlane: false,
    policies: 'policies.yaml',
    stateDir: './state',
    log: { level: 'info', access: 'failures' },
  });
}

/** A route with a header rule: every request goes through rule matching and header changes. */
export function agentPolicies(): string {
  return `
apiVersion: outrigger.dev/v1
kind: HTTPRoute
metadata: { name: payments }
spec:
  parentRefs: [{ kind: Service, name: payments }]
  rules:
    - name: everything
      matches: [{ path: { type: PathPrefix, value: / } }]
      filters:
        - type: RequestHeaderModifier
          requestHeaderModifier: { set: [{ name: x-bench, value: "on" }] }
---
apiVersion: outrigger.dev/v1
kind: ServicePolicy
metadata: { name: payments }
spec:
  loadBalancer: { policy: peakEwma }
  retries: { attempts: 2 }
  outlierDetection: { consecutive5xxErrors: 5 }
`;
}

export function nginxConfig(home: string, port: number, origins: readonly number[]): string {
  return `
daemon off; master_process off; pid nginx.pid; error_log stderr crit; worker_rlimit_nofile 20000;
events { worker_connections 15000; }
http {
  access_log off; keepalive_requests 100000000; keepalive_timeout 600s;
  client_body_temp_path ${home}/b; proxy_temp_path ${home}/p; fastcgi_temp_path ${home}/f; uwsgi_temp_path ${home}/u; scgi_temp_path ${home}/s;
  upstream payments {
    ${origins.map((origin) => `server 127.0.0.1:${origin};`).join(' ')}
    keepalive 128; keepalive_requests 100000000; keepalive_timeout 600s;
  }
  server {
    listen 127.0.0.1:${port} backlog=4096;
    location / {
      proxy_pass http://payments;
      proxy_http_version 1.1;
      proxy_max_temp_file_size 0;
      client_body_buffer_size 64k;
      proxy_set_header Connection "";
      proxy_set_header Host $host;
      proxy_set_header X-Forwarded-For $remote_addr;
      proxy_set_header X-Bench on;
    }
  }
}
`;
}

export function haproxyConfig(port: number, origins: readonly number[]): string {
  return `
global
  nbthread 1
  maxconn 10500
  no strict-limits
defaults
  mode http
  option http-keep-alive
  http-reuse always
  timeout connect 1s
  timeout client 600s
  timeout server 60s
  timeout http-keep-alive 600s
frontend in
  bind 127.0.0.1:${port} backlog 4096
  default_backend payments
backend payments
  balance roundrobin
  option forwardfor
  http-request set-header x-bench on
  retries 2
  retry-on conn-failure empty-response response-timeout 502 503 504
${origins.map((origin, index) => `  server s${index} 127.0.0.1:${origin} maxconn 1024`).join('\n')}
`;
}

export function envoyConfig(port: number, origins: readonly number[]): unknown {
  const socket = (portValue: number) => ({
    address: { socket_address: { address: '127.0.0.1', port_value: portValue } },
  });
  const hcm = {
    '@type': 'type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager',
    stat_prefix: 'in',
    common_http_protocol_options: { idle_timeout: '600s' },
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
          request_headers_to_add: [{ header: { key: 'x-bench', value: 'on' } }],
          routes: [
            {
              match: { prefix: '/' },
              route: { cluster: 'payments', retry_policy: { retry_on: 'connect-failure,reset,gateway-error' } },
            },
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
          connect_timeout: '1s',
          outlier_detection: {},
          load_assignment: {
            cluster_name: 'payments',
            endpoints: [{ lb_endpoints: origins.map((origin) => ({ endpoint: socket(origin) })) }],
          },
        },
      ],
    },
  };
}
