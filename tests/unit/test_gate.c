/*
 * Pushes and queries against a provider in the same process: what goes out,
 * what a push's end proves, what the flight recorder then holds, and how many
 * may be under way.
 */
#include "consumer/gate.h"

#include "common/buf.h"
#include "common/json.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/sign.h"
#include "tests/unit/stub.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define LEASE_US (15 * US_PER_S)
#define LOCKED                                                           \
    "{\"errorCode\":\"500.001.1001\",\"errorMessage\":\"Unable to lock " \
    "subscriber, a transaction is already in process for the current "   \
    "subscriber\"}"

static int set_up_closed(void **state)
{
    *state = stub_new();
    return 0;
}

static int set_up(void **state)
{
    struct stub *s = stub_new();

    stub_open(s, gate_capacity(&s->cfg));
    *state = s;
    return 0;
}

static int tear_down(void **state)
{
    stub_free(*state);
    return 0;
}

/* What the worker's recorder shows once it is dead. */
static struct recorder_mark mark_of(struct stub *s, int n)
{
    struct payment p = stub_payment(n);
    struct recorder_reading *reading = NULL;
    struct recorder_mark mark;
    char path[1100];

    snprintf(path, sizeof(path), "%s", recorder_path(s->recorder));
    recorder_close(s->recorder, false);
    s->recorder = NULL;
    assert_int_equal(recorder_read(path, &reading), RECORDER_DEAD);
    mark = recorder_find(reading, &p.req.id, p.attempt);
    recorder_reading_free(reading);
    recorder_remove(path);
    return mark;
}

static void assert_not_sent(const struct stub *s, const struct gate_result *r,
                            const char *why)
{
    assert_int_equal(r->end, GATE_NOT_SENT);
    assert_int_equal(r->slot, -1);
    assert_non_null(strstr(r->why.text, why));
    if (s->recorder)
        assert_int_equal(recorder_used(s->recorder), 0);
}

/* --- what goes out --- */

static void assert_member(const char *body, const char *name, const char *want)
{
    CLEANUP(json_free)
    struct json *root = NULL;
    struct err err;

    assert_int_equal(json_parse_strict(body, strlen(body), &root, &err), 0);
    assert_string_equal(json_text(json_get(root, name)), want);
}

static void assert_password(const char *body)
{
    CLEANUP(json_free)
    struct json *root = NULL;
    char plain[100];
    struct buf want;
    struct err err;
    const char *stamp;
    int64_t at;

    assert_int_equal(json_parse_strict(body, strlen(body), &root, &err), 0);
    stamp = json_text(json_get(root, "Timestamp"));
    assert_int_equal(clock_parse_eat(stamp, strlen(stamp), &at, &err), 0);
    assert_true(clock_wall_at() - at < 60 * US_PER_S);
    snprintf(plain, sizeof(plain), "174379test-passkey%s", stamp);
    buf_init(&want, 200);
    sign_base64(&want, plain, strlen(plain));
    assert_member(body, "Password", want.data);
    buf_done(&want);
}

static void test_a_pushs_request(void **state)
{
    struct stub *s = *state;
    struct payment p = stub_payment(1);
    char mac[CALLBACK_MAC_SIZE], id[UUID_TEXT_SIZE], url[200];

    s->shortcodes[0].party_b = 600000;
    stub_push_once(s, 1);
    assert_string_equal(s->push.authorization, "Bearer token-1");
    assert_password(s->push.last);
    assert_member(s->push.last, "BusinessShortCode", "174379");
    assert_member(s->push.last, "TransactionType", "CustomerPayBillOnline");
    assert_member(s->push.last, "Amount", "101");
    assert_member(s->push.last, "PartyA", "254708374149");
    assert_member(s->push.last, "PartyB", "600000");
    assert_member(s->push.last, "PhoneNumber", "254708374149");
    assert_member(s->push.last, "AccountReference", "INV0000042");
    assert_member(s->push.last, "TransactionDesc", "Order 42");
    uuid_format(&p.req.id, id);
    sign_callback(s->cfg.callbacks_mac_key, &p.req.id, 1, mac);
    snprintf(url, sizeof(url), "https://pay.example.org/callbacks/%s/1/%s", id,
             mac);
    assert_member(s->push.last, "CallBackURL", url);
}

/* The ledger says which key a callback has to be checked with. */
static void test_the_key_that_the_attempt_names(void **state)
{
    struct stub *s = *state;
    char mac[CALLBACK_MAC_SIZE];
    struct payment p = stub_payment(1);
    const struct gate_result *end;

    stub_open(s, 0);
    s->cfg.callbacks_mac_key_id = 7;
    s->cfg.callbacks_second_mac_key = "the-last-key-of-16-bytes";
    s->cfg.callbacks_second_mac_key_id = 3;
    p.mac_key = 3;
    gate_push(s->gate, &p,
              &(struct gate_right){.lease_us = 15 * US_PER_S, .term = s->term},
              stub_ended, (void *)1);
    STUB_WAIT(s, stub_end_of(s, 1));
    sign_callback(s->cfg.callbacks_second_mac_key, &p.req.id, 1, mac);
    assert_non_null(strstr(s->push.last, mac));
    p.mac_key = 4; /* dropped, against all rules: nothing may leave */
    gate_push(s->gate, &p,
              &(struct gate_right){.lease_us = 15 * US_PER_S, .term = s->term},
              stub_ended, (void *)2);
    STUB_WAIT(s, stub_end_of(s, 2));
    end = stub_end_of(s, 2);
    assert_int_equal(end->end, GATE_NOT_SENT);
    assert_non_null(strstr(end->why.text, "key of its callback"));
    assert_int_equal(s->push.asked, 1);
}

/* Settings take secrets of 4096 bytes: none may be cut, none may kill. */
static void test_the_longest_secrets(void **state)
{
    struct stub *s = *state;
    char secret[4097];

    memset(secret, 'k', 4096);
    secret[4096] = '\0';
    s->shortcodes[0].passkey = s->shortcodes[0].consumer_key = secret;
    s->shortcodes[0].consumer_secret = secret;
    stub_open(s, 0);
    STUB_WAIT(s, s->token.asked == 1);
    assert_int_equal(stub_push_once(s, 1).end, GATE_ANSWER);
    assert_true(strlen(s->push.last) > 4096 / 3 * 4);
}

static void test_a_querys_request(void **state)
{
    struct stub *s = *state;

    stub_query(s, 1);
    STUB_WAIT(s, s->ends_n == 1);
    assert_member(s->query.last, "CheckoutRequestID", STUB_CHECKOUT_ID);
    assert_member(s->query.last, "BusinessShortCode", "174379");
    assert_password(s->query.last);
    assert_int_equal(s->push.asked, 0);
}

/* --- how a push ends --- */

static void test_accepted(void **state)
{
    struct stub *s = *state;
    int64_t answered = metric_get(M_PUSH_ANSWERED);
    struct gate_result r = stub_push_once(s, 1);
    struct recorder_mark mark;

    assert_int_equal(r.end, GATE_ANSWER);
    assert_int_equal(r.verdict.kind, VERDICT_ACCEPTED);
    assert_string_equal(r.verdict.checkout_id, STUB_CHECKOUT_ID);
    assert_true(r.slot >= 0 && r.took_us > 0);
    assert_int_equal(recorder_used(s->recorder), 1); /* until it is stored */
    assert_int_equal(gate_open(s->gate), 0);
    assert_int_equal(metric_get(M_PUSH_ANSWERED), answered + 1);
    mark = mark_of(s, 1);
    assert_true(mark.begun && mark.answered);
    assert_string_equal(mark.verdict, "accepted");
    assert_string_equal(mark.checkout_id, STUB_CHECKOUT_ID);
    assert_string_equal(mark.merchant_id, "2654-4b64-97ff-b827b5428");
}

static void test_an_answer_is_judged(void **state)
{
    struct stub *s = *state;
    struct gate_result r;

    s->push.status = 500;
    s->push.body = LOCKED;
    r = stub_push_once(s, 1);
    assert_int_equal(r.end, GATE_ANSWER);
    assert_int_equal(r.verdict.kind, VERDICT_LOCKED);
    s->push.body = "<html>oops</html>";
    r = stub_push_once(s, 2);
    assert_int_equal(r.end, GATE_ANSWER);
    assert_int_equal(r.verdict.kind, VERDICT_AMBIGUOUS);
    assert_string_equal(mark_of(s, 1).verdict, "locked");
}

static void test_lost(void **state)
{
    struct stub *s = *state;
    struct gate_result r;
    struct recorder_mark mark;

    s->push.act = STUB_CLOSE;
    r = stub_push_once(s, 1);
    assert_int_equal(r.end, GATE_LOST);
    assert_true(r.slot >= 0);
    assert_string_not_equal(r.why.text, "");
    assert_int_equal(s->push.asked, 1); /* nothing is sent again */
    mark = mark_of(s, 1);
    assert_true(mark.begun);
    assert_false(mark.answered);
}

static void test_lost_by_time(void **state)
{
    struct stub *s = *state;
    struct gate_result r;

    s->cfg.gate_total_timeout_ms = 200;
    stub_open(s, 8);
    s->push.act = STUB_HANG;
    r = stub_push_once(s, 1);
    assert_int_equal(r.end, GATE_LOST);
    assert_true(mark_of(s, 1).begun);
}

static void test_unreachable(void **state)
{
    struct stub *s = *state;
    struct gate_result r;

    STUB_WAIT(s, s->tokens == 1);
    stub_turns(s);
    s->shortcodes[0].base_url = "http://127.0.0.1:1";
    r = stub_push_once(s, 1);
    assert_not_sent(s, &r, "could not reach host");
    assert_true(r.unreachable);
    assert_int_equal(s->push.asked, 0);
}

static void test_an_unknown_shortcode(void **state)
{
    struct stub *s = *state;
    struct payment p = stub_payment(1);

    p.req.shortcode = 999999;
    gate_push(s->gate, &p,
              &(struct gate_right){.lease_us = LEASE_US, .term = 0}, stub_ended,
              (void *)1);
    assert_int_equal(s->ends_n, 0);
    STUB_WAIT(s, s->ends_n == 1);
    assert_not_sent(s, &s->ends[0].result, "shortcode");
    assert_true(s->ends[0].result.unreachable);
    assert_int_equal(s->push.asked, 0);
}

/* --- what must not go out (rule S7) --- */

static void test_not_allowed(void **state)
{
    struct stub *s = *state;
    int64_t not_sent = metric_get(M_PUSH_NOT_SENT);
    struct gate_result r;

    s->allowed = false;
    r = stub_push_once(s, 1);
    assert_not_sent(s, &r, "no longer trusts");
    assert_false(r.unreachable);
    assert_int_equal(s->push.asked, 0);
    assert_int_equal(metric_get(M_PUSH_NOT_SENT), not_sent + 1);
    s->allowed = true;
    assert_int_equal(stub_push_once(s, 2).end, GATE_ANSWER);
    assert_int_equal(s->push.asked, 1);
}

/* Promised before a silence: void, however fresh the heartbeat is again. */
static void test_a_term_that_ended(void **state)
{
    struct stub *s = *state;

    STUB_WAIT(s, s->tokens == 1);
    stub_turns(s);
    stub_push(s, 1, LEASE_US);
    loop_once(s->loop, 0); /* given to libcurl, not yet connected */
    s->term++;
    STUB_WAIT(s, s->ends_n == 1);
    assert_not_sent(s, &s->ends[0].result, "no longer trusts");
    assert_int_equal(s->push.asked, 0);
    assert_int_equal(stub_push_once(s, 2).end, GATE_ANSWER);
    assert_int_equal(s->push.asked, 1);
}

/* Queries change nothing: they go out even so. */
static void test_a_query_needs_no_permission(void **state)
{
    struct stub *s = *state;

    s->allowed = false;
    stub_query(s, 1);
    STUB_WAIT(s, s->ends_n == 1);
    assert_int_equal(s->ends[0].result.verdict.kind, VERDICT_PAID);
    assert_int_equal(s->ends[0].result.slot, -1);
    assert_int_equal(recorder_used(s->recorder), 0);
}

/* The lease ends while the connection is being made. */
static void test_a_lease_that_ends_on_the_way(void **state)
{
    struct stub *s = *state;
    int64_t lease_us = 200 * US_PER_MS, end_us;

    STUB_WAIT(s, s->tokens == 1);
    stub_turns(s);
    end_us = clock_now_us() + lease_us;
    stub_push(s, 1, lease_us);
    loop_once(s->loop, 0); /* given to libcurl, not yet connected */
    while (clock_now_us() <= end_us) {
        /* as frozen */
    }
    STUB_WAIT(s, s->ends_n == 1);
    assert_not_sent(s, &s->ends[0].result, "lease was over");
    assert_int_equal(s->push.asked, 0);
}

/* Paid meanwhile: one that waits and one that libcurl has do not go out; other
   attempts and other payments do. */
static void test_stopped(void **state)
{
    struct stub *s = *state;
    struct payment p = stub_payment(1), other = stub_payment(2);

    stub_push(s, 1, LEASE_US); /* waits for a token */
    gate_stop(s->gate, &p.req.id, p.attempt);
    STUB_WAIT(s, s->ends_n == 1);
    assert_not_sent(s, &s->ends[0].result, "paid already");
    STUB_WAIT(s, s->tokens == 1);
    stub_turns(s);
    stub_push(s, 1, LEASE_US);
    loop_once(s->loop, 0); /* given to libcurl, not yet connected */
    gate_stop(s->gate, &p.req.id, p.attempt);
    STUB_WAIT(s, s->ends_n == 2);
    assert_not_sent(s, &s->ends[1].result, "paid already");
    assert_int_equal(s->push.asked, 0);
    stub_push(s, 1, LEASE_US);
    gate_stop(s->gate, &p.req.id, p.attempt + 1);
    gate_stop(s->gate, &other.req.id, p.attempt);
    STUB_WAIT(s, s->ends_n == 3);
    assert_int_equal(s->ends[2].result.end, GATE_ANSWER);
}

static void test_a_lease_that_is_over(void **state)
{
    struct stub *s = *state;

    STUB_WAIT(s, s->tokens == 1);
    stub_turns(s);
    stub_push(s, 1, 0);
    STUB_WAIT(s, s->ends_n == 1);
    assert_not_sent(s, &s->ends[0].result, "lease was over");
    assert_false(s->ends[0].result.unreachable);
    assert_int_equal(s->push.asked, 0);
}

static void test_a_full_recorder(void **state)
{
    struct stub *s = *state;
    struct gate_result first, second;

    stub_open(s, 1);
    first = stub_push_once(s, 1);
    assert_int_equal(first.end, GATE_ANSWER);
    second = stub_push_once(s, 2); /* the first is not stored yet */
    assert_int_equal(second.end, GATE_NOT_SENT);
    assert_non_null(strstr(second.why.text, "recorder is full"));
    assert_int_equal(second.slot, -1);
    assert_int_equal(s->push.asked, 1);
    recorder_free_slot(s->recorder, first.slot);
    assert_int_equal(stub_push_once(s, 3).end, GATE_ANSWER);
}

/* --- queries --- */

static void test_a_query_of_another_push(void **state)
{
    struct stub *s = *state;

    s->query.status = 200;
    s->query.body = "{\"ResponseCode\":\"0\",\"CheckoutRequestID\":"
                    "\"ws_CO_OTHER\",\"ResultCode\":\"0\"}";
    stub_query(s, 1);
    STUB_WAIT(s, s->ends_n == 1);
    assert_int_equal(s->ends[0].result.end, GATE_ANSWER);
    assert_int_equal(s->ends[0].result.verdict.kind, VERDICT_PENDING);
    s->query.body = NULL; /* its own */
    stub_query(s, 2);
    STUB_WAIT(s, s->ends_n == 2);
    assert_int_equal(s->ends[1].result.verdict.kind, VERDICT_PAID);
}

/* Many queries, and no token for any of them: pushes keep all they had. */
static void test_queries_take_nothing_from_pushes(void **state)
{
    struct stub *s = *state;
    int queries = 0, n;

    s->token.act = STUB_HANG;
    stub_open(s, 0);
    while (gate_can_query(s->gate))
        stub_query(s, ++queries);
    assert_int_equal(queries, 16); /* a quarter of the slots, 16 at least */
    assert_int_equal(gate_pushes(s->gate), 0);
    stub_turns(s);
    assert_false(gate_can_query(s->gate));
    n = queries;
    for (int64_t most = (int64_t)gate_capacity(&s->cfg); n < most;)
        stub_push(s, ++n, US_PER_S / 2);
    assert_int_equal(gate_pushes(s->gate), n - queries);
    STUB_WAIT(s, s->ends_n == n - queries); /* no token in time */
    assert_int_equal(gate_pushes(s->gate), 0);
    assert_false(gate_can_query(s->gate));
}

/* --- how many --- */

static void test_slots(void **state)
{
    struct stub *s = *state;
    int most = (int)(s->cfg.worker_slots + s->cfg.worker_ahead);

    s->push.act = STUB_HANG;
    for (int n = 1; n <= most; n++) {
        assert_int_equal(gate_pushes(s->gate), n - 1);
        stub_push(s, n, LEASE_US);
    }
    assert_int_equal(gate_pushes(s->gate), most);
    assert_int_equal(gate_open(s->gate), most);
    STUB_WAIT(s, s->push.asked == s->cfg.worker_slots);
    stub_turns(s);
    assert_int_equal(s->push.asked, s->cfg.worker_slots);
    assert_int_equal(metric_get(M_PUSHES_OPEN), s->cfg.worker_slots);
    stub_release(s);
    STUB_WAIT(s, s->push.asked == most);
    stub_release(s);
    STUB_WAIT(s, s->ends_n == most);
    assert_int_equal(gate_pushes(s->gate), 0);
}

static void push_as(struct stub *s, int n, enum priority priority)
{
    struct payment p = stub_payment(n);

    p.req.priority = priority;
    gate_push(s->gate, &p,
              &(struct gate_right){.lease_us = LEASE_US, .term = s->term},
              stub_ended, (void *)(intptr_t)n);
}

/* One slot, and all wait for it: high is next, but low is overtaken eight times
   and no more. */
static void test_who_waits_first(void **state)
{
    struct stub *s = *state;
    int place = 0;

    s->cfg.worker_slots = 1;
    stub_open(s, gate_capacity(&s->cfg));
    push_as(s, 1, PRIORITY_LOW);
    push_as(s, 2, PRIORITY_LOW);
    for (int n = 3; n <= 12; n++)
        push_as(s, n, PRIORITY_HIGH);
    STUB_WAIT(s, s->ends_n == 12);
    for (int i = 0; i < 12; i++)
        place = (intptr_t)s->ends[i].arg == 1 ? i : place;
    assert_int_equal((intptr_t)s->ends[0].arg, 3);
    assert_int_equal(place, 8);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
#define TEST_CLOSED(name) \
    cmocka_unit_test_setup_teardown(name, set_up_closed, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_pushs_request),
        TEST_CLOSED(test_the_longest_secrets),
        TEST_CLOSED(test_the_key_that_the_attempt_names),
        TEST(test_a_querys_request),
        TEST(test_accepted),
        TEST(test_an_answer_is_judged),
        TEST(test_lost),
        TEST_CLOSED(test_lost_by_time),
        TEST(test_unreachable),
        TEST(test_an_unknown_shortcode),
        TEST(test_not_allowed),
        TEST(test_stopped),
        TEST(test_a_term_that_ended),
        TEST(test_a_query_needs_no_permission),
        TEST(test_a_lease_that_ends_on_the_way),
        TEST(test_a_lease_that_is_over),
        TEST_CLOSED(test_a_full_recorder),
        TEST(test_a_query_of_another_push),
        TEST_CLOSED(test_queries_take_nothing_from_pushes),
        TEST(test_slots),
        TEST_CLOSED(test_who_waits_first),
    };

    log_open("test_gate", LOG_ERROR, false);
    return cmocka_run_group_tests(tests, stub_make_ledger, NULL);
}
