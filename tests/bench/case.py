"""What a case is, and what a run of one has found."""

from collections import namedtuple
from dataclasses import dataclass, field

Goal = namedtuple("Goal", "how limit")


def at_most(limit):
    return Goal("<=", limit)


def at_least(limit):
    return Goal(">=", limit)


@dataclass(frozen=True)
class Case:
    """One thing to measure. `run(stage, figures, sizes)` measures it; `full`
    and `quick` are its sizes in either form. `goals` has, by a figure's name,
    what it should be."""
    key: str
    name: str
    measures: str
    run: callable
    full: dict
    quick: dict
    goals: dict = field(default_factory=dict)


def share_of(ordered, share):
    """The value of an ordered list below which that share lies."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


class Figures:
    """The rows of one run of a case: name, value, unit, goal, met."""

    def __init__(self, goals):
        self.goals = goals
        self.rows = []
        self.faults = []  # contradictions: a run with one has failed

    def add(self, name, value, unit):
        row = {"name": name, "value": value, "unit": unit}
        goal = self.goals.get(name)
        if goal:
            row["goal"] = f"{goal.how} {goal.limit:,}"
            row["met"] = value is not None and (
                value <= goal.limit if goal.how == "<=" else
                value >= goal.limit)
        self.rows.append(row)

    def spread(self, name, seconds, shares=(.5, .95, .99), mean=False):
        """Percentiles in milliseconds, of values in seconds."""
        ordered = sorted(seconds)
        for share in shares:
            self.add(f"{name} p{share * 100:g}", share_of(ordered, share) * 1e3
                     if ordered else None, "ms")
        if mean:
            self.add(f"{name} mean", sum(ordered) / len(ordered) * 1e3
                     if ordered else None, "ms")

    def cpu(self, spent, count, what="payment", names=None):
        """Microseconds of CPU per payment (or what it is), by process."""
        for name in names or spent.cpu_s:
            self.add(f"CPU per {what}: {name}",
                     spent.cpu_s[name] / count * 1e6, "us")

    def unmeasured(self):
        """Goals that nothing was measured for."""
        return sorted(set(self.goals) - {row["name"] for row in self.rows})
