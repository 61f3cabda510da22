/*
 * Money, wherever the word of it comes from (rule S15): paid wins over every
 * state, the stronger evidence over the weaker, and what looks like a second
 * charge is never dropped. Also its opposite, that none was found, and what a
 * person decides when nothing else speaks (rule S11).
 */
#include "consumer/flow_priv.h"

#include "common/must.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define SECOND "possible double charge, other receipts:"

/* --- words --- */

/* The provider's words where it used any, else our own. */
static void paid_words(struct step *s, enum evidence evidence)
{
    if (evidence == EVIDENCE_CALLBACK || evidence == EVIDENCE_QUERY)
        step_verdict(s, evidence);
    else if (evidence == EVIDENCE_PERSON)
        step_result(s, RESULT_PAID, evidence, "resolved",
                    *s->e->why.text ? s->e->why.text : "a person says paid");
    else
        step_result(s, RESULT_PAID, evidence, "0",
                    evidence == EVIDENCE_C2B ? "paid, says its C2B notice"
                                             : "paid, found in Pull records");
}

/* Paid, and yet not what was asked: told in the result's text too. */
static void compare_request(struct step *s)
{
    const struct callback_money *m = &s->e->money;
    const struct request *req = &s->p->req;
    bool amount = m->amount && m->amount != req->amount;
    bool phone = m->msisdn && m->msisdn != req->msisdn;
    char asked[16], from[16];

    if (!amount && !phone)
        return;
    s->actions[FLOW_DO_ALARM_DIFFERS] = true;
    msisdn_mask(req->msisdn, asked);
    msisdn_mask(phone ? m->msisdn : req->msisdn, from);
    snprintf(s->p->text, sizeof(s->p->text),
             "paid not as asked: %" PRId64 " of %" PRId64 " by %s for %s",
             amount ? m->amount : req->amount, req->amount, from, asked);
}

static void keep_money(struct step *s, enum evidence evidence)
{
    const struct callback_money *m = &s->e->money;

    s->p->evidence = evidence;
    if (s->e->shared && *m->receipt && strcmp(s->p->receipt, m->receipt) != 0)
        s->actions[FLOW_DO_ALARM_SHARED] = true;
    if (*m->receipt)
        text_copy(s->p->receipt, sizeof(s->p->receipt), m->receipt);
    if (m->paid_at)
        s->p->paid_at = m->paid_at;
}

/* --- paid --- */

/* An attempt other than the one that paid is, or may be, on its way; or a
   person said that it was not paid, and may have asked for it again. */
static bool asked_twice(const struct step *s)
{
    const struct payment *p = s->was;

    if (step_undecided(p))
        return p->attempt != s->e->attempt;
    return payment_state_final(p->state) && p->evidence == EVIDENCE_PERSON;
}

static void paid_first(struct step *s, enum evidence evidence)
{
    s->actions[FLOW_DO_STOP_PUSH] =
        s->was->state == PAYMENT_SENDING && s->was->attempt != s->e->attempt;
    if (asked_twice(s))
        s->actions[FLOW_DO_ALARM_DOUBLE] = true;
    else if (payment_state_final(s->was->state))
        s->actions[FLOW_DO_ALARM_LATE] = true;
    paid_words(s, evidence);
    keep_money(s, evidence);
    s->p->paid_attempt = s->e->attempt;
    compare_request(s);
    step_finish(s, PAYMENT_SUCCEEDED);
}

/* Whether @p word stands in @p text, between blanks. */
static bool has_word(const char *text, const char *word)
{
    size_t len = strlen(word);

    for (const char *at = text; (at = strchr(at, ' ')); at++)
        if (strncmp(at + 1, word, len) == 0 &&
            (at[1 + len] == ' ' || !at[1 + len]))
            return true;
    return false;
}

/* Adds @p receipt to the receipts that the text names; false when it is there
   already. One that does not fit is in the alarm alone. */
static bool name_receipt(struct payment *p, const char *receipt)
{
    size_t len;

    if (strncmp(p->text, SECOND, sizeof(SECOND) - 1) != 0)
        text_copy(p->text, sizeof(p->text), SECOND);
    else if (has_word(p->text, receipt))
        return false;
    len = strlen(p->text);
    if (len + 1 + strlen(receipt) < sizeof(p->text))
        snprintf(p->text + len, sizeof(p->text) - len, " %s", receipt);
    return true;
}

/* The stronger evidence has the receipt, the text has the other one. */
static void paid_twice(struct step *s, enum evidence evidence)
{
    bool stronger = evidence > s->p->evidence;

    if (!name_receipt(s->p, stronger ? s->p->receipt : s->e->money.receipt) &&
        !stronger)
        return; /* told already */
    s->actions[FLOW_DO_ALARM_DOUBLE] = true;
    if (stronger)
        keep_money(s, evidence);
    step_finish(s, PAYMENT_SUCCEEDED);
}

/* Only a callback is known to be of one attempt: a notice is of a payment. */
static bool of_another_attempt(const struct step *s)
{
    return s->e->kind == FLOW_CALLBACK && s->p->paid_attempt &&
           s->e->attempt != s->p->paid_attempt;
}

/* One payment, told on several ways: it counts once. */
static void paid_again(struct step *s, enum evidence evidence)
{
    const char *has = s->p->receipt, *is = s->e->money.receipt;

    if (*has && *is && strcmp(has, is) != 0) {
        paid_twice(s, evidence);
        return;
    }
    if (evidence <= s->p->evidence && (*has || !*is))
        return;
    if (!*has && of_another_attempt(s))
        s->actions[FLOW_DO_ALARM_DOUBLE] = true;
    keep_money(s, MAX(evidence, s->p->evidence));
    compare_request(s);
    step_finish(s, PAYMENT_SUCCEEDED);
}

void flow_paid(struct step *s, enum evidence evidence)
{
    if (s->p->state == PAYMENT_SUCCEEDED)
        paid_again(s, evidence);
    else
        paid_first(s, evidence);
}

void flow_money(struct step *s)
{
    must(s->e->evidence == EVIDENCE_C2B || s->e->evidence == EVIDENCE_PULL);
    flow_paid(s, s->e->evidence);
}

/* Stronger evidence says that our receipt is of another payment. */
void flow_receipt_taken(struct step *s)
{
    struct payment *p = s->p;

    if (p->state != PAYMENT_SUCCEEDED || !*p->receipt ||
        strcmp(p->receipt, s->e->money.receipt) != 0 ||
        p->evidence >= s->e->evidence)
        return;
    step_result(s, RESULT_NO_EVIDENCE, EVIDENCE_NONE, "receipt_taken",
                "its receipt belongs to another payment");
    p->receipt[0] = '\0';
    p->paid_at = 0;
    p->paid_attempt = 0;
    step_unknown(s);
    s->actions[FLOW_DO_ALARM_TAKEN] = true;
}

/* --- not paid, as far as anybody can see --- */

/* Whether somebody's word counts about this payment now; says why not. */
static bool may_settle(struct step *s)
{
    const struct payment *p = s->p;

    if (s->e->attempt != p->attempt)
        s->refused = "another attempt has been made since";
    else if (!step_open_question(p))
        s->refused = "it is neither unknown nor unresolved";
    return !s->refused;
}

/* The worker of the attempt may still bring its answer (rule S11). */
static bool worker_is_gone(struct step *s)
{
    if (s->p->owner && !s->e->force)
        s->refused = "its worker is not proven dead";
    return !s->refused;
}

void flow_no_money(struct step *s)
{
    static const char code[] = "not_found";

    if (!may_settle(s) || !worker_is_gone(s) || strcmp(s->p->code, code) == 0)
        return;
    step_result(s, RESULT_NO_EVIDENCE, EVIDENCE_PULL, code,
                "presumed not charged: Pull was asked twice and has no record");
    step_unresolved(s);
}

static void resolve_paid(struct step *s)
{
    if (!*s->e->money.receipt)
        s->refused = "paid needs the receipt";
    else
        flow_paid(s, EVIDENCE_PERSON);
}

static void resolve_not_paid(struct step *s)
{
    if (!worker_is_gone(s))
        return;
    step_result(s, RESULT_NO_EVIDENCE, EVIDENCE_PERSON, "resolved",
                *s->e->why.text ? s->e->why.text : "a person says not paid");
    step_finish(s, PAYMENT_FAILED);
}

static void resolve_again(struct step *s)
{
    int64_t at = step_not_before(s, s->now_at);

    if (!worker_is_gone(s))
        return;
    if (at >= s->p->deadline_at) {
        s->refused = "its deadline leaves no time for another attempt";
        return;
    }
    step_result(s, RESULT_NONE, EVIDENCE_PERSON, "resolved",
                *s->e->why.text ? s->e->why.text : "a person says push again");
    s->p->spent++;
    step_wait(s, WAIT_RETRY, at);
}

void flow_resolved(struct step *s)
{
    static const handler_fn by_decision[] = {
        [RESOLVE_PAID] = resolve_paid,
        [RESOLVE_NOT_PAID] = resolve_not_paid,
        [RESOLVE_AGAIN] = resolve_again,
    };

    must(s->e->decision < ARRAY_LEN(by_decision));
    if (may_settle(s))
        by_decision[s->e->decision](s);
}
