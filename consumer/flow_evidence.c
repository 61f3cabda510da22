/*
 * Evidence from elsewhere: callbacks, status queries, and what the death of a
 * worker leaves behind. It is taken from anyone at any time, once, keyed by
 * payment and attempt (rule S10). What says that money came is flow_money.c's.
 */
#include "consumer/flow_priv.h"

#include "common/must.h"
#include "common/recovered.h"

#include <string.h>

static void end_failed(struct step *s)
{
    step_verdict(s, EVIDENCE_CALLBACK);
    step_finish(s, PAYMENT_FAILED);
}

/* A query has to say the same before another push (S14), and that query is one
   of then: those that were asked before do not count. */
static void spend_and_prove(struct step *s, int64_t at)
{
    s->p->queries = 0;
    step_spend(s, WAIT_PROOF, at);
}

static int64_t next_prompt_at(const struct step *s)
{
    return step_not_before(s, step_backoff(s, BACKOFF_SPENT));
}

/* Whether the client wants another prompt after this one was not answered, and
   the deadline leaves time for it. Every attempt that counts is taken for a
   prompt: there are never more than 1 + ask_again; a replay forgets the count,
   and allows none. */
static bool may_ask_again(const struct step *s)
{
    const struct payment *p = s->p;

    return s->e->verdict.class == RESULT_NO_ANSWER && *p->checkout_id &&
           p->replays == 0 &&
           p->spent < MIN(p->req.ask_again, s->policy->attempts_max - 1) &&
           next_prompt_at(s) < p->deadline_at;
}

static void callback_failed(struct step *s)
{
    if (!may_ask_again(s)) {
        end_failed(s);
        return;
    }
    step_verdict(s, EVIDENCE_CALLBACK);
    spend_and_prove(s, next_prompt_at(s));
}

static void callback_soft(struct step *s)
{
    if (step_open_question(s->p))
        return;
    step_verdict(s, EVIDENCE_CALLBACK);
    step_unknown(s);
}

/* The attempt was believed to be over, and its callback says something else.
   What proves nothing stops the next attempt too, unless that waits for proof
   anyhow; a word that it was not shown agrees with what was believed. */
static void callback_after_all(struct step *s)
{
    enum verdict_kind kind = s->e->verdict.kind;

    if (strcmp(s->p->code, s->e->verdict.code) == 0)
        return; /* told again */
    step_bind_ids(s);
    if (kind == VERDICT_FAILED)
        end_failed(s);
    else if (kind != VERDICT_PROVE && s->p->waits != WAIT_PROOF)
        callback_soft(s);
}

/* Probably never shown; without its id nothing can be asked. */
static void callback_prove(struct step *s)
{
    if (!*s->p->checkout_id) {
        callback_soft(s);
        return;
    }
    step_verdict(s, EVIDENCE_CALLBACK);
    spend_and_prove(s, next_prompt_at(s));
}

/* Too soon after an equal push: of somebody else, or an earlier one of ours,
   which then reached the customer. */
static bool may_be_own(const struct step *s)
{
    return s->p->spent > 0 || s->p->replays > 0;
}

static void callback_repeat(struct step *s)
{
    if (may_be_own(s))
        callback_soft(s);
    else
        end_failed(s);
}

/* Each attempt before it may have been a prompt that the client allowed: no
   further one is asked for. */
static int may_be_spent(const struct step *s)
{
    int prompts = MIN(s->p->req.ask_again, s->policy->attempts_max - 1);

    return MAX(s->p->spent, MIN(s->e->attempt - 1, prompts));
}

/* The attempt that the event speaks of is one that Postgres has forgotten: how
   far it came was lost with it, and how often the customer was asked before. */
static void know_attempt(struct step *s)
{
    struct payment *p = s->p;

    p->spent = may_be_spent(s);
    p->attempt = s->e->attempt;
    p->mac_key = s->policy->mac_key;
    p->owner = 0;
    p->pushed_at = s->now_at;
    p->queries = 0;
    p->query_code[0] = p->checkout_id[0] = p->merchant_id[0] = '\0';
    p->query_code_at = 0;
    s->ahead = true;
}

/* It is never pushed again without evidence. */
static void enter_attempt(struct step *s)
{
    know_attempt(s);
    step_result(s, RESULT_LOST, EVIDENCE_NONE, RECOVERED_CODE, RECOVERED_TEXT);
    if (s->p->state == PAYMENT_UNRESOLVED)
        step_unresolved(s);
    else
        step_unknown(s);
}

/* A later attempt than this row knows of: that the provider speaks of it shows
   that it began, as a recorder does. What fails it ends a payment of which
   nothing else is in the air; otherwise its words are kept as no evidence, and
   its id is asked for; no other prompt follows from it. */
static void callback_of_forgotten(struct step *s)
{
    const struct verdict *v = &s->e->verdict;
    bool waits = s->p->state == PAYMENT_WAITING;

    if (payment_state_final(s->p->state) && s->p->state != PAYMENT_DEAD)
        return;
    enter_attempt(s);
    step_bind_ids(s);
    if (waits && v->kind == VERDICT_FAILED)
        end_failed(s);
    else
        step_result(s, v->class, EVIDENCE_NONE, v->code, v->text);
}

static bool told_so_when_forgotten(const struct step *s)
{
    return step_open_question(s->p) && s->p->evidence == EVIDENCE_NONE &&
           strcmp(s->p->code, s->e->verdict.code) == 0;
}

/* A push of the attempt that the row knows of may be stopped yet. */
static void callback_paid(struct step *s)
{
    s->ahead = s->e->attempt > s->p->attempt;
    if (s->ahead && s->p->state != PAYMENT_SENDING &&
        s->p->state != PAYMENT_SUCCEEDED) {
        know_attempt(s);
        step_bind_ids(s);
    }
    flow_paid(s, EVIDENCE_CALLBACK);
}

void flow_callback(struct step *s)
{
    static const handler_fn by_kind[] = {
        [VERDICT_FAILED] = callback_failed,
        [VERDICT_PROVE] = callback_prove,
        [VERDICT_REPEAT] = callback_repeat,
        [VERDICT_SOFT] = callback_soft,
    };
    enum verdict_kind kind = s->e->verdict.kind;

    if (kind == VERDICT_PAID) {
        callback_paid(s);
        return;
    }
    must(kind < ARRAY_LEN(by_kind) && by_kind[kind]);
    if (s->e->attempt > s->p->attempt)
        callback_of_forgotten(s);
    if (s->e->attempt != s->was->attempt || told_so_when_forgotten(s))
        return;
    if (step_undecided(s->p)) {
        step_bind_ids(s);
        if (s->e->verdict.stop_line)
            s->actions[FLOW_DO_STOP_LINE] = true;
        by_kind[kind](s);
    } else if (s->p->state == PAYMENT_WAITING) {
        callback_after_all(s);
    }
}

/* Two queries that agree, far enough apart, on a push that is old enough. */
static void query_failure(struct step *s)
{
    struct payment *p = s->p;
    const struct verdict *v = &s->e->verdict;

    if (strcmp(p->query_code, v->code) != 0) {
        text_copy(p->query_code, sizeof(p->query_code), v->code);
        p->query_code_at = s->now_at;
        s->rewrite = true;
        return;
    }
    if (s->now_at - p->query_code_at < s->policy->query_agree_gap_us ||
        s->now_at - p->pushed_at < s->policy->query_agree_age_us)
        return;
    step_verdict(s, EVIDENCE_QUERY);
    step_finish(s, PAYMENT_FAILED);
}

static void query_soft(struct step *s)
{
    bool proof = s->p->state == PAYMENT_WAITING && s->p->waits == WAIT_PROOF;

    if (proof && s->p->queries > 0 &&
        strcmp(s->e->verdict.code, s->p->code) == 0)
        step_wait(s, WAIT_RETRY, step_not_before(s, s->now_at));
    else if (!proof && step_undecided(s->p))
        query_failure(s);
}

void flow_query(struct step *s)
{
    if (s->e->verdict.kind == VERDICT_PAID) {
        flow_paid(s, EVIDENCE_QUERY);
        return;
    }
    if (s->e->attempt != s->p->attempt)
        return;
    if (s->e->verdict.kind == VERDICT_SOFT ||
        (s->e->verdict.kind == VERDICT_REPEAT && !may_be_own(s)))
        query_soft(s);
}

/* --- the death of a worker --- */

/* Only while it is that worker's: what it ended itself left its recorder. */
void flow_never_began(struct step *s)
{
    if (!step_open_push(s->p) || s->p->owner != s->e->owner)
        return;
    step_result(s, RESULT_NONE, EVIDENCE_NONE, "", "");
    step_unsent(s, s->now_at);
}

void flow_orphan(struct step *s)
{
    if (s->p->state != PAYMENT_SENDING || s->p->owner != s->e->owner)
        return;
    step_result(s, RESULT_LOST, EVIDENCE_NONE, "worker_died",
                "its worker died during the push");
    step_unknown(s);
}

/* Nobody on its host will find out more: other evidence has to. */
void flow_no_trace(struct step *s)
{
    s->rewrite = s->p->owner != 0;
    s->p->owner = 0;
}

/* --- what Postgres has forgotten --- */

/* It was paid, and yet asked for again: its receipt was found to be another's,
   which is forgotten too. Its number is not given again. */
static void paid_and_pushed(struct step *s)
{
    s->p->attempt = s->e->attempt;
    s->ahead = true;
    s->actions[FLOW_DO_ALARM_DOUBLE] = true;
    step_finish(s, PAYMENT_SUCCEEDED);
}

/* A recorder shows that a later attempt began than this row knows of. */
void flow_recovered(struct step *s)
{
    if (s->e->attempt <= s->p->attempt || !flow_may_have_gone_on(s->p->state))
        return;
    if (s->p->state == PAYMENT_SUCCEEDED) {
        paid_and_pushed(s);
        return;
    }
    s->p->holds_phone = !s->e->phone_taken;
    enter_attempt(s);
}
