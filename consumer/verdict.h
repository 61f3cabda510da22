/*
 * What an answer means, as a table (verdict.def): the outcome of a push, of a
 * status query, of a callback → a verdict. Anything that is not in the table is
 * unknown: never failed, never retried (rule S12). Pure.
 */
#ifndef FOLENI_CONSUMER_VERDICT_H
#define FOLENI_CONSUMER_VERDICT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/payment.h"

enum verdict_kind {
    VERDICT_AMBIGUOUS, /* may have reached the customer                       */
    VERDICT_ACCEPTED,  /* Daraja queued the push                              */
    VERDICT_FAILED,    /* this payment is over, unpaid                        */
    VERDICT_AUTH,      /* token refused before anything was done              */
    VERDICT_THROTTLED, /* not delivered, resend later, spends nothing         */
    VERDICT_LOCKED,    /* subscriber busy: not delivered, 60-180 s            */
    VERDICT_PAID,
    VERDICT_PROVE,  /* probably not shown: a query must say the same (S14) */
    VERDICT_REPEAT, /* over, unpaid; but after an earlier attempt a sign that
                       that one lives                                      */
    VERDICT_SOFT,   /* final code that must be confirmed first             */
    VERDICT_PENDING /* no information yet                                  */
};

struct verdict {
    enum verdict_kind kind;
    enum result_class class;
    bool stop_line; /* misconfigured shortcode or endpoint: alarm, and stop   */
    char code[RESULT_CODE_MAX + 1];
    char text[RESULT_TEXT_MAX + 1];
    char checkout_id[CHECKOUT_ID_MAX + 1];
    char merchant_id[CHECKOUT_ID_MAX + 1];
    int64_t retry_after_s; /* asked for by the provider, -1 = not             */
    int row;               /* row of the table, -1 = none: for tests          */
};

/** A complete HTTP answer. */
struct verdict_answer {
    int status;
    const char *content_type, *body; /* body terminated, len bytes */
    size_t len;
    int64_t retry_after_s;
};

/** Of a push. */
void verdict_push(const struct verdict_answer *answer, struct verdict *ret);

/** Of a status query. Kinds: PAID, SOFT and REPEAT (a final code), AUTH,
 *  THROTTLED, PENDING (everything else). */
void verdict_query(const struct verdict_answer *answer, struct verdict *ret);

/** Of a callback's ResultCode. Kinds: PAID, FAILED, PROVE, REPEAT, SOFT. */
void verdict_callback(const char *code, const char *text, struct verdict *ret);

/** Name of a kind for logs and the flight recorder. */
const char *verdict_name(enum verdict_kind k);

/** The verdict that a name stands for, without texts and ids; ambiguous for an
 *  unknown name. */
void verdict_by_name(const char *name, struct verdict *ret);

#endif
