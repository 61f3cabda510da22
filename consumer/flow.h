/*
 * The core: (payment, event, now) → (payment, actions). Pure: no I/O, no clock,
 * no library, no memory of its own. Everything that decides about a payment is
 * here and in the tables beside it (verdict, retry); the rooms only do what it
 * says. What a step returns is written on the version that was seen, together
 * with what must not be forgotten; the actions follow the commit.
 */
#ifndef FOLENI_CONSUMER_FLOW_H
#define FOLENI_CONSUMER_FLOW_H

#include "common/err.h"
#include "common/payment.h"
#include "consumer/verdict.h"

struct config;

enum flow_event_kind {
#define EVENT(id, number, name) id = number,
#include "consumer/flow.def"
#undef EVENT
};

enum flow_action {
#define ACTION(id) id,
#include "consumer/flow.def"
#undef ACTION
    FLOW_ACTIONS_N
};

/** Figures of the flow, from the settings; all durations in us. */
struct flow_policy {
    int attempts_max;
    int replays_max;
    int64_t backoff_min_us, backoff_max_us;
    int64_t busy_phone_min_us, busy_phone_max_us;
    int64_t phone_hold_us;
    int64_t query_first_us, query_max_us;
    int64_t query_agree_gap_us, query_agree_age_us;
    int64_t prompt_timeout_us, unresolved_after_us;
    int64_t push_timeout_us; /* a push without its end by then is an orphan */
    int64_t same_amount_gap_us; /* the provider's two-minute rule */
    int mac_key; /* of new attempts; the driver changes it with the settings */
    int64_t announce_again_us; /* an event without its report: send again   */
};

void flow_policy_from(const struct config *cfg, struct flow_policy *ret);

/** The longest that a row is left alone by itself, but for the window of one
 *  that is unknown. */
int64_t flow_wait_max(const struct flow_policy *policy);

/** What a person may decide: but for REPLAY, about what is unknown or
 *  unresolved. Numbers stand in notices.decision. */
enum resolution {
    RESOLVE_PAID,     /* with the receipt                                */
    RESOLVE_NOT_PAID, /* it is over                                      */
    RESOLVE_AGAIN,    /* push again: the person stands for the proof     */
    RESOLVE_REPLAY    /* a dead one comes back: REPLAYED                 */
};

/** How a dead payment comes back (rule S22). */
struct replay_terms {
    int64_t id;      /* the task, replays.id                             */
    int64_t give_us; /* its new deadline lies that far ahead             */
};

struct flow_event {
    enum flow_event_kind kind;
    int attempt;   /* which one it speaks of; 0 in DUE, ORPHAN          */
    uint32_t dice; /* random, for jitter                                */
    int64_t owner; /* DUE: the incarnation that would push it; NOT_SENT,
                      ANSWER: whose push it was; ORPHAN, NEVER_BEGAN: the one
                      that is dead                                      */
    struct verdict verdict; /* ANSWER, CALLBACK, QUERY                 */
    struct callback_money { /* CALLBACK, MONEY, RESOLVED, RECEIPT_TAKEN */
        char receipt[RECEIPT_MAX + 1];
        int64_t paid_at;
        int64_t amount; /* whole shillings, 0 = not said                */
        int64_t msisdn; /* 0 = not said, or masked                      */
    } money;
    enum evidence evidence; /* MONEY: C2B or PULL; RECEIPT_TAKEN: what
                               gave the receipt to the other payment    */
    bool shared; /* the receipt is bound to another payment too, on as good
                    evidence: neither gives way (S15)                  */
    enum resolution decision;   /* RESOLVED                              */
    struct replay_terms replay; /* REPLAYED                            */
    bool force;       /* RESOLVED, NO_MONEY: though its worker may live (S11) */
    struct err why;   /* NOT_SENT, LOST, RESOLVED, CANCEL: for the result's
                         text                                         */
    bool unreachable; /* NOT_SENT: name, connect or TLS                 */
    bool phone_taken; /* RECOVERED: another payment has the phone       */
    int64_t token_version; /* ANSWER: of the token that it carried, 0 = not
                              known                                     */
};

struct flow_out {
    bool changed; /* `next` must be written on the version seen         */
    struct payment next;
    bool actions[FLOW_ACTIONS_N];
    const char
        *refused; /* NO_MONEY, RESOLVED, REPLAYED, CANCEL: why nothing was
                            done, in words for a person; NULL = it was not
                            refused                                      */
};

/** What event @p e makes of @p p at @p now_at (database's clock, us). */
void flow_step(const struct payment *p, const struct flow_event *e,
               const struct flow_policy *policy, int64_t now_at,
               struct flow_out *ret);

/** What the claim's verdict makes of a request: the row to insert. */
enum claim_verdict {
    CLAIM_GO,        /* takes its phone and is pushed                        */
    CLAIM_WAIT,      /* its phone is taken, or equal amount too recently     */
    CLAIM_PARK,      /* its shortcode takes no push now; it had to be read   */
    CLAIM_LATE,      /* past its deadline                                    */
    CLAIM_CANCELLED, /* its client had cancelled it before              */
    CLAIM_SAME,      /* known already: nothing to do                         */
    CLAIM_OWN,       /* this incarnation's own, its answer was lost: push it,
                   or, when others made it unknown, say that it never left */
    CLAIM_OTHER      /* known with another body: key_conflict                */
};

/** The row for @p v (GO to CANCELLED); attempt 1 is `sending` for GO. The text
 *  of a cancelled one is the caller's to fill in. */
void flow_claim(const struct request *req, int64_t deadline_at, int64_t owner,
                enum claim_verdict v, const struct flow_policy *policy,
                int64_t now_at, struct payment *ret);

/** Whether it can still be cancelled: it waits, and no push of it may have gone
 *  out (S21). */
bool flow_may_cancel(const struct payment *p);

/** Whether a recorder may show an attempt that the row does not know of: of
 *  what is not over, of the dead, who may have been replayed, and of the paid,
 *  whose receipt may have been another's. */
bool flow_may_have_gone_on(enum payment_state s);

/** Whether a state may follow another (design: the picture of states). */
bool flow_may_move(enum payment_state from, enum payment_state to);

const char *flow_event_name(enum flow_event_kind k);

/** "unresolved", as in the metric, the log and the ledger; NULL = no alarm. */
const char *flow_alarm_name(enum flow_action a);

#endif
