#!/usr/bin/env python3
"""Counts the instructions of the request path with valgrind, and fails where they grew.

    loadtest/instructions.py --stickfast BINARY --examples DIRECTORY [--update] [--annotate DIRECTORY]

The gateway runs under callgrind and answers the requests of one client; counted is what it does in user
space after the first few. Compared with instructions.json; more than 3 % above it is a failure, and so
is more than 5 % for 10,000 rules or 1,000 backends over ten. `make bench-instructions` builds what it needs and calls it.
Exit code: 0; 1 a regression; 2 where it could not count.
"""

import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile

from dataclasses import dataclass

import configurations
import proxies
from generators import HERE
from processes import CORES, Failure, Process, end_all

BASELINE = os.path.join(HERE, "instructions.json")
LIMIT = 1.03
# Enough that a table which grows, or a timer, is lost among them.
BEFORE, COUNTED = 300, 1500
# On a busy machine the runtime looks for work more often: the least of so many runs counts.
RUNS = 3

# What ten of a kind may become when there are many.
GROWTH = 1.05


@dataclass(frozen=True)
class Case:
    name: str
    affinity: bool = True
    comes_back: bool = True  # with its cookie
    rules: int = 1
    backends: int = 3
    hashed: bool = False
    reconnects: bool = False  # for each request


CASES = [
    Case("sticky"),
    Case("off", affinity=False),
    Case("first", comes_back=False),
    Case("churn", reconnects=True),
    Case("rules-10", rules=10),
    Case("rules-10000", rules=10_000),
    # one value, so that one backend answers: connections to the others are not what is counted
    Case("ring-10", comes_back=False, backends=10, hashed=True),
    Case("ring-1000", comes_back=False, backends=1_000, hashed=True),
]
GROWN = [("rules-10", "rules-10000"), ("ring-10", "ring-1000")]


def client(port, case, begin, end):
    """Requests over one connection, or one each, each after the answer to the one before; calls `begin`
    before those that are counted, and `end` behind them."""
    host, path = configurations.area(case.rules - 1) if case.rules > 1 else ("shop.example.com", "/cart/")
    target = f"GET {path}1 HTTP/1.1\r\nHost: {host}\r\n"
    if case.hashed:
        target += f"{configurations.HASHED}: 4711\r\n"
    if case.reconnects:
        target += "Connection: close\r\n"
    cookie = b""
    with contextlib.ExitStack() as open_ones:
        connection = None
        for nth in range(BEFORE + COUNTED):
            if nth == BEFORE:
                begin()
            if case.reconnects or not connection:
                open_ones.close()
                connection = open_ones.enter_context(socket.create_connection(("127.0.0.1", port), 60))
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.sendall(
                target.encode() + b"User-Agent: loadtest\r\nAccept: */*\r\n"
                b"Cookie: theme=dark" + cookie + b"\r\n\r\n"
            )
            answer = b""
            while not answer.endswith(b" answers\n"):
                part = connection.recv(4096)
                if not part:
                    raise Failure(f"the gateway closed the connection: {answer!r}")
                answer += part
            if not answer.startswith(b"HTTP/1.1 200"):
                raise Failure(f"the gateway answered {answer!r}")
            given = re.search(rb"(?i)set-cookie: ([^;\r]+)", answer)
            if given and case.comes_back:
                cookie = b"; " + given.group(1)
        end()


class Counter:
    def __init__(self, options, scratch):
        self.options, self.scratch = options, scratch
        binary = os.path.join(options.examples, "backend")
        for needed in (binary, options.stickfast):
            if not os.access(needed, os.X_OK):
                raise Failure(f"there is no {needed}; make bench-instructions builds it")
        names = [f"b{number}" for number in range(1, max(case.backends for case in CASES) + 1)]
        log = os.path.join(scratch, "backends")
        process = Process("backends", [binary, *names], log, CORES, stdout=subprocess.PIPE)
        self.addresses = []
        for line in process.child.stdout:
            if line == b"ready\n":
                break
            self.addresses.append(tuple(line.decode().split()))
        if len(self.addresses) != len(names):
            raise Failure(f"the backends did not start: {process.tail()}")

    def each(self, case):
        """Instructions of one request."""
        return min(self.run(case) for _ in range(RUNS))

    def run(self, case):
        gateway = proxies.Proxy(
            "stickfast", os.path.abspath(self.options.stickfast), under_callgrind, affinity=case.affinity
        )
        needs = proxies.Needs(
            backends=self.addresses[: case.backends], rules=case.rules, hashed=case.hashed
        )
        running = gateway.start(needs, self.scratch)
        client(running.port, case, lambda: tell(running.process, "zero"), lambda: tell(running.process, "dump"))
        running.process.end()
        written = os.path.join(running.folder, "callgrind.out.1")
        if not os.path.exists(written):
            raise Failure(f"callgrind wrote nothing:\n{running.process.tail()}")
        with open(written) as file:
            found = re.search(r"^(?:summary|totals): (\d+)", file.read(), re.M)
        if not found:
            raise Failure("callgrind told no total")
        if self.options.annotate:
            os.makedirs(self.options.annotate, exist_ok=True)
            shutil.copy(written, os.path.join(self.options.annotate, f"{case.name}.callgrind"))
        return round(int(found.group(1)) / COUNTED)


def tell(process, what):
    """Has callgrind do something in the process that it counts."""
    command = ["vgdb", f"--pid={process.child.pid}", "--wait=30", what]
    try:
        told = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except subprocess.TimeoutExpired:
        raise Failure(f"vgdb did not {what} in time:\n{process.tail()}") from None
    if told.returncode:
        raise Failure(f"vgdb could not {what}: {told.stdout}{told.stderr}\n{process.tail()}")


def under_callgrind(proxy, needs, running):
    command = configurations.stickfast(proxy, needs, running)
    options = ["--tool=callgrind", "--callgrind-out-file=callgrind.out", "--error-limit=no", "-q"]
    return ["valgrind", *options, *command]


def compiler():
    return subprocess.run(["rustc", "--version"], capture_output=True, text=True).stdout.strip()


def compare(counted, baseline):
    """Lines for the reader, and whether any count grew by more than the limit."""
    lines, worse = [], False
    for name, count in counted.items():
        before = baseline.get("instructions", {}).get(name)
        if not before:
            lines.append(f"{name:12} {count:8,} instructions a request; there is no baseline")
            continue
        change = count / before
        verdict = ""
        if change > LIMIT:
            worse, verdict = True, f"  REGRESSION: more than {100 * (LIMIT - 1):.0f} %"
        elif change < 2 - LIMIT:
            verdict = "  better: write it down with --update"
        lines.append(
            f"{name:12} {count:8,} instructions a request, {before:,} before ({100 * (change - 1):+.1f} %){verdict}"
        )
    for few, many in GROWN:
        if few not in counted or many not in counted:
            continue
        growth = counted[many] / counted[few]
        verdict = ""
        if growth > GROWTH:
            worse, verdict = True, f"  TOO MUCH: over {100 * (GROWTH - 1):.0f} %"
        lines.append(f"{many} over {few}: {growth:.3f}{verdict}")
    return lines, worse


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--stickfast", default="target/profiling/stickfast")
    parser.add_argument("--examples", default="target/debug/examples", help="where backend is")
    parser.add_argument("--update", action="store_true", help="write the counts down as the baseline")
    parser.add_argument("--annotate", help="a directory for callgrind's files, for callgrind_annotate")
    options = parser.parse_args()
    if not shutil.which("valgrind") or not shutil.which("vgdb"):
        raise Failure("valgrind is missing: .ci/install-tools valgrind")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(130))
    counted = {}
    with tempfile.TemporaryDirectory(prefix="stickfast-instructions-") as scratch:
        try:
            counter = Counter(options, scratch)
            for case in CASES:
                counted[case.name] = counter.each(case)
                print(f"{case.name}: {counted[case.name]:,}", flush=True)
        finally:
            end_all()
    baseline = {}
    if os.path.exists(BASELINE):
        with open(BASELINE) as file:
            baseline = json.load(file)
    here = compiler()
    if baseline.get("compiler", here) != here:
        print(f"the baseline is of {baseline['compiler']}, this is {here}")
    lines, worse = compare(counted, baseline)
    print("\n".join(lines))
    print(f"affinity on over off: {counted['sticky'] / counted['off']:.3f}")
    if options.update:
        with open(BASELINE, "w") as file:
            json.dump({"compiler": here, "instructions": counted}, file, indent=1)
            file.write("\n")
        print(f"{os.path.relpath(BASELINE)} is written")
        return 0
    if not baseline:
        raise Failure("there is no baseline to compare with; --update writes one")
    return 1 if worse else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (Failure, OSError) as failure:
        print(f"loadtest: {failure}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
