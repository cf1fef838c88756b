#!/usr/bin/env python3
"""Runs the k6 scripts of loadtest/k6 on a gateway of its own; each has thresholds, and fails by them.

    loadtest/k6.py --stickfast BINARY --examples DIRECTORY [--seconds 5] [journeys] [failover] [reload]

`make load-k6` builds what it needs and calls it. Exit code: 0; 1 where a threshold was crossed; 2 where
it could not run.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import threading

import configurations
import drills
import proxies
from generators import HERE, wait_until_it_serves
from processes import LOAD_CORES, Failure, Process, end_all, free_port

SCRIPTS = ("journeys", "failover", "reload")
NAMES = ("b1", "b2", "b3")


class Site:
    """Three backends in a process each, and the gateway before them."""

    def __init__(self, options, scratch):
        binary = os.path.join(options.examples, "backend")
        if not os.access(binary, os.X_OK) or not os.access(options.stickfast, os.X_OK):
            raise Failure(f"there is no {binary} or no {options.stickfast}; make load-k6 builds them")
        self.backends, addresses = {}, []
        for name in NAMES:
            port = free_port()
            address = f"127.0.0.1:{port}"
            process = Process(name, [binary, f"{name}={address}"], os.path.join(scratch, name), LOAD_CORES)
            process.wait_for_port(port)
            self.backends[name] = process
            addresses.append((name, address))
        gateway = proxies.Proxy("stickfast", os.path.abspath(options.stickfast), configurations.stickfast)
        needs = proxies.Needs(backends=addresses)
        self.running = gateway.start(needs, scratch)
        wait_until_it_serves(self.running, needs)

    def end(self):
        for process in [self.running.process, *self.backends.values()]:
            process.end()


def meanwhile(script, site, seconds, over):
    """What the drill does to the site while k6 runs, until `over`."""
    if script == "failover":
        if not over.wait(seconds / 2):
            site.backends[NAMES[0]].end()
    elif script == "reload":
        over.wait(0.5)
        while not over.is_set():
            for how in ("SIGHUP", "upgrade"):
                drills.act(site.running, how)
                if over.wait(0.7):
                    return


def drill(k6, script, site, seconds):
    """True where every threshold held."""
    command = [k6, "run", "--quiet", "--no-usage-report", os.path.join(HERE, "k6", f"{script}.js")]
    env = {
        **os.environ,
        "URL": f"http://127.0.0.1:{site.running.port}",
        "DURATION": str(seconds),
        "DYING": NAMES[0],
    }
    over, faults = threading.Event(), []

    def act():
        try:
            meanwhile(script, site, seconds, over)
        except (Failure, OSError, ValueError) as fault:
            faults.append(fault)

    worker = threading.Thread(target=act)
    child = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL)
    try:
        worker.start()
        code = child.wait(seconds + 60)
    except subprocess.TimeoutExpired:
        raise Failure(f"k6 did not end within {seconds + 60} s") from None
    finally:
        over.set()
        worker.join()
        if child.poll() is None:
            child.kill()
            child.wait()
    if faults:
        raise Failure(str(faults[0]))
    # 99: a threshold was crossed
    if code not in (0, 99):
        raise Failure(f"k6 ended with {code}; its output is above")
    return code == 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--stickfast", default="target/release/stickfast")
    parser.add_argument("--examples", default="target/release/examples", help="where backend is")
    parser.add_argument("--peers", default="target/peers", help="where .ci/install-peers puts k6")
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("scripts", nargs="*", metavar="script", help=", ".join(SCRIPTS))
    options = parser.parse_args()
    unknown = [name for name in options.scripts if name not in SCRIPTS]
    if unknown or not 1 <= options.seconds <= 600:
        parser.error(f"scripts are {', '.join(SCRIPTS)}; --seconds is 1 to 600")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(130))
    k6 = proxies.find(options.peers, "k6")
    if not k6:
        raise Failure("k6 is missing: .ci/install-peers k6")
    crossed = []
    with tempfile.TemporaryDirectory(prefix="stickfast-k6-") as scratch:
        try:
            for script in options.scripts or SCRIPTS:
                print(f"\n{script}: loadtest/k6/{script}.js for {options.seconds} s", flush=True)
                site = Site(options, scratch)
                if not drill(k6, script, site, options.seconds):
                    crossed.append(script)
                site.end()
        finally:
            end_all()
    print(f"\nCROSSED: {', '.join(crossed)}" if crossed else "\nevery threshold held")
    return 1 if crossed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failure as failure:
        print(f"loadtest: {failure}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
