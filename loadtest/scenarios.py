"""What is measured: each scenario with its load, on every proxy that can do it.

A scenario has variants where growth is the question (ten rules, ten thousand): each is one more proxy
in the same rounds.
"""

import os
import selectors
import socket
import time
from dataclasses import dataclass

import generators
from configurations import HASHED, area
from processes import Failure
from proxies import POOL, Needs

SMALL, LARGE = 100 * 1024, 10 * 1024 * 1024
CLIENTS, CONNECTIONS, STREAMS = 8, 64, 100
IDLE = 10_000
RULES = 10_000
BACKENDS = 1_000


@dataclass(frozen=True)
class Scenario:
    name: str
    title: str
    says: str  # under the table
    path: str = "/"
    connections: int = CONNECTIONS
    arguments: tuple = ()  # of load.lua
    sets_cookies: bool = False
    tls: bool = False
    http2: bool = False
    paced: bool = False
    idle: bool = False
    reloads: bool = False
    hashed: bool = False
    backends: tuple = (3,)
    rules: tuple = (1,)
    warm: bool = True

    def variants(self):
        """(suffix of the name, backends, rules)."""
        for backends in self.backends:
            for rules in self.rules:
                suffix = f", {backends} backends" if len(self.backends) > 1 else ""
                suffix += f", {rules:,} rules" if len(self.rules) > 1 else ""
                yield suffix, backends, rules

    def at_once(self):
        return self.connections * (STREAMS if self.http2 else 1)

    def needs(self, bench, backends, rules):
        return Needs(
            backends=bench.backends(backends),
            tls=bench.certificate() if self.tls else None,
            http2=self.http2,
            hashed=self.hashed,
            rules=rules,
            pool=max(POOL, 2 * backends if self.hashed else 0, self.at_once() if self.http2 else 0),
        )


ALL = [
    Scenario(
        "sticky",
        "Sticky keep-alive",
        "64 connections that stay open, small GETs, each with the cookie it was given.",
    ),
    Scenario(
        "paced",
        "Latency at a fixed rate",
        "64 connections that stay open, small GETs with their cookie, at half of Stickfast's peak, "
        "from h2load, which keeps the rate whatever the answers do.",
        paced=True,
    ),
    Scenario(
        "first",
        "First requests",
        "64 connections that stay open, no cookie: each request is a new client, and is given one.",
        sets_cookies=True,
    ),
    Scenario(
        "churn",
        "Churn",
        "A new connection for every request, each with the cookie it was given.",
        arguments=("close",),
    ),
    Scenario("down-100k", "100 KB answers", "GET of 100 KB.", path=f"/bytes/{SMALL}", connections=32),
    Scenario("up-100k", "100 KB uploads", "POST of 100 KB.", connections=32, arguments=(f"body={SMALL}",)),
    Scenario("down-10m", "10 MB answers", "GET of 10 MB.", path=f"/bytes/{LARGE}", connections=8),
    Scenario("up-10m", "10 MB uploads", "POST of 10 MB.", connections=8, arguments=(f"body={LARGE}",)),
    Scenario("tls", "TLS keep-alive", "As sticky, over TLS (ECDSA P-256).", tls=True),
    Scenario(
        "handshakes",
        "TLS handshakes",
        "As churn, over TLS (ECDSA P-256): a full handshake for every request.",
        tls=True,
        arguments=("close",),
    ),
    Scenario(
        "http2",
        "HTTP/2",
        f"8 connections of {STREAMS} streams each, without TLS (h2c), small GETs with one cookie.",
        http2=True,
        connections=8,
    ),
    Scenario(
        "idle",
        "Idle connections",
        f"Memory that {IDLE:,} connections take which have sent one request each and wait.",
        idle=True,
        warm=False,
    ),
    Scenario(
        "ring",
        "1,000 backends with consistent hashing",
        f"Requests without a cookie, a thousand values of {HASHED} for each client, placed by a ring "
        "(nginx, HAProxy and Envoy: their consistent hash) and given a cookie.",
        sets_cookies=True,
        hashed=True,
        arguments=(f"spread={HASHED}",),
        backends=(10, BACKENDS),
    ),
    Scenario(
        "rules",
        "10,000 rules",
        "Requests for the last of 10 and of 10,000 rules by host and path, with their cookie.",
        rules=(10, RULES),
    ),
    Scenario(
        "reload",
        "Reload and upgrade under load",
        "Requests that failed while the configuration was read anew, or the process replaced, over and "
        "over: 16 connections that stay open and 8 that are new for every request.",
        reloads=True,
        warm=False,
    ),
]


def named(names):
    known = {scenario.name: scenario for scenario in ALL}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise Failure(f"there is no scenario {', '.join(unknown)}; there are {', '.join(known)}")
    return [known[name] for name in names] if names else ALL


class Entrant:
    """A proxy in one variant of a scenario, running."""

    def __init__(self, bench, scenario, proxy, suffix, backends, rules):
        self.bench, self.scenario, self.proxy = bench, scenario, proxy
        self.label = proxy.name + suffix
        self.needs = scenario.needs(bench, backends, rules)
        self.path, self.host = scenario.path, None
        if rules > 1:
            self.host, path = area(rules - 1)
            self.path = path + "cart"
        self.running = None

    def start(self):
        self.running = self.proxy.start(self.needs, self.bench.scratch)
        generators.wait_until_it_serves(self.running, self.needs, self.path_of_first(), self.host)

    def end(self):
        if self.running:
            self.running.process.end()
            self.running = None

    def warm_up(self):
        """Checks that it does what is to be measured: who binds keeps, every new client is bound."""
        path = {"path": self.path if self.host else "/"}
        host = {"arguments": [f"host={self.host}"] if self.host else []}
        if self.scenario.http2:
            given = generators.cookies(self.running, self.needs, 1)[0]
            generators.h2load_check(self.bench.h2load, self.running, self.needs, given)
            return
        if not self.proxy.affinity:
            generators.wrk(self.running, self.needs, "load.lua", 1, 2, 8, **path, **host)
            return
        script = "first.lua" if self.scenario.sets_cookies else "sticky.lua"
        generators.check(self.running, self.needs, script, **path, **host)

    def measure(self, seconds):
        """One round: what the load tells, and what the proxy spent on it."""
        process = self.running.process
        load = self._load(seconds)
        spent, threads = process.cpu_us()
        told = load()
        spent, _ = process.cpu_us(threads)
        if not told["requests"]:
            raise Failure(f"{self.label}: no request was answered; {process.tail()}")
        if spent <= 0:
            raise Failure(f"{self.label} used no CPU: does another process answer in its place?")
        return {**told, "cpu": spent / told["requests"], "memory": process.memory_kb() / 1024}

    def _load(self, seconds):
        scenario, running, needs = self.scenario, self.running, self.needs
        given = []
        if not scenario.sets_cookies:
            given = generators.cookies(running, needs, CLIENTS, self.path_of_first(), self.host)
        if scenario.http2 or scenario.paced:
            return lambda: generators.h2load(
                self.bench.h2load,
                running,
                needs,
                seconds,
                scenario.connections,
                streams=STREAMS,
                rate=self.bench.rate() if scenario.paced else None,
                cookie=given[0],
                log=os.path.join(self.bench.scratch, "h2load.log"),
            )
        arguments = [*scenario.arguments, *(f"cookie={cookie}" for cookie in given)]
        if self.host:
            arguments.append(f"host={self.host}")
        threads = min(CLIENTS, scenario.connections)
        return lambda: generators.wrk_result(
            generators.wrk(
                running,
                needs,
                "load.lua",
                seconds,
                threads,
                scenario.connections,
                path=self.path,
                arguments=arguments,
            )
        )

    def path_of_first(self):
        return self.path if self.host else "/"

    def measure_idle(self, count):
        """KB for each of `count` connections that have had an answer and wait."""
        process, port, kept = self.running.process, self.running.port, []
        request = b"GET / HTTP/1.1\r\nHost: idle.example.com\r\n\r\n"
        # A few beforehand, so that what is set up once is not divided among them.
        first = _ask(port, request, 100)
        before = process.memory_kb()
        try:
            kept = _ask(port, request, count)
            time.sleep(0.5)
            after = process.memory_kb()
            alive = _alive(kept)
        finally:
            for connection in first + kept:
                connection.close()
        return {
            "requests": count,
            "failed": count - alive,
            "each": (after - before) / max(1, alive),
            "memory": after / 1024,
        }


def _ask(port, request, count):
    """Connections that have had an answer to `request`, a hundred opened at a time."""
    asked = []
    try:
        while len(asked) < count:
            fresh = []
            for _ in range(min(100, count - len(asked))):
                fresh.append(socket.create_connection(("127.0.0.1", port), 20))
                asked.append(fresh[-1])
                fresh[-1].sendall(request)
            for connection in fresh:
                answer = b""
                while not answer.endswith(b" answers\n"):
                    part = connection.recv(4096)
                    if not part:
                        raise Failure(f"an idle connection was closed before its answer: {answer!r}")
                    answer += part
    except OSError as error:
        raise Failure(f"idle connection {len(asked)} got no answer: {error!r}") from None
    return asked


def _alive(connections):
    """How many of them nobody has closed: one that is readable has an end, or bytes unasked for."""
    with selectors.DefaultSelector() as selector:
        for connection in connections:
            selector.register(connection, selectors.EVENT_READ)
        return len(connections) - len(selector.select(0))
