"""The service in the container: its package, its files, its processes, as an operator sees them."""

import json
import os
import time
from pathlib import Path

UNIT = "stickfast.service"
FILE = "/etc/stickfast/stickfast.yaml"
BINARY = "/usr/bin/stickfast"


def until(what, found, seconds=30):
    """Waits until `found` returns something, and returns it."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if it := found():
            return it
        time.sleep(0.05)
    raise AssertionError(f"waited {seconds} s in vain: {what}")


class Service:
    def __init__(self, container):
        self.container = container
        self.run = container.run
        self.written = Path(__file__).with_name("gateway.yaml").read_text()

    def install(self, package):
        inside = f"/srv/{Path(package).name}"
        self.container.path(inside).write_bytes(Path(package).read_bytes())
        return self.run("dpkg", "--install", inside, patience=300).stdout

    def property(self, name):
        return self.run("systemctl", "show", "--value", "--property", name, UNIT).stdout.strip()

    def main(self):
        """The process id of the one that counts, as systemd knows it."""
        return int(self.property("MainPID"))

    def is_active(self):
        return self.property("ActiveState") == "active"

    def processes(self):
        """All that belong to the unit, in its container's numbers."""
        group = self.property("ControlGroup")
        # where version 1 of control groups is in use beside version 2, and where it is not
        for top in ("/sys/fs/cgroup/systemd", "/sys/fs/cgroup"):
            procs = self.run("cat", f"{top}{group}/cgroup.procs", check=False)
            if group and procs.returncode == 0:
                return [int(pid) for pid in procs.stdout.split()]
        return []

    def child(self, pid):
        """A process that it has started, if any."""
        found = self.run("sh", "-c", f"cat /proc/{pid}/task/*/children", check=False).stdout.split()
        return int(found[0]) if found else None

    def write(self, *changes):
        """The configuration, each change in its place."""
        text = self.written
        for old, new in changes:
            assert old in text, old
            text = text.replace(old, new)
        at = self.container.path(FILE)
        next_file = at.with_suffix(".next")
        next_file.write_text(text)
        group = at.parent.stat().st_gid
        os.chown(next_file, 0, group)
        next_file.chmod(0o640)
        next_file.rename(at)

    def put_binary(self, content):
        """Another file in the place of the program; returns what was there."""
        at = self.container.path(BINARY)
        before = at.read_bytes()
        next_file = at.with_suffix(".next")
        next_file.write_bytes(content)
        next_file.chmod(0o755)
        next_file.rename(at)
        return before

    def ctl(self, *verb):
        return self.run(BINARY, "ctl", *verb)

    def status(self):
        return json.loads(self.ctl("--json", "status").stdout)

    def reload(self):
        """What a changed file takes."""
        return self.ctl("reload").stdout

    def upgrade(self):
        """`systemctl reload`; returns the process that serves then."""
        before = self.main()
        self.run("systemctl", "reload", UNIT)
        after = self.main()
        assert after != before, f"process {before} still serves"
        assert self.is_active(), self.property("ActiveState")
        return after

    def upgrade_in_vain(self, meanwhile=lambda: None):
        """The same, which has to fail and change nothing; returns what was said."""
        before = self.main()
        reload = self.container.start("systemctl", "reload", UNIT)
        meanwhile()
        said = reload.communicate(timeout=120)[0]
        assert reload.returncode != 0, f"the reload says that it worked: {said}"
        assert self.main() == before, f"{self.main()} serves instead of {before}"
        assert self.is_active(), self.property("ActiveState")
        return said

    def journal(self, lines=60):
        return self.run("journalctl", "--no-pager", "--unit", UNIT, "--lines", str(lines),
                        check=False).stdout
