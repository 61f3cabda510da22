/*
 * The audit trail of payments as SQL: what the hash of a row of `timeline`
 * covers. The worker writes it and `foleni doctor audit` computes it again, so
 * it stands here once.
 *
 * A hash is SHA-256 over record_send(ROW(...)): Postgres' binary form of each
 * value with its type and length in front (null has a length of its own). No
 * two different rows have one form, and the form does not depend on settings of
 * the session but client_encoding, which has to be UTF8. Types count: a value
 * has to have exactly that of its column.
 */
#ifndef FOLENI_COMMON_TRAIL_H
#define FOLENI_COMMON_TRAIL_H

/**
 * The hash of one row. @p prev is the hash of the version before, for version 1
 * TRAIL_SEED. In the order of the columns; "p.x" and such, as texts.
 */
#define TRAIL_HASH(prev, payment, version, at, state, waits, attempt, cause, \
                   code, text, evidence, receipt, worker)                    \
    "sha256(record_send(ROW(" prev ", " payment ", " version ", " at         \
    ", " state ", " waits ", " attempt ", " cause ", " code ", " text        \
    ", " evidence ", " receipt ", " worker ")))"

/** Where the chain of a payment begins: the columns that never change. @p p is
 *  a table's alias. */
#define TRAIL_SEED(p)                                                       \
    "record_send(ROW(" p ".client, " p ".fingerprint, " p ".msisdn, " p     \
    ".amount, " p ".shortcode, " p ".priority, " p ".ask_again, " p         \
    ".reference, " p ".description, " p ".metadata, " p ".requested_at, " p \
    ".expires_at, " p ".source_topic, " p ".source_partition, " p           \
    ".source_offset))"

_Static_assert(sizeof(TRAIL_SEED("p")) > sizeof("record_send(ROW(p.client))"),
               "a chain that begins with nothing proves nothing");

/** The transaction that appends, for the anchors; computed once a statement. */
#define TRAIL_TX "(SELECT pg_current_xact_id()::text::int8)"

/**
 * What an anchor covers of one table: rows whose transaction is in [from, to),
 * as columns n and hash. Ordered by @p order, which has to be unique.
 */
#define TRAIL_DIGEST(table, from, to, order)                               \
    "(SELECT count(*) AS n, sha256(coalesce(string_agg(s.hash, ''), '')) " \
    "AS hash FROM (SELECT d.hash FROM " table " d WHERE d.tx >= " from     \
    " AND d.tx < " to " ORDER BY " order ") AS s)"
#define TRAIL_TIMELINE(from, to) \
    TRAIL_DIGEST("timeline", from, to, "d.tx, d.payment, d.version")
#define TRAIL_ACTIONS(from, to) \
    TRAIL_DIGEST("operator_actions", from, to, "d.tx, d.id")

/** The hash of an anchor; @p prev is the one before's, empty for the first. */
#define TRAIL_ANCHOR(prev, number, at, from, to, timeline_n, timeline_hash, \
                     actions_n, actions_hash)                               \
    "sha256(record_send(ROW(" prev ", " number ", " at ", " from ", " to    \
    ", " timeline_n ", " timeline_hash ", " actions_n ", " actions_hash ")))"

/** The hash of an action of an operator, as audit_operator() writes it. */
#define TRAIL_ACTION_HASH(a)                                             \
    "sha256(record_send(ROW(" a ".id, " a ".at, " a ".action, " a        \
    ".subject, " a ".who, " a ".role, " a ".why, " a ".before::text, " a \
    ".after::text, " a ".prev_hash)))"

/** The hash of what a purge left, as purge_payments() writes it. */
#define TRAIL_PURGE_HASH(p)                                           \
    "sha256(record_send(ROW(" p ".number, " p ".at, " p ".anchor, " p \
    ".removed_n, " p ".timeline_n, " p ".timeline_hash, " p ".prev_hash)))"

#endif
