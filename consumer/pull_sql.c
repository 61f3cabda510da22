/*
 * The statements of Pull. A pass is fenced by its lease's number: what it
 * writes after it lost the lease changes nothing.
 *
 * Evidence and states stand as literals: 4 unknown, 5 unresolved; 4 pull, 5
 * c2b; disposition 1 applied.
 */
#include "consumer/pull_priv.h"

_Static_assert(EVIDENCE_PULL == 4 && EVIDENCE_C2B == 5,
               "numbers in the statements");
_Static_assert(PAYMENT_UNKNOWN == 4 && PAYMENT_UNRESOLVED == 5,
               "numbers in the statements");

const char *const pull_session[] = {
    "SET jit = off",
    "SET statement_timeout = '20s'",
    "SET client_connection_check_interval = '500ms'",
    NULL,
};

#define US " * interval '1 us'"

/* As in payments_doubtful, word for word. */
#define DOUBTFUL          \
    "(p.state IN (4, 5) " \
    "OR (p.state IN (6, 7) AND p.evidence IN (2, 3) AND p.receipt IS NULL))"

static const char begin_sql[] =
    "INSERT INTO pulls (shortcode) SELECT unnest($1::int4[]) "
    "ON CONFLICT DO NOTHING";

/* Passes that have covered p's attempt whole, quarantine ($2) and all. */
#define COVERS                                              \
    "x.shortcode = p.shortcode "                            \
    "AND x.covered_from <= p.pushed_at - interval '1 min' " \
    "AND x.covered_to >= p.pushed_at + $2::int8" US         \
    " AND x.began_at >= p.pushed_at + $2::int8" US

/* The younger the youngest open payment, the sooner: a quarter of its age, from
   `every` ($3) to 15 times that; after failures twice as long each.
   What is older than $5 and was covered twice is not asked for any more; and
   after a failure, which may have been too many pages, only what is younger
   is, each other time. $4 how far back Pull looks, $6 lease. */
static const char lease_sql[] =
    "WITH w AS (SELECT min(p.pushed_at) AS first, max(p.pushed_at) AS last, "
    "min(p.pushed_at) FILTER (WHERE p.pushed_at > now() - $5::int8" US ") "
    "AS recent FROM payments p "
    "WHERE p.shortcode = $1::int4 AND p.state IN (4, 5) AND " DOUBTFUL " "
    "AND p.pushed_at > now() - $4::int8" US " "
    "AND (p.pushed_at > now() - $5::int8" US " "
    "OR (SELECT count(*) FROM pull_passes x WHERE " COVERS ") < 2)) "
    "UPDATE pulls u SET lease = u.lease + 1, began_at = now(), "
    "leased_until = now() + $6::int8" US " FROM w "
    "WHERE u.shortcode = $1::int4 AND u.leased_until <= now() "
    "AND w.first <= now() - $3::int8" US " "
    "AND (u.ended_at IS NULL OR u.ended_at + greatest(least("
    "(now() - w.last) / 4, $3::int8" US " * 15), "
    "$3::int8" US " * (1 << least(u.failures, 5))) <= now()) "
    "RETURNING u.lease, CASE WHEN u.failures % 2 = 1 "
    "THEN coalesce(w.recent, w.first) ELSE w.first END, w.last, u.began_at";

/* $2 lease's number, $3 its length. */
static const char renew_sql[] =
    "UPDATE pulls SET leased_until = now() + $3::int8" US " "
    "WHERE shortcode = $1::int4 AND lease = $2::int8 RETURNING 1";

static const char fail_sql[] =
    "UPDATE pulls SET leased_until = now(), ended_at = now(), "
    "failures = failures + 1, last_error = $3::text "
    "WHERE shortcode = $1::int4 AND lease = $2::int8";

static const char complete_sql[] =
    "WITH u AS (UPDATE pulls SET leased_until = now(), ended_at = now(), "
    "failures = 0, last_error = NULL "
    "WHERE shortcode = $1::int4 AND lease = $2::int8 RETURNING began_at) "
    "INSERT INTO pull_passes (shortcode, began_at, covered_from, covered_to, "
    "records) SELECT $1::int4, u.began_at, $3::timestamptz, $4::timestamptz, "
    "$5::int4 FROM u ON CONFLICT DO NOTHING";

static const char purge_sql[] =
    "DELETE FROM pull_passes WHERE shortcode = $1::int4 "
    "AND began_at < now() - $2::int8" US;

/* Attempts in nobody's hands whose quarantine ($2) is over, of which no record
   can be, and that two complete passes have covered whole, both begun after the
   quarantine and $3 apart. A record counts against the silence whatever its
   reference is, unless another payment has it. $4 how far back, $5 most. */
static const char silent_sql[] =
    "SELECT p.id, p.attempt FROM payments p "
    "WHERE p.shortcode = $1::int4 AND p.state IN (4, 5) AND " DOUBTFUL " "
    "AND p.owner IS NULL AND coalesce(p.code, '') <> 'not_found' "
    "AND p.pushed_at > now() - $4::int8" US " "
    "AND p.pushed_at + $2::int8" US " <= now() "
    "AND NOT EXISTS (SELECT 1 FROM notices n WHERE n.source IN (4, 5) "
    "AND n.shortcode = p.shortcode AND n.amount = p.amount "
    "AND (n.disposition <> 1 OR n.payment = p.id) "
    "AND coalesce(n.paid_at, n.at) >= p.pushed_at - interval '1 min' "
    "AND CASE WHEN length(n.phone) = 64 "
    "THEN encode(sha256(convert_to(p.msisdn::text, 'UTF8')), 'hex') = n.phone "
    "ELSE n.phone = '' OR p.msisdn::text LIKE replace(n.phone, '*', '_') END) "
    "AND (SELECT max(x.began_at) - min(x.began_at) FROM pull_passes x "
    "WHERE " COVERS ") >= $3::int8" US " "
    "ORDER BY p.pushed_at LIMIT $5::int8";

const struct pg_statement pull_statements[PULL_SQL_N] = {
    [PULL_SQL_BEGIN] = {"pull_begin", begin_sql},
    [PULL_SQL_LEASE] = {"pull_lease", lease_sql},
    [PULL_SQL_RENEW] = {"pull_renew", renew_sql},
    [PULL_SQL_FAIL] = {"pull_fail", fail_sql},
    [PULL_SQL_COMPLETE] = {"pull_complete", complete_sql},
    [PULL_SQL_PURGE] = {"pull_purge", purge_sql},
    [PULL_SQL_SILENT] = {"pull_silent", silent_sql},
};
