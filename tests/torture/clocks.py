"""A clock of its own for Postgres, which can step: servers started with it
loaded() read their time through libfaketime."""

import time
from pathlib import Path

FAKETIME = next(iter(Path("/usr/lib").glob("*/faketime/libfaketime.so.1")),
                None)


class Clock:
    """`off`: seconds before the true time; `doubted`: [(from, to)] by true
    time, in which it was too far from where it had been to be decided by."""

    def __init__(self, directory):
        if FAKETIME is None:
            raise OSError("libfaketime is not installed")
        directory.mkdir(parents=True, exist_ok=True)
        self._told = directory / "offset"
        self.doubted = []
        self.accepted = 0  # where a person left it
        self.held = False  # by a fault
        self.set(0)

    def set(self, seconds):
        self.off = seconds
        new = self._told.with_suffix(".new")
        new.write_text(f"{seconds:+.6f}\n")
        new.chmod(0o644)
        new.rename(self._told)

    def step(self, seconds):
        """From where it was accepted; doubted from now on."""
        self.set(self.accepted + seconds)
        self.doubted.append((time.time(), float("inf")))

    def believed(self):
        """From now on it may be decided by again."""
        if self.doubted and self.doubted[-1][1] == float("inf"):
            self.doubted[-1] = (self.doubted[-1][0], time.time())

    def back(self):
        self.set(self.accepted)
        self.believed()

    def accept(self):
        self.accepted = self.off
        self.believed()

    def environment(self):
        return {"LD_PRELOAD": str(FAKETIME),
                "FAKETIME_TIMESTAMP_FILE": str(self._told),
                "FAKETIME_NO_CACHE": "1", "DONT_FAKE_MONOTONIC": "1"}
