/*
 * A dead payment comes back (rule S22): with a deadline of its own and all its
 * attempts anew, and by way of proof. Its last attempt ended by one word of the
 * provider's; another push needs that word twice (S14), so it is asked for
 * first, and without it the payment ends again with its new deadline.
 */
#include "consumer/flow_priv.h"

#include "common/must.h"

static int64_t new_deadline(const struct step *s)
{
    int64_t at = s->now_at + s->e->replay.give_us;
    int64_t wish = s->p->req.expires_at;

    return wish ? MIN(at, wish) : at;
}

static bool may_return(struct step *s)
{
    const struct payment *p = s->p;

    if (p->state != PAYMENT_DEAD)
        s->refused = "it is not dead";
    else if (p->replays >= s->policy->replays_max)
        s->refused = "it was replayed as often as payments.replays_max allows";
    else if (new_deadline(s) <= s->now_at)
        s->refused = "its client wanted it before expires_at, which is over";
    else if (!*p->checkout_id)
        s->refused = "its last attempt has no CheckoutRequestID to ask for";
    return !s->refused;
}

/* Who has just died had his customer's phone just now: the pause is that of
   any other prompt that follows one. */
static int64_t rest_ends(const struct step *s)
{
    int64_t pause_us = step_backoff(s, BACKOFF_SPENT) - s->now_at;

    return step_not_before(s, MAX(s->now_at, s->p->updated_at + pause_us));
}

void flow_replayed(struct step *s)
{
    struct payment *p = s->p;

    must(s->e->replay.id > 0 && s->e->replay.give_us > 0);
    if (!may_return(s))
        return;
    p->deadline_at = new_deadline(s);
    p->spent = 0;
    p->replays++;
    p->replay = s->e->replay.id;
    p->queries = 0;
    step_wait(s, WAIT_PROOF, rest_ends(s));
}
