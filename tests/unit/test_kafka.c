/*
 * The Kafka room against librdkafka's mock cluster in this process. What the
 * mock cannot do (admin requests, offsets by time, a full group protocol under
 * kill -9) is tested against a real broker by the service tests.
 *
 * Groups take their time here: the mock waits three seconds for the first join.
 */
#include "common/kafka.h"

#include "common/clock.h"
#include "common/kafka_priv.h"
#include "common/log.h"
#include "common/loop.h"
#include "common/metrics.h"

#include <librdkafka/rdkafka_mock.h>

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>

#include <cmocka.h>

#define PATIENCE_US (60 * US_PER_S)
#define PRODUCE_API 0 /* Kafka's number of the Produce request */
#define OFFSET_FETCH_API 9
#define PARTS 4

struct world {
    rd_kafka_t *host;
    rd_kafka_mock_cluster_t *mock;
    struct loop *loop;
    struct config cfg;
    struct kafka_producer *producer;
};

/* What delivery reports said, by number. */
struct reports {
    int delivered, unsure, unavailable, other;
    struct err last;
};

static void count_report(void *arg, const struct err *err)
{
    struct reports *r = arg;

    if (!err)
        r->delivered++;
    else if (err->code == ERR_UNSURE)
        r->unsure++;
    else if (err->code == ERR_UNAVAILABLE)
        r->unavailable++;
    else
        r->other++;
    if (err)
        r->last = *err;
}

static int reports_n(const struct reports *r)
{
    return r->delivered + r->unsure + r->unavailable + r->other;
}

#define WAIT_FOR(w, cond)                               \
    do {                                                \
        int64_t end_us_ = clock_now_us() + PATIENCE_US; \
        while (!(cond) && clock_now_us() < end_us_)     \
            loop_once((w)->loop, 20 * US_PER_MS);       \
        assert_true(cond);                              \
    } while (0)

static void world_open(struct world *w)
{
    char why[200];

    memset(w, 0, sizeof(*w));
    w->host =
        rd_kafka_new(RD_KAFKA_PRODUCER, rd_kafka_conf_new(), why, sizeof(why));
    assert_non_null(w->host);
    w->mock = rd_kafka_mock_cluster_new(w->host, 1);
    assert_non_null(w->mock);
    w->loop = loop_new();
    w->cfg.kafka_brokers = rd_kafka_mock_cluster_bootstraps(w->mock);
    w->cfg.kafka_prefix = "t.";
    w->cfg.kafka_queue_records_max = 20000;
    w->cfg.kafka_queue_kbytes_max = 8192;
    w->cfg.kafka_fetch_kbytes_max = 4096;
    w->cfg.kafka_fetch_wait_ms = 50;
    w->cfg.kafka_publish_timeout_ms = 5000;
    w->cfg.kafka_session_timeout_ms = 4000;
}

static void topic_make(struct world *w, const char *name)
{
    assert_int_equal(rd_kafka_mock_topic_create(w->mock, name, PARTS, 1), 0);
}

static void topics_make(struct world *w)
{
    char name[KAFKA_TOPIC_SIZE];

    for (int t = 0; t < TOPICS_N; t++) {
        kafka_topic(&w->cfg, (enum topic)t, name);
        topic_make(w, name);
    }
}

static void producer_make(struct world *w)
{
    struct err err;

    assert_int_equal(
        kafka_producer_new(w->loop, &w->cfg, "test", 1, &w->producer, &err),
        ERR_NONE);
}

static void world_close(struct world *w)
{
    kafka_producer_free(w->producer, 0);
    loop_free(w->loop);
    rd_kafka_mock_cluster_destroy(w->mock);
    rd_kafka_destroy(w->host);
}

static enum err_code post(struct world *w, const char *topic, const char *key,
                          const char *value, struct reports *reports)
{
    struct kafka_header headers[] = {{"foleni-one", "1", 1},
                                     {"foleni-two", "zwei", 4}};
    struct kafka_record record = {
        .topic = topic,
        .key = key,
        .key_len = key ? strlen(key) : 0,
        .value = value,
        .value_len = strlen(value),
        .headers = headers,
        .headers_n = 2,
    };
    struct err err;

    return kafka_produce(w->producer, &record, count_report, reports, &err);
}

/** Posts until it is queued: a client may be away for some turns. */
static void post_until_queued(struct world *w, const char *topic,
                              struct reports *reports)
{
    int64_t end_us = clock_now_us() + PATIENCE_US;

    while (post(w, topic, "k", "v", reports)) {
        assert_true(clock_now_us() < end_us);
        loop_once(w->loop, 20 * US_PER_MS);
    }
}

static void post_all(struct world *w, const char *topic, const char *key, int n)
{
    struct reports reports = {0};
    char value[24];

    for (int i = 0; i < n; i++) {
        snprintf(value, sizeof(value), "%d", i);
        assert_int_equal(post(w, topic, key, value, &reports), ERR_NONE);
    }
    WAIT_FOR(w, reports_n(&reports) == n);
    assert_int_equal(reports.delivered, n);
}

/** Has the next @p n Produce requests fail with @p code. */
static void fail_produce(struct world *w, rd_kafka_resp_err_t code, size_t n)
{
    for (size_t i = 0; i < n; i++)
        rd_kafka_mock_push_request_errors(w->mock, PRODUCE_API, 1, code);
}

/* --- small things --- */

static void test_topic_names(void **state)
{
    struct config cfg = {.kafka_prefix = "staging."};
    char name[KAFKA_TOPIC_SIZE];

    (void)state;
    kafka_topic(&cfg, TOPIC_HIGH, name);
    assert_string_equal(name, "staging.payments.requests.high");
    kafka_topic(&cfg, TOPIC_DEAD, name);
    assert_string_equal(name, "staging.payments.dead");
}

static void test_header_lookup(void **state)
{
    struct kafka_header headers[] = {{"a", "xyz", 3}, {"b", "", 0}};
    struct kafka_record record = {.headers = headers, .headers_n = 2};
    size_t len = 99;

    (void)state;
    assert_ptr_equal(kafka_header(&record, "a", &len), headers[0].value);
    assert_int_equal(len, 3);
    assert_non_null(kafka_header(&record, "b", NULL));
    assert_null(kafka_header(&record, "c", &len));
}

static enum err_code new_with_property(struct world *w, const char *property,
                                       struct err *err)
{
    const char *items[] = {property};

    w->cfg.kafka_properties = (struct texts){items, 1};
    return kafka_producer_new(w->loop, &w->cfg, "test", 1, &w->producer, err);
}

static void test_properties(void **state)
{
    struct world w;
    struct err err;

    (void)state;
    world_open(&w);
    assert_int_equal(new_with_property(&w, "acks=1", &err), ERR_CONFIG);
    assert_non_null(strstr(err.text, "\"acks\" cannot be set"));
    assert_int_equal(new_with_property(&w, "max.in.flight=5", &err),
                     ERR_CONFIG);
    assert_int_equal(new_with_property(&w, "no.such=1", &err), ERR_CONFIG);
    assert_int_equal(new_with_property(&w, "=1", &err), ERR_CONFIG);
    assert_int_equal(new_with_property(&w, "linger.ms", &err), ERR_CONFIG);
    assert_int_equal(new_with_property(&w, "linger.ms=x", &err), ERR_CONFIG);
    assert_null(w.producer);
    assert_int_equal(new_with_property(&w, "client.rack=a=b", &err), ERR_NONE);
    world_close(&w);
}

/* --- producer --- */

static void test_produce(void **state)
{
    struct world w;
    char note[240];

    (void)state;
    world_open(&w);
    topics_make(&w);
    producer_make(&w);
    post_all(&w, "t.payments.status", "k", 3000);
    assert_int_equal(kafka_queued(w.producer), 0);
    assert_true(kafka_producer_up(w.producer, note, sizeof(note)));
    world_close(&w);
}

static void test_produce_queue_full(void **state)
{
    struct world w;
    struct reports reports = {0};
    int64_t full = metric_get(M_KAFKA_FULL);

    (void)state;
    world_open(&w);
    topics_make(&w);
    w.cfg.kafka_queue_records_max = 100;
    w.cfg.kafka_publish_timeout_ms = 500;
    rd_kafka_mock_broker_set_down(w.mock, -1);
    producer_make(&w);
    for (int i = 0; i < 100; i++)
        assert_int_equal(post(&w, "t.payments.status", "k", "v", &reports),
                         ERR_NONE);
    assert_int_equal(post(&w, "t.payments.status", "k", "v", &reports),
                     ERR_LIMIT);
    assert_int_equal(metric_get(M_KAFKA_FULL), full + 1);
    WAIT_FOR(&w, reports_n(&reports) == 100);
    assert_int_equal(reports.unavailable, 100); /* none left this process */
    world_close(&w);
}

static void test_produce_unsure(void **state)
{
    struct world w;
    struct reports reports = {0};

    (void)state;
    world_open(&w);
    topics_make(&w);
    w.cfg.kafka_publish_timeout_ms = 1000;
    producer_make(&w);
    post_all(&w, "t.payments.status", "k", 1);
    /* the broker reads the request and hangs up, again and again */
    fail_produce(&w, RD_KAFKA_RESP_ERR__TRANSPORT, 100);
    assert_int_equal(post(&w, "t.payments.status", "k", "v", &reports), 0);
    WAIT_FOR(&w, reports_n(&reports) == 1);
    assert_int_equal(reports.unsure, 1);
    world_close(&w);
}

static void test_produce_refused(void **state)
{
    struct world w;
    struct reports reports = {0};

    (void)state;
    world_open(&w);
    topics_make(&w);
    producer_make(&w);
    fail_produce(&w, RD_KAFKA_RESP_ERR_POLICY_VIOLATION, 1);
    assert_int_equal(post(&w, "t.payments.status", "k", "v", &reports), 0);
    WAIT_FOR(&w, reports_n(&reports) == 1);
    assert_int_equal(reports.unavailable, 1);
    assert_int_equal(reports.last.native, RD_KAFKA_RESP_ERR_POLICY_VIOLATION);
    post_all(&w, "t.payments.status", "k", 10); /* it goes on */
    world_close(&w);
}

static void test_produce_retried(void **state)
{
    struct world w;

    (void)state;
    world_open(&w);
    topics_make(&w);
    producer_make(&w);
    fail_produce(&w, RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS, 3);
    post_all(&w, "t.payments.status", "k", 10);
    world_close(&w);
}

static void test_produce_unknown_topic(void **state)
{
    struct world w;
    struct reports reports = {0};
    enum err_code code;

    (void)state;
    world_open(&w);
    topics_make(&w);
    w.cfg.kafka_publish_timeout_ms = 1000;
    rd_kafka_mock_topic_set_error(w.mock, "t.payments.dead",
                                  RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART);
    producer_make(&w);
    assert_int_equal(post(&w, "t.payments.dead", "k", "v", &reports), 0);
    WAIT_FOR(&w, reports_n(&reports) == 1);
    assert_int_equal(reports.unavailable, 1);
    assert_non_null(strstr(reports.last.text, "t.payments.dead"));
    code = post(&w, "t.payments.dead", "k", "v", &reports);
    assert_true(code == ERR_NOT_FOUND || code == ERR_NONE);
    post_all(&w, "t.payments.status", "k", 10); /* others go on */
    /* and it may still be created */
    rd_kafka_mock_topic_set_error(w.mock, "t.payments.dead", 0);
    post_until_queued(&w, "t.payments.dead", &reports);
    WAIT_FOR(&w, reports.delivered > 0 || reports.unavailable > 2);
    assert_int_equal(reports.delivered, 1);
    world_close(&w);
}

static void test_produce_fatal(void **state)
{
    struct world w;
    struct reports reports = {0};
    rd_kafka_t *before;

    (void)state;
    world_open(&w);
    topics_make(&w);
    producer_make(&w);
    post_all(&w, "t.payments.status", "k", 1);
    before = kafka_producer_client(w.producer);
    rd_kafka_mock_broker_set_down(w.mock, -1);
    for (int i = 0; i < 50; i++)
        assert_int_equal(post(&w, "t.payments.status", "k", "v", &reports), 0);
    rd_kafka_test_fatal_error(
        before, RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER, "for the test");
    WAIT_FOR(&w, reports_n(&reports) == 50);
    assert_int_equal(reports.delivered, 0);
    rd_kafka_mock_broker_set_up(w.mock, -1);
    memset(&reports, 0, sizeof(reports));
    post_until_queued(&w, "t.payments.status", &reports);
    WAIT_FOR(&w, reports.delivered == 1);
    world_close(&w);
}

static void test_producer_up(void **state)
{
    struct world w;
    char note[240];

    (void)state;
    world_open(&w);
    topics_make(&w);
    producer_make(&w);
    assert_false(kafka_producer_up(w.producer, note, sizeof(note)));
    WAIT_FOR(&w, kafka_producer_up(w.producer, note, sizeof(note)));
    assert_int_equal(metric_get(M_KAFKA_UP), 1);
    rd_kafka_mock_broker_set_down(w.mock, -1);
    WAIT_FOR(&w, !kafka_producer_up(w.producer, note, sizeof(note)));
    assert_string_not_equal(note, "");
    rd_kafka_mock_broker_set_up(w.mock, -1);
    WAIT_FOR(&w, kafka_producer_up(w.producer, note, sizeof(note)));
    world_close(&w);
}

static void test_producer_free_tells_the_rest(void **state)
{
    struct world w;
    struct reports reports = {0};

    (void)state;
    world_open(&w);
    topics_make(&w);
    rd_kafka_mock_broker_set_down(w.mock, -1);
    producer_make(&w);
    for (int i = 0; i < 300; i++)
        assert_int_equal(post(&w, "t.payments.status", "k", "v", &reports), 0);
    kafka_producer_free(w.producer, 10);
    w.producer = NULL;
    assert_int_equal(reports_n(&reports), 300);
    assert_int_equal(reports.delivered, 0);
    world_close(&w);
}

/* --- follower --- */

struct seen {
    int n;
    int wrong_partition;
    int64_t next[PARTS];
    char last[32];
};

static void see(void *arg, const struct kafka_record *r)
{
    struct seen *seen = arg;
    size_t len;

    seen->n++;
    assert_memory_equal(kafka_header(r, "foleni-two", &len), "zwei", 4);
    assert_int_equal(len, 4);
    assert_true(r->offset >= seen->next[r->partition]);
    seen->next[r->partition] = r->offset + 1;
    if (r->key && r->partition !=
                      rd_kafka_msg_partitioner_murmur2(NULL, r->key, r->key_len,
                                                       PARTS, NULL, NULL))
        seen->wrong_partition++;
    snprintf(seen->last, sizeof(seen->last), "%.*s", (int)r->value_len,
             (const char *)r->value);
}

static struct kafka_follower *follow(struct world *w, int64_t since_at,
                                     struct seen *seen)
{
    const char *topics[] = {"t.payments.status", "t.payments.dead"};
    struct kafka_follower *f;
    struct err err;

    assert_int_equal(kafka_follower_new(w->loop, &w->cfg, topics, 2, since_at,
                                        100, see, seen, &f, &err),
                     ERR_NONE);
    return f;
}

static void test_follower(void **state)
{
    struct world w;
    struct seen seen = {0};
    struct kafka_follower *f;
    char key[32];

    (void)state;
    world_open(&w);
    topics_make(&w);
    producer_make(&w);
    for (int i = 0; i < 20; i++) {
        snprintf(key, sizeof(key), "2547000000%02d", i);
        post_all(&w, "t.payments.status", key, 20);
    }
    f = follow(&w, 0, &seen);
    assert_false(kafka_follower_caught_up(f));
    WAIT_FOR(&w, kafka_follower_caught_up(f));
    assert_int_equal(seen.n, 400);
    assert_int_equal(seen.wrong_partition, 0);
    memset(seen.next, 0, sizeof(seen.next)); /* the other topic's offsets */
    post_all(&w, "t.payments.dead", "k", 1);
    WAIT_FOR(&w, seen.n == 401);
    kafka_follower_free(f);
    world_close(&w);
}

static void test_follower_since(void **state)
{
    struct world w;
    struct seen seen = {0};
    struct kafka_follower *f;
    int64_t now_at;

    (void)state;
    world_open(&w);
    topics_make(&w);
    producer_make(&w);
    post_all(&w, "t.payments.status", "k", 50);
    now_at = clock_wall_at();
    while (clock_wall_at() < now_at + 2 * US_PER_MS)
        loop_once(w.loop, US_PER_MS); /* records have whole milliseconds */
    f = follow(&w, now_at + US_PER_MS, &seen);
    WAIT_FOR(&w, kafka_follower_caught_up(f));
    assert_int_equal(seen.n, 0);
    post_all(&w, "t.payments.status", "k", 3);
    WAIT_FOR(&w, seen.n == 3);
    assert_string_equal(seen.last, "2");
    kafka_follower_free(f);
    world_close(&w);
}

static void test_follower_waits_for_kafka(void **state)
{
    struct world w;
    struct seen seen = {0};
    struct kafka_follower *f;

    (void)state;
    world_open(&w);
    topics_make(&w);
    producer_make(&w);
    post_all(&w, "t.payments.status", "k", 5);
    rd_kafka_mock_broker_set_down(w.mock, -1);
    f = follow(&w, 0, &seen);
    loop_once(w.loop, US_PER_MS);
    assert_false(kafka_follower_caught_up(f));
    rd_kafka_mock_broker_set_up(w.mock, -1);
    WAIT_FOR(&w, kafka_follower_caught_up(f));
    assert_int_equal(seen.n, 5);
    kafka_follower_free(f);
    world_close(&w);
}

/* --- groups --- */

struct member {
    struct kafka_consumer *consumer;
    struct kafka_position positions[PARTS];
    size_t positions_n; /* of the last assignment, 0 after a revocation */
    int assigned, revoked, ready, lost;
    int32_t lost_partition;
};

static void on_assign(void *arg, const struct kafka_position *positions,
                      size_t n)
{
    struct member *m = arg;

    assert_true(n <= PARTS);
    memcpy(m->positions, positions, n * sizeof(*positions));
    m->positions_n = n;
    m->assigned++;
}

static void on_revoke(void *arg, const struct kafka_position *positions,
                      size_t n)
{
    struct member *m = arg;

    (void)positions;
    assert_int_equal(n, m->positions_n);
    m->positions_n = 0;
    m->revoked++;
}

static void on_lost_offset(void *arg, const char *topic, int32_t partition)
{
    struct member *m = arg;

    assert_string_equal(topic, "t.payments.requests.high");
    m->lost++;
    m->lost_partition = partition;
}

static void on_ready(void *arg)
{
    struct member *m = arg;

    m->ready++;
}

static void join(struct world *w, struct member *m)
{
    const struct kafka_consumer_spec spec = {
        .group = "t.group",
        .topics = {"t.payments.requests.high"},
        .topics_n = 1,
        .on_assign = on_assign,
        .on_revoke = on_revoke,
        .on_lost_offset = on_lost_offset,
        .on_ready = on_ready,
        .arg = m,
    };
    struct err err;

    memset(m, 0, sizeof(*m));
    assert_int_equal(
        kafka_consumer_new(w->loop, &w->cfg, &spec, &m->consumer, &err),
        ERR_NONE);
}

static struct kafka_position *position(struct member *m, int32_t partition)
{
    for (size_t i = 0; i < m->positions_n; i++)
        if (m->positions[i].partition == partition)
            return &m->positions[i];
    fail_msg("partition %d is not assigned", (int)partition);
    return NULL;
}

/** Takes @p n records of one partition, checking that none is left out. */
static void take(struct world *w, struct member *m, int32_t partition,
                 int64_t from, int n)
{
    for (int i = 0; i < n; i++) {
        struct kafka_taken *t = NULL;

        WAIT_FOR(w, t || (t = kafka_take(m->consumer)));
        assert_int_equal(kafka_taken_record(t)->partition, partition);
        assert_int_equal(kafka_taken_record(t)->offset, from + i);
        assert_non_null(
            kafka_header(kafka_taken_record(t), "foleni-one", NULL));
        kafka_release(t);
    }
}

/** The partition that all records of key "k" go to. */
static int32_t home(void)
{
    return rd_kafka_msg_partitioner_murmur2(NULL, "k", 1, PARTS, NULL, NULL);
}

/* A broker takes any first sequence of a producer that it does not know. So a
   second request that comes through where the first one was refused makes
   librdkafka believe that it had both, and report what is nowhere. */
static void test_produce_leaves_no_gap(void **state)
{
    struct world w;
    struct reports reports = {0};
    struct member m;

    (void)state;
    world_open(&w);
    topics_make(&w);
    producer_make(&w);
    post_all(&w, "t.payments.requests.high", "k", 1);
    rd_kafka_mock_broker_set_rtt(w.mock, 1, 300);
    fail_produce(&w, RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION, 1);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(
            post(&w, "t.payments.requests.high", "k", "v", &reports), 0);
        loop_once(w.loop, 30 * US_PER_MS); /* so that it goes out alone */
    }
    WAIT_FOR(&w, reports_n(&reports) == 5);
    assert_int_equal(reports.delivered, 5);
    rd_kafka_mock_broker_set_rtt(w.mock, 1, 0);
    join(&w, &m);
    WAIT_FOR(&w, m.assigned == 1);
    kafka_start(m.consumer, m.positions, m.positions_n);
    take(&w, &m, home(), 0, 6);
    kafka_consumer_free(m.consumer);
    world_close(&w);
}

static void test_consume_commit_resume(void **state)
{
    struct world w;
    struct member m;
    struct reports commits = {0};
    size_t started;

    (void)state;
    world_open(&w);
    topics_make(&w);
    producer_make(&w);
    post_all(&w, "t.payments.requests.high", "k", 20);
    join(&w, &m);
    WAIT_FOR(&w, m.assigned == 1);
    assert_int_equal(m.positions_n, PARTS);
    assert_int_equal(position(&m, home())->committed, -1);
    assert_int_equal(position(&m, home())->offset, KAFKA_BEGINNING);
    assert_null(kafka_take(m.consumer)); /* nothing before kafka_start() */
    position(&m, home())->offset = 5;
    kafka_start(m.consumer, m.positions, m.positions_n);
    assert_int_equal(kafka_assigned(m.consumer, &started), PARTS);
    assert_int_equal(started, PARTS);
    WAIT_FOR(&w, m.ready > 0);
    take(&w, &m, home(), 5, 15);
    assert_null(kafka_take(m.consumer));
    for (int64_t at = 6; at <= 20; at++) { /* more than one in flight */
        position(&m, home())->offset = at;
        snprintf(position(&m, home())->metadata, KAFKA_METADATA_SIZE, "meta %d",
                 (int)at);
        kafka_commit(m.consumer, position(&m, home()), 1, count_report,
                     &commits);
    }
    assert_int_equal(reports_n(&commits), 0); /* never inside the call */
    WAIT_FOR(&w, commits.delivered == 15);
    kafka_consumer_free(m.consumer);

    join(&w, &m);
    WAIT_FOR(&w, m.assigned == 1);
    assert_int_equal(position(&m, home())->committed, 20);
    assert_string_equal(position(&m, home())->metadata, "meta 20");
    kafka_start(m.consumer, m.positions, m.positions_n);
    post_all(&w, "t.payments.requests.high", "k", 1);
    take(&w, &m, home(), 20, 1);
    kafka_consumer_free(m.consumer);
    world_close(&w);
}

/* librdkafka looks for the coordinator anew, in the asking client's group. */
static void test_offsets_of_a_group_that_has_moved(void **state)
{
    struct world w;
    struct member m;

    (void)state;
    world_open(&w);
    topics_make(&w);
    rd_kafka_mock_push_request_errors(w.mock, OFFSET_FETCH_API, 2,
                                      RD_KAFKA_RESP_ERR_NOT_COORDINATOR,
                                      RD_KAFKA_RESP_ERR_NOT_COORDINATOR);
    join(&w, &m);
    WAIT_FOR(&w, m.assigned == 1);
    assert_int_equal(m.positions_n, PARTS);
    kafka_consumer_free(m.consumer);
    world_close(&w);
}

static void test_lost_offset_and_late_start(void **state)
{
    struct world w;
    struct member m;
    struct kafka_position here, other;
    size_t started;

    (void)state;
    world_open(&w);
    topics_make(&w);
    producer_make(&w);
    post_all(&w, "t.payments.requests.high", "k", 10);
    join(&w, &m);
    WAIT_FOR(&w, m.assigned == 1);
    here = *position(&m, home());
    other = *position(&m, (home() + 1) % PARTS);
    other.offset = 77; /* beyond its end */
    kafka_start(m.consumer, &other, 1);
    /* The error waits in the record queue, like a record. */
    WAIT_FOR(&w, !kafka_take(m.consumer) && m.lost == 1);
    assert_int_equal(m.lost_partition, other.partition);
    (void)kafka_assigned(m.consumer, &started);
    assert_int_equal(started, 0);
    kafka_start(m.consumer, &here, 1); /* the others can still begin */
    take(&w, &m, home(), 0, 4);
    other.offset = 0;
    kafka_start(m.consumer, &other, 1); /* goes on where it was: no gap */
    take(&w, &m, home(), 4, 6);
    kafka_consumer_free(m.consumer);
    world_close(&w);
}

static void test_revoke_hands_nothing_out(void **state)
{
    struct world w;
    struct member first, second;

    (void)state;
    world_open(&w);
    topics_make(&w);
    producer_make(&w);
    post_all(&w, "t.payments.requests.high", "k", 100);
    join(&w, &first);
    WAIT_FOR(&w, first.assigned == 1);
    kafka_start(first.consumer, first.positions, first.positions_n);
    take(&w, &first, home(), 0, 10); /* 90 are fetched and wait */
    join(&w, &second);
    WAIT_FOR(&w, first.revoked > 0);
    assert_null(kafka_take(first.consumer));
    WAIT_FOR(&w, first.positions_n > 0 && second.positions_n > 0);
    assert_int_equal(first.positions_n + second.positions_n, PARTS);
    assert_null(kafka_take(first.consumer));
    kafka_consumer_free(second.consumer);
    kafka_consumer_free(first.consumer);
    world_close(&w);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_topic_names),
        cmocka_unit_test(test_header_lookup),
        cmocka_unit_test(test_properties),
        cmocka_unit_test(test_produce),
        cmocka_unit_test(test_produce_queue_full),
        cmocka_unit_test(test_produce_unsure),
        cmocka_unit_test(test_produce_refused),
        cmocka_unit_test(test_produce_retried),
        cmocka_unit_test(test_produce_leaves_no_gap),
        cmocka_unit_test(test_produce_unknown_topic),
        cmocka_unit_test(test_produce_fatal),
        cmocka_unit_test(test_producer_up),
        cmocka_unit_test(test_producer_free_tells_the_rest),
        cmocka_unit_test(test_follower),
        cmocka_unit_test(test_follower_since),
        cmocka_unit_test(test_follower_waits_for_kafka),
        cmocka_unit_test(test_consume_commit_resume),
        cmocka_unit_test(test_offsets_of_a_group_that_has_moved),
        cmocka_unit_test(test_lost_offset_and_late_start),
        cmocka_unit_test(test_revoke_hands_nothing_out),
    };

    log_open("test_kafka", LOG_ERROR, false);
    if (argc > 1)
        cmocka_set_test_filter(argv[1]); /* e.g. '*fatal*' */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
