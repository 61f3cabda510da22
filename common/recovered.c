/*
 * The two statements, and a request as the JSON that the first one reads: one
 * parameter, whatever sends it, and as many rows as there are.
 */
#include "common/recovered.h"

#include "common/clock.h"

#include <stdio.h>

/* Numbers of the statements: state unknown, class lost_answer, cause
   FLOW_RECOVERED, which is consumer/flow.def's. */
_Static_assert(PAYMENT_UNKNOWN == 4 && RESULT_LOST == 14 &&
                   PAYMENT_SENDING == 1 && PAYMENT_UNRESOLVED == 5,
               "numbers in the statements");

/* Versions that were told of before the loss are not given a second time. */
#define AHEAD "1000"
#define RESULT_COLUMNS "class, evidence, code, text"
#define LOST                                           \
    "14, 0, '" RECOVERED_CODE                          \
    "', 'Postgres had forgotten this attempt; it may " \
    "have been pushed'"
#define TIMELINE                                                            \
    "t AS (INSERT INTO timeline (payment, version, state, waits, attempt, " \
    "cause, code, text) SELECT id, version, state, waits, attempt, 16, "    \
    "code, text FROM n) SELECT id FROM n"

const char recovered_enter_sql[] =
    "WITH r AS (SELECT * FROM jsonb_to_recordset($1::jsonb) AS r(id uuid, "
    "client uuid, fingerprint text, msisdn int8, amount int4, shortcode int4, "
    "priority int2, ask_again int2, reference text, description text, "
    "metadata text, requested_at text, expires_at text, deadline_at text, "
    "source_topic int2, source_partition int4, source_offset int8, "
    "attempt int4)), "
    "n AS (INSERT INTO payments (id, client, fingerprint, msisdn, amount, "
    "shortcode, priority, ask_again, reference, description, metadata, "
    "requested_at, expires_at, deadline_at, source_topic, source_partition, "
    "source_offset, attempt, state, version, spent, holds_phone, pushed_at, "
    "next_action_at, " RESULT_COLUMNS ") "
    "SELECT id, client, decode(fingerprint, 'hex'), msisdn, amount, "
    "shortcode, priority, ask_again, reference, description, "
    "nullif(metadata, ''), requested_at::timestamptz, "
    "expires_at::timestamptz, deadline_at::timestamptz, source_topic, "
    "source_partition, source_offset, attempt, 4, " AHEAD ", 0, "
    "row_number() OVER (PARTITION BY msisdn ORDER BY requested_at, id) = 1 "
    "AND NOT EXISTS (SELECT FROM payments h WHERE h.msisdn = r.msisdn "
    "AND h.holds_phone) AND NOT EXISTS (SELECT FROM payments k "
    "WHERE k.id = r.id), "
    "now(), now(), " LOST " FROM r ORDER BY msisdn, id "
    "ON CONFLICT (id) DO NOTHING "
    "RETURNING id, version, state, waits, attempt, code, text), " TIMELINE;

const char recovered_behind_sql[] =
    "WITH n AS (UPDATE payments SET state = 4, waits = 0, attempt = $2::int4, "
    "version = version + " AHEAD ", updated_at = now(), pushed_at = now(), "
    "next_action_at = now(), owner = NULL, checkout_id = NULL, "
    "merchant_id = NULL, query_code = NULL, query_code_at = NULL, "
    "(" RESULT_COLUMNS ") = (" LOST ") "
    "WHERE id = $1::uuid AND attempt < $2::int4 AND state BETWEEN 1 AND 5 "
    "RETURNING id, version, state, waits, attempt, code, text), " TIMELINE;

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
