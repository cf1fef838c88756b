#!/usr/bin/env python3
"""Measures Stickfast beside other proxies, on loopback; loadtest/README.md says what the figures mean.

    loadtest/load.py --stickfast BINARY --examples DIRECTORY --out DIRECTORY [--rounds 9] [--seconds 3]
                     [--scenarios sticky,first] [--proxies haproxy,nginx]

`make load` builds what it needs and calls it. Exit code: 0; 1 where a request failed, a client changed
its backend or was given no cookie; 2 where it could not measure.
"""

import argparse
import datetime
import json
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile

import drills
import generators
import proxies
import report
import scenarios
from processes import CORES, LOAD_CORES, PROXY_CORES, Failure, Process, end_all, raise_descriptor_limit, run


def say(text=""):
    print(text, flush=True)


class Bench:
    """What all scenarios share: backends, a certificate, the proxies that are here."""

    def __init__(self, options, scratch):
        self.options, self.scratch = options, scratch
        self.here, self.missing = proxies.installed(
            options.peers,
            options.stickfast,
            os.path.join(options.examples, "floor"),
            options.proxies,
            options.other,
        )
        if not self.here or self.here[0].name != "stickfast":
            raise Failure(f"there is no {options.stickfast}; make load builds it")
        self.h2load = generators.find_h2load(options.peers)
        self._backends, self._certificate, self._rate = {}, None, options.rate

    def backends(self, count):
        """That many backends, as (name, address), all of one process."""
        if count not in self._backends:
            binary = os.path.join(self.options.examples, "backend")
            if not os.access(binary, os.X_OK):
                raise Failure(f"there is no {binary}; make load builds it")
            names = [f"b{number}" for number in range(1, count + 1)]
            log = os.path.join(self.scratch, f"backends-{count}")
            process = Process("backends", [binary, *names], log + ".log", LOAD_CORES, stdout=subprocess.PIPE)
            found = []
            for line in process.child.stdout:
                if line == b"ready\n":
                    break
                found.append(tuple(line.decode().split()))
            if len(found) != count:
                raise Failure(f"the backends did not start: {process.tail()}")
            self._backends[count] = found
        return self._backends[count]

    def certificate(self):
        """Certificate, key, and both in one file (for HAProxy)."""
        if not self._certificate:
            if not shutil.which("openssl"):
                raise Failure("openssl is missing, for a certificate: .ci/install-tools openssl")
            names = ("cert.pem", "key.pem", "both.pem")
            cert, key, both = (os.path.join(self.scratch, name) for name in names)
            command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2"
            subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"]
            run([*command.split(), *subject, "-keyout", key, "-out", cert], 30)
            with open(both, "w") as target:
                for part in (cert, key):
                    with open(part) as source:
                        target.write(source.read())
            self._certificate = cert, key, both
        return self._certificate

    def rate(self):
        """Half of Stickfast's peak, found once; or as the command line says."""
        if not self._rate:
            probe = scenarios.Entrant(self, scenarios.named(["sticky"])[0], self.here[0], "", 3, 1)
            probe.start()
            try:
                rates = [probe.measure(self.options.seconds)["rate"] for _ in range(3)]
            finally:
                probe.end()
            self._rate = round(statistics.median(rates) / 2, -2)
            say(f"  half of Stickfast's peak: {self._rate:.0f} requests/s")
        return self._rate

    def versions(self):
        told = {proxy.name: proxy.version for proxy in self.here if proxy.version}
        if self.options.build:
            told["stickfast"] += f" ({self.options.build})"
        for name in ("stickfast-off", "stickfast-other"):
            told.pop(name, None)
        return told


def measure(bench, scenario, rounds, seconds, wrong):
    """A scenario on all that can do it: {label: [round, …]}. Who fails is left out, and is `wrong`."""
    if (scenario.http2 or scenario.paced) and not bench.h2load:
        say("  LEFT OUT: h2load is missing (make peers gets it)")
        return None
    if scenario.paced:
        bench.rate()
    if scenario.reloads:
        return measure_reloads(bench, scenario, rounds, seconds, wrong)
    if scenario.idle:
        rounds = min(rounds, 3)  # memory spreads little, and opening the connections takes long
    entrants = []
    for suffix, backends, rules in scenario.variants():
        for proxy in bench.here:
            entrant = scenarios.Entrant(bench, scenario, proxy, suffix, backends, rules)
            if proxy.can(entrant.needs, scenario):
                entrants.append(entrant)
    results = {entrant.label: [] for entrant in entrants}
    try:
        for turn in range(rounds):
            for entrant in in_turn(entrants, turn):
                try:
                    told = one_round(bench, entrant, seconds)
                except Failure as failure:
                    wrong.append(f"{scenario.name}: {entrant.label} was not measured: {failure}")
                    say(f"  LEFT OUT: {wrong[-1]}")
                    entrant.end()
                    entrants.remove(entrant)
                    del results[entrant.label]
                else:
                    results[entrant.label].append(told)
            say(f"  round {turn + 1} of {rounds}: " + report.in_a_line(entrants, results))
    finally:
        for entrant in entrants:
            entrant.end()
    return results


def in_turn(entrants, turn):
    """All of them in another order each turn: in as many turns as there are, or twice as many of an odd
    number, each comes at each place equally often, and behind each other one (a Williams design)."""
    count = len(entrants)
    zigzag = [place // 2 + 1 if place % 2 else count - place // 2 for place in range(count)]
    order = [entrants[(place + turn) % count] for place in zigzag]
    return order[::-1] if turn // max(1, count) % 2 else order


def one_round(bench, entrant, seconds):
    if not entrant.running:
        entrant.start()
        if entrant.scenario.warm:
            entrant.warm_up()
    if not entrant.scenario.idle:
        return entrant.measure(seconds)
    told = entrant.measure_idle(bench.options.idle)
    # What it keeps for the next connections would hide what those take.
    entrant.end()
    return told


def measure_reloads(bench, scenario, rounds, seconds, wrong):
    results = {}
    for proxy in bench.here:
        for how in proxy.reload:
            label = f"{proxy.name}, {how}"
            entrant = scenarios.Entrant(bench, scenario, proxy, "", 3, 1)
            try:
                entrant.start()
                told = drills.drill(entrant, how, max(3, min(15, rounds * seconds)))
            except Failure as failure:
                wrong.append(f"{scenario.name}: {label} was not measured: {failure}")
                say(f"  LEFT OUT: {wrong[-1]}")
                continue
            finally:
                entrant.end()
            results[label] = [told]
            say(f"  {label}, {told['times']} times: {told['failed']} of {told['requests']} requests failed")
    return results


def failures(name, results):
    """What must not be, in words. Only what fails during a reload is another proxy's own affair."""
    for label, rounds in results.items():
        failed = sum(told["failed"] for told in rounds)
        ours = label.startswith("stickfast")
        if failed and (ours or name != "reload"):
            yield f"{name}: {failed} requests to {label} failed"


def commit():
    """The commit that is measured; `-dirty` where files, other than earlier results, have changed since."""
    if not shutil.which("git"):
        return "unknown"
    git = ["git", "-C", os.path.dirname(generators.HERE)]
    told = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    results = [f":!loadtest/{name}" for name in ("RESULTS.md", "results.json", "results.svg")]
    status = ["status", "--porcelain", "--untracked-files=no", "--", ".", *results]
    changed = subprocess.run([*git, *status], capture_output=True, text=True).stdout
    return (told.stdout.strip() or "unknown") + ("-dirty" if changed else "")


def machine():
    model = platform.machine()
    with open("/proc/cpuinfo") as lines:
        for line in lines:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    pinned = f"proxies on core {PROXY_CORES[0]}, load and backends on the rest"
    placing = pinned if len(CORES) > 1 else "one core for all"
    return {"cpu": model, "cores": len(CORES), "kernel": platform.release(), "placing": placing}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    names = lambda text: [name for name in text.replace(",", " ").split() if name]
    parser.add_argument("--stickfast", default="target/release/stickfast")
    parser.add_argument("--build", default="", help="how that was built, to be told with the results")
    parser.add_argument("--other", help="another build of Stickfast, in the same rounds as stickfast-other")
    parser.add_argument("--examples", default="target/release/examples", help="where floor and backend are")
    parser.add_argument("--peers", default="target/peers", help="where .ci/install-peers puts them")
    parser.add_argument("--out", required=True, help="where results.json, RESULTS.md and the plot go")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=int, default=3, help="of one measurement")
    parser.add_argument("--scenarios", type=names, default=[], help="default: all")
    parser.add_argument("--proxies", type=names, default=[], help="beside stickfast; default: all that are here")
    parser.add_argument("--rate", type=float, help="requests/s of `paced`; default: half of Stickfast's peak")
    parser.add_argument("--idle", type=int, default=scenarios.IDLE, help="connections of `idle`")
    options = parser.parse_args()
    if not 1 <= options.rounds <= 99 or not 1 <= options.seconds <= 300:
        parser.error("--rounds is 1 to 99, --seconds 1 to 300")
    return options


def main():
    options = arguments()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(130))
    most = raise_descriptor_limit()
    if options.idle > most:
        options.idle = most
        say(f"too few descriptors (ulimit -Hn): no more than {most} idle connections")
    wanted = scenarios.named(options.scenarios)
    os.makedirs(options.out, exist_ok=True)
    wrong = []
    with tempfile.TemporaryDirectory(prefix="stickfast-load-") as scratch:
        try:
            bench = Bench(options, scratch)
            if bench.missing:
                say(f"LEFT OUT, not installed: {', '.join(bench.missing)} (make peers gets them; make load builds floor)")
            say("measured: " + ", ".join(f"{p.name} {p.version}".strip() for p in bench.here))
            for scenario in wanted:
                load_before = os.getloadavg()[0]
                says = scenario.says
                if scenario.idle:
                    says = says.replace(f"{scenarios.IDLE:,}", f"{options.idle:,}")
                say(f"\n{scenario.title}: {says}")
                results = measure(bench, scenario, options.rounds, options.seconds, wrong)
                if not results:
                    continue
                wrong += failures(scenario.name, results)
                entry = {
                    "title": scenario.title,
                    "says": says,
                    "when": datetime.date.today().isoformat(),
                    "commit": commit(),
                    "rounds": options.rounds,
                    "seconds": options.seconds,
                    "load_before": round(load_before, 2),
                    "machine": machine(),
                    "versions": bench.versions(),
                    "results": results,
                }
                if scenario.paced:
                    entry["rate"] = bench.rate()
                keep(options.out, scenario.name, entry)
                say()
                say(report.table(scenario.name, entry, plain=True))
        finally:
            end_all()
    say(f"\n{os.path.join(options.out, 'RESULTS.md')} is written")
    for line in wrong:
        say(f"WRONG: {line.splitlines()[0]}")
    return 1 if wrong else 0


def keep(out, name, entry):
    """After each scenario, so that a long run may be made in pieces, and one that ends early tells."""
    path = os.path.join(out, "results.json")
    known = {}
    if os.path.exists(path):
        with open(path) as file:
            known = json.load(file)
    known[name] = entry
    known = {s.name: known[s.name] for s in scenarios.ALL if s.name in known}
    with open(path, "w") as file:
        json.dump(report.rounded(known), file, indent=1)
        file.write("\n")
    report.write(out, known)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failure as failure:
        print(f"loadtest: {failure}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("loadtest: ended", file=sys.stderr)
        sys.exit(130)
