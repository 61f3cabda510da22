/*
 * A payment as a row of the table `payments`: which columns are read, and how.
 * What is written is the store's business alone.
 */
#ifndef FOLENI_COMMON_PAYMENT_ROW_H
#define FOLENI_COMMON_PAYMENT_ROW_H

#include "common/payment.h"

struct pg_result;

/** The columns in the order that payment_row_read() takes them. The table has
 *  the alias p. */
#define PAYMENT_COLUMNS                                                    \
    "p.id, p.client, p.fingerprint, p.msisdn, p.amount, p.shortcode, "     \
    "p.priority, p.ask_again, p.reference, p.description, p.metadata, "    \
    "p.requested_at, p.expires_at, p.deadline_at, p.source_topic, "        \
    "p.source_partition, p.source_offset, p.created_at, p.updated_at, "    \
    "p.state, p.waits, p.version, p.published_version, p.attempt, "        \
    "p.mac_key, p.spent, p.owner, p.holds_phone, p.pushed_at, "            \
    "p.next_action_at, p.auth_version, p.queries, p.query_code, "          \
    "p.query_code_at, p.checkout_id, p.merchant_id, p.class, p.evidence, " \
    "p.code, p.text, p.receipt, p.paid_at, p.paid_attempt, "               \
    "p.replays, p.replay"

/** Whether an open attempt names key $1 of callback paths, or none (an attempt
 *  of before there were numbers): one boolean. `waiting` is 3, for its proof 3,
 *  `unresolved` is 5; each part has an index. */
#define PAYMENT_KEY_USED_SQL                                                \
    "SELECT EXISTS (SELECT FROM payments WHERE next_action_at IS NOT NULL " \
    "AND (state <> 3 OR waits = 3) "                                        \
    "AND attempt > 0 AND mac_key IN ($1::int2, 0)) OR EXISTS (SELECT FROM " \
    "payments WHERE state = 3 AND (waits = 3) IS FALSE "                    \
    "AND attempt > 0 AND mac_key IN ($1::int2, 0)) OR EXISTS (SELECT FROM " \
    "payments WHERE state = 5 AND mac_key IN ($1::int2, 0))"

/** The same for every key but $1 and $2: common tables up to `g` (mac_key, n,
 *  id, attempt, text), in which each stands with how many attempts name it. */
#define PAYMENT_KEYS_MISSING_SQL                                           \
    "WITH o AS (SELECT id, attempt, mac_key FROM payments "                \
    "WHERE next_action_at IS NOT NULL AND (state <> 3 OR waits = 3) "      \
    "AND attempt > 0 UNION ALL SELECT id, attempt, mac_key FROM payments " \
    "WHERE state = 3 AND (waits = 3) IS FALSE AND attempt > 0 UNION ALL "  \
    "SELECT id, attempt, mac_key FROM payments WHERE state = 5), "         \
    "g AS (SELECT mac_key, count(*) AS n, (array_agg(id))[1] AS id, "      \
    "(array_agg(attempt))[1] AS attempt, "                                 \
    "'key ' || mac_key || ' of callback paths' AS text FROM o "            \
    "WHERE mac_key NOT IN (0, $1::int2, $2::int2) GROUP BY mac_key)"

/** Reads row @p row of @p r, whose PAYMENT_COLUMNS begin at column @p col. */
void payment_row_read(const struct pg_result *r, size_t row, size_t col,
                      struct payment *ret);

#endif
