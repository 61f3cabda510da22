/*
 * What Postgres forgets, and who else wants the phone. A standby has heard of
 * commits up to some moment, and takes the server's place once: the row is as
 * it was then, while attempts that came since have come. Nobody pushes and no
 * evidence is heeded until the recorders were compared; some of it is told
 * again.
 */
#include "tests/histories/rules.h"
#include "tests/histories/world_priv.h"

#include <string.h>

/* --- Postgres --- */

bool move_copy(struct world *w, uint32_t dice)
{
    struct copy *c = &w->copy;

    (void)dice;
    if (c->made)
        return false;
    *c = (struct copy){true, w->row, w->receipts, {false}};
    for (int k = 1; k <= w->made; k++)
        c->end_told[k] = w->attempts[k].end_told;
    return true;
}

/* What no recorder shows goes out again: that is the precondition. */
static bool recorders_tell(const struct world *w)
{
    for (int k = w->copy.row.attempt + 1; k <= w->made; k++)
        if (w->attempts[k].came && w->lives[w->attempts[k].life].host_lost)
            return false;
    return true;
}

/* Terms of trust are over: what had not begun never does. */
static void end_claims(struct world *w)
{
    for (int k = 1; k <= w->made; k++) {
        struct attempt *a = &w->attempts[k];

        if (a->phase != PHASE_COMMITTED && a->phase != PHASE_UNSURE)
            continue;
        a->phase = PHASE_ENDED;
        a->end = FLOW_NOT_SENT;
        a->disproved = true;
    }
}

/* Its number is given again, so the next attempt of it is another one. */
static void forget_unsent(struct world *w)
{
    while (w->made > w->row.attempt && !w->attempts[w->made].came) {
        struct attempt *before = &w->attempts[--w->made];

        w->again -= before->counted_again;
        before->counted_again = false;
    }
}

bool move_forget(struct world *w, uint32_t dice)
{
    (void)dice;
    if (!w->copy.made || w->forgot || !recorders_tell(w))
        return false;
    if (w->other == OTHER_HOLDS && w->copy.row.holds_phone)
        return false; /* the other one is forgotten as well */
    end_claims(w);
    w->row = w->copy.row;
    w->receipts = w->copy.receipts;
    for (int k = 1; k <= w->made; k++) {
        w->attempts[k].end_told &= w->copy.end_told[k];
        w->attempts[k].asking = false;
    }
    forget_unsent(w);
    w->has_view = w->view_is_due = false;
    w->forgot = w->held = true;
    return true;
}

/* The last attempt that any recorder shows as begun. */
static int last_begun(const struct world *w)
{
    int k = w->made;

    while (k > 0 && !w->attempts[k].came)
        k--;
    return k;
}

static bool lacks_answer(const struct payment *p)
{
    return (p->state == PAYMENT_SENDING || p->state == PAYMENT_UNKNOWN ||
            p->state == PAYMENT_UNRESOLVED) &&
           !*p->checkout_id;
}

static bool shows_acceptance(const struct attempt *a)
{
    return (a->phase == PHASE_ANSWERED || a->phase == PHASE_ENDED) &&
           a->end == FLOW_ANSWER && a->answer == VERDICT_ACCEPTED;
}

bool move_compare(struct world *w, uint32_t dice)
{
    struct flow_event *e;
    int k = last_begun(w);

    if (!w->held)
        return false;
    if (k > w->row.attempt) {
        e = world_event(w, FLOW_RECOVERED, k, dice);
        e->phone_taken = w->other == OTHER_HOLDS;
        tell(w, e, false);
    }
    k = w->row.attempt;
    if (lacks_answer(&w->row) && shows_acceptance(&w->attempts[k]))
        tell_end(w, k, dice);
    w->held = false;
    return true;
}

/* --- the phone --- */

/* A prompt of ours that nobody has said to be over. */
static bool may_show(const struct world *w, const struct attempt *a)
{
    bool open = a->came && (!a->judged || (a->accepted && !a->ended));
    int64_t till = a->committed_at + rules_policy.push_timeout_us +
                   rules_policy.phone_hold_us;

    return open && !a->excused && w->now_at < till;
}

/* A wrong word has ended it, or a person was asked for one. */
static bool is_excused(const struct world *w)
{
    return w->person || w->foreign || w->jumped || w->unresolved ||
           w->row.state >= PAYMENT_SUCCEEDED;
}

bool move_other(struct world *w, uint32_t dice)
{
    (void)dice;
    if (w->held || w->row.holds_phone || w->other != OTHER_WAITS)
        return false;
    w->other = OTHER_HOLDS;
    for (int k = 1; k <= w->made; k++)
        rule(w, is_excused(w) || !may_show(w, &w->attempts[k]),
             "I1: one open prompt on a phone");
    return true;
}

/* Whoever waits for the phone is woken. */
bool move_other_ends(struct world *w, uint32_t dice)
{
    (void)dice;
    if (w->other != OTHER_HOLDS)
        return false;
    w->other = OTHER_WAITS;
    if (w->row.state == PAYMENT_WAITING && w->row.waits == WAIT_PHONE)
        w->row.next_action_at = w->now_at;
    return true;
}
