/*
 * Codecs: what protects a record, what a reader must not believe, and that
 * everything written is read back. Single members and their bounds are in
 * schemas/examples, which the contract tests run.
 */
#include "common/wire.h"

#include "common/buf.h"
#include "common/clock.h"
#include "common/sign.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SHOP "5a1f3f0e-6d0b-4a9b-9f6e-0c5a0a7d1e01"
#define BILLS "5a1f3f0e-6d0b-4a9b-9f6e-0c5a0a7d1e02"
#define NOW_AT INT64_C(1795248000000000) /* 2026-11-21T08:00:00Z */
#define NOW_MS "1795248000000"
#define PHONE "254712345678"
#define MAC_KEY "test-key-of-the-callback-paths"
#define SMALLEST "{\"msisdn\":\"0712345678\",\"amount\":1,\"reference\":\"A\"}"

static struct client clients[] = {
    {.id = SHOP, .name = "shop", .signing_secret = "secret-of-the-shop"},
    {.id = BILLS, .name = "bills", .signing_secret = ""},
};
static struct shortcode shortcodes[] = {{.shortcode = 174379},
                                        {.shortcode = 600000}};
static struct config cfg;

static int set_up(void **state)
{
    struct err err;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(clients); i++)
        if (uuid_parse(clients[i].id, strlen(clients[i].id), &clients[i].uuid,
                       &err))
            return -1;
    cfg = (struct config){
        .clients = clients,
        .clients_n = ARRAY_LEN(clients),
        .shortcodes = shortcodes,
        .shortcodes_n = 1,
        .payments_clock_skew_ms = 30000,
    };
    return 0;
}

/* --- bodies --- */

static struct request good_body(const char *body)
{
    struct request req;
    struct fault f;

    memset(&req, 0xaa, sizeof(req));
    if (wire_read_body(&cfg, &clients[0], "order-42", body, strlen(body),
                       NOW_AT + 789, &req, &f))
        fail_msg("%s: %s %s %s", body, f.code, f.field, f.text);
    return req;
}

static void assert_fault(const struct fault *f, const char *code,
                         const char *field)
{
    assert_string_equal(f->code, code);
    assert_string_equal(f->field, field);
    assert_true(*f->text);
}

static void assert_bad_body(const char *body, const char *code,
                            const char *field)
{
    struct request req, before;
    struct fault f;

    memset(&req, 0xaa, sizeof(req));
    before = req;
    if (!wire_read_body(&cfg, &clients[0], "order-42", body, strlen(body),
                        NOW_AT, &req, &f))
        fail_msg("took %s", body);
    assert_fault(&f, code, field);
    assert_memory_equal(&req, &before, sizeof(req));
}

static void test_body_gets_its_defaults(void **state)
{
    struct request req = good_body(SMALLEST);
    char id[UUID_TEXT_SIZE];

    (void)state;
    uuid_format(&req.id, id);
    assert_string_equal(id, "19d05f16-8fdd-56a4-a576-2d89f589f6c2");
    assert_true(uuid_equal(&req.client, &clients[0].uuid));
    assert_int_equal(req.msisdn, INT64_C(254712345678));
    assert_int_equal(req.amount, 1);
    assert_int_equal(req.shortcode, 174379);
    assert_int_equal(req.priority, PRIORITY_NORMAL);
    assert_int_equal(req.ask_again, 0);
    assert_string_equal(req.reference, "A");
    assert_string_equal(req.description, "Payment");
    assert_string_equal(req.metadata, "");
    assert_int_equal(req.requested_at, NOW_AT); /* cut to milliseconds */
    assert_int_equal(req.expires_at, 0);
}

static void test_body_with_everything(void **state)
{
    struct request req = good_body(
        "{\"metadata\":{\"b\":\"2\",\"a\":\"1\"},\"ask_again\":2,"
        "\"expires_at\":\"2026-11-21T11:00:00.0019+03:00\","
        "\"priority\":\"low\",\"shortcode\":\"174379\","
        "\"description\":\"Order 42\",\"reference\":\"INV0000042\","
        "\"currency\":\"KES\",\"amount\":250000,\"msisdn\":112345678}");

    (void)state;
    assert_int_equal(req.msisdn, INT64_C(254112345678));
    assert_int_equal(req.amount, 250000);
    assert_int_equal(req.priority, PRIORITY_LOW);
    assert_int_equal(req.ask_again, 2);
    assert_string_equal(req.reference, "INV0000042");
    assert_string_equal(req.description, "Order 42");
    assert_string_equal(req.metadata, "{\"a\":\"1\",\"b\":\"2\"}");
    assert_int_equal(req.expires_at, NOW_AT + US_PER_MS);
}

static void test_faults_name_their_member(void **state)
{
    (void)state;
    assert_bad_body("", "invalid_json", "");
    assert_bad_body("[]", "invalid_json", "");
    assert_bad_body("{}", "missing_field", "msisdn");
    assert_bad_body("{\"msisdn\":\"1\"}", "invalid_field", "msisdn");
    assert_bad_body("{\"Amount\":1}", "unknown_field", "Amount");
    assert_bad_body("{\"version\":1}", "unknown_field", "version");
    assert_bad_body("{\"amount\":1.5}", "invalid_field", "amount");
    assert_bad_body("{\"amount\":1,\"amount\":1}", "invalid_json", "");
    assert_bad_body("{\"shortcode\":600000}", "unknown_shortcode", "shortcode");
    assert_bad_body("{\"metadata\":{\"ok\":\"1\",\"foo\":7}}", "invalid_field",
                    "metadata.foo");
    assert_bad_body("{\"metadata\":{\"\":\"7\"}}", "invalid_field",
                    "metadata.");
    /* the first fault of a document is told */
    assert_bad_body("{\"x\":1,\"amount\":0}", "unknown_field", "x");
}

static void test_long_names_in_faults_are_cut(void **state)
{
    struct fault f;
    struct request req;
    struct buf b;

    (void)state;
    buf_init(&b, 1000);
    buf_addc(&b, '{');
    buf_addc(&b, '"');
    for (int i = 0; i < 100; i++)
        buf_adds(&b, "\xc3\xa9");
    buf_adds(&b, "\":1}");
    assert_int_equal(
        wire_read_body(&cfg, &clients[0], "k", b.data, b.len, NOW_AT, &req, &f),
        ERR_INPUT);
    assert_string_equal(f.code, "unknown_field");
    assert_int_equal(strlen(f.field), 62); /* 31 whole characters */
    buf_done(&b);
}

static void test_idempotency_key(void **state)
{
    struct request req;
    struct fault f;
    char key[IDEMPOTENCY_KEY_MAX + 2];
    const char *const bad[] = {"", " ", "a ", " a", "a\tb", "\x7f", "\xc3\xa9"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(wire_read_body(&cfg, &clients[0], bad[i], SMALLEST,
                                        strlen(SMALLEST), NOW_AT, &req, &f),
                         ERR_INPUT);
        assert_fault(&f, "invalid_field", "Idempotency-Key");
    }
    memset(key, 'k', sizeof(key));
    key[IDEMPOTENCY_KEY_MAX + 1] = '\0';
    assert_int_equal(wire_read_body(&cfg, &clients[0], key, SMALLEST,
                                    strlen(SMALLEST), NOW_AT, &req, &f),
                     ERR_INPUT);
    key[IDEMPOTENCY_KEY_MAX] = '\0';
    assert_int_equal(wire_read_body(&cfg, &clients[0], key, SMALLEST,
                                    strlen(SMALLEST), NOW_AT, &req, &f),
                     ERR_NONE);
}

static void test_expiry_lies_after_the_request(void **state)
{
    (void)state;
    assert_bad_body("{\"expires_at\":\"2026-11-21T08:00:00Z\"}",
                    "invalid_field", "expires_at");
    assert_bad_body("{\"expires_at\":\"2026-11-21T08:00:00.0009Z\"}",
                    "invalid_field", "expires_at");
    assert_bad_body("{\"expires_at\":\"1999-01-01T00:00:00Z\"}",
                    "invalid_field", "expires_at");
    assert_bad_body("{\"expires_at\":\"2026-11-21T08:00:00.001Z\"}",
                    "missing_field", "msisdn");
}

static void test_shortcode_is_needed_where_there_are_two(void **state)
{
    struct request req;

    (void)state;
    cfg.shortcodes_n = 2;
    assert_bad_body(SMALLEST, "missing_field", "shortcode");
    req = good_body("{\"msisdn\":\"0712345678\",\"amount\":1,\"reference\":"
                    "\"A\",\"shortcode\":600000}");
    assert_int_equal(req.shortcode, 600000);
    cfg.shortcodes_n = 1;
}

static void test_equal_requests_have_equal_fingerprints(void **state)
{
    static const char *const equal[] = {
        "{\"msisdn\":\"0712345678\",\"amount\":1,\"reference\":\"A\"}",
        "{\"reference\":\"A\",\"msisdn\":254712345678,\"amount\":1.0,"
        "\"metadata\":{},\"currency\":\"KES\",\"shortcode\":174379,"
        "\"description\":\"Payment\",\"priority\":\"normal\",\"ask_again\":0}",
    };
    static const char *const others[] = {
        "{\"msisdn\":\"0712345679\",\"amount\":1,\"reference\":\"A\"}",
        "{\"msisdn\":\"0712345678\",\"amount\":2,\"reference\":\"A\"}",
        "{\"msisdn\":\"0712345678\",\"amount\":1,\"reference\":\"a\"}",
        "{\"msisdn\":\"0712345678\",\"amount\":1,\"reference\":\"A\","
        "\"description\":\"X\"}",
        "{\"msisdn\":\"0712345678\",\"amount\":1,\"reference\":\"A\","
        "\"priority\":\"high\"}",
        "{\"msisdn\":\"0712345678\",\"amount\":1,\"reference\":\"A\","
        "\"ask_again\":1}",
        "{\"msisdn\":\"0712345678\",\"amount\":1,\"reference\":\"A\","
        "\"expires_at\":\"2027-01-01T00:00:00Z\"}",
        "{\"msisdn\":\"0712345678\",\"amount\":1,\"reference\":\"A\","
        "\"metadata\":{\"a\":\"1\"}}",
    };
    struct request a = good_body(equal[0]), b = good_body(equal[1]);

    (void)state;
    assert_memory_equal(&a, &b, sizeof(a));
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        b = good_body(others[i]);
        assert_true(uuid_equal(&a.id, &b.id));
        assert_memory_not_equal(a.fingerprint, b.fingerprint, FINGERPRINT_SIZE);
    }
}

static void test_metadata_sizes(void **state)
{
    struct request req;
    struct fault f;
    struct buf b;

    (void)state;
    buf_init(&b, 4096);
    /* 29 bytes of brackets and names, 3 * 250 of escapes, and 2 * n */
    for (int n = 121; n <= 123; n++) {
        buf_reset(&b);
        buf_adds(&b, "{\"msisdn\":\"0712345678\",\"amount\":1,"
                     "\"reference\":\"A\",\"metadata\":{");
        for (int m = 0; m < 4; m++) {
            buf_addf(&b, "%s\"%c\":\"", m ? "," : "", 'a' + m);
            for (int i = 0; i < (m ? 125 : n); i++)
                buf_adds(&b, "\\n");
            buf_adds(&b, "\"");
        }
        buf_adds(&b, "}}");
        assert_int_equal(wire_read_body(&cfg, &clients[0], "k", b.data, b.len,
                                        NOW_AT, &req, &f),
                         n > 122 ? ERR_INPUT : ERR_NONE);
        if (n > 122)
            assert_fault(&f, "invalid_field", "metadata");
        else
            assert_int_equal(strlen(req.metadata), 29 + 750 + 2 * n);
    }
    buf_done(&b);
}

/* --- records --- */

struct made {
    struct kafka_record record;
    struct kafka_header headers[3];
    char mac[RECORD_MAC_SIZE];
    char value[512];
};

/* A record as the shop would make it; @p m must stay where it is. */
static void make(struct made *m, const char *client, const char *secret,
                 const char *time, const char *value)
{
    struct record_claim claim = {client, time, PHONE, 12, value, strlen(value)};

    text_copy(m->value, sizeof(m->value), value);
    sign_record(secret, &claim, m->mac);
    m->headers[0] = (struct kafka_header){HDR_CLIENT, client, strlen(client)};
    m->headers[1] = (struct kafka_header){HDR_TIME, time, strlen(time)};
    m->headers[2] = (struct kafka_header){HDR_SIGNATURE, m->mac, 64};
    m->record = (struct kafka_record){
        .key = PHONE,
        .key_len = 12,
        .value = m->value,
        .value_len = strlen(value),
        .headers = m->headers,
        .headers_n = 3,
    };
}

#define VALUE                                                             \
    "{\"version\":1,\"idempotency_key\":\"order-42\",\"msisdn\":\"" PHONE \
    "\",\"amount\":1,\"reference\":\"A\"}"

static void make_good(struct made *m)
{
    make(m, SHOP, clients[0].signing_secret, NOW_MS, VALUE);
}

static enum err_code read_record(const struct made *m, struct request *req,
                                 struct fault *f)
{
    return wire_read_request(&cfg, &m->record, TOPIC_NORMAL, NOW_AT, req, f);
}

static void assert_bad_record(const struct made *m, const char *code,
                              const char *field)
{
    struct request req;
    struct fault f;

    assert_int_equal(read_record(m, &req, &f), ERR_INPUT);
    assert_fault(&f, code, field);
}

static void test_record_is_read_as_the_body_is(void **state)
{
    struct request body = good_body(SMALLEST), req;
    struct made m;
    struct fault f;

    (void)state;
    make_good(&m);
    memset(&req, 0xaa, sizeof(req));
    assert_int_equal(read_record(&m, &req, &f), ERR_NONE);
    assert_memory_equal(&req, &body, sizeof(req));
}

static void test_what_is_written_is_read(void **state)
{
    struct request a = good_body(
        "{\"msisdn\":\"0712345678\",\"amount\":7,\"reference\":\"A\","
        "\"expires_at\":\"2026-11-21T08:00:00.001Z\",\"ask_again\":1,"
        "\"metadata\":{\"z\":\"\\u0001\\\"\\\\\",\"a\":\"\xc3\xa9\"}}");
    struct request b;
    struct made m;
    struct fault f;
    struct buf out;

    (void)state;
    buf_init(&out, 4096);
    wire_write_request(&a, "order-42", &out);
    make(&m, SHOP, clients[0].signing_secret, NOW_MS, out.data);
    assert_int_equal(read_record(&m, &b, &f), ERR_NONE);
    assert_memory_equal(&a, &b, sizeof(a));
    buf_done(&out);
}

static void test_every_signed_byte_counts(void **state)
{
    struct made m;

    (void)state;
    make_good(&m);
    for (size_t i = 0; i < m.record.value_len; i++) {
        m.value[i] ^= 1;
        assert_bad_record(&m, "bad_signature", HDR_SIGNATURE);
        m.value[i] ^= 1;
    }
    for (size_t i = 0; i < 64; i++) {
        m.mac[i] ^= 1;
        assert_bad_record(&m, "bad_signature", HDR_SIGNATURE);
        m.mac[i] ^= 1;
    }
    m.record.key = "254712345679";
    assert_bad_record(&m, "bad_signature", HDR_SIGNATURE);
    m.record.key = PHONE;
    m.headers[1].value = "1795248000001";
    assert_bad_record(&m, "bad_signature", HDR_SIGNATURE);
    m.headers[1].value = NOW_MS;
    m.headers[2].len = 63;
    assert_bad_record(&m, "bad_signature", HDR_SIGNATURE);
    m.headers[2].len = 0;
    assert_bad_record(&m, "bad_signature", HDR_SIGNATURE);
    make(&m, SHOP, "another-secret", NOW_MS, VALUE);
    assert_bad_record(&m, "bad_signature", HDR_SIGNATURE);
}

static void test_unsigned_records(void **state)
{
    struct made m;
    struct request req;
    struct fault f;

    (void)state;
    make_good(&m);
    m.record.headers_n = 2;
    assert_bad_record(&m, "unsigned", HDR_SIGNATURE);
    cfg.kafka_unsigned_requests = true;
    assert_int_equal(read_record(&m, &req, &f), ERR_NONE);
    /* a wrong signature is wrong all the same */
    m.record.headers_n = 3;
    m.mac[0] ^= 1;
    assert_bad_record(&m, "bad_signature", HDR_SIGNATURE);
    cfg.kafka_unsigned_requests = false;
}

/* Everybody can sign with an empty secret. */
static void test_client_without_a_secret(void **state)
{
    struct made m;
    struct request req;
    struct fault f;

    (void)state;
    make(&m, BILLS, "", NOW_MS, VALUE);
    assert_bad_record(&m, "unsigned", HDR_SIGNATURE);
    cfg.kafka_unsigned_requests = true;
    assert_int_equal(read_record(&m, &req, &f), ERR_NONE);
    assert_true(uuid_equal(&req.client, &clients[1].uuid));
    cfg.kafka_unsigned_requests = false;
}

static void test_unknown_clients(void **state)
{
    static const char *const ids[] = {"", "shop",
                                      "5a1f3f0e-6d0b-4a9b-9f6e-0c5a0a7d1e0",
                                      "5a1f3f0e-6d0b-4a9b-9f6e-0c5a0a7d1e03",
                                      "5a1f3f0e-6d0b-4a9b-9f6e-0c5a0a7d1e011"};
    struct made m;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
        make(&m, ids[i], clients[0].signing_secret, NOW_MS, VALUE);
        assert_bad_record(&m, "unknown_client", HDR_CLIENT);
    }
    make_good(&m);
    m.headers[0].name = "x";
    assert_bad_record(&m, "unknown_client", HDR_CLIENT);
}

static void test_times_of_records(void **state)
{
    static const struct {
        const char *time;
        bool good;
    } cases[] = {
        {NOW_MS, true},
        {"1", true}, /* late, and the flow's to reject */
        {"1795248030000", true},
        {"1795248030001", false},
        {"0", false},
        {"", false},
        {"-1", false},
        {"+1", false},
        {"1.5", false},
        {" 1", false},
        {"1795248000000x", false},
        {"253402300800000", false},
        {"9223372036854775807", false},
        {"99999999999999999999999999", false},
    };
    struct made m;
    struct request req;
    struct fault f;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        make(&m, SHOP, clients[0].signing_secret, cases[i].time, VALUE);
        if (cases[i].good)
            assert_int_equal(read_record(&m, &req, &f), ERR_NONE);
        else
            assert_bad_record(&m, "bad_time", HDR_TIME);
    }
    make_good(&m);
    m.headers[1].name = "x";
    assert_bad_record(&m, "bad_time", HDR_TIME);
}

/* Good when it was asked, late when it is read: not a malformed record. */
static void test_expired_record_is_a_good_one(void **state)
{
    struct made m;
    struct request req;
    struct fault f;

    (void)state;
    make(&m, SHOP, clients[0].signing_secret, "1795247000000",
         "{\"version\":1,\"idempotency_key\":\"k\",\"msisdn\":\"" PHONE
         "\",\"amount\":1,\"reference\":\"A\","
         "\"expires_at\":\"2026-11-21T07:55:00Z\"}");
    assert_int_equal(read_record(&m, &req, &f), ERR_NONE);
    assert_int_equal(req.requested_at, INT64_C(1795247000000000));
    assert_int_equal(req.expires_at, NOW_AT - 300 * US_PER_S);
    make(&m, SHOP, clients[0].signing_secret, NOW_MS,
         "{\"version\":1,\"idempotency_key\":\"k\",\"msisdn\":\"" PHONE
         "\",\"amount\":1,\"reference\":\"A\","
         "\"expires_at\":\"2026-11-21T07:55:00Z\"}");
    assert_bad_record(&m, "invalid_field", "expires_at");
}

static void test_records_of_another_version(void **state)
{
    struct made m;

    (void)state;
    /* whatever else is in it: we cannot know */
    make(&m, SHOP, clients[0].signing_secret, NOW_MS,
         "{\"new\":1,\"amount\":0,\"version\":2}");
    assert_bad_record(&m, "unknown_version", "version");
    make(&m, SHOP, clients[0].signing_secret, NOW_MS, "{}");
    assert_bad_record(&m, "unknown_version", "version");
    make(&m, SHOP, clients[0].signing_secret, NOW_MS, "{\"version\":\"1\"}");
    assert_bad_record(&m, "unknown_version", "version");
    make(&m, SHOP, clients[0].signing_secret, NOW_MS, "{\"version\":1}");
    assert_bad_record(&m, "missing_field", "idempotency_key");
}

static void test_records_without_key_or_value(void **state)
{
    struct made m;
    struct record_claim claim = {SHOP, NOW_MS, NULL, 0, VALUE, strlen(VALUE)};

    (void)state;
    make_good(&m);
    m.record.key = NULL;
    m.record.key_len = 0;
    sign_record(clients[0].signing_secret, &claim, m.mac);
    assert_bad_record(&m, "bad_key", "");
    make(&m, SHOP, clients[0].signing_secret, NOW_MS, "");
    m.record.value = NULL;
    assert_bad_record(&m, "invalid_json", "");
}

static void test_record_lies_where_its_priority_says(void **state)
{
    struct made m;
    struct request req;
    struct fault f;

    (void)state;
    make_good(&m);
    assert_int_equal(
        wire_read_request(&cfg, &m.record, TOPIC_HIGH, NOW_AT, &req, &f),
        ERR_INPUT);
    assert_fault(&f, "wrong_topic", "priority");
    assert_int_equal(
        wire_read_request(&cfg, &m.record, TOPIC_LOW, NOW_AT, &req, &f),
        ERR_INPUT);
    assert_fault(&f, "wrong_topic", "priority");
}

/* --- documents and events --- */

static struct payment paid(void)
{
    struct payment p = {
        .created_at = NOW_AT,
        .updated_at = NOW_AT + 17250 * US_PER_MS,
        .deadline_at = NOW_AT + 900 * US_PER_S,
        .state = PAYMENT_SUCCEEDED,
        .version = 3,
        .attempt = 1,
        .class = RESULT_PAID,
        .code = "0",
        .text = "done",
        .receipt = "RLA0X1Y2Z3",
        .paid_at = NOW_AT + 16 * US_PER_S,
    };

    p.req = good_body(SMALLEST);
    return p;
}

static void test_document_of_a_queued_payment(void **state)
{
    struct payment p = {.state = PAYMENT_QUEUED};
    struct buf b;

    (void)state;
    p.req = good_body(SMALLEST);
    buf_init(&b, 4096);
    wire_write_payment(&p, &b);
    assert_string_equal(
        b.data,
        "{\"id\":\"19d05f16-8fdd-56a4-a576-2d89f589f6c2\","
        "\"status\":\"queued\",\"final\":false,\"version\":0,\"attempts\":0,"
        "\"result\":null,\"created_at\":\"2026-11-21T08:00:00.000Z\","
        "\"updated_at\":\"2026-11-21T08:00:00.000Z\","
        "\"request\":{\"msisdn\":\"254712345678\",\"amount\":1,"
        "\"currency\":\"KES\",\"reference\":\"A\","
        "\"description\":\"Payment\",\"shortcode\":\"174379\","
        "\"priority\":\"normal\",\"ask_again\":0}}");
    buf_done(&b);
}

struct event {
    struct kafka_record record;
    struct kafka_header headers[4];
    struct buf value;
    char key[UUID_TEXT_SIZE], fingerprint[2 * FINGERPRINT_SIZE + 1];
};

static void make_event(struct event *e, const struct payment *p)
{
    struct buf hex;

    buf_init(&e->value, 8192);
    wire_write_event(p, &e->value);
    uuid_format(&p->req.id, e->key);
    buf_over(&hex, e->fingerprint, sizeof(e->fingerprint));
    buf_addhex(&hex, p->req.fingerprint, FINGERPRINT_SIZE);
    e->headers[0] = (struct kafka_header){HDR_CLIENT, SHOP, 36};
    e->headers[1] = (struct kafka_header){HDR_FINGERPRINT, e->fingerprint, 32};
    e->headers[2] = (struct kafka_header){HDR_VERSION, "3", 1};
    e->headers[3] = (struct kafka_header){HDR_FINAL, "1", 1};
    e->record = (struct kafka_record){
        .key = e->key,
        .key_len = 36,
        .value = e->value.data,
        .value_len = e->value.len,
        .headers = e->headers,
        .headers_n = 4,
    };
}

static void test_event_is_read_back(void **state)
{
    struct payment p = paid();
    struct event_summary s;
    struct event e;
    struct buf document;
    struct err err;

    (void)state;
    text_copy(p.req.metadata, sizeof(p.req.metadata),
              "{\",\\\"data\\\":{\":\",\\\"data\\\":{\"}");
    make_event(&e, &p);
    buf_init(&document, 4096);
    wire_write_payment(&p, &document);
    assert_int_equal(wire_read_event(&e.record, &s, &err), ERR_NONE);
    assert_true(uuid_equal(&s.payment, &p.req.id));
    assert_true(uuid_equal(&s.client, &clients[0].uuid));
    assert_memory_equal(s.fingerprint, p.req.fingerprint, FINGERPRINT_SIZE);
    assert_int_equal(s.version, 3);
    assert_true(s.final);
    assert_int_equal(s.document_len, document.len);
    assert_memory_equal(s.document, document.data, document.len);
    buf_done(&document);
    buf_done(&e.value);
}

static void assert_bad_event(const struct event *e)
{
    struct event_summary s;
    struct err err;

    assert_int_equal(wire_read_event(&e->record, &s, &err), ERR_INPUT);
    assert_true(*err.text);
}

static void test_events_with_other_headers_are_refused(void **state)
{
    static const struct {
        int header;
        const char *value;
    } bad[] = {
        {0, "shop"}, {0, ""}, {1, "00"},          {1, "zz"},
        {2, "x"},    {2, ""}, {2, "99999999999"}, {2, "-1"},
        {3, "2"},    {3, ""}, {3, "10"},          {3, "true"},
    };
    struct payment p = paid();
    struct event e;

    (void)state;
    make_event(&e, &p);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct kafka_header was = e.headers[bad[i].header];

        e.headers[bad[i].header].value = bad[i].value;
        e.headers[bad[i].header].len = strlen(bad[i].value);
        assert_bad_event(&e);
        e.headers[bad[i].header] = was;
    }
    for (int i = 0; i < 4; i++) {
        const char *was = e.headers[i].name;

        e.headers[i].name = "x";
        assert_bad_event(&e);
        e.headers[i].name = was;
    }
    buf_done(&e.value);
}

static void test_events_of_another_layout_are_refused(void **state)
{
    struct payment p = paid();
    struct event e;

    (void)state;
    make_event(&e, &p);
    e.record.key = NULL;
    assert_bad_event(&e);
    e.record.key = "19d05f16-8fdd-56a4-a576-2d89f589f6c3"; /* not the value's */
    assert_bad_event(&e);
    e.record.key = e.key;
    e.record.key_len = 35;
    assert_bad_event(&e);
    e.record.key_len = 36;
    e.record.value_len--; /* it ends with }}} still: the next one does not */
    e.value.data[e.record.value_len - 1] = ']';
    assert_bad_event(&e);
    for (size_t n = 0; n < 240; n++) { /* cut before its data */
        e.record.value_len = n;
        assert_bad_event(&e);
    }
    e.record.value = NULL;
    e.record.value_len = 0;
    assert_bad_event(&e);
    buf_done(&e.value);
}

static void test_events_fit_their_bounds(void **state)
{
    struct payment p = paid();
    struct event_summary s;
    struct event e;
    struct err err;

    (void)state;
    /* everything at its longest, the largest numbers, escapes in all texts */
    memset(p.req.metadata, '\0', sizeof(p.req.metadata));
    memset(p.req.metadata, 'x', METADATA_MAX);
    memcpy(p.req.metadata, "{\"a\":\"", 6);
    memcpy(p.req.metadata + METADATA_MAX - 2, "\"}", 2);
    memset(p.text, '\x01', RESULT_TEXT_MAX);
    memset(p.code, '\x01', RESULT_CODE_MAX);
    memset(p.receipt, '\x01', RECEIPT_MAX);
    memset(p.req.reference, 'R', REFERENCE_MAX);
    memset(p.req.description, 'D', DESCRIPTION_MAX);
    p.req.description[DESCRIPTION_MAX] = '\0';
    p.version = p.attempt = INT_MAX;
    p.req.expires_at = NOW_AT + 1;
    p.state = PAYMENT_SUPERSEDED;
    make_event(&e, &p);
    assert_false(e.value.failed);
    assert_in_range(e.value.len, 3000, 4096); /* 8 kB are enough for all */
    assert_int_equal(wire_read_event(&e.record, &s, &err), ERR_NONE);
    buf_done(&e.value);
}

/* --- callbacks --- */

/* One key; the other may be NULL where nobody has loaded settings. */
static const struct config keys = {.callbacks_mac_key = MAC_KEY};

struct address {
    struct kafka_record record;
    struct kafka_header headers[3];
    char mac[CALLBACK_MAC_SIZE];
};

static void make_address(struct address *a, const char *payment,
                         const char *attempt, int signed_attempt)
{
    struct uuid id = {{0}};
    struct err err;

    (void)!uuid_parse(payment, strlen(payment), &id, &err);
    sign_callback(MAC_KEY, &id, signed_attempt, a->mac);
    a->headers[0] =
        (struct kafka_header){HDR_PAYMENT, payment, strlen(payment)};
    a->headers[1] =
        (struct kafka_header){HDR_ATTEMPT, attempt, strlen(attempt)};
    a->headers[2] = (struct kafka_header){HDR_MAC, a->mac, 32};
    a->record = (struct kafka_record){.headers = a->headers, .headers_n = 3};
}

#define PAYMENT "19d05f16-8fdd-56a4-a576-2d89f589f6c2"

static void test_callback_address(void **state)
{
    struct callback_address at;
    struct address a;
    struct err err;

    (void)state;
    make_address(&a, PAYMENT, "2147483647", INT_MAX);
    assert_int_equal(wire_read_callback_address(&a.record, &keys, &at, &err),
                     ERR_NONE);
    assert_int_equal(at.attempt, INT_MAX);
    assert_int_equal(at.payment.b[0], 0x19);
}

static void assert_bad_address(const struct address *a, const char *key,
                               enum err_code want)
{
    struct config one = {.callbacks_mac_key = key};
    struct callback_address at;
    struct err err;

    assert_int_equal(wire_read_callback_address(&a->record, &one, &at, &err),
                     want);
}

static void test_forged_callback_addresses(void **state)
{
    struct address a;

    (void)state;
    make_address(&a, PAYMENT, "2", 1);
    assert_bad_address(&a, MAC_KEY, ERR_DENIED);
    make_address(&a, PAYMENT, "1", 1);
    assert_bad_address(&a, "another-key", ERR_DENIED);
    for (size_t i = 0; i < 32; i++) {
        a.mac[i] ^= 1;
        assert_bad_address(&a, MAC_KEY, ERR_DENIED);
        a.mac[i] ^= 1;
    }
    a.headers[2].len = 31;
    assert_bad_address(&a, MAC_KEY, ERR_DENIED);
    a.headers[2].len = 0;
    assert_bad_address(&a, MAC_KEY, ERR_DENIED);
    a.headers[2].name = "x";
    assert_bad_address(&a, MAC_KEY, ERR_DENIED);
}

/* While keys change, a callback of either is one of ours. */
static void test_callbacks_of_two_keys(void **state)
{
    struct config two = {.callbacks_mac_key = "the-newer-key-of-ours",
                         .callbacks_second_mac_key = MAC_KEY};
    struct callback_address at;
    struct address a;
    struct err err;

    (void)state;
    make_address(&a, PAYMENT, "1", 1);
    assert_int_equal(wire_read_callback_address(&a.record, &two, &at, &err),
                     ERR_NONE);
    sign_callback(two.callbacks_mac_key, &at.payment, 1, a.mac);
    assert_int_equal(wire_read_callback_address(&a.record, &two, &at, &err),
                     ERR_NONE);
    sign_callback("the-oldest-key-of-ours", &at.payment, 1, a.mac);
    assert_int_equal(wire_read_callback_address(&a.record, &two, &at, &err),
                     ERR_DENIED);
}

/* Without a key everybody could make the MAC. */
static void test_callbacks_need_a_key(void **state)
{
    struct address a;
    struct uuid id;
    struct err err;

    (void)state;
    make_address(&a, PAYMENT, "1", 1);
    assert_int_equal(uuid_parse(PAYMENT, 36, &id, &err), ERR_NONE);
    sign_callback("", &id, 1, a.mac);
    assert_bad_address(&a, "", ERR_DENIED);
}

static void test_forged_c2b_notices(void **state)
{
    char body[] = "{\"TransID\":\"RKTQDM7W6S\"}", mac[CALLBACK_MAC_SIZE];
    struct kafka_header headers[] = {{HDR_KIND, "c2b", 3}, {HDR_MAC, mac, 32}};
    struct kafka_record r = {.value = body,
                             .value_len = sizeof(body) - 1,
                             .headers = headers,
                             .headers_n = 2};
    struct config others = {.callbacks_mac_key = "another-key"};
    struct err err;

    (void)state;
    sign_c2b(MAC_KEY, body, sizeof(body) - 1, mac);
    assert_true(wire_is_c2b(&r));
    assert_int_equal(wire_check_c2b(&r, &keys, &err), ERR_NONE);
    assert_int_equal(wire_check_c2b(&r, &others, &err), ERR_DENIED);
    others.callbacks_second_mac_key = MAC_KEY;
    assert_int_equal(wire_check_c2b(&r, &others, &err), ERR_NONE);
    body[3] ^= 1;
    assert_int_equal(wire_check_c2b(&r, &keys, &err), ERR_DENIED);
    body[3] ^= 1;
    headers[1].len = 31;
    assert_int_equal(wire_check_c2b(&r, &keys, &err), ERR_DENIED);
    r.headers_n = 1;
    assert_int_equal(wire_check_c2b(&r, &keys, &err), ERR_DENIED);
    sign_c2b("", body, sizeof(body) - 1, mac);
    r.headers_n = 2;
    headers[1].len = 32;
    others = (struct config){.callbacks_mac_key = ""};
    assert_int_equal(wire_check_c2b(&r, &others, &err), ERR_DENIED);
    headers[0].len = 2;
    assert_false(wire_is_c2b(&r));
}

static void test_malformed_callback_addresses(void **state)
{
    static const char *const attempts[] = {
        "", "0", "-1", "1x", "2147483648", "99999999999999999999"};
    struct address a;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(attempts); i++) {
        make_address(&a, PAYMENT, attempts[i], 1);
        assert_bad_address(&a, MAC_KEY, ERR_INPUT);
    }
    make_address(&a, "42", "1", 1);
    assert_bad_address(&a, MAC_KEY, ERR_INPUT);
    a.record.headers_n = 0;
    assert_bad_address(&a, MAC_KEY, ERR_INPUT);
}

static void test_callback_texts_are_bounded(void **state)
{
    struct callback cb;
    struct err err;
    struct buf b;

    (void)state;
    buf_init(&b, 4096);
    buf_adds(&b, "{\"Body\":{\"stkCallback\":{\"ResultCode\":\"");
    for (int i = 0; i < RESULT_CODE_MAX; i++)
        buf_addc(&b, 'c');
    buf_adds(&b, "\",\"ResultDesc\":\"x");
    for (int i = 0; i < 100; i++)
        buf_adds(&b, "\xc3\xa9");
    buf_adds(&b, "\"}}}");
    assert_int_equal(wire_read_callback(b.data, b.len, &cb, &err), ERR_NONE);
    assert_int_equal(strlen(cb.code), RESULT_CODE_MAX);
    assert_int_equal(strlen(cb.text), RESULT_TEXT_MAX - 1); /* 1 + 2 * 79 */
    buf_done(&b);
}

/* A number that cannot be meant is no number. */
static void test_callback_values_that_cannot_be(void **state)
{
    static const char body[] =
        "{\"Body\":{\"stkCallback\":{\"ResultCode\":0,\"CallbackMetadata\":{"
        "\"Item\":[{\"Name\":\"Amount\",\"Value\":-5},"
        "{\"Name\":\"PhoneNumber\",\"Value\":255712345678},"
        "{\"Name\":\"TransactionDate\",\"Value\":20231310133416},"
        "{\"Name\":\"MpesaReceiptNumber\",\"Value\":"
        "\"RRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRR\"}]}}}}";
    struct callback cb;
    struct err err;

    (void)state;
    assert_int_equal(wire_read_callback(body, sizeof(body) - 1, &cb, &err),
                     ERR_NONE);
    assert_int_equal(cb.amount, 0);
    assert_int_equal(cb.msisdn, 0);
    assert_int_equal(cb.paid_at, 0);
    assert_string_equal(cb.receipt, "");
}

/* --- everything, one or two changes away from good --- */

struct dice {
    uint32_t now;
};

static uint32_t roll(struct dice *d, size_t n)
{
    d->now = d->now * 1664525 + 1013904223;
    return (d->now >> 8) % (uint32_t)n;
}

/* A changed copy in a heap block of its exact size, for ASan. */
static char *mutate(struct dice *d, const char *seed, size_t len)
{
    static const char bytes[] = "{}[]\",:\\u0129eE+-.tfnaA \n\x80\xc3\xff";
    char *copy = malloc(len);

    memcpy(copy, seed, len);
    for (uint32_t k = roll(d, 3); k < 3; k++)
        copy[roll(d, len)] = bytes[roll(d, sizeof(bytes) - 1)];
    return copy;
}

static void test_mutated_bodies(void **state)
{
    static const char seed[] =
        "{\"msisdn\":\"0712345678\",\"amount\":1500,\"currency\":\"KES\","
        "\"reference\":\"INV42\",\"description\":\"Order 42\","
        "\"shortcode\":\"174379\",\"priority\":\"normal\",\"ask_again\":1,"
        "\"expires_at\":\"2027-01-01T00:00:00Z\","
        "\"metadata\":{\"order\":\"\\u00e942\",\"b\":\"\xc3\xa9\"}}";
    struct dice d = {1};
    int taken = 0;

    (void)state;
    for (int i = 0; i < 100000; i++) {
        char *text = mutate(&d, seed, sizeof(seed) - 1);
        struct request a, b;
        struct fault f;
        struct made m;
        struct buf out;
        char phone[24];

        if (!wire_read_body(&cfg, &clients[0], "k", text, sizeof(seed) - 1,
                            NOW_AT, &a, &f)) {
            taken++;
            buf_init(&out, 4096);
            wire_write_request(&a, "k", &out);
            cfg.kafka_unsigned_requests = true;
            make(&m, SHOP, clients[0].signing_secret, NOW_MS, out.data);
            m.record.headers_n = 2;
            snprintf(phone, sizeof(phone), "%lld", (long long)a.msisdn);
            m.record.key = phone;
            assert_int_equal(wire_read_request(&cfg, &m.record,
                                               TOPIC_HIGH + a.priority, NOW_AT,
                                               &b, &f),
                             ERR_NONE);
            assert_memory_equal(&a, &b, sizeof(a));
            buf_done(&out);
        } else {
            assert_true(*f.code && *f.text);
        }
        free(text);
    }
    cfg.kafka_unsigned_requests = false;
    assert_in_range(taken, 1000, 99000);
}

static void test_mutated_callbacks_and_events(void **state)
{
    static const char seed[] =
        "{\"Body\":{\"stkCallback\":{\"MerchantRequestID\":\"96657-1\","
        "\"CheckoutRequestID\":\"ws_CO_1\",\"ResultCode\":0,"
        "\"ResultDesc\":\"done\",\"CallbackMetadata\":{\"Item\":[{\"Name\":"
        "\"Amount\",\"Value\":1.00},{\"Name\":\"TransactionDate\",\"Value\":"
        "20231210133416},{\"Name\":\"PhoneNumber\",\"Value\":254708374149},"
        "{\"Name\":\"Balance\"}]}}}}";
    struct payment p = paid();
    struct dice d = {2};
    struct event e;
    int taken[2] = {0, 0};

    (void)state;
    make_event(&e, &p);
    for (int i = 0; i < 100000; i++) {
        char *text = mutate(&d, seed, sizeof(seed) - 1);
        char *value = mutate(&d, e.value.data, e.value.len);
        struct callback cb;
        struct event_summary s;
        struct err err;

        taken[0] += !wire_read_callback(text, sizeof(seed) - 1, &cb, &err);
        e.record.value = value;
        if (!wire_read_event(&e.record, &s, &err)) {
            taken[1]++;
            assert_in_range((uintptr_t)s.document, (uintptr_t)value,
                            (uintptr_t)value + e.value.len);
            assert_in_range(s.document_len, 2,
                            e.value.len - (size_t)(s.document - value) - 1);
        }
        free(text);
        free(value);
    }
    assert_in_range(taken[0], 1000, 99000);
    assert_in_range(taken[1], 1000, 99000);
    buf_done(&e.value);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_body_gets_its_defaults),
        cmocka_unit_test(test_body_with_everything),
        cmocka_unit_test(test_faults_name_their_member),
        cmocka_unit_test(test_long_names_in_faults_are_cut),
        cmocka_unit_test(test_idempotency_key),
        cmocka_unit_test(test_expiry_lies_after_the_request),
        cmocka_unit_test(test_shortcode_is_needed_where_there_are_two),
        cmocka_unit_test(test_equal_requests_have_equal_fingerprints),
        cmocka_unit_test(test_metadata_sizes),
        cmocka_unit_test(test_record_is_read_as_the_body_is),
        cmocka_unit_test(test_what_is_written_is_read),
        cmocka_unit_test(test_every_signed_byte_counts),
        cmocka_unit_test(test_unsigned_records),
        cmocka_unit_test(test_client_without_a_secret),
        cmocka_unit_test(test_unknown_clients),
        cmocka_unit_test(test_times_of_records),
        cmocka_unit_test(test_expired_record_is_a_good_one),
        cmocka_unit_test(test_records_of_another_version),
        cmocka_unit_test(test_records_without_key_or_value),
        cmocka_unit_test(test_record_lies_where_its_priority_says),
        cmocka_unit_test(test_document_of_a_queued_payment),
        cmocka_unit_test(test_event_is_read_back),
        cmocka_unit_test(test_events_with_other_headers_are_refused),
        cmocka_unit_test(test_events_of_another_layout_are_refused),
        cmocka_unit_test(test_events_fit_their_bounds),
        cmocka_unit_test(test_callback_address),
        cmocka_unit_test(test_forged_callback_addresses),
        cmocka_unit_test(test_callbacks_of_two_keys),
        cmocka_unit_test(test_callbacks_need_a_key),
        cmocka_unit_test(test_forged_c2b_notices),
        cmocka_unit_test(test_malformed_callback_addresses),
        cmocka_unit_test(test_callback_texts_are_bounded),
        cmocka_unit_test(test_callback_values_that_cannot_be),
        cmocka_unit_test(test_mutated_bodies),
        cmocka_unit_test(test_mutated_callbacks_and_events),
    };

    return cmocka_run_group_tests(tests, set_up, NULL);
}
