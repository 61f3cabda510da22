/*
 * The pace of a line by a given clock: what is reserved goes out evenly, what
 * is late lapses, and no stop of the process makes a burst.
 */
#include "consumer/pace.h"

#include "common/base.h"
#include "common/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define MS US_PER_MS
#define S US_PER_S
#define T0 (1000 * S)

static void grant(struct pace *p, int64_t first_us, double step_us, size_t n)
{
    struct pace_grant g = {first_us, step_us, n};

    pace_grant(p, &g);
}

static void test_times_are_taken_in_order(void **state)
{
    struct pace p = {0};
    int64_t at;

    (void)state;
    assert_false(pace_take(&p, &at));
    grant(&p, T0, 10 * MS, 3);
    grant(&p, T0 + 15 * MS, 10 * MS, 2); /* lies over the first run */
    assert_int_equal(pace_held(&p), 5);
    for (int i = 0; i < 5; i++) {
        static const int want[] = {0, 10, 15, 20, 25};

        assert_true(pace_take(&p, &at));
        assert_int_equal(at, T0 + want[i] * MS);
    }
    assert_false(pace_take(&p, &at));
}

static void test_given_back_is_taken_first(void **state)
{
    struct pace p = {0};
    int64_t at;

    (void)state;
    grant(&p, T0, 10 * MS, 2);
    assert_true(pace_take(&p, &at));
    pace_give_back(&p, at);
    assert_int_equal(pace_held(&p), 2);
    assert_true(pace_take(&p, &at));
    assert_int_equal(at, T0);
}

static void test_late_times_lapse(void **state)
{
    struct pace p = {0};
    int64_t at;

    (void)state;
    pace_want(&p, 5);
    grant(&p, T0, 10 * MS, 10);
    pace_lapse(&p, T0, 20 * MS);
    assert_int_equal(p.lapsed, 0);
    pace_lapse(&p, T0 + 20 * MS, 20 * MS); /* the first is not too late yet */
    assert_int_equal(p.lapsed, 0);
    assert_int_equal(p.wanted, 5);
    pace_lapse(&p, T0 + 45 * MS, 20 * MS);
    assert_int_equal(p.lapsed, 3);
    assert_int_equal(p.wanted, 0);
    assert_true(pace_take(&p, &at));
    assert_int_equal(at, T0 + 30 * MS);
    pace_lapse(&p, T0 + S, 20 * MS);
    assert_int_equal(p.lapsed, 9);
    assert_int_equal(pace_held(&p), 0);
}

/* A clock that leaps, or a process that was stopped, leaves nothing to send. */
static void test_a_leap_leaves_nothing(void **state)
{
    struct pace p = {0};

    (void)state;
    for (int i = 0; i < PACE_GRANTS_MAX; i++)
        grant(&p, T0 + i * 100 * MS, 1 * MS, 300);
    pace_lapse(&p, T0 + 86400 * S, 1 * S);
    assert_int_equal(pace_held(&p), 0);
    assert_int_equal(p.lapsed, PACE_GRANTS_MAX * 300);
}

static void test_runs_are_bounded(void **state)
{
    struct pace p = {0};
    int64_t at;

    (void)state;
    for (int i = 0; i < 2 * PACE_GRANTS_MAX; i++)
        grant(&p, T0 + i, 1, 1);
    assert_int_equal(pace_held(&p), PACE_GRANTS_MAX);
    assert_int_equal(p.lapsed, PACE_GRANTS_MAX);
    assert_true(pace_take(&p, &at));
    pace_give_back(&p, at);
    assert_int_equal(pace_held(&p), PACE_GRANTS_MAX);
}

static void test_asks_for_what_waits(void **state)
{
    struct pace p = {0};

    (void)state;
    assert_int_equal(pace_ask(&p, 100, 600 * MS, T0), 0);
    pace_want(&p, 1);
    assert_int_equal(pace_ask(&p, 100, 600 * MS, T0 + 250 * MS), 1);
    pace_want(&p, 1000000); /* never more than the time ahead allows */
    assert_int_equal(pace_ask(&p, 100, 600 * MS, T0 + 500 * MS), 61);
    grant(&p, T0 + 500 * MS, 10 * MS, 60);
    assert_int_equal(pace_ask(&p, 100, 600 * MS, T0 + 510 * MS), 1);
}

/* What waited is asked for until it was used, or until it lapsed: the fleet's
   row may have had nothing left. */
static void test_a_want_lasts(void **state)
{
    struct pace p = {0};

    (void)state;
    pace_want(&p, 3);
    assert_int_equal(pace_ask(&p, 100, 600 * MS, T0), 3);
    assert_int_equal(pace_ask(&p, 100, 600 * MS, T0 + 250 * MS), 3);
    grant(&p, T0 + 250 * MS, 10 * MS, 3);
    pace_lapse(&p, T0 + 10 * S, 0);
    assert_int_equal(pace_ask(&p, 100, 600 * MS, T0 + 10 * S), 0);
}

/* A slow line gets its one, however far apart its times are. */
static void test_slow_rates_ask_for_one(void **state)
{
    struct pace p = {0};

    (void)state;
    pace_want(&p, 100);
    assert_int_equal(pace_ask(&p, 0.2, 600 * MS, T0), 2);
    p = (struct pace){0};
    pace_want(&p, 1);
    assert_int_equal(pace_ask(&p, 0.2, 600 * MS, T0), 1);
}

static void test_asks_for_what_was_used(void **state)
{
    struct pace p = {0};
    int64_t at;

    (void)state;
    (void)pace_ask(&p, 1000, 600 * MS, T0);
    grant(&p, T0, 1 * MS, 25);
    for (int i = 0; i < 25; i++)
        assert_true(pace_take(&p, &at));
    /* 25 in 250 ms: 60 in 600 ms, and twice that while something waits */
    assert_int_equal(pace_ask(&p, 1000, 600 * MS, T0 + 250 * MS), 60);
    grant(&p, T0, 1 * MS, 25);
    for (int i = 0; i < 25; i++)
        assert_true(pace_take(&p, &at));
    pace_want(&p, 1);
    assert_int_equal(pace_ask(&p, 1000, 600 * MS, T0 + 500 * MS), 120);
}

/* Stopped for half a second with fifty times in hand: what is late goes out
   half a step apart, not at once. */
static void test_late_ones_make_no_burst(void **state)
{
    struct pace p = {0};
    int64_t now_us = T0 + 500 * MS, released = 0;

    (void)state;
    p.step_us = 10 * MS;
    for (int64_t end_us = now_us + 100 * MS; now_us < end_us; now_us += 1 * MS)
        if (pace_release_us(&p, T0 + released * 10 * MS, now_us) <= now_us)
            released++;
    assert_int_equal(released, 20);
}

static void test_nothing_goes_before_its_time(void **state)
{
    struct pace p = {0};

    (void)state;
    assert_int_equal(pace_release_us(&p, T0 + 5 * MS, T0), T0 + 5 * MS);
    assert_int_equal(pace_release_us(&p, T0, T0), T0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_times_are_taken_in_order),
        cmocka_unit_test(test_given_back_is_taken_first),
        cmocka_unit_test(test_late_times_lapse),
        cmocka_unit_test(test_a_leap_leaves_nothing),
        cmocka_unit_test(test_runs_are_bounded),
        cmocka_unit_test(test_asks_for_what_waits),
        cmocka_unit_test(test_a_want_lasts),
        cmocka_unit_test(test_slow_rates_ask_for_one),
        cmocka_unit_test(test_asks_for_what_was_used),
        cmocka_unit_test(test_late_ones_make_no_burst),
        cmocka_unit_test(test_nothing_goes_before_its_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
