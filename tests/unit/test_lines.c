/*
 * The lines of several workers on one real server: rights that no two of them
 * have, moves that one of them makes, words that all of them hear.
 */
#include "consumer/lines.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/loop.h"
#include "common/metrics.h"
#include "tests/unit/ledger.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define PATIENCE_US (60 * US_PER_S)
#define WORKERS_N 3
#define LIMITED 600000
#define FREE 174379

struct world;

struct worker {
    struct world *world;
    struct lines *lines;
    int64_t me;
    int probes;
    bool probe_asked, answers; /* answers: ends probes by itself, fine */
};

struct world {
    struct loop *loop;
    struct config cfg;
    struct shortcode shortcodes[2];
    struct pg_session *other;
    struct worker workers[WORKERS_N];
};

#define WAIT(w, cond)                                   \
    do {                                                \
        int64_t end_us_ = clock_now_us() + PATIENCE_US; \
        while (!(cond) && clock_now_us() < end_us_)     \
            loop_once((w)->loop, 5 * US_PER_MS);        \
        assert_true(cond);                              \
    } while (0)

static int64_t me(void *arg)
{
    struct worker *w = arg;

    return w->me;
}

static bool probe(void *arg, enum operation op, int64_t shortcode)
{
    struct worker *w = arg;

    (void)op, (void)shortcode;
    w->probes++;
    w->probe_asked = true;
    return true;
}

static int make_database(void **state)
{
    (void)state;
    return ledger_make("foleni_lines");
}

static void start(struct world *w, int i)
{
    struct worker *worker = &w->workers[i];
    struct lines_spec spec = {me, probe, worker};

    worker->world = w;
    worker->me = i + 1;
    worker->lines = lines_new(w->loop, &w->cfg, &spec);
}

static int set_up(void **state)
{
    struct world *w = NEW(struct world);

    w->other = ledger_session(ledger_conninfo);
    ledger_run(w->other, "TRUNCATE lines, breakers; "
                         "UPDATE pools SET paused = false");
    w->loop = loop_new();
    w->shortcodes[0] = (struct shortcode){.shortcode = FREE};
    w->shortcodes[1] = (struct shortcode){.shortcode = LIMITED, .rate = 50};
    w->cfg = (struct config){
        .database_conninfo = ledger_conninfo,
        .database_password = "",
        .shortcodes = w->shortcodes,
        .shortcodes_n = 2,
        .gate_connect_timeout_ms = 1000,
        .gate_total_timeout_ms = 1000,
        .worker_lease_ms = 1000,
        .lines_sync_ms = 20,
        .lines_trust_ms = 30000,
        .lines_ahead_ms = 600,
        .lines_slack_ms = 10000,
        .lines_throttle_percent = 50,
        .lines_creep_permille = 1,
        .lines_forget_ms = 600000,
        .breaker_window_ms = 10000,
        .breaker_calls_min = 4,
        .breaker_faults_percent = 50,
        .breaker_stall_ms = 600000,
        .breaker_stall_calls_min = 3,
        .breaker_open_min_ms = 50,
        .breaker_open_max_ms = 1000,
        .breaker_probe_ms = 60000,
        .breaker_trial_calls = 2,
        .breaker_ramp_ms = 50,
    };
    for (int i = 0; i < WORKERS_N; i++)
        start(w, i);
    for (int i = 0; i < WORKERS_N; i++)
        WAIT(w, lines_sure(w->workers[i].lines));
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;

    for (int i = 0; i < WORKERS_N; i++)
        lines_free(w->workers[i].lines);
    pg_session_close(w->other);
    loop_free(w->loop);
    free(w);
    return 0;
}

static struct lines *of(struct world *w, int i)
{
    return w->workers[i].lines;
}

static int64_t state_of(struct world *w, int64_t shortcode)
{
    char sql[200];

    (void)snprintf(sql, sizeof(sql),
                   "SELECT state FROM breakers WHERE operation = 0 "
                   "AND shortcode = %lld",
                   (long long)shortcode);
    return ledger_ask(w->other, sql);
}

static void faults(struct lines *l, int64_t shortcode, int n)
{
    for (int i = 0; i < n; i++) {
        lines_began(l, OPERATION_PUSH, shortcode);
        lines_ended(l, OPERATION_PUSH, shortcode, OUTCOME_FAULT, 0, -1);
    }
}

static void succeed(struct lines *l, int64_t shortcode)
{
    lines_began(l, OPERATION_PUSH, shortcode);
    lines_ended(l, OPERATION_PUSH, shortcode, OUTCOME_FINE, 0, -1);
}

/* --- pace --- */

static void test_without_a_rate_nothing_is_reserved(void **state)
{
    struct world *w = *state;
    int64_t at = -1;

    assert_true(lines_credit(of(w, 0), FREE) == LINES_UNLIMITED);
    assert_true(lines_take(of(w, 0), FREE, &at));
    assert_int_equal(at, 0);
}

/* All workers take what they get, one of them for a while only: it is stopped
   with times in its hands. */
static size_t take_all(struct world *w, size_t n)
{
    size_t got = 0;
    bool stopped = false;
    int64_t at;

    for (int64_t end_us = clock_now_us() + PATIENCE_US;
         got < n && clock_now_us() < end_us;) {
        for (int i = stopped; i < WORKERS_N; i++)
            while (got < n && lines_take(of(w, i), LIMITED, &at))
                got++;
        if (!stopped && got > n / 2) {
            WAIT(w, lines_credit(of(w, 0), LIMITED) > 0);
            stopped = true;
        }
        loop_once(w->loop, 5 * US_PER_MS);
    }
    return got;
}

/* However many take part, the fleet's row moves on by a step for each time:
   no two are of one moment. */
static void test_times_of_all_workers_lie_apart(void **state)
{
    static const char next[] =
        "SELECT extract(epoch FROM next_at) * 1000 FROM lines "
        "WHERE shortcode = 600000";
    struct world *w = *state;
    size_t n = 100;
    int64_t from_ms =
        ledger_ask(w->other, "SELECT extract(epoch FROM now()) * 1000");

    assert_int_equal(take_all(w, n), n);
    assert_true(ledger_ask(w->other, next) - from_ms >= (int64_t)n * 20 - 1);
}

static void test_times_are_given_away_so_far_ahead_only(void **state)
{
    struct world *w = *state;
    int64_t ahead;

    for (int i = 0; i < WORKERS_N; i++)
        lines_want(of(w, i), LIMITED, 1000000);
    WAIT(w, lines_credit(of(w, 0), LIMITED) + lines_credit(of(w, 1), LIMITED) +
                    lines_credit(of(w, 2), LIMITED) >=
                30);
    ahead = ledger_ask(w->other,
                       "SELECT extract(epoch FROM next_at - now()) * 1000 "
                       "FROM lines WHERE shortcode = 600000");
    assert_true(ahead <= 600 + 20);
}

/* The database's clock goes back by an hour: nobody waits for an hour. It goes
   on by an hour: nothing of before is sent beside what comes. */
static void test_a_row_from_the_future_stops_nobody(void **state)
{
    struct world *w = *state;
    int64_t at;

    ledger_run(w->other, "UPDATE lines SET next_at = now() + interval '1 h'");
    lines_want(of(w, 1), LIMITED, 5);
    WAIT(w, lines_credit(of(w, 1), LIMITED) > 0);
    assert_true(lines_take(of(w, 1), LIMITED, &at));
    assert_true(at < clock_now_us() + US_PER_S);
}

static void test_a_row_from_the_past_makes_no_burst(void **state)
{
    struct world *w = *state;
    int64_t at, last = 0;

    ledger_run(w->other, "UPDATE lines SET next_at = now() - interval '1 h'");
    lines_want(of(w, 1), LIMITED, 1000000);
    WAIT(w, lines_credit(of(w, 1), LIMITED) > 0);
    assert_true(lines_credit(of(w, 1), LIMITED) <= 31);
    while (lines_take(of(w, 1), LIMITED, &at)) {
        assert_true(!last || at - last >= 19 * US_PER_MS);
        last = at;
    }
}

static void test_a_late_push_is_held(void **state)
{
    struct world *w = *state;
    int64_t now = clock_now_us();
    const char *why = NULL;

    assert_true(lines_may_send(of(w, 0), LIMITED, now - 9 * US_PER_S, &why));
    assert_true(lines_may_send(of(w, 0), FREE, 0, &why));
    assert_false(lines_may_send(of(w, 0), LIMITED, 0, &why));
    assert_false(lines_may_send(of(w, 0), LIMITED, now - 11 * US_PER_S, &why));
    assert_non_null(why);
}

/* --- throttled --- */

static int64_t rate(struct world *w, int64_t shortcode)
{
    char sql[200];

    (void)snprintf(sql, sizeof(sql),
                   "SELECT line_rate(l) * 1000 FROM lines l "
                   "WHERE shortcode = %lld",
                   (long long)shortcode);
    return ledger_ask(w->other, sql);
}

static void throttle(struct lines *l, int64_t shortcode, int64_t retry_s)
{
    lines_began(l, OPERATION_PUSH, shortcode);
    lines_ended(l, OPERATION_PUSH, shortcode, OUTCOME_THROTTLED, 0, retry_s);
}

static void test_a_throttle_answer_lowers_the_rate_once(void **state)
{
    struct world *w = *state;
    char before[] = "SELECT throttles FROM lines WHERE shortcode = 600000";

    for (int i = 0; i < WORKERS_N; i++)
        throttle(of(w, i), LIMITED, -1);
    WAIT(w, rate(w, LIMITED) < 50000);
    throttle(of(w, 0), LIMITED, -1);
    WAIT(w, ledger_ask(w->other, before) >= 1);
    assert_true(rate(w, LIMITED) >= 12000); /* at most twice, were it slow */
    assert_int_equal(state_of(w, LIMITED), BREAKER_CLOSED);
    /* ... and creeps back, to what is allowed and no further */
    ledger_run(w->other, "UPDATE lines SET lowered_at = lowered_at - "
                         "interval '100 s'");
    assert_true(rate(w, LIMITED) > 16000 && rate(w, LIMITED) < 50000);
    ledger_run(w->other, "UPDATE lines SET lowered_at = lowered_at - "
                         "interval '1 d', forget_at = now() + interval '1 h'");
    assert_int_equal(rate(w, LIMITED), 50000);
    ledger_run(w->other, "UPDATE lines SET lowered_at = now() + "
                         "interval '1 d'"); /* a clock that went back */
    assert_true(rate(w, LIMITED) <= 25000);
}

static void test_without_a_rate_a_throttle_answer_makes_one(void **state)
{
    struct world *w = *state;
    int64_t at;

    throttle(of(w, 0), FREE, -1);
    WAIT(w, rate(w, FREE) > 0);
    for (int i = 0; i < WORKERS_N; i++) {
        WAIT(w, lines_credit(of(w, i), FREE) != LINES_UNLIMITED);
        at = 0;
        WAIT(w, at || lines_take(of(w, i), FREE, &at));
        assert_true(at > 0);
    }
    ledger_run(w->other, "UPDATE lines SET forget_at = now()");
    WAIT(w, lines_credit(of(w, 2), FREE) == LINES_UNLIMITED);
}

static void test_retry_after_stops_the_fleet(void **state)
{
    struct world *w = *state;

    throttle(of(w, 0), FREE, 1000000); /* a provider may not ask for years */
    assert_int_equal(lines_credit(of(w, 0), FREE), 0);
    WAIT(w, !lines_credit(of(w, 1), FREE) && !lines_credit(of(w, 2), FREE));
    assert_int_equal(
        ledger_ask(w->other, "SELECT (stopped_until BETWEEN now() + "
                             "interval '50 min' AND now() + interval '61 min')"
                             "::int FROM lines WHERE shortcode = 174379"),
        1);
    ledger_run(w->other, "UPDATE lines SET stopped_until = now(), "
                         "forget_at = now()");
    WAIT(w, lines_credit(of(w, 1), FREE) > 0);
}

/* --- other settings --- */

static void test_a_rate_is_changed_while_it_runs(void **state)
{
    struct world *w = *state;
    int64_t at = 0;

    w->shortcodes[0].rate = 10; /* of the settings of all three, but ... */
    w->shortcodes[1].rate = 0;
    lines_renewed(of(w, 0)); /* ... one has read them, and all hear of it */
    WAIT(w, rate(w, FREE) == 10000);
    for (int i = 0; i < WORKERS_N; i++) {
        WAIT(w, lines_credit(of(w, i), FREE) != LINES_UNLIMITED);
        at = 0;
        WAIT(w, at || lines_take(of(w, i), FREE, &at));
        assert_true(at > 0);
        WAIT(w, lines_credit(of(w, i), LIMITED) == LINES_UNLIMITED);
    }
}

static bool trips(struct world *w)
{
    faults(of(w, 0), 700000, 4);
    return ledger_ask(w->other, "SELECT count(*) FROM breakers "
                                "WHERE shortcode = 700000 AND state <> 0");
}

static void test_shortcodes_come_and_go(void **state)
{
    struct world *w = *state;
    struct shortcode more[] = {
        w->shortcodes[0], {.shortcode = 700000}, w->shortcodes[1]};
    int64_t at = 0;
    const char *why = "";

    WAIT(w, at || lines_take(of(w, 0), LIMITED, &at));
    more[2].gone = true;
    w->cfg.shortcodes = more;
    w->cfg.shortcodes_n = 3;
    lines_renewed(of(w, 0));
    assert_int_equal(lines_credit(of(w, 0), LIMITED), 0);
    assert_false(lines_may_send(of(w, 0), LIMITED, at, &why));
    assert_non_null(strstr(why, "taken out of the settings"));
    assert_true(lines_may_query(of(w, 0), LIMITED));
    assert_true(lines_credit(of(w, 0), FREE) > 0);
    WAIT(w, trips(w));                         /* it has a breaker */
    assert_int_equal(rate(w, LIMITED), 50000); /* others still have it */
    more[2].gone = false;
    lines_renewed(of(w, 0));
    at = 0;
    WAIT(w, at || lines_take(of(w, 0), LIMITED, &at));
}

/* --- breakers --- */

static void test_what_one_sees_the_others_hear(void **state)
{
    struct world *w = *state;

    faults(of(w, 0), FREE, 3);
    assert_true(lines_credit(of(w, 0), FREE) > 0);
    faults(of(w, 0), FREE, 1);
    assert_int_equal(lines_credit(of(w, 0), FREE), 0); /* at once here */
    WAIT(w, !lines_credit(of(w, 1), FREE) && !lines_credit(of(w, 2), FREE));
    assert_int_equal(state_of(w, LIMITED), BREAKER_CLOSED);
}

static struct worker *prober(struct world *w)
{
    for (int i = 0; i < WORKERS_N; i++)
        if (w->workers[i].probe_asked)
            return &w->workers[i];
    return NULL;
}

static void test_one_probes_then_a_trial_then_a_ramp(void **state)
{
    struct world *w = *state;
    int64_t at;
    int taken = 0;

    faults(of(w, 0), FREE, 4);
    WAIT(w, prober(w));
    assert_int_equal(state_of(w, FREE), BREAKER_HALF);
    assert_int_equal(
        w->workers[0].probes + w->workers[1].probes + w->workers[2].probes, 1);
    assert_int_equal(lines_credit(of(w, 1), FREE), 0);
    lines_probed(prober(w)->lines, OPERATION_PUSH, FREE, true);
    WAIT(w, state_of(w, FREE) == BREAKER_TRIAL);
    /* a trial has a few permits for all */
    for (int64_t end_us = clock_now_us() + US_PER_S / 2;
         clock_now_us() < end_us;) {
        for (int i = 0; i < WORKERS_N; i++)
            taken += lines_take(of(w, i), FREE, &at);
        loop_once(w->loop, 5 * US_PER_MS);
    }
    assert_true(taken >= 1 && taken <= 4);
    succeed(of(w, 0), FREE);
    succeed(of(w, 1), FREE);
    WAIT(w, state_of(w, FREE) == BREAKER_CLOSED);
    for (int i = 0; i < WORKERS_N; i++)
        WAIT(w, lines_credit(of(w, i), FREE) == LINES_UNLIMITED);
}

static void test_a_stopped_prober_is_replaced(void **state)
{
    struct world *w = *state;
    struct worker *first;
    int64_t was;

    faults(of(w, 0), FREE, 4);
    WAIT(w, prober(w));
    first = prober(w);
    was = first->me;
    first->me = 0; /* it is stopped with the lease in its hands */
    ledger_run(w->other, "UPDATE breakers SET until = now() WHERE state = 2");
    first->probe_asked = false;
    WAIT(w, prober(w));
    assert_true(prober(w)->me != was);
    lines_probed(prober(w)->lines, OPERATION_PUSH, FREE, false);
    WAIT(w, ledger_ask(w->other, "SELECT open_us FROM breakers WHERE "
                                 "operation = 0 AND shortcode = 174379") ==
                100 * US_PER_MS);
}

/* A worker that did not hear of it for long tells what it saw of before: the
   row has moved on, and its word is dropped. */
static void test_old_news_change_nothing(void **state)
{
    struct world *w = *state;

    ledger_run(w->other, "UPDATE breakers SET version = version + 1, "
                         "state = 4, until = now() + interval '1 h' "
                         "WHERE operation = 0 AND shortcode = 174379");
    faults(of(w, 0), FREE, 4); /* not read yet */
    WAIT(w, lines_credit(of(w, 0), FREE) != LINES_UNLIMITED &&
                lines_credit(of(w, 1), FREE) != LINES_UNLIMITED);
    WAIT(w, state_of(w, FREE) == BREAKER_RAMP);
}

static void test_an_operators_word_reaches_all(void **state)
{
    struct world *w = *state;
    const char *why = NULL;

    ledger_run(w->other, "UPDATE breakers SET version = version + 1, "
                         "forced = 1 WHERE operation = 0 AND "
                         "shortcode = 174379");
    for (int i = 0; i < WORKERS_N; i++)
        WAIT(w, !lines_credit(of(w, i), FREE));
    assert_false(lines_may_send(of(w, 2), FREE, 0, &why));
    assert_non_null(why);
    ledger_run(w->other, "UPDATE breakers SET version = version + 1, "
                         "forced = 2");
    for (int i = 0; i < WORKERS_N; i++)
        WAIT(w, lines_credit(of(w, i), FREE));
    faults(of(w, 0), FREE, 100); /* forced closed: it trips no more */
    assert_true(lines_credit(of(w, 0), FREE) > 0);
    ledger_run(w->other, "UPDATE breakers SET version = version + 1, "
                         "forced = 1, forced_until = now()"); /* over */
    WAIT(w, lines_credit(of(w, 1), FREE) == LINES_UNLIMITED);
}

static void test_the_way_of_all_shortcodes(void **state)
{
    struct world *w = *state;

    for (int i = 0; i < 2; i++) {
        int64_t sc = i ? FREE : LIMITED;

        for (int n = 0; n < 3; n++) { /* too few for either's own */
            lines_began(of(w, 0), OPERATION_PUSH, sc);
            lines_ended(of(w, 0), OPERATION_PUSH, sc, OUTCOME_UNREACHABLE, 0,
                        -1);
        }
    }
    assert_int_equal(lines_credit(of(w, 0), FREE), 0);
    WAIT(w, !lines_credit(of(w, 1), FREE));
    WAIT(w, prober(w));
    assert_int_equal(state_of(w, 0), BREAKER_HALF);
    assert_int_equal(state_of(w, FREE), BREAKER_CLOSED);
    lines_probed(prober(w)->lines, OPERATION_PUSH, 0, true);
    WAIT(w, state_of(w, 0) == BREAKER_CLOSED);
    WAIT(w, lines_credit(of(w, 1), FREE) == LINES_UNLIMITED);
}

static void test_one_dead_shortcode_is_not_the_way(void **state)
{
    struct world *w = *state;

    succeed(of(w, 0), LIMITED);
    for (int n = 0; n < 10; n++) {
        lines_began(of(w, 0), OPERATION_PUSH, FREE);
        lines_ended(of(w, 0), OPERATION_PUSH, FREE, OUTCOME_UNREACHABLE, 0, -1);
    }
    WAIT(w, prober(w));
    assert_int_equal(state_of(w, 0), BREAKER_CLOSED);
    assert_int_equal(state_of(w, FREE), BREAKER_HALF);
}

static void test_who_has_not_looked_lets_nothing_out(void **state)
{
    struct world *w = *state;
    const char *why = NULL;
    int64_t at;

    w->cfg.lines_trust_ms = 1;
    WAIT(w, !lines_sure(of(w, 0)));
    assert_false(lines_may_send(of(w, 0), FREE, 0, &why));
    assert_false(lines_take(of(w, 0), FREE, &at));
    assert_false(lines_flow(of(w, 0)));
}

static void test_pauses_are_read(void **state)
{
    struct world *w = *state;

    assert_false(lines_paused(of(w, 0), PRIORITY_LOW));
    ledger_run(w->other, "UPDATE pools SET paused = true WHERE priority = 2");
    WAIT(w, lines_paused(of(w, 1), PRIORITY_LOW));
    assert_false(lines_paused(of(w, 1), PRIORITY_HIGH));
    ledger_run(w->other, "UPDATE pools SET paused_until = now() WHERE paused");
    WAIT(w, !lines_paused(of(w, 1), PRIORITY_LOW));
}

/* --- what the driver asks --- */

static void test_flow_is_worth_it_until_somebody_wants(void **state)
{
    struct world *w = *state;
    int64_t at;

    ledger_run(w->other, "UPDATE breakers SET version = version + 1, "
                         "forced = 1 WHERE shortcode = 174379");
    WAIT(w, !lines_credit(of(w, 0), FREE));
    assert_int_equal(lines_credit(of(w, 0), LIMITED), 0);
    assert_true(lines_flow(of(w, 0))); /* nobody has asked yet */
    assert_false(lines_take(of(w, 0), LIMITED, &at));
    assert_false(lines_flow(of(w, 0)));
    WAIT(w, lines_flow(of(w, 0)));
    assert_true(lines_take(of(w, 0), LIMITED, &at));
    lines_give_back(of(w, 0), LIMITED, at);
    assert_true(lines_credit(of(w, 0), LIMITED) > 0);
}

static void test_an_unknown_shortcode_is_the_gates_matter(void **state)
{
    struct world *w = *state;
    int64_t at = -1;

    assert_true(lines_take(of(w, 0), 12345, &at));
    assert_int_equal(at, 0);
    lines_began(of(w, 0), OPERATION_PUSH, 12345);
    lines_ended(of(w, 0), OPERATION_PUSH, 12345, OUTCOME_FAULT, 0, -1);
    lines_give_back(of(w, 0), 12345, 1);
}

static void test_health_says_which_and_why(void **state)
{
    struct world *w = *state;
    struct health rows[4];

    ledger_run(w->other, "UPDATE breakers SET version = version + 1, "
                         "state = 1, cause = 'calls fail', "
                         "until = now() + interval '1 h' "
                         "WHERE operation = 0 AND shortcode = 174379");
    WAIT(w, !lines_credit(of(w, 0), FREE));
    assert_int_equal(lines_health(of(w, 0), rows, 4), 2);
    assert_false(rows[0].ok);
    assert_string_equal(rows[0].name, "line 174379");
    assert_non_null(strstr(rows[0].note, "push open: calls fail; next probe "
                                         "in 3"));
    assert_true(rows[1].ok);
    assert_non_null(strstr(rows[1].note, "50.0/s"));
    assert_true(metric_get(M_BREAKERS_OPEN) >= 1);
    assert_true(metric_get(M_NEXT_PROBE) > 3000);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_without_a_rate_nothing_is_reserved),
        TEST(test_times_of_all_workers_lie_apart),
        TEST(test_times_are_given_away_so_far_ahead_only),
        TEST(test_a_row_from_the_future_stops_nobody),
        TEST(test_a_row_from_the_past_makes_no_burst),
        TEST(test_a_late_push_is_held),
        TEST(test_a_throttle_answer_lowers_the_rate_once),
        TEST(test_without_a_rate_a_throttle_answer_makes_one),
        TEST(test_retry_after_stops_the_fleet),
        TEST(test_a_rate_is_changed_while_it_runs),
        TEST(test_shortcodes_come_and_go),
        TEST(test_what_one_sees_the_others_hear),
        TEST(test_one_probes_then_a_trial_then_a_ramp),
        TEST(test_a_stopped_prober_is_replaced),
        TEST(test_old_news_change_nothing),
        TEST(test_an_operators_word_reaches_all),
        TEST(test_the_way_of_all_shortcodes),
        TEST(test_one_dead_shortcode_is_not_the_way),
        TEST(test_who_has_not_looked_lets_nothing_out),
        TEST(test_pauses_are_read),
        TEST(test_flow_is_worth_it_until_somebody_wants),
        TEST(test_an_unknown_shortcode_is_the_gates_matter),
        TEST(test_health_says_which_and_why),
    };

    return cmocka_run_group_tests(tests, make_database, NULL);
}
