/*
 * What is made of one look at a notice. Pure. A receipt that is bound goes
 * before facts, stronger evidence before weaker, and where two fit nobody is
 * guessed at. Nor is where two notices say different things of one receipt:
 * whoever has it keeps it, and a person hears of it.
 *
 * An applied notice gets one look more: a callback may have brought its receipt
 * for another payment in the same moment, and then both have it.
 */
#include "consumer/notice_priv.h"

static void find(struct notice_act *ret, enum notice_means means,
                 const struct notice_place *at)
{
    ret->kind = NOTICE_FIND;
    ret->means = means;
    ret->payment = at->payment;
    ret->attempt = at->attempt;
}

static void take(struct notice_act *ret, const struct notice_place *at,
                 enum evidence stronger)
{
    find(ret, NOTICE_TAKEN, at);
    ret->stronger = stronger;
}

static void settle(struct notice_act *ret, const struct notice_look *look,
                   enum notice_disposition d, bool closed)
{
    ret->kind =
        d == look->disposition && !closed ? NOTICE_LEAVE : NOTICE_SETTLE;
    ret->disposition = d;
    ret->closed = closed;
}

/* The receipt is bound, and nobody else has it. */
static void judge_bound(const struct notice_look *look, struct notice_act *ret)
{
    const struct notice_place *h = &look->holder;

    if (h->evidence > look->source && look->disposition != NOTICE_APPLIED) {
        ret->kind = NOTICE_FORGET;
    } else if (h->evidence >= look->source) {
        settle(ret, look, NOTICE_APPLIED, look->disposition == NOTICE_APPLIED);
        ret->payment = h->payment;
        ret->attempt = h->attempt;
    } else if (h->fits) {
        find(ret, NOTICE_MONEY, h);
    } else if (look->open_n == 1 && !look->under_way) {
        take(ret, h, look->source); /* and then it is the other one's */
    } else {
        settle(ret, look, NOTICE_AMBIGUOUS, false); /* somebody was wrong */
    }
}

static void doubt(struct notice_act *ret, const struct notice_look *look)
{
    settle(ret, look, NOTICE_AMBIGUOUS, false);
    ret->denied = true;
}

static void judge_record(const struct notice_look *look, struct notice_act *ret)
{
    if (look->rival.there)
        take(ret, &look->rival, look->holder.evidence);
    else if (look->denied && look->disposition != NOTICE_APPLIED)
        doubt(ret, look);
    else if (look->holder.there)
        judge_bound(look, ret);
    else if (look->open_n > 1)
        settle(ret, look, NOTICE_AMBIGUOUS, false);
    else if (look->open_n == 1 && !look->under_way)
        find(ret, NOTICE_MONEY, &look->open);
    else if (look->open_n == 0 && look->over)
        settle(ret, look, NOTICE_UNMATCHED, false);
    else
        settle(ret, look, NOTICE_OPEN, false);
}

static void refuse(struct notice_act *ret, const struct notice_look *look,
                   const char *why)
{
    settle(ret, look, NOTICE_REFUSED, true);
    ret->why = why;
}

/* Which was applied is in the timeline; which can be is of one version. */
static void judge_decision(const struct notice_look *look,
                           struct notice_act *ret)
{
    const struct notice_place at = {
        .payment = look->payment,
        .attempt = look->attempt,
    };

    if (look->resolved)
        settle(ret, look, NOTICE_APPLIED, true);
    else if (!look->seen_so)
        refuse(ret, look, "the payment has changed since it was looked at");
    else if (look->owned)
        refuse(ret, look, "another payment has this receipt");
    else if (look->ordered_again)
        refuse(ret, look, "its client has asked for the same anew");
    else if (look->decision != RESOLVE_PAID && !look->gone)
        refuse(ret, look, "its worker is not proven dead");
    else
        find(ret, NOTICE_DECISION, &at);
}

void notice_judge(const struct notice_look *look, struct notice_act *ret)
{
    *ret = (struct notice_act){.kind = NOTICE_LEAVE};
    if (look->source == EVIDENCE_PERSON)
        judge_decision(look, ret);
    else
        judge_record(look, ret);
}
