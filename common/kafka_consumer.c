/*
 * A member of a consumer group, driven by events on the loop.
 *
 * Two queues ring one eventfd. The control queue carries rebalances, commit
 * results, errors and log lines; it is also polled on a timer, which keeps the
 * member alive (max.poll.interval.ms) however long nobody takes a record. The
 * record queue gets the partitions' own queues forwarded into it and is read
 * one message at a time, by whoever has credit; there is one record queue per
 * start, so that nothing of an earlier assignment can be left in it.
 *
 * An assignment is answered to librdkafka at once, with no partitions, so that
 * the group goes on; the group's committed offsets are then fetched by an
 * admin request (rd_kafka_committed() would block) of a client that lives no
 * longer than that: librdkafka goes on asking the coordinator that it knew,
 * also when the group has long had another. Then the owner is asked where to
 * begin, and kafka_start() assigns with those offsets. A position that is not
 * in the log stops its partition (auto.offset.reset=error); nothing is ever
 * skipped silently. Partitions are revoked all at once (range assignor).
 */
#include "common/kafka_priv.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/must.h"

#include <stdlib.h>
#include <string.h>

#define POLL_US (250 * US_PER_MS)
#define LOOKUP_AGAIN_US (500 * US_PER_MS)
#define EVENTS_PER_TURN 1000
#define SKIPS_PER_TAKE 1000 /* error events read past in one kafka_take() */
#define COMMIT_WAIT_US (2 * US_PER_S) /* at the end, for commits in flight  */
#define LEAVE_WAIT_US (3 * US_PER_S)
#define HEARTBEAT_MS 1500
/* Beyond the session, for a member that beats and does not rejoin: the others
   get no partitions before the group gives it up. librdkafka's default is five
   minutes, which it then waits itself for an answer to its own joining (seen
   after a broker's restart: two of four groups stood still). */
#define REJOIN_MS 4000
#define GATHER_BYTES 65536

struct kafka_taken {
    struct kafka_consumer *consumer;
    struct kafka_taken *next_free;
    rd_kafka_message_t *message;
    struct kafka_record record;
    struct kafka_header headers[KAFKA_HEADERS_MAX];
};

struct kafka_consumer {
    struct loop *loop;
    struct kafka_consumer_spec spec;
    char *group;
    const struct config *cfg;
    rd_kafka_t *rk;
    struct kafka_ask *ask; /* for committed offsets, or NULL */
    rd_kafka_queue_t *control;
    rd_kafka_queue_t *records; /* NULL before kafka_start() */
    struct kafka_wake wake;
    struct loop_timer poll_timer, lookup_timer;
    struct kafka_commits *commits;

    struct kafka_parts parts;
    bool announced; /* on_assign has run for this assignment */
    bool lost;      /* some part is */
    bool leaving;

    struct kafka_taken *free;
    size_t taken_n;
    struct kafka_log log;
};

static void lookup_drop(struct kafka_consumer *c)
{
    kafka_ask_drop(c->ask);
    c->ask = NULL;
}

static void parts_renew(struct kafka_consumer *c,
                        const rd_kafka_topic_partition_list_t *list)
{
    lookup_drop(c); /* it is about what is gone */
    c->announced = false;
    kafka_parts_set(&c->parts, list);
}

/* --- where the group stood --- */

static void lookup_failed(struct kafka_consumer *c, int code, const char *text)
{
    kafka_log_error(&c->log, "offsets_not_known", code, text);
    timer_set(c->loop, &c->lookup_timer, clock_now_us() + LOOKUP_AGAIN_US);
}

static void lookup_send(struct kafka_consumer *c)
{
    rd_kafka_topic_partition_list_t *list = kafka_parts_list(&c->parts, false);
    struct err err;

    lookup_drop(c);
    if (kafka_ask(c->cfg, c->group, list, &c->wake, &c->ask, &err))
        lookup_failed(c, 0, err.text);
    rd_kafka_topic_partition_list_destroy(list);
}

static void lookup_again(void *arg)
{
    struct kafka_consumer *c = arg;

    if (c->parts.n > 0 && !c->leaving)
        lookup_send(c);
}

static void assigned(struct kafka_consumer *c)
{
    struct kafka_position *positions = kafka_parts_positions(&c->parts);

    c->announced = true;
    c->spec.on_assign(c->spec.arg, positions, c->parts.n);
    free(positions);
}

static void lookup_done(struct kafka_consumer *c,
                        const rd_kafka_topic_partition_list_t *list)
{
    for (int i = 0; i < list->cnt; i++) {
        struct kafka_part *part = kafka_part_find(
            &c->parts, list->elems[i].topic, list->elems[i].partition);

        if (part)
            kafka_offset_read(&list->elems[i], &part->committed,
                              part->metadata);
    }
    assigned(c);
}

static void answer_take(struct kafka_consumer *c)
{
    const rd_kafka_topic_partition_list_t *list;
    rd_kafka_resp_err_t code;

    if (!c->ask || !kafka_ask_over(c->ask, &code, &list))
        return;
    if (code)
        lookup_failed(c, code, rd_kafka_err2str(code));
    else if (!c->leaving)
        lookup_done(c, list);
    lookup_drop(c);
}

/* --- rebalances --- */

static void assign_to(struct kafka_consumer *c,
                      rd_kafka_topic_partition_list_t *list)
{
    rd_kafka_resp_err_t code = rd_kafka_assign(c->rk, list);

    if (code)
        kafka_log_error(&c->log, "not_assigned", code, rd_kafka_err2str(code));
}

static void records_drop(struct kafka_consumer *c)
{
    if (c->records)
        rd_kafka_queue_destroy(c->records);
    c->records = NULL;
}

static void on_assign(struct kafka_consumer *c, rd_kafka_event_t *event)
{
    rd_kafka_topic_partition_list_t *none =
        rd_kafka_topic_partition_list_new(0);

    parts_renew(c, rd_kafka_event_topic_partition_list(event));
    assign_to(c, none);
    rd_kafka_topic_partition_list_destroy(none);
    log_debug("kafka", "assigned", KV("group", c->group),
              KV_INT("partitions", c->parts.n));
    if (c->parts.n > 0 && !c->leaving)
        lookup_send(c);
}

static void on_revoke(struct kafka_consumer *c)
{
    struct kafka_position *positions = kafka_parts_positions(&c->parts);

    log_debug("kafka", "revoked", KV("group", c->group),
              KV_INT("partitions", c->parts.n));
    if (c->announced && !c->leaving)
        c->spec.on_revoke(c->spec.arg, positions, c->parts.n);
    free(positions);
    timer_cancel(c->loop, &c->lookup_timer);
    kafka_commits_drop(c->commits);
    parts_renew(c, NULL);
    assign_to(c, NULL);
    records_drop(c);
}

static void on_event(struct kafka_consumer *c, rd_kafka_event_t *event)
{
    rd_kafka_resp_err_t code = rd_kafka_event_error(event);

    switch (rd_kafka_event_type(event)) {
    case RD_KAFKA_EVENT_REBALANCE:
        if (code == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS)
            on_assign(c, event);
        else
            on_revoke(c);
        break;
    case RD_KAFKA_EVENT_OFFSET_COMMIT:
        kafka_commits_event(c->commits, event);
        break;
    case RD_KAFKA_EVENT_LOG: kafka_log_event(&c->log, event); break;
    case RD_KAFKA_EVENT_ERROR:
        kafka_log_error(&c->log, "consumer_error", code,
                        rd_kafka_event_error_string(event));
        break;
    default: break;
    }
}

/* --- the loop's side --- */

static void control_drain(struct kafka_consumer *c)
{
    rd_kafka_event_t *event;
    int budget = EVENTS_PER_TURN;

    while (budget-- > 0 && (event = rd_kafka_queue_poll(c->control, 0))) {
        on_event(c, event);
        rd_kafka_event_destroy(event);
    }
    if (budget < 0)
        kafka_wake_ring(&c->wake);
    kafka_commits_step(c->commits);
}

static void lost_tell(struct kafka_consumer *c)
{
    c->lost = false;
    for (size_t i = 0; i < c->parts.n; i++) {
        struct kafka_part *part = &c->parts.rows[i];

        if (!part->lost)
            continue;
        part->lost = false;
        c->spec.on_lost_offset(c->spec.arg, part->topic, part->partition);
    }
}

static void consumer_ready(void *arg)
{
    struct kafka_consumer *c = arg;

    control_drain(c);
    answer_take(c);
    if (c->lost)
        lost_tell(c);
    if (c->records && rd_kafka_queue_length(c->records) > 0)
        c->spec.on_ready(c->spec.arg);
}

static void consumer_poll(void *arg)
{
    struct kafka_consumer *c = arg;

    timer_set(c->loop, &c->poll_timer, clock_now_us() + POLL_US);
    consumer_ready(c);
}

/* --- reading --- */

static void part_forward(struct kafka_consumer *c,
                         const struct kafka_part *part)
{
    rd_kafka_queue_t *queue =
        rd_kafka_queue_get_partition(c->rk, part->topic, part->partition);

    must(queue);
    rd_kafka_queue_forward(queue, c->records);
    rd_kafka_queue_destroy(queue);
}

static void parts_forward(struct kafka_consumer *c)
{
    for (size_t i = 0; i < c->parts.n; i++)
        if (c->parts.rows[i].started)
            part_forward(c, &c->parts.rows[i]);
}

/** Returns when librdkafka's main thread has done what it was told before. */
static void barrier(struct kafka_consumer *c)
{
    rd_kafka_topic_partition_list_t *list;

    if (!rd_kafka_assignment(c->rk, &list))
        rd_kafka_topic_partition_list_destroy(list);
}

/*
 * Begins anew with every started partition, each at what it hands out next.
 * Forwarded before, so that librdkafka does not forward them to the control
 * queue; and again after, because stopping a partition that was being read
 * ends its forwarding, some time after the call.
 */
static void reading_restart(struct kafka_consumer *c)
{
    rd_kafka_topic_partition_list_t *list = kafka_parts_list(&c->parts, true);

    records_drop(c);
    c->records = rd_kafka_queue_new(c->rk);
    kafka_wake_by(&c->wake, c->records);
    parts_forward(c);
    assign_to(c, list);
    barrier(c);
    parts_forward(c);
    kafka_wake_ring(&c->wake); /* some may have come in between */
    rd_kafka_topic_partition_list_destroy(list);
}

void kafka_start(struct kafka_consumer *c,
                 const struct kafka_position *positions, size_t n)
{
    bool any = false;

    for (size_t i = 0; i < n; i++) {
        struct kafka_part *part = kafka_part_find(&c->parts, positions[i].topic,
                                                  positions[i].partition);

        if (!part)
            continue; /* revoked in the meantime */
        part->next = positions[i].offset;
        part->started = true;
        part->lost = false;
        any = true;
    }
    if (any)
        reading_restart(c);
}

/** An error in the place of a record; a lost position stops its partition. */
static void take_error(struct kafka_consumer *c, const rd_kafka_message_t *m)
{
    struct kafka_part *part =
        m->rkt ? kafka_part_find(&c->parts, rd_kafka_topic_name(m->rkt),
                                 m->partition)
               : NULL;

    if (part && (m->err == RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET ||
                 m->err == RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE)) {
        part->started = false;
        part->lost = c->lost = true;
        kafka_wake_ring(&c->wake); /* told in the next turn, not in this call */
        return;
    }
    kafka_log_error(&c->log, "partition_error", m->err,
                    rd_kafka_message_errstr(m));
}

/** The next message of a partition that is being read, or NULL. */
static rd_kafka_message_t *message_next(struct kafka_consumer *c)
{
    for (int i = 0; i < SKIPS_PER_TAKE; i++) {
        rd_kafka_message_t *m = rd_kafka_consume_queue(c->records, 0);
        struct kafka_part *part;

        if (!m)
            return NULL;
        if (m->err) {
            take_error(c, m);
            rd_kafka_message_destroy(m);
            continue;
        }
        part = kafka_part_find(&c->parts, rd_kafka_topic_name(m->rkt),
                               m->partition);
        if (part && part->started) {
            part->next = m->offset + 1;
            return m;
        }
        rd_kafka_message_destroy(m);
    }
    kafka_wake_ring(&c->wake);
    return NULL;
}

struct kafka_taken *kafka_take(struct kafka_consumer *c)
{
    rd_kafka_message_t *m = c->records ? message_next(c) : NULL;
    struct kafka_taken *t;

    if (!m)
        return NULL;
    t = c->free;
    if (t)
        c->free = t->next_free;
    else
        t = NEW(struct kafka_taken);
    t->consumer = c;
    t->message = m;
    kafka_record_read(m, &t->record, t->headers);
    c->taken_n++;
    return t;
}

const struct kafka_record *kafka_taken_record(const struct kafka_taken *t)
{
    return &t->record;
}

void kafka_release(struct kafka_taken *t)
{
    struct kafka_consumer *c = t->consumer;

    rd_kafka_message_destroy(t->message);
    t->message = NULL;
    t->next_free = c->free;
    c->free = t;
    c->taken_n--;
}

size_t kafka_assigned(const struct kafka_consumer *c, size_t *ret_started)
{
    size_t started = 0;

    for (size_t i = 0; i < c->parts.n; i++)
        started += c->parts.rows[i].started;
    if (ret_started)
        *ret_started = started;
    return c->parts.n;
}

void kafka_commit(struct kafka_consumer *c,
                  const struct kafka_position *positions, size_t n,
                  kafka_done_fn done, void *arg)
{
    kafka_commits_add(c->commits, positions, n, done, arg);
}

/* --- life --- */

static enum err_code client_open(struct kafka_consumer *c,
                                 const struct config *cfg, struct err *err)
{
    int64_t session_ms = cfg->kafka_session_timeout_ms;
    int64_t gather_ms = c->spec.gather_ms;
    const struct kafka_setting settings[] = {
        {"group.id", c->group, 0},
        {"session.timeout.ms", NULL, session_ms},
        {"max.poll.interval.ms", NULL, session_ms + REJOIN_MS},
        {"heartbeat.interval.ms", NULL, MIN(HEARTBEAT_MS, session_ms / 3)},
        {"partition.assignment.strategy", "range", 0},
        {"enable.auto.commit", "false", 0},
        {"enable.auto.offset.store", "false", 0},
        {"auto.offset.reset", "error", 0},
        {"fetch.wait.max.ms", NULL,
         gather_ms ? gather_ms : cfg->kafka_fetch_wait_ms},
        {"fetch.min.bytes", NULL, gather_ms ? GATHER_BYTES : 1},
    };
    const struct kafka_client_spec spec = {
        .type = RD_KAFKA_CONSUMER,
        .client_id = c->group,
        .events = RD_KAFKA_EVENT_REBALANCE | RD_KAFKA_EVENT_OFFSET_COMMIT,
        .settings = settings,
        .settings_n = ARRAY_LEN(settings),
        .ahead_kbytes = cfg->kafka_fetch_kbytes_max,
    };

    if (kafka_client_new(cfg, &spec, &c->rk, err))
        return err->code;
    rd_kafka_poll_set_consumer(c->rk);
    c->control = rd_kafka_queue_get_consumer(c->rk);
    kafka_wake_by(&c->wake, c->control);
    c->commits = kafka_commits_new(c->rk, c->control, &c->wake);
    return ERR_NONE;
}

static enum err_code group_join(struct kafka_consumer *c, struct err *err)
{
    rd_kafka_topic_partition_list_t *topics =
        rd_kafka_topic_partition_list_new((int)c->spec.topics_n);
    rd_kafka_resp_err_t code;

    for (size_t i = 0; i < c->spec.topics_n; i++)
        rd_kafka_topic_partition_list_add(topics, c->spec.topics[i],
                                          RD_KAFKA_PARTITION_UA);
    code = rd_kafka_subscribe(c->rk, topics);
    rd_kafka_topic_partition_list_destroy(topics);
    if (code)
        return err_set_from(err, ERR_CONFIG, ERR_KAFKA, code,
                            "cannot join group \"%s\": %s", c->group,
                            rd_kafka_err2str(code));
    return ERR_NONE;
}

enum err_code kafka_consumer_new(struct loop *loop, const struct config *cfg,
                                 const struct kafka_consumer_spec *spec,
                                 struct kafka_consumer **ret, struct err *err)
{
    struct kafka_consumer *c = NEW(struct kafka_consumer);

    must(spec->topics_n > 0 && spec->topics_n <= ARRAY_LEN(spec->topics));
    c->loop = loop;
    c->cfg = cfg;
    c->spec = *spec;
    c->group = must_strdup(spec->group);
    c->log.who = c->group;
    timer_init(&c->poll_timer, consumer_poll, c);
    timer_init(&c->lookup_timer, lookup_again, c);
    if (kafka_wake_init(&c->wake, loop, consumer_ready, c, err) ||
        client_open(c, cfg, err) || group_join(c, err)) {
        kafka_consumer_free(c);
        return err->code;
    }
    timer_set(loop, &c->poll_timer, clock_now_us() + POLL_US);
    *ret = c;
    return ERR_NONE;
}

/** Serves control events for @p wait_us, or until @p done says that it will do.
 */
static void control_wait(struct kafka_consumer *c, int64_t wait_us,
                         bool (*done)(struct kafka_consumer *c))
{
    int64_t end_us = clock_now_us() + wait_us;

    while (!done(c) && clock_now_us() < end_us) {
        rd_kafka_event_t *event = rd_kafka_queue_poll(c->control, 50);

        kafka_commits_step(c->commits);
        if (!event)
            continue;
        on_event(c, event);
        rd_kafka_event_destroy(event);
    }
}

static bool commits_done(struct kafka_consumer *c)
{
    return kafka_commits_idle(c->commits);
}

static bool closed(struct kafka_consumer *c)
{
    return rd_kafka_consumer_closed(c->rk) == 1;
}

static void group_leave(struct kafka_consumer *c)
{
    rd_kafka_error_t *error;

    c->leaving = true;
    control_wait(c, COMMIT_WAIT_US, commits_done);
    error = rd_kafka_consumer_close_queue(c->rk, c->control);
    if (error)
        rd_kafka_error_destroy(error);
    else
        control_wait(c, LEAVE_WAIT_US, closed);
    kafka_commits_free(c->commits);
    records_drop(c);
    rd_kafka_queue_destroy(c->control);
    rd_kafka_destroy_flags(c->rk, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
}

void kafka_consumer_free(struct kafka_consumer *c)
{
    struct kafka_taken *t;

    if (!c)
        return;
    must(c->taken_n == 0); /* their memory is the client's */
    timer_cancel(c->loop, &c->poll_timer);
    timer_cancel(c->loop, &c->lookup_timer);
    lookup_drop(c);
    if (c->rk)
        group_leave(c);
    timer_cancel(c->loop, &c->lookup_timer);
    kafka_wake_done(&c->wake);
    while ((t = c->free)) {
        c->free = t->next_free;
        free(t);
    }
    kafka_parts_set(&c->parts, NULL);
    free(c->group);
    free(c);
}
