/*
 * Between the files of the API's driver: its state, requests that wait, and the
 * answers that several handlers give.
 */
#ifndef FOLENI_PRODUCER_PRODUCER_PRIV_H
#define FOLENI_PRODUCER_PRODUCER_PRIV_H

#include "common/buf.h"
#include "common/kafka.h"
#include "common/metrics.h"
#include "producer/accept.h"
#include "producer/callbacks.h"
#include "producer/limit.h"
#include "producer/look.h"
#include "producer/producer.h"
#include "producer/publish.h"
#include "producer/spool.h"
#include "producer/status.h"

#define PRODUCER_BUCKETS 1024 /* of requests under way */

struct producer {
    struct app *app;
    const struct config *cfg;
    struct publish *publish;
    struct status *status;
    struct limits *limits;
    struct look *look;
    struct spool *spool; /* NULL = none is configured */
    struct kafka_follower *requests, *events;
    struct http_server *public;
    struct buf document;
    struct list
        under_way[PRODUCER_BUCKETS]; /* payments on their way into Kafka */
    struct list publishing; /* payments without their report, oldest first */
    size_t publishing_bytes;
    struct list keeping; /* callbacks for which Kafka has time left */
    struct loop_timer keep_timer;
    size_t parked;
    size_t doubts; /* callbacks that are asked for in the ledger */
    struct {
        int64_t key, attempts; /* one that is missing, and who uses it */
        struct loop_timer again;
        bool asking;
    } keys; /* of callback paths */
    char topics[TOPICS_N][KAFKA_TOPIC_SIZE];
};

struct batch; /* producer_batch.c's */

/* Who is to be answered about a payment; neither: nobody any more. */
struct asker {
    struct http_request *req;
    struct batch *batch;
    size_t item; /* of the batch */
};

/* A request that is answered later. */
struct parked {
    struct list node;       /* in under_way, for payments */
    struct list publishing; /* in the producer's, for payments */
    int64_t sent_us;
    size_t bytes;
    struct producer *producer;
    struct http_request *req; /* NULL = its connection is gone */
    struct batch *batch;      /* of a payment that is one's item: instead */
    size_t item;
    struct accepted accepted; /* of a payment                  */
    struct uuid id;           /* of a status request           */
    struct uuid client;       /* who asks for it               */
    int64_t wait_us;
    struct status_wait wait;
    struct loop_timer again; /* of a cancel: its next look        */
    int64_t until_us;        /* ... the last one                  */
    int64_t cancel_tx;       /* ... what has to end first         */
};

/* --- producer_answer.c --- */

/** Keeps @p req for later; when its connection dies, `req` becomes NULL. A NULL
 *  one is nobody's. */
struct parked *producer_park(struct producer *p, struct http_request *req);

/** For http_on_close(): what a parked request does first of all. */
void producer_gone(void *arg);

/** Frees @p k; its request was answered or is gone. */
void producer_unpark(struct parked *k);

void reply_document(struct http_request *req, int status, const char *document,
                    size_t len);

/** 202, with the place where its status is told. */
void reply_queued(struct http_request *req, const struct uuid *id,
                  const char *document, size_t len);

/** A problem, to a request or as an item's. */
void reply_problem(const struct asker *to, const struct http_problem *p);

/** As reply_queued(), to a request or as an item's. */
void answer_queued(const struct asker *to, const struct uuid *id,
                   const char *document, size_t len, bool replayed);

/** As reply_unavailable(). */
void answer_unavailable(const struct asker *to, const char *code,
                        const char *detail, const struct uuid *id);

/** 503 with Retry-After; @p id may be NULL. */
void reply_unavailable(struct http_request *req, const char *code,
                       const char *detail, const struct uuid *id);
void reply_not_found(struct http_request *req);

/** 409 key_in_use or 422 key_conflict. */
void reply_conflict(const struct asker *to, int status, const char *detail,
                    const struct uuid *id);

/** Writes the document of a request that no worker has claimed yet into
 *  p->document. */
void producer_write_queued(struct producer *p, const struct request *req);

/** The same of a payment of which nothing but its id is known. */
void producer_write_unclaimed(struct producer *p, const struct uuid *id);

/** Puts p->document into the cache. */
void producer_put_document(struct producer *p, const struct request *req,
                           int version, bool final);

/* --- producer_limit.c --- */

/** Who asks, when address and client are within their limits; NULL when a
 *  problem was answered, @p req is then gone. */
const struct client *producer_client(struct producer *p,
                                     struct http_request *req);

/** Whether another payment of the batch that @p req brought is within the
 *  limits; else its item was answered. */
bool producer_admits(struct producer *p, const struct client *client,
                     struct http_request *req, const struct asker *to);

/** Whether Kafka is too slow for another request of @p priority. */
bool producer_sheds(const struct producer *p, enum priority priority);

/** @p k is on its way into Kafka now, until producer_unpark(). */
void producer_sent(struct parked *k);

/* --- producer_payment.c, producer_batch.c --- */

/** What becomes of a payment that was read: known, conflict, or into Kafka. */
void producer_take(struct producer *p, const struct asker *to,
                   const struct accepted *accepted);

/** The answer of an item; the last one ends the batch. */
void batch_queued(struct batch *b, size_t item, const char *document,
                  size_t len, bool replayed);
void batch_problem(struct batch *b, size_t item, const struct http_problem *p);

/* --- handlers --- */

void producer_on_payment(void *arg, struct http_request *req);
void producer_on_batch(void *arg, struct http_request *req);
void producer_on_status(void *arg, struct http_request *req);
void producer_on_cancel(void *arg, struct http_request *req);
void producer_on_list(void *arg, struct http_request *req);
void producer_on_events(void *arg, struct http_request *req);
void producer_on_callback(void *arg, struct http_request *req);
void producer_on_c2b(void *arg, struct http_request *req);

/** A callback on its way to where it is durable. */
struct producer_callback {
    struct callback_path path;
    const void *body;
    size_t len;
    const char *source;
};

/** Answers @p req, NULL = it is gone, once @p cb is durable: counted as @p kept
 *  then. @p cb is copied. */
void producer_keep_callback(struct producer *p, struct http_request *req,
                            const struct producer_callback *cb,
                            enum metric kept);

/* --- producer_keys.c --- */

void producer_keys_init(struct producer *p);
void producer_keys_done(struct producer *p);

/** The settings have other keys now. */
void producer_keys_changed(struct producer *p);
struct health producer_keys_health(const struct producer *p);

/** Decides by the ledger what a callback is whose MAC none of our keys has
 *  made; takes @p req. */
void producer_doubt(struct producer *p, struct http_request *req,
                    const struct producer_callback *cb);

/** What the handlers of callbacks need before the first and after the last. */
void producer_callbacks_init(struct producer *p);
void producer_callbacks_done(struct producer *p);

#endif
