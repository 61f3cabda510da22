/*
 * Everything that crosses a border as JSON or as a record's headers, against
 * the schemas in schemas/: request (HTTP body and Kafka value), payment
 * document, status event, Daraja's callback. Encoders write what decoders read.
 */
#ifndef FOLENI_COMMON_WIRE_H
#define FOLENI_COMMON_WIRE_H

#include "common/base.h"
#include "common/config.h"
#include "common/err.h"
#include "common/kafka.h"
#include "common/payment.h"

struct buf;

/* Names of record headers; values are UTF-8 text. */
#define HDR_CLIENT "foleni-client"       /* client's id                     */
#define HDR_TIME "foleni-time"           /* epoch ms                        */
#define HDR_SIGNATURE "foleni-signature" /* sign_record()                   */
#define HDR_PAYMENT "foleni-payment-id"
#define HDR_ATTEMPT "foleni-attempt"
#define HDR_FINGERPRINT "foleni-fingerprint" /* of a status event: hex      */
#define HDR_VERSION "foleni-version"         /* of a status event: decimal  */
#define HDR_FINAL "foleni-final"             /* of a status event: 0 or 1   */
#define HDR_KIND "foleni-kind"     /* of a callback: absent = STK, KIND_C2B */
#define HDR_MAC "foleni-mac"       /* the callback path's MAC; sign_c2b()   */
#define HDR_SOURCE "foleni-source" /* address that called back              */

#define KIND_C2B "c2b"

/* Of a dead letter, behind the record's own: of two with one name the last one
   is ours. The first two also stand in a record that was replayed. */
#define HDR_REPLAYS "foleni-replay-count"
#define HDR_REPLAY "foleni-replay-id"
#define HDR_ATTEMPTS "foleni-attempts"
#define HDR_FIRST_FAILURE "foleni-first-failure" /* epoch ms */
#define HDR_LAST_FAILURE "foleni-last-failure"
#define HDR_ERROR_CLASS "foleni-error-class"
#define HDR_ERROR_CODE "foleni-error-code"
#define HDR_ERROR_MESSAGE "foleni-error-message"
#define HDR_SOURCE_TOPIC "foleni-source-topic"
#define HDR_SOURCE_PARTITION "foleni-source-partition"
#define HDR_SOURCE_OFFSET "foleni-source-offset"
#define HDR_SOURCE_TIMESTAMP "foleni-source-timestamp"
#define HDR_STAGE "foleni-stage" /* "intake", "claim", "flow" */
#define HDR_LEFT_OUT "foleni-left-out"

/**
 * What was wrong with a request, for problem+json and dead letters. Codes of
 * the body: "invalid_json", "invalid_field", "unknown_field", "missing_field",
 * "unknown_shortcode".
 */
struct fault {
    const char *code;
    char field[64]; /* "msisdn", "metadata.colour"; "" = about the whole */
    char text[160]; /* "must be a whole number from 1 to 250000"         */
};

/**
 * Reads the body of POST /v1/payments.
 *
 * @param key  The idempotency key, unquoted; its form is checked too.
 * @param now_at  Wall clock: becomes requested_at; expires_at lies after it.
 *
 * @return ERR_INPUT with @p fault filled; ERR_NONE with @p ret complete: id,
 *         fingerprint, defaults (priority normal, description "Payment", the
 *         shortcode when only one is configured). requested_at and expires_at
 *         are cut to milliseconds, which is what travels.
 */
MUST_CHECK enum err_code
wire_read_body(const struct config *cfg, const struct client *client,
               const char *key, const char *body, size_t len, int64_t now_at,
               struct request *ret, struct fault *fault);

#define WIRE_BATCH_MAX 500 /* items */

/** One item of a batch: borrowed bytes, which need not be JSON. */
struct wire_item {
    const char *text;
    size_t len;
};

/** Cuts the body of POST /v1/payments/batch; ERR_INPUT with @p fault filled
 *  when it cannot be cut into 1 to WIRE_BATCH_MAX items. */
MUST_CHECK enum err_code wire_cut_batch(const char *body, size_t len,
                                        struct wire_item items[WIRE_BATCH_MAX],
                                        size_t *ret_n, struct fault *fault);

/** Reads an item as wire_read_body() does a body; its idempotency key, which
 *  stands in it, goes to @p key. */
MUST_CHECK enum err_code
wire_read_item(const struct config *cfg, const struct client *client,
               const struct wire_item *item, int64_t now_at,
               char key[IDEMPOTENCY_KEY_MAX + 1], struct request *ret,
               struct fault *fault);

/** Writes the record's value for @p req; @p key is its idempotency key. */
void wire_write_request(const struct request *req, const char *key,
                        struct buf *out);

/**
 * Reads a request record, as strictly as wire_read_body(), and checks its
 * signature (S18), its key (= MSISDN), its topic (= priority), its time.
 *
 * expires_at must lie after foleni-time, not after @p now_at: a record that has
 * waited too long is a good one, and late. Where there is no signature, or the
 * client has no signing_secret, kafka.unsigned_requests decides.
 *
 * Codes of @p fault besides those of the body: "unknown_client", "unsigned",
 * "bad_signature", "unknown_version", "bad_key", "wrong_topic", "bad_time".
 */
MUST_CHECK enum err_code wire_read_request(const struct config *cfg,
                                           const struct kafka_record *record,
                                           enum topic topic, int64_t now_at,
                                           struct request *ret,
                                           struct fault *fault);

/**
 * Writes the payment document: what GET answers and events carry.
 *
 * A queued payment (version 0, PAYMENT_QUEUED) needs `req` and, when it is
 * known, deadline_at: created_at and updated_at of 0 become requested_at, a
 * deadline_at of 0 is left out.
 */
void wire_write_payment(const struct payment *p, struct buf *out);

/** Writes the CloudEvent of the payment's present version. */
void wire_write_event(const struct payment *p, struct buf *out);

/** What the API needs of a status event; `document` points into the value. */
struct event_summary {
    struct uuid payment, client;
    uint8_t fingerprint[FINGERPRINT_SIZE];
    int version;
    bool final;
    const char *document; /* borrowed from the value */
    size_t document_len;
};

/** Reads a status event by its own fixed layout and headers. */
MUST_CHECK enum err_code wire_read_event(const struct kafka_record *record,
                                         struct event_summary *ret,
                                         struct err *err);

/** What a callback of Daraja says. Absent texts are "". */
struct callback {
    char merchant_id[CHECKOUT_ID_MAX + 1];
    char checkout_id[CHECKOUT_ID_MAX + 1];
    char code[RESULT_CODE_MAX + 1]; /* ResultCode, number or text */
    char text[RESULT_TEXT_MAX + 1];
    char receipt[RECEIPT_MAX + 1];
    int64_t amount;  /* 0 = not said              */
    int64_t msisdn;  /* 0 = not said              */
    int64_t paid_at; /* 0 = not said              */
};

/** Tolerant: items by name, string or number. ERR_INPUT = kept raw, flagged. */
MUST_CHECK enum err_code wire_read_callback(const char *body, size_t len,
                                            struct callback *ret,
                                            struct err *err);

/** Which attempt a record on payments.callbacks is about. */
struct callback_address {
    struct uuid payment;
    int attempt;
};

/**
 * Whether @p mac is the MAC of that attempt's callback path, by any of the
 * keys, in constant time. Every key is tried, an empty one is none.
 */
bool wire_callback_mac(const struct config *cfg,
                       const struct callback_address *at, const char *mac);

/**
 * Reads headers HDR_PAYMENT, HDR_ATTEMPT and checks HDR_MAC by
 * wire_callback_mac() (ERR_DENIED when it is wrong; @p ret is then what it
 * claims to be).
 */
MUST_CHECK enum err_code
wire_read_callback_address(const struct kafka_record *record,
                           const struct config *cfg,
                           struct callback_address *ret, struct err *err);

#define C2B_REFERENCE_MAX 64
#define C2B_MSISDN_MAX 64

/** What a C2B confirmation says. Absent texts are "". */
struct c2b {
    char receipt[RECEIPT_MAX + 1]; /* TransID                             */
    int64_t shortcode;             /* BusinessShortCode                   */
    int64_t amount;                /* shillings; 0 = not a whole number   */
    int64_t paid_at;               /* 0 = not said                        */
    char reference[C2B_REFERENCE_MAX + 1]; /* BillRefNumber, as typed     */
    /** As it came: SHA-256 in hex, masked ("2547 ***** 126") or plain. */
    char msisdn[C2B_MSISDN_MAX + 1];
};

/**
 * Tolerant: texts or numbers, unknown members. ERR_INPUT when TransID,
 * BusinessShortCode or TransAmount is not there: kept raw, flagged.
 */
MUST_CHECK enum err_code wire_read_c2b(const char *body, size_t len,
                                       struct c2b *ret, struct err *err);

/** Whether a record on payments.callbacks is a C2B notice. */
bool wire_is_c2b(const struct kafka_record *record);

/**
 * Checks that foleni-api took the notice in: HDR_MAC against sign_c2b() by any
 * of the keys of callback paths (ERR_DENIED when it is wrong).
 */
MUST_CHECK enum err_code wire_check_c2b(const struct kafka_record *record,
                                        const struct config *cfg,
                                        struct err *err);

#endif
