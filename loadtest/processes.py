"""Processes that the bench starts: pinned to a core, measured from /proc, ended whatever happens.

Apart from what is started, so that nothing else has to think of cleaning up.
"""

import contextlib
import os
import resource
import signal
import socket
import subprocess
import time

CORES = sorted(os.sched_getaffinity(0))
# With two cores or more the proxies have one for themselves; load and backends share the others.
PROXY_CORES = CORES[:1] if len(CORES) > 1 else CORES
LOAD_CORES = CORES[1:] if len(CORES) > 1 else CORES

_started = []


class Failure(Exception):
    """What ends a run, in words for whoever started it."""


def raise_descriptor_limit():
    """Takes what there is. Gives the connections that a proxy can hold with it: Stickfast, which takes no
    more clients than it could have backends for, has room for fewer than half as many."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return (hard - hard // 8) // 2 - 300


def descriptor_limit():
    # beyond it they set up tables for more connections than any scenario has
    return min(resource.getrlimit(resource.RLIMIT_NOFILE)[0], 40_000)


def free_port():
    """A port on loopback that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def on(cores):
    """What this thread starts meanwhile is bound to these cores."""
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, CORES)


class Process:
    """A process in a session of its own, with all that it starts; its output goes to a file."""

    def __init__(self, name, command, log, cores, cwd=None, env=None, stdout=None):
        self.name, self.log = name, log
        with open(log, "ab") as output, on(cores):
            self.child = subprocess.Popen(
                command,
                cwd=cwd,
                env={**os.environ, **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=stdout or output,
                stderr=output,
                start_new_session=True,
            )
        _started.append(self)

    def pids(self):
        """The processes of its session that live: a master with its workers, also successors."""
        session, found = self.child.pid, []
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                fields = _stat(entry)
                # state and session, of proc(5)
                if fields and fields[0] not in "ZX" and int(fields[3]) == session:
                    found.append(int(entry))
        return found

    def cpu_us(self, since=None):
        """CPU microseconds of every thread, as (total, by thread); with `since`, those after it."""
        by_thread = {}
        for pid in self.pids():
            for tid in _listed(f"/proc/{pid}/task"):
                # the scheduler's own count, in nanoseconds; clock ticks would be 10,000 µs each
                text = _read(f"/proc/{pid}/task/{tid}/schedstat")
                if text:
                    by_thread[(pid, tid)] = int(text.split()[0]) / 1000
        before = since or {}
        # A thread that ended takes its count along; proxies keep theirs.
        spent = sum(us - before.get(thread, 0) for thread, us in by_thread.items())
        return spent, by_thread

    def memory_kb(self):
        """Resident memory of all its processes, shared pages counted once (PSS)."""
        total = 0
        for pid in self.pids():
            for line in (_read(f"/proc/{pid}/smaps_rollup") or "").splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1])
        return total

    def wait_for_port(self, port, patience=20):
        """Until it listens; fails with its output where it ends before, or never does."""
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            if self.child.poll() is not None and not self.pids():
                break
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                return
            except OSError:
                time.sleep(0.05)
        raise Failure(f"{self.name} does not listen at port {port}; its last lines:\n{self.tail()}")

    def tail(self, lines=15):
        with open(self.log, errors="replace") as log:
            return "".join(log.readlines()[-lines:])

    def signal(self, number):
        self.child.send_signal(number)

    def end(self):
        """Asks, then insists. Nothing is measured any more, so nothing needs to drain."""
        for number, patience in ((signal.SIGTERM, 1.5), (signal.SIGKILL, 5)):
            for pid in self.pids():
                try:
                    os.kill(pid, number)
                except ProcessLookupError:
                    pass
            deadline = time.monotonic() + patience
            while self.pids() and time.monotonic() < deadline:
                self.child.poll()
                time.sleep(0.02)
        self.child.wait()
        if self in _started:
            _started.remove(self)


def end_all():
    """For the way out, in the reverse order of starting."""
    for process in reversed(_started[:]):
        process.end()


def run(command, seconds, cores=None, cwd=None, log=None):
    """A command that has to succeed within `seconds`; gives its output."""
    with on(cores or CORES):
        process = subprocess.Popen(
            command,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
    try:
        output, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        raise Failure(f"{command[0]} did not end within {seconds} s") from None
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
    if log:
        with open(log, "a") as file:
            file.write(output)
    if process.returncode != 0:
        last = "\n".join(output.splitlines()[-15:])
        raise Failure(f"{' '.join(command[:2])} ended with {process.returncode}; its last lines:\n{last}")
    return output


def _read(path):
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return None


def _listed(path):
    try:
        return os.listdir(path)
    except OSError:
        return []


def _stat(pid):
    # the name, in brackets, may hold spaces
    text = _read(f"/proc/{pid}/stat")
    return text.rpartition(")")[2].split() if text else None
