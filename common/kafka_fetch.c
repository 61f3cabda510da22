/*
 * Single records by their place. One fetch at a time; its partition is read
 * from exactly that offset and let go after the first answer. Rare work: the
 * connection is made with the first fetch and kept.
 */
#include "common/kafka_priv.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/must.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FETCH_TIMEOUT_US (10 * US_PER_S)
#define FETCH_WAIT_MS 50

struct fetch {
    struct list node;
    char topic[KAFKA_TOPIC_SIZE];
    int32_t partition;
    int64_t offset;
    kafka_fetched_fn done;
    void *arg;
};

struct kafka_fetcher {
    struct loop *loop;
    const struct config *cfg;
    rd_kafka_t *rk; /* NULL until the first fetch */
    rd_kafka_queue_t *control, *records;
    struct kafka_wake wake;
    struct kafka_log log;
    struct loop_timer timer; /* the present fetch's end, or the next's start */
    struct list waiting;
    struct fetch *now;
    rd_kafka_topic_t *topic; /* of the present fetch */
};

static void fetch_next(struct kafka_fetcher *f);

static void finish(struct kafka_fetcher *f, const struct kafka_record *record,
                   const struct err *err)
{
    struct fetch *x = TAKE(f->now);

    (void)rd_kafka_consume_stop(f->topic, x->partition);
    rd_kafka_topic_destroy(TAKE(f->topic));
    x->done(x->arg, record, err);
    free(x);
    timer_set(f->loop, &f->timer, clock_now_us());
}

static void fail(struct kafka_fetcher *f, enum err_code code, const char *why)
{
    struct err err;

    err_set(&err, code, "could not read record %lld of \"%s\" [%d]: %s",
            (long long)f->now->offset, f->now->topic, (int)f->now->partition,
            why);
    finish(f, NULL, &err);
}

static void time_came(void *arg)
{
    struct kafka_fetcher *f = arg;

    if (f->now)
        fail(f, ERR_TIMEOUT, "no answer in time");
    else
        fetch_next(f);
}

/* That place is not in the log; all other errors may pass, the log's end too,
   which a new leader may not know yet. */
static bool is_gone(rd_kafka_resp_err_t code)
{
    return code == RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET ||
           code == RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE;
}

static void message_came(struct kafka_fetcher *f, rd_kafka_message_t *m)
{
    struct kafka_header headers[KAFKA_HEADERS_MAX];
    struct kafka_record record;

    if (!f->now)
        return; /* of a fetch that is over */
    if (m->err) {
        fail(f, is_gone(m->err) ? ERR_NOT_FOUND : ERR_UNAVAILABLE,
             rd_kafka_err2str(m->err));
    } else if (m->offset != f->now->offset) {
        fail(f, ERR_NOT_FOUND, "it was deleted");
    } else {
        kafka_record_read(m, &record, headers);
        finish(f, &record, NULL);
    }
}

static void ready(void *arg)
{
    struct kafka_fetcher *f = arg;
    rd_kafka_event_t *event;
    rd_kafka_message_t *m;

    if (!f->rk)
        return;
    while ((event = rd_kafka_queue_poll(f->control, 0))) {
        if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_LOG)
            kafka_log_event(&f->log, event);
        rd_kafka_event_destroy(event);
    }
    while ((m = rd_kafka_consume_queue(f->records, 0))) {
        message_came(f, m);
        rd_kafka_message_destroy(m);
    }
}

static enum err_code client_open(struct kafka_fetcher *f, struct err *err)
{
    const struct kafka_setting settings[] = {
        {"enable.partition.eof", "true", 0},
        {"auto.offset.reset", "error", 0},
        {"fetch.wait.max.ms", NULL, FETCH_WAIT_MS},
        {"queued.min.messages", NULL, 1},
        {"queued.max.messages.kbytes", NULL, f->cfg->kafka_fetch_kbytes_max},
    };
    const struct kafka_client_spec spec = {
        .type = RD_KAFKA_CONSUMER,
        .client_id = "foleni-fetcher",
        .settings = settings,
        .settings_n = ARRAY_LEN(settings),
    };

    if (kafka_wake_init(&f->wake, f->loop, ready, f, err))
        return err->code;
    if (kafka_client_new(f->cfg, &spec, &f->rk, err)) {
        kafka_wake_done(&f->wake);
        return err->code;
    }
    f->control = rd_kafka_queue_get_main(f->rk);
    f->records = rd_kafka_queue_new(f->rk);
    kafka_wake_by(&f->wake, f->control);
    kafka_wake_by(&f->wake, f->records);
    return ERR_NONE;
}

static void refuse(struct fetch *x, const struct err *err)
{
    x->done(x->arg, NULL, err);
    free(x);
}

static void fetch_next(struct kafka_fetcher *f)
{
    struct list *n = list_shift(&f->waiting);
    struct fetch *x;
    struct err err;

    if (!n)
        return;
    x = container_of(n, struct fetch, node);
    if (!f->rk && client_open(f, &err)) {
        refuse(x, &err);
        return;
    }
    f->now = x;
    f->topic = rd_kafka_topic_new(f->rk, x->topic, NULL);
    must(f->topic);
    timer_set(f->loop, &f->timer, clock_now_us() + FETCH_TIMEOUT_US);
    if (rd_kafka_consume_start_queue(f->topic, x->partition, x->offset,
                                     f->records))
        fail(f, ERR_UNAVAILABLE, rd_kafka_err2str(rd_kafka_last_error()));
}

struct kafka_fetcher *kafka_fetcher_new(struct loop *loop,
                                        const struct config *cfg)
{
    struct kafka_fetcher *f = NEW(struct kafka_fetcher);

    f->loop = loop;
    f->cfg = cfg;
    f->log.who = "foleni-fetcher";
    list_init(&f->waiting);
    timer_init(&f->timer, time_came, f);
    return f;
}

void kafka_fetcher_free(struct kafka_fetcher *f)
{
    struct err err;
    struct list *n;

    if (!f)
        return;
    err_set(&err, ERR_UNAVAILABLE, "the program stops");
    if (f->now)
        finish(f, NULL, &err);
    timer_cancel(f->loop, &f->timer);
    while ((n = list_shift(&f->waiting)))
        refuse(container_of(n, struct fetch, node), &err);
    if (f->rk) {
        rd_kafka_queue_destroy(f->records);
        rd_kafka_queue_destroy(f->control);
        rd_kafka_destroy(f->rk);
        kafka_wake_done(&f->wake);
    }
    free(f);
}

void kafka_fetch(struct kafka_fetcher *f, const char *topic, int32_t partition,
                 int64_t offset, kafka_fetched_fn done, void *arg)
{
    struct fetch *x = NEW(struct fetch);

    must((size_t)snprintf(x->topic, sizeof(x->topic), "%s", topic) <
         sizeof(x->topic));
    x->partition = partition;
    x->offset = offset;
    x->done = done;
    x->arg = arg;
    list_append(&f->waiting, &x->node);
    if (!f->now)
        timer_set(f->loop, &f->timer, clock_now_us());
}
