/*
 * Access tokens: how many are fetched, when, for whom, and what the gate does
 * while there is none.
 */
#include "common/log.h"
#include "common/metrics.h"
#include "consumer/gate.h"
#include "tests/unit/stub.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define LEASE_US (15 * US_PER_S)

static int set_up_closed(void **state)
{
    *state = stub_new();
    return 0;
}

static int set_up(void **state)
{
    struct stub *s = stub_new();

    stub_open(s, 0);
    *state = s;
    return 0;
}

static int tear_down(void **state)
{
    stub_free(*state);
    return 0;
}

static struct health health_of(struct stub *s)
{
    struct health row = {0};

    assert_int_equal(gate_health(s->gate, &row, 1), 1);
    return row;
}

/* --- one for many --- */

static void test_one_token_for_many_pushes(void **state)
{
    struct stub *s = *state;

    for (int n = 1; n <= 12; n++) /* before the token is there */
        stub_push(s, n, LEASE_US);
    STUB_WAIT(s, s->ends_n == 12);
    for (int n = 1; n <= 12; n++)
        assert_int_equal(stub_end_of(s, n)->verdict.kind, VERDICT_ACCEPTED);
    assert_int_equal(stub_push_once(s, 13).end, GATE_ANSWER);
    assert_int_equal(s->token.asked, 1);
    assert_string_equal(s->token.authorization, "Basic a2V5OnNlY3JldA==");
    assert_true(health_of(s).ok);
    assert_true(health_of(s).latency_us >= 0);
}

static void test_one_token_per_consumer_key(void **state)
{
    struct stub *s = *state;
    struct payment p = stub_payment(1);

    s->cfg.shortcodes_n = 3;
    s->shortcodes[2].consumer_key = "another";
    stub_open(s, 0);
    STUB_WAIT(s, s->tokens == 2);
    stub_turns(s);
    assert_int_equal(s->token.asked, 2); /* the first two share one */
    for (int i = 0; i < 3; i++) {
        char want[2][40] = {"Bearer token-1", "Bearer token-2"};

        p.req.shortcode = 174379 + i;
        gate_push(s->gate, &p,
                  &(struct gate_right){.lease_us = LEASE_US, .term = 0},
                  stub_ended, NULL);
        STUB_WAIT(s, s->ends_n == i + 1);
        if (i < 2)
            assert_string_equal(s->push.authorization, want[0]);
        else
            assert_string_equal(s->push.authorization, want[1]);
    }
    assert_int_equal(s->token.asked, 2);
}

/* --- other settings --- */

static void test_other_credentials_count_at_once(void **state)
{
    struct stub *s = *state;
    struct shortcode other = s->shortcodes[0];

    other.consumer_key = "another";
    s->cfg.shortcodes_n = 1;
    stub_open(s, 0);
    STUB_WAIT(s, s->tokens == 1);
    assert_int_equal(stub_push_once(s, 1).end, GATE_ANSWER);
    assert_string_equal(s->push.authorization, "Bearer token-1");
    s->token.act = STUB_HANG; /* the new key's token is not there at once */
    s->cfg.shortcodes = &other;
    gate_renewed(s->gate);
    stub_push(s, 2, LEASE_US);
    STUB_WAIT(s, s->parked_n == 1);
    assert_int_equal(s->ends_n, 1); /* the old one is not used any more */
    assert_string_equal(s->token.authorization, "Basic YW5vdGhlcjpzZWNyZXQ=");
    s->cfg.shortcodes = s->shortcodes; /* an error: back again */
    gate_renewed(s->gate);
    STUB_WAIT(s, s->ends_n == 2);
    assert_string_equal(s->push.authorization, "Bearer token-1");
    assert_int_equal(s->token.asked, 2);
}

/* --- refused --- */

static void test_a_refused_token_is_fetched_anew_once(void **state)
{
    struct stub *s = *state;
    int64_t refused = metric_get(M_TOKEN_REFUSED);

    STUB_WAIT(s, s->tokens == 1);
    stub_turns(s);
    s->newest_only = true;
    s->tokens = 2; /* somebody else was given one */
    for (int n = 1; n <= 8; n++)
        stub_push(s, n, LEASE_US);
    STUB_WAIT(s, s->ends_n == 8);
    for (int n = 1; n <= 8; n++) {
        assert_int_equal(stub_end_of(s, n)->end, GATE_ANSWER);
        assert_int_equal(stub_end_of(s, n)->verdict.kind, VERDICT_AUTH);
    }
    assert_int_equal(s->push.asked, 8); /* no resend inside an attempt */
    assert_int_equal(metric_get(M_TOKEN_REFUSED), refused + 8);
    assert_int_equal(stub_push_once(s, 9).verdict.kind, VERDICT_ACCEPTED);
    assert_string_equal(s->push.authorization, "Bearer token-3");
    assert_int_equal(s->token.asked, 2);
}

static void test_a_query_refuses_a_token_too(void **state)
{
    struct stub *s = *state;

    STUB_WAIT(s, s->tokens == 1);
    stub_turns(s);
    s->newest_only = true;
    s->tokens = 2;
    stub_query(s, 1);
    STUB_WAIT(s, s->ends_n == 1);
    assert_int_equal(s->ends[0].result.verdict.kind, VERDICT_AUTH);
    stub_query(s, 2);
    STUB_WAIT(s, s->ends_n == 2);
    assert_int_equal(s->ends[1].result.verdict.kind, VERDICT_PAID);
    assert_int_equal(s->token.asked, 2);
}

/* The answer to a push that carried the old token says nothing of the new. */
static void test_a_late_refusal_is_of_the_old_token(void **state)
{
    struct stub *s = *state;

    s->push.act = STUB_HANG;
    stub_push(s, 1, LEASE_US);
    STUB_WAIT(s, s->parked_n == 1);
    s->push.act = STUB_REPLY;
    s->newest_only = true;
    s->tokens = 2;
    assert_int_equal(stub_push_once(s, 2).verdict.kind, VERDICT_AUTH);
    STUB_WAIT(s, s->tokens == 3);
    stub_turns(s);
    http_reply(s->parked[0], 401, "application/json",
               "{\"errorCode\":\"401.003.01\"}", 26);
    s->parked_n = 0;
    STUB_WAIT(s, stub_end_of(s, 1));
    assert_int_equal(stub_end_of(s, 1)->verdict.kind, VERDICT_AUTH);
    stub_turns(s);
    assert_int_equal(s->token.asked, 2);
    assert_int_equal(stub_push_once(s, 3).verdict.kind, VERDICT_ACCEPTED);
}

/* --- none --- */

static void test_no_token_in_time(void **state)
{
    struct stub *s = *state;

    s->token.act = STUB_HANG;
    stub_push(s, 1, 50 * US_PER_MS);
    STUB_WAIT(s, s->ends_n == 1);
    assert_int_equal(s->ends[0].result.end, GATE_NOT_SENT);
    assert_true(s->ends[0].result.unreachable);
    assert_non_null(strstr(s->ends[0].result.why.text, "no access token"));
    assert_int_equal(s->push.asked, 0);
    assert_false(health_of(s).ok);
    assert_non_null(strstr(health_of(s).note, "no token yet"));
}

static void test_the_endpoint_comes_back(void **state)
{
    struct stub *s = *state;

    s->token.status = 503;
    s->token.body = "Request unsuccessful. Incapsula incident ID: 1";
    stub_push(s, 1, LEASE_US);
    STUB_WAIT(s, s->token.asked == 2);
    assert_non_null(strstr(health_of(s).note, "answered 503"));
    s->token.act = STUB_CLOSE;
    STUB_WAIT(s, s->token.asked >= 3); /* libcurl repeats a GET by itself */
    s->token = (struct stub_endpoint){.act = STUB_REPLY};
    STUB_WAIT(s, s->ends_n == 1); /* it waited for its token */
    assert_int_equal(s->ends[0].result.verdict.kind, VERDICT_ACCEPTED);
}

/* Half a second, then twice as long each time. */
static void test_failures_are_backed_off(void **state)
{
    struct stub *s = *state;
    int64_t since_us = clock_now_us();

    s->token.status = 400;
    s->token.body = "";
    STUB_WAIT(s, s->token.asked == 3);
    assert_true(clock_now_us() - since_us >= 1500 * US_PER_MS);
}

/* One gate per answer: the next fetch would be backed off. */
static void assert_no_token(const char *body)
{
    struct stub *s = stub_new();

    s->token.status = 200;
    s->token.body = body;
    stub_open(s, 0);
    STUB_WAIT(s, s->token.asked == 1);
    STUB_WAIT(s, strstr(health_of(s).note, "token endpoint's answer"));
    assert_false(health_of(s).ok);
    stub_free(s);
}

static void test_answers_that_hold_no_token(void **state)
{
    static char endless[700];
    static const char *const bodies[] = {
        "",
        "<html></html>",
        "{}",
        "{\"access_token\":\"\",\"expires_in\":\"3599\"}",
        "{\"access_token\":5,\"expires_in\":\"3599\"}",
        "{\"access_token\":\"a\"}",
        "{\"access_token\":\"a\",\"expires_in\":\"soon\"}",
        "{\"access_token\":\"a\",\"expires_in\":\"0\"}",
        "{\"access_token\":\"a\",\"expires_in\":-5}",
        "{\"access_token\":\"a\",\"expires_in\":86401}",
        "{\"access_token\":\"a\\r\\nX: y\",\"expires_in\":\"3599\"}",
        endless,
    };

    (void)state;
    snprintf(endless, sizeof(endless),
             "{\"access_token\":\"%0600d\",\"expires_in\":\"3599\"}", 1);
    for (size_t i = 0; i < ARRAY_LEN(bodies); i++)
        assert_no_token(bodies[i]);
}

/* --- in time --- */

/* A stalled machine may miss the moment now and then, not each time. */
static void test_refreshed_ahead_of_its_end(void **state)
{
    struct stub *s = *state;
    int in_time = 0;

    s->life_s = 2;
    stub_open(s, 0);
    STUB_WAIT(s, health_of(s).ok);
    for (int n = 2; n <= 4 && !in_time; n++) {
        int64_t since_us = clock_now_us();

        STUB_WAIT(s, s->token.asked == n);
        assert_true(clock_now_us() - since_us >= US_PER_S);
        in_time += health_of(s).ok; /* the old one is still good */
        STUB_WAIT(s, health_of(s).ok);
    }
    assert_int_equal(in_time, 1);
}

static void test_a_number_of_seconds(void **state)
{
    struct stub *s = *state;

    s->token.status = 200;
    s->token.body = "{\"access_token\":\"abc\",\"expires_in\":3599}";
    stub_open(s, 0);
    assert_int_equal(stub_push_once(s, 1).end, GATE_ANSWER);
    assert_string_equal(s->push.authorization, "Bearer abc");
    assert_int_equal(s->token.asked, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
#define TEST_CLOSED(name) \
    cmocka_unit_test_setup_teardown(name, set_up_closed, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_one_token_for_many_pushes),
        TEST_CLOSED(test_one_token_per_consumer_key),
        TEST_CLOSED(test_other_credentials_count_at_once),
        TEST(test_a_refused_token_is_fetched_anew_once),
        TEST(test_a_query_refuses_a_token_too),
        TEST(test_a_late_refusal_is_of_the_old_token),
        TEST(test_no_token_in_time),
        TEST(test_the_endpoint_comes_back),
        TEST(test_failures_are_backed_off),
        cmocka_unit_test(test_answers_that_hold_no_token),
        TEST_CLOSED(test_refreshed_ahead_of_its_end),
        TEST_CLOSED(test_a_number_of_seconds),
    };

    log_open("test_gate_token", LOG_ERROR, false);
    return cmocka_run_group_tests(tests, stub_make_ledger, NULL);
}
