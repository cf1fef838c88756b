"""The gateway under attack, its backend, the clients that behave and the attacker: one process each."""

import json
import os
import resource
import select
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

HERE = Path(__file__).parent
LOOPBACK = "127.0.0.1"
TICKS = os.sysconf("SC_CLK_TCK")
PAGE_KB = os.sysconf("SC_PAGE_SIZE") // 1024
PATIENCE = 30


def first(rank):
    """Puts this process before all others of the machine, where that is allowed: neither they nor the
    attacker are to be measured. Clients and the backend stand for machines of their own, so they go
    before the gateway."""
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(rank))
    except PermissionError:
        pass


def second():
    """Puts this process behind those, and before all others."""
    try:
        os.setpriority(os.PRIO_PROCESS, 0, -19)
        # where a kernel groups processes by session, the one above counts within the group only
        os.setsid()
        Path("/proc/self/autogroup").write_text("-19")
    except OSError:
        pass


def may_be_first():
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    except PermissionError:
        return False
    return True


def free_port():
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return probe.getsockname()[1]


class Gateway:
    """A gateway with its default limits. What is asked by the megabyte, or only to be taken back, has a
    backend of its own: how busy that is tells nothing about the gateway."""

    CONFIG = """
gateway:
  server:
    listeners:
      - {{ address: "{host}:{plain}", http2: true }}
{tls_listener}
    log: {{ access: false }}
  admin: {{ address: "{host}:{admin}" }}
  services:
    small: {{ backends: [{{ id: b1, address: "{host}:{small}" }}] }}
    large: {{ backends: [{{ id: b2, address: "{host}:{large}" }}] }}
  router:
    rules:
      - {{ id: large, order: 0, path: /big, serviceName: large }}
      - {{ id: slow, order: 0, path: /slow, serviceName: large }}
      - {{ id: small, order: 1, path: /*, serviceName: small }}
    sessionAffinity:
      enabled: true
      methods: [cookie]
      keys: [{{ id: 1, secret: known-to-everyone-for-load-tests-only }}]
"""

    def __init__(self, binary, files=None):
        self.dir = tempfile.TemporaryDirectory()
        self.plain, self.tls, self.admin = free_port(), free_port(), free_port()
        self.backends, ports = [], []
        for rank in (2, 0):
            backend, port = self.backend(rank)
            self.backends.append(backend)
            ports.append(port)
        config = Path(self.dir.name) / "gateway.yaml"
        config.write_text(
            self.CONFIG.format(
                host=LOOPBACK, plain=self.plain, admin=self.admin,
                small=ports[0], large=ports[1], tls_listener=self.tls_listener(),
            )  # fmt: skip
        )

        def prepare():
            first(1)
            if files:
                resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))

        self.log = open(Path(self.dir.name) / "log", "w+b")
        self.process = subprocess.Popen(
            [binary, "run", "-c", config],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log,
            preexec_fn=prepare,
        )  # fmt: skip
        self.wait()

    @staticmethod
    def backend(rank):
        with socket.create_server((LOOPBACK, 0), backlog=4096) as listener:
            process = subprocess.Popen(
                [sys.executable, HERE / "backend.py", str(listener.fileno())],
                pass_fds=[listener.fileno()], preexec_fn=lambda: first(rank) if rank else second(),
            )  # fmt: skip
            return process, listener.getsockname()[1]

    def tls_listener(self):
        cert, key = (f"{self.dir.name}/{name}.pem" for name in ("cert", "key"))
        made = subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
             "-nodes", "-days", "2", "-subj", "/CN=test", "-addext", "subjectAltName=DNS:test",
             "-keyout", key, "-out", cert],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip
        if made.returncode:
            sys.exit(f"attack: openssl makes no certificate: {made.stderr.decode()}")
        files = f'certificates: [{{ cert: "{cert}", key: "{key}" }}]'
        return f'      - {{ address: "{LOOPBACK}:{self.tls}", tls: {{ {files} }} }}'

    def wait(self):
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until and self.process.poll() is None:
            try:
                socket.create_connection((LOOPBACK, self.plain), 1).close()
                return
            except OSError:
                time.sleep(0.05)
        self.log.seek(0)
        sys.exit(f"attack: the gateway did not come up:\n{self.log.read().decode()}")

    def rss(self):
        """Resident memory in KB."""
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * PAGE_KB

    def cpu(self):
        """Seconds of all its threads so far, user and system."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def connections(self):
        return self.metric("stickfast_connections")

    def metric(self, start):
        """The sum of the metrics whose line begins so."""
        with urllib.request.urlopen(f"http://{LOOPBACK}:{self.admin}/metrics", timeout=PATIENCE) as page:
            lines = page.read().decode().splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(start))

    def ends(self):
        for process in (self.process, *self.backends):
            process.kill()
            process.wait()
        self.dir.cleanup()


class Child:
    """A script of ours that is told what to do by lines, and says what came of it by lines."""

    priority = staticmethod(lambda: first(2))

    def __init__(self, script, *arguments, **environment):
        self.process = subprocess.Popen(
            [sys.executable, HERE / script, *map(str, arguments)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=os.environ | environment, preexec_fn=self.priority,
        )  # fmt: skip

    def tell(self, word):
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()

    def hear(self, patience=PATIENCE):
        """Its next line; ends the run when there is none in time."""
        if not select.select([self.process.stdout], [], [], patience)[0]:
            sys.exit(f"attack: {self.process.args[1:]} says nothing")
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"attack: {self.process.args[1:]} has ended")
        return line

    def ends(self):
        self.process.kill()
        self.process.wait()


class Clients(Child):
    """Those that behave."""

    def __init__(self, gateway, fresh):
        super().__init__("clients.py", LOOPBACK, gateway.plain, 200, 16, fresh)

    def begin(self):
        self.tell("begin")

    def end(self):
        """The latencies in microseconds, sorted, and what failed."""
        self.tell("end")
        said = json.loads(self.hear())
        return sorted(said["latencies"]), said["failures"]


class Attacker(Child):
    """Gets what the gateway leaves of this machine, and that before anybody else."""

    priority = staticmethod(second)

    def __init__(self, name, gateway, idle):
        super().__init__("attacks.py", name, LOOPBACK, gateway.plain, gateway.tls, IDLE=str(idle))

    def is_ready(self):
        self.hear(60)

    def end(self):
        """What came of it. Its connections are closed when it has ended."""
        self.process.stdin.close()
        said = json.loads(self.hear())
        self.process.wait(PATIENCE)
        return said
