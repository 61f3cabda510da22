/*
 * `foleni migrate`: one lock, then each missing file in a transaction of its
 * own together with its row in `migrations`, so that a run that dies leaves
 * nothing half done. At the end the planner gets fresh statistics: without
 * them the worker's first statements would be planned for tables of unknown
 * size.
 */
#include "common/buf.h"
#include "common/clock.h"
#include "common/config.h"
#include "common/json.h"
#include "common/must.h"
#include "common/pg.h"
#include "tools/cli.h"
#include "tools/migrations.h"
#include "tools/roles.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* "foleni" in ASCII: nobody else's advisory lock. */
#define LOCK_KEY "112628745989737"
#define JSON_BYTES_MAX ((size_t)4 << 20)

/* Waiting for another run is fine for minutes; waiting for a table's lock is
   not, since everyone else then waits behind it. */
static const char SQL_SESSION[] = "SET lock_timeout = '5min';"
                                  "SET client_min_messages = error";
static const char SQL_TRY_LOCK[] = "SELECT pg_try_advisory_lock(" LOCK_KEY ")";
static const char SQL_LOCK[] = "SELECT pg_advisory_lock(" LOCK_KEY ")";
static const char SQL_TABLE[] =
    "CREATE TABLE IF NOT EXISTS migrations ("
    "  number     integer     PRIMARY KEY,"
    "  name       text        NOT NULL,"
    "  checksum   text        NOT NULL," /* SHA-256 of the file, hex */
    "  applied_at timestamptz NOT NULL DEFAULT now())";
static const char SQL_EXISTS[] = "SELECT to_regclass('migrations') IS NOT NULL";
static const char SQL_APPLIED[] =
    "SELECT number, name, checksum,"
    "       to_char(applied_at AT TIME ZONE 'UTC',"
    "               'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')"
    "  FROM migrations ORDER BY number";
static const char SQL_BEGIN[] = "BEGIN; SET LOCAL lock_timeout = '30s'";
static const char SQL_RECORD[] =
    "INSERT INTO migrations (number, name, checksum)"
    " VALUES ($1::integer, $2, $3)";
static const char SQL_ANALYZE[] =
    "SELECT 'ANALYZE ' || string_agg(format('%I.%I', schemaname, tablename),"
    "                                ', ')"
    "  FROM pg_tables WHERE schemaname = current_schema()";

/** What one run needs. */
struct run {
    const struct cli *cli;
    struct pg_session *session;
    struct migrations *all;
    bool granted; /* the roles have their rights */
    char directory[PATH_MAX];
};

/* --- the database --- */

static enum err_code exec(const struct run *run, const char *sql,
                          struct pg_text_rows **ret, struct err *err)
{
    return pg_session_exec(run->session, sql, NULL, 0, ret, err);
}

/** Runs a query of one boolean. */
static enum err_code ask(const struct run *run, const char *sql, bool *ret,
                         struct err *err)
{
    CLEANUP(pg_text_rows_free)
    struct pg_text_rows *rows = NULL;

    if (exec(run, sql, &rows, err))
        return err->code;
    *ret = !strcmp(pg_text_value(rows, 0, 0), "t");
    return ERR_NONE;
}

static enum err_code lock(const struct run *run, struct err *err)
{
    bool locked;

    if (ask(run, SQL_TRY_LOCK, &locked, err))
        return err->code;
    if (locked)
        return ERR_NONE;
    fputs("foleni: another `foleni migrate` runs, waiting for it\n", stderr);
    if (exec(run, SQL_LOCK, NULL, err))
        return err_wrap(err, "could not wait for another `foleni migrate`");
    return ERR_NONE;
}

/** Marks what the database has seen already. */
static enum err_code read_applied(struct run *run, struct err *err)
{
    CLEANUP(pg_text_rows_free)
    struct pg_text_rows *rows = NULL;
    bool exists;

    if (ask(run, SQL_EXISTS, &exists, err))
        return err->code;
    if (!exists)
        return ERR_NONE;
    if (exec(run, SQL_APPLIED, &rows, err))
        return err_wrap(err, "could not read the table `migrations`");
    for (size_t i = 0; i < pg_text_rows_n(rows); i++) {
        struct migration_record record = {
            (int)strtol(pg_text_value(rows, i, 0), NULL, 10),
            pg_text_value(rows, i, 1), pg_text_value(rows, i, 2),
            pg_text_value(rows, i, 3)};
        if (migrations_record(run->all, &record, err))
            return err->code;
    }
    return ERR_NONE;
}

static enum err_code record(const struct run *run, const struct migration *m,
                            struct err *err)
{
    char number[16];
    const char *const params[] = {number, m->name, m->checksum};

    snprintf(number, sizeof(number), "%d", m->number);
    return pg_session_exec(run->session, SQL_RECORD, params, ARRAY_LEN(params),
                           NULL, err);
}

/** Applies one file. After a failure the session only serves to be closed. */
static enum err_code apply(const struct run *run, struct migration *m,
                           struct err *err)
{
    int64_t began_us = clock_now_us();

    if (exec(run, SQL_BEGIN, NULL, err) || exec(run, m->sql, NULL, err) ||
        record(run, m, err))
        return err_wrap(err,
                        "could not apply %04d_%s.sql, nothing of it is "
                        "left",
                        m->number, m->name);
    if (exec(run, "COMMIT", NULL, err))
        return err_wrap(err,
                        "could not see whether %04d_%s.sql was applied; run it "
                        "again",
                        m->number, m->name);
    m->applied = m->now = true;
    if (!cli_has(run->cli, CLI_JSON))
        printf("%04d_%s: applied in %lld ms\n", m->number, m->name,
               (long long)((clock_now_us() - began_us) / US_PER_MS));
    fflush(stdout);
    return ERR_NONE;
}

static enum err_code analyze(const struct run *run, struct err *err)
{
    CLEANUP(pg_text_rows_free)
    struct pg_text_rows *rows = NULL;

    if (exec(run, SQL_ANALYZE, &rows, err))
        return err->code;
    const char *sql = pg_text_value(rows, 0, 0);
    if (sql && exec(run, sql, NULL, err))
        return err_wrap(err, "all migrations are applied, but could not "
                             "analyze the tables");
    return ERR_NONE;
}

/** The roles, at the end: a table that is new has to be theirs too. Where they
 *  cannot be made there is nothing to undo. */
static enum err_code grant(struct run *run, struct err *err)
{
    if (roles_grant(run->session, &run->granted, err))
        return err_wrap(err, "all migrations are applied, but");
    if (!run->granted)
        fputs("foleni: the group roles are not there and this role may not "
              "create roles:\nfoleni: let one who may run: " ROLES_CREATE
              "\nfoleni: and run `foleni migrate` again; until then no login "
              "but the owner has rights\n",
              stderr);
    return ERR_NONE;
}

static enum err_code apply_all(const struct run *run, struct err *err)
{
    bool any = false;

    for (size_t i = 0; i < run->all->n; i++) {
        if (run->all->items[i].applied)
            continue;
        if (apply(run, &run->all->items[i], err))
            return err->code;
        any = true;
    }
    return any ? analyze(run, err) : ERR_NONE;
}

/* --- what is shown --- */

static const char *state(const struct migration *m)
{
    return m->now ? "applied now" : m->applied ? "applied" : "pending";
}

static void show_json(const struct run *run)
{
    struct buf text;
    struct json_out j = {&text, false};

    buf_init(&text, JSON_BYTES_MAX);
    json_open(&j, NULL, '{');
    json_put_text(&j, "directory", run->directory);
    json_open(&j, "migrations", '[');
    for (size_t i = 0; i < run->all->n; i++) {
        const struct migration *m = &run->all->items[i];
        json_open(&j, NULL, '{');
        json_put_int(&j, "number", m->number);
        json_put_text(&j, "name", m->name);
        json_put_text(&j, "checksum", m->checksum);
        json_put_text(&j, "state", state(m));
        if (m->applied_at[0])
            json_put_text(&j, "applied_at", m->applied_at);
        json_close(&j, '}');
    }
    json_close(&j, ']');
    if (!cli_has(run->cli, CLI_DRY_RUN))
        json_put_bool(&j, "granted", run->granted);
    json_close(&j, '}');
    puts(text.data);
    buf_done(&text);
}

static void show_text(const struct run *run)
{
    size_t now = 0, pending = 0;

    for (size_t i = 0; i < run->all->n; i++) {
        const struct migration *m = &run->all->items[i];
        now += m->now;
        pending += !m->applied;
        if (cli_has(run->cli, CLI_DRY_RUN))
            printf("%04d_%s: %s %s\n", m->number, m->name,
                   m->applied ? "applied at" : "would be applied",
                   m->applied_at);
    }
    if (cli_has(run->cli, CLI_DRY_RUN))
        printf("%zu of %zu migrations would be applied, from %s\n", pending,
               run->all->n, run->directory);
    else
        printf("the database is at migration %04zu, %zu applied now\n",
               run->all->n, now);
}

static enum err_code migrate(struct run *run, struct err *err)
{
    if (exec(run, SQL_SESSION, NULL, err))
        return err->code;
    if (cli_has(run->cli, CLI_DRY_RUN))
        return read_applied(run, err);
    if (lock(run, err))
        return err->code;
    if (exec(run, SQL_TABLE, NULL, err))
        return err_wrap(err, "could not create the table `migrations`");
    if (read_applied(run, err))
        return err->code;
    return apply_all(run, err) ? err->code : grant(run, err);
}

enum err_code migrate_run(const struct cli *cli, const struct config *cfg,
                          struct err *err)
{
    CLEANUP(migrations_free)
    struct migrations *all = NULL;
    CLEANUP(pg_session_close)
    struct pg_session *session = NULL;
    struct run run = {.cli = cli};

    migrations_find(cli->directory, run.directory);
    if (migrations_read(run.directory, &all, err))
        return err->code;
    if (pg_session_open(cfg->database_conninfo, cfg->database_password,
                        &session, err))
        return err->code;
    run.all = all;
    run.session = session;
    if (migrate(&run, err))
        return err->code;
    if (cli_has(cli, CLI_JSON))
        show_json(&run);
    else
        show_text(&run);
    return ERR_NONE;
}
