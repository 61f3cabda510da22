/*
 * The words that the handlers are written with: moves, results, instants.
 */
#include "consumer/flow_priv.h"

#include "common/must.h"
#include "consumer/retry.h"

void step_result(struct step *s, enum result_class class,
                 enum evidence evidence, const char *code, const char *text)
{
    s->p->class = class;
    s->p->evidence = evidence;
    text_copy(s->p->code, sizeof(s->p->code), code);
    text_copy(s->p->text, sizeof(s->p->text), text);
}

void step_verdict(struct step *s, enum evidence evidence)
{
    const struct verdict *v = &s->e->verdict;

    step_result(s, v->class, evidence, v->code, v->text);
}

void step_move(struct step *s, enum payment_state to)
{
    s->p->state = to;
    s->p->waits = WAIT_NONE;
    s->change = true;
}

void step_wait(struct step *s, enum payment_wait what, int64_t until_at)
{
    step_move(s, PAYMENT_WAITING);
    s->p->waits = what;
    s->p->owner = 0;
    s->p->holds_phone = false;
    s->p->next_action_at = MIN(until_at, s->p->deadline_at);
}

/* The final states: nothing is left to do but to be told. */
void step_finish(struct step *s, enum payment_state to)
{
    step_move(s, to);
    s->p->owner = 0;
    s->p->holds_phone = false;
    s->p->next_action_at = s->now_at + s->policy->announce_again_us;
}

bool step_in_the_air(const struct payment *p)
{
    return p->state == PAYMENT_SENDING || p->state == PAYMENT_PROMPTED ||
           p->state == PAYMENT_UNKNOWN;
}

bool step_undecided(const struct payment *p)
{
    return step_in_the_air(p) || p->state == PAYMENT_UNRESOLVED;
}

bool step_open_question(const struct payment *p)
{
    return p->state == PAYMENT_UNKNOWN || p->state == PAYMENT_UNRESOLVED;
}

void step_bind_ids(struct step *s)
{
    const struct verdict *v = &s->e->verdict;
    struct payment *p = s->p;

    if (!*p->checkout_id && *v->checkout_id) {
        text_copy(p->checkout_id, sizeof(p->checkout_id), v->checkout_id);
        text_copy(p->merchant_id, sizeof(p->merchant_id), v->merchant_id);
        s->rewrite = true;
    }
}

int64_t step_window_ends(const struct step *s)
{
    return s->p->pushed_at + s->policy->unresolved_after_us;
}

int64_t step_hold_ends(const struct step *s)
{
    return s->p->pushed_at + s->policy->push_timeout_us +
           s->policy->phone_hold_us;
}

int64_t step_next_query(const struct step *s)
{
    return s->now_at + retry_gap(s->p->queries, s->policy->query_first_us,
                                 s->policy->query_max_us);
}

/* When an unknown payment is looked at next. */
void step_look_again(struct step *s)
{
    int64_t at;

    if (!s->p->pushed_at) /* believed unsent until now: it counts from here */
        s->p->pushed_at = s->now_at;
    at = step_window_ends(s);
    if (*s->p->checkout_id)
        at = MIN(at, step_next_query(s));
    if (s->p->holds_phone)
        at = MIN(at, step_hold_ends(s));
    s->p->next_action_at = MAX(at, s->now_at + 1);
}

void step_unknown(struct step *s)
{
    step_move(s, PAYMENT_UNKNOWN);
    step_look_again(s);
}

void step_unresolved(struct step *s)
{
    step_move(s, PAYMENT_UNRESOLVED);
    s->p->holds_phone = false;
    s->p->next_action_at = s->now_at + s->policy->announce_again_us;
    s->actions[FLOW_DO_ALARM_UNRESOLVED] = s->was->state != PAYMENT_UNRESOLVED;
}

void step_query(struct step *s)
{
    s->p->queries++;
    s->rewrite = true;
    s->actions[FLOW_DO_QUERY] = true;
}

/* Never sooner after an attempt that left than Daraja's rule for equal
   amounts. */
int64_t step_not_before(const struct step *s, int64_t at)
{
    if (!s->p->pushed_at)
        return at;
    return MAX(at, s->p->pushed_at + s->policy->same_amount_gap_us);
}

int64_t step_backoff(const struct step *s, enum backoff why)
{
    const struct flow_policy *policy = s->policy;
    const struct {
        enum draw { DRAW_NOW, DRAW_DOUBLED, DRAW_BETWEEN } draw;
        int64_t low_us, high_us;
    } rows[BACKOFFS_N] = {
#define BACKOFF(id, draw, low, high) [id] = {draw, policy->low, policy->high},
#include "consumer/flow.def"
#undef BACKOFF
    };

    must(why < BACKOFFS_N);
    switch (rows[why].draw) {
    case DRAW_NOW: break;
    case DRAW_DOUBLED:
        return s->now_at + retry_backoff(MAX(s->p->attempt, 1),
                                         rows[why].low_us, rows[why].high_us,
                                         s->e->dice);
    case DRAW_BETWEEN:
        return s->now_at +
               retry_between(rows[why].low_us, rows[why].high_us, s->e->dice);
    }
    return s->now_at;
}

int64_t step_phone_look(const struct step *s)
{
    return s->now_at +
           retry_between(PHONE_LOOK_MIN_US, PHONE_LOOK_MAX_US, s->e->dice);
}

/* This attempt is over without a payment and may be followed by another: as
   long as there are attempts left. */
void step_spend(struct step *s, enum payment_wait what, int64_t until_at)
{
    s->p->spent++;
    if (s->p->spent < s->policy->attempts_max) {
        step_wait(s, what, until_at);
        return;
    }
    step_finish(s, PAYMENT_DEAD);
    s->actions[FLOW_DO_DEAD_LETTER] = true;
}

/* An attempt that was proven unsent has no time, those before it count, also
   those of before a replay. */
bool step_was_pushed(const struct payment *p)
{
    return p->pushed_at != 0 || p->spent > 0 || p->replays > 0;
}

bool step_open_push(const struct payment *p)
{
    return p->state == PAYMENT_SENDING || p->state == PAYMENT_UNKNOWN ||
           p->state == PAYMENT_UNRESOLVED;
}

/* Proven: nothing of this attempt left. It counts for nothing. */
void step_unsent(struct step *s, int64_t until_at)
{
    s->p->pushed_at = 0;
    step_wait(s, WAIT_RETRY, until_at);
}
