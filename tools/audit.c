/*
 * Pieces go by key: payments by id, anchors by number. A statement per piece
 * judges its rows on the server and gives back counts and the first break.
 */
#include "tools/audit.h"

#include "common/must.h"
#include "common/trail.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* In one piece: payments, rows of the timeline, anchors. */
#define PAYMENTS_MAX "20000"
#define ROWS_MAX "100000"
#define ANCHORS_MAX "60"

#define LEAST_ID "00000000-0000-0000-0000-000000000000"
#define LAST_ID "ffffffff-ffff-ffff-ffff-ffffffffffff"

static const char SQL_SESSION[] =
    "SET enable_seqscan = off; SET jit = off; SET work_mem = '64MB';"
    "SET statement_timeout = 0; SET client_min_messages = error";

static const char SQL_TIMES[] = "SELECT $1::timestamptz, $2::timestamptz";

/* --- payments --- */

/* Where the piece behind $1 ends. A payment is never cut. */
static const char SQL_PIECE[] =
    "SELECT least((SELECT id FROM payments WHERE id > $1::uuid ORDER BY id "
    "OFFSET " PAYMENTS_MAX " LIMIT 1), (SELECT payment FROM timeline WHERE "
    "payment > $1::uuid ORDER BY payment, version OFFSET " ROWS_MAX
    " LIMIT 1))";

/* What a payment and the last row of its trail disagree in. */
#define DIFFERS(name)                                                    \
    "WHEN t." name " IS DISTINCT FROM p." name                           \
    " THEN format('the payment says " name " %s, its trail %s', p." name \
    ", t." name ") "
#define DIFFERENCES    \
    DIFFERS("state")   \
    DIFFERS("waits")   \
    DIFFERS("attempt") \
    DIFFERS("evidence") DIFFERS("code") DIFFERS("text") DIFFERS("receipt")

#define ROW_HASH(prev)                                                       \
    TRAIL_HASH(prev, "t.payment", "t.version", "t.at", "t.state", "t.waits", \
               "t.attempt", "t.cause", "t.code", "t.text", "t.evidence",     \
               "t.receipt", "t.worker")
/* What Postgres had forgotten is entered with versions that go on further (see
   common/recovered.h), with or without rows before it. */
#define RECOVERED "(t.cause = 16)"
#define STEP_OF "CASE WHEN " RECOVERED " THEN 1000 ELSE 1 END"
#define IS_FIRST \
    "(t.version = 1 OR " RECOVERED " AND t.prior IS NULL AND p.hash <> '')"
#define FIRST_HASH ROW_HASH(TRAIL_SEED("p"))
#define NEXT_HASH ROW_HASH("coalesce(t.prev, '')")

/* $1 and $2 the piece, $3 and $4 the times: payments that changed then. */
#define PAYMENTS                                                           \
    "WITH t AS (SELECT t.*, lag(hash) OVER w AS prev, "                    \
    "lag(version) OVER w AS prior, lead(version) OVER w IS NULL AS last, " \
    "bool_or(at >= $3::timestamptz AND at < $4::timestamptz) "             \
    "OVER (PARTITION BY payment) AS wanted FROM timeline t "               \
    "WHERE payment > $1::uuid AND payment <= $2::uuid "                    \
    "WINDOW w AS (PARTITION BY payment ORDER BY version)), "               \
    "p AS (SELECT * FROM payments WHERE id > $1::uuid AND id <= $2::uuid) "

/* A payment from before the trail has rows without a hash first, or none; to
   the next version the hash of the one before is empty. */
#define BROKEN_ROW                                                           \
    "WHEN t.payment IS NULL AND p.hash = '' THEN NULL "                      \
    "WHEN t.payment IS NULL THEN 'the payment has no rows in the timeline' " \
    "WHEN p.id IS NULL THEN "                                                \
    "'the payment is missing, its rows in the timeline are there' "          \
    "WHEN t.hash = '' AND t.prev <> '' THEN 'the row has no hash' "          \
    "WHEN t.version <> coalesce(t.prior, 0) + " STEP_OF                      \
    " AND NOT (t.prior IS NULL "                                             \
    "AND (t.hash = '' OR t.hash = " NEXT_HASH ")) "                          \
    "THEN format('version %s is missing before it', t.version - 1) "         \
    "WHEN t.hash <> '' AND " IS_FIRST " AND t.hash <> " FIRST_HASH           \
    " THEN 'the row, or what was asked for, is not what was written' "       \
    "WHEN t.hash <> '' AND NOT " IS_FIRST " AND t.hash <> " NEXT_HASH        \
    " THEN 'the row, or the hash of the version before, is not what was "    \
    "written' "

#define BROKEN_END                                                        \
    "WHEN NOT t.last THEN NULL "                                          \
    "WHEN t.version <> p.version THEN format("                            \
    "'the payment is at version %s, its trail ends here', p.version) "    \
    "WHEN t.hash <> p.hash THEN 'the payment holds another hash' "        \
    "WHEN t.hash = '' THEN NULL " DIFFERENCES                             \
    "WHEN t.at <> p.updated_at THEN format('the payment says updated_at " \
    "%s, its trail %s', p.updated_at, t.at) "

static const char SQL_PAYMENTS[] = PAYMENTS
    ", j AS (SELECT coalesce(t.payment, p.id) AS payment, "
    "coalesce(t.version, p.version) AS version, t.payment IS NOT NULL AS row, "
    "coalesce(t.last, true) AS last, coalesce(t.hash, '') = '' AS old, "
    "CASE " BROKEN_ROW BROKEN_END "END AS what "
    "FROM t FULL JOIN p ON p.id = t.payment "
    "WHERE coalesce(t.wanted, p.created_at >= $3::timestamptz "
    "AND p.created_at < $4::timestamptz)) "
    "SELECT c.*, b.payment, b.version, b.what FROM (SELECT "
    "count(*) FILTER (WHERE last), count(*) FILTER (WHERE row), "
    "count(*) FILTER (WHERE row AND old) FROM j) AS c LEFT JOIN "
    "(SELECT payment, version, what FROM j WHERE what IS NOT NULL "
    "ORDER BY payment, version LIMIT 1) AS b ON true";

/* --- actions --- */

#define ACTION_HASH TRAIL_ACTION_HASH("j")

static const char SQL_ACTIONS[] =
    "WITH j AS (SELECT o.*, lag(id, 1, 0::bigint) OVER w AS prior, "
    "lag(hash, 1, '') OVER w AS was FROM operator_actions o "
    "WINDOW w AS (ORDER BY id)), "
    "k AS (SELECT id, CASE WHEN id <> prior + 1 "
    "THEN format('action %s is missing before it', id - 1) "
    "WHEN prev_hash <> was THEN 'the hash of the action before is another' "
    "WHEN hash <> " ACTION_HASH " THEN 'it is not what was written' "
    "END AS what FROM j "
    "WHERE at >= $1::timestamptz AND at < $2::timestamptz) "
    "SELECT count(*), min(id) FILTER (WHERE what IS NOT NULL), "
    "(array_agg(what ORDER BY id) FILTER (WHERE what IS NOT NULL))[1] FROM k";

/* --- purges --- */

/* The action of a purge names its last row. What it names is text here: an
   action of that name may say anything. */
static const char SQL_PURGES[] =
    "WITH j AS (SELECT p.*, lag(number, 1, 0::bigint) OVER w AS prior, "
    "lag(hash, 1, '') OVER w AS was, lead(number) OVER w IS NULL AS last "
    "FROM purges p WINDOW w AS (ORDER BY number)), "
    "n AS (SELECT id, at, coalesce(after->>'purge', 'none') AS purge, "
    "after->>'hash' AS hash FROM operator_actions WHERE action = 'purge'), "
    "k AS (SELECT coalesce(j.number::text, n.purge) AS number, "
    "CASE WHEN j.number IS NULL "
    "THEN format('it is missing, action %s names it', n.id) "
    "WHEN j.number <> j.prior + 1 "
    "THEN format('purge %s is missing before it', j.number - 1) "
    "WHEN j.prev_hash <> j.was THEN 'the hash of the purge before is another' "
    "WHEN j.hash <> " TRAIL_PURGE_HASH(
        "j") " THEN 'it is not what was written' "
             "WHEN n.id IS NULL AND j.last THEN 'no action of an operator "
             "names it' "
             "WHEN n.hash IS DISTINCT FROM encode(j.hash, 'hex') "
             "AND n.id IS NOT NULL "
             "THEN format('action %s names another hash', n.id) "
             "END AS what FROM j FULL JOIN n ON n.purge = j.number::text "
             "WHERE coalesce(j.at, n.at) >= $1::timestamptz "
             "AND coalesce(j.at, n.at) < $2::timestamptz) "
             "SELECT count(*), min(number) FILTER (WHERE what IS NOT NULL), "
             "(array_agg(what ORDER BY number) FILTER "
             "(WHERE what IS NOT NULL))[1] FROM k";

/* --- anchors --- */

#define ANCHOR_HASH                                                   \
    TRAIL_ANCHOR("a.was", "a.number", "a.at", "a.from_tx", "a.to_tx", \
                 "a.timeline_n", "a.timeline_hash", "a.actions_n",    \
                 "a.actions_hash")
#define TIMELINE TRAIL_TIMELINE("a.from_tx", "a.to_tx")
#define ACTIONS TRAIL_ACTIONS("a.from_tx", "a.to_tx")

#define BROKEN_ANCHOR                                               \
    "WHEN a.number <> a.prior + 1 "                                 \
    "THEN format('anchor %s is missing before it', a.number - 1) "  \
    "WHEN a.from_tx <> a.ended OR a.hash <> " ANCHOR_HASH           \
    " THEN 'the anchor is not what was written' "                   \
    "WHEN t.n <> a.left_n THEN format('it covers %s rows of the "   \
    "timeline, %s are there', a.left_n, t.n) "                      \
    "WHEN t.hash <> a.left_hash "                                   \
    "THEN 'rows of the timeline that it covers were exchanged' "    \
    "WHEN o.n <> a.actions_n THEN format('it covers %s actions of " \
    "operators, %s are there', a.actions_n, o.n) "                  \
    "WHEN o.hash <> a.actions_hash "                                \
    "THEN 'actions of operators that it covers were exchanged' "

/* What the last purge has left of an anchor's rows. */
#define LEFT                                                                 \
    "LEFT JOIN LATERAL (SELECT p.timeline_n, p.timeline_hash FROM purges p " \
    "WHERE p.anchor = a.number ORDER BY p.number DESC LIMIT 1) AS u ON true "

/* $1 the last one of the piece before, $2 and $3 the times. */
static const char SQL_ANCHORS[] =
    "WITH a AS (SELECT a.*, lag(number, 1, 0::bigint) OVER w AS prior, "
    "lag(hash, 1, '') OVER w AS was, lag(to_tx, 1, 1::bigint) OVER w AS ended, "
    "coalesce(u.timeline_n, a.timeline_n) AS left_n, "
    "coalesce(u.timeline_hash, a.timeline_hash) AS left_hash "
    "FROM (SELECT * FROM anchors WHERE number >= $1::bigint ORDER BY number "
    "LIMIT " ANCHORS_MAX " + 1) AS a " LEFT "WINDOW w AS (ORDER BY number)), "
    "j AS (SELECT a.number, a.at, a.left_n + a.actions_n AS rows, "
    "CASE " BROKEN_ANCHOR "END AS what FROM a "
    "CROSS JOIN LATERAL " TIMELINE " AS t "
    "CROSS JOIN LATERAL " ACTIONS " AS o WHERE a.number > $1::bigint "
    "AND a.at >= $2::timestamptz AND a.at < $3::timestamptz) "
    "SELECT (SELECT max(number) FROM a WHERE number > $1::bigint), c.*, "
    "b.number, b.what, b.at FROM (SELECT count(*), "
    "coalesce(sum(rows), 0)::bigint FROM j) AS c LEFT JOIN "
    "(SELECT number, what, at FROM j WHERE what IS NOT NULL "
    "ORDER BY number LIMIT 1) AS b ON true";

/* Rows that no anchor covers yet, and how old the newest one is. */
static const char SQL_REST[] =
    "SELECT (SELECT count(*) FROM timeline WHERE tx >= l.to_tx) + "
    "(SELECT count(*) FROM operator_actions WHERE tx >= l.to_tx), "
    "coalesce(extract(epoch FROM clock_timestamp() - l.at)::bigint, -1), "
    "coalesce(l.number, 0) FROM (SELECT coalesce(max(to_tx), 1) AS to_tx, "
    "max(at) AS at, max(number) AS number FROM anchors) AS l";

struct audit {
    struct pg_session *s;
    const struct audit_spec *spec;
    const char *from, *to;
    struct audit_result *result; /* of the part at hand */
    enum audit_part part;
};

const char *audit_part_name(enum audit_part part)
{
    static const char *const names[] = {
        [AUDIT_PAYMENTS] = "payments",
        [AUDIT_ACTIONS] = "actions",
        [AUDIT_PURGES] = "purges",
        [AUDIT_ANCHORS] = "anchors",
    };

    return names[part];
}

static int64_t number(const struct pg_text_rows *rows, size_t col)
{
    const char *text = pg_text_value(rows, 0, col);

    return text ? strtoll(text, NULL, 10) : 0;
}

static void progress(const struct audit *a, int percent)
{
    if (a->spec->progress)
        a->spec->progress(a->spec->arg, a->part, percent, a->result->rows);
}

static void found(struct audit *a, const char *what)
{
    a->result->broken = true;
    (void)snprintf(a->result->what, sizeof(a->result->what), "%s", what);
}

/* Ids are hashes: how far the first byte is tells how much is done. */
static int percent_of(const char *id)
{
    char byte[3] = {id[0], id[1], '\0'};

    return (int)(strtol(byte, NULL, 16) * 100 / 256);
}

static enum err_code payments_piece(struct audit *a, const char *after,
                                    const char *to, struct err *err)
{
    CLEANUP(pg_text_rows_free)
    struct pg_text_rows *rows = NULL;
    const char *const params[] = {after, to, a->from, a->to};
    const char *id;

    if (pg_session_exec(a->s, SQL_PAYMENTS, params, ARRAY_LEN(params), &rows,
                        err))
        return err->code;
    a->result->n += number(rows, 0);
    a->result->rows += number(rows, 1);
    a->result->before += number(rows, 2);
    id = pg_text_value(rows, 0, 3);
    if (id) {
        (void)snprintf(a->result->where, sizeof(a->result->where),
                       "payment %s, version %" PRId64, id, number(rows, 4));
        found(a, pg_text_value(rows, 0, 5));
    }
    progress(a, percent_of(to));
    return ERR_NONE;
}

static enum err_code check_payments(struct audit *a, struct err *err)
{
    char after[] = LEAST_ID, to[] = LAST_ID;

    while (strcmp(after, LAST_ID) != 0 && !a->result->broken) {
        CLEANUP(pg_text_rows_free)
        struct pg_text_rows *rows = NULL;
        const char *const params[] = {after};
        const char *id;

        if (pg_session_exec(a->s, SQL_PIECE, params, 1, &rows, err))
            return err->code;
        id = pg_text_value(rows, 0, 0);
        (void)snprintf(to, sizeof(to), "%s", id ? id : LAST_ID);
        if (payments_piece(a, after, to, err))
            return err->code;
        memcpy(after, to, sizeof(after));
    }
    return ERR_NONE;
}

static enum err_code check_actions(struct audit *a, struct err *err)
{
    CLEANUP(pg_text_rows_free)
    struct pg_text_rows *rows = NULL;
    const char *const params[] = {a->from, a->to};

    if (pg_session_exec(a->s, SQL_ACTIONS, params, ARRAY_LEN(params), &rows,
                        err))
        return err->code;
    a->result->n = number(rows, 0);
    if (!pg_text_value(rows, 0, 1))
        return ERR_NONE;
    (void)snprintf(a->result->where, sizeof(a->result->where),
                   "action %" PRId64, number(rows, 1));
    found(a, pg_text_value(rows, 0, 2));
    return ERR_NONE;
}

static enum err_code check_purges(struct audit *a, struct err *err)
{
    CLEANUP(pg_text_rows_free)
    struct pg_text_rows *rows = NULL;
    const char *const params[] = {a->from, a->to};

    if (pg_session_exec(a->s, SQL_PURGES, params, ARRAY_LEN(params), &rows,
                        err))
        return err->code;
    a->result->n = number(rows, 0);
    if (!pg_text_value(rows, 0, 1))
        return ERR_NONE;
    (void)snprintf(a->result->where, sizeof(a->result->where), "purge %s",
                   pg_text_value(rows, 0, 1));
    found(a, pg_text_value(rows, 0, 2));
    return ERR_NONE;
}

/* Moves @p last on to the end of the piece, 0 = that was the last piece. */
static enum err_code anchors_piece(struct audit *a, int64_t *last,
                                   struct err *err)
{
    CLEANUP(pg_text_rows_free)
    struct pg_text_rows *rows = NULL;
    char after[24];
    const char *const params[] = {after, a->from, a->to};

    (void)snprintf(after, sizeof(after), "%" PRId64, *last);
    if (pg_session_exec(a->s, SQL_ANCHORS, params, ARRAY_LEN(params), &rows,
                        err))
        return err->code;
    *last = number(rows, 0);
    a->result->n += number(rows, 1);
    a->result->rows += number(rows, 2);
    if (!pg_text_value(rows, 0, 3))
        return ERR_NONE;
    (void)snprintf(a->result->where, sizeof(a->result->where),
                   "anchor %" PRId64 " of %s", number(rows, 3),
                   pg_text_value(rows, 0, 5));
    found(a, pg_text_value(rows, 0, 4));
    return ERR_NONE;
}

static enum err_code check_anchors(struct audit *a, struct err *err)
{
    CLEANUP(pg_text_rows_free)
    struct pg_text_rows *rest = NULL;
    int64_t last = 0, newest;

    if (pg_session_exec(a->s, SQL_REST, NULL, 0, &rest, err))
        return err->code;
    a->result->after = number(rest, 0);
    a->result->age_s = number(rest, 1);
    newest = number(rest, 2);
    do {
        if (anchors_piece(a, &last, err))
            return err->code;
        progress(a, newest ? (int)(MIN(last, newest) * 100 / newest) : 100);
    } while (last && !a->result->broken);
    return ERR_NONE;
}

/* Times that Postgres cannot read are the caller's mistake. */
static enum err_code check_times(const struct audit *a, struct err *err)
{
    const char *const params[] = {a->from, a->to};
    struct err why;

    if (pg_session_exec(a->s, SQL_SESSION, NULL, 0, NULL, err))
        return err->code;
    if (!pg_session_exec(a->s, SQL_TIMES, params, ARRAY_LEN(params), NULL,
                         &why))
        return ERR_NONE;
    return err_set(err, why.code == ERR_INPUT ? ERR_USAGE : why.code,
                   "--from or --to is no time: %s", why.text);
}

enum err_code audit_verify(struct pg_session *s, const struct audit_spec *spec,
                           struct audit_result ret[AUDIT_PARTS_N],
                           struct err *err)
{
    static enum err_code (*const checks[])(struct audit *, struct err *) = {
        [AUDIT_PAYMENTS] = check_payments,
        [AUDIT_ACTIONS] = check_actions,
        [AUDIT_PURGES] = check_purges,
        [AUDIT_ANCHORS] = check_anchors,
    };
    struct audit a = {.s = s,
                      .spec = spec,
                      .from = spec->from ? spec->from : "-infinity",
                      .to = spec->to ? spec->to : "infinity"};

    if (check_times(&a, err))
        return err->code;
    for (int i = 0; i < AUDIT_PARTS_N; i++) {
        a.part = (enum audit_part)i;
        a.result = &ret[i];
        ret[i] = (struct audit_result){.age_s = -1};
        if (checks[i](&a, err))
            return err_wrap(err, "could not check the %s",
                            audit_part_name(a.part));
    }
    return ERR_NONE;
}
