/*
 * Status events and dead letters, read back from a mock cluster.
 */
#include "consumer/tell.h"

#include "common/buf.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/wire.h"
#include "tests/unit/test_kafka_mock.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

struct world {
    struct mock *m;
    struct tell *tell;
    int told, failed, version;
    struct uuid payment;
    int durable, lost;
};

static int set_up(void **state)
{
    struct world *w = NEW(struct world);
    struct err err;

    w->m = mock_new();
    w->m->cfg.kafka_queue_records_max = 100;
    w->m->cfg.kafka_publish_timeout_ms = 1000;
    must(!tell_new(w->m->loop, &w->m->cfg, &w->tell, &err));
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;

    tell_free(w->tell, 100);
    mock_free(w->m);
    free(w);
    return 0;
}

static void on_told(void *arg, const struct uuid *payment, int version,
                    const struct err *err)
{
    struct world *w = arg;

    w->told += !err;
    w->failed += err != NULL;
    w->payment = *payment;
    w->version = version;
}

static void on_letter(void *arg, const struct err *err)
{
    struct world *w = arg;

    w->durable += !err;
    w->lost += err != NULL;
}

static struct payment payment(enum payment_state state)
{
    struct payment p = {
        .req = {.id = {{1, 2, 3}},
                .client = {{9, 8}},
                .fingerprint = {0xab, 0xcd, 1},
                .msisdn = 254708374149,
                .amount = 100,
                .shortcode = 174379,
                .reference = "INV1",
                .description = "Payment",
                .requested_at = 1790000000 * US_PER_S},
        .created_at = 1790000000 * US_PER_S,
        .updated_at = 1790000001 * US_PER_S,
        .deadline_at = 1790000900 * US_PER_S,
        .state = state,
        .version = 4,
        .attempt = 1,
        .class = RESULT_PAID,
        .receipt = "RLA0X1Y2Z3",
    };

    return p;
}

/* --- events --- */

static void test_an_event(void **state)
{
    struct world *w = *state;
    struct payment p = payment(PAYMENT_SUCCEEDED);
    int64_t told = metric_get(M_EVENTS_TOLD);
    struct event_summary read;
    const struct mock_kept *k;
    struct buf want;
    struct err err;

    tell_status(w->tell, &p, on_told, w);
    assert_int_equal(w->told, 0); /* never inside the call */
    mock_follow(w->m, TOPIC_STATUS);
    MOCK_WAIT(w->m, w->m->kept_n == 1 && w->told == 1);
    assert_true(uuid_equal(&w->payment, &p.req.id));
    assert_int_equal(w->version, 4);
    assert_int_equal(metric_get(M_EVENTS_TOLD), told + 1);
    k = w->m->kept[0];
    assert_memory_equal(k->record.key, "01020300-0000-0000-0000-000000000000",
                        36);
    assert_string_equal(mock_header(k, HDR_FINGERPRINT),
                        "abcd0100000000000000000000000000");
    assert_string_equal(mock_header(k, HDR_VERSION), "4");
    assert_string_equal(mock_header(k, HDR_FINAL), "1");
    assert_int_equal(wire_read_event(&k->record, &read, &err), ERR_NONE);
    assert_true(uuid_equal(&read.client, &p.req.client));
    assert_int_equal(read.version, 4);
    assert_true(read.final);
    buf_init(&want, 8192);
    wire_write_payment(&p, &want);
    assert_int_equal(read.document_len, want.len);
    assert_memory_equal(read.document, want.data, want.len);
    buf_done(&want);
}

static void test_not_final(void **state)
{
    struct world *w = *state;
    struct payment p = payment(PAYMENT_PROMPTED);

    tell_status(w->tell, &p, on_told, w);
    mock_follow(w->m, TOPIC_STATUS);
    MOCK_WAIT(w->m, w->m->kept_n == 1);
    assert_string_equal(mock_header(w->m->kept[0], HDR_FINAL), "0");
}

/* What does not fit is owed: nobody is told that it was told. */
static void test_a_full_queue(void **state)
{
    struct world *w = *state;
    struct payment p = payment(PAYMENT_PROMPTED);
    int64_t owed = metric_get(M_EVENTS_OWED);
    int64_t failed = metric_get(M_EVENTS_FAILED);

    mock_down(w->m, true);
    for (int i = 0; i < 105; i++)
        tell_status(w->tell, &p, on_told, w);
    assert_int_equal(tell_queued(w->tell), 100);
    assert_int_equal(metric_get(M_EVENTS_OWED), owed + 5);
    MOCK_WAIT(w->m, w->failed == 100);
    assert_int_equal(w->told, 0);
    assert_int_equal(metric_get(M_EVENTS_FAILED), failed + 100);
    mock_down(w->m, false);
    for (int i = 0; i < 100; i++) /* every place is free again */
        tell_status(w->tell, &p, on_told, w);
    MOCK_WAIT(w->m, w->told + w->failed == 200);
    assert_int_equal(metric_get(M_EVENTS_OWED), owed + 5);
}

/* --- letters --- */

static const char value[] = "not JSON \0 at all";

static struct kafka_record record(struct kafka_header *headers, size_t n)
{
    for (size_t i = 0; i < n; i++)
        headers[i] = (struct kafka_header){"x-theirs", "a\0b", 3};
    return (struct kafka_record){
        .topic = "t.payments.requests.low",
        .key = "k",
        .key_len = 1,
        .value = value,
        .value_len = sizeof(value),
        .headers = headers,
        .headers_n = n,
        .partition = 2,
        .offset = 77,
        .timestamp_at = 1790000000123 * US_PER_MS,
    };
}

static struct letter letter(const char *message)
{
    return (struct letter){
        .attempts = 5,
        .stage = "flow",
        .error_class = "throttled",
        .error_code = "500.003.02",
        .error_message = message,
        .first_failure_at = 1790000001000 * US_PER_MS,
        .last_failure_at = 1790000002000 * US_PER_MS,
        .replay_count = 1,
    };
}

static const struct mock_kept *write_letter(struct world *w,
                                            const struct kafka_record *r,
                                            const struct letter *l)
{
    struct err err;

    assert_int_equal(tell_dead(w->tell, r, l, on_letter, w, &err), ERR_NONE);
    assert_int_equal(w->durable, 0);
    mock_follow(w->m, TOPIC_DEAD);
    MOCK_WAIT(w->m, w->m->kept_n == 1 && w->durable == 1);
    return w->m->kept[0];
}

static void test_a_letter(void **state)
{
    static const struct {
        const char *name, *value;
    } want[] = {
        {"foleni-attempts", "5"},
        {"foleni-first-failure", "1790000001000"},
        {"foleni-last-failure", "1790000002000"},
        {"foleni-error-class", "throttled"},
        {"foleni-error-code", "500.003.02"},
        {"foleni-error-message", "Spike arrest"},
        {"foleni-source-topic", "t.payments.requests.low"},
        {"foleni-source-partition", "2"},
        {"foleni-source-offset", "77"},
        {"foleni-source-timestamp", "1790000000123"},
        {"foleni-stage", "flow"},
        {"foleni-replay-count", "1"},
        {"foleni-payment-id", "01020300-0000-0000-0000-000000000000"},
    };
    struct world *w = *state;
    struct kafka_header headers[2];
    struct kafka_record r = record(headers, 2);
    struct letter l = letter("Spike arrest");
    struct uuid id = {{1, 2, 3}};
    const struct mock_kept *k;

    l.payment = &id;
    k = write_letter(w, &r, &l);
    assert_int_equal(k->record.key_len, 1);
    assert_memory_equal(k->record.key, "k", 1);
    assert_int_equal(k->record.value_len, sizeof(value));
    assert_memory_equal(k->record.value, value, sizeof(value));
    assert_int_equal(k->record.headers_n, 2 + ARRAY_LEN(want));
    for (int i = 0; i < 2; i++) {
        assert_string_equal(k->headers[i].name, "x-theirs");
        assert_int_equal(k->headers[i].len, 3);
        assert_memory_equal(k->headers[i].value, "a\0b", 3);
    }
    for (size_t i = 0; i < ARRAY_LEN(want); i++)
        assert_string_equal(mock_header(k, want[i].name), want[i].value);
}

static void test_a_letter_of_no_payment(void **state)
{
    struct world *w = *state;
    struct kafka_header headers[1];
    struct kafka_record r = record(headers, 0);
    struct letter l = letter("");
    const struct mock_kept *k;

    r.key = NULL;
    r.key_len = 0;
    k = write_letter(w, &r, &l);
    assert_null(mock_header(k, "foleni-payment-id"));
    assert_string_equal(mock_header(k, "foleni-error-message"), "");
    assert_int_equal(k->record.key_len, 0);
}

static void test_a_letter_of_many_words(void **state)
{
    struct world *w = *state;
    struct kafka_header headers[KAFKA_HEADERS_MAX];
    struct kafka_record r = record(headers, KAFKA_HEADERS_MAX);
    char message[1001];
    struct letter l = letter(message);
    struct err err;

    memset(message, 'm', 1000);
    message[1000] = '\0';
    assert_int_equal(tell_dead(w->tell, &r, &l, on_letter, w, &err), ERR_NONE);
    MOCK_WAIT(w->m, w->durable == 1);
    /* a reader keeps KAFKA_HEADERS_MAX of them; ours stand behind theirs */
    mock_follow(w->m, TOPIC_DEAD);
    MOCK_WAIT(w->m, w->m->kept_n == 1);
    assert_true(w->m->kept[0]->record.headers_cut);
}

static void test_a_long_message_is_cut(void **state)
{
    struct world *w = *state;
    struct kafka_header headers[1];
    struct kafka_record r = record(headers, 1);
    char message[1001];
    struct letter l = letter(message);
    const struct mock_kept *k;

    memset(message, 'm', 1000);
    message[1000] = '\0';
    memcpy(message + 510, "\xe2\x82\xac", 3); /* across the border */
    k = write_letter(w, &r, &l);
    assert_int_equal(strlen(mock_header(k, "foleni-error-message")), 510);
}

/* It must not stand in the way of what comes behind it for ever. */
static void test_a_record_too_large_for_its_letter(void **state)
{
    enum { BYTES = 999990 }; /* the client's limit is 1,000,000 */
    struct world *w = *state;
    struct kafka_header headers[1];
    struct kafka_record r = record(headers, 1);
    struct letter l = letter("not JSON");
    const struct mock_kept *k;
    char *large = must_alloc(1, BYTES);

    r.value = large;
    r.value_len = BYTES;
    k = write_letter(w, &r, &l);
    assert_int_equal(k->record.value_len, 0);
    assert_string_equal(mock_header(k, "foleni-left-out"), "999990");
    assert_string_equal(mock_header(k, "foleni-source-offset"), "77");
    assert_null(mock_header(k, "x-theirs"));
    free(large);
}

static void test_letters_and_a_full_queue(void **state)
{
    struct world *w = *state;
    struct kafka_header headers[1];
    struct kafka_record r = record(headers, 1);
    struct letter l = letter("x");
    int64_t letters = metric_get(M_LETTERS);
    struct err err;

    mock_down(w->m, true);
    for (int i = 0; i < 100; i++)
        assert_int_equal(tell_dead(w->tell, &r, &l, on_letter, w, &err), 0);
    assert_int_equal(tell_dead(w->tell, &r, &l, on_letter, w, &err), ERR_LIMIT);
    assert_int_equal(metric_get(M_LETTERS), letters + 100);
    MOCK_WAIT(w->m, w->lost == 100);
    assert_int_equal(w->durable, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_an_event),
        TEST(test_not_final),
        TEST(test_a_full_queue),
        TEST(test_a_letter),
        TEST(test_a_letter_of_no_payment),
        TEST(test_a_letter_of_many_words),
        TEST(test_a_long_message_is_cut),
        TEST(test_a_record_too_large_for_its_letter),
        TEST(test_letters_and_a_full_queue),
    };

    log_open("test_tell", LOG_ERROR, false);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
