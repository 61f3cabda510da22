/*
 * The statement, and a request as the JSON that it reads: one parameter,
 * whatever sends it, and as many rows as there are.
 */
#include "common/recovered.h"

#include "common/clock.h"
#include "common/trail.h"

#include <stdio.h>

/* Numbers of the statement: state unknown, class lost_answer, cause
   FLOW_RECOVERED, which is consumer/flow.def's. */
_Static_assert(PAYMENT_UNKNOWN == 4 && RESULT_LOST == 14,
               "numbers in the statement");

_Static_assert(RECOVERED_AHEAD == 1000, "text in the statement");
#define AHEAD "1000"
#define TEXT RECOVERED_TEXT
#define RESULT_COLUMNS "class, evidence, code, text"
#define RESULT "14, 0, '" RECOVERED_CODE "', '" TEXT "'"

/* The next link of the payment's chain. */
#define LINK(prev, id, version, attempt, receipt)                            \
    TRAIL_HASH(prev, id, version, "now()", "4::int2", "0::int2", attempt,    \
               "16::int2", "'" RECOVERED_CODE "'::text", "'" TEXT "'::text", \
               "0::int2", receipt, "NULL::int8")

#define TIMELINE                                                            \
    "t AS (INSERT INTO timeline (payment, version, at, state, waits, "      \
    "attempt, cause, code, text, receipt, tx, hash) SELECT id, version, "   \
    "now(), state, waits, attempt, 16, code, text, receipt, " TRAIL_TX ", " \
    "hash FROM n ON CONFLICT (payment, version) DO NOTHING) "               \
    "SELECT id FROM n"
#define RETURNING                                                         \
    "RETURNING id, version, state, waits, attempt, code, text, receipt, " \
    "hash), "

const char recovered_enter_sql[] =
    "WITH r AS (SELECT id, client, decode(fingerprint, 'hex') AS fingerprint, "
    "msisdn, amount, shortcode, priority, ask_again, reference, description, "
    "nullif(metadata, '') AS metadata, requested_at, expires_at, deadline_at, "
    "source_topic, source_partition, source_offset, attempt "
    "FROM jsonb_to_recordset($1::jsonb) AS j(id uuid, "
    "client uuid, fingerprint text, msisdn int8, amount int4, shortcode int4, "
    "priority int2, ask_again int2, reference text, description text, "
    "metadata text, requested_at timestamptz, expires_at timestamptz, "
    "deadline_at timestamptz, source_topic int2, source_partition int4, "
    "source_offset int8, attempt int4)), "
    "n AS (INSERT INTO payments (id, client, fingerprint, msisdn, amount, "
    "shortcode, priority, ask_again, reference, description, metadata, "
    "requested_at, expires_at, deadline_at, source_topic, source_partition, "
    "source_offset, attempt, state, version, spent, holds_phone, pushed_at, "
    "next_action_at, hash, " RESULT_COLUMNS ") "
    "SELECT r.*, 4, " AHEAD ", 0, "
    "row_number() OVER (PARTITION BY msisdn ORDER BY requested_at, id) = 1 "
    "AND NOT EXISTS (SELECT FROM payments h WHERE h.msisdn = r.msisdn "
    "AND h.holds_phone) AND NOT EXISTS (SELECT FROM payments k "
    "WHERE k.id = r.id), now(), now(), " LINK(
        TRAIL_SEED("r"), "r.id", AHEAD, "r.attempt",
        "NULL::text") ", " RESULT " FROM r ORDER BY msisdn, id ON CONFLICT "
                      "(id) DO NOTHING " RETURNING TIMELINE;

static void put_hex(struct json_out *j, const char *name, const uint8_t *bytes,
                    size_t n)
{
    char hex[2 * FINGERPRINT_SIZE + 1];

    for (size_t i = 0; i < n; i++)
        snprintf(hex + 2 * i, 3, "%02x", bytes[i]);
    json_put_text(j, name, hex);
}

static void put_id(struct json_out *j, const char *name, const struct uuid *id)
{
    char text[UUID_TEXT_SIZE];

    uuid_format(id, text);
    json_put_text(j, name, text);
}

static void put_time(struct json_out *j, const char *name, int64_t at)
{
    char text[CLOCK_TEXT_SIZE];

    if (!at)
        return; /* absent is null */
    clock_format(at, 6, text);
    json_put_text(j, name, text);
}

static void put_request(struct json_out *j, const struct request *req)
{
    put_id(j, "id", &req->id);
    put_id(j, "client", &req->client);
    put_hex(j, "fingerprint", req->fingerprint, FINGERPRINT_SIZE);
    json_put_int(j, "msisdn", req->msisdn);
    json_put_int(j, "amount", req->amount);
    json_put_int(j, "shortcode", req->shortcode);
    json_put_int(j, "priority", req->priority);
    json_put_int(j, "ask_again", req->ask_again);
    json_put_text(j, "reference", req->reference);
    json_put_text(j, "description", req->description);
    json_put_text(j, "metadata", req->metadata);
    put_time(j, "requested_at", req->requested_at);
    put_time(j, "expires_at", req->expires_at);
}

void recovered_put(struct json_out *j, const struct recovered *row)
{
    json_open(j, NULL, '{');
    put_request(j, row->req);
    put_time(j, "deadline_at", row->deadline_at);
    json_put_int(j, "source_topic", row->topic);
    json_put_int(j, "source_partition", row->partition);
    json_put_int(j, "source_offset", row->offset);
    json_put_int(j, "attempt", row->attempt);
    json_close(j, '}');
}
