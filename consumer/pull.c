/*
 * The pass of a shortcode:
 *
 *   tick → lease → ask → page → store → renew the lease → ask → ... → complete
 *
 * Each arrow is a callback from Postgres, from the provider, or from whoever
 * stores records. One that does not come ends with its connection, and the next
 * tick begins anew when the lease is over.
 */
#include "consumer/pull.h"

#include "common/call.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/must.h"
#include "consumer/pull_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WINDOW_US (INT64_C(48) * 3600 * US_PER_S)
/* Attempts near the window's end are left alone: they would slip out of it. */
#define WINDOW_SPARE_US (15 * 60 * US_PER_S)
/* Older attempts are asked for until two passes have covered them. */
#define RECENT_US (INT64_C(2) * 3600 * US_PER_S)
#define SLACK_US (60 * US_PER_S) /* before the push, and after the quarantine */
/* A lease outlasts a call by this: storing its records. */
#define LEASE_SPARE_US (15 * US_PER_S)
#define TICKS_PER_PASS 4
#define UNITS_MAX 64
#define URL_MAX 1024
#define HEADER_MAX 1024
#define ASK_MAX 512
#define IDLE_CONNECTION_S 30
#define CALLS_MAX 2048 /* one per shortcode that the settings may ever have */

struct line {
    struct pull *pull;
    const struct shortcode *sc;
    bool busy; /* a pass, or the question whether there is one */
    int64_t lease;
    int64_t lease_end_us;
    struct pull_range range;
    int64_t offset; /* records of the pages so far */
    int64_t pages;
    size_t on_page;
    char first[RECEIPT_MAX + 1]; /* of the last page */
    int64_t token_version;
    size_t puts; /* batches of the page that are being stored */
    bool put_failed;
};

struct pull {
    struct loop *loop;
    const struct config *cfg;
    struct pull_spec spec;
    struct pg *pg;
    struct calls *calls;
    struct line **lines; /* none ever goes */
    size_t n;
    struct loop_timer tick;
};

static void ask(struct line *l);

/* --- what the settings make --- */

static int64_t lease_us(const struct config *cfg)
{
    return cfg->pull_timeout_ms * US_PER_MS + LEASE_SPARE_US;
}

/* From when a push is claimed: its last byte may leave so late. */
static int64_t quarantine_us(const struct config *cfg)
{
    return (cfg->pull_quarantine_ms + cfg->worker_lease_ms +
            cfg->gate_total_timeout_ms) *
           US_PER_MS;
}

static bool enabled(const struct shortcode *sc)
{
    return strcmp(sc->pull, "off") != 0;
}

/* --- the end of a pass --- */

static struct pg_params *line_params(struct line *l)
{
    struct pg_params *p = pg_params(l->pull->pg);

    pg_int4(p, (int32_t)l->sc->shortcode);
    return p;
}

static void over(void *arg, struct pg_result *const *results, size_t n,
                 const struct err *err)
{
    struct line *l = arg;

    (void)results, (void)n, (void)err; /* unwritten: the lease ends by itself */
    l->busy = false;
}

static void fail(struct line *l, enum metric end, const char *why)
{
    struct pg_params *p = line_params(l);

    metric_add(end, 1);
    log_warn("pull", end == M_PULL_REFUSED ? "page_refused" : "pass_failed",
             KV_INT("shortcode", l->sc->shortcode), KV("why", why),
             KV_INT("page", l->pages));
    pg_int8(p, l->lease);
    pg_text(p, why);
    pg_send(l->pull->pg, PULL_SQL_FAIL, p);
    pg_sync(l->pull->pg, over, l);
}

static void say_silent(struct line *l, const struct pg_result *r)
{
    const struct pull_spec *spec = &l->pull->spec;

    for (size_t i = 0; i < pg_rows(r); i++) {
        struct uuid payment = pg_get_uuid(r, i, 0);

        metric_add(M_PULL_SILENCES, 1);
        spec->on_silence(spec->arg, &payment, (int)pg_get_int(r, i, 1));
    }
}

static void completed(void *arg, struct pg_result *const *results, size_t n,
                      const struct err *err)
{
    struct line *l = arg;

    l->busy = false;
    if (err) {
        log_warn("pull", "pass_unwritten",
                 KV_INT("shortcode", l->sc->shortcode), KV_ERR(err));
        return;
    }
    must(n == 3);
    if (pg_changed(results[0]) == 0)
        return; /* another worker has the lease by now */
    metric_add(M_PULL_COMPLETE, 1);
    log_info("pull", "pass_complete", KV_INT("shortcode", l->sc->shortcode),
             KV_INT("pages", l->pages), KV_INT("records", l->offset));
    say_silent(l, results[2]);
}

static void complete(struct line *l)
{
    struct pg *pg = l->pull->pg;
    const struct config *cfg = l->pull->cfg;
    struct pg_params *p = line_params(l);

    pg_int8(p, l->lease);
    pg_time(p, l->range.from);
    pg_time(p, l->range.until);
    pg_int4(p, (int32_t)l->offset);
    pg_send(pg, PULL_SQL_COMPLETE, p);
    p = line_params(l);
    pg_int8(p, WINDOW_US);
    pg_send(pg, PULL_SQL_PURGE, p);
    p = line_params(l);
    pg_int8(p, quarantine_us(cfg));
    pg_int8(p, cfg->pull_apart_ms * US_PER_MS);
    pg_int8(p, WINDOW_US - WINDOW_SPARE_US);
    pg_int8(p, cfg->worker_batch_max);
    pg_send(pg, PULL_SQL_SILENT, p);
    pg_sync(pg, completed, l);
}

/* --- a page --- */

static void renewed(void *arg, struct pg_result *const *results, size_t n,
                    const struct err *err)
{
    struct line *l = arg;

    (void)n;
    if (err || pg_rows(results[0]) == 0) {
        l->busy = false; /* another worker passes it, or will */
        return;
    }
    l->offset += (int64_t)l->on_page;
    ask(l);
}

static void renew(struct line *l)
{
    const struct config *cfg = l->pull->cfg;
    struct pg_params *p = line_params(l);

    l->lease_end_us = clock_now_us() + lease_us(cfg);
    pg_int8(p, l->lease);
    pg_int8(p, lease_us(cfg));
    pg_send(l->pull->pg, PULL_SQL_RENEW, p);
    pg_sync(l->pull->pg, renewed, l);
}

static void stored(void *arg, size_t n, const struct err *err)
{
    struct line *l = arg;

    (void)n;
    l->put_failed |= err != NULL;
    if (--l->puts > 0)
        return;
    if (l->put_failed)
        fail(l, M_PULL_FAILED, "its records could not be stored");
    else
        renew(l);
}

static void store(struct line *l, const struct pull_row *rows, size_t n)
{
    const struct pull_spec *spec = &l->pull->spec;
    struct pull_record *records = must_alloc(n, sizeof(*records));

    for (size_t i = 0; i < n; i++)
        records[i] = (struct pull_record){
            .receipt = rows[i].receipt,
            .shortcode = l->sc->shortcode,
            .phone = rows[i].phone,
            .amount = rows[i].amount,
            .reference = rows[i].reference,
            .paid_at = rows[i].paid_at,
            .body = rows[i].body.data,
            .body_len = rows[i].body.len,
        };
    l->puts++;
    spec->on_records(spec->arg, records, n, stored, l);
    free(records);
}

static void take_rows(struct line *l, const struct pull_page *page)
{
    size_t max = (size_t)l->pull->cfg->worker_batch_max;

    metric_add(M_PULL_PAGES, 1);
    metric_add(M_PULL_RECORDS, page->n);
    l->pages++;
    l->on_page = page->n;
    l->put_failed = false;
    text_copy(l->first, sizeof(l->first), page->rows[0].receipt);
    for (size_t i = 0; i < page->n; i += max)
        store(l, page->rows + i, MIN(max, page->n - i));
}

static void take_page(struct line *l, const struct pull_page *page, int status)
{
    const struct pull_spec *spec = &l->pull->spec;
    char why[80];

    switch (page->kind) {
    case PULL_ROWS:
        if (l->pages > 0 && strcmp(l->first, page->rows[0].receipt) == 0)
            fail(l, M_PULL_REFUSED, "the same page came again");
        else if (l->pages == l->pull->cfg->pull_pages_max)
            fail(l, M_PULL_FAILED, "more pages than pull.pages_max");
        else
            take_rows(l, page);
        break;
    case PULL_END: complete(l); break;
    case PULL_TOKEN:
        spec->token_refused(spec->arg, l->sc, l->token_version);
        fail(l, M_PULL_FAILED, "the token was refused");
        break;
    case PULL_LATER:
        snprintf(why, sizeof(why), "HTTP %d, %s", status, page->why);
        fail(l, M_PULL_FAILED, why);
        break;
    case PULL_LIE: fail(l, M_PULL_REFUSED, page->why); break;
    }
}

static void answered(void *arg, const struct call_result *r)
{
    struct line *l = arg;
    struct pull_answer answer = {r->status, r->body, r->len};
    struct pull_page page;

    if (r->end != CALL_ANSWERED) {
        fail(l, M_PULL_FAILED, r->err.text);
        return;
    }
    pull_page_read(&answer, &l->range, &page);
    take_page(l, &page, r->status);
    pull_page_done(&page);
}

/* A lease that is over is another worker's to take. */
static bool still_ours(void *arg)
{
    const struct line *l = arg;

    return clock_now_us() < l->lease_end_us;
}

static void call(struct line *l, const char *token)
{
    char url[URL_MAX], authorization[HEADER_MAX];
    const char *headers[] = {"Content-Type: application/json", authorization};
    struct buf body;
    struct call_request req = {
        .url = url,
        .headers = headers,
        .headers_n = ARRAY_LEN(headers),
        .get = strcmp(l->sc->pull, "get") == 0,
        .before = still_ours,
        .done = answered,
        .arg = l,
    };
    struct err err;

    snprintf(url, sizeof(url), "%s/pulltransactions/v1/query", l->sc->base_url);
    snprintf(authorization, sizeof(authorization), "Authorization: Bearer %s",
             token);
    buf_init(&body, ASK_MAX);
    pull_page_ask(&body, &l->range, l->offset);
    req.body = body.data;
    req.body_len = body.len;
    if (call_start(l->pull->calls, &req, &err))
        fail(l, M_PULL_FAILED, err.text);
    buf_done(&body);
}

static void ask(struct line *l)
{
    const struct pull_spec *spec = &l->pull->spec;
    const char *token = spec->token(spec->arg, l->sc, &l->token_version);

    if (!spec->wanted(spec->arg))
        fail(l, M_PULL_FAILED, "this worker leaves");
    else if (!token)
        fail(l, M_PULL_FAILED, "there is no token");
    else
        call(l, token);
}

/* --- the beginning --- */

enum { L_LEASE, L_FIRST, L_LAST, L_BEGAN };

static void set_range(struct line *l, const struct pg_result *r)
{
    int64_t first = pg_get_time(r, 0, L_FIRST);
    int64_t last = pg_get_time(r, 0, L_LAST);
    int64_t now = pg_get_time(r, 0, L_BEGAN);
    int64_t needed = last + quarantine_us(l->pull->cfg) + SLACK_US;

    l->range = (struct pull_range){
        .shortcode = l->sc->shortcode,
        .from = MAX(first - SLACK_US - US_PER_S, now - WINDOW_US),
        .until = MIN(now, needed),
    };
}

static void leased(void *arg, struct pg_result *const *results, size_t n,
                   const struct err *err)
{
    struct line *l = arg;

    (void)n;
    if (err || pg_rows(results[0]) == 0) {
        l->busy = false;
        return;
    }
    l->lease = pg_get_int(results[0], 0, L_LEASE);
    l->offset = l->pages = 0;
    set_range(l, results[0]);
    ask(l);
}

static void lease(struct line *l)
{
    const struct config *cfg = l->pull->cfg;
    struct pg_params *p = line_params(l);

    l->busy = true;
    l->lease_end_us = clock_now_us() + lease_us(cfg);
    pg_int8(p, quarantine_us(cfg));
    pg_int8(p, cfg->pull_every_ms * US_PER_MS);
    pg_int8(p, WINDOW_US - WINDOW_SPARE_US);
    pg_int8(p, RECENT_US);
    pg_int8(p, lease_us(cfg));
    pg_send(l->pull->pg, PULL_SQL_LEASE, p);
    pg_sync(l->pull->pg, leased, l);
}

static void on_tick(void *arg)
{
    struct pull *pull = arg;

    timer_set(pull->loop, &pull->tick,
              clock_now_us() +
                  pull->cfg->pull_every_ms * US_PER_MS / TICKS_PER_PASS);
    if (!pg_up(pull->pg, NULL, 0) || !pull->spec.wanted(pull->spec.arg))
        return;
    for (size_t i = 0; i < pull->n; i++) {
        struct line *l = pull->lines[i];

        if (l->busy)
            continue;
        l->sc = config_shortcode(pull->cfg, l->sc->shortcode);
        if (enabled(l->sc))
            lease(l);
    }
}

/* --- life --- */

static void nothing(void *arg, struct pg_result *const *results, size_t n,
                    const struct err *err)
{
    (void)arg, (void)results, (void)n,
        (void)err; /* sent with each connection */
}

static void on_state(void *arg, bool up)
{
    struct pull *pull = arg;
    struct pg_params *p;

    if (!up)
        return;
    p = pg_params(pull->pg);
    pg_array(p, PG_INT4, pull->n);
    for (size_t i = 0; i < pull->n; i++)
        pg_int4(p, (int32_t)pull->lines[i]->sc->shortcode);
    pg_send(pull->pg, PULL_SQL_BEGIN, p);
    pg_sync(pull->pg, nothing, pull);
}

static bool has(const struct pull *pull, int64_t shortcode)
{
    for (size_t i = 0; i < pull->n; i++)
        if (pull->lines[i]->sc->shortcode == shortcode)
            return true;
    return false;
}

static void add_lines(struct pull *pull)
{
    const struct config *cfg = pull->cfg;

    for (size_t i = 0; i < cfg->shortcodes_n; i++) {
        const struct shortcode *sc = &cfg->shortcodes[i];
        struct line *l;

        if (!enabled(sc) || has(pull, sc->shortcode))
            continue;
        l = NEW(struct line);
        l->pull = pull;
        l->sc = sc;
        pull->lines = must_grow(pull->lines, pull->n + 1, sizeof(l));
        pull->lines[pull->n++] = l;
    }
}

static void open_all(struct pull *pull)
{
    const struct config *cfg = pull->cfg;
    struct pg_spec pg = {
        .conninfo = cfg->database_conninfo,
        .password = cfg->database_password,
        .application_name = "foleni-worker pull",
        .statements = pull_statements,
        .statements_n = PULL_SQL_N,
        .units_max = UNITS_MAX,
        .session = pull_session,
        .on_state = on_state,
        .arg = pull,
    };
    struct calls_spec calls = {
        .slots_max = CALLS_MAX,
        .host_connections_max = 1,
        .connect_timeout_ms = cfg->gate_connect_timeout_ms,
        .total_timeout_ms = cfg->pull_timeout_ms,
        .idle_connection_s = IDLE_CONNECTION_S,
        .answer_bytes_max = (size_t)cfg->pull_page_kbytes_max * 1024,
        .ca_file = cfg->gate_ca_file,
    };

    pull->pg = pg_new(pull->loop, &pg);
    pull->calls = calls_new(pull->loop, &calls);
    on_tick(pull);
}

struct pull *pull_new(struct loop *loop, const struct config *cfg,
                      const struct pull_spec *spec)
{
    struct pull *pull = NEW(struct pull);

    pull->loop = loop;
    pull->cfg = cfg;
    pull->spec = *spec;
    timer_init(&pull->tick, on_tick, pull);
    add_lines(pull);
    if (pull->n > 0)
        open_all(pull);
    return pull;
}

void pull_renewed(struct pull *pull)
{
    add_lines(pull);
    if (pull->n > 0 && !pull->pg)
        open_all(pull);
    else if (pull->pg && pg_up(pull->pg, NULL, 0))
        on_state(pull, true);
}

void pull_free(struct pull *pull)
{
    if (!pull)
        return;
    timer_cancel(pull->loop, &pull->tick);
    calls_free(pull->calls);
    pg_free(pull->pg);
    for (size_t i = 0; i < pull->n; i++)
        free(pull->lines[i]);
    free(pull->lines);
    free(pull);
}
