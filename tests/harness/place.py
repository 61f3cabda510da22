"""Where runs keep their files, and how servers are started for them.

A clone below root's home is closed to the user that Postgres runs as, and the
path of a Unix socket has 107 bytes at most: so data and sockets live in a
short directory below /var/tmp, named after the clone's own path.
"""

import ctypes
import hashlib
import os
import shutil
import signal
import time
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
PR_SET_PDEATHSIG = 1
outlive = False  # the demo's KEEP=1: what was started stays when we end
_libc = ctypes.CDLL(None)


def build_directory():
    """Where the binaries are: FOLENI_BUILD, or build/ of this clone."""
    return (REPO / os.environ.get("FOLENI_BUILD", "build")).resolve()


def run_directory(name):
    """A directory of this clone, user and name; everybody may enter it."""
    mark = f"{REPO}:{os.getuid()}".encode()
    top = Path("/var/tmp/foleni-" + hashlib.sha256(mark).hexdigest()[:8])
    path = top / name
    path.mkdir(parents=True, exist_ok=True)
    for p in (top, path):
        os.chmod(p, 0o755)
    return path


def remove(path):
    shutil.rmtree(path, ignore_errors=True)


def die_with_parent():
    """In a new child: SIGKILL when the thread that started it is gone, so that
    nothing outlives a run that was killed itself. Start servers from the main
    thread only."""
    if not outlive:
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def alive(pid):
    """Whether the process runs; a zombie does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def children(pid):
    """The processes whose parent is pid."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += [int(p) for p in task.read_text().split()]
        except OSError:
            pass
    return found


def wait_for(what, check, timeout_s=15, every_s=0.02):
    """Returns check()'s first truthy value; TimeoutError names what it was."""
    end = time.monotonic() + timeout_s
    while True:
        value = check()
        if value:
            return value
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {timeout_s} s")
        time.sleep(every_s)
