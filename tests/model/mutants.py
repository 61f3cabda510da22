"""The models with one rule taken away: name, model, faults that are enough to
show what goes wrong then, and what is replaced (each text stands there once).
"""

_MARK = "            begun[SLOT(w, att[w])] = true;\n            pc[w]"
_DIE = {"CRASHES": 1}
_FREEZE = {"STALLS": 1}

MUTANTS = [
    ("a mark before the first byte", "payment", _DIE, [
        (_MARK, "            pc[w]"),
        ("alive[w] && pc[w] == SENT -> pc[w] = OUTCOME",
         "alive[w] && pc[w] == SENT -> begun[SLOT(w, att[w])] = true; "
         "pc[w] = OUTCOME")]),
    ("a recorder's proof of death", "payment", _FREEZE, [
        ("(HEIR(d) && DEAD(d) && !alive[d] && OPEN",
         "(HEIR(d) && DEAD(d) && OPEN")]),
    ("fear of a marked attempt", "payment", _DIE, [
        ("noted[SLOT(d, attempt)] == NOTHING -> owner = NOBODY }",
         "noted[SLOT(d, attempt)] == NOTHING -> leave(WAITING) }")]),
    ("a commit before the push", "payment", {"CUTS": 1}, [
        ("cuts > 0 -> cuts--; pc[w] = CLAIM_UNSURE }",
         "cuts > 0 -> cuts--; pc[w] = READY; att[w] = 1; lease[w] = true }")]),
    ("a fence of versions", "payment", {}, [
        ("SERVED(w) && pc[w] == LOOKED && current[w] ->\n"
         "            begin_attempt(w); pc[w] = READY",
         "SERVED(w) && pc[w] == LOOKED ->\n"
         "            begin_attempt(w); pc[w] = READY")]),
    ("known ids", "payment", {"REPLAYS": 1}, [
        ("            intake = true; forget_push(w) }",
         "            intake = true; pc[w] = READY; att[w] = 1; "
         "lease[w] = true }")]),
    ("intake in the claim's commit", "payment", _DIE, [
        ("            assert(!offset); /* a partition of which Kafka knows "
         "more stops */\n            pc[w] = RECORD }",
         "            intake = true; pc[w] = RECORD }")]),
    ("offsets behind the claim", "payment", {"FORGETS": 1}, [
        ("        SERVED(w) && intake && !offset && pc[w] != RECORD &&\n"
         "        pc[w] != CLAIM_UNSURE -> offset = true }",
         "        SERVED(w) && !offset -> offset = true }")]),
    ("recover's unknown", "payment", {"FORGETS": 1, "TWO_HOSTS": 1}, [
        ("state == QUEUED -> state = UNKNOWN; attempt = 1",
         "state == QUEUED -> state = WAITING; attempt = 1")]),
    ("recorders after a loss", "payment", {"FORGETS": 1}, [
        ("            enter_begun(w, 0);\n            enter_begun(w, 1);\n",
         "")]),
    ("a pause after a loss", "payment", {"FORGETS": 1}, [
        ("!remembers[w] && QUIET(0) && QUIET(1) ->", "!remembers[w] ->")]),
    ("unsent of its own claim", "payment", {"FORGETS": 1}, [
        ("n == attempt && owner == w && OPEN_PUSH -> leave(WAITING)",
         "n == attempt && OPEN_PUSH -> leave(WAITING)")]),
    ("terms of trust", "payment", {"FORGETS": 1}, [
        ("            late[w] = true; lease[w] = false }",
         "            late[w] = true }"),
        ("        alive[w] && pc[w] == READY && lease[w] && TRUSTED(w) ->",
         "        alive[w] && pc[w] == READY && lease[w] ->")]),
    ("a lease", "payment", _FREEZE, [
        ("        alive[w] && pc[w] == READY && lease[w] && TRUSTED(w) ->",
         "        alive[w] && pc[w] == READY && TRUSTED(w) ->")]),
    ("unknown after a death", "payment", _DIE, [
        ("SOMEONE_BUT(d) && DEAD(d) && state == SENDING && owner == d ->\n"
         "            move(UNKNOWN) }",
         "SOMEONE_BUT(d) && DEAD(d) && state == SENDING && owner == d ->\n"
         "            leave(WAITING) }")]),
    ("unknown after a lost answer", "payment", {}, [
        ("        leave(UNKNOWN)\n", "        leave(WAITING)\n")]),
    ("proof asked for twice", "payment", {}, [
        (":: spent < A -> leave(PROVING)", ":: spent < A -> leave(WAITING)")]),
    ("doubt of two queries", "payment", {}, [
        ("truth[attempt] != CHARGED -> leave(FAILED) }",
         "truth[attempt] != CHARGED -> leave(WAITING) }")]),
    ("unresolved", "payment", {}, [
        ("!IN_THE_AIR -> move(UNRESOLVED) }",
         "!IN_THE_AIR -> leave(WAITING) }")]),
    ("answers after a takeover", "payment", _FREEZE, [
        ("    :: n == attempt && OPEN_PUSH ->\n",
         "    :: n == attempt && state == SENDING ->\n")]),
    ("answers in the recorder", "payment", _DIE, [
        ("            noted[SLOT(w, att[w])] = ACCEPTED;\n", "")]),
    ("paid for ever", "payment", {"DOUBLES": 1}, [
        ("(UNDECIDED || state == WAITING) -> leave(FAILED)",
         "(UNDECIDED || ENDED) -> leave(FAILED)")]),
    ("the owner's death", "payment", {**_FREEZE, "PERSONS": 1}, [
        ("OPEN_QUESTION && owner == NOBODY ->\n            persons--; pardoned",
         "OPEN_QUESTION ->\n            persons--; pardoned")]),
    ("the alarm", "payment", {"PERSONS": 1}, [
        ("        alarm = true\n", "        skip\n")]),
    ("a deadline of proofs", "payment", {}, [
        ("(state == WAITING || state == PROVING) -> leave(FAILED) }",
         "(state == WAITING) -> leave(FAILED) }")]),
    ("an end of sending", "payment", {}, [
        ("SOMEONE && state == SENDING -> move(UNKNOWN) }",
         "false -> move(UNKNOWN) }"),
        ("n == attempt && owner == w && OPEN_PUSH -> leave(WAITING)",
         "false -> skip")]),

    ("a lock of phones", "phone", {}, [
        ("#define FREE(p) (!holds[1 - p])", "#define FREE(p) true")]),
    ("a phone held while unknown", "phone", {}, [
        ("        screen[p] != SHOWN && !lease[0] && !lease[1] ->\n",
         "        true ->\n")]),
    ("a phone held after a death", "phone", _DIE, [
        ("late[owner[p]] -> state[p] = UNKNOWN }",
         "late[owner[p]] -> let_go(p, UNKNOWN) }")]),
    ("a lease on phones", "phone", _FREEZE, [
        ("        alive[w] && pc[w] == READY && lease[w] && !late[w] ->",
         "        alive[w] && pc[w] == READY && !late[w] ->")]),
    ("a fence on phones", "phone", {}, [
        ("        alive[w] && pc[w] == LOOKED && current[w] &&\n"
         "        state[has[w]] == WAITING && FREE(has[w]) ->",
         "        alive[w] && pc[w] == LOOKED && FREE(has[w]) ->")]),
]
