/*
 * The callback path, over HTTP: only a MAC of ours opens it, and nobody learns
 * anything from a closed one. The same for C2B, whose path holds a secret.
 */
#include "producer/callbacks.h"

#include "common/log.h"
#include "common/metrics.h"
#include "common/sign.h"
#include "tests/unit/ask.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define MAC_KEY "0123456789abcdef"
#define ID "6f1c0000-1111-5222-8333-00000000009e"
#define SECRET "c2b-secret-of-32-characters-0001"
#define SECOND "c2b-secret-of-32-characters-0002"
#define BODY "{\"Body\":{\"stkCallback\":{}}}"

struct world {
    struct loop *loop;
    struct config cfg;
    struct http_server *server;
    struct callback_path path; /* of the last good one */
    char mac[64];
    int good;
    bool durable;
};

static void on_callback(void *arg, struct http_request *req)
{
    struct world *w = arg;

    if (!callbacks_path(&w->cfg, req, &w->path))
        return;
    if (!w->path.ours) {
        callbacks_forged(req);
        return;
    }
    w->good++;
    snprintf(w->mac, sizeof(w->mac), "%s", w->path.mac);
    if (w->durable)
        callbacks_accepted(req);
    else
        callbacks_refused(req);
}

static void on_c2b(void *arg, struct http_request *req)
{
    struct world *w = arg;

    if (!callbacks_c2b(&w->cfg, req))
        return;
    w->good++;
    callbacks_accepted(req);
}

static const struct http_route routes[] = {
    {HTTP_POST, "/callbacks/{}/{}/{}", on_callback},
    {HTTP_POST, "/c2b/confirmation/{}", on_c2b},
};

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

    w->cfg = (struct config){
        .http_connections_max = 64,
        .http_body_bytes_max = 65536,
        .http_header_bytes_max = 16384,
        .http_idle_timeout_ms = 10000,
        .callbacks_mac_key = MAC_KEY,
        .c2b_secret = SECRET,
        .c2b_second_secret = "",
    };
    w->loop = loop_new();
    w->durable = true;
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

static void sign_with(const char *key, const char *id, int attempt,
                      char mac[CALLBACK_MAC_SIZE])
{
    struct uuid uuid;
    struct err err;

    must(!uuid_parse(id, strlen(id), &uuid, &err));
    sign_callback(key, &uuid, attempt, mac);
}

static int post(struct world *w, const char *id, const char *attempt,
                const char *mac, struct answer *a)
{
    char path[400];

    snprintf(path, sizeof(path), "/callbacks/%s/%s/%s", id, attempt, mac);
    ask(w->loop, http_server_port(w->server), "POST", path,
        "Content-Type: application/json;charset=UTF-8\r\n", BODY, a);
    return a->status;
}

/* --- taken --- */

static void test_a_path_of_ours(void **state)
{
    struct world *w = *state;
    char mac[CALLBACK_MAC_SIZE], id[UUID_TEXT_SIZE];
    struct answer a;

    sign_with(MAC_KEY, ID, 1, mac);
    assert_int_equal(post(w, ID, "1", mac, &a), 200);
    assert_string_equal(a.body, "{\"ResultCode\":0,\"ResultDesc\":"
                                "\"Accepted\"}");
    assert_true(answer_has(&a, "Content-Type: application/json"));
    uuid_format(&w->path.payment, id);
    assert_string_equal(id, ID);
    assert_int_equal(w->path.attempt, 1);
    assert_string_equal(w->mac, mac);
    sign_with(MAC_KEY, ID, 999999, mac);
    assert_int_equal(post(w, ID, "999999", mac, &a), 200);
    assert_int_equal(w->path.attempt, 999999);
}

static void test_not_durable(void **state)
{
    struct world *w = *state;
    char mac[CALLBACK_MAC_SIZE];
    struct answer a;

    w->durable = false;
    sign_with(MAC_KEY, ID, 1, mac);
    assert_int_equal(post(w, ID, "1", mac, &a), 503);
    assert_non_null(strstr(a.body, "\"code\":\"not_durable\""));
    assert_true(answer_has(&a, "Retry-After: 1"));
}

/* --- forged --- */

static void assert_refused(struct world *w, const char *id, const char *attempt,
                           const char *mac)
{
    int64_t forged = metric_get(M_CALLBACKS_FORGED);
    struct answer a;

    if (post(w, id, attempt, mac, &a) != 404)
        fail_msg("/%s/%s/%s: %d", id, attempt, mac, a.status);
    assert_non_null(strstr(a.body, "\"code\":\"not_found\""));
    assert_null(strstr(a.body, "MAC"));
    assert_int_equal(metric_get(M_CALLBACKS_FORGED), forged + 1);
    assert_int_equal(w->good, 0);
}

static void test_macs_of_something_else(void **state)
{
    struct world *w = *state;
    char mac[CALLBACK_MAC_SIZE];

    sign_with(MAC_KEY, ID, 2, mac);
    assert_refused(w, ID, "1", mac);
    sign_with(MAC_KEY, "6f1c0000-1111-5222-8333-00000000009f", 1, mac);
    assert_refused(w, ID, "1", mac);
    sign_with("0123456789abcdeg", ID, 1, mac);
    assert_refused(w, ID, "1", mac);
    sign_with("", ID, 1, mac);
    assert_refused(w, ID, "1", mac);
}

static void test_every_digit_counts(void **state)
{
    struct world *w = *state;
    char mac[CALLBACK_MAC_SIZE], other[CALLBACK_MAC_SIZE + 2];

    sign_with(MAC_KEY, ID, 1, mac);
    for (size_t i = 0; i < CALLBACK_MAC_SIZE - 1; i++) {
        snprintf(other, sizeof(other), "%s", mac);
        other[i] = other[i] == '0' ? '1' : '0';
        assert_refused(w, ID, "1", other);
    }
    snprintf(other, sizeof(other), "%s0", mac);
    assert_refused(w, ID, "1", other);
    snprintf(other, sizeof(other), "%.31s", mac);
    assert_refused(w, ID, "1", other);
    assert_refused(w, ID, "1", "0");
}

static void test_attempts_that_are_none(void **state)
{
    static const char *const attempts[] = {
        "0", "01",  "-1",      "%2B1", "1.0",  "1e0",
        "x", "0x1", "1000000", "1%20", "%201", "99999999999999999999",
    };
    struct world *w = *state;
    char mac[CALLBACK_MAC_SIZE];

    sign_with(MAC_KEY, ID, 1, mac);
    for (size_t i = 0; i < ARRAY_LEN(attempts); i++)
        assert_refused(w, ID, attempts[i], mac);
}

static void test_ids_that_are_none(void **state)
{
    static const char *const ids[] = {
        "6f1c000011115222833300000000009e",
        "6f1c0000-1111-5222-8333-00000000009",
        "6f1c0000-1111-5222-8333-00000000009g",
        "%7B6f1c0000-1111-5222-8333-00000000009e%7D",
        "x",
    };
    struct world *w = *state;
    char mac[CALLBACK_MAC_SIZE];

    sign_with(MAC_KEY, ID, 1, mac);
    for (size_t i = 0; i < ARRAY_LEN(ids); i++)
        assert_refused(w, ids[i], "1", mac);
}

static void test_a_second_key(void **state)
{
    struct world *w = *state;
    char mac[CALLBACK_MAC_SIZE];
    struct answer a;

    sign_with("the-next-key-of-16-bytes", ID, 1, mac);
    assert_refused(w, ID, "1", mac);
    w->cfg.callbacks_second_mac_key = "the-next-key-of-16-bytes";
    assert_int_equal(post(w, ID, "1", mac, &a), 200);
    sign_with(MAC_KEY, ID, 1, mac);
    assert_int_equal(post(w, ID, "1", mac, &a), 200);
}

/* A second line: a right MAC from a wrong place is refused, too. */
static void test_networks(void **state)
{
    static const char *here[] = {"10.0.0.0/8", "127.0.0.0/8"};
    struct world *w = *state;
    int64_t elsewhere = metric_get(M_CALLBACKS_ELSEWHERE);
    char mac[CALLBACK_MAC_SIZE];
    struct answer a;

    sign_with(MAC_KEY, ID, 1, mac);
    w->cfg.callbacks_networks = (struct texts){here, 1};
    assert_int_equal(post(w, ID, "1", mac, &a), 404);
    assert_int_equal(metric_get(M_CALLBACKS_ELSEWHERE), elsewhere + 1);
    assert_int_equal(w->good, 0);
    w->cfg.callbacks_networks.n = 2;
    assert_int_equal(post(w, ID, "1", mac, &a), 200);
    w->good = 0;
    assert_refused(w, ID, "2", mac);
}

/* --- C2B --- */

static int notify(struct world *w, const char *secret)
{
    char path[400];
    struct answer a;

    snprintf(path, sizeof(path), "/c2b/confirmation/%s", secret);
    ask(w->loop, http_server_port(w->server), "POST", path,
        "Content-Type: application/json\r\n", BODY, &a);
    if (a.status == 200)
        assert_string_equal(a.body, "{\"ResultCode\":0,\"ResultDesc\":"
                                    "\"Accepted\"}");
    return a.status;
}

static void test_c2b_secrets_of_ours(void **state)
{
    struct world *w = *state;

    assert_int_equal(notify(w, SECRET), 200);
    assert_int_equal(notify(w, SECOND), 404);
    w->cfg.c2b_second_secret = SECOND;
    assert_int_equal(notify(w, SECRET), 200);
    assert_int_equal(notify(w, SECOND), 200);
    w->cfg.c2b_secret = "";
    assert_int_equal(notify(w, SECRET), 404);
    assert_int_equal(notify(w, SECOND), 200);
    assert_int_equal(w->good, 4);
}

static void test_c2b_secrets_of_others(void **state)
{
    struct world *w = *state;
    int64_t forged = metric_get(M_C2B_FORGED);
    char other[sizeof(SECRET) + 1];
    int n = 0;

    for (size_t i = 0; i < sizeof(SECRET) - 1; i++, n++) {
        snprintf(other, sizeof(other), "%s", SECRET);
        other[i] ^= 1;
        assert_int_equal(notify(w, other), 404);
    }
    snprintf(other, sizeof(other), "%s0", SECRET);
    assert_int_equal(notify(w, other), 404);
    snprintf(other, sizeof(other), "%.31s", SECRET);
    assert_int_equal(notify(w, other), 404);
    w->cfg.c2b_secret = ""; /* none configured: nothing opens */
    assert_int_equal(notify(w, SECRET), 404);
    assert_int_equal(notify(w, "%20"), 404);
    assert_int_equal(metric_get(M_C2B_FORGED), forged + n + 4);
    assert_int_equal(w->good, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_path_of_ours),         TEST(test_not_durable),
        TEST(test_macs_of_something_else), TEST(test_every_digit_counts),
        TEST(test_attempts_that_are_none), TEST(test_ids_that_are_none),
        TEST(test_a_second_key),           TEST(test_networks),
        TEST(test_c2b_secrets_of_ours),    TEST(test_c2b_secrets_of_others),
    };

    log_open("test_callbacks", LOG_ERROR, false);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
