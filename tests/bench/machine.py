"""Where and what was measured."""

import os
import re
import subprocess
from datetime import datetime, timezone
from pathlib import Path

from tests.harness.broker import VERSION as KAFKA
from tests.harness.place import REPO
from tests.harness.postgres import programs


def _said(*command):
    try:
        done = subprocess.run(command, capture_output=True, text=True,
                              timeout=60, cwd=REPO)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return (done.stdout or done.stderr).strip()


def _field(path, name):
    match = re.search(rf"^{name}\s*[:=]\s*(.*)$", Path(path).read_text(), re.M)
    return match.group(1).strip('" ') if match else ""


def machine():
    memory_kb = int(_field("/proc/meminfo", "MemTotal").split()[0])
    return {"cpu": _field("/proc/cpuinfo", "model name"),
            "cores": os.cpu_count(), "memory_gib": round(memory_kb / 2**20),
            "kernel": os.uname().release,
            "system": _field("/etc/os-release", "PRETTY_NAME")}


def versions():
    packages = {"librdkafka": "rdkafka", "libcurl": "libcurl",
                "libevent": "libevent", "libpq": "libpq",
                "OpenSSL": "openssl"}
    found = {name: _said("pkg-config", "--modversion", package)
             for name, package in packages.items()}
    java = _said("java", "-version").split("\n")[0]
    return {"Kafka": KAFKA, "Java": re.sub(r'.*"(.*)".*', r"\1", java),
            "PostgreSQL": _said(programs() / "postgres",
                                "--version").split()[2],
            "gcc": _said("gcc", "-dumpfullversion"), **found}


def measured_at():
    """When, and at which commit."""
    return {"at": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M"),
            "commit": _said("git", "rev-parse", "--short=12", "HEAD"),
            "changed": bool(_said("git", "status", "--porcelain",
                                  "--untracked-files=no"))}
