/*
 * The life of a pg's connection: libpq's asynchronous connect on the loop, the
 * set-up in one round trip (settings, the check for a pooler, every prepared
 * statement), and another try after a loss, 100 ms to 2 s later.
 *
 * Dead peers are noticed by keep-alives and TCP_USER_TIMEOUT, a silent server
 * by a bound on the age of the oldest unit. Host names are looked up by libpq
 * in the calling thread: where that may be slow, give hostaddr.
 */
#include <libpq-fe.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/must.h"
#include "common/pg_priv.h"

#define BACKOFF_MIN_US (100 * US_PER_MS)
#define BACKOFF_MAX_US (2 * US_PER_S)
#define CONNECT_TIMEOUT_US (15 * US_PER_S) /* all hosts and the set-up */
#define SILENCE_MAX_US (30 * US_PER_S)
#define LOOKS_PER_SILENCE 5

const char *const pg_pinned_session[] = {
    "SET plan_cache_mode = force_generic_plan",
    "SET enable_hashjoin = off",
    "SET enable_mergejoin = off",
    "SET enable_seqscan = off",
    "SET enable_bitmapscan = off",
    "SET enable_material = off",
    "SET jit = off",
    "SET statement_timeout = '20s'",
    "SET client_connection_check_interval = '500ms'",
    NULL,
};

static void on_clock(void *arg);
static void on_socket(void *arg, int ready);

/* --- watching --- */

static void unwatch(struct pg *pg)
{
    loop_unwatch(pg->watch);
    pg->watch = NULL;
    pg->watching = 0;
}

void pg_watch(struct pg *pg, int what)
{
    if (!pg->watch)
        pg->watch =
            loop_watch(pg->loop, PQsocket(pg->conn), what, on_socket, pg);
    else if (what != pg->watching)
        loop_watch_change(pg->watch, what);
    pg->watching = what;
}

static void set_clock(struct pg *pg, int64_t in_us)
{
    timer_set(pg->loop, &pg->clock, clock_now_us() + in_us);
}

/* --- the end of a connection --- */

void pg_disconnect(struct pg *pg)
{
    unwatch(pg);
    PQfinish(pg->conn);
    pg->conn = NULL;
    pg->state = PG_DOWN;
}

void pg_break(struct pg *pg, const char *fmt, ...)
{
    char text[PG_NOTE_SIZE];
    va_list args;

    if (pg->broken)
        return;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args); /* cut is fine in a note */
    va_end(args);
    pg_first_line(*text ? text : "connection was closed", pg->why,
                  sizeof(pg->why));
    pg->broken = true;
    if (pg->open.n > 0)
        pg->open.refused = ERR_UNAVAILABLE;
    timer_set(pg->loop, &pg->later, clock_now_us());
}

static void say_away(struct pg *pg)
{
    if (strcmp(pg->why, pg->said) == 0)
        return; /* one line per cause, not one per try */
    pg_first_line(pg->why, pg->said, sizeof(pg->said));
    log_warn("pg", "away", KV("connection", pg->application_name),
             KV("why", pg->why),
             KV_INT("again_ms", pg->backoff_us / US_PER_MS));
}

void pg_lost(struct pg *pg)
{
    bool was_up = pg->was_up;

    pg_disconnect(pg);
    pg->broken = pg->was_up = false;
    say_away(pg);
    set_clock(pg, pg->backoff_us);
    pg->backoff_us = MIN(2 * pg->backoff_us, BACKOFF_MAX_US);
    pg_units_lost(pg);
    if (!was_up)
        return;
    metric_add(M_PG_UP, (uint64_t)-1);
    if (pg->spec.on_state)
        pg->spec.on_state(pg->spec.arg, false);
}

static void look_later(struct pg *pg)
{
    set_clock(pg, pg->spec.silence_max_us / LOOKS_PER_SILENCE);
}

/* --- set-up --- */

/*
 * A pooler that gives each transaction another session keeps no prepared
 * statements, settings or locks. Poolers answer the handshake themselves and so
 * with a process number of their own, not the one of the server's process.
 *
 * The settings are of every session: the server notices within seconds that
 * our host is lost, and no lock is waited for without end.
 */
static const char *const set_up_sql =
    "SELECT pg_backend_pid(), set_config('tcp_keepalives_idle', '5', false), "
    "set_config('tcp_keepalives_interval', '2', false), "
    "set_config('tcp_keepalives_count', '3', false), "
    "set_config('tcp_user_timeout', '5000', false), "
    "set_config('lock_timeout', '5s', false)";

static void set_up_done(void *arg, struct pg_result *const *results, size_t n,
                        const struct err *err)
{
    struct pg *pg = arg;

    if (pg->broken)
        return;
    if (err) {
        pg_break(pg, "could not set up the session: %s", err->text);
        return;
    }
    must(n > 0);
    if (pg_get_int(results[0], 0, 0) != PQbackendPID(pg->conn)) {
        pg_break(pg, "a connection pooler stands before postgres, and each "
                     "session has to keep its own process");
        return;
    }
    pg->state = PG_READY;
    pg->was_up = true;
    pg->backoff_us = BACKOFF_MIN_US;
    pg->why[0] = pg->said[0] = '\0';
    metric_add(M_PG_UP, 1);
    log_info("pg", "connected", KV("connection", pg->application_name),
             KV("host", PQhost(pg->conn)));
    look_later(pg);
    if (pg->spec.on_state)
        pg->spec.on_state(pg->spec.arg, true);
}

static bool send_plain(struct pg *pg, const char *sql)
{
    return PQsendQueryParams(pg->conn, sql, 0, NULL, NULL, NULL, NULL, 1);
}

/* Sends all of it at once; @p ret_n gets how many statements that are. */
static bool send_set_up(struct pg *pg, size_t *ret_n)
{
    const char *const *setting = pg->spec.session;
    size_t n = 1;

    if (!send_plain(pg, set_up_sql))
        return false;
    for (; setting && *setting; setting++, n++)
        if (!send_plain(pg, *setting))
            return false;
    for (size_t i = 0; i < pg->spec.statements_n; i++, n++)
        if (!PQsendPrepare(pg->conn, pg->spec.statements[i].name,
                           pg->spec.statements[i].sql, 0, NULL))
            return false;
    *ret_n = n;
    return PQpipelineSync(pg->conn);
}

static void set_up(struct pg *pg)
{
    size_t n;

    pg->state = PG_SETTING_UP;
    pg->nulls = 0;
    pg->last_words[0] = '\0';
    PQsetNoticeReceiver(pg->conn, pg_on_notice, pg);
    if (PQsetnonblocking(pg->conn, 1) || !PQenterPipelineMode(pg->conn) ||
        !send_set_up(pg, &n))
        pg_break(pg, "could not set up the session: %s",
                 PQerrorMessage(pg->conn));
    else
        pg_unit_sent(pg, n, set_up_done, pg);
}

/* --- connecting --- */

static void start(struct pg *pg)
{
    /* Later words win over those before; the operator may set the first
       group, not the last. */
    const char *const words[] = {"keepalives_idle",
                                 "keepalives_interval",
                                 "keepalives_count",
                                 "tcp_user_timeout",
                                 "dbname",
                                 "application_name",
                                 "client_encoding",
                                 "target_session_attrs",
                                 *pg->password ? "password" : NULL,
                                 NULL};
    const char *const values[] = {"5",    "2",          "3",
                                  "5000", pg->conninfo, pg->application_name,
                                  "UTF8", "read-write", pg->password,
                                  NULL};

    must(ARRAY_LEN(words) == ARRAY_LEN(values));
    pg->state = PG_CONNECTING;
    set_clock(pg, CONNECT_TIMEOUT_US);
    pg->conn = PQconnectStartParams(words, values, 1);
    if (!pg->conn || PQstatus(pg->conn) == CONNECTION_BAD)
        pg_break(pg, "%s", pg->conn ? PQerrorMessage(pg->conn) : "no memory");
    else
        pg_watch(pg, LOOP_WRITE);
}

/* libpq may go on to another host, with a new socket of the same number: so the
   old one is forgotten before each step and the new one asked for after it. */
static void step(struct pg *pg)
{
    unwatch(pg);
    switch (PQconnectPoll(pg->conn)) {
    case PGRES_POLLING_READING: pg_watch(pg, LOOP_READ); break;
    case PGRES_POLLING_WRITING: pg_watch(pg, LOOP_WRITE); break;
    case PGRES_POLLING_OK: set_up(pg); break;
    case PGRES_POLLING_FAILED:
    case PGRES_POLLING_ACTIVE:
    default: pg_break(pg, "%s", PQerrorMessage(pg->conn));
    }
}

static void on_socket(void *arg, int ready)
{
    struct pg *pg = arg;

    if (pg->broken)
        return;
    if (pg->state == PG_CONNECTING)
        step(pg);
    else
        pg_on_traffic(pg, ready);
}

static void look_at_age(struct pg *pg)
{
    const struct pg_unit *unit = &pg->units[pg->units_head];
    int64_t most_us = pg->spec.silence_max_us;

    if (pg->units_n > 0 && !unit->refused &&
        clock_now_us() - unit->sent_us > most_us)
        pg_break(pg, "no answer for %d ms", (int)(most_us / US_PER_MS));
    else
        look_later(pg);
}

static void on_clock(void *arg)
{
    struct pg *pg = arg;

    if (pg->broken)
        return;
    switch (pg->state) {
    case PG_DOWN:
        metric_add(M_PG_RECONNECTS, 1);
        start(pg);
        break;
    case PG_CONNECTING:
    case PG_SETTING_UP:
        pg_break(pg, "no connection within %d s",
                 (int)(CONNECT_TIMEOUT_US / US_PER_S));
        break;
    case PG_READY: look_at_age(pg); break;
    }
}

void pg_connect(struct pg *pg)
{
    pg->backoff_us = BACKOFF_MIN_US;
    if (!pg->spec.silence_max_us)
        pg->spec.silence_max_us = SILENCE_MAX_US;
    timer_init(&pg->clock, on_clock, pg);
    start(pg);
}
