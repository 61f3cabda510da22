/*
 * What the files of the Kafka room share: clients made from settings, the
 * eventfd that brings a queue to the loop, librdkafka's log lines, and records
 * as they are read. Nobody outside common/kafka*.c includes this.
 */
#ifndef FOLENI_COMMON_KAFKA_PRIV_H
#define FOLENI_COMMON_KAFKA_PRIV_H

#include "common/kafka.h"

#include <librdkafka/rdkafka.h>

/** One property; @p text NULL means that @p number is the value. */
struct kafka_setting {
    const char *name;
    const char *text;
    int64_t number;
};

struct kafka_client_spec {
    rd_kafka_type_t type;
    const char *client_id;
    int events; /* RD_KAFKA_EVENT_* that this client wants      */
    const struct kafka_setting *settings;
    size_t settings_n;
    int64_t ahead_kbytes; /* a reader's: fetched and not yet taken */
};

/**
 * Makes a client: common settings, then @p spec's, then kafka.properties. Its
 * threads get no signals, its log lines come as events on the main queue.
 *
 * @return ERR_CONFIG when a property is unknown, wrong or not to be set.
 */
MUST_CHECK enum err_code kafka_client_new(const struct config *cfg,
                                          const struct kafka_client_spec *spec,
                                          rd_kafka_t **ret, struct err *err);

/** An eventfd of our own, so that it can go before the loop does. */
struct kafka_wake {
    struct loop *loop;
    struct loop_watch *watch;
    int fd;
    void (*fn)(void *arg);
    void *arg;
};

MUST_CHECK enum err_code kafka_wake_init(struct kafka_wake *w,
                                         struct loop *loop,
                                         void (*fn)(void *arg), void *arg,
                                         struct err *err);
void kafka_wake_done(struct kafka_wake *w);

/** Has @p queue ring when it gets its first element: drain it to the end. */
void kafka_wake_by(struct kafka_wake *w, rd_kafka_queue_t *queue);

/** Runs the callback in the next turn: for budgets that ended early. */
void kafka_wake_ring(struct kafka_wake *w);

/** librdkafka's lines, at most KAFKA_LOG_LINES per KAFKA_LOG_WINDOW_US. */
struct kafka_log {
    const char *who; /* client id, borrowed */
    int64_t window_us;
    unsigned lines;
    unsigned left_out;
};

void kafka_log_event(struct kafka_log *log, rd_kafka_event_t *event);
void kafka_log_error(struct kafka_log *log, const char *event, int code,
                     const char *text);

/** Reads @p m into @p r, whose headers stand in @p headers. */
void kafka_record_read(rd_kafka_message_t *m, struct kafka_record *r,
                       struct kafka_header headers[KAFKA_HEADERS_MAX]);

/** One partition that the group gave us. */
struct kafka_part {
    char topic[KAFKA_TOPIC_SIZE];
    int32_t partition;
    int64_t next; /* to hand out next; KAFKA_BEGINNING before the first */
    int64_t committed;
    char metadata[KAFKA_METADATA_SIZE]; /* of the commit */
    bool started;
    bool lost; /* its position is not in the log; not told yet */
};

struct kafka_parts {
    struct kafka_part *rows;
    size_t n;
};

/** Makes anew, nothing started, from @p list; NULL = none. */
void kafka_parts_set(struct kafka_parts *parts,
                     const rd_kafka_topic_partition_list_t *list);
struct kafka_part *kafka_part_find(struct kafka_parts *parts, const char *topic,
                                   int32_t partition);

/** The assignment as its owner sees it; the caller frees it. */
struct kafka_position *kafka_parts_positions(const struct kafka_parts *parts);

/** With what comes next as offsets; the caller destroys it. */
rd_kafka_topic_partition_list_t *
kafka_parts_list(const struct kafka_parts *parts, bool started_only);

/** A question where a group stands, answered by a thread. */
struct kafka_ask;

/**
 * Asks for the offsets that @p group has committed of @p list; @p wake rings
 * when the answer is there, after some 10 s at the latest. By a client of its
 * own: an old one may go on asking a coordinator that has moved.
 */
MUST_CHECK enum err_code kafka_ask(const struct config *cfg, const char *group,
                                   const rd_kafka_topic_partition_list_t *list,
                                   struct kafka_wake *wake,
                                   struct kafka_ask **ret, struct err *err);

/** True when it is over; the list is borrowed until it is dropped. */
bool kafka_ask_over(struct kafka_ask *ask, rd_kafka_resp_err_t *ret_code,
                    const rd_kafka_topic_partition_list_t **ret_list);

/** At any time; @p wake does not ring any more. NULL is none. */
void kafka_ask_drop(struct kafka_ask *ask);

/** The same, blocking, by client @p rk, which has the group's id: fills
 *  @p list. */
rd_kafka_resp_err_t kafka_committed(rd_kafka_t *rk,
                                    rd_kafka_topic_partition_list_t *list);

/** One row of an answer: -1 and "" where nothing was committed. */
void kafka_offset_read(const rd_kafka_topic_partition_t *row,
                       int64_t *ret_committed,
                       char ret_metadata[KAFKA_METADATA_SIZE]);

/** Commits of a group: one in flight, what comes meanwhile is merged. */
struct kafka_commits;

struct kafka_commits *kafka_commits_new(rd_kafka_t *rk, rd_kafka_queue_t *to,
                                        struct kafka_wake *wake);
void kafka_commits_free(struct kafka_commits *cs);
void kafka_commits_add(struct kafka_commits *cs,
                       const struct kafka_position *positions, size_t n,
                       kafka_done_fn done, void *arg);

/** For each OffsetCommit event. */
void kafka_commits_event(struct kafka_commits *cs, rd_kafka_event_t *event);

/** Tells what could not even be sent; called from the owner's wake. */
void kafka_commits_step(struct kafka_commits *cs);

/** What was not sent is not ours to commit any more: another member reads. */
void kafka_commits_drop(struct kafka_commits *cs);
bool kafka_commits_idle(const struct kafka_commits *cs);

/** For tests: the client that a producer uses now. */
rd_kafka_t *kafka_producer_client(const struct kafka_producer *p);

#endif
