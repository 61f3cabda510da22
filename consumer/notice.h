/*
 * Notices: what was learnt of payments outside of their callbacks. C2B
 * confirmations and Pull records say that money came, from whom, how much and
 * for which reference; which payment that is has to be found. A person's
 * decision names its payment. All of them stand in the table `notices` until
 * they are applied, so that whoever learnt of them may die.
 *
 * A record counts only when shortcode, phone, amount, reference and time single
 * out one attempt whose outcome is open; its reference is the client's and need
 * not be unique, so two that fit are left alone. What a receipt is bound to
 * already goes before all facts (rule S15). The room finds; the flow decides:
 * what is found goes to the driver, and only the ledger, read again, tells that
 * it was applied. Records of one receipt that differ in a fact are all kept and
 * none of them is applied any more. Nothing else is remembered, so nothing is
 * lost by a crash.
 *
 * Every worker scans: a notice is given to one of them by moving its next look
 * forward, to twice its age. It has a connection of its own.
 */
#ifndef FOLENI_CONSUMER_NOTICE_H
#define FOLENI_CONSUMER_NOTICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/config.h"
#include "common/loop.h"
#include "common/payment.h"
#include "consumer/flow.h"

#define NOTICE_PHONE_MAX 64

struct notice;

/** What became of a notice; numbers stand in Postgres. */
enum notice_disposition {
    NOTICE_OPEN = 0,      /* no payment fits yet, or one is being moved     */
    NOTICE_APPLIED = 1,   /* the payment has what it says                   */
    NOTICE_KNOWN = 2,     /* better evidence had said so: removed           */
    NOTICE_UNMATCHED = 3, /* no payment fits, and none will: kept and shown */
    NOTICE_AMBIGUOUS = 4, /* several fit, or it is contradicted: shown too   */
    NOTICE_REFUSED = 5    /* a person's: the payment was not as they saw it */
};

/** A C2B or Pull record. All texts are borrowed for the call; "" = not said. */
struct notice_record {
    enum evidence source; /* EVIDENCE_C2B or EVIDENCE_PULL             */
    const char *receipt;  /* never ""                                  */
    int64_t shortcode;    /* as the record has it                      */
    const char *phone;    /* as it came: plain, masked, or a hash      */
    int64_t amount;       /* whole shillings, 0 = no payment of ours   */
    const char *reference;
    int64_t paid_at; /* 0 = not said                              */
    const void *body;
    size_t body_len;
};

/** What a notice means for a payment. */
struct notice_finding {
    int64_t notice;
    enum notice_means {
        NOTICE_MONEY,   /* the payment is paid: FLOW_MONEY             */
        NOTICE_TAKEN,   /* its receipt is another's: FLOW_RECEIPT_TAKEN */
        NOTICE_DECISION /* a person's: FLOW_RESOLVED, FLOW_REPLAYED    */
    } means;
    struct uuid payment;
    int attempt;
    int version; /* DECISION: holds for this version alone, else 0    */
    enum evidence source;
    enum resolution decision;      /* DECISION                             */
    struct replay_terms replay;    /* DECISION of RESOLVE_REPLAY           */
    bool force;                    /* DECISION: S11 is met                 */
    char why[RESULT_TEXT_MAX + 1]; /* DECISION                        */
    char receipt[RECEIPT_MAX + 1];
    int64_t paid_at;
};

struct notice_spec {
    /** Asked before each scan: no findings are wanted when false. */
    bool (*wanted)(void *arg);
    /** One finding to be decided by the flow; notice_decided() when it is. */
    void (*on_finding)(void *arg, const struct notice_finding *f);
    void *arg;
};

struct notice *notice_new(struct loop *loop, const struct config *cfg,
                          const struct notice_spec *spec);
void notice_free(struct notice *notice);

/** Whether notices can be put now. */
bool notice_up(const struct notice *notice);

/**
 * @p stored of the records are new and stored; the others were there, the same
 * in all facts, or a payment has their receipt on as good evidence. @p err:
 * none may be stored; put them again.
 */
typedef void (*notice_put_fn)(void *arg, size_t stored, const struct err *err);

/** Stores @p n records (1 to worker.batch_max), which are copied; @p done runs
 *  when they are durable, never inside this call. */
void notice_put(struct notice *notice, const struct notice_record *records,
                size_t n, notice_put_fn done, void *arg);

/**
 * The flow has decided about a finding of notice @p id, and what it changed is
 * written: the notice is looked at again soon. @p refused is why nothing was
 * done, in words, for a DECISION that then ends as refused; else NULL.
 */
void notice_decided(struct notice *notice, int64_t id, const char *refused);

/**
 * A phone as it is compared: twelve digits, of which some may be '*' when at
 * least NOTICE_DIGITS_MIN are left, or a SHA-256 in lower-case hex; "" when
 * @p as_given is none of these, and then it fits no payment.
 */
#define NOTICE_DIGITS_MIN 6
void notice_phone(const char *as_given, char out[NOTICE_PHONE_MAX + 1]);

#endif
