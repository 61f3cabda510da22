/*
 * Kafka over librdkafka: a producer, a group consumer, a follower, and admin
 * for the tools. Everything arrives on the loop through eventfds; librdkafka's
 * threads are never seen.
 */
#ifndef FOLENI_COMMON_KAFKA_H
#define FOLENI_COMMON_KAFKA_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base.h"
#include "common/config.h"
#include "common/err.h"
#include "common/loop.h"

#define KAFKA_HEADERS_MAX 32
#define KAFKA_TOPIC_SIZE 250   /* 249 characters at most (Kafka's own limit) */
#define KAFKA_METADATA_SIZE 48 /* of our commits; what is longer is cut */

struct kafka_header {
    const char *name;
    const void *value; /* no terminator is promised when read */
    size_t len;
};

/** A record, as given to be produced or as read. */
struct kafka_record {
    const char *topic;
    const void *key; /* NULL = none */
    size_t key_len;
    const void *value; /* NULL = none */
    size_t value_len;
    const struct kafka_header *headers;
    size_t headers_n;
    /* only when read: */
    int32_t partition;
    int64_t offset;
    int64_t timestamp_at; /* us; append or create time, -1 = none   */
    bool append_time;     /* the broker's time (LogAppendTime)      */
    bool headers_cut;     /* it had more than KAFKA_HEADERS_MAX     */
};

/** The header's value, NULL when absent; @p ret_len may be NULL. */
const char *kafka_header(const struct kafka_record *r, const char *name,
                         size_t *ret_len);

enum topic {
    TOPIC_HIGH,   /* payments.requests.high   */
    TOPIC_NORMAL, /* payments.requests.normal */
    TOPIC_LOW,    /* payments.requests.low    */
    TOPIC_CALLBACKS,
    TOPIC_STATUS,
    TOPIC_DEAD,
    TOPICS_N
};

/** The topic's name with the configured prefix. */
void kafka_topic(const struct config *cfg, enum topic t,
                 char out[KAFKA_TOPIC_SIZE]);

/* --- producer: idempotent, acks=all, partitioner murmur2_random --- */

struct kafka_producer;

/**
 * The delivery report of one record, on the loop. @p err is NULL when it is
 * durable; otherwise it may still have been persisted (ERR_UNSURE) or surely
 * was not (ERR_UNAVAILABLE: it never left this process; ERR_INPUT: it is too
 * large for the broker and always will be).
 */
typedef void (*kafka_done_fn)(void *arg, const struct err *err);

MUST_CHECK enum err_code
kafka_producer_new(struct loop *loop, const struct config *cfg,
                   const char *client_id, int64_t linger_ms,
                   struct kafka_producer **ret, struct err *err);

/**
 * Waits at most @p wait_ms for what is queued, then lets go: the rest is told
 * ERR_UNSURE or ERR_UNAVAILABLE before this returns. NULL is fine.
 */
void kafka_producer_free(struct kafka_producer *p, int64_t wait_ms);

/**
 * Queues a copy of @p record. After ERR_NONE done runs exactly once.
 *
 * @return ERR_LIMIT when kafka.queue_* is reached, ERR_NOT_FOUND when the topic
 *         is known not to exist, ERR_INPUT when the record is too large,
 *         ERR_UNAVAILABLE otherwise; done will not run, nothing was queued.
 */
MUST_CHECK enum err_code kafka_produce(struct kafka_producer *p,
                                       const struct kafka_record *record,
                                       kafka_done_fn done, void *arg,
                                       struct err *err);

/** Records without their report yet. */
size_t kafka_queued(const struct kafka_producer *p);

/** Whether a broker is connected; @p note says what is known otherwise. */
bool kafka_producer_up(const struct kafka_producer *p, char *note, size_t size);

/* --- consumer: a member of a group --- */

struct kafka_consumer;

struct kafka_position {
    char topic[KAFKA_TOPIC_SIZE];
    int32_t partition;
    int64_t offset;    /* next to read; KAFKA_BEGINNING = the log's first */
    int64_t committed; /* the group's committed offset, -1 = none         */
    char metadata[KAFKA_METADATA_SIZE]; /* ... and what stands with it,
                                           committed too                  */
};

#define KAFKA_BEGINNING INT64_C(-2)

struct kafka_consumer_spec {
    const char *group; /* with its prefix */
    const char *topics[4];
    size_t topics_n;
    int64_t gather_ms; /* a fetch waits this long for more; 0 = it brings what
                          there is, at once                               */
    /**
     * The group assigned partitions: look where to start and answer, now or
     * later, with kafka_start(). `committed` is filled in @p positions.
     */
    void (*on_assign)(void *arg, const struct kafka_position *positions,
                      size_t n);
    /** What on_assign told is taken away: forget what is unfinished of it. */
    void (*on_revoke)(void *arg, const struct kafka_position *positions,
                      size_t n);
    /** The position asked for is not in the log (auto.offset.reset=error). */
    void (*on_lost_offset)(void *arg, const char *topic, int32_t partition);
    /** Records became readable. */
    void (*on_ready)(void *arg);
    void *arg;
};

MUST_CHECK enum err_code
kafka_consumer_new(struct loop *loop, const struct config *cfg,
                   const struct kafka_consumer_spec *spec,
                   struct kafka_consumer **ret, struct err *err);

/**
 * Leaves the group, waiting at most 2 s for commits and 3 s for the brokers.
 * Everything taken must have been released; on_revoke does not run. NULL is
 * fine.
 */
void kafka_consumer_free(struct kafka_consumer *c);

/**
 * Begins reading @p positions; partitions left out stay stopped, those that
 * are no longer ours are ignored. May be called again for the left-out ones.
 */
void kafka_start(struct kafka_consumer *c,
                 const struct kafka_position *positions, size_t n);

/**
 * Takes the next record without waiting; NULL = none now. It stays valid until
 * kafka_release(). Records of one partition come in the order of their offsets.
 */
struct kafka_taken *kafka_take(struct kafka_consumer *c);
const struct kafka_record *kafka_taken_record(const struct kafka_taken *t);
void kafka_release(struct kafka_taken *t);

/** Partitions that the group gave us; how many are being read in @p ret. */
size_t kafka_assigned(const struct kafka_consumer *c, size_t *ret_started);

/**
 * Commits positions (offset = next to read) and their metadata. One commit is
 * in flight; those that come meanwhile are merged into the next. @p done (NULL
 * is fine) runs once, with ERR_UNSURE when it failed or when the partitions
 * were revoked.
 */
void kafka_commit(struct kafka_consumer *c,
                  const struct kafka_position *positions, size_t n,
                  kafka_done_fn done, void *arg);

/* --- follower: reads all partitions of topics from a time on, no group --- */

struct kafka_follower;

typedef void (*kafka_record_fn)(void *arg, const struct kafka_record *record);

/**
 * Reads every partition of @p topics from @p since_at (us since 1970; 0 = from
 * the beginning) on and for ever; at most @p budget records per turn.
 */
MUST_CHECK enum err_code
kafka_follower_new(struct loop *loop, const struct config *cfg,
                   const char *const *topics, size_t topics_n, int64_t since_at,
                   size_t budget, kafka_record_fn fn, void *arg,
                   struct kafka_follower **ret, struct err *err);
void kafka_follower_free(struct kafka_follower *f);

/** Whether it has once reached the end that the topics had at its start. */
bool kafka_follower_caught_up(const struct kafka_follower *f);

/* --- fetcher: single records by their place, rarely --- */

struct kafka_fetcher;

/** @p record is NULL when it is not there any more (@p err says so). */
typedef void (*kafka_fetched_fn)(void *arg, const struct kafka_record *record,
                                 const struct err *err);

/** Makes its connection with the first fetch. */
struct kafka_fetcher *kafka_fetcher_new(struct loop *loop,
                                        const struct config *cfg);
void kafka_fetcher_free(struct kafka_fetcher *f);

/** Reads the record at exactly that place; done runs once, within ~10 s. */
void kafka_fetch(struct kafka_fetcher *f, const char *topic, int32_t partition,
                 int64_t offset, kafka_fetched_fn done, void *arg);

/* --- ranges: blocking, for the command line only --- */

/** One partition: what its log has, and where a group stands in it. */
struct kafka_place {
    int32_t partition;
    int64_t first, next; /* the log's first record, and behind its last one */
    int64_t committed;   /* -1 = nothing                                    */
    char metadata[KAFKA_METADATA_SIZE]; /* of the commit */
};

/** Every partition of @p topic, in order; the caller frees @p ret. */
MUST_CHECK enum err_code kafka_places(const struct config *cfg,
                                      const char *group, const char *topic,
                                      struct kafka_place **ret, size_t *ret_n,
                                      struct err *err);

/** How many members a group has. */
MUST_CHECK enum err_code kafka_members(const struct config *cfg,
                                       const char *group, int *ret,
                                       struct err *err);

/** The records of one partition from @p from to before @p to. */
struct kafka_range;
MUST_CHECK enum err_code kafka_range_open(const struct config *cfg,
                                          const char *topic, int32_t partition,
                                          int64_t from, int64_t to,
                                          struct kafka_range **ret,
                                          struct err *err);
void kafka_range_close(struct kafka_range *r);
DEFINE_CLEANUP(kafka_range_close, struct kafka_range *)

/**
 * The next one, valid until the next call; NULL at the end. ERR_NOT_FOUND: it
 * was deleted. ERR_TIMEOUT: Kafka gave none within 20 s.
 */
MUST_CHECK enum err_code kafka_range_next(struct kafka_range *r,
                                          const struct kafka_record **ret,
                                          struct err *err);

/* --- admin: blocking, for the command line only --- */

struct kafka_topic_plan {
    char name[KAFKA_TOPIC_SIZE];
    int partitions, replication, min_insync;
    int64_t retention_ms;
    bool append_time;
};

/** What `foleni topics create` makes of @p cfg; fills TOPICS_N rows. */
void kafka_topic_plans(const struct config *cfg,
                       struct kafka_topic_plan plans[TOPICS_N]);

/** What a broker has. */
struct kafka_topic_facts {
    bool exists; /* else nothing below counts */
    int partitions, replication, min_insync;
    int64_t retention_ms, retention_bytes; /* -1 = no limit */
    bool append_time, compacted, unclean;  /* unclean leaders may be elected */
};

/**
 * Reads what the broker has of each of @p plans.
 *
 * @return ERR_UNAVAILABLE, ERR_TIMEOUT: is it there? ERR_DENIED: it does not
 *         tell this client.
 */
MUST_CHECK enum err_code
kafka_topics_read(const struct config *cfg,
                  const struct kafka_topic_plan plans[TOPICS_N],
                  struct kafka_topic_facts ret[TOPICS_N], struct err *err);

/** The brokers behind kafka.brokers. */
struct kafka_cluster {
    int brokers;
    char id[64];
    char version[32]; /* of the protocol between brokers, "" = not told  */
    bool embedded;    /* it is foleni-broker                             */
};

/** Asks the cluster for itself, for 20 s at most; as kafka_topics_read(). */
MUST_CHECK enum err_code kafka_cluster_read(const struct config *cfg,
                                            struct kafka_cluster *ret,
                                            struct err *err);

/** Creates one topic; ERR_CONFLICT when it exists already. */
MUST_CHECK enum err_code kafka_topic_create(const struct config *cfg,
                                            const struct kafka_topic_plan *plan,
                                            struct err *err);

#endif
