#!/usr/bin/env python3
"""Counts the instructions of the request path with valgrind, and fails where they grew.

    loadtest/instructions.py --stickfast BINARY --examples DIRECTORY [--update] [--annotate DIRECTORY]

The gateway runs under callgrind and answers a number of requests of one client, then, in another run, a
larger number: the difference over the difference is what a request takes in user space, without the
start. Compared with instructions.json; more than 3 % above it is a failure. `make bench-instructions`
builds what it needs and calls it. Exit code: 0; 1 a regression; 2 where it could not count.
"""

import argparse
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile

import configurations
import proxies
from generators import HERE
from processes import CORES, Failure, Process, end_all, free_port

BASELINE = os.path.join(HERE, "instructions.json")
LIMIT = 1.03
# Enough of both that a table which grows, or a timer, is lost among them.
FEW, MANY = 300, 1800
BACKENDS = 3

# (name, affinity, whether the client comes back with its cookie)
CASES = [("sticky", True, True), ("off", False, True), ("first", True, False)]


def client(port, count, comes_back):
    """That many requests over one connection, each after the answer to the one before."""
    cookie = b""
    with socket.create_connection(("127.0.0.1", port), 60) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(count):
            connection.sendall(
                b"GET /cart/1 HTTP/1.1\r\nHost: shop.example.com\r\nUser-Agent: loadtest\r\n"
                b"Accept: */*\r\nCookie: theme=dark" + cookie + b"\r\n\r\n"
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
            if given and comes_back:
                cookie = b"; " + given.group(1)


class Counter:
    def __init__(self, options, scratch):
        self.options, self.scratch = options, scratch
        binary = os.path.join(options.examples, "backend")
        for needed in (binary, options.stickfast):
            if not os.access(needed, os.X_OK):
                raise Failure(f"there is no {needed}; make bench-instructions builds it")
        self.addresses = []
        names = []
        for number in range(1, BACKENDS + 1):
            address = f"127.0.0.1:{free_port()}"
            names.append(f"b{number}={address}")
            self.addresses.append((f"b{number}", address))
        process = Process("backends", [binary, *names], os.path.join(scratch, "backends"), CORES)
        process.wait_for_port(int(self.addresses[-1][1].rsplit(":", 1)[1]))

    def total(self, name, affinity, comes_back, count):
        """Instructions of a whole run with `count` requests."""
        gateway = proxies.Proxy(
            "stickfast", os.path.abspath(self.options.stickfast), under_callgrind, affinity=affinity
        )
        running = gateway.start(proxies.Needs(backends=self.addresses), self.scratch)
        client(running.port, count, comes_back)
        process = running.process
        process.signal(signal.SIGTERM)
        try:
            process.child.wait(60)
        except subprocess.TimeoutExpired:
            raise Failure(f"the gateway did not end:\n{process.tail()}") from None
        written = os.path.join(running.folder, "callgrind.out")
        if not os.path.exists(written):
            raise Failure(f"callgrind wrote nothing:\n{process.tail()}")
        process.end()
        with open(written) as file:
            found = re.search(r"^(?:summary|totals): (\d+)", file.read(), re.M)
        if not found:
            raise Failure("callgrind told no total")
        if self.options.annotate:
            os.makedirs(self.options.annotate, exist_ok=True)
            shutil.copy(written, os.path.join(self.options.annotate, f"{name}-{count}.callgrind"))
        return int(found.group(1))

    def each(self, name, affinity, comes_back):
        few, many = (self.total(name, affinity, comes_back, count) for count in (FEW, MANY))
        return round((many - few) / (MANY - FEW))


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
            lines.append(f"{name:8} {count:8,} instructions a request; there is no baseline")
            continue
        change = count / before
        verdict = ""
        if change > LIMIT:
            worse, verdict = True, f"  REGRESSION: more than {100 * (LIMIT - 1):.0f} %"
        elif change < 2 - LIMIT:
            verdict = "  better: write it down with --update"
        lines.append(
            f"{name:8} {count:8,} instructions a request, {before:,} before ({100 * (change - 1):+.1f} %){verdict}"
        )
    return lines, worse


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--stickfast", default="target/profiling/stickfast")
    parser.add_argument("--examples", default="target/debug/examples", help="where backend is")
    parser.add_argument("--update", action="store_true", help="write the counts down as the baseline")
    parser.add_argument("--annotate", help="a directory for callgrind's files, for callgrind_annotate")
    options = parser.parse_args()
    if not shutil.which("valgrind"):
        raise Failure("valgrind is missing: .ci/install-tools valgrind")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(130))
    counted = {}
    with tempfile.TemporaryDirectory(prefix="stickfast-instructions-") as scratch:
        try:
            counter = Counter(options, scratch)
            for name, affinity, comes_back in CASES:
                counted[name] = counter.each(name, affinity, comes_back)
                print(f"{name}: {counted[name]:,}", flush=True)
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
