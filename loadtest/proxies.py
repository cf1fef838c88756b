"""The proxies that are compared: which there are, what they can do, and how one is started."""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass, field

import configurations
from processes import PROXY_CORES, Failure, Process, free_port

# idle connections that each keeps to backends
POOL = 256


@dataclass
class Needs:
    """What a scenario asks of a proxy."""

    backends: list  # (name, address)
    tls: tuple = None  # certificate, key, both in one file
    http2: bool = False
    hashed: bool = False  # new clients are placed by a ring, over the header HASHED
    rules: int = 1
    pool: int = POOL


@dataclass
class Proxy:
    """One that can be started. `configure` writes its files and gives its command."""

    name: str
    binary: str
    configure: object
    version: str = ""
    affinity: bool = True
    env: dict = field(default_factory=dict)
    # what of a scenario it cannot do, or not without a file that would measure something else
    lacks: frozenset = frozenset()
    # by what name it takes up its files anew, or its binary: see drills.py
    reload: tuple = ()

    def can(self, needs, scenario):
        asked = {
            "hashed": needs.hashed,
            "rules": needs.rules > 1,
            "tls": needs.tls,
            "http2": needs.http2,
            "cookies": scenario.sets_cookies and not self.affinity,
            "reload": scenario.reloads and not self.reload,
        }
        if asked["cookies"] or asked["reload"]:
            return False
        return not any(asked[what] for what in self.lacks)

    def start(self, needs, folder):
        folder = os.path.join(folder, self.name)
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)
        running = Running(self, folder, free_port(), free_port())
        command = self.configure(self, needs, running)
        running.command = command
        log = os.path.join(folder, "log")
        env = {"HOME": folder, "XDG_DATA_HOME": folder, "XDG_CONFIG_HOME": folder, **self.env}
        running.process = Process(self.name, command, log, PROXY_CORES, cwd=folder, env=env)
        running.process.wait_for_port(running.port, 60)
        return running


@dataclass
class Running:
    proxy: Proxy
    folder: str
    port: int
    admin: int
    process: Process = None
    command: list = None

    def write(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w") as file:
            file.write(text)
        return path


GO = {"GOMAXPROCS": "1"}
# consistent hashing and ten thousand rules, of those whose own files for it would be another test
NOT_IN_GO = frozenset({"hashed", "rules"})


def version_of(binary, *argument):
    output = subprocess.run([binary, *argument], capture_output=True, text=True, timeout=20)
    found = re.search(r"\d+\.\d+(\.\d+)?[\w.+-]*", output.stdout + output.stderr)
    return found.group(0).rstrip("/") if found else "?"


def installed(peers, stickfast_binary, floor_binary, wanted, other=None):
    """Those that are here, Stickfast first; and the names of those that are not."""
    known = [
        ("stickfast", configurations.stickfast, "--version", {"reload": ("SIGHUP", "upgrade")}),
        ("stickfast-off", configurations.stickfast, "--version", {"affinity": False}),
        ("stickfast-other", configurations.stickfast, "--version", {}),
        ("haproxy", configurations.haproxy, "-v", {"reload": ("SIGUSR2",)}),
        ("nginx", configurations.nginx, "-v", {"reload": ("SIGHUP",)}),
        ("floor", configurations.floor, None, {"affinity": False, "lacks": NOT_IN_GO | {"tls", "http2"}}),
        ("envoy", configurations.envoy, "--version", {}),
        ("traefik", configurations.traefik, "version", {"env": GO, "lacks": NOT_IN_GO}),
        ("caddy", configurations.caddy, "version", {"env": GO, "lacks": NOT_IN_GO}),
    ]
    unknown = set(wanted) - {name for name, *_ in known}
    if unknown:
        raise Failure(f"there is no proxy {', '.join(unknown)}; there are {', '.join(k[0] for k in known)}")
    here, missing = [], []
    for name, configure, version, more in known:
        if name == "stickfast-other":
            if not other:
                continue
            if not os.access(other, os.X_OK):
                raise Failure(f"there is no {other}")
            binary = other
        elif name != "stickfast" and wanted and name not in wanted:
            continue
        elif name.startswith("stickfast"):
            binary = stickfast_binary
        elif name == "floor":
            binary = floor_binary
        else:
            binary = find(peers, name)
        if not binary or not os.access(binary, os.X_OK):
            missing.append(name)
            continue
        proxy = Proxy(name, os.path.abspath(binary), configure, **more)
        if version:
            proxy.version = version_of(proxy.binary, version)
        here.append(proxy)
    return here, missing


def find(peers, name):
    """In the private directory of .ci/install-peers, else on the PATH."""
    private = os.path.join(peers, "bin", name)
    return private if os.access(private, os.X_OK) else shutil.which(name)
