"""Where the time of payments went, from what several memories wrote down."""

import re
from datetime import datetime, timezone

_AT = re.compile(rb'"at":"([^"]+)Z"')
_PAYMENT = re.compile(rb'"payment":"([0-9a-f-]{36})"')


def seconds(text):
    """Since 1970, of a time in UTC without its Z."""
    return datetime.fromisoformat(text).replace(
        tzinfo=timezone.utc).timestamp()


def pushed_at(world):
    """[(seconds since 1970, payment)] of the journal's pushes, in order."""
    rows = []
    with open(world.journal, "rb") as lines:
        for line in lines:
            if line.startswith(b'{"t":"push"'):
                payment = _PAYMENT.search(line)
                rows.append((seconds(_AT.search(line)[1].decode()),
                             payment[1].decode() if payment else ""))
    return rows


def called_at(world):
    """{payment: when the API put its callback into Kafka}."""
    return {r.key().decode(): r.timestamp()[1] / 1000
            for r in world.topics.read("payments.callbacks", 180)
            if r.key() and len(r.key()) == 36}


def final_at(world):
    """{payment: when its final event was written}."""
    return {r.key().decode(): r.timestamp()[1] / 1000
            for r in world.topics.read("payments.status", 180)
            if ("foleni-final", b"1") in (r.headers() or ())}


class Trace:
    """What Foleni itself took of each payment of a load run: from when its
    request was due until its push arrived at the provider, and from its
    callback to its final event. What lies between is the provider's, the time
    by which its own timers and journal were late included."""

    def __init__(self, world, run):
        pushed = {ident: at for at, ident in pushed_at(world)}
        called, self.final = called_at(world), final_at(world)
        whole = run.due_at.keys() & pushed.keys() & called.keys() & \
            self.final.keys()
        self.before = [pushed[i] - run.due_at[i] for i in whole]
        self.after = [self.final[i] - called[i] for i in whole]
        self.added = [a + b for a, b in zip(self.before, self.after)]
        self.whole = [self.final[i] - run.due_at[i] for i in whole]
