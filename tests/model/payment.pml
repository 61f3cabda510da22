/*
 * The life of one payment, from its record in Kafka to its end: two workers
 * (started again when they have died and are settled), the ledger, the flight
 * recorders, the provider, and everything that may go wrong between them. Spin
 * goes through every order in which it may happen.
 *
 * Each transition stands on a line of its own with the function of the sources
 * that it is a model of; `world:` marks what nobody of ours does. One d_step is
 * one moment: one transaction, one message, one look at a clock. A process may
 * be frozen or die between any two of them.
 *
 * What is checked, by whom:
 *   provider  no push arrives while an earlier one, or the same, may still
 *             charge the customer (S1, S8 to S11, S14)
 *   row       moves as flow_may_move() says; paid is absorbing (S15)
 *   gate      nothing is sent for a row that is not in the air (S4, S7)
 *   intake    a partition stops when Postgres has forgotten, and only then (S2)
 *   judge     when nothing can happen any more the payment has ended, no answer
 *             was lost that somebody has, and a double charge raised the alarm
 *   runner    no run is endless (a cycle would be one), all code is reached
 */
#define W 2 /* workers; who died is started again when it was settled */
#define A 2 /* attempts */
#define NOBODY W
#define GONE (W + 1) /* an incarnation that nobody looks for any more */

#ifndef CRASHES
#define CRASHES 1 /* kill -9 of a worker; never of all */
#endif
#ifndef STALLS
#define STALLS 1 /* a living worker's heartbeat is late: frozen, cut off */
#endif
#ifndef CUTS
#define CUTS 1 /* answers to COMMIT that are lost */
#endif
#ifndef REPLAYS
#define REPLAYS 1 /* the record is read once more */
#endif
#ifndef DOUBLES
#define DOUBLES 1 /* a callback is applied twice */
#endif
#ifndef PERSONS
#define PERSONS 1 /* decisions of a person */
#endif

/* Whether w may read the flight recorder of d: a process of its host. */
#ifdef TWO_HOSTS
#define HERE(w, d) ((w == 0) == (d == 0))
#define LOST_HOST (!alive[0] || !alive[1])
#else
#define HERE(w, d) true
#define LOST_HOST false
#endif

mtype = {
    /* the row, as in common/payment.def; PROVING is waiting(proof) */
    QUEUED, SENDING, PROMPTED, WAITING, PROVING, UNKNOWN, UNRESOLVED,
    SUCCEEDED, FAILED, SPENT,
    /* how far a worker is with its push */
    IDLE, RECORD, CLAIM_UNSURE, LOOKED, TAKE_UNSURE, READY, CHECKED, MARKED,
    SENT, OUTCOME,
    /* what became of a push, as its worker sees it */
    NOTHING, NOT_SENT, ACCEPTED, REFUSED, AGAIN, LOST,
    /* what became of it in truth; REFUSED is one of them */
    NEVER, LIVE, LIED, SILENT, NOT_SHOWN, OVER, CHARGED,
    /* callbacks */
    CB_PAID, CB_FAILED, CB_PROVE
};

/* --- Postgres --- */
mtype state = QUEUED;
byte attempt, owner = NOBODY, spent;
bool known;   /* CheckoutRequestID */
byte receipt;
bool intake;  /* the record was claimed */
bool settled[W];
bool twice, alarm; /* possible_double_charge: seen, and said */

/* --- Kafka --- */
bool offset;  /* committed behind the record */
bool stopped; /* the partition, with an alarm */

/* --- workers --- */
bool alive[W];
mtype pc[W] = IDLE, out[W] = NOTHING;
bool late[W]; /* its heartbeat: others think it dead, it trusts nothing */
byte att[W];
bool lease[W];   /* of the push in hand (S7) */
bool current[W]; /* the row as it was looked at is the row as it is (S10) */

/* --- flight recorders, in files --- */
bool begun[W * A];
mtype noted[W * A] = NOTHING;
#define SLOT(w, n) (w * A + n - 1)

/* --- the provider, index 0 is not used --- */
mtype truth[A + 1] = NEVER, callback[A + 1] = NOTHING;
bool pardoned[A + 1]; /* a person vouched that nothing will come of it */

/* --- what may still go wrong --- */
byte crashes = CRASHES, stalls = STALLS, cuts = CUTS, replays = REPLAYS;
byte doubles = DOUBLES, persons = PERSONS;

#ifdef FORGETS
/* A standby that has not heard of the last commits, and is promoted once. (The
   provider then says no more than its answer, for fewer states.) */
bool copied, promoted;
mtype old_state;
byte old_attempt, old_owner, old_spent, old_receipt;
bool old_known, old_intake;
bool noticed[W] = true;   /* has heard of it: pushes of before are dropped */
bool remembers[W] = true; /* has compared Kafka and recorders with Postgres */
#define SERVED(w) (alive[w] && remembers[w])
/* It pushes nothing on a claim of before. (That it is frozen between its look
   at the clock and its mark, just then, is left out.) */
#define QUIET(w) (!alive[w] || noticed[w] || (late[w] && pc[w] != CHECKED))
#define MAY_BE_LATE(w) (stalls > 0 || !noticed[w])
/* What is lost is younger than a death takes to be settled. */
#define MAY_SETTLE (promoted || !copied)
/* The recorder of another host cannot be read: it helps only what Kafka knows,
   which is claims. */
#ifdef TWO_HOSTS
#define MAY_PROMOTE ((offset || !intake) && attempt < 2)
#else
#define MAY_PROMOTE true
#endif
#define FORGOT promoted
#else
#define SERVED(w) alive[w]
#define MAY_BE_LATE(w) (stalls > 0)
#define MAY_SETTLE true
#define FORGOT false
#endif

byte heard; /* the attempt whose acceptance somebody heard of */

#define OPEN_PUSH (state == SENDING || state == UNKNOWN || state == UNRESOLVED)
#define UNDECIDED (OPEN_PUSH || state == PROMPTED)
#define ENDED                                                         \
    (state == UNRESOLVED || state == SUCCEEDED || state == FAILED || \
     state == SPENT)
#define TRUSTED(w) !late[w]
#define DEAD(d) (late[d] && !settled[d])
#define HARMLESS(n)                                             \
    (truth[n] == NEVER || truth[n] == REFUSED || truth[n] == NOT_SHOWN)
/* A living worker has the attempt in hand: its bytes may leave or have left. */
#define LET_GO(w)                                                        \
    (att[w] == attempt &&                                                \
     (pc[w] == CHECKED || pc[w] == MARKED || pc[w] == SENT ||          \
      pc[w] == OUTCOME))

/* Its record is news. */
#define MONEY(n)                                              \
    (truth[n] == CHARGED &&                                   \
     (state != SUCCEEDED || receipt == 0 || (receipt != n && !twice)))
/* Within days leases end, calls too, and recorders are read. */
#define UNDER_WAY(w) (lease[w] || LET_GO(w) || ORPHANED(w))
#define IS_HEIR(w, d) (w != d && SERVED(w) && HERE(w, d))
#define SOMEONE (SERVED(0) || SERVED(1))
#define SOMEONE_BUT(d) SERVED(1 - d)
#define HEIR(d) IS_HEIR(1 - d, d)
#define IN_THE_AIR (UNDER_WAY(0) || UNDER_WAY(1))
#define OPEN_QUESTION (state == UNKNOWN || state == UNRESOLVED)
/* Its recorder counts: it is dead, and somebody of its host lives. */
#define ORPHANED(d)                                                  \
    (HEIR(d) && DEAD(d) && !alive[d] && OPEN_QUESTION && owner == d)

/* --- the row --- */

/* flow_may_move(); a new version: whoever has looked before is stale. */
inline move(to)
{
    assert(state != SUCCEEDED || to == SUCCEEDED);
    assert(to != SENDING || state == QUEUED || state == WAITING);
    assert(to != PROMPTED || OPEN_PUSH);
    assert(to != WAITING || OPEN_PUSH || state == PROVING);
    assert(to != PROVING || UNDECIDED);
    assert(to != UNRESOLVED || OPEN_QUESTION);
    state = to;
    current[0] = false;
    current[1] = false
}

inline leave(to) /* to a state without an owner */
{
    move(to);
    owner = NOBODY;
}

inline flow_claim(w)
{
    move(SENDING);
    attempt = 1;
    owner = w;
}

inline begin_attempt(w)
{
    move(SENDING);
    attempt = att[w];
    owner = w;
    known = false;
}

inline step_spend()
{
    assert(truth[attempt] != NEVER || FORGOT); /* none is burned */
    spent++;
    if
    :: spent < A -> leave(PROVING)
    :: else -> leave(SPENT)
    fi
}

/* The receipt, of which the number of the attempt is enough; 0 = not said. */
inline flow_paid(from, slip)
{
    if
    :: (UNDECIDED && attempt != from) ||
       (state == SUCCEEDED && receipt != 0 && slip != 0 && receipt != slip) ->
        twice = true;
        alarm = true
    :: else
    fi;
    if
    :: state != SUCCEEDED -> leave(SUCCEEDED); receipt = slip
    :: state == SUCCEEDED && receipt == 0 -> receipt = slip
    :: else
    fi
}

/* Only of its own claim: when Postgres has forgotten that, the attempt may be
   another worker's. */
inline flow_not_sent(w, n)
{
    if
    :: n == attempt && owner == w && OPEN_PUSH -> leave(WAITING)
    :: else
    fi
}

inline flow_lost(n)
{
    if
    :: n == attempt &&
       (state == SENDING || (state == UNKNOWN && owner != NOBODY)) ->
        leave(UNKNOWN)
    :: n == attempt && state == UNRESOLVED && owner != NOBODY ->
        leave(UNRESOLVED)
    :: else
    fi
}

inline flow_answer(n, said)
{
    if
    :: n == attempt && OPEN_PUSH ->
        if
        :: said == ACCEPTED -> leave(PROMPTED); known = true
        :: said == REFUSED -> leave(FAILED)
        :: else -> leave(WAITING)
        fi
    :: n == attempt && !OPEN_PUSH && said == ACCEPTED -> known = true
    :: else
    fi
}

inline flow_callback(n, said)
{
    if
    :: said == CB_PAID && state != QUEUED -> flow_paid(n, n)
    :: said == CB_FAILED && n == attempt &&
       (UNDECIDED || state == WAITING) -> leave(FAILED)
    :: said == CB_PROVE && n == attempt && UNDECIDED ->
        known = true;
        step_spend()
    :: else
    fi
}

inline forget_push(w) /* what a worker knows of its push */
{
    pc[w] = IDLE;
    att[w] = 0;
    out[w] = NOTHING;
    lease[w] = false;
}

inline perish(w)
{
    forget_push(w);
    alive[w] = false;
    late[w] = true;
    current[w] = false;
}

#ifdef FORGETS
/* flow_recovered(): attempts that began and of which the row knows nothing. */
inline enter_begun(w, d)
{
    if
    :: HERE(w, d) && begun[SLOT(d, 2)] && attempt < 2 ->
        state = UNKNOWN;
        attempt = 2;
        owner = NOBODY;
        known = false
    :: HERE(w, d) && !begun[SLOT(d, 2)] && begun[SLOT(d, 1)] &&
       attempt < 1 ->
        state = UNKNOWN;
        attempt = 1;
        owner = NOBODY;
        known = false
    :: else
    fi
}

/* Records in hand are those of a stopped partition. */
inline drop_claim(w)
{
    if
    :: stopped && (pc[w] == RECORD || pc[w] == CLAIM_UNSURE) -> forget_push(w)
    :: else
    fi
}

inline promote()
{
    promoted = true;
    state = old_state;
    attempt = old_attempt;
    owner = old_owner;
    spent = old_spent;
    known = old_known;
    receipt = old_receipt;
    intake = old_intake;
    noticed[0] = false;
    noticed[1] = false;
    remembers[0] = false;
    remembers[1] = false;
    current[0] = false;
    current[1] = false
}

inline copy()
{
    copied = true;
    old_state = state;
    old_attempt = attempt;
    old_owner = owner;
    old_spent = spent;
    old_known = known;
    old_receipt = receipt;
    old_intake = intake
}
#endif

inline be_born(w)
{
    owner = (owner == w -> GONE : owner); /* it took one when it was settled */
    begun[SLOT(w, 1)] = false;
    begun[SLOT(w, 2)] = false;
    noted[SLOT(w, 1)] = NOTHING;
    noted[SLOT(w, 2)] = NOTHING;
    settled[w] = false;
    late[w] = false;
    alive[w] = true
}

/* --- the provider --- */

/* A push arrives. It may charge the customer from now on, unless the provider
   refuses it. Nothing else may be able to. */
inline arrive(n, as)
{
    assert(truth[n] == NEVER);
    assert(n == 1 || HARMLESS(1) || pardoned[1]);
    assert(n == 2 || HARMLESS(2));
    truth[n] = as
}

/* --- a worker --- */

proctype Worker(byte w)
{
end:
    do
    /* the claim */
    :: d_step { /* intake_take() */
        SERVED(w) && pc[w] == IDLE && !intake && !stopped ->
            assert(!offset); /* a partition of which Kafka knows more stops */
            pc[w] = RECORD }
    :: d_step { /* intake_take(): read once more */
        SERVED(w) && pc[w] == IDLE && intake && replays > 0 ->
            replays--; pc[w] = RECORD }
    :: d_step { /* store_claim(): inserted, and the answer was heard */
        SERVED(w) && TRUSTED(w) && (pc[w] == RECORD || pc[w] == CLAIM_UNSURE) &&
        state == QUEUED ->
            flow_claim(w); intake = true;
            pc[w] = READY; att[w] = 1; lease[w] = true }
    :: d_step { /* store_claim(): inserted, and the answer was lost */
        SERVED(w) && TRUSTED(w) && pc[w] == RECORD && state == QUEUED &&
        cuts > 0 ->
            cuts--; flow_claim(w); intake = true; pc[w] = CLAIM_UNSURE }
    :: d_step { /* store_claim(): neither inserted nor heard of */
        SERVED(w) && TRUSTED(w) && pc[w] == RECORD && state == QUEUED &&
        cuts > 0 -> cuts--; pc[w] = CLAIM_UNSURE }
    :: d_step { /* is_own(): claimed by the try whose answer was lost */
        SERVED(w) && pc[w] == CLAIM_UNSURE && state == SENDING &&
        attempt == 1 && owner == w ->
            pc[w] = READY; att[w] = 1; lease[w] = true }
    :: d_step { /* begin_push(): its own, and taken over meanwhile */
        SERVED(w) && pc[w] == CLAIM_UNSURE && state == UNKNOWN &&
        attempt == 1 && owner == w ->
            pc[w] = OUTCOME; att[w] = 1; out[w] = NOT_SENT }
    :: d_step { /* judge(): known already */
        SERVED(w) && (pc[w] == RECORD || pc[w] == CLAIM_UNSURE) &&
        state != QUEUED && !(pc[w] == CLAIM_UNSURE && attempt == 1 &&
        owner == w && (state == SENDING || state == UNKNOWN)) ->
            intake = true; forget_push(w) }
#ifdef FORGETS
    :: d_step { /* intake_commit(): follows the claim */
        SERVED(w) && intake && !offset && pc[w] != RECORD &&
        pc[w] != CLAIM_UNSURE -> offset = true }
    :: d_step { /* remembered(): drops what it was about to push */
        alive[w] && pc[w] != CHECKED && !noticed[w] ->
            noticed[w] = true; lease[w] = false }
    :: d_step { /* start_part(), on_forgotten(), compare(): all is entered */
        alive[w] && noticed[w] && !remembers[w] && QUIET(0) && QUIET(1) ->
            stopped = (offset && !intake);
            drop_claim(w);
            enter_begun(w, 0);
            enter_begun(w, 1);
            remembers[w] = true }
#endif

    /* the next attempt */
    :: d_step { /* flow_due(): waiting, it is time */
        SERVED(w) && pc[w] == IDLE && state == WAITING && attempt < A ->
            pc[w] = LOOKED; att[w] = attempt + 1; current[w] = true }
    :: d_step { /* store_step(): the attempt is written, and heard of */
        SERVED(w) && pc[w] == LOOKED && current[w] ->
            begin_attempt(w); pc[w] = READY; lease[w] = true }
    :: d_step { /* store_step(): written, and the answer was lost */
        SERVED(w) && pc[w] == LOOKED && current[w] && cuts > 0 ->
            cuts--; begin_attempt(w); pc[w] = TAKE_UNSURE }
    :: d_step { /* store_step(): another version is there */
        SERVED(w) && pc[w] == LOOKED && !current[w] -> forget_push(w) }
    :: d_step { /* took_unheard(): given back as not sent */
        SERVED(w) && pc[w] == TAKE_UNSURE && attempt == att[w] && owner == w &&
        (state == SENDING || state == UNKNOWN) ->
            pc[w] = OUTCOME; out[w] = NOT_SENT }
    :: d_step { /* row_found(): others have decided */
        SERVED(w) && pc[w] == TAKE_UNSURE && !(attempt == att[w] &&
        owner == w && (state == SENDING || state == UNKNOWN)) ->
            forget_push(w) }

    /* the push */
    :: d_step { /* before_push(): no longer good for a push */
        alive[w] && pc[w] == READY && !(lease[w] && TRUSTED(w)) ->
            pc[w] = OUTCOME; out[w] = NOT_SENT; lease[w] = false }
    :: d_step { /* before_push(): lets it go */
        alive[w] && pc[w] == READY && lease[w] && TRUSTED(w) ->
            assert(state != WAITING && state != UNRESOLVED || FORGOT);
            pc[w] = CHECKED; lease[w] = false }
    :: d_step { /* recorder_begin(): marked before the first byte */
        alive[w] && pc[w] == CHECKED ->
            begun[SLOT(w, att[w])] = true;
            pc[w] = MARKED }
    :: d_step { /* call_start(): the push arrives and is accepted */
        alive[w] && pc[w] == MARKED ->
            arrive(att[w], LIVE); pc[w] = SENT }
    :: d_step { /* call_start(): the push arrives and is refused */
        alive[w] && pc[w] == MARKED ->
            arrive(att[w], REFUSED); pc[w] = SENT }
    :: d_step { /* call_start(): bytes leave, and get nowhere */
        alive[w] && pc[w] == MARKED -> pc[w] = SENT }
    :: d_step { /* call_done(): no answer, or none that is in the table */
        alive[w] && pc[w] == SENT -> pc[w] = OUTCOME; out[w] = LOST }
    :: d_step { /* note_answer(), recorder_answer(): accepted */
        alive[w] && pc[w] == SENT && truth[att[w]] != NEVER &&
        truth[att[w]] != REFUSED ->
            noted[SLOT(w, att[w])] = ACCEPTED;
            pc[w] = OUTCOME; out[w] = ACCEPTED; heard = att[w] }
    :: d_step { /* note_answer(), verdict_push(): refused for good */
        alive[w] && pc[w] == SENT && truth[att[w]] == REFUSED ->
            noted[SLOT(w, att[w])] = REFUSED;
            pc[w] = OUTCOME; out[w] = REFUSED }
    :: d_step { /* note_answer(), verdict_push(): token refused, throttled */
        alive[w] && pc[w] == SENT && truth[att[w]] == REFUSED ->
            noted[SLOT(w, att[w])] = AGAIN;
            pc[w] = OUTCOME; out[w] = AGAIN }
    :: d_step { /* flow_not_sent() */
        SERVED(w) && pc[w] == OUTCOME && out[w] == NOT_SENT ->
            flow_not_sent(w, att[w]); forget_push(w) }
    :: d_step { /* flow_lost() */
        SERVED(w) && pc[w] == OUTCOME && out[w] == LOST ->
            flow_lost(att[w]); forget_push(w) }
    :: d_step { /* flow_answer() */
        SERVED(w) && pc[w] == OUTCOME && out[w] != LOST &&
        out[w] != NOT_SENT ->
            flow_answer(att[w], out[w]); forget_push(w) }
    od
}

/* What any worker does that has a connection, whichever it is. */
proctype Someone()
{
    byte n;

end:
    do
    /* what is due */
    :: d_step { /* due_sending(): its worker has not ended it in time */
        SOMEONE && state == SENDING -> move(UNKNOWN) }
    :: d_step { /* due_prompted(): no result in time */
        SOMEONE && state == PROMPTED -> move(UNKNOWN) }
    :: d_step { /* due_unknown(): the window is over */
        SOMEONE && state == UNKNOWN && !IN_THE_AIR -> move(UNRESOLVED) }
    :: d_step { /* expire() */
        SOMEONE && (state == WAITING || state == PROVING) -> leave(FAILED) }

    /* evidence */
    :: d_step { /* apply_callback(), flow_callback() */
        SOMEONE && (callback[1] != NOTHING || callback[2] != NOTHING) ->
            n = (callback[1] != NOTHING -> 1 : 2);
            flow_callback(n, callback[n]); callback[n] = NOTHING; n = 0 }
    :: d_step { /* apply_callback(): and dies before its offset is committed */
        SOMEONE && callback[1] != NOTHING && doubles > 0 ->
            doubles--; flow_callback(1, callback[1]) }
    :: d_step { /* flow_query(): paid */
        SOMEONE && known && truth[attempt] == CHARGED &&
        (state == PROMPTED || state == UNKNOWN || state == PROVING) ->
            flow_paid(attempt, 0) }
    :: d_step { /* query_failure(): two agree, and are wrong perhaps */
        SOMEONE && known && (state == PROMPTED || state == UNKNOWN) &&
        truth[attempt] != CHARGED -> leave(FAILED) }
    :: d_step { /* query_soft(): the callback's word is repeated (S14) */
        SOMEONE && known && state == PROVING && truth[attempt] == NOT_SHOWN ->
            leave(WAITING) }
    :: d_step { /* flow_money(): what a C2B or Pull record says */
        SOMEONE && (MONEY(1) || MONEY(2)) && state != QUEUED ->
            n = (MONEY(1) -> 1 : 2); flow_paid(n, n); n = 0 }
    od
}

/* The death of worker d, as the others see it. */
proctype Takeover(byte d)
{
end:
    do
    :: d_step { /* flow_orphan() */
        SOMEONE_BUT(d) && DEAD(d) && state == SENDING && owner == d ->
            move(UNKNOWN) }
    :: d_step { /* flow_never_began(), recorder_read() */
        ORPHANED(d) && !begun[SLOT(d, attempt)] -> leave(WAITING) }
    :: d_step { /* mark_answer(), recorder_find() */
        ORPHANED(d) && noted[SLOT(d, attempt)] != NOTHING ->
            flow_answer(attempt, noted[SLOT(d, attempt)]) }
    :: d_step { /* flow_no_trace() */
        ORPHANED(d) && begun[SLOT(d, attempt)] &&
        noted[SLOT(d, attempt)] == NOTHING -> owner = NOBODY }
    :: d_step { /* pulse_settled(), recorder_remove() */
        HEIR(d) && DEAD(d) && MAY_SETTLE && !(owner == d && (state == SENDING ||
        OPEN_QUESTION)) -> settled[d] = true }
    od
}

proctype Daraja(byte n)
{
end:
    do
    :: d_step { /* world: the customer pays */
        (truth[n] == LIVE || truth[n] == LIED) ->
            truth[n] = CHARGED;
            callback[n] = (callback[n] == NOTHING -> CB_PAID : callback[n]) }
    :: d_step { /* world: cancelled, no answer, no funds */
        truth[n] == LIVE -> truth[n] = OVER; callback[n] = CB_FAILED }
    :: d_step { /* world: the same is said, and the customer pays later */
        truth[n] == LIVE -> truth[n] = LIED; callback[n] = CB_FAILED }
    :: d_step { /* world: nothing more is ever heard of it */
        (truth[n] == LIVE || truth[n] == LIED) -> truth[n] = SILENT }
    :: d_step { /* world: it is said not to have been shown, and was */
        truth[n] == LIVE -> truth[n] = LIED; callback[n] = CB_PROVE }
    :: d_step { /* world: the callback is lost */
        callback[n] != NOTHING -> callback[n] = NOTHING }
    :: d_step { /* world: the prompt was never shown */
        truth[n] == LIVE -> truth[n] = NOT_SHOWN; callback[n] = CB_PROVE }
    od
}

proctype Fate(byte w)
{
end:
    do
    :: d_step { /* pulse_term(): frozen or cut off, its claims are over */
        alive[w] && !late[w] && MAY_BE_LATE(w) ->
            stalls = (stalls > 0 -> stalls - 1 : 0);
            late[w] = true; lease[w] = false }
    :: d_step { /* beaten(): it lives, and nobody has settled it */
        SERVED(w) && late[w] && !settled[w] -> late[w] = false }
    :: d_step { /* on_declared_dead(): it ends */
        SERVED(w) && settled[w] -> perish(w) }
    :: d_step { /* world: a new incarnation; nothing is left of the old one */
        !alive[w] && settled[w] -> be_born(w) }
    :: d_step { /* world: its lease is over */
        lease[w] -> lease[w] = false }
    :: d_step { /* world: kill -9 */
        alive[w] && crashes > 0 && SOMEONE_BUT(w) ->
            crashes--; perish(w) }
    od
}

proctype Person()
{
end:
    do
    :: d_step { /* resolve_paid() */
        persons > 0 && OPEN_QUESTION &&
        truth[attempt] == CHARGED -> persons--; flow_paid(attempt, attempt) }
    :: d_step { /* resolve_not_paid(), worker_is_gone() */
        persons > 0 && OPEN_QUESTION && owner == NOBODY ->
            persons--; leave(FAILED) }
    :: d_step { /* resolve_again(), worker_is_gone() */
        persons > 0 && OPEN_QUESTION && owner == NOBODY ->
            persons--; pardoned[attempt] = true; leave(WAITING) }
    od
}

#ifdef FORGETS
proctype Standby()
{
end:
    do
    :: d_step { /* world: hears of commits, for the last time */
        !copied -> copy() }
    :: d_step { /* world: is promoted, sessions end, commits are gone */
        copied && !promoted && MAY_PROMOTE -> promote() }
    :: d_step { /* recover_place(), check_owners(): what was claimed (S2) */
        stopped ->
            assert(promoted);
            if
            :: state == QUEUED -> state = UNKNOWN; attempt = 1
            :: else
            fi;
            intake = true;
            stopped = false }
    od
}
#endif

/* Nothing can happen any more. */
proctype Judge()
{
end:
    timeout;
    assert(ENDED);
    assert(heard == 0 || known || state == SUCCEEDED || state == FAILED ||
           attempt > heard || LOST_HOST || FORGOT);
    assert(alarm || !(truth[1] == CHARGED && truth[2] == CHARGED))
}

init
{
    atomic {
        alive[0] = true;
        alive[1] = true;
        run Worker(0);
        run Worker(1);
        run Someone();
        run Takeover(0);
        run Takeover(1);
        run Fate(0);
        run Fate(1);
#ifndef FORGETS
        run Daraja(1);
        run Daraja(2);
#endif
        run Person();
#ifdef FORGETS
        run Standby();
#endif
        run Judge()
    }
}
