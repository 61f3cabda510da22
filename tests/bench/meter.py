"""CPU and memory of processes, from /proc."""

import os
import resource
import time
from pathlib import Path

from tests.harness import place

TICKS = os.sysconf("SC_CLK_TCK")
PAGE_MB = os.sysconf("SC_PAGE_SIZE") / 2**20


def cpu_s(pid):
    """Of a process, its living children and those that it has buried."""
    total = 0
    for p in (pid, *place.children(pid)):
        try:
            text = Path(f"/proc/{p}/stat").read_text()
        except OSError:
            continue
        numbers = text.rpartition(")")[2].split()
        total += sum(map(int, numbers[11:15 if p == pid else 13]))
    return total / TICKS


def exact_cpu_s(pid):
    """To the nanosecond, of a process whose threads stay."""
    return sum(int(p.read_text().split()[0]) for p in
               Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e9


def machine_s():
    """CPU that anybody had, and what the machine was robbed of."""
    numbers = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    user, nice, system, _, _, irq, soft, stolen = map(int, numbers)
    return (user + nice + system + irq + soft + stolen) / TICKS


def own_s():
    """Of the harness and all that it has started, whether it still runs."""
    ended = sum(used.ru_utime + used.ru_stime for used in (
        resource.getrusage(resource.RUSAGE_SELF),
        resource.getrusage(resource.RUSAGE_CHILDREN)))
    return ended + sum(map(cpu_s, place.children(os.getpid())))


class Bystanders:
    """What other processes of the machine take from its making on."""

    def __init__(self):
        self.at, self.before = time.monotonic(), machine_s() - own_s()

    def cores(self):
        return max(0.0, (machine_s() - own_s() - self.before) /
                   (time.monotonic() - self.at))


def memory_mb(pid, peak=False):
    """Resident memory, now or at most so far."""
    name = "VmHWM:" if peak else "VmRSS:"
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) / 1024
    return 0.0


class Meter:
    """CPU of a world's processes from its making on."""

    def __init__(self, world):
        programs = {"API": world.api, "worker": world.worker,
                    "Postgres": world.postgres, "Kafka": world.broker,
                    "simulator": world.sim}
        self.pids = {k: p.process.pid for k, p in programs.items()
                     if p.running()}
        self.at = time.monotonic()
        self.start = {k: cpu_s(p) for k, p in self.pids.items()}

    def stop(self, *runs):
        """What was spent; runs are the load that was part of it."""
        self.cpu_s = {k: cpu_s(p) - self.start[k]
                      for k, p in self.pids.items()}
        if runs:
            self.cpu_s["load generator"] = sum(r.cpu_s for r in runs)
        self.seconds = time.monotonic() - self.at
        return self

    def foleni_and_postgres(self):
        return sum(self.cpu_s[k] for k in ("API", "worker", "Postgres"))


def resident(world, peak=False):
    """MB of the API and the worker."""
    return {name: memory_mb(program.pid, peak) for name, program in
            (("API", world.api), ("worker", world.worker))}
