/*
 * One statement makes an anchor. Its snapshot's xmin is the first transaction
 * that had not ended: all before it are visible or will never be, so the range
 * [end of the last anchor, xmin) is complete for good. Long transactions hold
 * xmin back and the anchor covers less, never wrongly.
 *
 * The lock is asked for by a statement of its own, so that the next one's
 * snapshot is younger than it and sees the last holder's anchor. Should two
 * meet all the same, the number is taken and the second rolls back.
 */
#include "consumer/anchor.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/must.h"
#include "common/pg.h"
#include "common/trail.h"

#include <stdlib.h>

enum { Q_LOCK, Q_ANCHOR, Q_AGE };

#define LOOKS_PER_ANCHOR 4
/* Rows of the timeline in one anchor, some 100 bytes of memory of Postgres
   each. What is more comes with the next look. */
#define ROWS_MAX "250000"
/* "foleni" in ASCII, and two. */
#define LOCK "pg_try_advisory_xact_lock(112628745989739)"

static const char *const session[] = {
    "SET enable_seqscan = off",
    "SET jit = off",
    "SET statement_timeout = '20s'",
    "SET work_mem = '32MB'",
    NULL,
};

#define ANCHOR_HASH                                                           \
    TRAIL_ANCHOR("a.prev", "a.number", "a.at", "a.from_tx", "a.to_tx", "t.n", \
                 "t.hash", "o.n", "o.hash")
#define TIMELINE TRAIL_TIMELINE("a.from_tx", "a.to_tx")
#define ACTIONS TRAIL_ACTIONS("a.from_tx", "a.to_tx")

/* $1 how old the last one must be in us. */
static const char anchor_sql[] =
    "WITH last AS (SELECT number, at, to_tx, timeline_n, hash FROM anchors "
    "ORDER BY number DESC LIMIT 1), "
    "here AS (SELECT coalesce(l.number, 0) + 1 AS number, "
    "clock_timestamp() AS at, coalesce(l.to_tx, 1) AS from_tx, "
    "pg_snapshot_xmin(pg_current_snapshot())::text::int8 AS xmin, "
    "coalesce(l.hash, '') AS prev FROM (SELECT " LOCK " AS mine) AS k "
    "LEFT JOIN last l ON true WHERE k.mine AND (l.at IS NULL OR l.at <= "
    "clock_timestamp() - $1::int8 * interval '1 us' "
    "OR l.timeline_n >= " ROWS_MAX ")), "
    "a AS (SELECT h.*, least(h.xmin, (SELECT t.tx + 1 FROM timeline t "
    "WHERE t.tx >= h.from_tx AND t.tx < h.xmin ORDER BY t.tx "
    "OFFSET " ROWS_MAX " - 1 LIMIT 1)) AS to_tx FROM here h) "
    "INSERT INTO anchors (number, at, from_tx, to_tx, timeline_n, "
    "timeline_hash, actions_n, actions_hash, hash) "
    "SELECT a.number, a.at, a.from_tx, a.to_tx, t.n, t.hash, o.n, "
    "o.hash, " ANCHOR_HASH " FROM a CROSS JOIN LATERAL " TIMELINE
    " AS t CROSS JOIN LATERAL " ACTIONS " AS o RETURNING number";

static const struct pg_statement statements[] = {
    [Q_LOCK] = {"anchor_lock", "SELECT " LOCK},
    [Q_ANCHOR] = {"anchor", anchor_sql},
    [Q_AGE] = {"anchor_age",
               "SELECT extract(epoch FROM clock_timestamp() - at)::int8 "
               "FROM anchors ORDER BY number DESC LIMIT 1"},
};

struct anchor {
    struct loop *loop;
    const struct config *cfg;
    struct pg *pg;
    struct loop_timer look;
    bool looking;
};

static void looked(void *arg, struct pg_result *const *results, size_t n,
                   const struct err *err)
{
    struct anchor *a = arg;

    a->looking = false;
    if (err) {
        if (err->code == ERR_CONFLICT) /* another worker's stands there */
            return;
        metric_add(M_ANCHORS_FAILED, 1);
        log_warn("anchor", "not_anchored", KV_ERR(err));
        return;
    }
    must(n == ARRAY_LEN(statements));
    metric_add(M_ANCHORS_WRITTEN, pg_rows(results[Q_ANCHOR]));
    if (pg_rows(results[Q_AGE]))
        metric_set(M_ANCHOR_AGE, pg_get_int(results[Q_AGE], 0, 0));
}

static void look(void *arg)
{
    struct anchor *a = arg;
    int64_t every_us = a->cfg->worker_anchor_ms * US_PER_MS;
    struct pg_params *p;

    timer_set(a->loop, &a->look, clock_now_us() + every_us / LOOKS_PER_ANCHOR);
    if (a->looking || !pg_up(a->pg, NULL, 0))
        return;
    a->looking = true;
    pg_send(a->pg, Q_LOCK, NULL);
    p = pg_params(a->pg);
    pg_int8(p, every_us);
    pg_send(a->pg, Q_ANCHOR, p);
    pg_send(a->pg, Q_AGE, NULL);
    pg_sync(a->pg, looked, a);
}

struct anchor *anchor_new(struct loop *loop, const struct config *cfg)
{
    struct anchor *a = NEW(struct anchor);
    struct pg_spec spec = {
        .conninfo = cfg->database_conninfo,
        .password = cfg->database_password,
        .application_name = "foleni-anchor",
        .statements = statements,
        .statements_n = ARRAY_LEN(statements),
        .units_max = 1,
        .session = session,
        .arg = a,
    };

    a->loop = loop;
    a->cfg = cfg;
    a->pg = pg_new(loop, &spec);
    timer_init(&a->look, look, a);
    timer_set(loop, &a->look, clock_now_us());
    return a;
}

void anchor_free(struct anchor *a)
{
    if (!a)
        return;
    timer_cancel(a->loop, &a->look);
    pg_free(a->pg);
    free(a);
}
