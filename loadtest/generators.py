"""What makes the load: wrk, and h2load where a rate or HTTP/2 is asked for; and what they tell."""

import concurrent.futures
import http.client
import math
import os
import re
import shutil
import ssl
import time

from configurations import COOKIE
from processes import LOAD_CORES, Failure, run
from proxies import find

HERE = os.path.dirname(os.path.abspath(__file__))
# What those without affinity are sent, so that all have a header of one shape to pass on.
NO_COOKIE = f"{COOKIE}=0123456789abcdef0123456789abcdef"
UNVERIFIED = ssl._create_unverified_context()


def url_of(running, needs, path):
    return f"{'https' if needs.tls else 'http'}://127.0.0.1:{running.port}{path}"


def ask(running, needs, path="/", host=None):
    """Status and Set-Cookie of one GET over a connection of its own."""
    if needs.tls:
        client = http.client.HTTPSConnection("127.0.0.1", running.port, timeout=10, context=UNVERIFIED)
    else:
        client = http.client.HTTPConnection("127.0.0.1", running.port, timeout=10)
    try:
        client.request("GET", path, headers={"Host": host} if host else {})
        answer = client.getresponse()
        answer.read()
        return answer.status, answer.getheader("set-cookie")
    except (OSError, http.client.HTTPException) as error:
        raise Failure(f"{running.proxy.name} does not answer: {error!r}; {running.process.tail()}") from None
    finally:
        client.close()


def wait_until_it_serves(running, needs, path="/", host=None, patience=30):
    """Some listen before they have read what to do."""
    deadline = time.monotonic() + patience
    while True:
        try:
            status, _ = ask(running, needs, path, host)
            if status == 200:
                return
            failure = Failure(f"{running.proxy.name} answers {status}; {running.process.tail()}")
        except Failure as refusal:
            failure = refusal
        if time.monotonic() > deadline or not running.process.pids():
            raise failure
        time.sleep(0.1)


def cookies(running, needs, count, path="/", host=None):
    """What `count` new clients are given, as `name=value`; the same for all who bind nobody."""
    if not running.proxy.affinity:
        return [NO_COOKIE]
    found = []
    for _ in range(count):
        status, given = ask(running, needs, path, host)
        if status != 200 or not given:
            told = f"answered {status} and set {given or 'no cookie'} for a new client"
            raise Failure(f"{running.proxy.name} {told}; {running.process.tail()}")
        found.append(given.split(";")[0])
    return found


def wrk(running, needs, script, seconds, threads, connections, path="/", arguments=()):
    """One run; its output."""
    if not shutil.which("wrk"):
        raise Failure("wrk is missing: .ci/install-tools wrk")
    command = ["wrk", "--latency", "--timeout", "20s", "-d", f"{seconds}s"]
    command += ["-t", str(threads), "-c", str(connections), "-s", os.path.join(HERE, script)]
    command += [url_of(running, needs, path), "--", *arguments]
    return run(command, seconds + 45, LOAD_CORES)


def wrk_result(output):
    """The line that load.lua prints, in milliseconds and requests a second."""
    found = re.search(r"^RESULT (.*)$", output, re.M)
    if not found:
        raise Failure(f"wrk told no result:\n{output}")
    told = {name: int(value) for name, value in (pair.split("=") for pair in found.group(1).split())}
    return {
        "requests": told["requests"],
        "failed": told["failed"],
        "rate": told["requests"] / told["us"] * 1e6,
        "p50": told["p50"] / 1000,
        "p99": told["p99"] / 1000,
        "p999": told["p999"] / 1000,
    }


def check(running, needs, script, **load):
    """What must not happen, told by sticky.lua or first.lua; fails where it did."""
    output = wrk(running, needs, script, 1, 8, 8, **load)
    found = re.search(r"^violations: (\d+)$", output, re.M)
    bad = re.search(r"Socket errors:.*|Non-2xx.*", output)
    if not found or int(found.group(1)) or bad:
        raise Failure(f"{running.proxy.name} does not what is measured ({script}):\n{output}")


def find_h2load(peers):
    return find(peers, "h2load")


def h2load(binary, running, needs, seconds, clients, streams=1, rate=None, cookie=None, log=None):
    """One run with every latency; `rate` is of all clients together.

    With a rate each client of one h2load asks at the same instant as the others: so there are eight of
    it, started apart, or it would be bursts that are measured.
    """
    parts = 8 if rate else 1
    command = [binary, "-t", "1", "-c", str(clients // parts), "-D", str(seconds)]
    command += ["-m", str(streams)] if needs.http2 else ["--h1"]
    if rate:
        command += ["--rps", f"{rate / clients:.3f}"]
    command += ["-H", f"cookie: {cookie}"]

    def part(number):
        if rate:
            time.sleep(number / parts * clients / rate)
        own = f"{log}.{number}"
        if os.path.exists(own):
            os.remove(own)
        told = [*command, "--log-file", own, url_of(running, needs, "/")]
        output = run(told, seconds + 45, LOAD_CORES)
        found = re.search(r"(\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout", output)
        status = re.search(r"status codes: (\d+) 2xx", output)
        if not found or not status:
            raise Failure(f"h2load told no result:\n{output}")
        succeeded, failed = int(found.group(1)), int(found.group(2))
        return latencies(own), failed + max(0, succeeded - int(status.group(1)))

    with concurrent.futures.ThreadPoolExecutor(parts) as pool:
        told = list(pool.map(part, range(parts)))
    times = sorted(ms for measured, _ in told for ms in measured)
    if not times:
        raise Failure(f"h2load had no request answered by {running.proxy.name}")
    return {
        "requests": len(times),
        "failed": sum(failed for _, failed in told),
        "rate": len(times) / seconds,
        "p50": percentile(times, 50),
        "p99": percentile(times, 99),
        "p999": percentile(times, 99.9),
    }


def h2load_check(binary, running, needs, cookie):
    """A fixed number of requests, to warm up; each has to be answered well."""
    count = 800
    command = [binary, "-t", "1", "-c", "8", "-m", "100", "-n", str(count), "-H", f"cookie: {cookie}"]
    output = run([*command, url_of(running, needs, "/")], 60, LOAD_CORES)
    status = re.search(r"status codes: (\d+) 2xx", output)
    if not status or int(status.group(1)) != count:
        raise Failure(f"{running.proxy.name} did not answer all of {count} streams:\n{output}")


def latencies(log):
    """Milliseconds of each answered request: the third column of h2load's log is microseconds."""
    with open(log) as lines:
        rows = (line.split("\t") for line in lines)
        return sorted(int(row[2]) / 1000 for row in rows if len(row) == 3 and row[1] != "-1")


def percentile(ordered, share):
    """Nearest rank."""
    rank = math.ceil(len(ordered) * share / 100)
    return ordered[min(len(ordered), max(1, rank)) - 1]
