/*
 * Reads all partitions of some topics from a time on, without a group.
 *
 * Which partitions there are and which offset belongs to a time can only be
 * asked with blocking calls of librdkafka, and Kafka may be away: a helper
 * thread asks and ends, everything else happens on the loop. It is asked again
 * every second until all topics are known, then every minute for partitions
 * that were added (they are read from their beginning).
 *
 * Where no record is as young as the time, the last TAIL_RECORDS of the
 * partition are read and the old ones passed over: nothing that is written
 * between question and start can be missed, and the mock cluster, which does
 * not know offsets by time, is served as well.
 */
#include "common/kafka_priv.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/must.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define TAIL_RECORDS 2000
#define ASK_WAIT_MS 1000 /* also how long kafka_follower_free() may take */
#define ASK_AGAIN_US US_PER_S
#define ASK_REFRESH_US (60 * US_PER_S)
/* Followers may be this much behind, so that a fetch brings many records: one
   fetch per record was a third of the API's CPU at 1,000 payments/s. */
#define FETCH_WAIT_MS 25
#define FETCH_BYTES_MIN 65536
#define AHEAD_KBYTES 2048
#define PARTITIONS_MAX 10000 /* of one topic; Kafka's own limits are lower */

/** One partition being read. */
struct reading {
    bool skipping; /* until the first record as young as since_at */
    bool ended;    /* has been at the end once                    */
};

struct followed {
    char *name;
    rd_kafka_topic_t *handle;
    struct reading *readings;
    size_t readings_n; /* 0 = the topic is not known yet */
};

/** What the helper thread finds out; its own until `over` is set. */
struct answer {
    rd_kafka_topic_partition_list_t *starts;
    bool whole; /* every topic answered */
};

struct kafka_follower {
    struct loop *loop;
    int64_t since_at;
    size_t budget;
    kafka_record_fn fn;
    void *arg;

    rd_kafka_t *rk;
    rd_kafka_queue_t *control, *records;
    struct kafka_wake wake;
    struct loop_timer ask_timer;
    struct kafka_log log;

    struct followed *topics;
    size_t topics_n;
    bool whole; /* all topics are being read */
    bool caught_up;

    pthread_t thread;
    bool asking; /* the thread is to be joined */
    atomic_bool over, stop;
    struct answer answer;
};

/* --- the helper thread: asks, writes into `answer`, ends --- */

/** Adds the partitions of @p t that are not read yet. */
static bool ask_partitions(struct kafka_follower *f, const struct followed *t,
                           rd_kafka_topic_partition_list_t *list)
{
    const struct rd_kafka_metadata *metadata;
    int64_t at = t->readings_n > 0 || f->since_at <= 0
                     ? RD_KAFKA_OFFSET_BEGINNING
                     : f->since_at / US_PER_MS;
    bool known;

    if (rd_kafka_metadata(f->rk, 0, t->handle, &metadata, ASK_WAIT_MS))
        return false;
    known = metadata->topic_cnt == 1 && !metadata->topics[0].err &&
            metadata->topics[0].partition_cnt <= PARTITIONS_MAX;
    for (int p = (int)t->readings_n;
         known && p < metadata->topics[0].partition_cnt; p++)
        rd_kafka_topic_partition_list_add(list, t->name, p)->offset = at;
    rd_kafka_metadata_destroy(metadata);
    return known;
}

/** Turns times into offsets. */
static bool ask_offsets(struct kafka_follower *f,
                        rd_kafka_topic_partition_list_t *list)
{
    if (list->cnt == 0 || list->elems[0].offset < 0)
        return true;
    if (rd_kafka_offsets_for_times(f->rk, list, ASK_WAIT_MS))
        return false;
    for (int i = 0; i < list->cnt; i++)
        if (list->elems[i].err)
            return false;
    return true;
}

static void list_append_all(rd_kafka_topic_partition_list_t *to,
                            const rd_kafka_topic_partition_list_t *from)
{
    for (int i = 0; i < from->cnt; i++)
        rd_kafka_topic_partition_list_add(to, from->elems[i].topic,
                                          from->elems[i].partition)
            ->offset = from->elems[i].offset;
}

static void *ask_thread(void *arg)
{
    struct kafka_follower *f = arg;
    bool whole = true;

    for (size_t i = 0; i < f->topics_n && !atomic_load(&f->stop); i++) {
        rd_kafka_topic_partition_list_t *list =
            rd_kafka_topic_partition_list_new(16);

        if (ask_partitions(f, &f->topics[i], list) && ask_offsets(f, list))
            list_append_all(f->answer.starts, list);
        else
            whole = false;
        rd_kafka_topic_partition_list_destroy(list);
    }
    f->answer.whole = whole;
    atomic_store(&f->over, true);
    kafka_wake_ring(&f->wake);
    return NULL;
}

static void ask(void *arg)
{
    struct kafka_follower *f = arg;
    sigset_t all, before;

    f->answer.starts = rd_kafka_topic_partition_list_new(16);
    atomic_store(&f->over, false);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    f->asking = pthread_create(&f->thread, NULL, ask_thread, f) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (f->asking)
        return;
    rd_kafka_topic_partition_list_destroy(TAKE(f->answer.starts));
    timer_set(f->loop, &f->ask_timer, clock_now_us() + ASK_AGAIN_US);
}

/* --- reading --- */

static struct followed *topic_find(struct kafka_follower *f, const char *name)
{
    for (size_t i = 0; i < f->topics_n; i++)
        if (strcmp(f->topics[i].name, name) == 0)
            return &f->topics[i];
    return NULL;
}

static void reading_start(struct kafka_follower *f,
                          const rd_kafka_topic_partition_t *start)
{
    struct followed *t = topic_find(f, start->topic);
    bool tail = start->offset == RD_KAFKA_OFFSET_END;
    int64_t offset = tail ? RD_KAFKA_OFFSET_TAIL(TAIL_RECORDS) : start->offset;

    must(t && start->partition == (int32_t)t->readings_n);
    t->readings =
        realloc(t->readings, (t->readings_n + 1) * sizeof(*t->readings));
    must(t->readings);
    t->readings[t->readings_n++] = (struct reading){.skipping = tail};
    if (rd_kafka_consume_start_queue(t->handle, start->partition, offset,
                                     f->records))
        kafka_log_error(&f->log, "not_followed", rd_kafka_last_error(),
                        start->topic);
}

static void caught_up_check(struct kafka_follower *f)
{
    for (size_t i = 0; i < f->topics_n; i++)
        for (size_t p = 0; p < f->topics[i].readings_n; p++)
            if (!f->topics[i].readings[p].ended)
                return;
    f->caught_up = f->whole;
}

static void ask_finish(struct kafka_follower *f)
{
    pthread_join(f->thread, NULL);
    f->asking = false;
    for (int i = 0; i < f->answer.starts->cnt; i++)
        reading_start(f, &f->answer.starts->elems[i]);
    rd_kafka_topic_partition_list_destroy(TAKE(f->answer.starts));
    f->whole |= f->answer.whole;
    timer_set(f->loop, &f->ask_timer,
              clock_now_us() +
                  (f->answer.whole ? ASK_REFRESH_US : ASK_AGAIN_US));
}

static void message_tell(struct kafka_follower *f, rd_kafka_message_t *m,
                         struct reading *reading)
{
    struct kafka_header headers[KAFKA_HEADERS_MAX];
    struct kafka_record record;

    kafka_record_read(m, &record, headers);
    if (reading->skipping && record.timestamp_at < f->since_at)
        return;
    reading->skipping = false;
    f->fn(f->arg, &record);
}

static void message_read(struct kafka_follower *f, rd_kafka_message_t *m)
{
    struct followed *t = m->rkt ? rd_kafka_topic_opaque(m->rkt) : NULL;

    if (!t || m->partition < 0 || (size_t)m->partition >= t->readings_n) {
        kafka_log_error(&f->log, "follower_error", m->err,
                        rd_kafka_message_errstr(m));
        return;
    }
    if (!m->err) {
        message_tell(f, m, &t->readings[m->partition]);
    } else if (m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
        t->readings[m->partition].ended = true;
        if (!f->caught_up)
            caught_up_check(f);
    } else {
        kafka_log_error(&f->log, "follower_error", m->err,
                        rd_kafka_message_errstr(m));
    }
}

static void records_drain(struct kafka_follower *f)
{
    for (size_t i = 0; i < f->budget; i++) {
        rd_kafka_message_t *m = rd_kafka_consume_queue(f->records, 0);

        if (!m)
            return;
        message_read(f, m);
        rd_kafka_message_destroy(m);
    }
    kafka_wake_ring(&f->wake);
}

static void control_drain(struct kafka_follower *f)
{
    rd_kafka_event_t *event;

    while ((event = rd_kafka_queue_poll(f->control, 0))) {
        if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_LOG)
            kafka_log_event(&f->log, event);
        else if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_ERROR)
            kafka_log_error(&f->log, "follower_error",
                            rd_kafka_event_error(event),
                            rd_kafka_event_error_string(event));
        rd_kafka_event_destroy(event);
    }
}

static void follower_ready(void *arg)
{
    struct kafka_follower *f = arg;

    control_drain(f);
    if (f->asking && atomic_load(&f->over))
        ask_finish(f);
    records_drain(f);
}

bool kafka_follower_caught_up(const struct kafka_follower *f)
{
    return f->caught_up;
}

/* --- life --- */

static void topics_open(struct kafka_follower *f, const char *const *names,
                        size_t n)
{
    f->topics = must_alloc(n, sizeof(*f->topics));
    f->topics_n = n;
    for (size_t i = 0; i < n; i++) {
        rd_kafka_topic_conf_t *conf = rd_kafka_default_topic_conf_dup(f->rk);

        f->topics[i].name = must_strdup(names[i]);
        rd_kafka_topic_conf_set_opaque(conf, &f->topics[i]);
        f->topics[i].handle = rd_kafka_topic_new(f->rk, names[i], conf);
        must(f->topics[i].handle);
    }
}

static enum err_code client_open(struct kafka_follower *f,
                                 const struct config *cfg, struct err *err)
{
    const struct kafka_setting settings[] = {
        {"enable.partition.eof", "true", 0},
        {"auto.offset.reset", "earliest", 0},
        {"fetch.wait.max.ms", NULL, FETCH_WAIT_MS},
        {"fetch.min.bytes", NULL, FETCH_BYTES_MIN},
    };
    const struct kafka_client_spec spec = {
        .type = RD_KAFKA_CONSUMER,
        .client_id = "foleni-follower",
        .settings = settings,
        .settings_n = ARRAY_LEN(settings),
        .ahead_kbytes = AHEAD_KBYTES,
    };

    if (kafka_client_new(cfg, &spec, &f->rk, err))
        return err->code;
    f->control = rd_kafka_queue_get_main(f->rk);
    f->records = rd_kafka_queue_new(f->rk);
    kafka_wake_by(&f->wake, f->control);
    kafka_wake_by(&f->wake, f->records);
    return ERR_NONE;
}

enum err_code kafka_follower_new(struct loop *loop, const struct config *cfg,
                                 const char *const *topics, size_t topics_n,
                                 int64_t since_at, size_t budget,
                                 kafka_record_fn fn, void *arg,
                                 struct kafka_follower **ret, struct err *err)
{
    struct kafka_follower *f = NEW(struct kafka_follower);

    must(topics_n > 0 && budget > 0);
    f->loop = loop;
    f->since_at = since_at;
    f->budget = budget;
    f->fn = fn;
    f->arg = arg;
    f->log.who = "foleni-follower";
    timer_init(&f->ask_timer, ask, f);
    if (kafka_wake_init(&f->wake, loop, follower_ready, f, err) ||
        client_open(f, cfg, err)) {
        kafka_follower_free(f);
        return err->code;
    }
    topics_open(f, topics, topics_n);
    ask(f);
    *ret = f;
    return ERR_NONE;
}

static void topics_close(struct kafka_follower *f)
{
    for (size_t i = 0; i < f->topics_n; i++) {
        struct followed *t = &f->topics[i];

        for (size_t p = 0; p < t->readings_n; p++)
            (void)rd_kafka_consume_stop(t->handle, (int32_t)p);
        rd_kafka_topic_destroy(t->handle);
        free(t->readings);
        free(t->name);
    }
    free(f->topics);
}

static void client_close(struct kafka_follower *f)
{
    if (f->asking) {
        atomic_store(&f->stop, true);
        pthread_join(f->thread, NULL);
        rd_kafka_topic_partition_list_destroy(f->answer.starts);
    }
    topics_close(f);
    rd_kafka_queue_destroy(f->records);
    rd_kafka_queue_destroy(f->control);
    rd_kafka_destroy(f->rk);
}

void kafka_follower_free(struct kafka_follower *f)
{
    if (!f)
        return;
    timer_cancel(f->loop, &f->ask_timer);
    if (f->rk)
        client_close(f);
    kafka_wake_done(&f->wake);
    free(f);
}
