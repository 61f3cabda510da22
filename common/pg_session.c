/*
 * A plain connection that waits for each answer: for the command line and for
 * migrations, where there is nothing else to do meanwhile.
 */
#include <libpq-fe.h>
#include <poll.h>
#include <stdlib.h>

#include "common/clock.h"
#include "common/must.h"
#include "common/pg_priv.h"

struct pg_session {
    PGconn *conn;
    int limit_ms; /* 0 = none */
};

struct pg_text_rows {
    PGresult *r;
};

static void no_notices(void *arg, const PGresult *r)
{
    (void)arg;
    (void)r;
}

enum err_code pg_session_open(const char *conninfo, const char *password,
                              struct pg_session **ret, struct err *err)
{
    const char *const words[] = {"connect_timeout",
                                 "dbname",
                                 "application_name",
                                 "client_encoding",
                                 "target_session_attrs",
                                 *password ? "password" : NULL,
                                 NULL};
    const char *const values[] = {"10",         conninfo, "foleni", "UTF8",
                                  "read-write", password, NULL};
    PGconn *conn = PQconnectdbParams(words, values, 1);
    char line[PG_NOTE_SIZE];

    if (!conn || PQstatus(conn) != CONNECTION_OK) {
        pg_first_line(conn ? PQerrorMessage(conn) : "no memory", line,
                      sizeof(line));
        PQfinish(conn);
        return err_set_from(err, ERR_UNAVAILABLE, ERR_POSTGRES, 0,
                            "could not reach postgres: %s", line);
    }
    (void)PQsetNoticeReceiver(conn, no_notices, NULL); /* not to stderr */
    *ret = NEW(struct pg_session);
    (*ret)->conn = conn;
    return ERR_NONE;
}

void pg_session_close(struct pg_session *s)
{
    if (!s)
        return;
    PQfinish(s->conn);
    free(s);
}

static enum err_code judge(struct pg_session *s, const PGresult *r,
                           struct err *err)
{
    char line[PG_NOTE_SIZE];

    switch ((int)PQresultStatus(r)) {
    case PGRES_TUPLES_OK:
    case PGRES_COMMAND_OK:
    case PGRES_EMPTY_QUERY: return ERR_NONE;
    case PGRES_FATAL_ERROR:
        if (r)
            return pg_err_of_result(err, r);
        break;
    }
    pg_first_line(PQerrorMessage(s->conn), line, sizeof(line));
    return err_set_from(err, ERR_UNSURE, ERR_POSTGRES, 0,
                        "could not use postgres' answer: %s", line);
}

void pg_session_limit(struct pg_session *s, int ms)
{
    s->limit_ms = ms;
}

/* Whether the next result can be had without waiting. */
static bool wait_for(struct pg_session *s, int64_t end_us)
{
    struct pollfd fd = {.fd = PQsocket(s->conn), .events = POLLIN};

    while (PQisBusy(s->conn)) {
        int64_t left_us = end_us - clock_now_us();

        if (left_us <= 0)
            return false;
        if (poll(&fd, 1, (int)(left_us / US_PER_MS) + 1) > 0 &&
            !PQconsumeInput(s->conn))
            return true; /* libpq says why */
    }
    return true;
}

/* As PQexec() and PQexecParams(), within the limit; *late otherwise. */
static PGresult *exec_limited(struct pg_session *s, const char *sql,
                              const char *const *params, size_t params_n,
                              bool *late)
{
    int64_t end_us = clock_now_us() + s->limit_ms * US_PER_MS;
    PGresult *last = NULL, *r;
    int sent = params_n ? PQsendQueryParams(s->conn, sql, (int)params_n, NULL,
                                            params, NULL, NULL, 0)
                        : PQsendQuery(s->conn, sql);

    while (sent && !*late) {
        *late = !wait_for(s, end_us);
        r = *late ? NULL : PQgetResult(s->conn);
        if (!r)
            break;
        PQclear(last);
        last = r;
    }
    return last;
}

static PGresult *exec_blocking(struct pg_session *s, const char *sql,
                               const char *const *params, size_t params_n)
{
    if (!params_n)
        return PQexec(s->conn, sql);
    return PQexecParams(s->conn, sql, (int)params_n, NULL, params, NULL, NULL,
                        0);
}

enum err_code pg_session_exec(struct pg_session *s, const char *sql,
                              const char *const *params, size_t params_n,
                              struct pg_text_rows **ret, struct err *err)
{
    bool late = false;
    PGresult *r = s->limit_ms ? exec_limited(s, sql, params, params_n, &late)
                              : exec_blocking(s, sql, params, params_n);
    enum err_code code;

    if (late) {
        PQclear(r);
        return err_set(err, ERR_TIMEOUT, "postgres gave no answer within %d ms",
                       s->limit_ms);
    }
    code = judge(s, r, err);
    if (code || !ret) {
        PQclear(r);
        return code;
    }
    *ret = NEW(struct pg_text_rows);
    (*ret)->r = r;
    return ERR_NONE;
}

size_t pg_text_rows_n(const struct pg_text_rows *r)
{
    return (size_t)PQntuples(r->r);
}

const char *pg_text_value(const struct pg_text_rows *r, size_t row, size_t col)
{
    if (PQgetisnull(r->r, (int)row, (int)col))
        return NULL;
    return PQgetvalue(r->r, (int)row, (int)col);
}

void pg_text_rows_free(struct pg_text_rows *r)
{
    if (!r)
        return;
    PQclear(r->r);
    free(r);
}
