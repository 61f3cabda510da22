"""The cases in the order in which they run: those that can share a world
follow each other, the long ones come last."""

from tests.bench.cases import (accept, added, cache, clients, database,
                               endpoints, engine, history, lifecycle, memory,
                               outage, peers, start)

CASES = [lifecycle.CASE, added.CASE, accept.CASE, clients.CASE,
         endpoints.CASE, cache.CASE, start.CASE, database.CASE, peers.CASE,
         engine.CASE, outage.CASE, history.CASE, memory.CASE]
# What `make bench QUICK=1` has time for; ONLY= has the others in small, too.
QUICK = "abflk"
