/*
 * What is due: retries, queries, time-outs, deadlines, events that are owed.
 * One function per state. And what ends what waits: its cancel.
 */
#include "consumer/flow_priv.h"

#include "common/must.h"

/* Gap between the queries that must repeat a callback's word (S14). */
#define PROOF_GAP_US (20 * US_PER_S)

static void expire(struct step *s)
{
    bool pushed = step_was_pushed(s->p);

    if (s->p->waits == WAIT_PROOF || s->p->class == RESULT_NO_ANSWER) {
        /* the callback's word stands */
        step_finish(s, PAYMENT_FAILED);
        return;
    }
    step_result(s, RESULT_EXPIRED, EVIDENCE_NONE, "expired",
                pushed ? "deadline passed before another attempt"
                       : "deadline passed before any push");
    step_finish(s, pushed ? PAYMENT_FAILED : PAYMENT_REJECTED);
}

static void begin_attempt(struct step *s)
{
    struct payment *p = s->p;

    step_move(s, PAYMENT_SENDING);
    p->attempt++;
    p->mac_key = s->policy->mac_key;
    p->owner = s->e->owner;
    p->holds_phone = true;
    p->pushed_at = s->now_at;
    p->queries = 0;
    p->query_code[0] = p->checkout_id[0] = p->merchant_id[0] = '\0';
    p->query_code_at = 0;
    p->next_action_at = s->now_at + s->policy->push_timeout_us;
    s->actions[FLOW_DO_PUSH] = true;
}

static void due_waiting(struct step *s)
{
    if (s->now_at >= s->p->deadline_at) {
        expire(s);
    } else if (s->p->waits == WAIT_PROOF) {
        step_query(s);
        s->p->next_action_at = MIN(s->now_at + PROOF_GAP_US, s->p->deadline_at);
    } else {
        begin_attempt(s);
    }
}

/* Its worker neither ended it nor died: the outcome may still come. */
static void due_sending(struct step *s)
{
    step_result(s, RESULT_LOST, EVIDENCE_NONE, "no_outcome",
                "no outcome of the push was noted in time");
    step_unknown(s);
}

static void due_prompted(struct step *s)
{
    step_query(s);
    if (s->now_at >= s->p->pushed_at + s->policy->prompt_timeout_us) {
        step_result(s, RESULT_NO_EVIDENCE, EVIDENCE_NONE, "no_callback",
                    "prompted, and no result in time");
        step_unknown(s);
    } else {
        s->p->next_action_at = MIN(
            step_next_query(s), s->p->pushed_at + s->policy->prompt_timeout_us);
    }
}

static void due_unknown(struct step *s)
{
    s->rewrite = true;
    if (s->p->holds_phone && s->now_at >= step_hold_ends(s))
        s->p->holds_phone = false;
    if (s->now_at >= step_window_ends(s)) {
        step_unresolved(s);
        return;
    }
    if (*s->p->checkout_id)
        step_query(s);
    step_look_again(s);
}

/* Final and unresolved rows are due only while an event of theirs is owed. */
static void due_told(struct step *s)
{
    bool owed = s->p->published_version < s->p->version;

    s->rewrite = true;
    s->p->next_action_at = owed ? s->now_at + s->policy->announce_again_us : 0;
    if (owed && s->p->state == PAYMENT_DEAD)
        s->actions[FLOW_DO_DEAD_LETTER] = true;
}

void flow_due(struct step *s)
{
    static const handler_fn by_state[] = {
        [PAYMENT_QUEUED] = NULL, /* never in Postgres */
        [PAYMENT_SENDING] = due_sending, [PAYMENT_PROMPTED] = due_prompted,
        [PAYMENT_WAITING] = due_waiting, [PAYMENT_UNKNOWN] = due_unknown,
        [PAYMENT_UNRESOLVED] = due_told, [PAYMENT_SUCCEEDED] = due_told,
        [PAYMENT_FAILED] = due_told,     [PAYMENT_REJECTED] = due_told,
        [PAYMENT_CANCELLED] = due_told,  [PAYMENT_SUPERSEDED] = due_told,
        [PAYMENT_DEAD] = due_told,
    };

    must(s->p->state < ARRAY_LEN(by_state) && by_state[s->p->state]);
    by_state[s->p->state](s);
    if (payment_state_announced(s->was->state) &&
        s->was->published_version < s->was->version)
        s->actions[FLOW_DO_ANNOUNCE] = true;
}

/* Also told late, when another worker has made the attempt and a callback has
   ended it: what waits for its proof goes on waiting for it. */
void flow_phone_busy(struct step *s)
{
    if (s->p->state != PAYMENT_WAITING || s->p->waits == WAIT_PROOF)
        return;
    if (s->p->waits != WAIT_PHONE) {
        step_wait(s, WAIT_PHONE, step_phone_look(s));
        return;
    }
    s->rewrite = true;
    s->p->next_action_at = MIN(step_phone_look(s), s->p->deadline_at);
}

bool flow_may_cancel(const struct payment *p)
{
    return p->state == PAYMENT_WAITING && !step_was_pushed(p);
}

void flow_cancel(struct step *s)
{
    if (s->p->state == PAYMENT_CANCELLED) {
        s->refused = "it is cancelled already";
    } else if (!flow_may_cancel(s->p)) {
        s->refused = "a push of it may have gone out, or it is over";
    } else {
        step_result(s, RESULT_WITHDRAWN, EVIDENCE_NONE, "cancelled",
                    s->e->why.text);
        step_finish(s, PAYMENT_CANCELLED);
    }
}
