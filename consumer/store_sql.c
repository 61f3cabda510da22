/*
 * The worker's statements. Arrays come in by unnest(): one round trip and one
 * execution for a whole batch.
 *
 * Everything rests on three things: unique indexes (the id, and the phone of
 * rows that hold it), fences (`version = seen`), and the order in which rows
 * are locked (MSISDN, then id), without which two workers would deadlock. The
 * clock is now(), the same for all statements of a unit.
 *
 * States and waits stand as literals where a partial index has to match.
 */
#include "common/payment_row.h"
#include "common/trail.h"
#include "consumer/store_priv.h"

_Static_assert(PAYMENT_SENDING == 1 && PAYMENT_WAITING == 3 &&
                   PAYMENT_UNRESOLVED == 5 && PAYMENT_SUCCEEDED == 6 &&
                   PAYMENT_REJECTED == 8 && PAYMENT_CANCELLED == 9 &&
                   PAYMENT_DEAD == 11,
               "numbers in the statements; from 5 on nothing is left to do");
_Static_assert(WAIT_RETRY == 1 && WAIT_PHONE == 2 && WAIT_PROOF == 3 &&
                   WAIT_LINE == 4,
               "numbers in the statements; all but 3 wait for a push");

#define US " * interval '1 us'"

static const char lazy_sql[] =
    "SELECT set_config('synchronous_commit', 'off', true)";

/* --- claim --- */

/* In the select list, unnest() runs in step without the tuplestore per array
   that it costs in FROM: a quarter of the time for 25 arrays. */
#define REQUESTS_AND(more)                                                  \
    "(SELECT unnest($1::uuid[]) AS id, unnest($2::uuid[]) AS client, "      \
    "unnest($3::bytea[]) AS fingerprint, unnest($4::int8[]) AS msisdn, "    \
    "unnest($5::int4[]) AS amount, unnest($6::int4[]) AS shortcode, "       \
    "unnest($7::int2[]) AS priority, unnest($8::int2[]) AS ask_again, "     \
    "unnest($9::text[]) AS reference, unnest($10::text[]) AS description, " \
    "unnest($11::text[]) AS metadata, "                                     \
    "unnest($12::timestamptz[]) AS requested_at, "                          \
    "unnest($13::timestamptz[]) AS expires_at, "                            \
    "unnest($14::timestamptz[]) AS deadline_at, "                           \
    "unnest($15::int2[]) AS source_topic, "                                 \
    "unnest($16::int4[]) AS source_partition, "                             \
    "unnest($17::int8[]) AS source_offset" more ") AS r "
#define REQUESTS REQUESTS_AND("")
#define REQUEST_COLUMNS                                              \
    "id, client, fingerprint, msisdn, amount, shortcode, priority, " \
    "ask_again, reference, description, metadata, requested_at, "    \
    "expires_at, deadline_at, source_topic, source_partition, "      \
    "source_offset"

/* An equal amount from the same phone to the same shortcode, whose push may
   have left lately. */
#define NO_EQUAL_AMOUNT(row, gap_us)                                        \
    "NOT EXISTS (SELECT 1 FROM payments e WHERE e.msisdn = " row ".msisdn " \
    "AND e.pushed_at > now() - " gap_us "::int8" US " AND e.amount = " row  \
    ".amount AND e.shortcode = " row ".shortcode "                          \
    "AND e.id <> " row ".id) "

#define ALONE NO_EQUAL_AMOUNT("r", "$24")

/* Others have declared the incarnation dead and left nothing of it open: nobody
   would take over what it begins now. */
#define NOT_SETTLED(incarnation)                                           \
    "NOT EXISTS (SELECT FROM workers z WHERE z.incarnation = " incarnation \
    "::int8 AND z.settled_at IS NOT NULL) "

/* Where intake stands; never backwards. */
#define MOVE_INTAKE(topics, partitions, offsets, condition)               \
    "INSERT INTO intake AS i (topic, partition, next_offset) "            \
    "SELECT * FROM unnest(" topics "::text[], " partitions                \
    "::int4[], " offsets                                                  \
    "::int8[]) AS r(topic, partition, next_offset) " condition            \
    "ORDER BY topic, partition ON CONFLICT (topic, partition) DO UPDATE " \
    "SET next_offset = excluded.next_offset "                             \
    "WHERE i.next_offset < excluded.next_offset"

/* The trail stops no payment: where its place is taken, because a payment was
   removed without its trail, the break shows in `foleni doctor audit`. */
#define ONCE "ON CONFLICT (payment, version) DO NOTHING"

/* The first link of a payment's chain: version 1, caused by the claim. */
#define CLAIM_HASH(state, waits, attempt, code, text, worker)                \
    TRAIL_HASH(TRAIL_SEED("r"), "r.id", "1", "now()", state, waits, attempt, \
               "1::int2", code, text, "0::int2", "NULL::text", worker)

/* S21: its client, and no other, has cancelled it. Asked for in the moment of a
   claim it may not be seen: who asks waits until such claims have ended, which
   shows because a claim has its number before its statements look. */
#define CANCELLED(row)                                            \
    "(SELECT x.text FROM cancels x WHERE x.payment = " row ".id " \
    "AND x.client = " row ".client)"

/* Takes the phone and goes; any conflict, on the id or on the phone, inserts
   nothing. When all $21 rows go, intake moves too. $22 owner, $23 when its push
   is overdue, $24 two-minute rule, $25 key of its callback's MAC. */
// clang-format off
static const char go_sql[] =
    "WITH go AS (INSERT INTO payments (" REQUEST_COLUMNS ", state, version, "
    "attempt, mac_key, spent, owner, holds_phone, pushed_at, next_action_at, "
    "hash) "
    "SELECT r.*, 1, 1, 1, $25::int2, 0, $22::int8, true, now(), "
    "now() + $23::int8" US ", "
    CLAIM_HASH("1::int2", "0::int2", "1", "NULL::text", "NULL::text",
               "$22::int8")
    " FROM " REQUESTS "WHERE r.deadline_at > now() AND " ALONE
    "AND " NOT_SETTLED("$22") "AND " CANCELLED("r") " IS NULL "
    "ORDER BY r.msisdn, r.id ON CONFLICT DO NOTHING RETURNING id, hash), "
    "t AS (INSERT INTO timeline (payment, version, at, state, waits, attempt, "
    "cause, worker, tx, hash) SELECT id, 1, now(), 1, 0, 1, 1, $22::int8, "
    TRAIL_TX ", hash FROM go " ONCE "), "
    "moved AS ("
    MOVE_INTAKE("$18", "$19", "$20",
                "WHERE (SELECT count(*) FROM go) = $21::int8 ")
    ") SELECT id FROM go";
// clang-format on

/* How many are parked. Its rows are locked last in a unit, in one order. */
#define COUNT_PARKED(select)                             \
    "INSERT INTO parked AS k (shortcode, n) " select     \
    "GROUP BY shortcode ORDER BY shortcode ON CONFLICT " \
    "(shortcode) DO UPDATE SET n = k.n + excluded.n"

/* The rest waits for its phone or its shortcode, is too late or cancelled; what
   neither statement returns is known already. $18 next look at the phone, $19
   next try to announce, $20 to $22 the result of what is too late, $23 who
   writes, $24 which rows wait for their shortcode, $25 $26 the result of what
   is cancelled. */
// clang-format off
static const char wait_sql[] =
    "WITH w AS (INSERT INTO payments (" REQUEST_COLUMNS ", state, waits, "
    "version, attempt, spent, holds_phone, next_action_at, class, code, text, "
    "hash) "
    "SELECT " REQUEST_COLUMNS ", s.state, s.waits, 1, 0, 0, false, "
    "s.next_action_at, s.class, s.code, s.text, "
    CLAIM_HASH("s.state", "s.waits", "0", "s.code", "s.text", "$23::int8")
    " FROM " REQUESTS_AND(", unnest($24::bool[]) AS park")
    "CROSS JOIN LATERAL (SELECT " CANCELLED("r") " AS word) AS x "
    "CROSS JOIN LATERAL (SELECT x.word IS NULL AND r.deadline_at > now() "
    "AS live, x.word IS NOT NULL AS taken) AS l "
    "CROSS JOIN LATERAL (SELECT "
    "CASE WHEN l.live THEN 3::int2 WHEN l.taken THEN 9::int2 ELSE 8::int2 END "
    "AS state, "
    "CASE WHEN NOT l.live THEN 0::int2 WHEN r.park THEN 4::int2 "
    "ELSE 2::int2 END AS waits, "
    "CASE WHEN l.live AND r.park THEN now() "
    "WHEN l.live THEN least(r.deadline_at, now() + $18::int8" US ") "
    "ELSE now() + $19::int8" US " END AS next_action_at, "
    "CASE WHEN l.live THEN 0::int2 WHEN l.taken THEN $25::int2 "
    "ELSE $20::int2 END AS class, "
    "CASE WHEN l.live THEN NULL WHEN l.taken THEN $26::text "
    "ELSE $21::text END AS code, "
    "CASE WHEN l.live THEN NULL WHEN l.taken THEN x.word "
    "ELSE $22::text END AS text) AS s "
    "ORDER BY r.msisdn, r.id ON CONFLICT (id) DO NOTHING "
    "RETURNING id, shortcode, state, waits, class, code, text, hash), "
    "t AS (INSERT INTO timeline (payment, version, at, state, waits, attempt, "
    "cause, class, code, text, worker, tx, hash) SELECT id, 1, now(), state, "
    "waits, 0, 1, class, code, text, $23::int8, " TRAIL_TX ", hash FROM w " ONCE
    "), "
    "c AS ("
    COUNT_PARKED("SELECT shortcode, count(*) FROM w WHERE waits = 4 ")
    ") SELECT id, state, waits, text FROM w";
// clang-format on

static const char intake_sql[] = MOVE_INTAKE("$1", "$2", "$3", "");

/* --- look --- */

static const char look_sql[] =
    "SELECT " PAYMENT_COLUMNS " FROM unnest($1::uuid[]) AS r(id) "
    "JOIN payments p ON p.id = r.id";

/* Receipts that another payment is about to get: who has one, on the weakest
   evidence first; or whose it becomes in this very batch. */
static const char holders_sql[] =
    "SELECT r.n, coalesce(h.id, r.rival), coalesce(h.evidence, r.evidence) "
    ">= r.evidence FROM (SELECT u.*, lag(u.id) OVER (PARTITION BY u.receipt "
    "ORDER BY u.n) AS rival FROM unnest($1::uuid[], $2::text[], $3::int2[]) "
    "WITH ORDINALITY AS u(id, receipt, evidence, n)) AS r LEFT JOIN LATERAL ("
    "SELECT p.id, p.evidence FROM payments p WHERE p.receipt = r.receipt "
    "AND p.evidence <= r.evidence AND p.id <> r.id "
    "ORDER BY p.evidence LIMIT 1) AS h ON true "
    "WHERE h.id IS NOT NULL OR r.rival <> r.id";

/* --- step --- */

/* The next link of a payment's chain. */
#define STEP_HASH                                                        \
    TRAIL_HASH("p.hash", "r.id", "r.version", "r.updated_at", "r.state", \
               "r.waits", "r.attempt", "r.cause", "r.code", "r.text",    \
               "r.evidence", "r.receipt", "$31::int8")

/* published_version is not among them: store_told() alone moves it. */
#define STEP_BEGIN                                                            \
    "WITH w AS (UPDATE payments p SET "                                       \
    "version = r.version, state = r.state, waits = r.waits, "                 \
    "attempt = r.attempt, mac_key = r.mac_key, "                              \
    "spent = r.spent, owner = r.owner, "                                      \
    "holds_phone = r.holds_phone, pushed_at = r.pushed_at, "                  \
    "next_action_at = r.next_action_at, updated_at = r.updated_at, "          \
    "auth_version = r.auth_version, queries = r.queries, "                    \
    "query_code = r.query_code, query_code_at = r.query_code_at, "            \
    "checkout_id = r.checkout_id, merchant_id = r.merchant_id, "              \
    "class = r.class, evidence = r.evidence, code = r.code, "                 \
    "text = r.text, receipt = r.receipt, paid_at = r.paid_at, "               \
    "paid_attempt = r.paid_attempt, deadline_at = r.deadline_at, "            \
    "replays = r.replays, replay = r.replay, "                                \
    "hash = CASE WHEN r.version = r.seen THEN p.hash ELSE " STEP_HASH " END " \
    "FROM (SELECT unnest($1::uuid[]) AS id, unnest($2::int4[]) AS seen, "     \
    "unnest($3::int2[]) AS cause, unnest($4::int4[]) AS version, "            \
    "unnest($5::int2[]) AS state, unnest($6::int2[]) AS waits, "              \
    "unnest($7::int4[]) AS attempt, unnest($8::int4[]) AS spent, "            \
    "unnest($9::int8[]) AS owner, unnest($10::bool[]) AS holds_phone, "       \
    "unnest($11::timestamptz[]) AS pushed_at, "                               \
    "unnest($12::timestamptz[]) AS next_action_at, "                          \
    "unnest($13::timestamptz[]) AS updated_at, "                              \
    "unnest($14::int8[]) AS auth_version, "                                   \
    "unnest($15::int2[]) AS queries, "                                        \
    "unnest($16::text[]) AS query_code, "                                     \
    "unnest($17::timestamptz[]) AS query_code_at, "                           \
    "unnest($18::text[]) AS checkout_id, "                                    \
    "unnest($19::text[]) AS merchant_id, unnest($20::int2[]) AS class, "      \
    "unnest($21::int2[]) AS evidence, unnest($22::text[]) AS code, "          \
    "unnest($23::text[]) AS text, unnest($24::text[]) AS receipt, "           \
    "unnest($25::timestamptz[]) AS paid_at, "                                 \
    "unnest($26::int2[]) AS mac_key, "                                        \
    "unnest($27::int4[]) AS paid_attempt, "                                   \
    "unnest($28::timestamptz[]) AS deadline_at, "                             \
    "unnest($29::int2[]) AS replays, unnest($30::int8[]) AS replay) AS r "    \
    "WHERE p.id = r.id AND p.version = r.seen "
#define STEP_END                                                             \
    "RETURNING p.id, p.version, p.updated_at, p.state, p.waits, "            \
    "p.attempt, p.class, p.code, p.text, p.evidence, p.receipt, "            \
    "p.paid_at, p.hash, r.seen, r.cause), t AS (INSERT INTO timeline "       \
    "(payment, version, at, state, "                                         \
    "waits, attempt, cause, class, code, text, evidence, receipt, paid_at, " \
    "worker, tx, hash) SELECT id, version, updated_at, state, waits, "       \
    "attempt, cause, class, code, text, evidence, receipt, paid_at, "        \
    "$31::int8, " TRAIL_TX ", hash FROM w "                                  \
    "WHERE version <> seen " ONCE ") "                                       \
    "SELECT id FROM w"

static const char step_sql[] = STEP_BEGIN STEP_END;

/* The same for a new attempt, which needs the phone. $32 two-minute rule. */
static const char take_sql[] = STEP_BEGIN
    "AND NOT EXISTS (SELECT 1 FROM payments h "
    "WHERE h.msisdn = p.msisdn AND h.holds_phone AND h.id <> p.id) "
    "AND " NO_EQUAL_AMOUNT("p", "$32") "AND " NOT_SETTLED("$31") STEP_END;

/* Of what this very unit has written: the version alone may be another's. */
#define WRITTEN                                                      \
    "JOIN payments p ON p.id = r.payment AND p.version = r.version " \
    "AND p.updated_at = r.updated_at "

static const char alarm_sql[] =
    "INSERT INTO alarms (payment, kind, attempt, receipt, text) "
    "SELECT r.payment, r.kind, p.attempt, r.receipt, coalesce(p.text, '') "
    "FROM unnest($1::uuid[], $2::int4[], $3::timestamptz[], $4::text[], "
    "$5::text[]) AS r(payment, version, updated_at, kind, receipt) " WRITTEN
    "ORDER BY r.payment, r.kind ON CONFLICT (payment, kind, attempt, receipt) "
    "DO UPDATE SET at = now(), text = excluded.text, seen_at = NULL, "
    "seen_by = NULL";

static const char alarm_alone_sql[] =
    "INSERT INTO alarms (payment, kind, attempt, text) "
    "VALUES ($1::uuid, $2::text, $3::int4, $4::text) "
    "ON CONFLICT (payment, kind, attempt, receipt) DO UPDATE SET at = now(), "
    "text = excluded.text, seen_at = NULL, seen_by = NULL";

static const char calm_sql[] =
    "UPDATE alarms a SET seen_at = now(), seen_by = 'settled' "
    "FROM unnest($1::uuid[], $2::int4[], $3::timestamptz[]) "
    "AS r(payment, version, updated_at) " WRITTEN
    "WHERE a.payment = r.payment AND a.kind = 'unresolved' "
    "AND a.seen_at IS NULL";

static const char unpark_sql[] =
    COUNT_PARKED("SELECT shortcode, -count(*) FROM (SELECT p.shortcode "
                 "FROM unnest($1::uuid[], $2::int4[], $3::timestamptz[]) "
                 "AS r(payment, version, updated_at) " WRITTEN ") AS w ");

/* Which rows could have been taken by their version and by $3: their phone is
   busy. */
static const char still_sql[] =
    "SELECT p.id FROM unnest($1::uuid[], $2::int4[]) AS r(id, seen) "
    "JOIN payments p ON p.id = r.id AND p.version = r.seen "
    "WHERE " NOT_SETTLED("$3");

/* One waiter of each phone that is free now: the first that may go. Waiters
   past their deadline have their own time and would wake nobody after them;
   nor would one that the two-minute rule ($2) holds. The first hundred are
   looked at, the others come by themselves; of what may go the first three are
   tried, since somebody may have one in hand. Counting keeps the planner from
   joining all phones that are held. */
static const char wake_sql[] =
    "UPDATE payments p SET next_action_at = now() "
    "FROM unnest($1::int8[]) AS f(msisdn) CROSS JOIN LATERAL ("
    "SELECT w.id FROM payments w WHERE w.id = ANY (ARRAY (SELECT q.id FROM "
    "(SELECT v.id, v.msisdn, v.amount, v.shortcode, v.priority, v.created_at "
    "FROM payments v WHERE v.msisdn = f.msisdn AND v.state = 3 "
    "AND v.waits = 2 AND v.deadline_at > now() "
    "ORDER BY v.priority, v.created_at LIMIT 100) AS q "
    "WHERE " NO_EQUAL_AMOUNT(
        "q",
        "$2") "ORDER BY q.priority, q.created_at LIMIT 3)) "
              "AND w.state = 3 AND w.waits = 2 " /* still, when it is locked */
              "ORDER BY w.priority, w.created_at LIMIT 1 FOR UPDATE SKIP "
              "LOCKED) AS n "
              "WHERE p.id = n.id AND (SELECT count(*) FROM payments h "
              "WHERE h.msisdn = f.msisdn AND h.holds_phone) = 0";

/* --- told, due --- */

static const char told_sql[] =
    "UPDATE payments p SET published_version = r.version, "
    "next_action_at = CASE WHEN p.state >= 5 AND p.version <= r.version "
    "THEN NULL ELSE p.next_action_at END "
    "FROM unnest($1::uuid[], $2::int4[]) AS r(id, version) "
    "WHERE p.id = r.id AND p.published_version < r.version";

/* Their time moves forward by $2: nobody else finds them meanwhile. */
#define HOLD(hold)                                                     \
    "UPDATE payments p SET next_action_at = now() + " hold "::int8" US \
    " FROM d WHERE p.id = d.id RETURNING " PAYMENT_COLUMNS

/* What is due and no push, and pushes that are too late by now; $1 most of
   each, $2 hold. What waits for a push is found by its deadline even while its
   time is older; what is in hand has a time to come. */
static const char due_sql[] =
    "WITH o AS (SELECT p.id FROM payments p WHERE p.next_action_at <= now() "
    "AND (p.state <> 3 OR p.waits = 3) "
    "ORDER BY p.next_action_at LIMIT $1::int8 FOR UPDATE SKIP LOCKED), "
    "l AS (SELECT p.id FROM payments p WHERE p.state = 3 AND (p.waits = 3) IS "
    "FALSE "
    "AND p.deadline_at <= now() AND p.next_action_at <= now() "
    "ORDER BY p.deadline_at LIMIT $1::int8 FOR UPDATE SKIP LOCKED), "
    "d AS (SELECT id FROM o UNION ALL SELECT id FROM l) " HOLD("$2");

/* The next lane behind that of @p at: one look into the index however many
   wait there. */
#define NEXT_LANE(at, client)                                           \
    "CROSS JOIN LATERAL (SELECT p.shortcode, p.client FROM payments p " \
    "WHERE p.state = 3 AND (p.waits <> 3) IS TRUE AND p.priority = " at \
    ".priority "                                                        \
    "AND (p.shortcode, p.client) > (" at ".shortcode, " client ") "     \
    "ORDER BY p.shortcode, p.client LIMIT 1) AS n "

/* Behind all clients of a shortcode that may not push. */
#define BEHIND                                                \
    "CASE WHEN l.shortcode = ANY ($4::int4[]) THEN l.client " \
    "ELSE 'ffffffff-ffff-ffff-ffff-ffffffffffff' END"
#define LANES_FROM                     \
    "SELECT s.priority, n.shortcode, " \
    "n.client, 1::int8 AS step FROM s " NEXT_LANE("s", "s.client")
#define LANES_ON                                  \
    "SELECT l.priority, n.shortcode, "            \
    "n.client, l.step + 1 FROM l " NEXT_LANE("l", \
                                             BEHIND) "WHERE l.step < $5::int8"

/* The lanes (priority, shortcode, client) in which payments wait for a push,
   behind those that the last scan saw, and how many are due there, as far as
   that matters. $1 priorities, $2 $3 what the last scan of each saw last, $4
   shortcodes that may push: of the others the first lane is enough, the rest is
   passed over in one step. $5 most lanes of each priority, $6 how far is
   counted. */
static const char lanes_sql[] =
    "WITH RECURSIVE s AS (SELECT unnest($1::int2[]) AS priority, "
    "unnest($2::int4[]) AS shortcode, unnest($3::uuid[]) AS client), "
    "l AS (" LANES_FROM "UNION ALL " LANES_ON ") "
    "SELECT l.priority, l.shortcode, l.client, (SELECT count(*) FROM "
    "(SELECT 1 FROM payments p WHERE p.state = 3 AND (p.waits <> 3) IS TRUE "
    "AND p.priority = l.priority AND p.shortcode = l.shortcode "
    "AND p.client = l.client AND p.next_action_at <= now() LIMIT $6::int8) "
    "AS c) FROM l ORDER BY l.priority, l.step";

/* The longest due $4 of each lane. $5 hold. */
static const char ready_sql[] =
    "WITH d AS (SELECT n.id FROM (SELECT unnest($1::int2[]) AS priority, "
    "unnest($2::int4[]) AS shortcode, unnest($3::uuid[]) AS client, "
    "unnest($4::int8[]) AS most) AS r CROSS JOIN LATERAL ("
    "SELECT p.id FROM payments p WHERE p.state = 3 AND (p.waits <> 3) IS TRUE "
    "AND p.priority = r.priority AND p.shortcode = r.shortcode "
    "AND p.client = r.client AND p.next_action_at <= now() "
    "ORDER BY p.next_action_at LIMIT r.most FOR UPDATE SKIP LOCKED) AS "
    "n) " HOLD("$5");

static const char parked_sql[] = "SELECT shortcode, n FROM parked";

/* Given back: nothing was done with them. */
static const char undue_sql[] =
    "UPDATE payments p SET next_action_at = now() "
    "FROM unnest($1::uuid[], $2::int4[]) AS r(id, seen) "
    "WHERE p.id = r.id AND p.version = r.seen AND p.state = 3 "
    "AND p.waits <> 3";

/* --- cancels --- */

/* Those whose look is due, each given to one worker until the next: after $2,
   then at twice its age. Past $3 no push of its payment can follow any more.
   $1 most. */
static const char cancels_sql[] =
    "WITH d AS (SELECT c.payment, c.client FROM cancels c "
    "WHERE c.next_look_at <= now() ORDER BY c.next_look_at LIMIT $1::int8 "
    "FOR UPDATE SKIP LOCKED), "
    "u AS (UPDATE cancels c SET next_look_at = now() + greatest($2::int8" US
    ", now() - c.at) FROM d WHERE c.payment = d.payment "
    "AND c.client = d.client "
    "RETURNING c.payment, c.client, c.at, c.text AS word) "
    "SELECT u.payment, u.client, u.at, u.word, "
    "u.at < now() - $3::int8" US " AS over, " PAYMENT_COLUMNS
    " FROM u LEFT JOIN payments p ON p.id = u.payment AND p.client = u.client";

/* One that was asked for anew meanwhile stays. */
static const char uncancel_sql[] =
    "DELETE FROM cancels c USING unnest($1::uuid[], $2::uuid[], "
    "$3::timestamptz[]) AS r(payment, client, at) WHERE c.payment = r.payment "
    "AND c.client = r.client AND c.at = r.at";

/* --- the rest --- */

static const char ledger_sql[] =
    "SELECT " LEDGER_NAME " FROM pg_control_system()";

static const char positions_sql[] =
    "SELECT r.n, i.next_offset FROM unnest($1::text[], $2::int4[]) "
    "WITH ORDINALITY AS r(topic, partition, n) "
    "JOIN intake i ON i.topic = r.topic AND i.partition = r.partition";

static const char stray_sql[] =
    "INSERT INTO stray_callbacks (payment, attempt, why, body) "
    "VALUES ($1::uuid, $2::int4, $3::text, $4::bytea)";

static const char strays_sql[] =
    "SELECT attempt, body FROM stray_callbacks WHERE payment = $1::uuid "
    "AND why = $2::text ORDER BY id LIMIT $3::int4";

/* Open attempts as in PAYMENT_KEY_USED_SQL, by keys other than $1 and $2. Each
   such key is one open alarm, on one of its payments. */
static const char keys_missing_sql[] = PAYMENT_KEYS_MISSING_SQL
    ", "
    "a AS (INSERT INTO alarms (kind, payment, attempt, text) "
    "SELECT 'key_missing', id, attempt, text FROM g WHERE NOT EXISTS "
    "(SELECT FROM alarms m WHERE m.seen_at IS NULL "
    "AND m.kind = 'key_missing' AND m.text = g.text) ON CONFLICT DO NOTHING) "
    "SELECT mac_key, n FROM g ORDER BY n DESC, mac_key LIMIT 1";

/* The last word of a person about the clock. */
static const char clock_word_sql[] =
    "SELECT coalesce(max(id), 0) FROM operator_actions "
    "WHERE action = 'clock.accept'";

/* Times that were written under a clock which has stepped back since. $1 the
   longest wait that the flow asks for, $2 the window of an unknown one. Slack
   of a minute: nobody's own clock is asked. */
static const char near_rows_sql[] =
    "WITH o AS (SELECT p.id FROM payments p WHERE p.next_action_at > now() "
    "+ interval '1 min' + CASE WHEN p.state = 4 THEN greatest($1::int8, "
    "$2::int8) ELSE $1::int8 END" US
    " AND (p.state <> 3 OR p.waits = 3) FOR UPDATE SKIP LOCKED), "
    "l AS (SELECT p.id FROM payments p WHERE p.next_action_at > now() "
    "+ interval '1 min' + $1::int8" US
    " AND p.state = 3 AND (p.waits = 3) IS FALSE FOR UPDATE SKIP LOCKED), "
    "far AS (SELECT id FROM o UNION ALL SELECT id FROM l) "
    "UPDATE payments p SET next_action_at = now(), "
    "pushed_at = least(p.pushed_at, now()), "
    "query_code_at = least(p.query_code_at, now()) "
    "FROM far WHERE p.id = far.id";

/* The living beat anew within a second, the dead show as such. */
static const char near_beats_sql[] =
    "UPDATE workers SET heartbeat_at = clock_timestamp() "
    "WHERE settled_at IS NULL "
    "AND heartbeat_at > clock_timestamp() + interval '10 s'";

const struct pg_statement store_statements[STORE_STATEMENTS_N] = {
    [STORE_NOW] = {"now", "SELECT now()"},
    [STORE_LAZY] = {"lazy", lazy_sql},
    [STORE_CLAIM] = {"claim", "SELECT steady_now($1::timestamptz), "
                              "pg_current_xact_id()"},
    [STORE_GO] = {"go", go_sql},
    [STORE_WAIT] = {"wait", wait_sql},
    [STORE_INTAKE] = {"intake", intake_sql},
    [STORE_LOOK] = {"look", look_sql},
    [STORE_HOLDERS] = {"holders", holders_sql},
    [STORE_STEP] = {"step", step_sql},
    [STORE_ALARM] = {"alarm", alarm_sql},
    [STORE_ALARM_ALONE] = {"alarm_alone", alarm_alone_sql},
    [STORE_CALM] = {"calm", calm_sql},
    [STORE_TAKE] = {"take", take_sql},
    [STORE_STILL] = {"still", still_sql},
    [STORE_WAKE] = {"wake", wake_sql},
    [STORE_UNPARK] = {"unpark", unpark_sql},
    [STORE_TOLD] = {"told", told_sql},
    [STORE_DUE] = {"due", due_sql},
    [STORE_LANES] = {"lanes", lanes_sql},
    [STORE_READY] = {"ready", ready_sql},
    [STORE_PARKED] = {"parked", parked_sql},
    [STORE_UNDUE] = {"undue", undue_sql},
    [STORE_CANCELS] = {"cancels", cancels_sql},
    [STORE_UNCANCEL] = {"uncancel", uncancel_sql},
    [STORE_LEDGER] = {"ledger", ledger_sql},
    [STORE_POSITIONS] = {"positions", positions_sql},
    [STORE_STRAY] = {"stray", stray_sql},
    [STORE_KEY_USED] = {"key_used", PAYMENT_KEY_USED_SQL},
    [STORE_KEYS_MISSING] = {"keys_missing", keys_missing_sql},
    [STORE_STRAYS] = {"strays", strays_sql},
    [STORE_CLOCK_WORD] = {"clock_word", clock_word_sql},
    [STORE_STEADY] = {"steady", "SELECT steady_now($1::timestamptz)"},
    [STORE_NEAR_ROWS] = {"near_rows", near_rows_sql},
    [STORE_NEAR_BEATS] = {"near_beats", near_beats_sql},
};
