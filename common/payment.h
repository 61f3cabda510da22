/*
 * The domain: what a client asked (struct request) and where its payment stands
 * (struct payment). Pure: no library, no I/O, so that a test of the flow links
 * nothing. How they look as JSON is wire.h's business.
 */
#ifndef FOLENI_COMMON_PAYMENT_H
#define FOLENI_COMMON_PAYMENT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base.h"
#include "common/err.h"
#include "common/id.h"

enum payment_state {
#define STATE(id, number, name, final, announced) id = number,
#include "common/payment.def"
#undef STATE
};

enum payment_wait {
#define WAIT(id, number, name) id = number,
#include "common/payment.def"
#undef WAIT
};

enum result_class {
#define RESULT(id, number, name) id = number,
#include "common/payment.def"
#undef RESULT
};

enum evidence {
#define EVIDENCE(id, number, name) id = number,
#include "common/payment.def"
#undef EVIDENCE
};

enum priority { PRIORITY_HIGH, PRIORITY_NORMAL, PRIORITY_LOW, PRIORITIES_N };

#define FINGERPRINT_SIZE 16
#define REFERENCE_MAX 12   /* [A-Za-z0-9]; Daraja shows it to the customer    */
#define DESCRIPTION_MAX 13 /* Daraja's TransactionDesc                        */
#define METADATA_MAX 1024  /* bytes of compact JSON                           */
#define IDEMPOTENCY_KEY_MAX 255
#define AMOUNT_MIN 1
#define AMOUNT_MAX 250000
#define CHECKOUT_ID_MAX 64 /* CheckoutRequestID, kept as text                 */
#define RECEIPT_MAX 32
#define RESULT_CODE_MAX 32
#define RESULT_TEXT_MAX 160

/** What the client asked. Never changes. */
struct request {
    struct uuid id;     /* UUIDv5 of client and idempotency key        */
    struct uuid client; /* the client's immutable id                   */
    uint8_t fingerprint[FINGERPRINT_SIZE]; /* of all that follows      */
    int64_t msisdn;    /* 254XXXXXXXXX                                 */
    int64_t amount;    /* whole shillings                              */
    int64_t shortcode; /* whom to pay                                  */
    enum priority priority;
    int ask_again; /* 0..2 further prompts after "no answer"           */
    char reference[REFERENCE_MAX + 1];
    char description[DESCRIPTION_MAX + 1];
    char metadata[METADATA_MAX + 1]; /* compact JSON object, or ""     */
    int64_t requested_at;            /* when the client asked          */
    int64_t expires_at;              /* the client's wish, 0 = none    */
};

/** Where it stands: one row of the table `payments`. */
struct payment {
    struct request req;
    int source_topic;         /* enum topic of its record in Kafka      */
    int32_t source_partition; /* ... and where it stands there          */
    int64_t source_offset;
    int64_t created_at;  /* when it was claimed, database's clock      */
    int64_t updated_at;  /* last change of version                     */
    int64_t deadline_at; /* nothing is pushed after this               */
    enum payment_state state;
    enum payment_wait waits; /* in `waiting`: what for              */
    int version;             /* +1 per change, from 1               */
    int published_version;   /* last one known to be on the topic   */
    int attempt;             /* identity of the last attempt, 0 = none */
    int mac_key;             /* whose MAC is in its callback's path */
    int spent;               /* attempts that count                 */
    int64_t owner;           /* incarnation that claimed it, 0 = none */
    bool holds_phone;        /* keeps other payments off its MSISDN */
    int64_t pushed_at;       /* the last push may have left, 0 = never */
    int64_t next_action_at;  /* when the due-scan looks again, 0 = never */
    int64_t auth_version;    /* of the token that was refused last, and no
                                push accepted since; 0 = none       */
    int queries; /* status queries of this attempt, or, while it waits for
                    proof, of those for it                              */
    char query_code[RESULT_CODE_MAX + 1]; /* final code a query told   */
    int64_t query_code_at; /* ... and when it first did           */
    char checkout_id[CHECKOUT_ID_MAX + 1]; /* "" = not known           */
    char merchant_id[CHECKOUT_ID_MAX + 1];
    enum result_class class;
    enum evidence evidence;
    char code[RESULT_CODE_MAX + 1]; /* the provider's or ours         */
    char text[RESULT_TEXT_MAX + 1]; /* in words                       */
    char receipt[RECEIPT_MAX + 1];  /* M-Pesa receipt, "" = not known */
    int64_t paid_at;                /* 0 = not known                  */
    int paid_attempt; /* which was first said to be paid, 0 = none   */
    int replays;      /* how often it came back from the dead        */
    int64_t replay;   /* ... and the task that last did, 0 = none    */
};

const char *payment_state_name(enum payment_state s);
bool payment_state_final(enum payment_state s);
/** Whether an event is made of a change to @p s. */
bool payment_state_announced(enum payment_state s);
const char *payment_wait_name(enum payment_wait w);
const char *result_class_name(enum result_class c);
const char *evidence_name(enum evidence e);
const char *priority_name(enum priority p);

/** Reads "high", "normal" or "low"; false otherwise. */
bool priority_parse(const char *name, enum priority *ret);

/**
 * Reads a Kenyan mobile number written as 07…, 01…, 7…, 1…, 254… or +254…
 * (9 significant digits beginning with 7 or 1; no spaces) as 254XXXXXXXXX.
 */
MUST_CHECK enum err_code msisdn_parse(const char *text, size_t len,
                                      int64_t *ret, struct err *err);

/** Whether @p n is 2547XXXXXXXX or 2541XXXXXXXX. */
bool msisdn_valid(int64_t n);

/** "2547…149": for logs. */
void msisdn_mask(int64_t n, char out[16]);

/**
 * The deadline: min(expires_at, min(asked, appended) + ttl), rule S4.
 * @p appended_at is the record's time in Kafka, 0 = none.
 */
int64_t payment_deadline(const struct request *req, int64_t appended_at,
                         int64_t ttl_us);

/** Copies text into a fixed field, cutting it at a character's border. */
void text_copy(char *to, size_t size, const char *from);

#endif
