/*
 * A database of a test program's own, with all migrations, on the server that
 * tests/unit/run starts (FOLENI_TEST_CONNINFO).
 */
#ifndef FOLENI_TESTS_UNIT_LEDGER_H
#define FOLENI_TESTS_UNIT_LEDGER_H

#include "common/buf.h"
#include "common/must.h"
#include "common/pg.h"

#include <glob.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LEDGER_SQL_MAX (4 << 20)

static char ledger_conninfo[512];

static struct pg_session *ledger_session(const char *conninfo)
{
    struct pg_session *s = NULL;
    struct err err;

    if (pg_session_open(conninfo, "", &s, &err)) {
        (void)fprintf(stderr, "%s\n", err.text);
        must(s);
    }
    return s;
}

static void ledger_run(struct pg_session *s, const char *sql)
{
    struct err err;

    if (pg_session_exec(s, sql, NULL, 0, NULL, &err)) {
        (void)fprintf(stderr, "%.400s: %s\n", sql, err.text);
        must(false);
    }
}

UNUSED static void ledger_runf(struct pg_session *s, const char *fmt, ...)
    PRINTF_LIKE(2, 3);

UNUSED static void ledger_runf(struct pg_session *s, const char *fmt, ...)
{
    char sql[2000];
    va_list args;

    va_start(args, fmt);
    must((size_t)vsnprintf(sql, sizeof(sql), fmt, args) < sizeof(sql));
    va_end(args);
    ledger_run(s, sql);
}

/* The one value that @p sql tells, as a number; -1 for null or no row. */
UNUSED static int64_t ledger_ask(struct pg_session *s, const char *sql)
{
    CLEANUP(pg_text_rows_free)
    struct pg_text_rows *rows = NULL;
    struct err err;

    if (pg_session_exec(s, sql, NULL, 0, &rows, &err)) {
        (void)fprintf(stderr, "%.400s: %s\n", sql, err.text);
        must(false);
    }
    if (!pg_text_rows_n(rows) || !pg_text_value(rows, 0, 0))
        return -1;
    return strtoll(pg_text_value(rows, 0, 0), NULL, 10);
}

static void ledger_apply(struct pg_session *s, const char *path)
{
    struct buf text;
    char chunk[4096];
    FILE *f = fopen(path, "r");
    size_t n;

    must(f);
    buf_init(&text, LEDGER_SQL_MAX);
    while ((n = fread(chunk, 1, sizeof(chunk), f)) > 0)
        buf_add(&text, chunk, n);
    (void)fclose(f); /* only read */
    ledger_run(s, text.data);
    buf_done(&text);
}

/* Once per program; for cmocka: 0 = made. */
UNUSED static int ledger_make(const char *database)
{
    const char *given = getenv("FOLENI_TEST_CONNINFO");
    struct pg_session *s;
    glob_t files;

    if (!given) {
        (void)fprintf(stderr, "FOLENI_TEST_CONNINFO is missing: use "
                              "tests/unit/run\n");
        return -1;
    }
    s = ledger_session(given);
    ledger_runf(s, "DROP DATABASE IF EXISTS %s WITH (FORCE)", database);
    ledger_runf(s, "CREATE DATABASE %s", database);
    pg_session_close(s);
    must((size_t)snprintf(ledger_conninfo, sizeof(ledger_conninfo),
                          "%s dbname=%s", given,
                          database) < sizeof(ledger_conninfo));
    s = ledger_session(ledger_conninfo);
    must(glob("schemas/sql/*.sql", 0, NULL, &files) == 0);
    for (size_t i = 0; i < files.gl_pathc; i++)
        ledger_apply(s, files.gl_pathv[i]);
    globfree(&files);
    pg_session_close(s);
    return 0;
}

/* A payment in @p state that worker @p owner has in hand. */
UNUSED static void ledger_payment(struct pg_session *s, int n, int state,
                                  int64_t owner)
{
    ledger_runf(
        s,
        "INSERT INTO payments (id, client, fingerprint, msisdn, amount, "
        "shortcode, priority, ask_again, reference, description, "
        "requested_at, deadline_at, source_topic, source_partition, "
        "source_offset, state, version, attempt, spent, owner, holds_phone) "
        "VALUES ('00000000-0000-4000-8000-%012d', "
        "'00000000-0000-4000-8000-00000000000a', decode(repeat('ab', 16), "
        "'hex'), %lld, 100, 174379, "
        "1, 0, 'INV1', 'Payment', now(), now() + interval '1 minute', 1, 0, "
        "%d, %d, 1, 1, 0, nullif(%lld, 0), false)",
        n, 254708000000 + (long long)n, n, state, (long long)owner);
}

#endif
