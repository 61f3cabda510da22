/*
 * The API put together: rooms, listeners, what the topics say, admin, start and
 * end. Payments, status requests and callbacks have files of their own; each
 * handler is a straight way: read, look what is known, publish, answer.
 */
#include "producer/producer.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/must.h"
#include "common/wire.h"
#include "producer/producer_priv.h"

#include <stdlib.h>
#include <string.h>

#define DOCUMENT_MAX 4096
#define DRAIN_MS 10000
#define FOLLOW_BUDGET 500 /* records per topic and turn */
#define SPOOL_FILE_BYTES_MIN 65536
#define SPOOL_FILE_BYTES_MAX 4194304

/* --- what the topics say --- */

static void index_request(struct producer *p, const struct request *req)
{
    struct status_entry known;

    if (status_find(p->status, &req->id, &known))
        return;
    producer_write_queued(p, req);
    producer_put_document(p, req, 0, false);
}

static void on_request_record(void *arg, const struct kafka_record *record)
{
    struct producer *p = arg;
    struct request req;
    struct fault fault;

    for (int t = TOPIC_HIGH; t <= TOPIC_LOW; t++)
        if (strcmp(record->topic, p->topics[t]) == 0 &&
            !wire_read_request(p->cfg, record, (enum topic)t, clock_wall_at(),
                               &req, &fault))
            index_request(p, &req);
}

static void on_event_record(void *arg, const struct kafka_record *record)
{
    struct producer *p = arg;
    struct event_summary event;
    struct status_entry entry;
    struct err err;

    if (wire_read_event(record, &event, &err)) {
        log_debug("status", "event_unreadable", KV_ERR(&err));
        return;
    }
    entry = (struct status_entry){
        .client = event.client,
        .version = event.version,
        .final = event.final,
        .document = event.document,
        .len = event.document_len,
    };
    memcpy(entry.fingerprint, event.fingerprint, FINGERPRINT_SIZE);
    status_put(p->status, &event.payment, &entry);
}

static enum err_code follow(struct producer *p, struct err *err)
{
    const char *requests[] = {p->topics[TOPIC_HIGH], p->topics[TOPIC_NORMAL],
                              p->topics[TOPIC_LOW]};
    const char *events[] = {p->topics[TOPIC_STATUS]};
    int64_t now = clock_wall_at();

    if (kafka_follower_new(p->app->loop, p->cfg, requests, ARRAY_LEN(requests),
                           now - p->cfg->payments_ttl_ms * US_PER_MS,
                           FOLLOW_BUDGET, on_request_record, p, &p->requests,
                           err))
        return err->code;
    return kafka_follower_new(p->app->loop, p->cfg, events, ARRAY_LEN(events),
                              now - p->cfg->cache_ttl_ms * US_PER_MS,
                              FOLLOW_BUDGET, on_event_record, p, &p->events,
                              err);
}

/* --- admin --- */

static void on_cache_clear(void *arg, struct http_request *req)
{
    struct producer *p = arg;

    status_clear(p->status);
    log_info("status", "cache_cleared", KV("by", http_peer(req)));
    http_reply(req, 200, "application/json", "{\"cleared\":true}", 16);
}

static size_t health(void *arg, struct health *rows, size_t max)
{
    struct producer *p = arg;

    must(max >= 4);
    rows[0] =
        (struct health){.name = "kafka", .needed = true, .latency_us = -1};
    rows[0].ok = publish_up(p->publish, rows[0].note, sizeof(rows[0].note));
    rows[1] = (struct health){.name = "postgres",
                              .latency_us = look_latency_us(p->look)};
    rows[1].ok = look_up(p->look, rows[1].note, sizeof(rows[1].note));
    rows[2] = producer_keys_health(p);
    if (!p->spool)
        return 3;
    rows[3] = (struct health){.name = "spool", .latency_us = -1};
    rows[3].ok = spool_ok(p->spool, rows[3].note, sizeof(rows[3].note));
    return 4;
}

/* --- SIGHUP --- */

static void key_looked(void *arg, bool used, const struct err *err)
{
    struct producer *p = arg;

    app_key_used(p->app, used, err);
}

static void ask_key(void *arg, int64_t id)
{
    struct producer *p = arg;

    look_key(p->look, id, key_looked, p);
}

static void renewed(void *arg)
{
    struct producer *p = arg;

    limits_renew(p->limits);
    producer_keys_changed(p);
}

/* --- life --- */

static const struct http_route public_routes[] = {
    {HTTP_POST, "/v1/payments", producer_on_payment},
    {HTTP_POST, "/v1/payments/batch", producer_on_batch},
    {HTTP_GET, "/v1/payments", producer_on_list},
    {HTTP_GET, "/v1/payments/{}", producer_on_status},
    {HTTP_GET, "/v1/payments/{}/events", producer_on_events},
    {HTTP_POST, "/v1/payments/{}/cancel", producer_on_cancel},
    {HTTP_POST, "/callbacks/{}/{}/{}", producer_on_callback},
    {HTTP_POST, "/c2b/confirmation/{}", producer_on_c2b},
};

static const struct http_route admin_routes[] = {
    {HTTP_POST, "/health/cache/clear", on_cache_clear},
};

/* The worker sets aside what nobody signed, so the API must be able to. */
static void check_secrets(const struct config *cfg, struct buf *faults)
{
    for (size_t i = 0; i < cfg->clients_n; i++)
        if (!*cfg->clients[i].signing_secret && !cfg->kafka_unsigned_requests)
            buf_addf(faults,
                     "clients: \"%s\" has no signing_secret: give "
                     "signing_secret_file or signing_secret_env, or set "
                     "kafka.unsigned_requests\n",
                     cfg->clients[i].name);
}

static void check(const struct config *cfg, struct buf *faults)
{
    check_secrets(cfg, faults);
    if (!*cfg->callbacks_mac_key)
        buf_adds(faults, "callbacks.mac_key: is needed by foleni-api: give "
                         "callbacks.mac_key_file or callbacks.mac_key_env\n");
}

const struct app_spec producer_app = {
    .name = "foleni-api",
    .summary = "accepts payments over HTTP, takes Daraja's callbacks and tells "
               "where payments stand",
    .metric_groups = MG_COMMON | MG_API,
    .check = check,
};

static enum err_code open_listeners(struct producer *p, struct err *err)
{
    struct http_spec spec = {
        .listen = p->cfg->api_listen,
        .tls_cert = p->cfg->api_tls_cert,
        .tls_key = p->cfg->api_tls_key,
        .routes = public_routes,
        .routes_n = ARRAY_LEN(public_routes),
        .limits = p->cfg,
        .arg = p,
    };

    if (http_server_new(p->app->loop, &spec, &p->public, err))
        return err->code;
    log_info("app", "public_listener",
             KV_INT("port", http_server_port(p->public)));
    return app_admin(p->app, p->cfg->api_admin_listen, admin_routes,
                     ARRAY_LEN(admin_routes), health, p, err);
}

static void on_stop(void *arg)
{
    struct producer *p = arg;

    http_server_close(p->public);
    status_wake(p->status);
    if (p->spool)
        spool_stop(p->spool);
}

/* Stopping is over when nobody waits for an answer any more: the last one is
   written a turn after it was given. */
static bool turn(void *arg)
{
    struct producer *p = arg;

    if (p->app->stopping && !p->parked && !publish_queued(p->publish) &&
        http_server_quiet(p->public))
        app_drained(p->app);
    return false;
}

static enum err_code spool_publish(void *arg, const struct kafka_record *record,
                                   kafka_done_fn done, void *done_arg,
                                   struct err *err)
{
    struct producer *p = arg;

    return publish_callback(p->publish, record, done, done_arg, err);
}

static bool kafka_is_up(void *arg)
{
    struct producer *p = arg;
    char note[1];

    return publish_up(p->publish, note, sizeof(note));
}

static enum err_code open_spool(struct producer *p, struct err *err)
{
    int64_t bytes_max = p->cfg->spool_kbytes_max * 1024;
    struct spool_spec spec = {
        .directory = p->cfg->spool_directory,
        .bytes_max = bytes_max,
        .file_bytes = MAX(MIN(bytes_max / 64, SPOOL_FILE_BYTES_MAX),
                          SPOOL_FILE_BYTES_MIN),
        .publish = spool_publish,
        .up = kafka_is_up,
        .arg = p,
    };

    if (!*spec.directory)
        return ERR_NONE;
    return spool_new(p->app->loop, &spec, &p->spool, err);
}

enum err_code producer_new(struct app *app, struct producer **ret,
                           struct err *err)
{
    CLEANUP(producer_free)
    struct producer *p = NEW(struct producer);

    p->app = app;
    p->cfg = app->cfg;
    buf_init(&p->document, DOCUMENT_MAX);
    for (size_t i = 0; i < PRODUCER_BUCKETS; i++)
        list_init(&p->under_way[i]);
    for (int t = 0; t < TOPICS_N; t++)
        kafka_topic(p->cfg, (enum topic)t, p->topics[t]);
    list_init(&p->publishing);
    p->limits = limits_new(p->cfg);
    p->status = status_new(app->loop, p->cfg);
    p->look = look_new(app->loop, p->cfg);
    producer_callbacks_init(p);
    producer_keys_init(p);
    if (publish_new(app->loop, p->cfg, &p->publish, err) ||
        open_spool(p, err) || follow(p, err) || open_listeners(p, err))
        return err->code;
    loop_add_room(app->loop, turn, p);
    app_on_reload(app, &(struct app_reload){ask_key, renewed, p});
    *ret = TAKE(p);
    return ERR_NONE;
}

void producer_free(struct producer *p)
{
    if (!p)
        return;
    /* Both answer what is still open, so the listener goes last. */
    publish_free(p->publish);
    spool_free(p->spool);
    http_server_free(p->public);
    kafka_follower_free(p->requests);
    kafka_follower_free(p->events);
    producer_keys_done(p);
    look_free(p->look);
    status_free(p->status);
    limits_free(p->limits);
    producer_callbacks_done(p);
    buf_done(&p->document);
    free(p);
}

int producer_run(struct producer *p)
{
    return app_run(p->app, DRAIN_MS, on_stop, p);
}
