"""Reload and upgrade under load: how many requests fail while a proxy is replaced piece by piece.

Apart from the scenarios, because here nothing is timed: a failure is a failure.
"""

import os
import signal
import subprocess
import threading
import time

import generators
from processes import Failure

CLIENTS = 4
SIGNALS = {"SIGHUP": signal.SIGHUP, "SIGUSR2": signal.SIGUSR2}


def drill(entrant, how, seconds):
    """Load of both kinds for some seconds, and `how` once a second meanwhile."""
    running, needs = entrant.running, entrant.needs
    given = [f"cookie={cookie}" for cookie in generators.cookies(running, needs, CLIENTS)]
    results, faults = [], []

    def load(connections, *more):
        try:
            output = generators.wrk(
                running, needs, "load.lua", seconds, 2, connections, arguments=[*given, *more]
            )
            results.append(generators.wrk_result(output))
        except Failure as failure:
            faults.append(failure)

    workers = [threading.Thread(target=load, args=(16,)), threading.Thread(target=load, args=(8, "close"))]
    for worker in workers:
        worker.start()
    times, deadline = 0, time.monotonic() + seconds - 0.7
    try:
        time.sleep(0.5)
        while time.monotonic() < deadline:
            act(running, how)
            times += 1
            time.sleep(max(0, min(1, deadline - time.monotonic())))
    finally:
        for worker in workers:
            worker.join(seconds + 60)
    if faults:
        raise faults[0]
    return {
        "requests": sum(result["requests"] for result in results),
        "failed": sum(result["failed"] for result in results),
        "times": times,
    }



def act(running, how):
    if how == "upgrade":
        admin = f"http://127.0.0.1:{running.admin}"
        done = subprocess.run(
            [running.proxy.binary, "ctl", "--admin", admin, "upgrade"],
            capture_output=True,
            text=True,
            timeout=60,
        )
        if done.returncode:
            raise Failure(f"stickfast ctl upgrade: {done.stdout}{done.stderr}")
        return
    # After an upgrade the process that was started is not the one that serves.
    pid_file = os.path.join(running.folder, "pid")
    try:
        with open(pid_file) as file:
            pid = int(file.read())
    except OSError:
        pid = running.process.child.pid
    os.kill(pid, SIGNALS[how])
