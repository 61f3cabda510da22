/*
 * The bodies that the provider writes: answers, errors, callbacks.
 */
#ifndef FOLENI_TESTS_DARAJA_WORDS_H
#define FOLENI_TESTS_DARAJA_WORDS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base.h"

struct buf;
struct json_out;

#define WORDS_JSON "application/json;charset=UTF-8"
#define WORDS_HTML "text/html"

/** The envelope {"requestId", "errorCode", "errorMessage"}. */
void words_error(struct buf *out, const char *request_id, const char *code,
                 const char *message);

/** The API gateway's own error: {"fault": ...}. */
void words_fault(struct buf *out);

/** The edge firewall's page. */
void words_incapsula(struct buf *out, uint64_t incident);

/** "<html>...502 Bad Gateway..." */
void words_gateway(struct buf *out, int status);

/** @p expires_s is written as a string or as a number. */
void words_token(struct buf *out, const char *token, int64_t expires_s,
                 bool text);

/** Acceptance of a push; @p code other than "0" contradicts itself. */
void words_accepted(struct buf *out, const char *merchant_id,
                    const char *checkout_id, const char *code);

/** ResponseCode 1 and nothing to ask with. */
void words_nonzero(struct buf *out);

/** A finished prompt's query. */
void words_query(struct buf *out, const char *merchant_id,
                 const char *checkout_id, const char *code);

/** An open prompt's query that is answered 200. */
void words_pending(struct buf *out);

struct callback_words {
    const char *merchant_id, *checkout_id, *code;
    bool text_code;    /* ResultCode as a string             */
    bool balance_item; /* a Balance item without Value       */
    /* The rest stands in the metadata of code "0". */
    int64_t amount, msisdn, paid_at;
    const char *receipt;
};

void words_callback(struct buf *out, const struct callback_words *w);

/** How the payer is written in a C2B confirmation. */
enum words_msisdn {
    WORDS_MSISDN_PLAIN,
    WORDS_MSISDN_HASH,   /* SHA-256 of the twelve digits, in hex       */
    WORDS_MSISDN_MASKED, /* 2547 ***** 149                             */
    WORDS_MSISDN_STARRED /* 25470****149                               */
};

struct c2b_words {
    bool buy_goods;
    const char *receipt, *reference;
    int64_t paid_at, amount, shortcode, msisdn, balance;
    enum words_msisdn form;
};

/** A C2B confirmation. */
void words_c2b(struct buf *out, const struct c2b_words *w);

/** The answer to a registration of C2B URLs (it is spelt so). */
void words_registered(struct buf *out, const char *request_id);

/** The answer to a registration for Pull; @p again: there was one. */
void words_pull_registered(struct buf *out, const char *id, int64_t shortcode,
                           bool again, bool spaces);

/** A page of Pull without a transaction. */
void words_pull_none(struct buf *out, const char *id);

struct pull_words {
    const char *receipt, *reference;
    int64_t paid_at, msisdn, amount;
    bool nan; /* the amount is no number */
};

/** One transaction of a page of Pull. */
void words_pull_row(struct json_out *j, const struct pull_words *w);

/** The first answer of Transaction Status and of Reversal. */
void words_result_accepted(struct buf *out, const char *conversation,
                           const char *originator);

struct outcome_words {
    const char *conversation, *originator, *receipt;
    bool found;
    const char *status; /* the rest when it was found */
    int64_t amount, paid_at;
};

/** What is told to the ResultURL. */
void words_outcome(struct buf *out, const struct outcome_words *w);

/** The answer to a simulated payment. */
void words_simulated(struct buf *out, const char *conversation_id,
                     const char *request_id);

/** What a callback or a query says of a ResultCode; they differ in prose. */
const char *words_result(const char *code, bool query);

#endif
