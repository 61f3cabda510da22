"""WORLDS=n: as many worlds side by side, a process each. They share the rounds,
each with a seed of its own; one that contradicts itself stops them all."""

import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from tests.harness.place import die_with_parent
from tests.torture import report

APART = 10**6  # between the seeds of two worlds


def seed_of(seed, world):
    """Alone, with SEED= of this, a world has the same faults again."""
    return seed + world * APART


class Child:
    """One world's process; what it prints is passed on."""

    def __init__(self, world, seed, rounds, directory):
        self.world = world
        self.path = Path(directory) / str(world)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.torture.torture"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, preexec_fn=die_with_parent,
            env={**os.environ, "WORLDS": "1", "SEED": str(seed),
                 "ROUNDS": str(rounds), "TALLY": str(self.path)})

    def tally(self):
        """None when it ended before it had one."""
        try:
            return pickle.loads(self.path.read_bytes())
        except OSError:
            return None


class Worlds:
    def __init__(self, options):
        self.options = options
        self.children = []
        self._began = time.monotonic()
        self._rounds = 0
        self._lock = threading.Lock()

    def stop(self):
        """Each ends its round, and then as if it had been the last."""
        for child in self.children:
            if child.process.poll() is None:
                child.process.send_signal(signal.SIGTERM)

    def run(self):
        """True when nothing contradicted."""
        n, rounds = self.options.worlds, self.options.rounds
        with tempfile.TemporaryDirectory() as directory:
            for world in range(min(n, rounds)):
                self.children.append(Child(
                    world, seed_of(self.options.seed, world),
                    rounds // n + (world < rounds % n), directory))
            followers = [threading.Thread(target=self._follow, args=(child,))
                         for child in self.children]
            for thread in followers:
                thread.start()
            for thread in followers:
                thread.join()
            tallies = [t for t in (c.tally() for c in self.children) if t]
        print(report.table(self.options, tallies,
                           time.monotonic() - self._began), flush=True)
        return not any(c.process.returncode for c in self.children)

    def _follow(self, child):
        for line in child.process.stdout:
            with self._lock:
                self._say(child, line)
        if child.process.wait():
            self.stop()

    def _say(self, child, line):
        eta = ""
        if line.startswith("round "):
            self._rounds += 1
            eta = "; " + report.eta(self._rounds, self.options.rounds,
                                    time.monotonic() - self._began)
        print(f"world {child.world}: {line.rstrip()}{eta}", flush=True)
