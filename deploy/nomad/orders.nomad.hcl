# A service and its agent in one group with one network namespace. The agent starts before the application and ends after it.
job "orders" {
  datacenters = ["dc1"]
  type        = "service"

  group "orders" {
    count = 2

    network {
      mode = "bridge"
      port "mesh" { to = 15006 }
      port "admin" { to = 15000 }
    }

    task "outrigger" {
      driver = "docker"
      user   = "1000"

      lifecycle {
        hook    = "prestart"
        sidecar = true
      }

      config {
        image           = "outrigger:0.1.0"
        args            = ["agent", "--config", "/local/agent.yaml"]
        ports           = ["mesh", "admin"]
        readonly_rootfs = true
        cap_drop        = ["all"]
        security_opt    = ["no-new-privileges"]
      }

      template {
        destination = "local/agent.yaml"
        data        = <<CONFIG
service: { name: orders, port: 3000, id: "orders-{{ env "NOMAD_ALLOC_INDEX" }}", address: "{{ env "NOMAD_IP_mesh" }}", check: { http: /healthz } }
listeners: { outbound: "127.0.0.1:15001", inbound: "0.0.0.0:15006", admin: "0.0.0.0:15000" }
upstreams: [{ service: payments }]
consul: { url: "http://{{ env "attr.unique.network.ip-address" }}:8500" }
stateDir: /alloc/data/outrigger
CONFIG
      }

      kill_timeout = "45s"

      resources {
        cpu    = 200
        memory = 256
      }
    }

    task "app" {
      driver = "docker"

      config {
        image = "orders:1.0.0"
      }

      env {
        HTTP_PROXY = "http://127.0.0.1:15001"
      }

      resources {
        cpu    = 200
        memory = 256
      }
    }
  }
}
