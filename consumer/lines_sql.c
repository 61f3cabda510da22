/*
 * The statements of the lines. All of one look are one transaction, whose
 * answer may be lost: what it reserved lapses then, and what it told is told
 * again.
 *
 * Numbers of breakers' states stand as literals: 3 on trial.
 */
#include "consumer/lines_priv.h"

_Static_assert(BREAKER_TRIAL == 3, "numbers in the statements");

const char *const lines_session[] = {
    "SET jit = off",
    "SET lock_timeout = '1s'",
    "SET statement_timeout = '5s'",
    /* losing a second of it loses some times to push */
    "SET synchronous_commit = off",
    NULL,
};

#define US " * interval '1 us'"
#define IN_US(x) "(extract(epoch FROM " x ") * 1000000)::int8"

/* $1 shortcodes, 0 = skip it; $2 rates of the settings. */
static const char make_sql[] =
    "INSERT INTO lines (shortcode, allowed) "
    "SELECT * FROM unnest($1::int4[], $2::int8[]) AS s(n, rate) WHERE n > 0 "
    "ORDER BY 1 "
    "ON CONFLICT (shortcode) DO UPDATE SET allowed = excluded.allowed "
    "WHERE lines.allowed <> excluded.allowed";

/* $1 shortcodes; 0 has one for pushes alone. */
static const char make_breakers_sql[] =
    "INSERT INTO breakers (operation, shortcode) "
    "SELECT o, s FROM unnest($1::int4[]) AS s, generate_series(0, 2) AS o "
    "UNION SELECT 0, 0 ORDER BY 1, 2 ON CONFLICT DO NOTHING";

/* On the version ($3) that was seen. */
static const char move_sql[] =
    "UPDATE breakers SET version = version + 1, state = $4::int2, "
    "cause = $5::text, changed_at = now(), until = now() + $6::int8" US ", "
    "open_us = $7::int8, prober = $8::int8, permits = $9::int4, fine = 0 "
    "WHERE operation = $1::int2 AND shortcode = $2::int4 "
    "AND version = $3::int8";

/* Pushes of the trial $2 ended well. */
static const char fine_sql[] =
    "UPDATE breakers SET fine = fine + $3::int4 WHERE operation = 0 "
    "AND shortcode = $1::int4 AND version = $2::int8 AND state = 3";

static const char permit_sql[] =
    "UPDATE breakers SET permits = permits - 1 WHERE operation = 0 "
    "AND shortcode = $1::int4 AND version = $2::int8 AND state = 3 "
    "AND permits > 0 RETURNING 1";

/* Once per second fleet-wide. $2 what is left of the rate, $3 what comes back
   per second, as parts of it; $4 how long until it is forgotten; $5 this
   worker's own rate, from which a line without a limit begins (in thousandths):
   it stands still for a second, in which the others add theirs. */
static const char throttle_sql[] =
    "UPDATE lines l SET throttles = throttles + 1, lowered_at = now(), "
    "forget_at = now() + $4::int8" US ", "
    "lowered_to = CASE WHEN r.rate > 0 "
    "THEN greatest(r.rate * $2::int8 / 1000, 0.2) "
    "ELSE greatest($5::int8::float8 / 1000 * $2::int8 / 1000, 1) END, "
    "creep = CASE WHEN l.allowed > 0 THEN l.allowed * $3::int8 / 1000 "
    "WHEN r.rate > 0 THEN l.creep "
    "ELSE greatest($5::int8::float8 / 1000 * $3::int8 / 1000, 0.02) END, "
    "stopped_until = CASE WHEN r.rate > 0 THEN stopped_until "
    "ELSE greatest(stopped_until, now() + interval '1 s') END "
    "FROM (SELECT shortcode, line_rate(x) AS rate FROM lines x "
    "WHERE shortcode = $1::int4 FOR UPDATE) AS r "
    "WHERE l.shortcode = r.shortcode AND (l.lowered_at IS NULL "
    "OR l.lowered_at NOT BETWEEN now() - interval '1 s' AND now())";

/* Another worker saw the answer $2; this one's pushes are part of the rate. */
static const char learn_sql[] =
    "UPDATE lines SET lowered_to = lowered_to + "
    "$3::int8::float8 / 1000 * $4::int8 / 1000, "
    "creep = creep + $3::int8::float8 / 1000 * $5::int8 / 1000 "
    "WHERE shortcode = $1::int4 AND throttles = $2::int4";

/* Retry-After. */
static const char stop_sql[] =
    "UPDATE lines SET stopped_until = greatest(stopped_until, "
    "now() + $2::int8" US ") WHERE shortcode = $1::int4";

/* $1 shortcodes, $2 how many times each, $3 thousandths of its rate that may
   go, $4 how far ahead. What lies further ahead than anybody can have reserved
   is of a clock that went back: what was reserved then is over by then. */
static const char reserve_sql[] =
    "WITH w AS (SELECT l.shortcode, u.n, line_rate(l) * u.share / 1000 AS rate,"
    " CASE WHEN l.next_at > now() + $4::int8" US " + interval '2 min' "
    "THEN now() + $4::int8" US " ELSE greatest(l.next_at, now()) END AS base "
    "FROM unnest($1::int4[], $2::int4[], $3::int4[]) AS u(shortcode, n, share) "
    "JOIN lines l USING (shortcode) ORDER BY l.shortcode FOR UPDATE OF l), "
    "g AS (SELECT shortcode, base, least(1000000 / rate, 60000000) AS step_us, "
    "least(n, floor(extract(epoch FROM now() + $4::int8" US " - base)::float8 "
    "* rate)::int4 + 1) AS n FROM w "
    "WHERE rate > 0 AND base <= now() + $4::int8" US ") "
    "UPDATE lines l SET next_at = g.base + g.n * g.step_us" US " FROM g "
    "WHERE l.shortcode = g.shortcode RETURNING l.shortcode, g.n, " IN_US(
        "g.base - now()") ", (g.step_us * 1000)::int8";

static const char read_sql[] =
    "SELECT now(), l.shortcode, (line_rate(l) * 1000)::int8, "
    "l.throttles, " IN_US(
        "l.stopped_until - now()") ", "
                                   "l.lowered_at IS NOT NULL AND now() < "
                                   "l.forget_at "
                                   "AND (l.allowed = 0 OR line_rate(l) < "
                                   "l.allowed) "
                                   "FROM lines l WHERE l.shortcode = "
                                   "ANY($1::int4[])";

static const char read_breakers_sql[] =
    "SELECT operation, shortcode, version, state, "
    "cause, " IN_US("now() - changed_at") ", " IN_US(
        "until - now()") ", open_us, "
                         "coalesce(prober, 0), permits, "
                         "fine, "
                         "CASE WHEN forced_until <= "
                         "now() THEN 0 ELSE forced END "
                         "FROM breakers WHERE shortcode "
                         "= 0 OR shortcode = "
                         "ANY($1::int4[])";

static const char read_pools_sql[] =
    "SELECT priority FROM pools WHERE paused "
    "AND (paused_until IS NULL OR now() < paused_until)";

const struct pg_statement lines_statements[LINES_SQL_N] = {
    [LINES_SQL_MAKE] = {"lines_make", make_sql},
    [LINES_SQL_MAKE_BREAKERS] = {"lines_make_breakers", make_breakers_sql},
    [LINES_SQL_MOVE] = {"lines_move", move_sql},
    [LINES_SQL_FINE] = {"lines_fine", fine_sql},
    [LINES_SQL_PERMIT] = {"lines_permit", permit_sql},
    [LINES_SQL_THROTTLE] = {"lines_throttle", throttle_sql},
    [LINES_SQL_LEARN] = {"lines_learn", learn_sql},
    [LINES_SQL_STOP] = {"lines_stop", stop_sql},
    [LINES_SQL_RESERVE] = {"lines_reserve", reserve_sql},
    [LINES_SQL_READ] = {"lines_read", read_sql},
    [LINES_SQL_READ_BREAKERS] = {"lines_read_breakers", read_breakers_sql},
    [LINES_SQL_READ_POOLS] = {"lines_read_pools", read_pools_sql},
};
