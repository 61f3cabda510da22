/*
 * `foleni doctor audit`: verifies the whole trail; progress goes to standard
 * error, since a long one takes minutes.
 */
#include "common/buf.h"
#include "common/clock.h"
#include "common/config.h"
#include "common/json.h"
#include "common/must.h"
#include "common/pg.h"
#include "tools/audit.h"
#include "tools/cli.h"

#include <inttypes.h>
#include <stdio.h>

#define JSON_BYTES_MAX ((size_t)1 << 14)
#define PROGRESS_EVERY_US (5 * US_PER_S)

struct progress {
    int64_t began_us, said_us;
};

static void say_progress(void *arg, enum audit_part part, int percent,
                         int64_t rows)
{
    struct progress *p = arg;
    int64_t now = clock_now_us();

    if (now - p->said_us < PROGRESS_EVERY_US)
        return;
    p->said_us = now;
    fprintf(stderr, "foleni: %s %d %%, %" PRId64 " rows\n",
            audit_part_name(part), percent, rows);
}

/* --- answers --- */

static void put_part(struct json_out *j, enum audit_part part,
                     const struct audit_result *r)
{
    json_open(j, audit_part_name(part), '{');
    json_put_int(j, "n", r->n);
    if (part != AUDIT_ACTIONS && part != AUDIT_PURGES)
        json_put_int(j, "rows", r->rows);
    if (part == AUDIT_PAYMENTS)
        json_put_int(j, "rows_before_the_trail", r->before);
    if (part == AUDIT_ANCHORS) {
        json_put_int(j, "rows_not_anchored", r->after);
        json_put_int(j, "newest_age_s", r->age_s);
    }
    if (r->broken) {
        json_open(j, "broken", '{');
        json_put_text(j, "where", r->where);
        json_put_text(j, "what", r->what);
        json_close(j, '}');
    }
    json_close(j, '}');
}

static void show_json(const struct audit_result *parts, bool ok, int64_t ms)
{
    struct buf text;
    struct json_out j = {&text, false};

    buf_init(&text, JSON_BYTES_MAX);
    json_open(&j, NULL, '{');
    json_put_bool(&j, "ok", ok);
    json_put_int(&j, "ms", ms);
    for (int i = 0; i < AUDIT_PARTS_N; i++)
        put_part(&j, (enum audit_part)i, &parts[i]);
    json_close(&j, '}');
    puts(text.data);
    buf_done(&text);
}

static void show_part(enum audit_part part, const struct audit_result *r)
{
    printf("%-9s %10" PRId64, audit_part_name(part), r->n);
    if (part != AUDIT_ACTIONS && part != AUDIT_PURGES)
        printf(", %" PRId64 " rows", r->rows);
    if (r->before)
        printf(", %" PRId64 " of them from before the trail", r->before);
    if (part == AUDIT_ANCHORS && r->age_s >= 0)
        printf(", newest %" PRId64 " s old", r->age_s);
    if (r->after)
        printf(", %" PRId64 " rows not anchored yet", r->after);
    if (r->broken)
        printf("\n  BROKEN at %s: %s\n", r->where, r->what);
    else
        puts(": unbroken");
}

static void show_text(const struct audit_result *parts, int64_t ms)
{
    int64_t rows = parts[AUDIT_PAYMENTS].rows;

    for (int i = 0; i < AUDIT_PARTS_N; i++)
        show_part((enum audit_part)i, &parts[i]);
    printf("%" PRId64 " ms, %" PRId64 " rows/s\n", ms,
           rows * 1000 / MAX(ms, 1));
}

enum err_code doctor_audit_run(const struct cli *cli, const struct config *cfg,
                               struct err *err)
{
    CLEANUP(pg_session_close)
    struct pg_session *s = NULL;
    struct audit_result parts[AUDIT_PARTS_N];
    struct progress progress = {clock_now_us(), clock_now_us()};
    const struct audit_spec spec = {cli->from, cli->to, say_progress,
                                    &progress};
    const struct audit_result *first = NULL;
    int64_t ms;

    if (pg_session_open(cfg->database_conninfo, cfg->database_password, &s,
                        err) ||
        audit_verify(s, &spec, parts, err))
        return err->code;
    ms = (clock_now_us() - progress.began_us) / US_PER_MS;
    for (int i = AUDIT_PARTS_N - 1; i >= 0; i--)
        if (parts[i].broken)
            first = &parts[i];
    if (cli_has(cli, CLI_JSON))
        show_json(parts, !first, ms);
    else
        show_text(parts, ms);
    if (!first)
        return ERR_NONE;
    return err_set(err, ERR_INPUT, "the audit trail is broken at %s: %s",
                   first->where, first->what);
}
