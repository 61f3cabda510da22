/*
 * Reading clients' requests, over HTTP: keys of both kinds, content types,
 * waits, and the problem that each fault is answered with.
 */
#include "producer/accept.h"

#include "common/log.h"
#include "common/metrics.h"
#include "common/sign.h"
#include "tests/unit/ask.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define AUTH "Authorization: Bearer key-of-shop\r\n"
#define KEY "Idempotency-Key: order-1\r\n"
#define JSON "Content-Type: application/json\r\n"
#define GOOD "{\"msisdn\":\"0708374149\",\"amount\":100,\"reference\":\"INV1\"}"

struct world {
    struct loop *loop;
    struct config cfg;
    struct client clients[2];
    struct shortcode shortcode;
    struct http_server *server;
    struct accepted accepted; /* of the last good request */
    int good;
    int64_t wait_us;
};

static void on_payment(void *arg, struct http_request *req)
{
    struct world *w = arg;
    const struct client *client = accept_client(&w->cfg, req);

    if (!client ||
        !accept_payment(&w->cfg, client, req, clock_wall_at(), &w->accepted))
        return;
    w->good++;
    http_reply(req, 204, NULL, NULL, 0);
}

static void on_status(void *arg, struct http_request *req)
{
    struct world *w = arg;

    if (!accept_wait(&w->cfg, req, &w->wait_us))
        return;
    w->good++;
    http_reply(req, 204, NULL, NULL, 0);
}

static const struct http_route routes[] = {
    {HTTP_POST, "/v1/payments", on_payment},
    {HTTP_GET, "/v1/payments/{}", on_status},
};

static void settings(struct world *w)
{
    w->cfg = (struct config){
        .http_connections_max = 64,
        .http_body_bytes_max = 65536,
        .http_header_bytes_max = 16384,
        .http_idle_timeout_ms = 10000,
        .api_wait_max_ms = 60000,
        .clients = w->clients,
        .clients_n = 2,
        .shortcodes = &w->shortcode,
        .shortcodes_n = 1,
    };
    w->shortcode.shortcode = 174379;
    w->clients[0] = (struct client){.name = "shop", .uuid = {{1}}};
    w->clients[1] = (struct client){.name = "bar", .uuid = {{2}}};
    sign_sha256("key-of-shop", 11, w->clients[0].api_key_hash);
    sign_sha256("key-of-bar", 10, w->clients[1].api_key_hash);
}

static int set_up(void **state)
{
    struct world *w = NEW(struct world);
    struct http_spec spec = {
        .listen = "127.0.0.1:0",
        .tls_cert = "",
        .tls_key = "",
        .routes = routes,
        .routes_n = ARRAY_LEN(routes),
        .limits = &w->cfg,
        .arg = w,
    };
    struct err err;

    settings(w);
    w->loop = loop_new();
    must(!http_server_new(w->loop, &spec, &w->server, &err));
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;

    http_server_free(w->server);
    loop_free(w->loop);
    free(w);
    return 0;
}

static int post(struct world *w, const char *headers, const char *body,
                struct answer *a)
{
    ask(w->loop, http_server_port(w->server), "POST", "/v1/payments", headers,
        body, a);
    return a->status;
}

static int get(struct world *w, const char *path)
{
    struct answer a;

    ask(w->loop, http_server_port(w->server), "GET", path, "", "", &a);
    return a.status;
}

static void assert_code(const struct answer *a, const char *code)
{
    char member[80];

    snprintf(member, sizeof(member), "\"code\":\"%s\"", code);
    assert_non_null(strstr(a->body, member));
    assert_true(answer_has(a, "Content-Type: application/problem+json"));
}

/* --- who asks --- */

static void test_api_keys(void **state)
{
    static const char *const bad[] = {
        "",
        "Authorization: Bearer\r\n",
        "Authorization: Bearer \r\n",
        "Authorization: Bearer key-of-shoo\r\n",
        "Authorization: Bearer key-of-shop2\r\n",
        "Authorization: Bearer KEY-OF-SHOP\r\n",
        "Authorization: Basic key-of-shop\r\n",
        "Authorization: key-of-shop\r\n",
        "X-Api-Key: key-of-shop\r\n",
    };
    struct world *w = *state;
    int64_t refused = metric_get(M_REFUSED_KEY);
    struct answer a;

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        char headers[200];

        snprintf(headers, sizeof(headers), "%s" KEY JSON, bad[i]);
        assert_int_equal(post(w, headers, GOOD, &a), 401);
        assert_code(&a, "unauthorized");
        assert_true(answer_has(&a, "\r\nWWW-Authenticate: Bearer"));
    }
    assert_int_equal(metric_get(M_REFUSED_KEY), refused + (int)ARRAY_LEN(bad));
    assert_int_equal(w->good, 0);
}

static void test_each_client_by_its_key(void **state)
{
    struct world *w = *state;
    struct uuid ids[2];
    struct answer a;

    assert_int_equal(post(w, AUTH KEY JSON, GOOD, &a), 204);
    assert_ptr_equal(w->accepted.client, &w->clients[0]);
    ids[0] = w->accepted.request.id;
    assert_int_equal(
        post(w, "Authorization: bearer key-of-bar\r\n" KEY JSON, GOOD, &a),
        204);
    assert_ptr_equal(w->accepted.client, &w->clients[1]);
    ids[1] = w->accepted.request.id;
    assert_false(uuid_equal(&ids[0], &ids[1]));
    assert_true(uuid_equal(&w->accepted.request.client, &w->clients[1].uuid));
}

/* --- idempotency keys --- */

static void test_keys_that_are_taken(void **state)
{
    static char longest[256], header[500];
    struct {
        const char *written, *key;
    } cases[] = {
        {"order-1", "order-1"},
        {"\"order-1\"", "order-1"},
        {"\"a \\\"b\\\" \\\\c\"", "a \"b\" \\c"},
        {"\" \"", NULL}, /* begins with a space */
        {"a b", "a b"},
        {"a\"b", "a\"b"},
        {"a\\b", "a\\b"},
        {"8e03978e-40d5-43e8-bc93-6894a57f9324",
         "8e03978e-40d5-43e8-bc93-6894a57f9324"},
        {longest, longest},
    };
    struct world *w = *state;
    struct answer a;

    memset(longest, 'k', 255);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        snprintf(header, sizeof(header), AUTH JSON "Idempotency-Key: %s\r\n",
                 cases[i].written);
        if (!cases[i].key) {
            assert_int_equal(post(w, header, GOOD, &a), 400);
            continue;
        }
        assert_int_equal(post(w, header, GOOD, &a), 204);
        assert_string_equal(w->accepted.key, cases[i].key);
    }
}

static void test_the_same_key_either_way(void **state)
{
    struct world *w = *state;
    struct uuid id;
    struct answer a;

    assert_int_equal(post(w, AUTH KEY JSON, GOOD, &a), 204);
    id = w->accepted.request.id;
    assert_int_equal(
        post(w, AUTH JSON "Idempotency-Key: \"order-1\"\r\n", GOOD, &a), 204);
    assert_true(uuid_equal(&id, &w->accepted.request.id));
}

static void test_keys_that_are_refused(void **state)
{
    static char too_long[257], quoted[300], endless[9001];
    const char *bad[] = {
        "\"",        "\"\"",   "\"abc", "\"abc\"d", "\"a\"b\"", "\"abc\\\"",
        "\"a\\xb\"", too_long, quoted,  "\xc3\xa4", endless,    "a\tb",
    };
    struct world *w = *state;
    struct answer a;
    static char header[9200];

    memset(too_long, 'k', 256);
    memset(endless, 'k', 9000);
    snprintf(quoted, sizeof(quoted), "\"%s\"", too_long);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        snprintf(header, sizeof(header), AUTH JSON "Idempotency-Key: %s\r\n",
                 bad[i]);
        if (post(w, header, GOOD, &a) != 400)
            fail_msg("%.300s: %d", bad[i], a.status);
        assert_code(&a, "invalid_field");
    }
    assert_int_equal(w->good, 0);
}

static void test_no_key(void **state)
{
    static const char *const headers[] = {AUTH JSON,
                                          AUTH JSON "Idempotency-Key:\r\n",
                                          AUTH JSON "Idempotency-Key:  \r\n"};
    struct world *w = *state;
    struct answer a;

    for (size_t i = 0; i < ARRAY_LEN(headers); i++) {
        assert_int_equal(post(w, headers[i], GOOD, &a), 400);
        assert_code(&a, "missing_idempotency_key");
        assert_non_null(strstr(a.body, "\"field\":\"Idempotency-Key\""));
    }
}

/* --- the body --- */

static void test_content_types(void **state)
{
    static const struct {
        const char *type;
        int status;
    } cases[] = {
        {"application/json", 204},
        {"application/json;charset=UTF-8", 204},
        {"application/json ; charset=utf-8", 204},
        {"Application/JSON", 204},
        {"text/plain", 415},
        {"application/x-www-form-urlencoded", 415},
        {"application/jsonp", 415},
        {"application/json-seq", 415},
        {"application/jso", 415},
    };
    struct world *w = *state;
    struct answer a;
    char headers[200];

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        snprintf(headers, sizeof(headers), AUTH KEY "Content-Type: %s\r\n",
                 cases[i].type);
        if (post(w, headers, GOOD, &a) != cases[i].status)
            fail_msg("%s: %d", cases[i].type, a.status);
        if (a.status == 415)
            assert_code(&a, "unsupported_media_type");
    }
    assert_int_equal(post(w, AUTH KEY, GOOD, &a), 204);
}

static void test_a_request_is_read(void **state)
{
    struct world *w = *state;
    const struct request *r = &w->accepted.request;
    struct answer a;
    int64_t now_at = clock_wall_at();

    assert_int_equal(post(w, AUTH KEY JSON, GOOD, &a), 204);
    assert_int_equal(r->msisdn, 254708374149);
    assert_int_equal(r->amount, 100);
    assert_int_equal(r->shortcode, 174379);
    assert_int_equal(r->priority, PRIORITY_NORMAL);
    assert_string_equal(r->reference, "INV1");
    assert_true(r->requested_at >= now_at - US_PER_MS);
}

static void test_a_fault_is_named(void **state)
{
    struct world *w = *state;
    int64_t refused = metric_get(M_REFUSED_INPUT);
    struct answer a;

    assert_int_equal(post(w, AUTH KEY JSON, "{", &a), 400);
    assert_code(&a, "invalid_json");
    assert_null(strstr(a.body, "\"field\""));
    assert_int_equal(post(w, AUTH KEY JSON,
                          "{\"msisdn\":\"0708374149\",\"amount\":0,"
                          "\"reference\":\"INV1\"}",
                          &a),
                     400);
    assert_code(&a, "invalid_field");
    assert_non_null(strstr(a.body, "\"field\":\"amount\""));
    assert_int_equal(metric_get(M_REFUSED_INPUT), refused + 2);
}

/* --- ?wait= --- */

static void test_waits_that_are_taken(void **state)
{
    static const struct {
        const char *path;
        int64_t us;
    } cases[] = {
        {"/v1/payments/x", 0},
        {"/v1/payments/x?wait=30s", 30 * US_PER_S},
        {"/v1/payments/x?wait=30", 30 * US_PER_S},
        {"/v1/payments/x?wait=1500ms", 1500 * US_PER_MS},
        {"/v1/payments/x?wait=0", 0},
        {"/v1/payments/x?wait=0s", 0},
        {"/v1/payments/x?wait=60s", 60 * US_PER_S},
        {"/v1/payments/x?wait=60000ms", 60 * US_PER_S},
        {"/v1/payments/x?a=b&wait=007s", 7 * US_PER_S},
    };
    struct world *w = *state;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        w->wait_us = -1;
        assert_int_equal(get(w, cases[i].path), 204);
        assert_int_equal(w->wait_us, cases[i].us);
    }
}

static void test_waits_that_are_refused(void **state)
{
    static const char *const bad[] = {
        "",     "s",         "ms",   "-1s",         "%2B1s", "1.5s",    "1m",
        "1h",   "1S",        "1 s",  "%201s",       "61s",   "60001ms", "1e3ms",
        "0x1s", "999999999", "1s1s", "9999999999s", "1s%00",
    };
    struct world *w = *state;
    char path[100];

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        snprintf(path, sizeof(path), "/v1/payments/x?wait=%s", bad[i]);
        if (get(w, path) != 400)
            fail_msg("wait=%s was taken", bad[i]);
    }
    assert_int_equal(w->good, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_api_keys),
        TEST(test_each_client_by_its_key),
        TEST(test_keys_that_are_taken),
        TEST(test_the_same_key_either_way),
        TEST(test_keys_that_are_refused),
        TEST(test_no_key),
        TEST(test_content_types),
        TEST(test_a_request_is_read),
        TEST(test_a_fault_is_named),
        TEST(test_waits_that_are_taken),
        TEST(test_waits_that_are_refused),
    };

    log_open("test_accept", LOG_ERROR, false);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
