"""Small file systems that can be filled (tmpfs, which only root may mount), and
disks that take their time."""

import contextlib
import os
import shutil
import subprocess
from pathlib import Path


class Disk:
    """`directory` becomes a file system of `mbytes`."""

    def __init__(self, directory, mbytes):
        self.directory = Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self._ballast = self.directory / "ballast"
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={mbytes}m,mode=755",
             "tmpfs", self.directory], capture_output=True, text=True)
        if done.returncode:
            raise OSError(done.stderr.strip())

    def fill(self):
        """Leaves less than a page of room."""
        with self._ballast.open("ab") as f:
            while True:
                at = os.statvfs(self.directory)
                size = min(at.f_bavail * at.f_frsize, 16 << 20)
                if not size:
                    return
                try:
                    f.write(bytes(size))
                    f.flush()
                except OSError:
                    return

    def empty(self):
        self._ballast.unlink(missing_ok=True)

    def unmount(self):
        self.empty()
        subprocess.run(["umount", "-l", self.directory], check=False)


class Slow:
    """What is started within loaded() syncs as slowly as it is told."""

    def __init__(self, directory, library):
        directory.mkdir(parents=True, exist_ok=True)
        self._library = directory / "slowdisk.so"  # where servers may read it
        shutil.copy(library, self._library)
        self._told = directory / "sync-ms"
        self.tell(0)

    def tell(self, ms):
        self._told.write_text(f"{ms}\n")

    def environment(self):
        return {"LD_PRELOAD": str(self._library),
                "FOLENI_SLOW_DISK": str(self._told)}


@contextlib.contextmanager
def loaded(*libraries):
    """The environment() of those that there are, for what is started within."""
    added = {}
    for library in filter(None, libraries):
        for name, value in library.environment().items():
            added[name] = f"{added[name]} {value}" if name in added else value
    was = {name: os.environ.get(name) for name in added}
    os.environ.update(added)
    try:
        yield
    finally:
        for name, value in was.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def mount(sizes):
    """({name: Disk}, why not) for {name: (directory, mbytes)}."""
    disks = {}
    try:
        for name, (directory, mbytes) in sizes.items():
            disks[name] = Disk(directory, mbytes)
    except OSError as error:
        for disk in disks.values():
            disk.unmount()
        return {}, str(error)
    return disks, ""
