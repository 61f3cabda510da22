/*
 * What the tests of the flow are written with: a policy, payments in some
 * state, and events, at times counted from T0.
 */
#ifndef FOLENI_TESTS_UNIT_FLOW_STEPS_H
#define FOLENI_TESTS_UNIT_FLOW_STEPS_H

#include "common/clock.h"
#include "consumer/flow.h"

#define T0 (INT64_C(1800000000) * US_PER_S)
#define ME 7
#define OTHER 8

static const struct flow_policy policy = {
    .attempts_max = 3,
    .replays_max = 2,
    .backoff_min_us = 2 * US_PER_S,
    .backoff_max_us = 60 * US_PER_S,
    .busy_phone_min_us = 60 * US_PER_S,
    .busy_phone_max_us = 180 * US_PER_S,
    .phone_hold_us = 300 * US_PER_S,
    .query_first_us = 20 * US_PER_S,
    .query_max_us = 60 * US_PER_S,
    .query_agree_gap_us = 60 * US_PER_S,
    .query_agree_age_us = 180 * US_PER_S,
    .prompt_timeout_us = 90 * US_PER_S,
    .unresolved_after_us = 1800 * US_PER_S,
    .push_timeout_us = 85 * US_PER_S,
    .same_amount_gap_us = 120 * US_PER_S,
    .announce_again_us = 10 * US_PER_S,
};

static inline struct payment claimed(enum claim_verdict v)
{
    struct request req = {.msisdn = 254712345678,
                          .amount = 100,
                          .shortcode = 174379,
                          .requested_at = T0};
    struct payment p;

    flow_claim(&req, T0 + 900 * US_PER_S, ME, v, &policy, T0, &p);
    return p;
}

static inline struct flow_event event(enum flow_event_kind kind, int attempt)
{
    return (struct flow_event){
        .kind = kind, .attempt = attempt, .dice = 0x80000000u, .owner = ME};
}

static inline struct flow_out step(const struct payment *p,
                                   const struct flow_event *e, int64_t at)
{
    struct flow_out out;

    flow_step(p, e, &policy, at, &out);
    return out;
}

static inline struct flow_event answer(enum verdict_kind kind, int attempt)
{
    struct flow_event e = event(FLOW_ANSWER, attempt);

    e.verdict.kind = kind;
    e.verdict.retry_after_s = -1;
    if (kind == VERDICT_ACCEPTED)
        text_copy(e.verdict.checkout_id, sizeof(e.verdict.checkout_id),
                  "ws_CO_1");
    return e;
}

static inline struct flow_event callback(const char *code, int attempt)
{
    struct flow_event e = event(FLOW_CALLBACK, attempt);

    verdict_callback(code, "", &e.verdict);
    text_copy(e.verdict.checkout_id, sizeof(e.verdict.checkout_id), "ws_CO_1");
    if (e.verdict.kind == VERDICT_PAID)
        text_copy(e.money.receipt, sizeof(e.money.receipt), "RCPT000001");
    return e;
}

static inline struct flow_event query(const char *code, int attempt)
{
    struct flow_event e = callback(code, attempt);

    e.kind = FLOW_QUERY;
    e.money.receipt[0] = '\0';
    if (e.verdict.kind != VERDICT_PAID && e.verdict.kind != VERDICT_REPEAT)
        e.verdict.kind = VERDICT_SOFT;
    return e;
}

static inline struct payment prompted(void)
{
    struct payment p = claimed(CLAIM_GO);
    struct flow_event e = answer(VERDICT_ACCEPTED, 1);

    return step(&p, &e, T0 + US_PER_S).next;
}

static inline struct payment unknown(void)
{
    struct payment p = claimed(CLAIM_GO);
    struct flow_event e = event(FLOW_LOST, 1);

    return step(&p, &e, T0 + US_PER_S).next;
}

#endif
