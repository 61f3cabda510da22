/*
 * Units of statements through one libpq connection in pipeline mode. A unit is
 * written when it is synced, results are taken when the socket is readable, and
 * a queue says whose they are: one result and one NULL per statement, one
 * PGRES_PIPELINE_SYNC per unit (libpq manual, "Pipeline Mode"). The socket is
 * always watched for reading, and for writing while something is left to flush,
 * since otherwise both ends could wait for each other for ever.
 *
 * Units that cannot be sent stand in the same queue and end in their turn, so
 * that ends come in order and never inside the call. Making the connection is
 * pg_connect.c's business.
 */
#include "common/pg.h"

#include <libpq-fe.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/metrics.h"
#include "common/must.h"
#include "common/pg_priv.h"

#define UNITS_FIRST 16
/* NULLs in a row that a healthy libpq gives: one after a statement, and one
   more where the next has not begun. */
#define NULLS_MAX 4

static void on_later(void *arg);

struct pg *pg_new(struct loop *loop, const struct pg_spec *spec)
{
    struct pg *pg = NEW(struct pg);

    must(spec->units_max > 0);
    pg->loop = loop;
    pg->spec = *spec;
    pg->conninfo = must_strdup(spec->conninfo);
    pg->password = must_strdup(spec->password);
    pg->application_name = must_strdup(spec->application_name);
    pg->latency_us = -1;
    timer_init(&pg->later, on_later, pg);
    pg_connect(pg);
    return pg;
}

static void clear_results(struct pg_result **results, size_t n)
{
    for (size_t i = 0; i < n; i++)
        PQclear(results[i]);
}

void pg_free(struct pg *pg)
{
    if (!pg)
        return;
    timer_cancel(pg->loop, &pg->later);
    timer_cancel(pg->loop, &pg->clock);
    if (pg->was_up)
        metric_add(M_PG_UP, (uint64_t)-1);
    clear_results(pg->results, MIN(pg->results_n, PG_STATEMENTS_MAX));
    pg_disconnect(pg);
    explicit_bzero(pg->password, strlen(pg->password));
    free(pg->conninfo);
    free(pg->password);
    free(pg->application_name);
    free(pg->params.data);
    free(pg->units);
    free(pg);
}

bool pg_up(const struct pg *pg, char *note, size_t size)
{
    bool up = pg->state == PG_READY && !pg->broken;

    if (note && size > 0)
        pg_first_line(up ? "" : *pg->why ? pg->why : "connecting", note, size);
    return up;
}

int64_t pg_latency_us(const struct pg *pg)
{
    return pg->latency_us;
}

size_t pg_units(const struct pg *pg)
{
    return pg->units_n;
}

/* --- the queue --- */

static struct pg_unit *oldest(struct pg *pg)
{
    return pg->units_n ? &pg->units[pg->units_head] : NULL;
}

static void grow_units(struct pg *pg)
{
    size_t cap = pg->units_cap ? 2 * pg->units_cap : UNITS_FIRST;
    struct pg_unit *units = must_alloc(cap, sizeof(*units));

    for (size_t i = 0; i < pg->units_n; i++)
        units[i] = pg->units[(pg->units_head + i) % pg->units_cap];
    free(pg->units);
    pg->units = units;
    pg->units_cap = cap;
    pg->units_head = 0;
}

static void push_unit(struct pg *pg, const struct pg_unit *unit)
{
    if (pg->units_n == pg->units_cap)
        grow_units(pg);
    pg->units[(pg->units_head + pg->units_n) % pg->units_cap] = *unit;
    pg->units_n++;
    if (unit->refused)
        timer_set(pg->loop, &pg->later, clock_now_us());
    else
        pg->sent_n++;
}

static struct pg_unit shift_unit(struct pg *pg)
{
    struct pg_unit unit = pg->units[pg->units_head];

    pg->units_head = (pg->units_head + 1) % pg->units_cap;
    pg->units_n--;
    if (!unit.refused)
        pg->sent_n--;
    return unit;
}

/* --- sending --- */

static void flush(struct pg *pg)
{
    int left = PQflush(pg->conn);

    if (left < 0)
        pg_break(pg, "could not send: %s", PQerrorMessage(pg->conn));
    else
        pg_watch(pg, LOOP_READ | (left ? LOOP_WRITE : 0));
}

static enum err_code refusal(const struct pg *pg)
{
    if (pg->state != PG_READY || pg->broken)
        return ERR_UNAVAILABLE;
    return pg->sent_n >= pg->spec.units_max ? ERR_LIMIT : ERR_NONE;
}

static bool send_statement(struct pg *pg, size_t statement,
                           const struct pg_params *params)
{
    struct pg_wire wire = {.n = 0};

    if (params)
        pg_params_wire(params, &wire);
    return PQsendQueryPrepared(pg->conn, pg->spec.statements[statement].name,
                               wire.n, wire.values, wire.lengths, wire.formats,
                               1);
}

void pg_send(struct pg *pg, size_t statement, const struct pg_params *params)
{
    must(statement < pg->spec.statements_n);
    must(pg->open.n < PG_STATEMENTS_MAX);
    if (pg->open.n == 0)
        pg->open.refused = refusal(pg);
    pg->open.n++;
    if (pg->open.refused)
        return;
    if (!send_statement(pg, statement, params))
        pg_break(pg, "could not send: %s", PQerrorMessage(pg->conn));
}

void pg_unit_sent(struct pg *pg, size_t n, pg_done_fn done, void *arg)
{
    struct pg_unit unit = {.done = done, .arg = arg, .n = n};

    unit.sent_us = clock_now_us();
    push_unit(pg, &unit);
    flush(pg);
}

void pg_sync(struct pg *pg, pg_done_fn done, void *arg)
{
    struct pg_unit unit = pg->open;

    must(unit.n > 0);
    pg->open = (struct pg_unit){0};
    if (unit.refused) { /* without its sync nothing of it is committed */
        unit.done = done;
        unit.arg = arg;
        push_unit(pg, &unit);
        return;
    }
    if (!PQpipelineSync(pg->conn))
        pg_break(pg, "could not send: %s", PQerrorMessage(pg->conn));
    pg_unit_sent(pg, unit.n, done, arg);
}

/* --- ends --- */

static void count_end(const struct err *err, int64_t us)
{
    metric_add(!err                      ? M_PG_UNITS
               : err->code == ERR_UNSURE ? M_PG_UNSURE
                                         : M_PG_FAILED,
               1);
    if (!err)
        metric_observe_us(M_PG_SECONDS, us);
}

static void end_refused(struct pg *pg, const struct pg_unit *unit)
{
    struct err err;

    if (unit->refused == ERR_LIMIT)
        err_set(&err, ERR_LIMIT, "%zu units are in flight already",
                pg->spec.units_max);
    else
        err_set(&err, ERR_UNAVAILABLE, "not connected to postgres: %s",
                *pg->why ? pg->why : "connecting");
    count_end(&err, 0);
    unit->done(unit->arg, NULL, 0, &err);
}

/* What went wrong with the oldest unit; false = nothing. */
static bool failure(const struct pg *pg, struct err *ret)
{
    if (pg->fail.code) {
        *ret = pg->fail;
        return true;
    }
    if (!pg->warned || pg->state != PG_READY)
        return false;
    err_set(ret, ERR_UNSURE, "postgres warned at commit");
    return true;
}

static void end_sent(struct pg *pg, const struct pg_unit *unit)
{
    struct pg_result *results[PG_STATEMENTS_MAX];
    size_t n = MIN(pg->results_n, PG_STATEMENTS_MAX);
    struct err err;
    bool failed = failure(pg, &err);

    memcpy(results, pg->results, sizeof(results));
    pg->results_n = 0;
    pg->fail = (struct err){0};
    pg->warned = false;
    pg->latency_us = clock_now_us() - unit->sent_us;
    count_end(failed ? &err : NULL, pg->latency_us);
    if (failed && pg_err_breaks(err.detail))
        pg_break(pg, "%s", err.text);
    unit->done(unit->arg, results, failed ? 0 : n, failed ? &err : NULL);
    clear_results(results, n);
}

static void end_unit(struct pg *pg)
{
    struct pg_unit unit = shift_unit(pg);

    if (unit.refused)
        end_refused(pg, &unit);
    else
        end_sent(pg, &unit);
}

void pg_units_lost(struct pg *pg)
{
    for (size_t n = pg->units_n; n > 0; n--) {
        if (!oldest(pg)->refused && !pg->fail.code)
            err_set_from(&pg->fail, ERR_UNSURE, ERR_POSTGRES, 0,
                         "connection to postgres was lost: %s", pg->why);
        end_unit(pg);
    }
}

/* --- results --- */

static void keep_result(struct pg *pg, struct pg_result *r)
{
    if (pg->results_n < PG_STATEMENTS_MAX)
        pg->results[pg->results_n] = r;
    else
        PQclear(r); /* only set-up is longer, and looks at the first alone */
    pg->results_n++;
}

static void keep_failure(struct pg *pg, struct pg_result *r)
{
    if (!pg->fail.code)
        (void)pg_err_of_result(&pg->fail, r); /* looked at when it ends */
    PQclear(r);
}

static void sync_point(struct pg *pg, struct pg_result *r)
{
    PQclear(r);
    if (!pg->fail.code && pg->results_n != oldest(pg)->n)
        pg_break(pg, "answers are out of step");
    else
        end_unit(pg);
}

/* Takes what libpq has next; it is not busy. */
static void take_result(struct pg *pg)
{
    struct pg_result *r = PQgetResult(pg->conn);

    if (!r) {
        if (++pg->nulls > NULLS_MAX)
            pg_break(pg, "answers are out of step");
        return;
    }
    pg->nulls = 0;
    switch ((int)PQresultStatus(r)) {
    case PGRES_TUPLES_OK:
    case PGRES_COMMAND_OK: keep_result(pg, r); break;
    case PGRES_PIPELINE_SYNC: sync_point(pg, r); break;
    case PGRES_PIPELINE_ABORTED: PQclear(r); break;
    case PGRES_FATAL_ERROR: keep_failure(pg, r); break;
    default: PQclear(r); pg_break(pg, "cannot use an answer of this kind");
    }
}

/* Ends what can be ended, of the units that are there now. */
static void drain(struct pg *pg)
{
    size_t units = pg->units_n, left = units;
    struct pg_unit *unit;

    while (!pg->broken && left > 0 && (unit = oldest(pg))) {
        size_t before = pg->units_n;

        if (unit->refused)
            end_unit(pg);
        else if (PQisBusy(pg->conn))
            return;
        else
            take_result(pg);
        left -= pg->units_n < before;
    }
    unit = oldest(pg);
    if (unit && unit->refused)
        timer_set(pg->loop, &pg->later, clock_now_us());
}

static void gone(struct pg *pg)
{
    (void)PQisBusy(pg->conn); /* reads the last words, if there are any */
    pg_break(pg, "%s",
             *pg->last_words ? pg->last_words : PQerrorMessage(pg->conn));
}

void pg_on_traffic(struct pg *pg, int ready)
{
    bool dead;

    if (pg->broken)
        return;
    /* What came before the end of the connection still counts. */
    dead = (ready & LOOP_READ) && !PQconsumeInput(pg->conn);
    drain(pg);
    if (pg->broken)
        return;
    if (dead || PQstatus(pg->conn) == CONNECTION_BAD)
        gone(pg);
    else
        flush(pg);
}

/* At COMMIT a WARNING says that the transaction is here but perhaps not on the
   standby (rule S1). Our statements give none themselves, so any counts. */
void pg_on_notice(void *arg, const struct pg_result *r)
{
    struct pg *pg = arg;
    const char *s = PQresultErrorField(r, PG_DIAG_SEVERITY_NONLOCALIZED);

    if (s && strcmp(s, "WARNING") == 0)
        pg->warned = true;
    else if (s && strcmp(s, "FATAL") == 0) /* an idle session was ended */
        pg_first_line(PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY),
                      pg->last_words, sizeof(pg->last_words));
}

static void on_later(void *arg)
{
    struct pg *pg = arg;

    if (pg->broken)
        pg_lost(pg);
    else
        drain(pg);
}
