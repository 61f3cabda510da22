/*
 * The end of a push, as its own worker saw it: proven not sent, lost, or
 * answered. One function per verdict.
 */
#include "consumer/flow_priv.h"

#include "common/must.h"

#define SOME_VERSION 1 /* no token's: those are far above it */

/* What proves that nothing left is proof of its own claim only: where Postgres
   has forgotten that one, the attempt of this number may be another worker's,
   and may have left. */
static bool own_claim(const struct step *s)
{
    return s->p->owner == s->e->owner;
}

void flow_not_sent(struct step *s)
{
    if (!step_open_push(s->p) || !own_claim(s))
        return;
    step_result(s, s->e->unreachable ? RESULT_UNREACHABLE : RESULT_NONE,
                EVIDENCE_ANSWER, s->e->unreachable ? "unreachable" : "",
                s->e->unreachable ? s->e->why.text : "");
    step_unsent(s, step_backoff(s, s->e->unreachable ? BACKOFF_UNREACHABLE
                                                     : BACKOFF_HELD));
}

/* Whether this end of a push is news: also to one that was taken over from a
   worker that was not dead. */
static bool unended(const struct payment *p)
{
    return p->state == PAYMENT_SENDING || (step_open_question(p) && p->owner);
}

/* Its mark in the recorder goes when this is written. Without an owner nobody
   asks the recorder, whose silence would mean "never begun". A new version, so
   that no write on an older view of the row brings the owner back. */
static void end_unknown(struct step *s)
{
    if (s->p->state == PAYMENT_UNRESOLVED)
        step_unresolved(s);
    else
        step_unknown(s);
    s->p->owner = 0;
}

void flow_lost(struct step *s)
{
    if (!unended(s->p))
        return;
    step_result(s, RESULT_LOST, EVIDENCE_ANSWER, "lost_answer", s->e->why.text);
    end_unknown(s);
}

static void answer_accepted(struct step *s)
{
    step_bind_ids(s);
    step_result(s, RESULT_NONE, EVIDENCE_ANSWER, "", "");
    step_move(s, PAYMENT_PROMPTED);
    s->p->owner = 0;
    s->p->queries = 0;
    s->p->auth_version = 0;
    s->p->next_action_at =
        MIN(step_next_query(s), s->p->pushed_at + s->policy->prompt_timeout_us);
}

static void answer_ambiguous(struct step *s)
{
    step_bind_ids(s);
    if (!unended(s->p))
        return;
    step_verdict(s, EVIDENCE_ANSWER);
    end_unknown(s);
}

static void answer_failed(struct step *s)
{
    step_verdict(s, EVIDENCE_ANSWER);
    step_finish(s, PAYMENT_FAILED);
}

/* Refused at the gateway (S13): again at once, with a newer token, which the
   version in the row sees to; a second refusal in a row waits like any other
   trouble. A dead worker's recorder does not tell the version. */
static void answer_auth(struct step *s)
{
    bool again = s->p->auth_version != 0;

    step_verdict(s, EVIDENCE_ANSWER);
    s->p->auth_version =
        MAX(MAX(s->e->token_version, SOME_VERSION), s->p->auth_version);
    step_unsent(s, step_backoff(s, again ? BACKOFF_AUTH_AGAIN : BACKOFF_AUTH));
}

static void answer_throttled(struct step *s)
{
    int64_t asked_us = MAX(s->e->verdict.retry_after_s, 0) * US_PER_S;

    step_verdict(s, EVIDENCE_ANSWER);
    step_unsent(s,
                MAX(step_backoff(s, BACKOFF_THROTTLED), s->now_at + asked_us));
}

/* A person said that the attempt before this one had not left. */
static bool on_a_persons_word(const struct step *s)
{
    return s->p->evidence == EVIDENCE_PERSON;
}

/* Busy with what? It may be that earlier attempt, alive after all. */
static void answer_locked(struct step *s)
{
    if (on_a_persons_word(s)) {
        answer_ambiguous(s);
        return;
    }
    step_verdict(s, EVIDENCE_ANSWER);
    step_unsent(s, step_backoff(s, BACKOFF_PHONE_BUSY));
}

static bool refuses(enum verdict_kind kind)
{
    return kind == VERDICT_FAILED || kind == VERDICT_AUTH ||
           kind == VERDICT_THROTTLED || kind == VERDICT_LOCKED;
}

void flow_answer(struct step *s)
{
    static const handler_fn by_kind[] = {
        [VERDICT_AMBIGUOUS] = answer_ambiguous,
        [VERDICT_ACCEPTED] = answer_accepted,
        [VERDICT_FAILED] = answer_failed,
        [VERDICT_AUTH] = answer_auth,
        [VERDICT_THROTTLED] = answer_throttled,
        [VERDICT_LOCKED] = answer_locked,
    };

    enum verdict_kind kind = s->e->verdict.kind;

    must(kind < ARRAY_LEN(by_kind));
    if (s->e->verdict.stop_line)
        s->actions[FLOW_DO_STOP_LINE] = true;
    if (refuses(kind) && !own_claim(s))
        return;
    if (step_open_push(s->p))
        by_kind[kind](s);
    else if (s->p->state == PAYMENT_WAITING && on_a_persons_word(s) &&
             kind == VERDICT_ACCEPTED)
        answer_accepted(s); /* it had left: no other one follows */
    else /* a callback was faster; its id is still worth having */
        step_bind_ids(s);
}
