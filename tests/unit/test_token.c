/*
 * The fleet's tokens: several gates with one consumer key, one row in a real
 * Postgres, and a provider of whose tokens only the newest is good.
 */
#include "common/log.h"
#include "common/metrics.h"
#include "consumer/gate.h"
#include "tests/unit/stub.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define LEASE_US (30 * US_PER_S)
#define GATES 3

struct fleet {
    struct stub *s;
    struct gate *gates[GATES];
    struct pg_session *server;
    int pushes;
};

static int set_up(void **state)
{
    struct fleet *f = NEW(struct fleet);

    f->s = stub_new();
    f->s->newest_only = true;
    f->server = ledger_session(getenv("FOLENI_TEST_CONNINFO"));
    *state = f;
    return 0;
}

static void let_in(struct fleet *f, bool in)
{
    ledger_runf(f->server, "ALTER DATABASE foleni_gate ALLOW_CONNECTIONS %s",
                in ? "true" : "false");
}

static int tear_down(void **state)
{
    struct fleet *f = *state;

    let_in(f, true);
    for (int i = 1; i < GATES; i++)
        gate_free(f->gates[i]);
    f->s->gate = f->gates[0];
    stub_free(f->s);
    pg_session_close(f->server);
    free(f);
    return 0;
}

static void open_gate(struct fleet *f, int i)
{
    struct gate_spec spec = {.allowed = stub_allowed, .arg = f->s};

    f->gates[i] = gate_new(f->s->loop, &f->s->cfg, &spec);
}

static void open_fleet(struct fleet *f)
{
    for (int i = 0; i < GATES; i++)
        open_gate(f, i);
}

static struct health health_of(struct fleet *f, int i)
{
    struct health row = {0};

    assert_int_equal(gate_health(f->gates[i], &row, 1), 1);
    return row;
}

/* Gives payment p of a new number to gate @p i; returns the number. */
static int push(struct fleet *f, int i, int64_t refused_version)
{
    struct payment p = stub_payment(++f->pushes);

    p.auth_version = refused_version;
    gate_push(f->gates[i], &p, &(struct gate_right){.lease_us = LEASE_US},
              stub_ended, (void *)(intptr_t)f->pushes);
    return f->pushes;
}

static struct gate_result result_of(struct fleet *f, int n)
{
    STUB_WAIT(f->s, stub_end_of(f->s, n));
    return *stub_end_of(f->s, n);
}

static enum verdict_kind verdict_at(struct fleet *f, int i)
{
    struct gate_result r = result_of(f, push(f, i, 0));

    assert_int_equal(r.end, GATE_ANSWER);
    return r.verdict.kind;
}

static int64_t ask(struct fleet *f, const char *sql)
{
    return ledger_ask(f->s->ledger, sql);
}

/* --- one for all --- */

static void test_one_token_for_the_fleet(void **state)
{
    struct fleet *f = *state;

    open_fleet(f);
    for (int i = 0; i < GATES; i++) {
        assert_int_equal(verdict_at(f, i), VERDICT_ACCEPTED);
        assert_non_null(strstr(health_of(f, i).note, "good for"));
    }
    assert_int_equal(f->s->token.asked, 1);
    assert_int_equal(ask(f, "SELECT count(*) FROM tokens"), 1);
}

static void test_a_worker_that_comes_later(void **state)
{
    struct fleet *f = *state;

    open_gate(f, 0);
    assert_int_equal(verdict_at(f, 0), VERDICT_ACCEPTED);
    open_gate(f, 1);
    assert_int_equal(verdict_at(f, 1), VERDICT_ACCEPTED);
    assert_int_equal(f->s->token.asked, 1);
}

static void test_the_row_shows_no_token(void **state)
{
    struct fleet *f = *state;

    open_gate(f, 0);
    assert_int_equal(verdict_at(f, 0), VERDICT_ACCEPTED);
    STUB_WAIT(f->s, ask(f, "SELECT count(*) FROM tokens WHERE version > 0"));
    assert_int_equal(ask(f, "SELECT count(*) FROM tokens WHERE "
                            "position('token-' IN sealed) > 0 OR "
                            "position('key' IN consumer) > 0"),
                     0);
}

static void test_refused_everywhere_costs_one_fetch(void **state)
{
    struct fleet *f = *state;

    open_fleet(f);
    for (int i = 0; i < GATES; i++)
        assert_int_equal(verdict_at(f, i), VERDICT_ACCEPTED);
    f->s->tokens++; /* somebody else was given one */
    for (int i = 0; i < GATES; i++)
        push(f, i, 0);
    for (int n = GATES + 1; n <= 2 * GATES; n++)
        assert_int_equal(result_of(f, n).verdict.kind, VERDICT_AUTH);
    for (int i = 0; i < GATES; i++)
        assert_int_equal(verdict_at(f, i), VERDICT_ACCEPTED);
    assert_int_equal(f->s->token.asked, 2);
}

/* Rule S13: the payment itself brings the news to whoever pushes it next. */
static void test_never_twice_with_one_version(void **state)
{
    struct fleet *f = *state;
    struct gate_result first;
    int asked;

    open_fleet(f);
    for (int i = 0; i < GATES; i++)
        assert_int_equal(verdict_at(f, i), VERDICT_ACCEPTED);
    f->s->tokens++;
    first = result_of(f, push(f, 0, 0));
    assert_int_equal(first.verdict.kind, VERDICT_AUTH);
    assert_true(first.token_version > 0);
    asked = f->s->push.asked;
    first = result_of(f, push(f, 1, first.token_version));
    assert_int_equal(first.verdict.kind, VERDICT_ACCEPTED);
    assert_int_equal(f->s->push.asked, asked + 1);
    assert_int_equal(f->s->token.asked, 2);
}

/* --- the lease --- */

static void test_a_stopped_holder_delays_by_its_lease(void **state)
{
    struct fleet *f = *state;

    open_gate(f, 0);
    assert_int_equal(verdict_at(f, 0), VERDICT_ACCEPTED);
    STUB_WAIT(f->s, ask(f, "SELECT count(*) FROM tokens WHERE version > 0"));
    ledger_run(f->s->ledger,
               "UPDATE tokens SET lease = lease + 1, sealed = NULL, "
               "leased_until = now() + interval '1500 ms'");
    open_gate(f, 1);
    for (int i = 0; i < 50; i++)
        loop_once(f->s->loop, 10 * US_PER_MS);
    assert_int_equal(f->s->token.asked, 1);
    assert_int_equal(verdict_at(f, 1), VERDICT_ACCEPTED);
    assert_int_equal(f->s->token.asked, 2);
}

static void test_a_lease_of_a_clock_that_stepped(void **state)
{
    struct fleet *f = *state;

    ledger_run(f->s->ledger, "DELETE FROM tokens");
    open_gate(f, 0);
    assert_int_equal(verdict_at(f, 0), VERDICT_ACCEPTED);
    STUB_WAIT(f->s, ask(f, "SELECT count(*) FROM tokens WHERE version > 0"));
    ledger_run(f->s->ledger, "UPDATE tokens SET sealed = NULL, "
                             "leased_until = now() + interval '1 day'");
    open_gate(f, 1);
    assert_int_equal(verdict_at(f, 1), VERDICT_ACCEPTED);
    assert_int_equal(f->s->token.asked, 2);
}

/* The first one's answer hangs; its lease ends, and another one fetches. */
static void test_overtaken(void **state)
{
    struct fleet *f = *state;
    int64_t overtaken = metric_get(M_TOKEN_OVERTAKEN);
    static const char late[] =
        "{\"access_token\":\"late\",\"expires_in\":\"3599\"}";

    f->s->token.act = STUB_HANG;
    open_gate(f, 0);
    STUB_WAIT(f->s, f->s->parked_n == 1);
    f->s->token.act = STUB_REPLY;
    ledger_run(f->s->ledger, "UPDATE tokens SET leased_until = now()");
    open_gate(f, 1);
    assert_int_equal(verdict_at(f, 1), VERDICT_ACCEPTED);
    STUB_WAIT(f->s, ask(f, "SELECT count(*) FROM tokens WHERE version > 0"));
    http_reply(f->s->parked[0], 200, "application/json", late, strlen(late));
    f->s->parked_n = 0;
    STUB_WAIT(f->s, metric_get(M_TOKEN_OVERTAKEN) == overtaken + 1);
    assert_int_equal(verdict_at(f, 0), VERDICT_ACCEPTED);
    assert_string_equal(f->s->push.authorization, "Bearer token-1");
    assert_int_equal(f->s->token.asked, 2);
}

static void test_failures_are_the_fleets(void **state)
{
    struct fleet *f = *state;
    int64_t since_us = clock_now_us();

    f->s->token.status = 503;
    f->s->token.body = "Request unsuccessful. Incapsula incident ID: 1";
    open_fleet(f);
    STUB_WAIT(f->s, f->s->token.asked == 3);
    /* one and two seconds: all gates together do not ask more often */
    assert_true(clock_now_us() - since_us >= 2900 * US_PER_MS);
    f->s->token = (struct stub_endpoint){.act = STUB_REPLY};
    for (int i = 0; i < GATES; i++)
        assert_int_equal(verdict_at(f, i), VERDICT_ACCEPTED);
    assert_int_equal(f->s->token.asked, 1); /* counted anew */
}

/* A gateway that refuses whatever it gives out. */
static void test_young_tokens_refused_in_a_row(void **state)
{
    struct fleet *f = *state;
    int64_t refused = 0;

    open_gate(f, 0);
    assert_int_equal(verdict_at(f, 0), VERDICT_ACCEPTED);
    for (int i = 0; i < 3; i++) {
        struct gate_result r;

        STUB_WAIT(f->s, health_of(f, 0).ok);
        f->s->tokens++;
        r = result_of(f, push(f, 0, refused));
        assert_int_equal(r.verdict.kind, VERDICT_AUTH);
        assert_true(r.token_version > refused);
        refused = r.token_version;
        STUB_WAIT(f->s, f->s->token.asked == 2 + i);
        STUB_WAIT(f->s, ask(f, "SELECT churn FROM tokens") == i + 1);
    }
    STUB_WAIT(f->s, ask(f, "SELECT extract(epoch FROM leased_until - "
                           "fetched_at)::int FROM tokens") >= 4);
}

/* --- what the row may be like --- */

static void wait_saved(struct fleet *f)
{
    STUB_WAIT(f->s, ask(f, "SELECT count(*) FROM tokens WHERE version > 0"));
}

static void assert_fetched_anew(struct fleet *f, const char *harm)
{
    int64_t unreadable = metric_get(M_TOKEN_UNREADABLE);

    open_gate(f, 0);
    wait_saved(f);
    ledger_run(f->s->ledger, harm);
    open_gate(f, 1);
    assert_int_equal(verdict_at(f, 1), VERDICT_ACCEPTED);
    assert_int_equal(f->s->token.asked, 2);
    assert_true(metric_get(M_TOKEN_UNREADABLE) > unreadable);
    assert_int_equal(verdict_at(f, 0), VERDICT_AUTH);
    assert_int_equal(verdict_at(f, 0), VERDICT_ACCEPTED); /* learnt */
    assert_int_equal(f->s->token.asked, 2);
}

static void test_a_torn_row(void **state)
{
    assert_fetched_anew(*state, "UPDATE tokens SET sealed = "
                                "substr(sealed, 1, length(sealed) - 1)");
}

static void test_a_row_of_another_version(void **state)
{
    assert_fetched_anew(*state, "UPDATE tokens SET version = version + 1, "
                                "lease = lease + 1");
}

static void test_an_empty_row(void **state)
{
    assert_fetched_anew(*state, "UPDATE tokens SET sealed = ''");
}

static void test_another_key(void **state)
{
    struct fleet *f = *state;

    open_gate(f, 0);
    wait_saved(f);
    f->s->cfg.token_key = "another key of sixteen bytes or more";
    open_gate(f, 1);
    assert_int_equal(verdict_at(f, 1), VERDICT_ACCEPTED);
    assert_int_equal(f->s->token.asked, 2);
}

/* Versions go on where the payments left off, so a lost row stops nothing. */
static void test_a_lost_row(void **state)
{
    struct fleet *f = *state;
    struct gate_result first;

    open_gate(f, 0);
    wait_saved(f);
    ledger_run(f->s->ledger, "UPDATE tokens SET lease = lease + 1000000, "
                             "sealed = NULL, leased_until = now()");
    f->s->tokens++;
    assert_int_equal(verdict_at(f, 0), VERDICT_AUTH);
    STUB_WAIT(f->s, health_of(f, 0).ok);
    f->s->tokens++;
    first = result_of(f, push(f, 0, 0));
    assert_int_equal(first.verdict.kind, VERDICT_AUTH);
    ledger_run(f->s->ledger, "DELETE FROM tokens");
    open_gate(f, 1);
    first = result_of(f, push(f, 1, first.token_version));
    assert_int_equal(first.verdict.kind, VERDICT_ACCEPTED);
}

/* --- Postgres away --- */

static void go_away(struct fleet *f)
{
    let_in(f, false);
    ledger_run(f->server, "SELECT pg_terminate_backend(pid) FROM "
                          "pg_stat_activity WHERE application_name = "
                          "'foleni-worker token'");
    STUB_WAIT(f->s, metric_get(M_PG_UP) == 0);
}

static void test_the_last_token_is_used(void **state)
{
    struct fleet *f = *state;
    int n;

    open_gate(f, 0);
    wait_saved(f);
    go_away(f);
    assert_int_equal(verdict_at(f, 0), VERDICT_ACCEPTED);
    f->s->tokens++;
    assert_int_equal(verdict_at(f, 0), VERDICT_AUTH);
    n = push(f, 0, 0);
    stub_turns(f->s);
    assert_null(stub_end_of(f->s, n));
    assert_int_equal(f->s->token.asked, 1); /* nobody may fetch now */
    let_in(f, true);
    assert_int_equal(result_of(f, n).verdict.kind, VERDICT_ACCEPTED);
    assert_int_equal(f->s->token.asked, 2);
}

static void test_fetched_but_not_saved(void **state)
{
    struct fleet *f = *state;
    static const char body[] =
        "{\"access_token\":\"token-1\",\"expires_in\":\"3599\"}";

    f->s->token.act = STUB_HANG;
    open_gate(f, 0);
    STUB_WAIT(f->s, f->s->parked_n == 1);
    go_away(f);
    f->s->tokens = 1;
    http_reply(f->s->parked[0], 200, "application/json", body, strlen(body));
    f->s->parked_n = 0;
    assert_int_equal(verdict_at(f, 0), VERDICT_ACCEPTED);
    let_in(f, true);
    wait_saved(f);
    open_gate(f, 1);
    assert_int_equal(verdict_at(f, 1), VERDICT_ACCEPTED);
    assert_int_equal(f->s->token.asked, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_one_token_for_the_fleet),
        TEST(test_a_worker_that_comes_later),
        TEST(test_the_row_shows_no_token),
        TEST(test_refused_everywhere_costs_one_fetch),
        TEST(test_never_twice_with_one_version),
        TEST(test_a_stopped_holder_delays_by_its_lease),
        TEST(test_a_lease_of_a_clock_that_stepped),
        TEST(test_overtaken),
        TEST(test_failures_are_the_fleets),
        TEST(test_young_tokens_refused_in_a_row),
        TEST(test_a_torn_row),
        TEST(test_a_row_of_another_version),
        TEST(test_an_empty_row),
        TEST(test_another_key),
        TEST(test_a_lost_row),
        TEST(test_the_last_token_is_used),
        TEST(test_fetched_but_not_saved),
    };

    log_open("test_token", LOG_ERROR, false);
    return cmocka_run_group_tests(tests, stub_make_ledger, NULL);
}
