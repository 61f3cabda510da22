/*
 * The statements of notices. Plans are pinned to index look-ups, as the
 * store's; the partial indexes of 0003_notices.sql stand in their conditions
 * word for word.
 *
 * Evidence and states stand as literals: 2 person, 3 query, 4 pull, 5 c2b;
 * 1 sending, 2 prompted, 4 unknown, 5 unresolved, 6 succeeded, 7 failed.
 */
#include "consumer/notice_priv.h"

_Static_assert(EVIDENCE_PERSON == 2 && EVIDENCE_QUERY == 3 &&
                   EVIDENCE_PULL == 4 && EVIDENCE_C2B == 5,
               "numbers in the statements");
_Static_assert(PAYMENT_SENDING == 1 && PAYMENT_PROMPTED == 2 &&
                   PAYMENT_UNKNOWN == 4 && PAYMENT_UNRESOLVED == 5 &&
                   PAYMENT_SUCCEEDED == 6 && PAYMENT_FAILED == 7,
               "numbers in the statements");
_Static_assert(NOTICE_OPEN == 0 && NOTICE_APPLIED == 1 &&
                   NOTICE_UNMATCHED == 3 && NOTICE_AMBIGUOUS == 4,
               "numbers in the statements");
_Static_assert(FLOW_RESOLVED == 14 && FLOW_REPLAYED == 17 &&
                   RESOLVE_REPLAY == 3,
               "numbers in the statements");

#define US " * interval '1 us'"

static const char lazy_sql[] =
    "SELECT set_config('synchronous_commit', 'off', true)";

/* What a payment has on as good evidence is no news: every STK payment is told
   by C2B too, and usually its callback was first. But what says otherwise than
   a notice that is kept is one itself. $9 first look. */
static const char put_sql[] =
    "INSERT INTO notices (source, receipt, shortcode, phone, amount, "
    "reference, paid_at, body, next_look_at) "
    "SELECT r.*, now() + $9::int8" US " FROM (SELECT "
    "unnest($1::int2[]) AS source, unnest($2::text[]) AS receipt, "
    "unnest($3::int4[]) AS shortcode, unnest($4::text[]) AS phone, "
    "unnest($5::int4[]) AS amount, unnest($6::text[]) AS reference, "
    "unnest($7::timestamptz[]) AS paid_at, unnest($8::bytea[]) AS body) AS r "
    "WHERE NOT EXISTS (SELECT 1 FROM payments p WHERE p.receipt = r.receipt "
    "AND p.evidence >= r.source AND p.state = 6) OR EXISTS (SELECT 1 "
    "FROM notices n WHERE n.source IN (4, 5) AND n.source = r.source "
    "AND n.receipt = r.receipt) "
    "ORDER BY r.source, r.receipt ON CONFLICT DO NOTHING";

/* Whether the record's facts are those of p's last attempt. $3 window. */
#define FITS                                                            \
    "(p.shortcode = u.shortcode AND p.amount = u.amount "               \
    "AND (u.reference IS NULL OR p.reference = u.reference) "           \
    "AND p.pushed_at <= u.paid_at + interval '1 min' "                  \
    "AND p.pushed_at >= u.paid_at - $3::int8" US                        \
    " AND CASE WHEN length(u.phone) = 64 "                              \
    "THEN encode(sha256(convert_to(p.msisdn::text, 'UTF8')), 'hex') = " \
    "u.phone ELSE p.msisdn::text LIKE replace(u.phone, '*', '_') END)"

/* Dead by its heartbeat, and no living worker of its host and boot that would
   have had to find its recorder's lock free before. $4 dead. */
#define GONE                                                               \
    "EXISTS (SELECT 1 FROM workers w WHERE w.incarnation = t.owner "       \
    "AND (w.settled_at IS NOT NULL "                                       \
    "OR (w.heartbeat_at < clock_timestamp() - $4::int8" US                 \
    " AND pg_postmaster_start_time() < clock_timestamp() - $4::int8" US    \
    " AND NOT EXISTS (SELECT 1 FROM workers v WHERE v.settled_at IS NULL " \
    "AND v.host = w.host AND v.boot = w.boot "                             \
    "AND v.heartbeat_at >= clock_timestamp() - $4::int8" US "))))"

/* $1 most notices, $2 first look: then at twice their age. Of two that fit the
   one that a person has called not paid does not count. */
static const char take_sql[] =
    "WITH d AS (SELECT n.id FROM notices n WHERE n.next_look_at <= now() "
    "ORDER BY n.next_look_at LIMIT $1::int8 FOR UPDATE SKIP LOCKED), "
    "u AS (UPDATE notices n SET looks = n.looks + 1, "
    "next_look_at = now() + greatest($2::int8" US ", now() - n.at) "
    "FROM d WHERE n.id = d.id RETURNING n.*) "
    "SELECT u.id, u.source, u.disposition, u.receipt, u.paid_at, "
    "coalesce(u.paid_at, u.at) < now() - $3::int8" US " AS over, "
    "h.id, h.attempt, h.evidence, h.fits, "
    "v.id, v.attempt, "
    "o.id, o.attempt, coalesce(o.n, 0), "
    "o.n = 1 AND EXISTS (SELECT 1 FROM payments p WHERE p.holds_phone "
    "AND p.state IN (1, 2) AND p.id <> o.id AND " FITS ") AS under_way, "
    "u.payment, u.attempt, u.version, u.decision, u.why, "
    "t.version = u.version AS seen_so, "
    "EXISTS (SELECT 1 FROM timeline l WHERE l.payment = u.payment "
    "AND l.version = u.version + 1 AND l.cause IN (14, 17)) AS resolved, "
    "u.forced OR t.owner IS NULL OR " GONE " AS gone, "
    "h.id <> u.payment AS owned, "
    "u.source IN (4, 5) AND EXISTS (SELECT 1 FROM notices x "
    "WHERE x.source IN (4, 5) AND x.source = u.source "
    "AND x.receipt = u.receipt AND x.id <> u.id) AS denied, u.replay, "
    "u.give_ms, "
    "u.decision = 3 AND ordered_again(t) AS ordered_again "
    "FROM u "
    "LEFT JOIN LATERAL (SELECT p.id, p.attempt, p.evidence, " FITS " AS fits "
    "FROM payments p WHERE p.receipt = u.receipt "
    "ORDER BY p.evidence DESC, p.id LIMIT 1) AS h ON true "
    "LEFT JOIN LATERAL (SELECT p.id, p.attempt FROM payments p "
    "WHERE p.receipt = u.receipt AND p.evidence < h.evidence "
    "ORDER BY p.evidence, p.id LIMIT 1) AS v ON true "
    "LEFT JOIN LATERAL (SELECT (array_agg(c.id ORDER BY c.said))[1] AS id, "
    "(array_agg(c.attempt ORDER BY c.said))[1] AS attempt, "
    "CASE WHEN bool_and(c.said) THEN count(*) "
    "ELSE count(*) FILTER (WHERE NOT c.said) END::int8 AS n FROM ("
    "SELECT p.id, p.attempt, p.state = 7 AND p.evidence = 2 AS said "
    "FROM payments p WHERE (p.state IN (4, 5) "
    "OR (p.state IN (6, 7) AND p.evidence IN (2, 3) AND p.receipt IS NULL)) "
    "AND " FITS " ORDER BY said LIMIT 2) AS c) AS o ON u.source IN (4, 5) "
    "LEFT JOIN payments t ON u.source = 2 AND t.id = u.payment";

/* The alarm names whoever has the receipt. */
static const char settle_sql[] =
    "WITH s AS (UPDATE notices n SET disposition = r.disposition, "
    "payment = coalesce(n.payment, r.payment), "
    "attempt = coalesce(n.attempt, r.attempt), outcome = r.outcome, "
    "settled_at = now(), "
    "next_look_at = CASE WHEN r.closed THEN NULL ELSE n.next_look_at END "
    "FROM unnest($1::int8[], $2::int2[], $3::uuid[], $4::int4[], $5::bool[], "
    "$6::text[], $7::bool[]) AS r(id, disposition, payment, attempt, closed, "
    "outcome, denied) WHERE n.id = r.id RETURNING n.*, r.denied) "
    "INSERT INTO alarms (payment, kind, attempt, receipt, text) "
    "SELECT DISTINCT ON (s.receipt) "
    "coalesce(h.id, '00000000-0000-0000-0000-000000000000'), "
    "'receipt_contradicted', coalesce(h.attempt, 0), s.receipt, "
    "'notice ' || s.id || ' says other facts of it than another notice' "
    "FROM s LEFT JOIN LATERAL (SELECT p.id, p.attempt FROM payments p "
    "WHERE p.receipt = s.receipt ORDER BY p.evidence DESC, p.id LIMIT 1) AS h "
    "ON true WHERE s.denied ORDER BY s.receipt, s.id DESC "
    "ON CONFLICT (payment, kind, attempt, receipt) DO UPDATE SET at = now(), "
    "text = excluded.text, seen_at = NULL, seen_by = NULL";

static const char forget_sql[] =
    "DELETE FROM notices n USING unnest($1::int8[]) AS r(id) WHERE n.id = r.id";

static const char again_sql[] =
    "UPDATE notices n SET next_look_at = now() FROM unnest($1::int8[]) "
    "AS r(id) WHERE n.id = r.id AND n.next_look_at IS NOT NULL";

/* The oldest are the first ones by id too. $1 kept for, $2 most rows. */
static const char purge_sql[] =
    "DELETE FROM notices n WHERE n.id IN (SELECT o.id FROM (SELECT id, at "
    "FROM notices ORDER BY id LIMIT $2::int8) AS o "
    "WHERE o.at < now() - $1::int8" US ")";

/* $1 most that are counted. */
static const char census_sql[] =
    "SELECT n.disposition::int8, count(*)::int8 FROM (SELECT disposition "
    "FROM notices WHERE next_look_at IS NOT NULL LIMIT $1::int8) AS n "
    "GROUP BY 1 "
    "UNION ALL SELECT -1, count(*)::int8 FROM (SELECT 1 FROM alarms "
    "WHERE seen_at IS NULL LIMIT $1::int8) AS a";

const struct pg_statement notice_statements[NOTICE_SQL_N] = {
    [NOTICE_SQL_LAZY] = {"notice_lazy", lazy_sql},
    [NOTICE_SQL_PUT] = {"notice_put", put_sql},
    [NOTICE_SQL_TAKE] = {"notice_take", take_sql},
    [NOTICE_SQL_SETTLE] = {"notice_settle", settle_sql},
    [NOTICE_SQL_FORGET] = {"notice_forget", forget_sql},
    [NOTICE_SQL_AGAIN] = {"notice_again", again_sql},
    [NOTICE_SQL_PURGE] = {"notice_purge", purge_sql},
    [NOTICE_SQL_CENSUS] = {"notice_census", census_sql},
};
