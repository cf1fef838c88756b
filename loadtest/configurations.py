"""How each proxy is configured for a scenario: every function writes its files and gives its command.

The same for all: one thread, the same backends by turn, a cookie, as many idle connections kept to
backends, no access log, bodies passed on as they come. README.md says it in words.
"""

from processes import descriptor_limit

COOKIE = "srv"
HASHED = "X-User-ID"


def area(number):
    """Host and path of a rule; a hundred rules for each host."""
    return f"h{number % 100}.example.com", f"/area{number}/"


def haproxy(proxy, needs, run):
    bind = f"127.0.0.1:{run.port}"
    if needs.tls:
        bind += f" ssl crt {needs.tls[2]}"
    # It sees by the first bytes who speaks HTTP/2.
    servers = "\n".join(f"  server {n} {a} cookie {n}" for n, a in needs.backends)
    balance = f"hdr({HASHED})\n  hash-type consistent" if needs.hashed else "roundrobin"
    rules = ""
    if needs.rules > 1:
        lines = (f"{host}{path} app\n" for host, path in map(area, range(needs.rules)))
        rules = f"  use_backend %[base,map_beg({run.write('rules.map', ''.join(lines))},none)]\n"
    else:
        rules = "  default_backend app\n"
    run.write(
        "haproxy.cfg",
        f"""global
  nbthread 1
  maxconn {descriptor_limit() - 500}
  no strict-limits
  ssl-default-bind-options ssl-min-ver TLSv1.2
defaults
  mode http
  timeout connect 5s
  timeout client 75s
  timeout server 60s
  http-reuse always
frontend front
  bind {bind}
{rules}backend app
  balance {balance}
  cookie {COOKIE} insert indirect nocache
{servers}
""",
    )
    return [proxy.binary, "-W", "-db", "-f", "haproxy.cfg"]


def nginx(proxy, needs, run):
    servers = "\n".join(f"    server {a} route={n};" for n, a in needs.backends)
    balance = f"hash $http_{HASHED.lower().replace('-', '_')} consistent;" if needs.hashed else ""
    tls = " ssl" if needs.tls else ""
    certificate = (
        f"ssl_certificate {needs.tls[0]}; ssl_certificate_key {needs.tls[1]};" if needs.tls else ""
    )
    http2 = "http2 on;" if needs.http2 else ""
    if needs.rules > 1:
        by_host = {}
        for host, path in map(area, range(needs.rules)):
            by_host.setdefault(host, []).append(f"    location {path} {{ proxy_pass http://app; }}\n")
        listen = f"    listen 127.0.0.1:{run.port}{tls};\n"
        blocks = "".join(
            f"  server {{\n{listen}    server_name {host};\n{''.join(paths)}  }}\n"
            for host, paths in by_host.items()
        )
    else:
        blocks = f"""  server {{
    listen 127.0.0.1:{run.port}{tls};
    {certificate}
    {http2}
    location / {{ proxy_pass http://app; }}
  }}
"""
    run.write(
        "nginx.conf",
        f"""daemon off;
worker_processes 1;
pid nginx.pid;
error_log stderr;
events {{ worker_connections {descriptor_limit() - 500}; }}
http {{
  access_log off;
  server_names_hash_max_size 4096;
  client_max_body_size 0;
  keepalive_requests 1000000000;
  client_body_temp_path temp_body;
  proxy_temp_path temp_proxy;
  fastcgi_temp_path temp_fastcgi;
  uwsgi_temp_path temp_uwsgi;
  scgi_temp_path temp_scgi;
  proxy_http_version 1.1;
  proxy_set_header Connection "";
  proxy_request_buffering off;
  proxy_max_temp_file_size 0;
  upstream app {{
    {balance}
{servers}
    sticky cookie {COOKIE};
    keepalive {needs.pool};
    keepalive_requests 1000000000;
  }}
{blocks}}}
""",
    )
    return [proxy.binary, "-p", ".", "-c", "nginx.conf"]


def envoy(proxy, needs, run):
    of = "type.googleapis.com/envoy.extensions"
    endpoints = "\n".join(
        "          - endpoint: { address: { socket_address: { address: %s, port_value: %s } } }"
        % tuple(a.rsplit(":", 1))
        for _, a in needs.backends
    )
    tls = ""
    if needs.tls:
        tls = f"""
      transport_socket:
        name: envoy.transport_sockets.tls
        typed_config:
          "@type": {of}.transport_sockets.tls.v3.DownstreamTlsContext
          common_tls_context:
            tls_certificates:
            - certificate_chain: {{ filename: {needs.tls[0]} }}
              private_key: {{ filename: {needs.tls[1]} }}"""
    hashed = f", hash_policy: [{{ header: {{ header_name: {HASHED} }} }}]" if needs.hashed else ""
    route = f"route: {{ cluster: app, timeout: 0s{hashed} }}"
    if needs.rules > 1:
        by_host = {}
        for host, path in map(area, range(needs.rules)):
            by_host.setdefault(host, []).append(f"{{ match: {{ prefix: {path} }}, {route} }}")
        hosts = "".join(
            f"\n            - {{ name: {h}, domains: [{h}], routes: [{', '.join(routes)}] }}"
            for h, routes in by_host.items()
        )
    else:
        hosts = f"""
            - {{ name: all, domains: ["*"], routes: [{{ match: {{ prefix: / }}, {route} }}] }}"""
    policy = "RING_HASH" if needs.hashed else "ROUND_ROBIN"
    run.write(
        "envoy.yaml",
        f"""static_resources:
  listeners:
  - name: front
    address: {{ socket_address: {{ address: 127.0.0.1, port_value: {run.port} }} }}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": {of}.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: front
          route_config:
            virtual_hosts:{hosts}
          http_filters:
          - name: envoy.filters.http.stateful_session
            typed_config:
              "@type": {of}.filters.http.stateful_session.v3.StatefulSession
              session_state:
                name: envoy.http.stateful_session.cookie
                typed_config:
                  "@type": {of}.http.stateful_session.cookie.v3.CookieBasedSessionState
                  cookie: {{ name: {COOKIE}, path: / }}
          - name: envoy.filters.http.router
            typed_config: {{ "@type": {of}.filters.http.router.v3.Router }}{tls}
  clusters:
  - name: app
    type: STATIC
    lb_policy: {policy}
    connect_timeout: 5s
    circuit_breakers: {{ thresholds: [{{ max_connections: 20000, max_pending_requests: 20000, max_requests: 20000 }}] }}
    load_assignment:
      cluster_name: app
      endpoints:
      - lb_endpoints:
{endpoints}
""",
    )
    arguments = ["--concurrency", "1", "--disable-hot-restart", "--log-level", "error"]
    return [proxy.binary, "-c", "envoy.yaml", *arguments]


def traefik(proxy, needs, run):
    servers = "\n".join(f"          - url: http://{a}" for _, a in needs.backends)
    tls = router_tls = ""
    if needs.tls:
        router_tls = ", tls: {}"
        tls = f"tls:\n  certificates: [{{ certFile: {needs.tls[0]}, keyFile: {needs.tls[1]} }}]\n"
    run.write(
        "services.yaml",
        f"""http:
  routers:
    all: {{ rule: PathPrefix(`/`), service: app{router_tls} }}
  serversTransports:
    pool: {{ maxIdleConnsPerHost: {needs.pool} }}
  services:
    app:
      loadBalancer:
        serversTransport: pool
        sticky: {{ cookie: {{ name: {COOKIE} }} }}
        servers:
{servers}
{tls}""",
    )
    return [
        proxy.binary,
        "--global.checkNewVersion=false",
        "--global.sendAnonymousUsage=false",
        "--log.level=ERROR",
        f"--entryPoints.web.address=127.0.0.1:{run.port}",
        "--providers.file.filename=services.yaml",
    ]


def caddy(proxy, needs, run):
    addresses = " ".join(a for _, a in needs.backends)
    scheme = "https" if needs.tls else "http"
    tls = f"\ttls {needs.tls[0]} {needs.tls[1]}\n" if needs.tls else ""
    protocols = "h1 h2c" if needs.http2 else "h1"
    run.write(
        "Caddyfile",
        f"""{{
	admin off
	persist_config off
	auto_https off
	servers {{
		protocols {protocols}
	}}
	log {{
		level ERROR
	}}
}}
{scheme}://:{run.port} {{
	bind 127.0.0.1
{tls}	reverse_proxy {addresses} {{
		lb_policy cookie {COOKIE} a-secret-of-load-tests {{
			fallback round_robin
		}}
		transport http {{
			keepalive_idle_conns_per_host {needs.pool}
		}}
	}}
}}
""",
    )
    return [proxy.binary, "run", "--adapter", "caddyfile", "--config", "Caddyfile"]


def floor(proxy, needs, run):
    return [proxy.binary, f"127.0.0.1:{run.port}", *(a for _, a in needs.backends)]


def stickfast(proxy, needs, run):
    # Each option of the affinity that all of them have, and the ring where it is asked for.
    affinity = ""
    policy = ""
    if proxy.affinity:
        algorithm = ""
        if needs.hashed:
            algorithm = f"algorithm: {{ type: header-hash, headerHash: {{ header: {HASHED} }} }}"
        affinity = f"""
    sessionAffinity:
      methods: [cookie]
      keys: [{{ id: 1, secret: known-to-everyone-for-load-tests-only }}]
      cookie: {{ name: {COOKIE} }}
      {algorithm}"""
    if needs.hashed:
        policy = "\n      loadBalancing: { policy: consistent-hash }"
    backends = "\n".join(f"        - {{ id: {n}, address: \"{a}\" }}" for n, a in needs.backends)
    rules = ""
    if needs.rules > 1:
        rules = "\n    rules:\n" + "\n".join(
            f"      - {{ id: r{n}, hosts: [{host}], path: \"{path}*\", serviceName: app }}"
            for n, (host, path) in enumerate(map(area, range(needs.rules)))
        )
    tls = ""
    if needs.tls:
        tls = f"\n        tls: {{ certificates: [{{ cert: {needs.tls[0]}, key: {needs.tls[1]} }}] }}"
    http2 = "\n        http2: true" if needs.http2 else ""
    router = affinity + rules or " {}"
    run.write(
        "gateway.yaml",
        f"""gateway:
  server:
    listeners:
      - address: 127.0.0.1:{run.port}{http2}{tls}
    threads: 1
    stateDir: {run.folder}
    log: {{ access: false }}
    upgrade: {{ pidFile: {run.folder}/pid, socket: {run.folder}/upgrade.sock }}
  admin:
    address: 127.0.0.1:{run.admin}
  services:
    app:
      backends:
{backends}{policy}
  router:{router}
""",
    )
    return [proxy.binary, "run", "-c", "gateway.yaml"]
