"""Mutants of the flow: name, file below consumer/, text that stands there once,
what stands in its place, and why that would be dangerous. The text has to be
found exactly once, or the run fails: a mutant that mutates nothing proves
nothing."""

MUTANTS = [
    # --- a second push without proof ---
    ("lost is retried", "flow_push.c",
     """    step_result(s, RESULT_LOST, EVIDENCE_ANSWER, "lost_answer", \
s->e->why.text);
    end_unknown(s);""",
     """    step_result(s, RESULT_LOST, EVIDENCE_ANSWER, "lost_answer", \
s->e->why.text);
    step_unsent(s, s->now_at);""",
     "a lost answer may be an accepted push"),
    ("ambiguous is retried", "flow_push.c",
     """    step_verdict(s, EVIDENCE_ANSWER);
    end_unknown(s);""",
     """    step_verdict(s, EVIDENCE_ANSWER);
    step_unsent(s, step_backoff(s, BACKOFF_UNREACHABLE));""",
     "an answer that no table knows may be an accepted push"),
    ("orphan is retried", "flow_evidence.c",
     """                "its worker died during the push");
    step_unknown(s);""",
     """                "its worker died during the push");
    step_unsent(s, s->now_at);""",
     "a worker that died may have sent its push"),
    ("overdue is retried", "flow_due.c",
     """                "no outcome of the push was noted in time");
    step_unknown(s);""",
     """                "no outcome of the push was noted in time");
    step_unsent(s, s->now_at);""",
     "a push without its end may still be on its way"),
    ("ended keeps its owner", "flow_push.c",
     """    step_unknown(s);
    s->p->owner = 0;""",
     """    step_unknown(s);""",
     "the recorder has forgotten what is stored: never began, it would say"),
    ("anybody's recorder", "flow_evidence.c",
     """    if (!step_open_push(s->p) || s->p->owner != s->e->owner)
        return;
    step_result(s, RESULT_NONE, EVIDENCE_NONE, "", "");""",
     """    if (!step_open_push(s->p))
        return;
    step_result(s, RESULT_NONE, EVIDENCE_NONE, "", "");""",
     "a recorder knows only its own worker's attempts"),
    ("anybody's not sent", "flow_push.c",
     """    return s->p->owner == s->e->owner;""",
     """    return s->p->owner == s->e->owner || s->e->owner;""",
     "another claim of the same number may have left"),
    ("events of older attempts", "flow.c",
     """    case FLOW_NO_TRACE: return e->attempt == p->attempt;""",
     """    case FLOW_NO_TRACE: return e->attempt <= p->attempt;""",
     "the end of attempt 1 would end attempt 2"),
    ("callbacks of older attempts", "flow_evidence.c",
     """    if (s->e->attempt != s->was->attempt || told""",
     """    if (told""",
     "a failure of attempt 1 would fail the open attempt 2"),
    ("callbacks of forgotten attempts", "flow_evidence.c",
     """        callback_of_forgotten(s);""",
     """        return;""",
     "what Postgres has forgotten would go out again under its number"),
    ("prompts of forgotten attempts", "flow_evidence.c",
     """    p->spent = may_be_spent(s);""",
     "",
     "a customer would be asked more often than the client allowed"),
    ("proof is not asked for", "flow_evidence.c",
     """    step_spend(s, WAIT_PROOF, at);""",
     """    step_spend(s, WAIT_RETRY, at);""",
     "a callback alone is thin proof"),
    ("a hasty query proves", "flow_evidence.c",
     """    if (proof && s->p->queries > 0 &&
        strcmp""",
     """    if (proof &&
        strcmp""",
     "a query from before the callback says nothing about then"),
    ("queries of before count", "flow_evidence.c",
     """    s->p->queries = 0;
    step_spend""",
     """    step_spend""",
     "the same by another way: the count is of the prompt's queries"),
    ("any failure proves", "flow_evidence.c",
     """    if (proof && s->p->queries > 0 &&
        strcmp(s->e->verdict.code, s->p->code) == 0)""",
     """    if (proof && s->p->queries > 0)""",
     "a query that contradicts the callback proves nothing"),
    ("a due proof is pushed", "flow_due.c",
     """    } else if (s->p->waits == WAIT_PROOF) {""",
     """    } else if (s->p->waits == WAIT_PROOF && s->p->queries == 0) {""",
     "time is no proof"),
    ("cancelled after a push", "flow_due.c",
     """    return p->state == PAYMENT_WAITING && !step_was_pushed(p);""",
     """    return p->state == PAYMENT_WAITING;""",
     "its client would hear that nothing was asked of the customer"),
    ("cancelled in the air", "flow_due.c",
     """    return p->state == PAYMENT_WAITING && !step_was_pushed(p);""",
     """    return p->state == PAYMENT_SENDING || (p->state == \
PAYMENT_WAITING && !step_was_pushed(p));""",
     "the customer may pay what was told as cancelled"),
    ("a push that was proven unpaid is none", "flow_words.c",
     """    return p->pushed_at != 0 || p->spent > 0 || p->replays > 0;""",
     """    return p->pushed_at != 0 && p->spent == 0;""",
     "the same, and rejected would mean: never asked"),
    ("past the deadline", "flow_due.c",
     """    if (s->now_at >= s->p->deadline_at) {""",
     """    if (s->now_at > s->p->deadline_at) {""",
     "a customer is not asked for what is over"),
    ("asks without being asked to", "flow_evidence.c",
     """           p->spent < MIN(p->req.ask_again, s->policy->attempts_max - \
1) &&""",
     """           p->spent < s->policy->attempts_max - 1 &&""",
     "a second prompt is the client's choice"),
    ("asks once too often", "flow_evidence.c",
     """           p->spent < MIN(p->req.ask_again,""",
     """           p->spent <= MIN(p->req.ask_again,""",
     "a second prompt is the client's choice"),
    ("asks again at once", "flow_evidence.c",
     """    return step_not_before(s, step_backoff(s, BACKOFF_SPENT));""",
     """    return step_not_before(s, s->now_at);""",
     "the first prompt may still be on the screen"),
    ("no pause between equal amounts", "flow_words.c",
     """    return MAX(at, s->p->pushed_at + s->policy->same_amount_gap_us);""",
     """    return at;""",
     "the provider answers 17, and nobody knows of which push"),
    ("a soft callback lets go on", "flow_evidence.c",
     """    else if (kind != VERDICT_PROVE && s->p->waits != WAIT_PROOF)
        callback_soft(s);""",
     "",
     "an attempt that was believed unsent has a callback: it was sent"),
    ("17 after one's own push", "flow_evidence.c",
     """    if (may_be_own(s))
        callback_soft(s);
    else
        end_failed(s);""",
     """    end_failed(s);""",
     "it says that the earlier push lives"),
    ("a lock after a person's word", "flow_push.c",
     """    return s->p->evidence == EVIDENCE_PERSON;""",
     """    return s->p->evidence == EVIDENCE_NONE;""",
     "the lock may be the push that the person thought dead"),
    ("attempt numbers are used again", "flow_due.c",
     """    p->attempt++;""",
     """    p->attempt = p->spent + 1;""",
     "a number is an identity: paths, recorders and ids hang on it"),
    ("the old id stays", "flow_due.c",
     """    p->query_code[0] = p->checkout_id[0] = p->merchant_id[0] = \
'\\0';""",
     """    p->query_code[0] = '\\0';""",
     "queries would ask about the attempt before"),
    # --- people ---
    ("again while its worker lives", "flow_money.c",
     """    if (s->p->owner && !s->e->force)""",
     """    if (s->p->owner && s->e->force)""",
     "the worker may be about to send"),
    ("a person decides about anything", "flow_money.c",
     """    else if (!step_open_question(p))
        s->refused = "it is neither unknown nor unresolved";""",
     "",
     "a decision would end what is on its way"),
    ("a person means another attempt", "flow_money.c",
     """    if (s->e->attempt != p->attempt)
        s->refused = "another attempt has been made since";
    else if""",
     """    if""",
     "what was looked at is not what is open now"),
    ("nothing found is nothing paid", "flow_money.c",
     """                "presumed not charged: Pull was asked twice and has no \
record");
    step_unresolved(s);""",
     """                "presumed not charged: Pull was asked twice and has no \
record");
    step_wait(s, WAIT_RETRY, s->now_at);""",
     "absence is no proof"),
    ("again past the deadline", "flow_money.c",
     """    if (at >= s->p->deadline_at) {""",
     """    if (at > s->p->deadline_at) {""",
     "it would wait for a push that cannot come"),
    # --- money ---
    ("the first word stands", "flow_evidence.c",
     """    if (kind == VERDICT_PAID) {
        callback_paid(s);
        return;
    }""",
     """    if (kind == VERDICT_PAID) {
        if (!payment_state_final(s->p->state))
            callback_paid(s);
        return;
    }""",
     "paid wins over failed"),
    ("only the last attempt pays", "flow_evidence.c",
     """    if (kind == VERDICT_PAID) {
        callback_paid(s);
        return;
    }""",
     """    if (kind == VERDICT_PAID) {
        if (s->e->attempt == s->p->attempt)
            callback_paid(s);
        return;
    }""",
     "late money of an earlier attempt would be dropped"),
    ("the later push goes out", "flow_money.c",
     """    s->actions[FLOW_DO_STOP_PUSH] =
        s->was->state == PAYMENT_SENDING && \
s->was->attempt != s->e->attempt;""",
     "",
     "it is paid already, and its next prompt still waits for a slot"),
    ("no alarm beside an open attempt", "flow_money.c",
     """    if (step_undecided(p))
        return p->attempt != s->e->attempt;""",
     """    if (step_undecided(p))
        return false;""",
     "two prompts, one paid: the other may be paid too"),
    ("alarm at every payment", "flow_money.c",
     """    if (step_undecided(p))
        return p->attempt != s->e->attempt;""",
     """    if (step_undecided(p))
        return true;""",
     "an alarm that always rings is none"),
    ("no alarm against a person", "flow_money.c",
     """    return payment_state_final(p->state) && p->evidence == \
EVIDENCE_PERSON;""",
     """    return false;""",
     "not paid, a person said, and the client has asked anew"),
    ("a second receipt is dropped", "flow_money.c",
     """    if (*has && *is && strcmp(has, is) != 0) {
        paid_twice(s, evidence);
        return;
    }""",
     """    if (*has && *is && strcmp(has, is) != 0)
        return;""",
     "a double charge nobody hears of"),
    ("one receipt counts twice", "flow_money.c",
     """    if (*has && *is && strcmp(has, is) != 0) {""",
     """    if (*has && *is) {""",
     "STK and C2B tell of one payment"),
    ("weaker evidence wins", "flow_money.c",
     """    bool stronger = evidence > s->p->evidence;""",
     """    bool stronger = evidence < s->p->evidence;""",
     "a matched notice would displace the callback's receipt"),
    ("evidence becomes weaker", "flow_money.c",
     """    keep_money(s, MAX(evidence, s->p->evidence));""",
     """    keep_money(s, evidence);""",
     "a receipt could then be taken away by less"),
    ("a receipt is taken by anything", "flow_money.c",
     """        p->evidence >= s->e->evidence)
        return;""",
     """        p->evidence < s->e->evidence)
        return;""",
     "paid is absorbing"),
    ("another amount is silent", "flow_money.c",
     """    s->actions[FLOW_DO_ALARM_DIFFERS] = true;""",
     """    s->actions[FLOW_DO_ALARM_DIFFERS] = false;""",
     "the merchant delivers for less than it asked"),
    # --- ends ---
    ("queries need not agree", "flow_evidence.c",
     """    if (strcmp(p->query_code, v->code) != 0) {""",
     """    if (!*p->query_code) {""",
     "the sandbox tells failures of what was paid"),
    ("queries agree at once", "flow_evidence.c",
     """    if (s->now_at - p->query_code_at < s->policy->query_agree_gap_us ||
        s->now_at - p->pushed_at""",
     """    if (s->now_at - p->pushed_at""",
     "two answers of one moment are one answer"),
    ("queries agree too young", "flow_evidence.c",
     """    if (s->now_at - p->query_code_at < s->policy->query_agree_gap_us ||
        s->now_at - p->pushed_at < s->policy->query_agree_age_us)""",
     """    if (s->now_at - p->query_code_at < \
s->policy->query_agree_gap_us)""",
     "a prompt of a minute may still be paid"),
    ("a silent prompt has failed", "flow_due.c",
     """                    "prompted, and no result in time");
        step_unknown(s);""",
     """                    "prompted, and no result in time");
        step_finish(s, PAYMENT_FAILED);""",
     "silence is not non-payment"),
    ("the window's end is failure", "flow_due.c",
     """        step_unresolved(s);
        return;""",
     """        step_finish(s, PAYMENT_FAILED);
        return;""",
     "without evidence a person decides"),
    ("unresolved in silence", "flow_words.c",
     """    s->actions[FLOW_DO_ALARM_UNRESOLVED] = s->was->state != \
PAYMENT_UNRESOLVED;""",
     "",
     "nobody would look at it"),
    ("rejected after a push", "flow_words.c",
     """    return p->pushed_at != 0 || p->spent > 0 || p->replays > 0;""",
     """    return p->pushed_at != 0 || p->replays > 0;""",
     "rejected and cancelled mean that the customer was never asked"),
    ("dead without a letter", "flow_words.c",
     """    step_finish(s, PAYMENT_DEAD);
    s->actions[FLOW_DO_DEAD_LETTER] = true;""",
     """    step_finish(s, PAYMENT_DEAD);""",
     "nobody would find it for a replay"),
    ("an outage burns attempts", "flow_words.c",
     """    s->p->pushed_at = 0;
    step_wait(s, WAIT_RETRY, until_at);""",
     """    s->p->pushed_at = 0;
    step_spend(s, WAIT_RETRY, until_at);""",
     "what did not reach the customer counts for nothing"),
    # --- phones, versions, events ---
    ("unknown lets its phone go", "flow_words.c",
     """    step_move(s, PAYMENT_UNKNOWN);
    step_look_again(s);""",
     """    step_move(s, PAYMENT_UNKNOWN);
    s->p->holds_phone = false;
    step_look_again(s);""",
     "another push to a phone whose prompt may be open"),
    ("a phone is held for ever", "flow_due.c",
     """    if (s->p->holds_phone && s->now_at >= step_hold_ends(s))
        s->p->holds_phone = false;""",
     "",
     "one lost answer would bar a customer"),
    ("a freed phone wakes nobody", "flow.c",
     """    if (was->holds_phone && !s->p->holds_phone)
        s->actions[FLOW_DO_WAKE_PHONE] = true;""",
     "",
     "its next waiter would wait for its deadline"),
    ("a step keeps its version", "flow.c",
     """was->version + (s->ahead ? RECOVERED_AHEAD : 1);""",
     """was->version + (was->state != s->p->state);""",
     "two writers would both be right"),
    ("what was recovered follows at once", "flow.c",
     """s->ahead ? RECOVERED_AHEAD : 1""",
     """s->ahead ? 1 : 1""",
     "its version would be that of an event that was told and forgotten"),
    ("a change is not announced", "flow.c",
     """    s->actions[FLOW_DO_ANNOUNCE] = \
payment_state_announced(s->p->state);""",
     """    s->actions[FLOW_DO_ANNOUNCE] = payment_state_final(s->p->state);""",
     "the client's picture would be an old one"),
    ("owed events are forgotten", "flow_words.c",
     """    step_move(s, to);
    s->p->owner = 0;
    s->p->holds_phone = false;
    s->p->next_action_at = s->now_at + s->policy->announce_again_us;
}

bool""",
     """    step_move(s, to);
    s->p->owner = 0;
    s->p->holds_phone = false;
    s->p->next_action_at = 0;
}

bool""",
     "a crash before the event, and nobody tells the end"),
    ("a waiter sleeps past its deadline", "flow_words.c",
     """    s->p->next_action_at = MIN(until_at, s->p->deadline_at);""",
     """    s->p->next_action_at = until_at;""",
     "a 202 would have no end in its time"),
    # --- the tables beside it ---
    ("an unlisted code is a failure", "verdict.c",
     """        fill(ret, VERDICT_SOFT, RESULT_PROVIDER, false, -1);
}""",
     """        fill(ret, VERDICT_FAILED, RESULT_PROVIDER, false, -1);
}""",
     "unlisted is unknown"),
    ("busy is throttled", "verdict.def",
     """"system is busy", AMBIGUOUS, RESULT_PROVIDER, false)""",
     """"system is busy", THROTTLED, RESULT_THROTTLED, false)""",
     "it may come after the push was dispatched"),
    ("accepted without an id", "verdict.def",
     """PUSH(12, SHAPE_NO_ID, 200, "0", NULL, AMBIGUOUS, RESULT_LOST,     \
false)""",
     """PUSH(12, SHAPE_NO_ID, 200, "0", NULL, FAILED, RESULT_LOST,     \
false)""",
     "it says that it was accepted"),

    # --- replays ---
    ("a replay needs no proof", "flow_replay.c",
     """    step_wait(s, WAIT_PROOF, rest_ends(s));""",
     """    step_wait(s, WAIT_RETRY, rest_ends(s));""",
     "one word of the provider's about the last attempt is thin proof"),
    ("anything is replayed", "flow_replay.c",
     """    if (p->state != PAYMENT_DEAD)""",
     """    if (p->state == PAYMENT_SUCCEEDED)""",
     "what is unknown or under way would be pushed beside itself"),
    ("replayed for ever", "flow_replay.c",
     """p->replays >= s->policy->replays_max""",
     """p->replays > s->policy->replays_max + 99""",
     "a letter that always comes back would go round for ever"),
    ("a replay outlives its client's wish", "flow_replay.c",
     """    return wish ? MIN(at, wish) : at;""",
     """    return wish ? MAX(at, wish) : at;""",
     "the client has long given up, or sold the goods to another"),
    ("a replay asks at once", "flow_replay.c",
     """    return step_not_before(s, MAX(s->now_at, s->p->updated_at + \
pause_us));""",
     """    return pause_us ? s->now_at : 0;""",
     "a customer would see one prompt upon the other"),
    ("a replay forgets its pushes", "flow_evidence.c",
     """    return s->p->spent > 0 || s->p->replays > 0;""",
     """    return s->p->spent > 0;""",
     "too soon after an equal push, which may have been our own"),
    ("a replay asks again for its client", "flow_evidence.c",
     """           p->replays == 0 &&
""",
     """""",
     "more prompts than the client allowed"),
]
