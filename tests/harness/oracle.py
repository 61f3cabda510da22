"""The oracle: joins what the simulator's journal, Postgres, the status topic
and the clients' 202s remember, and names every contradiction.

Money moved or not in the journal alone; the rest has to agree with it. What is
"proven" here is deliberately stricter than the worker's own tables: this file
shares no code with the product.
"""

import json
import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field

from tests.harness.place import REPO
from tests.harness.topics import header

# Refusals that say that nothing was sent on to the customer, by errorCode.
# "500.003.02" is not among them: "System is busy" may come after the push.
PROOF_CODES = {"404.001.03", "404.001.04", "400.003.01", "500.003.03"}
PROOF_ANSWERS = {"spike", "quota", "429", "lock", "token", "token_401"}
# A prompt that ended unpaid with one of these may be followed by another.
ASK_AGAIN_CODES = {"1019", "1037", "26", "1001", "1025"}


def _states():
    text = (REPO / "common" / "payment.def").read_text()
    rows = re.findall(r'^STATE\(\w+,\s*(\d+),\s*"(\w+)",\s*(\w+),', text, re.M)
    return ({int(n): name for n, name, _ in rows},
            {name for _, name, final in rows if final == "true"})


STATE, FINAL = _states()
RESOLVED = 14  # FLOW_RESOLVED in timeline.cause
AT_END = FINAL | {"unresolved"}


@dataclass
class Push:
    """One request for a prompt that the simulator received."""
    n: int
    payment: str
    attempt: int
    msisdn: int
    amount: int
    answer: str
    code: str
    at: str
    accepted: bool = False
    callback: str = ""
    acknowledged: bool = False
    confirmed: bool = False  # its C2B notice was taken
    receipt: str = ""
    debited_at: str = ""
    end_code: str = ""
    ended_at: str = ""

    def proven_over(self, by):
        """Whether another push at the time `by` was allowed after this one."""
        if not self.accepted:
            return self.answer in PROOF_ANSWERS or self.code in PROOF_CODES
        return (not self.receipt and self.end_code in ASK_AGAIN_CODES
                and self.ended_at <= by)


def read_journal_line(pushes, row):
    """Notes one line of the journal in {n: Push}."""
    kind, n = row["t"], row.get("n")
    if kind == "reset":
        pushes.clear()
    elif kind == "push":
        pushes[n] = Push(n, row.get("payment", ""), row.get("attempt", 0),
                         row["msisdn"], row["amount"], row["answer"],
                         row.get("code", ""), row["at"])
    elif n not in pushes:
        return
    elif kind == "accept":
        pushes[n].accepted = True
        pushes[n].callback = row["callback"]
    elif kind == "debit":
        pushes[n].receipt = row["receipt"]
        pushes[n].debited_at = row["at"]
    elif kind == "end":
        pushes[n].end_code = row["code"]
        pushes[n].ended_at = row["at"]
    elif kind == "callback" and 200 <= row["status"] < 300:
        pushes[n].acknowledged = True


def read_journal(lines):
    """{n: Push} since the last reset."""
    pushes = {}
    for line in lines:
        read_journal_line(pushes,
                          line if isinstance(line, dict) else json.loads(line))
    return pushes


@dataclass
class Found:
    """What each memory holds, keyed by payment id."""
    promised: dict
    rows: dict                 # Postgres
    timeline: dict             # payment -> [version]
    pushes: dict               # payment -> [Push], in order
    events: dict               # payment -> [event], in the topic's order
    letters: list = field(default_factory=list)
    by_person: set = field(default_factory=set)  # decided with `resolve`

    def count(self, state):
        return sum(r["status"] == state for r in self.rows.values())


def _rows(world):
    rows = world.query(
        "SELECT id::text, client::text, msisdn, amount, shortcode, reference,"
        " state, version, published_version, attempt, spent, receipt, code,"
        " class, holds_phone, next_action_at FROM payments")
    for row in rows:
        row["status"] = STATE[row["state"]]
    return {row["id"]: row for row in rows}


def _events(records):
    events = defaultdict(list)
    for record in records:
        event = json.loads(record.value())
        event["final_header"] = header(record, "foleni-final")
        event["version_header"] = header(record, "foleni-version")
        events[record.key().decode()].append(event)
    return dict(events)


def look(world):
    """Reads all memories, as they are now."""
    pushes = defaultdict(list)
    for push in read_journal(world.sim.journal()).values():
        pushes[push.payment].append(push)
    timeline, by_person = defaultdict(list), set()
    for row in world.query("SELECT payment::text, version, cause FROM timeline "
                           "ORDER BY payment, version"):
        timeline[row["payment"]].append(row["version"])
        if row["cause"] == RESOLVED:
            by_person.add(row["payment"])
    return Found(world.promised, _rows(world), dict(timeline), dict(pushes),
                 _events(world.topics.read("payments.status")),
                 world.topics.read("payments.dead"), by_person)


def states(world):
    """{state: how many payments} in Postgres, now."""
    rows = world.query("SELECT state, count(*) AS n FROM payments "
                       "GROUP BY state")
    return {STATE[row["state"]]: row["n"] for row in rows}


# --- the rules; each yields one line per contradiction ---

def double_pushes(found):
    """The promise itself: no push after one that may have reached a phone."""
    for ident, pushes in found.pushes.items():
        for (attempt, n) in Counter(p.attempt for p in pushes).items():
            if n > 1:
                yield f"{ident}: attempt {attempt} was sent {n} times"
        if ident in found.by_person:
            continue  # who said "again" stands for it
        for i, later in enumerate(pushes):
            for earlier in pushes[:i]:
                if not earlier.proven_over(later.at):
                    yield (f"{ident}: attempt {later.attempt} was pushed while"
                           f" attempt {earlier.attempt} ({earlier.answer}, "
                           f"{earlier.code or 'no code'}) may live")


def double_debits(found):
    for ident, pushes in found.pushes.items():
        receipts = [p.receipt for p in pushes if p.receipt]
        if len(receipts) > 1:
            yield f"{ident}: debited {len(receipts)} times: {receipts}"


def lost(found):
    """A 202 whose payment nobody remembers, or that is another payment."""
    for ident, asked in found.promised.items():
        row = found.rows.get(ident)
        if row is None:
            yield f"{ident}: answered 202 and lost"
            continue
        for name in ("amount", "reference"):
            if row[name] != asked[name]:
                yield (f"{ident}: {name} is {row[name]!r}, asked for "
                       f"{asked[name]!r}")
        if str(row["msisdn"])[-9:] != str(asked["msisdn"])[-9:]:
            yield f"{ident}: phone is {row['msisdn']}, not the one asked"


def unfinished(found):
    """After everything has had its time, each payment is at an end."""
    for ident, row in found.rows.items():
        if row["status"] not in AT_END:
            yield f"{ident}: still {row['status']}"
        elif row["status"] in FINAL and row["holds_phone"]:
            yield f"{ident}: {row['status']} and still holds its phone"


def unknown_pushes(found):
    """Durable before the first byte: each push has a row and an attempt."""
    for ident, pushes in found.pushes.items():
        row = found.rows.get(ident)
        for push in pushes:
            if row is None:
                yield f"{ident or push.n}: pushed, and Postgres does not know"
            elif push.attempt > row["attempt"]:
                yield (f"{ident}: attempt {push.attempt} was pushed, Postgres "
                       f"knows {row['attempt']}")
            elif (push.amount, push.msisdn) != (row["amount"], row["msisdn"]):
                yield f"{ident}: pushed with other data than stored"


def money_against_states(found):
    """Paid exactly where money moved."""
    for ident, row in found.rows.items():
        pushes = found.pushes.get(ident, [])
        paid = [p for p in pushes if p.receipt]
        if row["status"] == "succeeded":
            if not paid:
                yield f"{ident}: succeeded, and no money moved"
            elif row["receipt"] and row["receipt"] != paid[0].receipt:
                yield (f"{ident}: receipt {row['receipt']}, the journal has "
                       f"{paid[0].receipt}")
        elif paid and row["status"] in FINAL:
            yield f"{ident}: {row['status']}, and money moved"


def evidence_ignored(found):
    """`unresolved` only where nobody told us anything."""
    for ident, row in found.rows.items():
        if row["status"] != "unresolved":
            continue
        for push in found.pushes.get(ident, []):
            if push.acknowledged:
                yield f"{ident}: unresolved, and its callback was accepted"
            elif push.answer in ("ok", "ok_close") and push.accepted and (
                    push.receipt or push.end_code):
                yield f"{ident}: unresolved, and a query would have settled it"


def events_against_rows(found):
    """The newest event of each payment is what Postgres says."""
    for ident, row in found.rows.items():
        events = found.events.get(ident)
        if not events:
            yield f"{ident}: {row['status']}, and no event tells"
            continue
        last = newest(events)
        if last["data"]["version"] != row["version"]:
            yield (f"{ident}: newest event is version "
                   f"{last['data']['version']}, Postgres has {row['version']}")
        if last["data"]["status"] != row["status"]:
            yield (f"{ident}: newest event says {last['data']['status']}, "
                   f"Postgres {row['status']}")
        yield from _event_faults(ident, row, events)
    for ident in found.events.keys() - found.rows.keys():
        yield f"{ident}: an event tells of a payment that Postgres lost"


def newest(events):
    return max(events, key=lambda e: e["data"]["version"])


def event_order(found):
    """Versions of a payment rise on the topic; with more than one worker, or
    after a death, a consumer has to look at them itself."""
    for ident, events in found.events.items():
        seen = [e["data"]["version"] for e in events]
        if seen != sorted(seen):
            yield f"{ident}: events came in the order {seen}"


def _event_faults(ident, row, events):
    for event in events:
        data = event["data"]
        version, status = data["version"], data["status"]
        if event["id"] != f"{ident}:{version}":
            yield f"{ident}: event id {event['id']}"
        if event["type"] != f"foleni.payment.{status}":
            yield f"{ident}: event type {event['type']} says {status}"
        if data["final"] != (status in FINAL):
            yield f"{ident}: event {version} ({status}) final={data['final']}"
        if event["final_header"] != str(int(data["final"])):
            yield f"{ident}: header foleni-final={event['final_header']}"
        if event["version_header"] != str(version):
            yield f"{ident}: header foleni-version={event['version_header']}"
        if data["request"]["amount"] != row["amount"]:
            yield f"{ident}: event tells amount {data['request']['amount']}"


def versions(found):
    """Each change is in the timeline, one by one; the claim, version 1, is
    the row itself. One that Postgres had forgotten was entered 1000 further."""
    for ident, row in found.rows.items():
        seen = found.timeline.get(ident, [])
        whole = [1] + [v for v in seen if v != 1]
        steps = {b - a for a, b in zip(whole, whole[1:])}
        if whole[-1] != row["version"] or steps - {1, 999, 1000}:
            yield f"{ident}: version {row['version']}, timeline has {seen}"


def letters_against_rows(found):
    """A payment that is dead has its letter."""
    known = {header(r, "foleni-payment-id") for r in found.letters}
    for ident, row in found.rows.items():
        if row["status"] == "dead" and ident not in known:
            yield f"{ident}: dead, and not on payments.dead"


# What has to hold at every moment, whatever was killed.
ALWAYS = (double_pushes, double_debits, unknown_pushes)
# What has to hold once everything has settled; CALM: if nothing was killed.
SETTLED = (lost, unfinished, money_against_states, evidence_ignored,
           events_against_rows, versions, letters_against_rows)
CALM = (event_order,)


def contradictions(found, rules=ALWAYS + SETTLED):
    return [f"{rule.__name__}: {line}" for rule in rules
            for line in rule(found)]


def check(world, rules=ALWAYS + SETTLED):
    """Fails with the first contradictions and all of their story."""
    found = look(world)
    faults = contradictions(found, rules)
    assert not faults, "\n".join(faults[:20]) + story(found, faults)
    return found


def subject(fault):
    """The payment that a contradiction is about, or None."""
    match = re.search(r"[0-9a-f]{8}-[0-9a-f-]{27}", fault)
    return match and match.group()


def story(found, faults):
    """Everything that is remembered of the first payment complained about."""
    ident = subject(faults[0])
    if not ident:
        return ""
    lines = [f"\n--- the whole story of {ident}",
             f"promised: {found.promised.get(ident)}",
             f"row: {found.rows.get(ident)}",
             f"timeline: {found.timeline.get(ident)}"]
    lines += [f"push: {p}" for p in found.pushes.get(ident, [])]
    lines += [f"event: {e['id']} {e['data']['status']} {e['data']['result']}"
              for e in found.events.get(ident, [])]
    return "\n".join(lines)


def table(found):
    """Rows for people: (name, Postgres, status topic, journal)."""
    last = Counter(newest(events)["data"]["status"]
                   for events in found.events.values())
    pushes = [p for ps in found.pushes.values() for p in ps]
    paid = [p for p in pushes if p.receipt]
    told = [newest(e)["data"] for e in found.events.values()]
    rows = [("payments", len(found.rows), len(found.events),
             len(found.pushes))]
    for state in STATE.values():
        here = found.count(state)
        if here or last[state]:
            journal = len({p.payment for p in paid}) \
                if state == "succeeded" else ""
            rows.append((f"  {state}", here, last[state], journal))
    rows.append((
        "shillings paid",
        sum(r["amount"] for r in found.rows.values()
            if r["status"] == "succeeded"),
        sum(d["request"]["amount"] for d in told
            if d["status"] == "succeeded"),
        sum(p.amount for p in paid)))
    rows.append(("pushes received", "", "", len(pushes)))
    rows.append(("pushed twice", "", "", len(list(double_pushes(found)))))
    rows.append(("paid twice", "", "", len(list(double_debits(found)))))
    rows.append(("202 and then lost", len(list(lost(found))), "", ""))
    return rows
