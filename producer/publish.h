/*
 * Into Kafka: requests and callbacks, each with its headers. The caller hears
 * of the delivery report; before it nothing may be promised to anybody.
 */
#ifndef FOLENI_PRODUCER_PUBLISH_H
#define FOLENI_PRODUCER_PUBLISH_H

#include "common/config.h"
#include "common/kafka.h"
#include "common/payment.h"
#include "common/sign.h"

#define PUBLISH_KEY_SIZE (2 * SHA256_SIZE + 1) /* a hash in hex, or shorter */

struct publish;

MUST_CHECK enum err_code publish_new(struct loop *loop,
                                     const struct config *cfg,
                                     struct publish **ret, struct err *err);

/** Waits a little for what is queued. NULL is fine. */
void publish_free(struct publish *p);

/**
 * Publishes @p req, signed, on the topic of its priority, keyed by MSISDN.
 * After ERR_NONE done runs once with the delivery report (kafka_done_fn).
 *
 * @return ERR_LIMIT when the queue is full: surely not queued.
 */
MUST_CHECK enum err_code publish_request(struct publish *p,
                                         const struct client *client,
                                         const struct request *req,
                                         const char *key, kafka_done_fn done,
                                         void *arg, struct err *err);

/** A record for payments.callbacks with all that it points to, body apart. */
struct publish_record {
    struct kafka_record record;
    struct kafka_header headers[5];
    char key[PUBLISH_KEY_SIZE], time[24], attempt[24];
    char mac[CALLBACK_MAC_SIZE];
};

/** Where a callback came in; the MAC has been checked. */
struct publish_callback {
    struct uuid payment;
    int attempt;
    const char *mac, *source; /* source: the caller's address */
    const char *body;
    size_t len;
};

/** Makes the record of a callback, byte for byte and keyed by payment. It
 *  borrows source and body. */
void publish_make_callback(const struct publish_callback *cb,
                           struct publish_record *ret);

/** A C2B confirmation; the secret in its path has been checked. */
struct publish_c2b {
    const char *source; /* the caller's address */
    const char *body;
    size_t len;
};

/** As above, keyed by its receipt, or by its hash when it names none. */
void publish_make_c2b(const struct publish *p, const struct publish_c2b *notice,
                      struct publish_record *ret);

/** Publishes such a record, or one read back from the spool; as above. */
MUST_CHECK enum err_code publish_callback(struct publish *p,
                                          const struct kafka_record *record,
                                          kafka_done_fn done, void *arg,
                                          struct err *err);

/** Records without their report. */
size_t publish_queued(const struct publish *p);

bool publish_up(const struct publish *p, char *note, size_t size);

#endif
