/*
 * Between the files of the flow: what a handler works on, the words it writes
 * with, and the handlers themselves.
 */
#ifndef FOLENI_CONSUMER_FLOW_PRIV_H
#define FOLENI_CONSUMER_FLOW_PRIV_H

#include "common/clock.h"
#include "consumer/flow.h"

/* A waiter is woken when its phone is free; this is for a lost wake, and for
   the two-minute rule, which ends without anybody waking. */
#define PHONE_LOOK_MIN_US (10 * US_PER_S)
#define PHONE_LOOK_MAX_US (30 * US_PER_S)

/** What ended the last attempt, as far as the next one's time goes. */
enum backoff {
#define BACKOFF(id, draw, low, high) id,
#include "consumer/flow.def"
#undef BACKOFF
    BACKOFFS_N
};

/* What a handler works on. */
struct step {
    const struct payment *was;
    struct payment *p; /* the copy that becomes `next` */
    const struct flow_event *e;
    const struct flow_policy *policy;
    int64_t now_at;
    bool *actions;
    const char *refused;
    bool rewrite; /* fields moved, but nothing to announce */
    bool change;  /* a new version                         */
    bool ahead;   /* far behind those that were forgotten  */
};

typedef void (*handler_fn)(struct step *s);

/* --- flow_words.c --- */

/** Sets class, evidence, code and text of the result. */
void step_result(struct step *s, enum result_class class,
                 enum evidence evidence, const char *code, const char *text);
/** The same from the event's verdict. */
void step_verdict(struct step *s, enum evidence evidence);

/** A new version in state @p to. */
void step_move(struct step *s, enum payment_state to);
void step_wait(struct step *s, enum payment_wait what, int64_t until_at);
/** To a final state: nothing is left to do but to be told. */
void step_finish(struct step *s, enum payment_state to);
void step_unknown(struct step *s);
/** No evidence came: a person has to decide. Its owner stays, where it has one:
 *  what that worker or its recorder says still counts, and S11 asks for its
 *  death. */
void step_unresolved(struct step *s);
/** Proven: nothing of the attempt left. It counts for nothing. */
void step_unsent(struct step *s, int64_t until_at);
/** The attempt is over and counts; another may follow, or it is dead. */
void step_spend(struct step *s, enum payment_wait what, int64_t until_at);

bool step_in_the_air(const struct payment *p);
/** In the air or unresolved: evidence decides. */
bool step_undecided(const struct payment *p);
/** Nobody knows whether it is paid. */
bool step_open_question(const struct payment *p);
/** Whether a push may ever have left, be it over and proven unpaid. */
bool step_was_pushed(const struct payment *p);
/** Where a push may still be under way. */
bool step_open_push(const struct payment *p);

/** Keeps CheckoutRequestID and MerchantRequestID where none are known. */
void step_bind_ids(struct step *s);
/** Asks for a status query, and counts it. */
void step_query(struct step *s);
/** When an unknown payment is looked at next. */
void step_look_again(struct step *s);

/* Instants, database's clock. */
int64_t step_window_ends(const struct step *s);
int64_t step_hold_ends(const struct step *s);
int64_t step_next_query(const struct step *s);
/** @p at, but never sooner after an attempt that left than Daraja's rule for
 *  equal amounts allows. */
int64_t step_not_before(const struct step *s, int64_t at);
int64_t step_backoff(const struct step *s, enum backoff why);
int64_t step_phone_look(const struct step *s);

/* --- the handlers --- */

void flow_due(struct step *s); /* flow_due.c      */
void flow_phone_busy(struct step *s);
void flow_cancel(struct step *s);
void flow_not_sent(struct step *s); /* flow_push.c     */
void flow_lost(struct step *s);
void flow_answer(struct step *s);
void flow_callback(struct step *s); /* flow_evidence.c */
void flow_query(struct step *s);
void flow_never_began(struct step *s);
void flow_orphan(struct step *s);
void flow_no_trace(struct step *s);
void flow_recovered(struct step *s);
/** The event's verdict says paid. */
void flow_paid(struct step *s, enum evidence evidence); /* flow_money.c    */
void flow_money(struct step *s);
void flow_no_money(struct step *s);
void flow_resolved(struct step *s);
void flow_receipt_taken(struct step *s);
void flow_replayed(struct step *s);

#endif
