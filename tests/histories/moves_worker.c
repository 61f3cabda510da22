/*
 * What happens to the row and at the workers: the due-scan, pushes, deaths and
 * what is left behind.
 */
#include "tests/histories/rules.h"
#include "tests/histories/world_priv.h"

#define LEASE_US (15 * US_PER_S)
#define HOLD_US (10 * US_PER_S) /* of a row that the due-scan has found */

static int any_worker(const struct world *w, uint32_t *dice)
{
    return w->workers[die(dice, WORKERS_N)];
}

/* --- time and the ledger --- */

bool move_time(struct world *w, uint32_t dice)
{
    int64_t due_at = w->row.next_action_at;

    switch (die(&dice, 8)) {
    case 0:
    case 1: w->now_at += die(&dice, 20) * US_PER_S; break;
    case 2: w->now_at += die(&dice, 200) * US_PER_S; break;
    case 3:
        if (!once_in(&dice, 8))
            return false;
        w->jumped = true; /* the clock is set, to and fro */
        w->now_at += ((int64_t)die(&dice, 7200) - 3600) * US_PER_S;
        break;
    default:
        if (due_at <= w->now_at)
            return false;
        w->now_at = due_at + die(&dice, 2) * US_PER_S;
    }
    w->latest_at = MAX(w->latest_at, w->now_at);
    return true;
}

static bool is_due(const struct world *w)
{
    const struct payment *p = &w->row;
    bool pushes = p->state == PAYMENT_WAITING && p->waits != WAIT_PROOF;

    return !w->held && p->next_action_at && p->next_action_at <= w->now_at &&
           !(pushes && w->made == ATTEMPTS_MAX);
}

static void read_row(struct world *w, bool due)
{
    w->view = w->row;
    w->has_view = true;
    w->view_is_due = due;
}

/* The store may find the phone taken when an attempt is to be written. */
static void tell_due(struct world *w, uint32_t dice, bool on_view)
{
    struct flow_event *e = world_event(w, FLOW_DUE, 0, dice);

    e->owner = any_worker(w, &dice);
    if (w->row.state == PAYMENT_WAITING && w->row.waits != WAIT_PROOF &&
        w->now_at < w->row.deadline_at && w->other == OTHER_HOLDS)
        e->kind = FLOW_PHONE_BUSY;
    tell(w, e, on_view);
}

bool move_due(struct world *w, uint32_t dice)
{
    if (!is_due(w))
        return false;
    w->row.next_action_at = w->now_at + HOLD_US;
    tell_due(w, dice, false);
    return true;
}

bool move_scan(struct world *w, uint32_t dice)
{
    (void)dice;
    if (!is_due(w))
        return false;
    w->row.next_action_at = w->now_at + HOLD_US;
    read_row(w, true);
    return true;
}

bool move_scanned(struct world *w, uint32_t dice)
{
    if (!w->view_is_due || w->made == ATTEMPTS_MAX)
        return false;
    w->view_is_due = false;
    tell_due(w, dice, true);
    return true;
}

bool move_read(struct world *w, uint32_t dice)
{
    (void)dice;
    read_row(w, false);
    return true;
}

bool move_told(struct world *w, uint32_t dice)
{
    (void)dice;
    if (w->row.published_version == w->row.version)
        return false;
    w->row.published_version = w->row.version;
    if (w->row.state >= PAYMENT_UNRESOLVED)
        w->row.next_action_at = 0;
    return true;
}

/* --- a push --- */

static bool lives(const struct world *w, const struct attempt *a)
{
    return w->lives[a->life].alive;
}

static bool unbegun(const struct attempt *a)
{
    return a->phase == PHASE_COMMITTED || a->phase == PHASE_UNSURE;
}

/* A worker whose lease is over, or whose heartbeat stopped, begins nothing. */
bool move_begin(struct world *w, uint32_t dice)
{
    struct attempt *a = &w->attempts[any_attempt(w, &dice)];

    if (!a->life || a->phase != PHASE_COMMITTED || !lives(w, a) ||
        w->lives[a->life].distrusted || w->now_at > a->committed_at + LEASE_US)
        return false;
    a->phase = PHASE_BEGUN;
    a->came = true;
    return true;
}

bool move_arrive(struct world *w, uint32_t dice)
{
    struct attempt *a = &w->attempts[any_attempt(w, &dice)];

    if (!a->came || a->judged)
        return false;
    a->judged = true;
    a->accepted = !once_in(&dice, 4);
    return true;
}

void set_checkout_id(struct verdict *v, int attempt)
{
    v->checkout_id[0] = 'c';
    v->checkout_id[1] = (char)('A' + attempt);
    v->checkout_id[2] = '\0';
}

bool move_answer(struct world *w, uint32_t dice)
{
    static const enum verdict_kind refusals[] = {
        VERDICT_AUTH,   VERDICT_THROTTLED, VERDICT_LOCKED,
        VERDICT_FAILED, VERDICT_AMBIGUOUS,
    };
    struct attempt *a = &w->attempts[any_attempt(w, &dice)];

    if (!a->life || a->phase != PHASE_BEGUN || !a->judged || !lives(w, a))
        return false;
    a->phase = PHASE_ANSWERED;
    a->end = FLOW_ANSWER;
    if (!a->accepted)
        a->answer = refusals[die(&dice, ARRAY_LEN(refusals))];
    else
        a->answer = once_in(&dice, 5) ? VERDICT_AMBIGUOUS : VERDICT_ACCEPTED;
    a->with_id =
        a->answer == VERDICT_ACCEPTED || (a->accepted && once_in(&dice, 2));
    return true;
}

bool move_lose(struct world *w, uint32_t dice)
{
    struct attempt *a = &w->attempts[any_attempt(w, &dice)];

    if (!a->life || a->phase != PHASE_BEGUN || !lives(w, a))
        return false;
    a->phase = PHASE_LOST;
    a->end = FLOW_LOST;
    return true;
}

static bool is_refusal(enum verdict_kind kind)
{
    return kind == VERDICT_AUTH || kind == VERDICT_THROTTLED ||
           kind == VERDICT_LOCKED;
}

void tell_end(struct world *w, int attempt, uint32_t dice)
{
    struct attempt *a = &w->attempts[attempt];
    struct flow_event *e = world_event(w, a->end, attempt, dice);

    e->owner = a->life;
    e->unreachable = once_in(&dice, 2);
    verdict_by_name(verdict_name(a->answer), &e->verdict);
    if (a->end == FLOW_ANSWER && a->with_id)
        set_checkout_id(&e->verdict, attempt);
    a->disproved |= a->end == FLOW_NOT_SENT ||
                    (a->end == FLOW_ANSWER && is_refusal(a->answer));
    tell_sometimes_stale(w, e);
}

bool move_not_sent(struct world *w, uint32_t dice)
{
    int attempt = any_attempt(w, &dice);
    struct attempt *a = &w->attempts[attempt];

    if (!a->life || !unbegun(a) || !lives(w, a))
        return false;
    a->end = FLOW_NOT_SENT;
    a->phase = PHASE_ENDED;
    tell_end(w, attempt, dice);
    return true;
}

bool move_store(struct world *w, uint32_t dice)
{
    int attempt = any_attempt(w, &dice);
    struct attempt *a = &w->attempts[attempt];

    if (!a->life || !lives(w, a) ||
        (a->phase != PHASE_ANSWERED && a->phase != PHASE_LOST))
        return false;
    tell_end(w, attempt, dice);
    a->phase = PHASE_ENDED;
    return true;
}

bool move_tell_again(struct world *w, uint32_t dice)
{
    int attempt = any_attempt(w, &dice);
    struct attempt *a = &w->attempts[attempt];

    if (!a->life || a->phase != PHASE_ENDED || !lives(w, a) || !a->end)
        return false;
    tell_end(w, attempt, dice);
    return true;
}

/* --- deaths --- */

static bool replace(struct world *w, uint32_t dice, bool dies)
{
    int *worker = &w->workers[die(&dice, WORKERS_N)];

    if (w->lives_n == LIVES_MAX)
        return false;
    w->lives[*worker].alive = !dies;
    w->lives[*worker].distrusted = true;
    w->lives[++w->lives_n] = (struct life){.alive = true};
    *worker = w->lives_n;
    w->view_is_due = false;
    return true;
}

bool move_crash(struct world *w, uint32_t dice)
{
    return replace(w, dice, true);
}

bool move_freeze(struct world *w, uint32_t dice)
{
    return replace(w, dice, false);
}

bool move_host_lost(struct world *w, uint32_t dice)
{
    struct life *l = &w->lives[1 + die(&dice, (uint32_t)w->lives_n)];

    if (l->alive || l->host_lost || w->held)
        return false;
    l->host_lost = true;
    return true;
}

bool move_orphan(struct world *w, uint32_t dice)
{
    if (w->held || w->row.state != PAYMENT_SENDING || !w->row.owner ||
        !w->lives[w->row.owner].distrusted)
        return false;
    tell_sometimes_stale(w, world_event(w, FLOW_ORPHAN, 0, dice));
    return true;
}

/* Stored, and forgotten: its mark is still there. */
static bool still_shows(const struct attempt *a)
{
    return a->phase == PHASE_ENDED && a->came;
}

/* It counts only when its process is dead, and shows what is not stored. */
bool move_recorder(struct world *w, uint32_t dice)
{
    const struct payment *p = &w->row;
    struct attempt *a = &w->attempts[p->attempt];
    struct flow_event *e;

    if (w->held || p->state != PAYMENT_UNKNOWN || !p->owner ||
        w->lives[p->owner].alive)
        return false;
    e = world_event(w, FLOW_NEVER_BEGAN, p->attempt, dice);
    if (w->lives[p->owner].host_lost || a->phase == PHASE_BEGUN ||
        a->phase == PHASE_LOST || (still_shows(a) && a->end != FLOW_ANSWER)) {
        e->kind = FLOW_NO_TRACE;
    } else if (a->phase == PHASE_ANSWERED || still_shows(a)) {
        tell_end(w, p->attempt, dice);
        return true;
    } else {
        a->disproved |= unbegun(a);
    }
    tell_sometimes_stale(w, e);
    return true;
}
