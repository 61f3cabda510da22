/*
 * `foleni purge`: payments that are over for longer than `database.retention_h`
 * leave the ledger, with their trail (rule S4). What may go and what keeps a
 * payment is decided in the database, by purge_look(); purge_payments() removes
 * and writes what is left of each anchor, so that `foleni doctor audit` knows
 * what was purged from what was stolen.
 *
 * It goes anchor by anchor, oldest first, a bounded batch per transaction; a
 * run that dies is run again.
 */
#include "common/buf.h"
#include "common/clock.h"
#include "common/config.h"
#include "common/json.h"
#include "common/kafka.h"
#include "common/must.h"
#include "common/pg.h"
#include "tools/cli.h"
#include "tools/operator.h"
#include "tools/topics.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BATCH_MAX 5000 /* payments in one transaction */
#define PROGRESS_US (5 * US_PER_S)
#define JSON_BYTES_MAX ((size_t)4 << 10)
#define NUMBER_SIZE 24
#define TIME_SIZE 64

static const char SQL_BEFORE[] =
    "SELECT (now() - $1::int8 * interval '1 hour')::text";
static const char SQL_NEXT[] = "SELECT purge_next($1::int8, $2::timestamptz)";
static const char SQL_LOOK[] =
    "SELECT coalesce(kept_by, ''), count(*) "
    "FROM purge_look($1::int8, $2::timestamptz) GROUP BY 1";
static const char SQL_PURGE[] =
    "SELECT payments_n, rows_n FROM purge_payments($1::int8, "
    "$2::timestamptz, $3::int, $4, $5)";

/** What keeps a payment, as purge_look() says it; the first: nothing. */
static const char *const keepers[] = {"", "open", "untold", "disputed",
                                      "not_anchored"};

struct run {
    const struct cli *cli;
    const struct config *cfg;
    struct pg_session *session;
    struct operator who;
    char before[TIME_SIZE];
    int64_t found[ARRAY_LEN(keepers)];
    int64_t payments, rows; /* that were removed */
    int64_t said_us;
};

static int64_t number(const struct pg_text_rows *rows, size_t row, size_t col)
{
    const char *text = pg_text_value(rows, row, col);

    return text ? strtoll(text, NULL, 10) : 0;
}

/* --- may it be done --- */

static enum err_code check_topics(const struct run *run, struct err *err)
{
    struct kafka_topic_plan plans[TOPICS_N];
    struct kafka_topic_facts facts[TOPICS_N];

    kafka_topic_plans(run->cfg, plans);
    if (kafka_topics_read(run->cfg, plans, facts, err))
        return err_wrap(err, "how long Kafka keeps records decides what may "
                             "be purged");
    for (int i = 0; i < TOPICS_N; i++) {
        struct topic_difference all[TOPIC_DIFFERENCES_MAX];
        const struct topic_difference *bad;

        if (!plans[i].append_time || !facts[i].exists)
            continue;
        bad = topic_unsafe(all,
                           topic_compare(run->cfg, &plans[i], &facts[i], all));
        if (bad)
            return err_set(err, ERR_CONFLICT,
                           "%s has %s %s instead of %s: %s; nothing was purged",
                           plans[i].name, bad->name, bad->has, bad->wants,
                           bad->breaks);
    }
    return ERR_NONE;
}

static enum err_code read_before(struct run *run, struct err *err)
{
    CLEANUP(pg_text_rows_free)
    struct pg_text_rows *rows = NULL;
    char hours[NUMBER_SIZE];
    const char *const params[] = {hours};

    snprintf(hours, sizeof(hours), "%" PRId64, run->cfg->database_retention_h);
    if (pg_session_exec(run->session, SQL_BEFORE, params, ARRAY_LEN(params),
                        &rows, err))
        return err->code;
    snprintf(run->before, sizeof(run->before), "%s", pg_text_value(rows, 0, 0));
    return ERR_NONE;
}

/* --- anchor by anchor --- */

static void say_progress(struct run *run, const char *anchor, int64_t n)
{
    int64_t now = clock_now_us();

    if (now - run->said_us < PROGRESS_US)
        return;
    run->said_us = now;
    fprintf(stderr, "foleni: at anchor %s, %" PRId64 " payments\n", anchor, n);
}

/** Moves on to the next anchor; "" when there is none. */
static enum err_code next(const struct run *run, char anchor[NUMBER_SIZE],
                          struct err *err)
{
    CLEANUP(pg_text_rows_free)
    struct pg_text_rows *rows = NULL;
    const char *const params[] = {anchor, run->before};
    const char *found;

    if (pg_session_exec(run->session, SQL_NEXT, params, ARRAY_LEN(params),
                        &rows, err))
        return err->code;
    found = pg_text_value(rows, 0, 0);
    snprintf(anchor, NUMBER_SIZE, "%s", found ? found : "");
    return ERR_NONE;
}

static enum err_code look_at(struct run *run, const char *anchor,
                             struct err *err)
{
    CLEANUP(pg_text_rows_free)
    struct pg_text_rows *rows = NULL;
    const char *const params[] = {anchor, run->before};

    if (pg_session_exec(run->session, SQL_LOOK, params, ARRAY_LEN(params),
                        &rows, err))
        return err->code;
    for (size_t i = 0; i < pg_text_rows_n(rows); i++)
        for (size_t k = 0; k < ARRAY_LEN(keepers); k++)
            if (!strcmp(pg_text_value(rows, i, 0), keepers[k]))
                run->found[k] += number(rows, i, 1);
    say_progress(run, anchor, run->found[0]);
    return ERR_NONE;
}

static enum err_code purge_from(struct run *run, const char *anchor,
                                struct err *err)
{
    char most[NUMBER_SIZE];
    const char *const params[] = {anchor, run->before, most, run->who.who,
                                  run->who.why};
    int64_t n;

    snprintf(most, sizeof(most), "%d", BATCH_MAX);
    do {
        CLEANUP(pg_text_rows_free)
        struct pg_text_rows *rows = NULL;

        if (pg_session_exec(run->session, SQL_PURGE, params, ARRAY_LEN(params),
                            &rows, err))
            return err->code;
        n = number(rows, 0, 0);
        run->payments += n;
        run->rows += number(rows, 0, 1);
        say_progress(run, anchor, run->payments);
    } while (n == BATCH_MAX);
    return ERR_NONE;
}

static enum err_code
each_anchor(struct run *run,
            enum err_code (*what)(struct run *, const char *, struct err *),
            struct err *err)
{
    char anchor[NUMBER_SIZE] = "0";

    for (;;) {
        if (next(run, anchor, err))
            return err->code;
        if (!*anchor)
            return ERR_NONE;
        if (what(run, anchor, err))
            return err->code;
    }
}

/* --- what is shown --- */

static void show_json(const struct run *run)
{
    struct buf text;
    struct json_out j = {&text, false};

    buf_init(&text, JSON_BYTES_MAX);
    json_open(&j, NULL, '{');
    json_put_text(&j, "before", run->before);
    json_put_int(&j, "found", run->found[0]);
    json_open(&j, "kept", '{');
    for (size_t k = 1; k < ARRAY_LEN(keepers); k++)
        json_put_int(&j, keepers[k], run->found[k]);
    json_close(&j, '}');
    json_put_int(&j, "purged", run->payments);
    json_put_int(&j, "rows", run->rows);
    json_close(&j, '}');
    puts(text.data);
    buf_done(&text);
}

static void show_plan(const struct run *run)
{
    printf("%" PRId64 " payments have not changed since %s and may go\n",
           run->found[0], run->before);
    for (size_t k = 1; k < ARRAY_LEN(keepers); k++)
        if (run->found[k])
            printf("%" PRId64 " as old stay: %s\n", run->found[k], keepers[k]);
    fflush(stdout);
}

static enum err_code purge(struct run *run, struct err *err)
{
    if (operator_confirm(&run->who, err,
                         "remove %" PRId64 " payments that have not changed "
                         "since %s, for good",
                         run->found[0], run->before))
        return err->code;
    if (each_anchor(run, purge_from, err))
        return err_wrap(err,
                        "%" PRId64 " payments were purged before; run it again",
                        run->payments);
    return ERR_NONE;
}

static enum err_code run_it(struct run *run, struct err *err)
{
    bool json = cli_has(run->cli, CLI_JSON);

    if (check_topics(run, err) || read_before(run, err) ||
        each_anchor(run, look_at, err))
        return err->code;
    if (!json)
        show_plan(run);
    if (!cli_has(run->cli, CLI_DRY_RUN) && run->found[0] && purge(run, err))
        return err->code;
    if (json)
        show_json(run);
    else if (run->payments)
        printf("%" PRId64 " payments purged, %" PRId64 " rows of their trail\n",
               run->payments, run->rows);
    return ERR_NONE;
}

enum err_code purge_run(const struct cli *cli, const struct config *cfg,
                        struct err *err)
{
    struct run run = {.cli = cli, .cfg = cfg, .said_us = clock_now_us()};
    enum err_code code;

    if (!cli_has(cli, CLI_DRY_RUN) && operator_read(cli, &run.who, err))
        return err->code;
    if (pg_session_open(cfg->database_conninfo, cfg->database_password,
                        &run.session, err))
        return err->code;
    code = run_it(&run, err);
    pg_session_close(run.session);
    return code;
}
