/*
 * The admin listener: health for people, live and ready for machines, metrics
 * for Prometheus, and the program's own routes. It has no authentication and
 * is meant for a private address.
 *
 * evhttp's server has one argument for all its handlers, and that is ours; the
 * program's handlers want theirs, so they are called through own_route().
 */
#include "common/app_priv.h"

#include "common/buf.h"
#include "common/clock.h"
#include "common/json.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/must.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HEALTH_ROWS_MAX 16
#define HEALTH_BYTES_MAX (16 * 1024)
#define METRICS_BYTES_MAX (1024 * 1024)
#define JSON_TYPE "application/json"

/* --- health --- */

enum shape { SHAPE_OK, SHAPE_DEGRADED, SHAPE_DOWN };

static enum shape shape_of(const struct health *rows, size_t n)
{
    enum shape shape = SHAPE_OK;

    for (size_t i = 0; i < n; i++) {
        if (!rows[i].ok && rows[i].needed)
            return SHAPE_DOWN;
        if (!rows[i].ok)
            shape = SHAPE_DEGRADED;
    }
    return shape;
}

static void put_latency(struct json_out *j, int64_t us)
{
    char ms[32];
    int n;

    if (us < 0) {
        json_put_null(j, "latency_ms");
        return;
    }
    n = snprintf(ms, sizeof(ms), "%lld.%03lld", (long long)(us / US_PER_MS),
                 (long long)(us % US_PER_MS));
    json_put_raw(j, "latency_ms", ms, (size_t)n);
}

static void put_dependency(struct json_out *j, const struct health *row)
{
    json_open(j, row->name, '{');
    json_put_bool(j, "ok", row->ok);
    json_put_bool(j, "needed", row->needed);
    put_latency(j, row->latency_us);
    json_put_text(j, "note", row->note);
    json_close(j, '}');
}

int app_health(const struct app *app, const struct health *rows, size_t rows_n,
               struct buf *out)
{
    static const char *const words[] = {"ok", "degraded", "down"};
    enum shape shape = shape_of(rows, rows_n);
    struct json_out j = {.buf = out};
    char now[CLOCK_TEXT_SIZE];

    clock_format(clock_wall_at(), 3, now);
    json_open(&j, NULL, '{');
    json_put_text(&j, "status", words[shape]);
    json_put_text(&j, "program", app->spec->name);
    json_put_text(&j, "version", FOLENI_VERSION);
    json_put_text(&j, "timestamp", now);
    json_put_bool(&j, "stopping", app->stopping);
    json_open(&j, "dependencies", '{');
    for (size_t i = 0; i < rows_n; i++)
        put_dependency(&j, &rows[i]);
    json_close(&j, '}');
    json_close(&j, '}');
    return shape == SHAPE_DOWN ? 503 : 200;
}

/* Settings that were refused are a row until others are taken. */
static size_t add_refused(const struct admin *admin, struct health *row)
{
    const struct program *program =
        container_of(admin->app, struct program, app);

    if (!program->refused[0])
        return 0;
    row->name = "settings";
    row->latency_us = -1;
    (void)snprintf(row->note, sizeof(row->note), "%s", program->refused);
    return 1;
}

static size_t ask(const struct admin *admin, struct health *rows)
{
    size_t n = 0;

    memset(rows, 0, HEALTH_ROWS_MAX * sizeof(*rows));
    if (admin->health)
        n = admin->health(admin->arg, rows, HEALTH_ROWS_MAX);
    must(n <= HEALTH_ROWS_MAX);
    return n == HEALTH_ROWS_MAX ? n : n + add_refused(admin, &rows[n]);
}

static void reply_buf(struct http_request *req, int status, const char *type,
                      struct buf *b)
{
    if (b->failed)
        http_reply(req, 500, "text/plain", "too long\n", 9);
    else
        http_reply(req, status, type, b->data, b->len);
    buf_done(b);
}

static void get_health(void *arg, struct http_request *req)
{
    const struct admin *admin = arg;
    struct health rows[HEALTH_ROWS_MAX];
    size_t n = ask(admin, rows);
    struct buf b;
    int status;

    buf_init(&b, HEALTH_BYTES_MAX);
    status = app_health(admin->app, rows, n, &b);
    reply_buf(req, status, JSON_TYPE, &b);
}

static void reply_status(struct http_request *req, int status, const char *word)
{
    struct buf b;

    buf_init(&b, HEALTH_BYTES_MAX);
    buf_addf(&b, "{\"status\":\"%s\"}", word);
    reply_buf(req, status, JSON_TYPE, &b);
}

static void get_live(void *arg, struct http_request *req)
{
    (void)arg;
    reply_status(req, 200, "ok");
}

/* Not ready: something needed is away, or the program is going to end. */
static void get_ready(void *arg, struct http_request *req)
{
    const struct admin *admin = arg;
    struct health rows[HEALTH_ROWS_MAX];
    size_t n = ask(admin, rows);

    if (admin->app->stopping)
        reply_status(req, 503, "stopping");
    else if (shape_of(rows, n) == SHAPE_DOWN)
        reply_status(req, 503, "down");
    else
        reply_status(req, 200, "ok");
}

/* --- metrics --- */

/* The second number of /proc/self/statm is the resident pages: proc(5). */
static int64_t resident_bytes(void)
{
    char text[128];
    char *second;
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);

    if (fd >= 0)
        close(fd);
    text[MAX(n, 0)] = '\0';
    second = strchr(text, ' ');
    return second ? strtoll(second, NULL, 10) * sysconf(_SC_PAGESIZE) : 0;
}

static void get_metrics(void *arg, struct http_request *req)
{
    const struct admin *admin = arg;
    struct buf b;

    metric_set(M_RSS, resident_bytes());
    metric_set(M_LOG_DROPPED, (int64_t)log_dropped());
    buf_init(&b, METRICS_BYTES_MAX);
    metrics_write(&b, MG_COMMON | admin->app->spec->metric_groups);
    reply_buf(req, 200, "text/plain; version=0.0.4; charset=utf-8", &b);
}

/* --- routes --- */

static void own_route(void *arg, size_t i, struct http_request *req)
{
    const struct admin *admin = arg;

    admin->own[i].fn(admin->arg, req);
}

#define OWN(i)                                               \
    static void own_##i(void *arg, struct http_request *req) \
    {                                                        \
        own_route(arg, i, req);                              \
    }
OWN(0)
OWN(1)
OWN(2)
OWN(3)
static const http_handler_fn own_fns[ADMIN_ROUTES_MAX] = {own_0, own_1, own_2,
                                                          own_3};

static const struct http_route common_routes[] = {
    {HTTP_GET, "/health", get_health},
    {HTTP_GET, "/health/live", get_live},
    {HTTP_GET, "/health/ready", get_ready},
    {HTTP_GET, "/metrics", get_metrics},
};

static void routes_fill(struct admin *admin, const struct http_route *own,
                        size_t own_n)
{
    size_t n = ARRAY_LEN(common_routes);

    must(own_n <= ADMIN_ROUTES_MAX);
    admin->routes = must_grow(NULL, n + own_n, sizeof(admin->routes[0]));
    memcpy(admin->routes, common_routes, sizeof(common_routes));
    for (size_t i = 0; i < own_n; i++) {
        admin->own[i] = own[i];
        admin->routes[n + i] = own[i];
        admin->routes[n + i].fn = own_fns[i];
    }
}

enum err_code app_admin(struct app *app, const char *listen,
                        const struct http_route *routes, size_t routes_n,
                        app_health_fn health, void *arg, struct err *err)
{
    struct program *program = container_of(app, struct program, app);
    struct admin *admin = &program->admin;
    struct http_spec spec = {
        .listen = listen,
        .tls_cert = "",
        .tls_key = "",
        .limits = app->cfg,
        .arg = admin,
    };

    must(!app->admin && !admin->routes);
    *admin = (struct admin){.app = app, .health = health, .arg = arg};
    routes_fill(admin, routes, routes_n);
    spec.routes = admin->routes;
    spec.routes_n = ARRAY_LEN(common_routes) + routes_n;
    if (http_server_new(app->loop, &spec, &app->admin, err))
        return err_wrap(err, "admin listener");
    log_info("app", "admin_listens", KV("listen", listen),
             KV_INT("port", http_server_port(app->admin)));
    return ERR_NONE;
}
