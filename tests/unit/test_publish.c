/*
 * What the API writes into Kafka, read back as the worker reads it.
 */
#include "producer/publish.h"

#include "common/log.h"
#include "common/sign.h"
#include "common/wire.h"
#include "tests/unit/test_kafka_mock.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define CLIENT "00000000-0000-4000-8000-000000000001"
#define MAC_KEY "0123456789abcdef"

struct world {
    struct mock *m;
    struct client client;
    struct shortcode shortcode;
    struct publish *publish;
    int durable, unsure, unavailable;
};

static int set_up(void **state)
{
    struct world *w = NEW(struct world);
    struct err err;

    w->m = mock_new();
    w->client = (struct client){.id = CLIENT, .signing_secret = "s3cret"};
    must(!uuid_parse(CLIENT, 36, &w->client.uuid, &err));
    w->shortcode.shortcode = 174379;
    w->m->cfg.clients = &w->client;
    w->m->cfg.clients_n = 1;
    w->m->cfg.shortcodes = &w->shortcode;
    w->m->cfg.shortcodes_n = 1;
    w->m->cfg.payments_clock_skew_ms = 30000;
    w->m->cfg.callbacks_mac_key = MAC_KEY;
    w->m->cfg.kafka_queue_records_max = 100;
    w->m->cfg.kafka_publish_timeout_ms = 1000;
    must(!publish_new(w->m->loop, &w->m->cfg, &w->publish, &err));
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;

    publish_free(w->publish);
    mock_free(w->m);
    free(w);
    return 0;
}

static void on_done(void *arg, const struct err *err)
{
    struct world *w = arg;

    w->durable += !err;
    w->unsure += err && err->code == ERR_UNSURE;
    w->unavailable += err && err->code == ERR_UNAVAILABLE;
}

static struct request request(struct world *w, const char *priority)
{
    struct request req;
    struct fault fault;
    char body[300];

    snprintf(body, sizeof(body),
             "{\"msisdn\":\"0708374149\",\"amount\":250,\"reference\":\"INV1\","
             "\"description\":\"Socks\",\"priority\":\"%s\",\"ask_again\":1,"
             "\"metadata\":{\"cart\":\"\\\"77\\\"\"}}",
             priority);
    if (wire_read_body(&w->m->cfg, &w->client, "a \"key\"", body, strlen(body),
                       clock_wall_at(), &req, &fault))
        fail_msg("%s", fault.text);
    return req;
}

static enum err_code publish(struct world *w, const struct request *req)
{
    struct err err;

    return publish_request(w->publish, &w->client, req, "a \"key\"", on_done, w,
                           &err);
}

static void test_a_request_for_each_pool(void **state)
{
    static const enum topic topics[] = {TOPIC_HIGH, TOPIC_NORMAL, TOPIC_LOW};
    struct world *w = *state;

    for (int i = 0; i < PRIORITIES_N; i++) {
        struct request req = request(w, priority_name((enum priority)i)), read;
        const struct kafka_record *r;
        struct fault fault;

        assert_int_equal(publish(w, &req), ERR_NONE);
        assert_int_equal(w->durable, i); /* never inside the call */
        MOCK_WAIT(w->m, w->durable == i + 1);
        mock_follow(w->m, topics[i]);
        MOCK_WAIT(w->m, w->m->kept_n == (size_t)i + 1);
        r = &w->m->kept[i]->record;
        assert_int_equal(r->key_len, 12);
        assert_memory_equal(r->key, "254708374149", 12);
        memset(&read, 0, sizeof(read));
        if (wire_read_request(&w->m->cfg, r, topics[i], clock_wall_at(), &read,
                              &fault))
            fail_msg("%s: %s", fault.code, fault.text);
        assert_true(uuid_equal(&read.id, &req.id));
        assert_memory_equal(read.fingerprint, req.fingerprint,
                            FINGERPRINT_SIZE);
        assert_int_equal(read.requested_at, req.requested_at);
        assert_string_equal(read.metadata, req.metadata);
        assert_int_equal(read.priority, i);
        kafka_follower_free(TAKE(w->m->follower));
    }
}

/* Without the client's secret nobody can write in its name. */
static void test_the_signature_is_the_clients(void **state)
{
    struct world *w = *state;
    struct request req = request(w, "normal"), read;
    struct fault fault;

    assert_int_equal(publish(w, &req), ERR_NONE);
    mock_follow(w->m, TOPIC_NORMAL);
    MOCK_WAIT(w->m, w->m->kept_n == 1);
    w->client.signing_secret = "another";
    assert_int_equal(wire_read_request(&w->m->cfg, &w->m->kept[0]->record,
                                       TOPIC_NORMAL, clock_wall_at(), &read,
                                       &fault),
                     ERR_INPUT);
    assert_string_equal(fault.code, "bad_signature");
}

static void publish_cb(struct world *w, const struct publish_callback *cb)
{
    struct publish_record r;
    struct err err;

    publish_make_callback(cb, &r);
    assert_int_equal(publish_callback(w->publish, &r.record, on_done, w, &err),
                     ERR_NONE);
}

static void test_a_callback(void **state)
{
    static const char body[] = "{\"Body\":\0\xff broken";
    struct world *w = *state;
    char mac[CALLBACK_MAC_SIZE], id[UUID_TEXT_SIZE];
    struct publish_callback cb = {
        .payment = {{1, 2, 3}},
        .attempt = 12,
        .mac = mac,
        .source = "196.201.212.69",
        .body = body,
        .len = sizeof(body),
    };
    struct callback_address at;
    const struct mock_kept *k;
    struct err err;

    sign_callback(MAC_KEY, &cb.payment, cb.attempt, mac);
    publish_cb(w, &cb);
    mock_follow(w->m, TOPIC_CALLBACKS);
    MOCK_WAIT(w->m, w->m->kept_n == 1 && w->durable == 1);
    k = w->m->kept[0];
    uuid_format(&cb.payment, id);
    assert_int_equal(k->record.key_len, 36);
    assert_memory_equal(k->record.key, id, 36);
    assert_int_equal(k->record.value_len, sizeof(body));
    assert_memory_equal(k->record.value, body, sizeof(body));
    assert_string_equal(mock_header(k, HDR_SOURCE), "196.201.212.69");
    assert_non_null(mock_header(k, HDR_TIME));
    assert_int_equal(
        wire_read_callback_address(&k->record, &w->m->cfg, &at, &err),
        ERR_NONE);
    assert_true(uuid_equal(&at.payment, &cb.payment));
    assert_int_equal(at.attempt, 12);
}

static void test_an_empty_callback(void **state)
{
    struct world *w = *state;
    struct publish_callback cb = {
        .attempt = 1, .mac = "", .source = "", .body = "", .len = 0};

    publish_cb(w, &cb);
    mock_follow(w->m, TOPIC_CALLBACKS);
    MOCK_WAIT(w->m, w->m->kept_n == 1);
    assert_int_equal(w->m->kept[0]->record.value_len, 0);
}

static void publish_notice(struct world *w, const char *body, size_t len)
{
    struct publish_c2b notice = {
        .source = "196.201.212.69", .body = body, .len = len};
    struct publish_record r;
    struct err err;

    publish_make_c2b(w->publish, &notice, &r);
    assert_int_equal(publish_callback(w->publish, &r.record, on_done, w, &err),
                     ERR_NONE);
}

static void test_a_c2b_notice(void **state)
{
    static const char body[] = "{\"TransID\":\"RKTQDM7W6S\", "
                               "\"BusinessShortCode\":\"600638\","
                               "\"TransAmount\":\"10.00\"}\n";
    struct world *w = *state;
    const struct mock_kept *k;
    struct err err;

    publish_notice(w, body, sizeof(body) - 1);
    mock_follow(w->m, TOPIC_CALLBACKS);
    MOCK_WAIT(w->m, w->m->kept_n == 1 && w->durable == 1);
    k = w->m->kept[0];
    assert_true(wire_is_c2b(&k->record));
    assert_int_equal(k->record.key_len, 10);
    assert_memory_equal(k->record.key, "RKTQDM7W6S", 10);
    assert_int_equal(k->record.value_len, sizeof(body) - 1);
    assert_memory_equal(k->record.value, body, sizeof(body) - 1);
    assert_string_equal(mock_header(k, HDR_KIND), "c2b");
    assert_string_equal(mock_header(k, HDR_SOURCE), "196.201.212.69");
    assert_non_null(mock_header(k, HDR_TIME));
    assert_int_equal(wire_check_c2b(&k->record, &w->m->cfg, &err), ERR_NONE);
    w->m->cfg.callbacks_mac_key = "another";
    assert_int_equal(wire_check_c2b(&k->record, &w->m->cfg, &err), ERR_DENIED);
}

/* Kept all the same: people read what we cannot. */
static void test_a_c2b_notice_that_cannot_be_read(void **state)
{
    static const char body[] = "<html>\0\xff";
    struct world *w = *state;
    const struct kafka_record *r;
    struct err err;

    publish_notice(w, body, sizeof(body));
    mock_follow(w->m, TOPIC_CALLBACKS);
    MOCK_WAIT(w->m, w->m->kept_n == 1);
    r = &w->m->kept[0]->record;
    assert_int_equal(r->key_len, 64); /* a hash */
    assert_memory_equal(r->value, body, sizeof(body));
    assert_int_equal(wire_check_c2b(r, &w->m->cfg, &err), ERR_NONE);
}

static void test_kafka_is_away(void **state)
{
    struct world *w = *state;
    struct request req = request(w, "high");
    char note[200];

    mock_down(w->m, true);
    for (int i = 0; i < 100; i++)
        assert_int_equal(publish(w, &req), ERR_NONE);
    assert_int_equal(publish_queued(w->publish), 100);
    assert_int_equal(publish(w, &req), ERR_LIMIT);
    assert_false(publish_up(w->publish, note, sizeof(note)));
    MOCK_WAIT(w->m, w->unavailable + w->unsure == 100);
    assert_int_equal(w->durable, 0);
    mock_down(w->m, false);
    MOCK_WAIT(w->m, publish_up(w->publish, note, sizeof(note)));
    assert_int_equal(publish(w, &req), ERR_NONE);
    MOCK_WAIT(w->m, w->durable == 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_request_for_each_pool),
        TEST(test_the_signature_is_the_clients),
        TEST(test_a_callback),
        TEST(test_an_empty_callback),
        TEST(test_a_c2b_notice),
        TEST(test_a_c2b_notice_that_cannot_be_read),
        TEST(test_kafka_is_away),
    };

    log_open("test_publish", LOG_ERROR, false);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
