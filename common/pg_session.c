/*
 * A plain connection that waits for each answer: for the command line and for
 * migrations, where there is nothing else to do meanwhile.
 */
#include <libpq-fe.h>
#include <stdlib.h>

#include "common/must.h"
#include "common/pg_priv.h"

struct pg_session {
    PGconn *conn;
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

enum err_code pg_session_exec(struct pg_session *s, const char *sql,
                              const char *const *params, size_t params_n,
                              struct pg_text_rows **ret, struct err *err)
{
    PGresult *r = params_n ? PQexecParams(s->conn, sql, (int)params_n, NULL,
                                          params, NULL, NULL, 0)
                           : PQexec(s->conn, sql);
    enum err_code code = judge(s, r, err);

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
