/*
 * What all Kafka clients of this program share.
 *
 * A client is made from three layers of properties: those of every client,
 * those of its role, and kafka.properties of the configuration, which come last
 * but may not touch what the promises rest on. librdkafka's threads are started
 * with all signals blocked. Its queues ring an eventfd; it writes that once
 * when an *empty* queue gets an element, so a reader drains to the end or rings
 * itself.
 */
#include "common/kafka.h"

#include "common/clock.h"
#include "common/kafka_priv.h"
#include "common/log.h"
#include "common/must.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define KAFKA_LOG_LINES 20
#define KAFKA_LOG_WINDOW_US (10 * US_PER_S)
#define KAFKA_PROPERTY_SIZE 1024 /* "name=value" of kafka.properties */

static const char *const topic_names[TOPICS_N] = {
    [TOPIC_HIGH] = "payments.requests.high",
    [TOPIC_NORMAL] = "payments.requests.normal",
    [TOPIC_LOW] = "payments.requests.low",
    [TOPIC_CALLBACKS] = "payments.callbacks",
    [TOPIC_STATUS] = "payments.status",
    [TOPIC_DEAD] = "payments.dead",
};

void kafka_topic(const struct config *cfg, enum topic t,
                 char out[KAFKA_TOPIC_SIZE])
{
    must(t < TOPICS_N);
    snprintf(out, KAFKA_TOPIC_SIZE, "%s%s", cfg->kafka_prefix, topic_names[t]);
}

const char *kafka_header(const struct kafka_record *r, const char *name,
                         size_t *ret_len)
{
    for (size_t i = 0; i < r->headers_n; i++) {
        if (strcmp(r->headers[i].name, name) != 0)
            continue;
        if (ret_len)
            *ret_len = r->headers[i].len;
        return r->headers[i].value;
    }
    return NULL;
}

static void headers_read(rd_kafka_message_t *m, struct kafka_record *r,
                         struct kafka_header headers[KAFKA_HEADERS_MAX])
{
    rd_kafka_headers_t *all;
    size_t n = 0;

    r->headers = headers;
    r->headers_n = 0;
    r->headers_cut = false;
    if (rd_kafka_message_headers(m, &all))
        return; /* it has none */
    while (n < KAFKA_HEADERS_MAX &&
           !rd_kafka_header_get_all(all, n, &headers[n].name, &headers[n].value,
                                    &headers[n].len))
        n++;
    r->headers_n = n;
    r->headers_cut = rd_kafka_header_cnt(all) > n;
}

void kafka_record_read(rd_kafka_message_t *m, struct kafka_record *r,
                       struct kafka_header headers[KAFKA_HEADERS_MAX])
{
    rd_kafka_timestamp_type_t type;
    int64_t ms = rd_kafka_message_timestamp(m, &type);

    r->topic = rd_kafka_topic_name(m->rkt);
    r->key = m->key;
    r->key_len = m->key_len;
    r->value = m->payload;
    r->value_len = m->len;
    r->partition = m->partition;
    r->offset = m->offset;
    r->timestamp_at = ms < 0 ? -1 : ms * US_PER_MS;
    r->append_time = type == RD_KAFKA_TIMESTAMP_LOG_APPEND_TIME;
    headers_read(m, r, headers);
}

/* --- clients --- */

/*
 * Of every client. Nagle's algorithm is off by default only since librdkafka
 * 2.10.0. A cluster that comes back is found within a second.
 */
static const struct kafka_setting common_settings[] = {
    {"log.queue", "true", 0},
    {"socket.nagle.disable", "true", 0},
    {"socket.keepalive.enable", "true", 0},
    {"socket.timeout.ms", NULL, 10000},
    {"socket.connection.setup.timeout.ms", NULL, 5000},
    {"reconnect.backoff.ms", NULL, 100},
    {"reconnect.backoff.max.ms", NULL, 1000},
    {"allow.auto.create.topics", "false", 0},
    {"topic.metadata.refresh.interval.ms", NULL, 10000},
};

/* What a promise rests on is not open to kafka.properties. */
static const char *const fixed_properties[] = {
    "acks",
    "request.required.acks",
    "enable.idempotence",
    "max.in.flight",
    "max.in.flight.requests.per.connection",
    "partitioner",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "auto.offset.reset",
    "group.id",
    "partition.assignment.strategy",
    "enable.partition.eof",
    "log.queue",
    "allow.auto.create.topics",
    "statistics.interval.ms",
};

static enum err_code conf_set(rd_kafka_conf_t *conf, const char *name,
                              const char *value, struct err *err)
{
    char why[200];

    if (rd_kafka_conf_set(conf, name, value, why, sizeof(why)))
        return err_set(err, ERR_CONFIG, "kafka property \"%s\": %s", name, why);
    return ERR_NONE;
}

static enum err_code conf_add(rd_kafka_conf_t *conf,
                              const struct kafka_setting *settings, size_t n,
                              struct err *err)
{
    char number[24];

    for (size_t i = 0; i < n; i++) {
        const char *value = settings[i].text;

        if (!value) {
            snprintf(number, sizeof(number), "%lld",
                     (long long)settings[i].number);
            value = number;
        }
        if (conf_set(conf, settings[i].name, value, err))
            return err->code;
    }
    return ERR_NONE;
}

/*
 * librdkafka 2.0.2 looks only once a second whether a full queue has room
 * again; and where partitions are forwarded into one queue, its fill counts for
 * each of them. So a response is an eighth of what may wait: who reads on
 * quickly never fills the queue (3,300 records/s became 370,000), and who does
 * not still has a second's work in it.
 */
static enum err_code conf_add_ahead(rd_kafka_conf_t *conf, int64_t kbytes,
                                    struct err *err)
{
    const struct kafka_setting settings[] = {
        {"queued.min.messages", NULL, 1000000}, /* bytes are what counts */
        {"queued.max.messages.kbytes", NULL, kbytes},
        {"message.max.bytes", NULL, kbytes * 1024 / 8},
        {"fetch.max.bytes", NULL, kbytes * 1024 / 8},
        {"fetch.message.max.bytes", NULL,
         kbytes * 1024 / 32}, /* a partition's */
    };

    return kbytes > 0 ? conf_add(conf, settings, ARRAY_LEN(settings), err)
                      : ERR_NONE;
}

static enum err_code conf_add_property(rd_kafka_conf_t *conf, const char *text,
                                       struct err *err)
{
    char name[KAFKA_PROPERTY_SIZE];
    const char *equals = strchr(text, '=');
    size_t len = equals ? (size_t)(equals - text) : 0;

    if (len == 0 || len >= sizeof(name))
        return err_set(err, ERR_CONFIG,
                       "kafka.properties: an element is not \"name=value\"");
    memcpy(name, text, len);
    name[len] = '\0';
    for (size_t i = 0; i < ARRAY_LEN(fixed_properties); i++)
        if (strcmp(name, fixed_properties[i]) == 0)
            return err_set(err, ERR_CONFIG,
                           "kafka.properties: \"%s\" cannot be set", name);
    return conf_set(conf, name, equals + 1, err);
}

static enum err_code conf_fill(rd_kafka_conf_t *conf, const struct config *cfg,
                               const struct kafka_client_spec *spec,
                               struct err *err)
{
    if (conf_set(conf, "bootstrap.servers", cfg->kafka_brokers, err) ||
        conf_set(conf, "client.id", spec->client_id, err) ||
        conf_add(conf, common_settings, ARRAY_LEN(common_settings), err) ||
        conf_add(conf, spec->settings, spec->settings_n, err) ||
        conf_add_ahead(conf, spec->ahead_kbytes, err))
        return err->code;
    for (size_t i = 0; i < cfg->kafka_properties.n; i++)
        if (conf_add_property(conf, cfg->kafka_properties.items[i], err))
            return err->code;
    rd_kafka_conf_set_events(conf, spec->events | RD_KAFKA_EVENT_LOG |
                                       RD_KAFKA_EVENT_ERROR);
    return ERR_NONE;
}

/** Like rd_kafka_new(), with every signal blocked in the new threads. */
static rd_kafka_t *quiet_new(rd_kafka_type_t type, rd_kafka_conf_t *conf,
                             char *why, size_t size)
{
    sigset_t all, before;
    rd_kafka_t *rk;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    rk = rd_kafka_new(type, conf, why, size);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rk;
}

enum err_code kafka_client_new(const struct config *cfg,
                               const struct kafka_client_spec *spec,
                               rd_kafka_t **ret, struct err *err)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_t *rk;
    char why[200];

    if (conf_fill(conf, cfg, spec, err)) {
        rd_kafka_conf_destroy(conf);
        return err->code;
    }
    rk = quiet_new(spec->type, conf, why, sizeof(why));
    if (!rk) {
        rd_kafka_conf_destroy(conf);
        return err_set(err, ERR_CONFIG, "cannot make kafka client \"%s\": %s",
                       spec->client_id, why);
    }
    rd_kafka_set_log_queue(rk, NULL);
    *ret = rk;
    return ERR_NONE;
}

/* --- the way to the loop --- */

static void wake_ready(void *arg, int ready)
{
    struct kafka_wake *w = arg;
    uint64_t count;

    (void)ready;
    /* An empty eventfd means a spurious wake-up: harmless. */
    if (read(w->fd, &count, sizeof(count)) < 0)
        return;
    w->fn(w->arg);
}

enum err_code kafka_wake_init(struct kafka_wake *w, struct loop *loop,
                              void (*fn)(void *arg), void *arg, struct err *err)
{
    w->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (w->fd < 0)
        return err_set_from(err, ERR_IO, ERR_ERRNO, errno,
                            "could not make an eventfd");
    w->loop = loop;
    w->fn = fn;
    w->arg = arg;
    w->watch = loop_watch(loop, w->fd, LOOP_READ, wake_ready, w);
    return ERR_NONE;
}

void kafka_wake_done(struct kafka_wake *w)
{
    if (!w->watch)
        return;
    loop_unwatch(w->watch);
    close(w->fd);
    w->watch = NULL;
}

void kafka_wake_by(struct kafka_wake *w, rd_kafka_queue_t *queue)
{
    static const uint64_t one = 1;

    rd_kafka_queue_io_event_enable(queue, w->fd, &one, sizeof(one));
    /* It may not be empty any more: then it would never ring. */
    kafka_wake_ring(w);
}

void kafka_wake_ring(struct kafka_wake *w)
{
    static const uint64_t one = 1;

    /* It fails only when the counter is full: then it rings anyway. */
    if (write(w->fd, &one, sizeof(one)) < 0)
        return;
}

/* --- librdkafka's words --- */

/** Whether one more line may be written; bursts end in a count. */
static bool log_may(struct kafka_log *log)
{
    int64_t now_us = clock_now_us();

    if (now_us - log->window_us >= KAFKA_LOG_WINDOW_US) {
        if (log->left_out > 0)
            log_warn("kafka", "lines_left_out", KV("client", log->who),
                     KV_INT("lines", log->left_out));
        log->window_us = now_us;
        log->lines = 0;
        log->left_out = 0;
    }
    if (log->lines < KAFKA_LOG_LINES) {
        log->lines++;
        return true;
    }
    log->left_out++;
    return false;
}

/*
 * What need not be said: informational and debug lines (6 and 7 of syslog);
 * FAIL, which comes as an error event too; with every refresh from the mock
 * cluster, which is older than that property, AUTOCREATE; and properties of
 * kafka.properties that are for another kind of client.
 */
static bool is_usual(int level, const char *facility, const char *text)
{
    return level > 5 || strcmp(facility, "FAIL") == 0 ||
           strcmp(facility, "AUTOCREATE") == 0 ||
           (strcmp(facility, "CONFWARN") == 0 &&
            strstr(text, "property and will be ignored by this"));
}

void kafka_log_event(struct kafka_log *log, rd_kafka_event_t *event)
{
    const char *facility, *text;
    int level;

    if (rd_kafka_event_log(event, &facility, &text, &level))
        return;
    if (is_usual(level, facility, text))
        log_debug("kafka", "library", KV("client", log->who),
                  KV("facility", facility), KV("text", text));
    else if (log_may(log))
        log_warn("kafka", "library", KV("client", log->who),
                 KV("facility", facility), KV("text", text));
}

void kafka_log_error(struct kafka_log *log, const char *event, int code,
                     const char *text)
{
    if (log_may(log))
        log_warn("kafka", event, KV("client", log->who),
                 KV("code", rd_kafka_err2name(code)), KV("text", text));
}
