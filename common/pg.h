/*
 * Postgres over libpq in pipeline mode: one connection that makes itself anew,
 * prepared statements, binary values, arrays for batches.
 *
 * Work goes in units: pg_send() one or more statements, then pg_sync(). What
 * stands between two syncs is one transaction; its callback gets all results
 * or one error. Units are answered in order. A unit whose COMMIT warned (a
 * replication wait that was cancelled) has failed as ERR_UNSURE (rule S1).
 */
#ifndef FOLENI_COMMON_PG_H
#define FOLENI_COMMON_PG_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base.h"
#include "common/err.h"
#include "common/id.h"
#include "common/loop.h"

struct pg;
struct pg_result;

/** A statement, prepared on every new connection. */
struct pg_statement {
    const char *name;
    const char *sql;
};

struct pg_spec {
    const char *conninfo, *password; /* password "" = none              */
    const char *application_name;
    const struct pg_statement *statements; /* index = what pg_send takes */
    size_t statements_n;
    size_t units_max; /* units in flight; beyond it ERR_LIMIT           */
    /** A unit without its end for so long ends the connection; 0 = 30 s. */
    int64_t silence_max_us;
    /** Settings sent after connecting, each one statement; NULL-ended. */
    const char *const *session;
    /** Connected (true) or lost (false; units in flight ended before). */
    void (*on_state)(void *arg, bool up);
    void *arg;
};

/**
 * A `session` for statements that look rows up one by one, NULL-ended. Plans
 * are pinned to index look-ups: on a table without statistics the planner would
 * join by a sequential scan.
 */
extern const char *const pg_pinned_session[];

/**
 * Begins to connect, with keep-alives on both ends: a lost server or client is
 * noticed within some 15 s. A statement that waits for a lock gives up after
 * 5 s, unless `session` says otherwise. Texts are copied; `statements` and
 * `session` are borrowed for pg's life. Behind a connection pooler it never
 * comes up.
 */
struct pg *pg_new(struct loop *loop, const struct pg_spec *spec);

/** Not from a callback of @p pg. Units in flight get no end any more. */
void pg_free(struct pg *pg);
DEFINE_CLEANUP(pg_free, struct pg *)

/** Whether units can be sent now; @p note (may be NULL) says why not. */
bool pg_up(const struct pg *pg, char *note, size_t size);

/** Microseconds that the last unit took, -1 = none yet. */
int64_t pg_latency_us(const struct pg *pg);

/* --- parameters, built up in binary --- */

struct pg_params;

/** Cleared parameters, owned by @p pg, for the next pg_send(), which copies. */
struct pg_params *pg_params(struct pg *pg);

void pg_int2(struct pg_params *p, int16_t v);
void pg_int4(struct pg_params *p, int32_t v);
void pg_int8(struct pg_params *p, int64_t v);
void pg_bool(struct pg_params *p, bool v);
void pg_uuid(struct pg_params *p, const struct uuid *v);
void pg_text(struct pg_params *p, const char *v); /* NULL = null */
void pg_bytes(struct pg_params *p, const void *v, size_t len);
/** us since 1970; 0 = null */
void pg_time(struct pg_params *p, int64_t at);
void pg_null(struct pg_params *p);

enum pg_type {
    PG_BOOL,
    PG_INT2,
    PG_INT4,
    PG_INT8,
    PG_UUID,
    PG_TEXT,
    PG_BYTEA,
    PG_TIMESTAMPTZ
};

/**
 * Begins an array parameter of @p n elements; exactly @p n calls of the
 * functions above follow, all of @p type or pg_null().
 */
void pg_array(struct pg_params *p, enum pg_type type, size_t n);

/**
 * Drops all but the first @p n parameters, so that the next statement can share
 * them: pg_keep(p, n), what differs, pg_send().
 */
void pg_keep(struct pg_params *p, size_t n);

/* --- units --- */

/**
 * The end of a unit. @p err is NULL and @p results has one entry per
 * statement; or @p err says:
 *   ERR_UNAVAILABLE  not connected, or the server cannot now: nothing was done
 *   ERR_LIMIT        units_max are in flight: nothing was sent
 *   ERR_UNSURE       the connection died or COMMIT warned: done or not done
 *   ERR_CONFLICT     unique violation, deadlock, lock time-out: rolled back
 *   ERR_INPUT        a value was refused (SQLSTATE 22, 23): rolled back
 *   ERR_INTERNAL     anything else the server refused: rolled back
 * Results are borrowed for the call.
 */
typedef void (*pg_done_fn)(void *arg, struct pg_result *const *results,
                           size_t n, const struct err *err);

/** Adds a statement to the open unit (16 at most). @p params may be NULL. */
void pg_send(struct pg *pg, size_t statement, const struct pg_params *params);

/**
 * Ends the open unit and sends it. @p done runs exactly once, never inside this
 * call, also when nothing could be sent.
 */
void pg_sync(struct pg *pg, pg_done_fn done, void *arg);

/** Units without their end yet. */
size_t pg_units(const struct pg *pg);

/* --- results (binary) --- */

size_t pg_rows(const struct pg_result *r);
/** Rows changed by a statement without RETURNING. */
size_t pg_changed(const struct pg_result *r);
bool pg_is_null(const struct pg_result *r, size_t row, size_t col);
/** int2, int4 or int8; 0 for null. */
int64_t pg_get_int(const struct pg_result *r, size_t row, size_t col);
bool pg_get_bool(const struct pg_result *r, size_t row, size_t col);
struct uuid pg_get_uuid(const struct pg_result *r, size_t row, size_t col);
/** us since 1970; 0 for null */
int64_t pg_get_time(const struct pg_result *r, size_t row, size_t col);
/** text or bytea; "" for null; terminated */
const char *pg_get_text(const struct pg_result *r, size_t row, size_t col,
                        size_t *ret_len);

/* --- blocking, for the command line and migrations only --- */

struct pg_session;

/** Connects, waiting at most 10 s per host; the caller closes. */
MUST_CHECK enum err_code pg_session_open(const char *conninfo,
                                         const char *password,
                                         struct pg_session **ret,
                                         struct err *err);
void pg_session_close(struct pg_session *s);
DEFINE_CLEANUP(pg_session_close, struct pg_session *)

/**
 * From now on no answer is waited for longer than @p ms: pg_session_exec() then
 * gives ERR_TIMEOUT, and the session is of no further use.
 */
void pg_session_limit(struct pg_session *s, int ms);

/**
 * Runs @p sql (several statements are fine when @p params_n is 0).
 *
 * @param ret  NULL, or gets the last result; free with pg_text_rows_free().
 */
struct pg_text_rows; /* results as text */
MUST_CHECK enum err_code pg_session_exec(struct pg_session *s, const char *sql,
                                         const char *const *params,
                                         size_t params_n,
                                         struct pg_text_rows **ret,
                                         struct err *err);
size_t pg_text_rows_n(const struct pg_text_rows *r);
/** NULL for SQL null. */
const char *pg_text_value(const struct pg_text_rows *r, size_t row, size_t col);
void pg_text_rows_free(struct pg_text_rows *r);
DEFINE_CLEANUP(pg_text_rows_free, struct pg_text_rows *)

#endif
