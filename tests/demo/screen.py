"""What the demo shows: steps with their seconds, a live table, a summary.

On a terminal the live part is drawn again in place; piped, it is one line a
second. No line is wider than 80 columns."""

import os
import sys
import time

WIDTH = 78
BAR = 40


class Screen:
    def __init__(self, out=sys.stdout):
        self.out = out
        self.tty = out.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        self._drawn = 0
        self._last_line_at = 0.0

    def say(self, text=""):
        self.out.write(text + "\n")
        self.out.flush()

    def bold(self, text):
        return f"\033[1m{text}\033[0m" if self.tty else text

    def color(self, text, number):
        return f"\033[{number}m{text}\033[0m" if self.tty else text

    def step(self, name, work, note=lambda result: str(result)):
        """Runs work() and prints its name, a note and the seconds it took."""
        if self.tty:
            self.out.write(f"  {name:15} ...")
            self.out.flush()
        began = time.monotonic()
        result = work()
        seconds = time.monotonic() - began
        start = "\r" if self.tty else ""
        self.say(f"{start}  {name:15} {note(result):50} {seconds:5.1f} s")
        return result

    def live(self, block, line):
        """Draws the block in place of the last one, or prints the line."""
        if self.tty:
            up = f"\033[{self._drawn}A" if self._drawn else ""
            rows = "".join(f"\033[2K{row}\n" for row in block)
            self.out.write(up + rows)
            self._drawn = len(block)
        elif time.monotonic() - self._last_line_at >= 1:
            self._last_line_at = time.monotonic()
            self.out.write(line + "\n")
        self.out.flush()

    def end_live(self, block):
        """Draws the last picture, which stays; piped, the block itself."""
        if self.tty:
            self.live(block, "")
        else:
            self.out.write("\n".join(block) + "\n")
        self._drawn = 0
        self.out.flush()


def bar(done, total):
    filled = BAR * done // total if total else 0
    return "[" + "#" * filled + "-" * (BAR - filled) + "]"


def percentile(values, share):
    """The value below which that share lies; None of nothing."""
    ordered = sorted(values)
    if not ordered:
        return None
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def seconds(value):
    if value is None:
        return "-"
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.1f} s"


def money(amount):
    return f"{amount:,}"
