"""Attacks a gateway on loopback and measures what others notice; loadtest/README.md says what it means.

    loadtest/attack [NAME...]    all attacks, or those

From the environment: STICKFAST, the binary (target/release/stickfast), ROUNDS of each attack (3),
SECONDS of each round (3). Exit code: 1 where clients that behave waited too long, a request of theirs
failed, or memory did not return.
"""

import os
import resource
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from processes import Attacker, Clients, Gateway, may_be_first

ROUNDS = int(os.environ.get("ROUNDS", "3"))
SECONDS = float(os.environ.get("SECONDS", "3"))
BINARY = os.environ.get("STICKFAST") or Path(__file__).parents[2] / "target/release/stickfast"

NAMES = (
    "slowloris slow-body slow-read idle idle-tls rapid-reset late-reset continuation "
    "empty-continuation ping settings zero-window header-bomb 257-fields files"
).split()
# with so few descriptors
FILES = 256
# newcomers among those who behave: each tenth request; none where newcomers have to wait
FRESH = 10

# times the quiet p99
MOST = 3
# what is under this is the noise of a machine, whatever it is a multiple of
NOISE_US = 2000
# memory has returned when no more than this is left, so many seconds after
RETURN_WITHIN = 10
LEFT_KB = 16 * 1024
LEFT_SHARE = 0.25
IDLE_MOST_KB = 40


def percentile(latencies, share):
    return latencies[min(int(len(latencies) * share), len(latencies) - 1)] if latencies else 0


@dataclass
class Measured:
    """Several rounds of one attack. Times in microseconds, memory in KB."""

    name: str
    quiet: list = field(default_factory=list)
    attacked: list = field(default_factory=list)
    cpu: list = field(default_factory=list)
    before: int = 0
    during: int = 0
    after: int = 0
    returned: float = 0
    held: int = 0
    faults: list = field(default_factory=list)
    said: dict = field(default_factory=dict)

    def p99(self):
        """The medians of the rounds, quiet and attacked."""
        return tuple(
            statistics.median(percentile(one, 0.99) for one in rounds)
            for rounds in (self.quiet, self.attacked)
        )

    def judge(self):
        quiet, attacked = self.p99()
        if attacked > max(MOST * quiet, NOISE_US):
            self.faults.append(f"p99 is {attacked / quiet:.1f} times its quiet value")
        if self.after > self.before * (1 + LEFT_SHARE) + LEFT_KB:
            self.faults.append(f"{(self.after - self.before) // 1024} MB do not return")
        if self.name.startswith("idle") and self.each() > IDLE_MOST_KB:
            self.faults.append(f"an idle connection costs {self.each():.1f} KB")

    def each(self):
        """KB for each connection that the attacker held."""
        return (self.during - self.before) / self.held if self.held else 0

    def row(self):
        (quiet, attacked), mb = self.p99(), 1024
        p50 = [
            statistics.median(percentile(one, 0.5) for one in rounds)
            for rounds in (self.quiet, self.attacked)
        ]
        return (
            f"{self.name:<19}{p50[0] / 1000:>7.2f}{quiet / 1000:>7.2f}{p50[1] / 1000:>8.2f}{attacked / 1000:>7.2f}"
            f"{attacked / max(quiet, 1):>6.1f}{statistics.median(self.cpu) * 100:>7.0f}%"
            f"{self.before / mb:>8.1f}{self.during / mb:>7.1f}{self.after / mb:>7.1f}{self.returned:>5.1f}s"
            f"{self.held:>7}{self.said.get('ended', 0):>8}  {'; '.join(self.faults) or 'ok'}"
        )


HEADER = (
    f"{'':<19}{'quiet, ms':^14}{'attacked, ms':^15}{'':>6}{'':>8}{'memory, MB':^22}{'':>6}{'attacker':^15}\n"
    f"{'attack':<19}{'p50':>7}{'p99':>7}{'p50':>8}{'p99':>7}{'x':>6}{'CPU':>8}"
    f"{'before':>8}{'during':>7}{'after':>7}{'in':>6}{'holds':>7}{'cut off':>8}"
)


def quiet_round(clients, measured):
    clients.begin()
    time.sleep(SECONDS)
    latencies, failures = clients.end()
    measured.quiet.append(latencies)
    if failures:
        measured.faults.append(f"quiet, and yet {failures}")


def attack_round(gateway, clients, measured, idle):
    measured.before = measured.before or gateway.rss()
    own = gateway.connections()
    attacker = Attacker(measured.name, gateway, idle)
    clients.begin()
    attacker.is_ready()
    cpu, ready, peak = gateway.cpu(), time.monotonic(), 0
    while (now := time.monotonic()) < ready + SECONDS:
        peak = max(peak, gateway.rss())
        time.sleep(min(0.25, SECONDS))
    measured.cpu.append((gateway.cpu() - cpu) / (now - ready))
    measured.held = max(measured.held, int(gateway.connections() - own))
    latencies, failures = clients.end()
    measured.attacked.append(latencies)
    measured.said = attacker.end()
    measured.during = max(measured.during, peak)
    if failures:
        measured.faults.append(f"requests failed: {failures}")


def settle(gateway, measured):
    """Waits for memory to return, no longer than it may take."""
    ended = time.monotonic()
    while True:
        measured.after, measured.returned = gateway.rss(), time.monotonic() - ended
        near = measured.after <= measured.before * (1 + LEFT_SHARE) + LEFT_KB
        if near or measured.returned > RETURN_WITHIN:
            return
        time.sleep(0.2)


def recovers(gateway, measured):
    """After all, a newcomer is served."""
    newcomer = Clients(gateway, 1)
    newcomer.begin()
    time.sleep(1)
    latencies, failures = newcomer.end()
    newcomer.ends()
    if not latencies or failures:
        measured.faults.append(f"newcomers are not served afterwards: {failures}")


def run(name, idle):
    """A gateway of its own for each attack: what one leaves behind is not the next one's."""
    measured = Measured(name)
    gateway = Gateway(BINARY, FILES if name == "files" else None)
    clients = Clients(gateway, 0 if name == "files" else FRESH)
    try:
        # to warm up
        clients.begin()
        time.sleep(1)
        clients.end()
        for _ in range(ROUNDS):
            quiet_round(clients, measured)
            attack_round(gateway, clients, measured, idle)
            settle(gateway, measured)
        recovers(gateway, measured)
    finally:
        clients.ends()
        gateway.ends()
    measured.judge()
    return measured


def main():
    names = sys.argv[1:] or NAMES
    if unknown := set(names) - set(NAMES):
        sys.exit(f"attack: there is no {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    if not os.access(BINARY, os.X_OK):
        sys.exit(f"attack: there is no {BINARY}; make attack builds it")
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    # as many as the gateway takes with so many files, less those who behave
    idle = min(10_000, (files - 32 - files // 8) // 2 - 200, files - 100)
    if idle < 10_000:
        print(f"{files} files are allowed: {idle} idle connections instead of 10,000", flush=True)
    if not may_be_first():
        print("no right to real-time scheduling: whatever else runs here is measured too", flush=True)
    version = subprocess.run([BINARY, "--version"], capture_output=True, text=True).stdout.strip()
    print(f"{version}, {ROUNDS} rounds of {SECONDS:g} s, {os.cpu_count()} cores shared by all\n\n{HEADER}", flush=True)
    all_measured = []
    for name in names:
        all_measured.append(run(name, idle))
        print(all_measured[-1].row(), flush=True)
    for one in all_measured:
        if one.name.startswith("idle") and one.held:
            print(f"\n{one.name}: {one.each():.1f} KB for each of {one.held} connections")
    sys.exit(any(one.faults for one in all_measured))


main()
