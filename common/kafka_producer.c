/*
 * The producer: idempotent, acks=all, one delivery report per record.
 *
 * Each record waits in a `pending` from a free list; its report comes through
 * the client's main queue and an eventfd, a bounded number per turn. A fatal
 * error of the client (the idempotence of 2.0.2 can end in one) makes a new
 * client underneath: what had no report yet may or may not be in the log and is
 * told so. Handles of all topics are made at the start, so that the first
 * record does not wait for metadata (up to one second before librdkafka 2.10).
 * One request at a time per broker: see client_open().
 *
 * It does not retry what failed: the caller knows what the record was worth.
 */
#include "common/kafka_priv.h"

#include "common/clock.h"
#include "common/list.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/must.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REPORTS_PER_TURN 2000
#define PENDING_CHUNK 256
#define PURGE_WAIT_MS 500       /* for the reports of purged records    */
#define RENEW_AGAIN_US US_PER_S /* when a new client could not be made  */
#define STATISTICS_MS 1000

/** A record without its report. */
struct pending {
    struct list link; /* in `open` or `free` */
    kafka_done_fn done;
    void *arg;
};

struct pending_chunk {
    struct pending_chunk *next;
    struct pending pendings[PENDING_CHUNK];
};

struct kafka_producer {
    struct loop *loop;
    const struct config *cfg;
    char *client_id;
    int64_t linger_ms;

    rd_kafka_t *rk; /* NULL while a new one could not be made */
    rd_kafka_queue_t *queue;
    rd_kafka_topic_t *topics[TOPICS_N];
    rd_kafka_event_t *reports; /* the one being read, or NULL */
    struct kafka_wake wake;
    struct loop_timer renew_timer;
    bool fatal;

    struct list open, free;
    struct pending_chunk *chunks;
    size_t queued;

    bool up;
    char note[240];
    struct kafka_log log;
};

static void producer_renew(struct kafka_producer *p);

/* --- state --- */

static void up_set(struct kafka_producer *p, bool up, const char *note)
{
    p->up = up;
    snprintf(p->note, sizeof(p->note), "%s", note);
    metric_set(M_KAFKA_UP, up);
}

bool kafka_producer_up(const struct kafka_producer *p, char *note, size_t size)
{
    snprintf(note, size, "%s", p->note);
    return p->up;
}

size_t kafka_queued(const struct kafka_producer *p)
{
    return p->queued;
}

rd_kafka_t *kafka_producer_client(const struct kafka_producer *p)
{
    return p->rk;
}

/* --- pendings --- */

static void pending_grow(struct kafka_producer *p)
{
    struct pending_chunk *chunk = NEW(struct pending_chunk);

    chunk->next = p->chunks;
    p->chunks = chunk;
    for (size_t i = 0; i < PENDING_CHUNK; i++)
        list_append(&p->free, &chunk->pendings[i].link);
}

/** Bounded by the client's own queue, i.e. kafka.queue_records_max. */
static struct pending *pending_take(struct kafka_producer *p,
                                    kafka_done_fn done, void *arg)
{
    struct pending *pending;

    if (list_empty(&p->free))
        pending_grow(p);
    pending = container_of(list_shift(&p->free), struct pending, link);
    pending->done = done;
    pending->arg = arg;
    list_append(&p->open, &pending->link);
    p->queued++;
    return pending;
}

static void pending_return(struct kafka_producer *p, struct pending *pending)
{
    list_remove(&pending->link);
    list_append(&p->free, &pending->link);
    p->queued--;
}

/** @p err NULL = delivered. The callback may produce again. */
static void pending_end(struct kafka_producer *p, struct pending *pending,
                        const struct err *err)
{
    kafka_done_fn done = pending->done;
    void *arg = pending->arg;

    pending_return(p, pending);
    metric_add(err ? M_KAFKA_FAILED : M_KAFKA_PRODUCED, 1);
    if (done)
        done(arg, err);
}

/* --- reports --- */

static void report_failed(struct kafka_producer *p, const rd_kafka_message_t *m)
{
    bool never =
        rd_kafka_message_status(m) == RD_KAFKA_MSG_STATUS_NOT_PERSISTED;
    enum err_code kind = never ? ERR_UNAVAILABLE : ERR_UNSURE;
    struct err err;

    if (m->err == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE)
        kind = ERR_INPUT;
    (void)err_set_from(&err, kind, ERR_KAFKA, m->err,
                       "could not deliver to topic \"%s\": %s",
                       rd_kafka_topic_name(m->rkt), rd_kafka_err2str(m->err));
    pending_end(p, m->_private, &err);
}

/* No broker has said where it is: librdkafka concludes that it is in the log,
   because a later request was taken. That is no proof. */
static void report_unproven(struct kafka_producer *p,
                            const rd_kafka_message_t *m)
{
    struct err err;

    (void)err_set(&err, ERR_UNSURE,
                  "delivered to topic \"%s\" at no known offset",
                  rd_kafka_topic_name(m->rkt));
    pending_end(p, m->_private, &err);
}

static void report(struct kafka_producer *p, const rd_kafka_message_t *m)
{
    if (m->err) {
        report_failed(p, m);
        return;
    }
    if (m->offset < 0) {
        report_unproven(p, m);
        return;
    }
    if (!p->up)
        up_set(p, true, "");
    pending_end(p, m->_private, NULL);
}

static void on_error(struct kafka_producer *p, rd_kafka_event_t *event)
{
    rd_kafka_resp_err_t code = rd_kafka_event_error(event);
    const char *text = rd_kafka_event_error_string(event);

    if (code == RD_KAFKA_RESP_ERR__FATAL)
        p->fatal = true;
    if (code == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN || !p->up)
        up_set(p, false, text);
    kafka_log_error(&p->log, "producer_error", code, text);
}

/* One broker that is up will do; the statistics name the state of each. */
static void on_statistics(struct kafka_producer *p, rd_kafka_event_t *event)
{
    const char *json = rd_kafka_event_stats(event);
    bool up = strstr(json, "\"state\":\"UP\"") != NULL;

    if (up && !p->up)
        up_set(p, true, "");
    else if (!up && p->up)
        up_set(p, false, "no broker is connected");
}

static void on_event(struct kafka_producer *p, rd_kafka_event_t *event)
{
    switch (rd_kafka_event_type(event)) {
    case RD_KAFKA_EVENT_ERROR: on_error(p, event); break;
    case RD_KAFKA_EVENT_STATS: on_statistics(p, event); break;
    case RD_KAFKA_EVENT_LOG: kafka_log_event(&p->log, event); break;
    default: break;
    }
}

/** Reads on in p->reports. @return false when the budget is over. */
static bool reports_read(struct kafka_producer *p, size_t *budget)
{
    const rd_kafka_message_t *m;

    while (*budget > 0 && (m = rd_kafka_event_message_next(p->reports))) {
        report(p, m);
        --*budget;
    }
    if (*budget == 0)
        return false;
    rd_kafka_event_destroy(p->reports);
    p->reports = NULL;
    return true;
}

/** Takes events until there is none. @return false when the budget is over. */
static bool events_drain(struct kafka_producer *p, size_t budget)
{
    rd_kafka_event_t *event;

    for (;;) {
        if (p->reports && !reports_read(p, &budget))
            return false;
        event = rd_kafka_queue_poll(p->queue, 0);
        if (!event)
            return true;
        if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_DR) {
            p->reports = event;
            continue;
        }
        on_event(p, event);
        rd_kafka_event_destroy(event);
    }
}

static void producer_ready(void *arg)
{
    struct kafka_producer *p = arg;

    if (!events_drain(p, REPORTS_PER_TURN))
        kafka_wake_ring(&p->wake);
    metric_set(M_KAFKA_QUEUE, (int64_t)p->queued);
    if (p->fatal)
        producer_renew(p);
}

/* --- the client --- */

static void topics_open(struct kafka_producer *p)
{
    char name[KAFKA_TOPIC_SIZE];

    for (int t = 0; t < TOPICS_N; t++) {
        kafka_topic(p->cfg, (enum topic)t, name);
        p->topics[t] = rd_kafka_topic_new(p->rk, name, NULL);
    }
}

static enum err_code client_open(struct kafka_producer *p, struct err *err)
{
    const struct kafka_setting settings[] = {
        {"acks", "all", 0},
        {"enable.idempotence", "true", 0},
        /* A second request that a broker takes where it refused the first one
           (which it does of a producer that is new to it, KIP-360) would have
           librdkafka report the first one's records as delivered. */
        {"max.in.flight.requests.per.connection", NULL, 1},
        {"partitioner", "murmur2_random", 0}, /* agrees with Java's clients */
        {"compression.type", "none", 0},
        {"linger.ms", NULL, p->linger_ms},
        {"batch.num.messages", NULL, 10000},
        {"queue.buffering.max.messages", NULL, p->cfg->kafka_queue_records_max},
        {"queue.buffering.max.kbytes", NULL, p->cfg->kafka_queue_kbytes_max},
        {"message.timeout.ms", NULL, p->cfg->kafka_publish_timeout_ms},
        /* how long an unknown topic may still appear */
        {"topic.metadata.propagation.max.ms", NULL,
         p->cfg->kafka_publish_timeout_ms / 2},
        {"statistics.interval.ms", NULL, STATISTICS_MS},
    };
    const struct kafka_client_spec spec = {
        .type = RD_KAFKA_PRODUCER,
        .client_id = p->client_id,
        .events = RD_KAFKA_EVENT_DR | RD_KAFKA_EVENT_STATS,
        .settings = settings,
        .settings_n = ARRAY_LEN(settings),
    };

    if (kafka_client_new(p->cfg, &spec, &p->rk, err))
        return err->code;
    p->queue = rd_kafka_queue_get_main(p->rk);
    kafka_wake_by(&p->wake, p->queue);
    topics_open(p);
    return ERR_NONE;
}

/** What is open now has no report and gets none any more. */
static void pendings_abandon(struct kafka_producer *p, const char *why)
{
    struct list left;
    struct list *link;
    struct err err;

    list_init(&left);
    list_splice(&left, &p->open);
    (void)err_set(&err, ERR_UNSURE, "no delivery report: %s", why);
    while ((link = list_shift(&left)))
        pending_end(p, container_of(link, struct pending, link), &err);
}

static void client_close(struct kafka_producer *p)
{
    if (!p->rk)
        return;
    if (p->reports)
        rd_kafka_event_destroy(p->reports);
    p->reports = NULL;
    for (int t = 0; t < TOPICS_N; t++)
        if (p->topics[t])
            rd_kafka_topic_destroy(p->topics[t]);
    rd_kafka_queue_destroy(p->queue);
    rd_kafka_destroy(p->rk);
    p->rk = NULL;
}

/** Serves reports until none is open or @p wait_ms have passed. */
static void reports_wait(struct kafka_producer *p, int64_t wait_ms)
{
    int64_t end_us = clock_now_us() + wait_ms * US_PER_MS;

    while (p->queued > 0) {
        int64_t left_us = end_us - clock_now_us();
        rd_kafka_event_t *event;

        if (!events_drain(p, SIZE_MAX) || p->queued == 0 || left_us <= 0)
            return;
        event = rd_kafka_queue_poll(p->queue, (int)(left_us / US_PER_MS) + 1);
        if (!event)
            continue;
        if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_DR) {
            p->reports = event;
            continue;
        }
        on_event(p, event);
        rd_kafka_event_destroy(event);
    }
}

/** Has librdkafka report everything now, delivered or not. */
static void client_purge(struct kafka_producer *p)
{
    if (!p->rk)
        return;
    (void)rd_kafka_purge(p->rk, RD_KAFKA_PURGE_F_QUEUE |
                                    RD_KAFKA_PURGE_F_INFLIGHT |
                                    RD_KAFKA_PURGE_F_NON_BLOCKING);
    reports_wait(p, PURGE_WAIT_MS);
}

/*
 * A fatal client takes no more records and reports the old ones as purged. Its
 * destruction waits for its threads, some milliseconds.
 */
static void producer_renew(struct kafka_producer *p)
{
    struct err err;

    client_purge(p);
    client_close(p);
    p->fatal = false;
    if (client_open(p, &err)) {
        up_set(p, false, err.text);
        timer_set(p->loop, &p->renew_timer, clock_now_us() + RENEW_AGAIN_US);
    } else {
        log_warn("kafka", "producer_renewed", KV("client", p->client_id));
    }
    pendings_abandon(p, "the producer had a fatal error");
}

static void producer_renew_again(void *arg)
{
    producer_renew(arg);
}

enum err_code kafka_producer_new(struct loop *loop, const struct config *cfg,
                                 const char *client_id, int64_t linger_ms,
                                 struct kafka_producer **ret, struct err *err)
{
    struct kafka_producer *p = NEW(struct kafka_producer);

    p->loop = loop;
    p->cfg = cfg;
    p->client_id = must_strdup(client_id);
    p->linger_ms = linger_ms;
    p->log.who = p->client_id;
    list_init(&p->open);
    list_init(&p->free);
    timer_init(&p->renew_timer, producer_renew_again, p);
    up_set(p, false, "not connected yet");
    if (kafka_wake_init(&p->wake, loop, producer_ready, p, err) ||
        client_open(p, err)) {
        kafka_producer_free(p, 0);
        return err->code;
    }
    *ret = p;
    return ERR_NONE;
}

void kafka_producer_free(struct kafka_producer *p, int64_t wait_ms)
{
    struct pending_chunk *chunk;

    if (!p)
        return;
    if (p->rk) {
        reports_wait(p, wait_ms);
        client_purge(p);
    }
    client_close(p);
    pendings_abandon(p, "the program ends");
    timer_cancel(p->loop, &p->renew_timer);
    kafka_wake_done(&p->wake);
    while ((chunk = p->chunks)) {
        p->chunks = chunk->next;
        free(chunk);
    }
    free(p->client_id);
    free(p);
}

/* --- produce --- */

static rd_kafka_headers_t *headers_make(const struct kafka_record *record)
{
    rd_kafka_headers_t *headers = rd_kafka_headers_new(record->headers_n);

    for (size_t i = 0; i < record->headers_n; i++)
        must(!rd_kafka_header_add(headers, record->headers[i].name, -1,
                                  record->headers[i].value,
                                  (ssize_t)record->headers[i].len));
    return headers;
}

static rd_kafka_resp_err_t record_send(struct kafka_producer *p,
                                       const struct kafka_record *record,
                                       struct pending *pending)
{
    rd_kafka_headers_t *headers = headers_make(record);
    rd_kafka_resp_err_t code;

    /* What RD_KAFKA_V_*() expand to: those are no standard C. The call without
     * variable arguments frees the headers twice on a failure in 2.0.2. */
    code = rd_kafka_producev(
        p->rk, RD_KAFKA_VTYPE_TOPIC, record->topic, RD_KAFKA_VTYPE_MSGFLAGS,
        (int)RD_KAFKA_MSG_F_COPY, RD_KAFKA_VTYPE_KEY, record->key,
        record->key_len, RD_KAFKA_VTYPE_VALUE, record->value, record->value_len,
        RD_KAFKA_VTYPE_HEADERS, headers, RD_KAFKA_VTYPE_OPAQUE, (void *)pending,
        RD_KAFKA_VTYPE_END);
    if (code)
        rd_kafka_headers_destroy(headers);
    return code;
}

static enum err_code refused(struct kafka_producer *p,
                             const struct kafka_record *record,
                             rd_kafka_resp_err_t code, struct err *err)
{
    enum err_code kind = ERR_UNAVAILABLE;

    if (code == RD_KAFKA_RESP_ERR__QUEUE_FULL) {
        kind = ERR_LIMIT;
        metric_add(M_KAFKA_FULL, 1);
    } else if (code == RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC ||
               code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART) {
        kind = ERR_NOT_FOUND;
    } else if (code == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE) {
        kind = ERR_INPUT;
    } else if (code == RD_KAFKA_RESP_ERR__FATAL) {
        p->fatal = true; /* the event may still be on its way */
        kafka_wake_ring(&p->wake);
    }
    return err_set_from(err, kind, ERR_KAFKA, code,
                        "could not queue for topic \"%s\": %s", record->topic,
                        rd_kafka_err2str(code));
}

enum err_code kafka_produce(struct kafka_producer *p,
                            const struct kafka_record *record,
                            kafka_done_fn done, void *arg, struct err *err)
{
    struct pending *pending;
    rd_kafka_resp_err_t code;

    if (!p->rk)
        return err_set(err, ERR_UNAVAILABLE,
                       "could not queue for topic \"%s\": no client",
                       record->topic);
    pending = pending_take(p, done, arg);
    code = record_send(p, record, pending);
    if (code) {
        pending_return(p, pending);
        return refused(p, record, code, err);
    }
    metric_set(M_KAFKA_QUEUE, (int64_t)p->queued);
    return ERR_NONE;
}
