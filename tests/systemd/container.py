"""A machine to try things on: the running system itself, under an overlay that takes every change,
booted with a systemd, a network and process ids of its own. Apart from what is tried on it."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

BOOT_SECONDS = 90
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Unavailable(Exception):
    """Such a machine cannot be had here; says why."""


class Container:
    """Use with `with`; nothing is left of it afterwards."""

    def __enter__(self):
        if os.geteuid() != 0:
            raise Unavailable("this takes root")
        for tool in ("systemd-nspawn", "nsenter", "dpkg"):
            if not shutil.which(tool):
                raise Unavailable(f"there is no {tool}")
        self.folder = Path(tempfile.mkdtemp(prefix="stickfast-systemd-"))
        self.root = self.folder / "root"
        self.mounted = []
        self.nspawn = None
        self.init = None
        try:
            self._lay_over()
            self._boot()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        if self.init is not None:
            # the end of its first process ends all
            self._end(self.init)
        if self.nspawn is not None:
            if self.init is None:
                self.nspawn.kill()
            self.nspawn.wait()
        for place in reversed(self.mounted):
            subprocess.run(["umount", "--lazy", place], check=False)
        shutil.rmtree(self.folder, ignore_errors=True)

    def run(self, *command, check=True, patience=120):
        """Runs it in there, as root; returns what became of it."""
        done = subprocess.run(self._inside(command), stdin=subprocess.DEVNULL, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=patience)
        if check and done.returncode != 0:
            raise AssertionError(f"{' '.join(command)}: code {done.returncode}\n{done.stdout}")
        return done

    def start(self, *command):
        """The same, and does not wait."""
        return subprocess.Popen(self._inside(command), stdin=subprocess.DEVNULL, text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def start_on_its_network(self, program, *arguments):
        """Runs a Python program of this directory out here, on the network in there."""
        command = ["nsenter", "--target", str(self.init), "--net", "--", sys.executable, "-u",
                   str(Path(__file__).with_name(program)), *arguments]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def path(self, inside):
        """Where a file of its root is out here."""
        return self.root / inside.lstrip("/")

    def _inside(self, command):
        return ["nsenter", "--target", str(self.init), "--all", "--", "env", "-i", f"PATH={PATH}",
                "LC_ALL=C.UTF-8", "SYSTEMD_COLORS=0", "DEBIAN_FRONTEND=noninteractive", *command]

    def _mount(self, place, *arguments):
        mounted = subprocess.run(["mount", *arguments, str(place)], capture_output=True, text=True)
        if mounted.returncode != 0:
            raise Unavailable(mounted.stderr.strip())
        self.mounted.append(place)

    def _lay_over(self):
        changes = self.folder / "changes"
        changes.mkdir()
        self.root.mkdir()
        # in memory: an overlay cannot keep its changes on another overlay
        self._mount(changes, "-t", "tmpfs", "-o", "mode=755", "tmpfs")
        for name in ("upper", "work"):
            (changes / name).mkdir()
        layers = f"lowerdir=/,upperdir={changes}/upper,workdir={changes}/work"
        self._mount(self.root, "-t", "overlay", "-o", layers, "overlay")
        # what this machine has set up for itself is not wanted in there
        for wants in self.path("/etc/systemd/system").glob("*.wants"):
            shutil.rmtree(wants)
        for file in ("/usr/sbin/policy-rc.d", "/etc/fstab"):
            self.path(file).unlink(missing_ok=True)
        for unit in ("apt-daily.timer", "apt-daily-upgrade.timer", "networking.service",
                     "systemd-networkd-wait-online.service", "NetworkManager-wait-online.service"):
            mask = self.path(f"/etc/systemd/system/{unit}")
            mask.unlink(missing_ok=True)
            mask.symlink_to("/dev/null")
        # not an empty one: that is a first boot, which enables what is preset
        self.path("/etc/machine-id").write_text(uuid.uuid4().hex + "\n")

    def _boot(self):
        command = ["systemd-nspawn", "--boot", f"--directory={self.root}", "--register=no",
                   f"--machine=stickfast-{uuid.uuid4().hex[:8]}", "--private-network", "--console=pipe",
                   "--link-journal=no", "--resolv-conf=off", "--timezone=off"]
        if not Path("/run/systemd/system").is_dir():
            command.append("--keep-unit")
        log = self.folder / "console"
        with log.open("w") as console:
            self.nspawn = subprocess.Popen([*command, "systemd.unit=basic.target"],
                                           stdin=subprocess.DEVNULL, stdout=console, stderr=console)
        deadline = time.monotonic() + BOOT_SECONDS
        while time.monotonic() < deadline and self.nspawn.poll() is None:
            self.init = self.init or self._find_init()
            if self.init and self._is_up():
                return
            time.sleep(0.2)
        raise Unavailable(f"systemd does not boot in a container here:\n{log.read_text()}")

    def _find_init(self):
        children = Path(f"/proc/{self.nspawn.pid}/task/{self.nspawn.pid}/children")
        for child in children.read_text().split():
            try:
                if Path(f"/proc/{child}/comm").read_text() == "systemd\n":
                    return int(child)
            except OSError:
                pass
        return None

    def _is_up(self):
        state = self.run("systemctl", "is-system-running", check=False).stdout.strip()
        return state in ("running", "degraded")

    @staticmethod
    def _end(pid):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
