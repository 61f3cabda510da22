/*
 * foleni-broker: librdkafka's mock cluster as a process, for a first look and
 * for tests. It keeps everything in memory and forgets it at its end.
 *
 * A partition of the mock keeps its newest 5 MiB or 100,000 batches and drops
 * the rest without a word; neither is a setting. So clients reach it through a
 * relay that weighs every batch as the mock does, and refuses:
 *
 *   when a partition is half full, all batches for the request topics: no new
 *   payments, and room for what is under way to come to its end;
 *   any batch for which another one would be dropped.
 *
 * A refused batch fails at its producer as "invalid message size". Nothing is
 * ever freed: once it refuses payments, only a new start helps.
 */
#include "common/app.h"
#include "common/kafka.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/must.h"
#include "tools/relay.h"

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PARTITION_BYTES ((size_t)5 * 1024 * 1024) /* rdkafka_mock.c, 2.0.2 */
#define PARTITION_BATCHES 100000
#define ADDRESS_SIZE 32
#define DRAIN_MS 1000

/** What is in one partition. */
struct fill {
    size_t bytes;
    size_t batches;
    bool said; /* that it is full */
};

struct broker {
    struct app *app;
    rd_kafka_t *host;
    rd_kafka_mock_cluster_t *mock;
    struct relay *relay;
    char topics[TOPICS_N][KAFKA_TOPIC_SIZE];
    struct fill *fills[TOPICS_N];
    int32_t partitions;
    bool full;    /* payments are refused */
    bool strange; /* a topic that is not ours was written to, and it is said */
};

/* --- the gate --- */

/** TOPICS_N when it is none of ours. */
static int topic_number(const struct broker *b, const char *name, size_t len)
{
    int t = 0;

    while (t < TOPICS_N && (strlen(b->topics[t]) != len ||
                            memcmp(b->topics[t], name, len) != 0))
        t++;
    return t;
}

static bool refuse_strange(struct broker *b)
{
    if (!b->strange)
        log_warn("broker", "unknown_topic_refused",
                 KV("prefix", b->app->cfg->kafka_prefix));
    b->strange = true;
    return false;
}

static bool refuse_overflow(struct broker *b, int t, int32_t partition)
{
    struct fill *fill = &b->fills[t][partition];

    if (!fill->said)
        log_error("broker", "partition_is_full", KV("topic", b->topics[t]),
                  KV_INT("partition", partition), KV_INT("bytes", fill->bytes),
                  KV_INT("batches", fill->batches));
    fill->said = true;
    return false;
}

static void refuse_payments(struct broker *b, int t, int32_t partition)
{
    b->full = true;
    log_error("broker", "half_full_payments_are_refused",
              KV("topic", b->topics[t]), KV_INT("partition", partition),
              KV("advice", "start it anew, or use Apache Kafka"));
}

static bool batch_admit(void *arg, const char *topic, size_t topic_len,
                        int32_t partition, size_t bytes)
{
    struct broker *b = arg;
    int t = topic_number(b, topic, topic_len);
    struct fill *fill;

    if (t == TOPICS_N)
        return refuse_strange(b);
    if (partition < 0 || partition >= b->partitions)
        return true; /* the mock refuses it by itself */
    fill = &b->fills[t][partition];
    if (b->full && t <= TOPIC_LOW)
        return false;
    if (fill->bytes + bytes > PARTITION_BYTES ||
        fill->batches + 1 > PARTITION_BATCHES)
        return refuse_overflow(b, t, partition);
    fill->bytes += bytes;
    fill->batches++;
    if (!b->full && (fill->bytes > PARTITION_BYTES / 2 ||
                     fill->batches > PARTITION_BATCHES / 2))
        refuse_payments(b, t, partition);
    return true;
}

/* --- the cluster --- */

static enum err_code cluster_make(struct broker *b, struct err *err)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    char why[200];

    /* It connects to nobody, and need not warn of it. */
    must(!rd_kafka_conf_set(conf, "log_level", "3", why, sizeof(why)));
    b->host = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof(why));
    if (!b->host) {
        rd_kafka_conf_destroy(conf);
        return err_set(err, ERR_INTERNAL, "could not start librdkafka: %s",
                       why);
    }
    b->mock = rd_kafka_mock_cluster_new(b->host, 1);
    if (!b->mock)
        return err_set(err, ERR_INTERNAL, "could not start the mock cluster");
    return ERR_NONE;
}

/*
 * The mock's thread does what it was told and then empties its alarm bell: a
 * word that comes between the two is heard one second late. So it gets a moment
 * to go to sleep before each.
 */
static void topics_make(struct broker *b)
{
    static const struct timespec moment = {.tv_nsec = 1000000};

    b->partitions = (int32_t)b->app->cfg->broker_partitions;
    for (int t = 0; t < TOPICS_N; t++) {
        kafka_topic(b->app->cfg, (enum topic)t, b->topics[t]);
        b->fills[t] = must_alloc((size_t)b->partitions, sizeof(*b->fills[t]));
        (void)nanosleep(&moment, NULL); /* a shorter one does no harm */
        must(!rd_kafka_mock_topic_create(b->mock, b->topics[t], b->partitions,
                                         1));
    }
}

/** The port of its one broker, at the end of "127.0.0.1:39411". */
static int mock_port(const struct broker *b)
{
    const char *address = rd_kafka_mock_cluster_bootstraps(b->mock);
    const char *colon = strrchr(address, ':');

    must(colon);
    return (int)strtol(colon + 1, NULL, 10);
}

/** Writes the address in one step: who sees the file can read all of it. */
static enum err_code address_write(const char *path, const char *address,
                                   struct err *err)
{
    char temporary[1100];
    FILE *f;
    bool fine;

    snprintf(temporary, sizeof(temporary), "%s.new", path);
    f = fopen(temporary, "w");
    if (!f)
        return err_set_from(err, ERR_IO, ERR_ERRNO, errno,
                            "could not write \"%s\"", temporary);
    fine = fprintf(f, "%s\n", address) > 0;
    fine = fclose(f) == 0 && fine;
    if (!fine || rename(temporary, path) != 0)
        return err_set_from(err, ERR_IO, ERR_ERRNO, errno,
                            "could not write \"%s\"", path);
    return ERR_NONE;
}

static enum err_code announce(struct broker *b, struct err *err)
{
    const char *path = b->app->cfg->broker_listen_file;
    char address[ADDRESS_SIZE];

    snprintf(address, sizeof(address), "127.0.0.1:%d", relay_port(b->relay));
    log_warn("broker", "everything_is_in_memory_only",
             KV("advice", "for a demo and for tests; all is lost at its end"));
    log_info("broker", "serves", KV("address", address),
             KV_INT("partitions", b->partitions));
    printf("foleni-broker serves at %s (in memory only)\n", address);
    fflush(stdout);
    return *path ? address_write(path, address, err) : ERR_NONE;
}

static enum err_code broker_open(struct broker *b, struct err *err)
{
    if (cluster_make(b, err))
        return err->code;
    topics_make(b);
    if (relay_new(b->app->loop, mock_port(b), batch_admit, b, &b->relay, err))
        return err->code;
    return announce(b, err);
}

static void broker_close(struct broker *b)
{
    relay_free(b->relay);
    if (b->mock)
        rd_kafka_mock_cluster_destroy(b->mock);
    if (b->host)
        rd_kafka_destroy(b->host);
    for (int t = 0; t < TOPICS_N; t++)
        free(b->fills[t]);
}

/* --- the program --- */

static const struct app_option options[] = {
    {"listen-file", "broker.listen_file", "FILE", "gets the address"},
    {"partitions", "broker.partitions", "N", "partitions of each topic"},
};

static const struct app_spec spec = {
    .name = "foleni-broker",
    .summary = "A broker in memory for demo and tests, with Foleni's topics.",
    .options = options,
    .options_n = ARRAY_LEN(options),
    .metric_groups = MG_COMMON,
};

static void on_stop(void *arg)
{
    app_drained(arg);
}

int main(int argc, char **argv)
{
    CLEANUP(app_free)
    struct app *app = NULL;
    struct broker b = {0};
    struct err err;
    int exit_code;

    if (app_new(&spec, argc, argv, &app, &err))
        return app_fail(spec.name, &err);
    b.app = app;
    exit_code = broker_open(&b, &err) ? app_fail(spec.name, &err)
                                      : app_run(app, DRAIN_MS, on_stop, app);
    broker_close(&b);
    return exit_code;
}
