/*
 * librdkafka's mock cluster with our topics, a loop, and a follower that keeps
 * what was written to them.
 */
#ifndef FOLENI_TESTS_UNIT_TEST_KAFKA_MOCK_H
#define FOLENI_TESTS_UNIT_TEST_KAFKA_MOCK_H

#include "common/clock.h"
#include "common/kafka.h"
#include "common/loop.h"
#include "common/must.h"

/* clang-format off: its order */
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
/* clang-format on */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOCK_PATIENCE_US (60 * US_PER_S)
#define MOCK_PARTS 3
#define MOCK_KEPT_MAX 64
#define MOCK_HEADERS 48
#define MOCK_BYTES 16384

/* A record, copied. */
struct mock_kept {
    struct kafka_record record;
    struct kafka_header headers[MOCK_HEADERS];
    char bytes[MOCK_BYTES];
    size_t used;
};

struct mock {
    rd_kafka_t *host;
    rd_kafka_mock_cluster_t *cluster;
    struct loop *loop;
    struct config cfg;
    struct kafka_follower *follower;
    struct mock_kept *kept[MOCK_KEPT_MAX];
    size_t kept_n;
};

#define MOCK_WAIT(m, cond)                                   \
    do {                                                     \
        int64_t end_us_ = clock_now_us() + MOCK_PATIENCE_US; \
        while (!(cond) && clock_now_us() < end_us_)          \
            loop_once((m)->loop, 20 * US_PER_MS);            \
        assert_true(cond);                                   \
    } while (0)

UNUSED static struct mock *mock_new(void)
{
    struct mock *m = NEW(struct mock);
    char why[200], name[KAFKA_TOPIC_SIZE];

    m->host =
        rd_kafka_new(RD_KAFKA_PRODUCER, rd_kafka_conf_new(), why, sizeof(why));
    must(m->host);
    m->cluster = rd_kafka_mock_cluster_new(m->host, 1);
    must(m->cluster);
    m->loop = loop_new();
    m->cfg.kafka_brokers = rd_kafka_mock_cluster_bootstraps(m->cluster);
    m->cfg.kafka_prefix = "t.";
    m->cfg.kafka_queue_records_max = 1000;
    m->cfg.kafka_queue_kbytes_max = 8192;
    m->cfg.kafka_fetch_kbytes_max = 1024;
    m->cfg.kafka_publish_timeout_ms = 5000;
    m->cfg.kafka_session_timeout_ms = 4000;
    for (int t = 0; t < TOPICS_N; t++) {
        kafka_topic(&m->cfg, (enum topic)t, name);
        must(!rd_kafka_mock_topic_create(m->cluster, name, MOCK_PARTS, 1));
    }
    return m;
}

UNUSED static void mock_free(struct mock *m)
{
    kafka_follower_free(m->follower);
    loop_free(m->loop);
    rd_kafka_mock_cluster_destroy(m->cluster);
    rd_kafka_destroy(m->host);
    for (size_t i = 0; i < m->kept_n; i++)
        free(m->kept[i]);
    free(m);
}

UNUSED static void mock_down(struct mock *m, bool down)
{
    if (down)
        rd_kafka_mock_broker_set_down(m->cluster, -1);
    else
        rd_kafka_mock_broker_set_up(m->cluster, -1);
}

static const void *mock_copy(struct mock_kept *k, const void *from, size_t len)
{
    char *to = k->bytes + k->used;

    must(k->used + len + 1 <= MOCK_BYTES);
    if (len)
        memcpy(to, from, len);
    k->used += len + 1; /* with a terminator */
    return to;
}

static void mock_keep(void *arg, const struct kafka_record *r)
{
    struct mock *m = arg;
    struct mock_kept *k = NEW(struct mock_kept);

    must(m->kept_n < MOCK_KEPT_MAX && r->headers_n <= MOCK_HEADERS);
    k->record = *r;
    k->record.topic = mock_copy(k, r->topic, strlen(r->topic));
    k->record.key = mock_copy(k, r->key, r->key_len);
    k->record.value = mock_copy(k, r->value, r->value_len);
    for (size_t i = 0; i < r->headers_n; i++)
        k->headers[i] = (struct kafka_header){
            mock_copy(k, r->headers[i].name, strlen(r->headers[i].name)),
            mock_copy(k, r->headers[i].value, r->headers[i].len),
            r->headers[i].len,
        };
    k->record.headers = k->headers;
    m->kept[m->kept_n++] = k;
}

/* Keeps what stands on @p t from now on, from its beginning. */
UNUSED static void mock_follow(struct mock *m, enum topic t)
{
    char name[KAFKA_TOPIC_SIZE];
    const char *topics[] = {name};
    struct err err;

    kafka_topic(&m->cfg, t, name);
    must(!kafka_follower_new(m->loop, &m->cfg, topics, 1, 0, 100, mock_keep, m,
                             &m->follower, &err));
}

/* The header's value as text, or NULL. */
UNUSED static const char *mock_header(const struct mock_kept *k,
                                      const char *name)
{
    return kafka_header(&k->record, name, NULL);
}

#endif
