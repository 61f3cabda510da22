/*
 * One handler per kind of event, each a short list of guards on the state. A
 * handler edits a copy of the payment; flow_step() then gives it its version,
 * derives what follows from the change (announce, wake the phone, when to look
 * again) and checks that the move is a legal one.
 *
 * Two things no handler does: push a payment whose last attempt is not proven
 * to have missed the customer, and leave `succeeded`, but for a receipt that is
 * another payment's (S15).
 */
#include "consumer/flow.h"

#include "common/config.h"
#include "common/must.h"
#include "common/recovered.h"
#include "consumer/flow_priv.h"

#include <string.h>

#define ANNOUNCE_AGAIN_US (10 * US_PER_S)

void flow_policy_from(const struct config *cfg, struct flow_policy *ret)
{
    *ret = (struct flow_policy){
        .attempts_max = (int)cfg->payments_attempts_max,
        .replays_max = (int)cfg->payments_replays_max,
        .mac_key = (int)cfg->callbacks_mac_key_id,
        .backoff_min_us = cfg->payments_backoff_min_ms * US_PER_MS,
        .backoff_max_us = cfg->payments_backoff_max_ms * US_PER_MS,
        .busy_phone_min_us = cfg->payments_busy_phone_min_ms * US_PER_MS,
        .busy_phone_max_us = cfg->payments_busy_phone_max_ms * US_PER_MS,
        .phone_hold_us = cfg->payments_phone_hold_ms * US_PER_MS,
        .query_first_us = cfg->payments_query_first_ms * US_PER_MS,
        .query_max_us = cfg->payments_query_max_ms * US_PER_MS,
        .query_agree_gap_us = cfg->payments_query_agree_gap_ms * US_PER_MS,
        .query_agree_age_us = cfg->payments_query_agree_age_ms * US_PER_MS,
        .prompt_timeout_us = cfg->payments_prompt_timeout_ms * US_PER_MS,
        .unresolved_after_us = cfg->payments_unresolved_after_ms * US_PER_MS,
        .push_timeout_us =
            (cfg->worker_lease_ms + cfg->gate_connect_timeout_ms +
             cfg->gate_total_timeout_ms) *
            US_PER_MS,
        .same_amount_gap_us = cfg->payments_same_amount_gap_ms * US_PER_MS,
        .announce_again_us = ANNOUNCE_AGAIN_US,
    };
}

int64_t flow_wait_max(const struct flow_policy *p)
{
    const int64_t waits[] = {
        p->backoff_max_us,     p->busy_phone_max_us,  p->phone_hold_us,
        p->query_max_us,       p->query_agree_age_us, p->prompt_timeout_us,
        p->push_timeout_us,    p->same_amount_gap_us, p->announce_again_us,
        p->query_agree_gap_us, PHONE_LOOK_MAX_US,
    };
    int64_t most = 0;

    for (size_t i = 0; i < ARRAY_LEN(waits); i++)
        most = MAX(most, waits[i]);
    return most;
}

/* CLAIM makes the row; nothing is there to be stepped. */
static void on_new_row(struct step *s)
{
    (void)s;
}

/* Events that speak of one attempt, the last: older ones have had their say.
   What may bring money or a refusal judges for itself. */
static bool concerns(const struct payment *p, const struct flow_event *e)
{
    switch (e->kind) {
    case FLOW_NOT_SENT:
    case FLOW_ANSWER:
    case FLOW_LOST:
    case FLOW_NEVER_BEGAN:
    case FLOW_NO_TRACE: return e->attempt == p->attempt;
    case FLOW_CLAIM:
    case FLOW_DUE:
    case FLOW_PHONE_BUSY:
    case FLOW_CALLBACK:
    case FLOW_QUERY:
    case FLOW_ORPHAN:
    case FLOW_MONEY:
    case FLOW_NO_MONEY:
    case FLOW_RESOLVED:
    case FLOW_RECEIPT_TAKEN:
    case FLOW_RECOVERED:
    case FLOW_REPLAYED:
    case FLOW_CANCEL: return true;
    }
    return false;
}

/* What follows from a change, whoever made it. */
static void conclude(struct step *s, struct flow_out *ret)
{
    const struct payment *was = s->was;

    ret->changed = s->change || s->rewrite;
    if (was->holds_phone && !s->p->holds_phone)
        s->actions[FLOW_DO_WAKE_PHONE] = true;
    if (!s->change)
        return;
    s->p->version = was->version + (s->ahead ? RECOVERED_AHEAD : 1);
    s->p->updated_at = s->now_at;
    s->actions[FLOW_DO_ANNOUNCE] = payment_state_announced(s->p->state);
    must(flow_may_move(was->state, s->p->state));
    must(was->state != PAYMENT_SUCCEEDED || s->p->state == was->state ||
         s->e->kind == FLOW_RECEIPT_TAKEN);
}

void flow_step(const struct payment *p, const struct flow_event *e,
               const struct flow_policy *policy, int64_t now_at,
               struct flow_out *ret)
{
    static const handler_fn handlers[] = {
        [FLOW_CLAIM] = on_new_row,
        [FLOW_DUE] = flow_due,
        [FLOW_PHONE_BUSY] = flow_phone_busy,
        [FLOW_NOT_SENT] = flow_not_sent,
        [FLOW_ANSWER] = flow_answer,
        [FLOW_LOST] = flow_lost,
        [FLOW_CALLBACK] = flow_callback,
        [FLOW_QUERY] = flow_query,
        [FLOW_NEVER_BEGAN] = flow_never_began,
        [FLOW_ORPHAN] = flow_orphan,
        [FLOW_NO_TRACE] = flow_no_trace,
        [FLOW_MONEY] = flow_money,
        [FLOW_NO_MONEY] = flow_no_money,
        [FLOW_RESOLVED] = flow_resolved,
        [FLOW_RECEIPT_TAKEN] = flow_receipt_taken,
        [FLOW_RECOVERED] = flow_recovered,
        [FLOW_REPLAYED] = flow_replayed,
        [FLOW_CANCEL] = flow_cancel,
    };
    struct step s = {
        .was = p,
        .p = &ret->next,
        .e = e,
        .policy = policy,
        .now_at = now_at,
        .actions = ret->actions,
    };

    memset(ret->actions, 0, sizeof(ret->actions));
    ret->next = *p;
    must(e->kind < ARRAY_LEN(handlers) && handlers[e->kind]);
    if (concerns(p, e))
        handlers[e->kind](&s);
    conclude(&s, ret);
    ret->refused = s.refused;
}

void flow_claim(const struct request *req, int64_t deadline_at, int64_t owner,
                enum claim_verdict v, const struct flow_policy *policy,
                int64_t now_at, struct payment *ret)
{
    must(v < CLAIM_SAME);
    *ret = (struct payment){
        .req = *req,
        .created_at = now_at,
        .updated_at = now_at,
        .deadline_at = deadline_at,
        .version = 1,
    };
    if (v == CLAIM_GO) {
        ret->state = PAYMENT_SENDING;
        ret->attempt = 1;
        ret->mac_key = policy->mac_key;
        ret->owner = owner;
        ret->holds_phone = true;
        ret->pushed_at = now_at;
        ret->next_action_at = now_at + policy->push_timeout_us;
    } else if (v == CLAIM_WAIT) {
        ret->state = PAYMENT_WAITING;
        ret->waits = WAIT_PHONE;
        ret->next_action_at = MIN(now_at + PHONE_LOOK_MIN_US, deadline_at);
    } else if (v == CLAIM_PARK) {
        ret->state = PAYMENT_WAITING;
        ret->waits = WAIT_LINE;
        ret->next_action_at = now_at;
    } else if (v == CLAIM_CANCELLED) {
        ret->state = PAYMENT_CANCELLED;
        ret->class = RESULT_WITHDRAWN;
        text_copy(ret->code, sizeof(ret->code), "cancelled");
        ret->next_action_at = now_at + policy->announce_again_us;
    } else {
        ret->state = PAYMENT_REJECTED;
        ret->class = RESULT_EXPIRED;
        text_copy(ret->code, sizeof(ret->code), "expired");
        text_copy(ret->text, sizeof(ret->text),
                  "deadline passed before any push");
        ret->next_action_at = now_at + policy->announce_again_us;
    }
}

bool flow_may_have_gone_on(enum payment_state s)
{
    return !payment_state_final(s) || s == PAYMENT_DEAD ||
           s == PAYMENT_SUCCEEDED;
}

bool flow_may_move(enum payment_state from, enum payment_state to)
{
#define TO(state) (1u << (state))
    static const unsigned moves[] = {
        [PAYMENT_QUEUED] = 0,
        [PAYMENT_SENDING] = TO(PAYMENT_PROMPTED) | TO(PAYMENT_WAITING) |
                            TO(PAYMENT_UNKNOWN) | TO(PAYMENT_SUCCEEDED) |
                            TO(PAYMENT_FAILED) | TO(PAYMENT_DEAD),
        [PAYMENT_PROMPTED] = TO(PAYMENT_UNKNOWN) | TO(PAYMENT_WAITING) |
                             TO(PAYMENT_SUCCEEDED) | TO(PAYMENT_FAILED) |
                             TO(PAYMENT_DEAD),
        [PAYMENT_WAITING] = TO(PAYMENT_SENDING) | TO(PAYMENT_WAITING) |
                            TO(PAYMENT_PROMPTED) | /* it had left after all */
                            TO(PAYMENT_UNKNOWN) |  /* the same, and no more */
                            TO(PAYMENT_SUCCEEDED) | TO(PAYMENT_FAILED) |
                            TO(PAYMENT_REJECTED) | TO(PAYMENT_CANCELLED),
        [PAYMENT_UNKNOWN] = TO(PAYMENT_UNKNOWN) | /* its worker lived */
                            TO(PAYMENT_PROMPTED) | TO(PAYMENT_WAITING) |
                            TO(PAYMENT_UNRESOLVED) | TO(PAYMENT_SUCCEEDED) |
                            TO(PAYMENT_FAILED) | TO(PAYMENT_DEAD),
        [PAYMENT_UNRESOLVED] = TO(PAYMENT_UNRESOLVED) | /* Pull has looked */
                               TO(PAYMENT_PROMPTED) | TO(PAYMENT_WAITING) |
                               TO(PAYMENT_SUCCEEDED) | TO(PAYMENT_FAILED) |
                               TO(PAYMENT_DEAD),
        [PAYMENT_SUCCEEDED] = TO(PAYMENT_SUCCEEDED) | /* its receipt came */
                              TO(PAYMENT_UNKNOWN),    /* it was another's */
        [PAYMENT_FAILED] = TO(PAYMENT_SUCCEEDED),
        [PAYMENT_REJECTED] = TO(PAYMENT_SUCCEEDED),
        [PAYMENT_CANCELLED] = TO(PAYMENT_SUCCEEDED),
        [PAYMENT_SUPERSEDED] = TO(PAYMENT_SUCCEEDED),
        [PAYMENT_DEAD] = TO(PAYMENT_SUCCEEDED) | TO(PAYMENT_WAITING) |
                         TO(PAYMENT_UNKNOWN), /* its replay was forgotten */
    };
#undef TO

    must(from < ARRAY_LEN(moves));
    return (moves[from] >> to) & 1u;
}

const char *flow_event_name(enum flow_event_kind k)
{
    switch (k) {
#define EVENT(id, number, name) \
    case id:                    \
        return name;
#include "consumer/flow.def"
#undef EVENT
    }
    return "";
}

const char *flow_alarm_name(enum flow_action a)
{
    static const char *const names[FLOW_ACTIONS_N] = {
        [FLOW_DO_STOP_LINE] = "misconfigured",
        [FLOW_DO_ALARM_DOUBLE] = "possible_double_charge",
        [FLOW_DO_ALARM_UNRESOLVED] = "unresolved",
        [FLOW_DO_ALARM_LATE] = "paid_late",
        [FLOW_DO_ALARM_DIFFERS] = "paid_not_as_asked",
        [FLOW_DO_ALARM_TAKEN] = "receipt_taken",
        [FLOW_DO_ALARM_SHARED] = "receipt_shared",
    };

    return names[a];
}
