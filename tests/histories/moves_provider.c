/*
 * What happens at the provider and among people, and how it is told: callbacks,
 * queries, notices, decisions.
 */
#include "tests/histories/rules.h"
#include "tests/histories/world_priv.h"

#include "common/must.h"

#include <stdio.h>
#include <string.h>

const struct world_code world_codes[] = {
    {"0", END_PAID},       {"1", END_FINAL},    {"1032", END_FINAL},
    {"2001", END_FINAL},   {"17", END_FINAL},   {"1019", END_SILENT},
    {"1037", END_SILENT},  {"26", END_UNSHOWN}, {"1001", END_UNSHOWN},
    {"1025", END_UNSHOWN}, {"9999", END_SOFT},  {"1036", END_SOFT},
    {"4242", END_SOFT},
};
#define CODES_N ARRAY_LEN(world_codes)

static struct verdict callbacks[CODES_N], queries[CODES_N], pending;

/* --- customers and the provider's word --- */

bool move_pay(struct world *w, uint32_t dice)
{
    struct attempt *a = &w->attempts[any_attempt(w, &dice)];
    enum end_kind kind = world_codes[a->code].kind;
    bool late = a->ended && (kind == END_SILENT || kind == END_SOFT) &&
                once_in(&dice, 4);

    if (!a->accepted || a->paid || (a->ended && !late))
        return false;
    a->paid = a->ended = true;
    return true;
}

bool move_end(struct world *w, uint32_t dice)
{
    struct attempt *a = &w->attempts[any_attempt(w, &dice)];

    if (!a->accepted || a->ended)
        return false;
    a->ended = true;
    a->code = 1 + (int)die(&dice, CODES_N - 1);
    return true;
}

static void set_money(struct world *w, struct flow_event *e, int attempt,
                      uint32_t *dice)
{
    static const char receipt[] = "RCPT00000";

    memcpy(e->money.receipt, receipt, sizeof(receipt));
    e->money.receipt[8] = (char)('A' + attempt);
    e->money.paid_at = w->now_at;
    e->money.amount = once_in(dice, 16) ? AMOUNT - 1 : AMOUNT;
}

bool move_callback(struct world *w, uint32_t dice)
{
    int attempt = any_attempt(w, &dice);
    struct attempt *a = &w->attempts[attempt];
    struct flow_event *e;
    int code;

    if (!a->ended)
        return false;
    code = a->paid && !(a->code && once_in(&dice, 4)) ? 0 : a->code;
    e = world_event(w, FLOW_CALLBACK, attempt, dice);
    e->verdict = callbacks[code];
    if (!once_in(&dice, 8))
        set_checkout_id(&e->verdict, attempt);
    if (!code) {
        set_money(w, e, attempt, &dice);
        if (once_in(&dice, 8))
            e->money.receipt[0] = '\0'; /* no item of it is guaranteed */
    } else if (!a->end_told) {
        a->end_told = true;
        a->end_told_at = w->now_at;
    }
    tell_sometimes_stale(w, e);
    return true;
}

static bool tell_money(struct world *w, uint32_t dice, enum evidence evidence)
{
    int attempt = any_attempt(w, &dice);
    struct flow_event *e;

    if (!w->attempts[attempt].paid)
        return false;
    e = world_event(w, FLOW_MONEY, attempt, dice);
    e->evidence = evidence;
    set_money(w, e, attempt, &dice);
    tell_sometimes_stale(w, e);
    return true;
}

bool move_c2b(struct world *w, uint32_t dice)
{
    return tell_money(w, dice, EVIDENCE_C2B);
}

bool move_pull(struct world *w, uint32_t dice)
{
    return tell_money(w, dice, EVIDENCE_PULL);
}

static void set_receipt(struct flow_event *e, const char *receipt)
{
    text_copy(e->money.receipt, sizeof(e->money.receipt), receipt);
}

bool move_foreign(struct world *w, uint32_t dice)
{
    struct flow_event *e;

    if (!w->row.attempt || !once_in(&dice, 3))
        return false;
    w->foreign = true;
    e = world_event(w, FLOW_MONEY, w->row.attempt, dice);
    e->evidence = EVIDENCE_C2B;
    set_receipt(e, FOREIGN_RECEIPT);
    tell_sometimes_stale(w, e);
    return true;
}

bool move_taken(struct world *w, uint32_t dice)
{
    struct flow_event *e;

    if (w->row.state != PAYMENT_SUCCEEDED || !*w->row.receipt)
        return false;
    w->foreign = true;
    e = world_event(w, FLOW_RECEIPT_TAKEN, w->row.attempt, dice);
    e->evidence = once_in(&dice, 2) ? EVIDENCE_CALLBACK : EVIDENCE_C2B;
    set_receipt(e, w->row.receipt);
    tell_sometimes_stale(w, e);
    return true;
}

/* The sandbox has told failures of prompts that were alive, or paid. Not twice,
   as far apart and as late as two answers have to be that count. */
static const struct verdict *queried(const struct world *w,
                                     const struct attempt *a, uint32_t *dice)
{
    int64_t age_us = w->now_at - a->committed_at;

    if (once_in(dice, 4))
        return &pending;
    if ((!a->ended || a->paid) && once_in(dice, 8) && age_us >= 0 &&
        age_us < rules_policy.query_agree_age_us && !w->jumped)
        return &queries[CANCELLED];
    if (a->paid)
        return &queries[0];
    return a->ended ? &queries[a->code] : &pending;
}

bool answer_query(struct world *w, int attempt, uint32_t dice)
{
    struct attempt *a = &w->attempts[attempt];
    struct flow_event *e;

    if (!a->asking)
        return false;
    e = world_event(w, FLOW_QUERY, attempt, dice);
    e->verdict = *queried(w, a, &dice);
    a->asking = once_in(&dice, 8); /* a second answer is on its way */
    a->proven |= a->asked_after && a->ended &&
                 e->verdict.kind == VERDICT_SOFT &&
                 strcmp(e->verdict.code, world_codes[a->code].code) == 0;
    tell_sometimes_stale(w, e);
    return true;
}

bool move_queried(struct world *w, uint32_t dice)
{
    int attempt = any_attempt(w, &dice);

    return answer_query(w, attempt, dice);
}

/* --- people --- */

bool move_no_money(struct world *w, uint32_t dice)
{
    struct flow_event *e;

    if (!w->row.attempt)
        return false;
    e = world_event(w, FLOW_NO_MONEY, w->row.attempt, dice);
    e->force = once_in(&dice, 4);
    tell_sometimes_stale(w, e);
    return true;
}

/* They may be wrong, and say so of an attempt that is none of the last. */
bool move_resolve(struct world *w, uint32_t dice)
{
    struct flow_event *e;

    if (!w->row.attempt)
        return false;
    e = world_event(w, FLOW_RESOLVED, any_attempt(w, &dice), dice);
    e->decision = (enum resolution)die(&dice, RESOLVE_AGAIN + 1);
    e->force = once_in(&dice, 4);
    if (!once_in(&dice, 4))
        set_receipt(e, FOREIGN_RECEIPT);
    tell_sometimes_stale(w, e);
    return true;
}

/* Of anything, and as often as it comes: the flow refuses. */
bool move_replay(struct world *w, uint32_t dice)
{
    struct flow_event *e = world_event(w, FLOW_REPLAYED, 0, dice);

    e->replay.id = 1 + die(&dice, 9);
    e->replay.give_us = (1 + die(&dice, 1200)) * US_PER_S;
    tell_sometimes_stale(w, e);
    return true;
}

bool move_cancel(struct world *w, uint32_t dice)
{
    struct flow_event *e = world_event(w, FLOW_CANCEL, 0, dice);

    text_copy(e->why.text, sizeof(e->why.text), "cancelled by its client");
    tell_sometimes_stale(w, e);
    return true;
}

void world_init(void)
{
    for (size_t i = 0; i < CODES_N; i++) {
        char body[64];
        int len = snprintf(body, sizeof(body), "{\"ResultCode\":\"%s\"}",
                           world_codes[i].code);
        struct verdict_answer a = {.status = 200,
                                   .content_type = "",
                                   .body = body,
                                   .len = (size_t)len,
                                   .retry_after_s = -1};

        verdict_callback(world_codes[i].code, "", &callbacks[i]);
        verdict_query(&a, &queries[i]);
    }
    pending = queries[CODES_N - 1]; /* nobody has heard of that code */
    must(pending.kind == VERDICT_PENDING);
}
