/*
 * The breaker by a given clock: what trips, what does not, and every move.
 */
#include "consumer/breaker.h"

#include "common/base.h"
#include "common/clock.h"

#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define MS US_PER_MS
#define S US_PER_S
#define T0 (1000 * S)
#define ME 7
#define OTHER 8
#define DICE_MIDDLE 0x80000000u

static const struct breaker_policy policy = {
    .window_us = 10 * S,
    .calls_min = 20,
    .faults_percent = 50,
    .stall_us = 5 * S,
    .stall_calls_min = 3,
    .open_min_us = 5 * S,
    .open_max_us = 60 * S,
    .probe_us = 10 * S,
    .trial_calls = 3,
    .trial_us = 70 * S,
    .ramp_us = 10 * S,
};

/* --- the window --- */

static void call(struct window *w, enum outcome outcome, int64_t took_us,
                 int64_t end_us)
{
    window_began(w, end_us - took_us);
    window_ended(w, &policy, outcome, took_us, end_us);
}

static void calls(struct window *w, enum outcome outcome, int n, int64_t at_us)
{
    for (int i = 0; i < n; i++)
        call(w, outcome, 100 * MS, at_us);
}

static void test_share_of_faults_trips(void **state)
{
    struct window w = {0};

    (void)state;
    calls(&w, OUTCOME_FINE, 10, T0);
    calls(&w, OUTCOME_FAULT, 9, T0 + S);
    assert_int_equal(window_trips(&w, &policy, T0 + S), TRIP_NONE);
    calls(&w, OUTCOME_FINE, 1, T0 + S); /* 9 of 20 */
    assert_int_equal(window_trips(&w, &policy, T0 + S), TRIP_NONE);
    calls(&w, OUTCOME_FAULT, 2, T0 + S); /* 11 of 22 */
    assert_int_equal(window_trips(&w, &policy, T0 + S), TRIP_FAULTS);
}

static void test_few_calls_trip_nothing(void **state)
{
    struct window w = {0};

    (void)state;
    calls(&w, OUTCOME_FAULT, 19, T0);
    assert_int_equal(window_trips(&w, &policy, T0), TRIP_NONE);
    calls(&w, OUTCOME_UNREACHABLE, 1, T0);
    assert_int_equal(window_trips(&w, &policy, T0), TRIP_FAULTS);
}

static void test_window_slides(void **state)
{
    struct window w = {0};

    (void)state;
    calls(&w, OUTCOME_FAULT, 15, T0);
    calls(&w, OUTCOME_FINE, 1, T0);
    calls(&w, OUTCOME_FAULT, 15, T0 + 11 * S); /* the first are out of it */
    assert_int_equal(window_sum(&w, &policy, T0 + 11 * S).calls, 15);
    assert_int_equal(window_trips(&w, &policy, T0 + 11 * S), TRIP_NONE);
    assert_int_equal(window_sum(&w, &policy, T0 + 86400 * S).calls, 0);
}

/* A slow line never fills its window, and must trip all the same. */
static void test_faults_in_a_row_trip(void **state)
{
    struct window w = {0};

    (void)state;
    for (int i = 0; i < 20; i++) {
        assert_int_equal(window_trips(&w, &policy, T0 + i * 5 * S), TRIP_NONE);
        call(&w, OUTCOME_UNREACHABLE, 0, T0 + i * 5 * S);
    }
    assert_int_equal(window_trips(&w, &policy, T0 + 95 * S), TRIP_UNREACHABLE);
}

static void test_only_the_providers_faults_count(void **state)
{
    struct window w = {0};

    (void)state;
    calls(&w, OUTCOME_THROTTLED, 100, T0);
    calls(&w, OUTCOME_NONE, 100, T0);
    assert_int_equal(window_sum(&w, &policy, T0).calls, 0);
    assert_int_equal(window_trips(&w, &policy, T0), TRIP_NONE);
}

static void test_silence_is_a_stall(void **state)
{
    struct window w = {0};

    (void)state;
    window_began(&w, T0);
    window_began(&w, T0 + S);
    assert_int_equal(window_trips(&w, &policy, T0 + 60 * S), TRIP_NONE);
    window_began(&w, T0 + 2 * S); /* three are out */
    assert_int_equal(window_trips(&w, &policy, T0 + 4999 * MS), TRIP_NONE);
    assert_int_equal(window_trips(&w, &policy, T0 + 5 * S), TRIP_STALL);
    /* any answer, also one that says no, is a sign of life */
    window_ended(&w, &policy, OUTCOME_FINE, 4 * S, T0 + 6 * S);
    window_began(&w, T0 + 6 * S);
    assert_int_equal(window_trips(&w, &policy, T0 + 10 * S), TRIP_NONE);
    /* ... and a lost one is none */
    window_ended(&w, &policy, OUTCOME_FAULT, 4 * S, T0 + 10 * S);
    window_began(&w, T0 + 10 * S);
    assert_int_equal(window_trips(&w, &policy, T0 + 11 * S), TRIP_STALL);
}

static void test_idle_time_is_no_silence(void **state)
{
    struct window w = {0};

    (void)state;
    call(&w, OUTCOME_FINE, 100 * MS, T0);
    for (int i = 0; i < 3; i++)
        window_began(&w, T0 + 3600 * S);
    assert_int_equal(window_trips(&w, &policy, T0 + 3601 * S), TRIP_NONE);
}

/* A provider that is slow by nature is not stalled. */
static void test_stall_grows_with_latency(void **state)
{
    struct window w = {0};

    (void)state;
    for (int i = 0; i < 100; i++)
        call(&w, OUTCOME_FINE, 100 * MS, T0);
    assert_int_equal(window_stall_us(&w, &policy), 5 * S);
    for (int i = 0; i < 100; i++)
        call(&w, OUTCOME_FINE, 6 * S, T0);
    assert_true(window_stall_us(&w, &policy) >= 24 * S);
    assert_true(window_stall_us(&w, &policy) <= 48 * S);
}

static void test_stragglers_count_for_nothing(void **state)
{
    struct window w = {0};

    (void)state;
    for (int i = 0; i < 50; i++)
        window_began(&w, T0);
    window_clear(&w, T0 + 5 * S);
    assert_int_equal(window_trips(&w, &policy, T0 + 60 * S), TRIP_NONE);
    for (int i = 0; i < 50; i++)
        window_ended(&w, &policy, OUTCOME_FAULT, 60 * S, T0 + 60 * S);
    assert_int_equal(window_sum(&w, &policy, T0 + 60 * S).calls, 0);
    assert_int_equal(window_trips(&w, &policy, T0 + 60 * S), TRIP_NONE);
    calls(&w, OUTCOME_FAULT, 20, T0 + 61 * S);
    assert_int_equal(window_trips(&w, &policy, T0 + 61 * S), TRIP_FAULTS);
}

/* --- the moves --- */

static struct breaker closed(void)
{
    return (struct breaker){.op = OPERATION_PUSH,
                            .shortcode = 174379,
                            .version = 1,
                            .since_us = T0};
}

static bool move(struct breaker *b, enum trip trip, int probe, int64_t me,
                 int64_t now_us)
{
    struct breaker_news news = {.trip = trip};

    news.probe = probe > 0 ? PROBE_FINE : probe < 0 ? PROBE_FAILED : PROBE_NONE;
    if (!breaker_move(b, &news, &policy, me, now_us, DICE_MIDDLE, b))
        return false;
    b->version++; /* as the statement does */
    return true;
}

static void test_the_whole_circle(void **state)
{
    struct breaker b = closed();

    (void)state;
    assert_false(move(&b, TRIP_NONE, 0, ME, T0));
    assert_true(move(&b, TRIP_STALL, 0, ME, T0));
    assert_int_equal(b.state, BREAKER_OPEN);
    assert_int_equal(b.until_us, T0 + 5 * S);
    assert_string_equal(b.cause, trip_text(TRIP_STALL));
    assert_false(move(&b, TRIP_FAULTS, 0, ME, T0 + 4 * S));
    assert_true(move(&b, TRIP_NONE, 0, ME, T0 + 5 * S));
    assert_int_equal(b.state, BREAKER_HALF);
    assert_int_equal(b.prober, ME);
    assert_true(move(&b, TRIP_NONE, 1, ME, T0 + 6 * S));
    assert_int_equal(b.state, BREAKER_TRIAL);
    assert_true(b.permits >= policy.trial_calls);
    b.fine = policy.trial_calls;
    assert_true(move(&b, TRIP_NONE, 0, OTHER, T0 + 7 * S));
    assert_int_equal(b.state, BREAKER_RAMP);
    assert_false(move(&b, TRIP_NONE, 0, ME, T0 + 16 * S));
    assert_true(move(&b, TRIP_NONE, 0, ME, T0 + 17 * S));
    assert_int_equal(b.state, BREAKER_CLOSED);
}

static void test_open_time_doubles_to_its_cap(void **state)
{
    static const int64_t want_s[] = {10, 20, 40, 60, 60, 60};
    struct breaker b = closed();
    int64_t now_us = T0;

    (void)state;
    assert_true(move(&b, TRIP_FAULTS, 0, ME, now_us));
    for (size_t i = 0; i < ARRAY_LEN(want_s); i++) {
        now_us = b.until_us;
        assert_true(move(&b, TRIP_NONE, 0, ME, now_us));
        assert_true(move(&b, TRIP_NONE, -1, ME, now_us));
        assert_int_equal(b.state, BREAKER_OPEN);
        assert_int_equal(b.open_us, want_s[i] * S);
        assert_string_equal(b.cause, trip_text(TRIP_FAULTS));
    }
}

static void test_open_time_has_jitter(void **state)
{
    struct breaker_news news = {.trip = TRIP_FAULTS};
    struct breaker b = closed(), low, high;

    (void)state;
    assert_true(breaker_move(&b, &news, &policy, ME, T0, 0, &low));
    assert_true(breaker_move(&b, &news, &policy, ME, T0, UINT32_MAX, &high));
    assert_int_equal(low.until_us, T0 + 3750 * MS);
    assert_true(high.until_us > T0 + 6200 * MS);
    assert_true(high.until_us <= T0 + 6250 * MS);
}

/* A prober that was stopped loses its lease, and its word with it. */
static void test_a_probe_belongs_to_its_lease(void **state)
{
    struct breaker b = closed();

    (void)state;
    assert_true(move(&b, TRIP_FAULTS, 0, ME, T0));
    assert_true(move(&b, TRIP_NONE, 0, ME, T0 + 5 * S));
    assert_false(move(&b, TRIP_NONE, 0, OTHER, T0 + 14 * S));
    assert_false(move(&b, TRIP_NONE, 1, OTHER, T0 + 14 * S));
    assert_true(move(&b, TRIP_NONE, 0, OTHER, T0 + 15 * S));
    assert_int_equal(b.state, BREAKER_HALF);
    assert_int_equal(b.prober, OTHER);
    assert_int_equal(b.open_us, 5 * S); /* nothing failed */
    assert_false(move(&b, TRIP_NONE, 1, ME, T0 + 16 * S));
    assert_true(move(&b, TRIP_NONE, 1, OTHER, T0 + 16 * S));
}

static void test_a_trial_fails_with_one_fault(void **state)
{
    struct breaker b = closed();

    (void)state;
    b.state = BREAKER_TRIAL;
    b.open_us = 5 * S;
    b.until_us = T0 + 70 * S;
    b.fine = 2;
    assert_true(move(&b, TRIP_TRIAL, 0, ME, T0));
    assert_int_equal(b.state, BREAKER_OPEN);
    assert_int_equal(b.open_us, 10 * S);
}

static void test_a_trial_whose_workers_died_begins_anew(void **state)
{
    struct breaker b = closed();

    (void)state;
    b.state = BREAKER_TRIAL;
    b.until_us = T0 + 70 * S;
    b.permits = 0;
    assert_false(move(&b, TRIP_NONE, 0, ME, T0 + 69 * S));
    assert_true(move(&b, TRIP_NONE, 0, ME, T0 + 70 * S));
    assert_int_equal(b.state, BREAKER_TRIAL);
    assert_true(b.permits > 0);
    /* nobody had a payment: it goes on waiting for one, without a move */
    assert_false(move(&b, TRIP_NONE, 0, ME, T0 + 1000 * S));
    b.permits--;
    b.fine = 1; /* few payments: one is enough at the end */
    assert_true(move(&b, TRIP_NONE, 0, ME, T0 + 1000 * S));
    assert_int_equal(b.state, BREAKER_RAMP);
}

static void test_a_ramp_grows_and_may_trip(void **state)
{
    struct breaker b = closed();

    (void)state;
    b.state = BREAKER_RAMP;
    b.open_us = 20 * S;
    b.until_us = T0 + 10 * S;
    assert_float_equal(breaker_share(&b, &policy, T0), 0.1, 0.001);
    assert_float_equal(breaker_share(&b, &policy, T0 + 5 * S), 0.55, 0.001);
    assert_float_equal(breaker_share(&b, &policy, T0 + 20 * S), 1, 0.001);
    assert_float_equal(breaker_share(&b, &policy, T0 - 3600 * S), 0.1, 0.001);
    assert_true(move(&b, TRIP_FAULTS, 0, ME, T0 + S));
    assert_int_equal(b.open_us, 40 * S);
}

static void test_what_is_no_push_closes_after_its_probe(void **state)
{
    struct breaker b = closed();

    (void)state;
    b.op = OPERATION_QUERY;
    assert_true(move(&b, TRIP_FAULTS, 0, ME, T0));
    assert_true(move(&b, TRIP_NONE, 0, ME, T0 + 5 * S));
    assert_true(move(&b, TRIP_NONE, 1, ME, T0 + 6 * S));
    assert_int_equal(b.state, BREAKER_CLOSED);
}

static void test_the_way_has_no_trial(void **state)
{
    struct breaker b = closed();

    (void)state;
    b.shortcode = 0;
    assert_true(move(&b, TRIP_UNREACHABLE, 0, ME, T0));
    assert_true(move(&b, TRIP_NONE, 0, ME, T0 + 5 * S));
    assert_true(move(&b, TRIP_NONE, 1, ME, T0 + 6 * S));
    assert_int_equal(b.state, BREAKER_RAMP);
}

static void test_what_is_forced_does_not_move(void **state)
{
    struct breaker b = closed();

    (void)state;
    b.forced = FORCED_CLOSED;
    assert_false(move(&b, TRIP_FAULTS, 0, ME, T0));
    assert_float_equal(breaker_share(&b, &policy, T0), 1, 0);
    b.forced = FORCED_OPEN;
    b.state = BREAKER_RAMP;
    assert_false(move(&b, TRIP_NONE, 0, ME, T0 + 3600 * S));
    assert_float_equal(breaker_share(&b, &policy, T0), 0, 0);
    assert_string_equal(breaker_state_name(&b), "forced open");
}

static void test_what_was_not_read_does_not_move(void **state)
{
    struct breaker b = closed();

    (void)state;
    b.version = 0;
    assert_false(move(&b, TRIP_FAULTS, 0, ME, T0));
}

static void test_nothing_goes_while_open(void **state)
{
    struct breaker b = closed();

    (void)state;
    assert_float_equal(breaker_share(&b, &policy, T0), 1, 0);
    b.state = BREAKER_OPEN;
    b.until_us = T0;
    /* also past its time: a probe comes first */
    assert_float_equal(breaker_share(&b, &policy, T0 + 3600 * S), 0, 0);
    b.state = BREAKER_HALF;
    assert_float_equal(breaker_share(&b, &policy, T0 + 3600 * S), 0, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_share_of_faults_trips),
        cmocka_unit_test(test_few_calls_trip_nothing),
        cmocka_unit_test(test_window_slides),
        cmocka_unit_test(test_faults_in_a_row_trip),
        cmocka_unit_test(test_only_the_providers_faults_count),
        cmocka_unit_test(test_silence_is_a_stall),
        cmocka_unit_test(test_idle_time_is_no_silence),
        cmocka_unit_test(test_stall_grows_with_latency),
        cmocka_unit_test(test_stragglers_count_for_nothing),
        cmocka_unit_test(test_the_whole_circle),
        cmocka_unit_test(test_open_time_doubles_to_its_cap),
        cmocka_unit_test(test_open_time_has_jitter),
        cmocka_unit_test(test_a_probe_belongs_to_its_lease),
        cmocka_unit_test(test_a_trial_fails_with_one_fault),
        cmocka_unit_test(test_a_trial_whose_workers_died_begins_anew),
        cmocka_unit_test(test_a_ramp_grows_and_may_trip),
        cmocka_unit_test(test_what_is_no_push_closes_after_its_probe),
        cmocka_unit_test(test_the_way_has_no_trial),
        cmocka_unit_test(test_what_is_forced_does_not_move),
        cmocka_unit_test(test_what_was_not_read_does_not_move),
        cmocka_unit_test(test_nothing_goes_while_open),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
