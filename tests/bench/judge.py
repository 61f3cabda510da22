"""The oracle for many payments: joins what was answered 202, the journal of
the provider and Postgres, without holding all of it in memory. A benchmark
with a double push or a lost 202 has failed, however fast it was."""

import io
import json
import re
from collections import Counter

from tests.harness import oracle

_PUSH = re.compile(rb'"payment":"([0-9a-f-]{36})","attempt":(\d+)')
_N = re.compile(rb'"n":(\d+)')
SHOWN = 20


def attempts(journal):
    """{payment: its highest attempt} and the payments that were pushed more
    than once, of a journal's file."""
    highest, again = {}, set()
    with open(journal, "rb") as lines:
        for line in lines:
            if not line.startswith(b'{"t":"push"'):
                continue
            match = _PUSH.search(line)
            if not match:
                continue  # refused before its path was looked at
            ident, attempt = match[1].decode(), int(match[2])
            if ident in highest:
                again.add(ident)
            highest[ident] = max(attempt, highest.get(ident, 0))
    return highest, again


def doubles(journal, again):
    """What the oracle says of the payments that were pushed more than once."""
    pushes, numbers = {}, set()
    with open(journal, "rb") as lines:
        for line in lines:
            n = _N.search(line)
            match = _PUSH.search(line)
            if match and match[1].decode() in again:
                numbers.add(n[1])
            if n and n[1] in numbers:
                oracle.read_journal_line(pushes, json.loads(line))
    by_payment = {}
    for push in pushes.values():
        by_payment.setdefault(push.payment, []).append(push)
    found = oracle.Found({}, {}, {}, by_payment, {})
    return [*oracle.double_pushes(found), *oracle.double_debits(found)]


def load(cursor, table, columns, rows):
    cursor.execute(f"CREATE TEMP TABLE {table} ({columns})")
    text = io.StringIO("".join("\t".join(map(str, r)) + "\n" for r in rows))
    cursor.copy_expert(f"COPY {table} FROM STDIN", text)


def against_ledger(world, highest):
    """202s that the ledger does not have, and pushes that it does not know."""
    connection = world.postgres.connect(world.database)
    try:
        cursor = connection.cursor()
        load(cursor, "asked", "id uuid, msisdn bigint, amount integer",
             ((k, *v) for k, v in world.asked.items()))
        load(cursor, "pushed", "id uuid, attempt integer", highest.items())
        cursor.execute(
            "SELECT a.id, 'answered 202 and lost' FROM asked a WHERE NOT "
            "EXISTS (SELECT FROM payments p WHERE p.id = a.id AND "
            "p.msisdn = a.msisdn AND p.amount = a.amount) UNION ALL "
            "SELECT u.id, 'pushed, and Postgres does not know' FROM pushed u "
            "WHERE NOT EXISTS (SELECT FROM payments p WHERE p.id = u.id AND "
            "p.attempt >= u.attempt)")
        return [f"{ident}: {what}" for ident, what in cursor]
    finally:
        connection.close()


def judge(world):
    """Contradictions, [] = none. Everything answered 202 has to have been
    claimed by now."""
    highest, again = attempts(world.journal)
    faults = against_ledger(world, highest)
    if again:
        faults += doubles(world.journal, again)
    if len(faults) > SHOWN:
        kinds = Counter(f.partition(": ")[2] for f in faults)
        faults = faults[:SHOWN] + [f"and so on: {dict(kinds)}"]
    return faults
