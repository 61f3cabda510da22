/*
 * The watch over the database's clock: what is a step, what is only a slow
 * answer, and when a doubt ends.
 */
#include "consumer/clockwatch.h"

#include "common/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define S US_PER_S
#define DB (INT64_C(1790000000) * S) /* the database's clock at boot time 0 */

static bool answer(struct clockwatch *w, int64_t at_us, int64_t took_us,
                   int64_t off_us)
{
    return clockwatch_answer(w, at_us - took_us, at_us,
                             DB + at_us - took_us / 2 + off_us);
}

static void test_clocks_that_agree(void **state)
{
    struct clockwatch w = {0};

    (void)state;
    assert_int_equal(clockwatch_db_at(&w, 5 * S), 0);
    for (int64_t t = 1; t < 5000; t++)
        assert_false(answer(&w, t * S, S / 100, 0));
    assert_false(w.doubted);
    assert_in_range(clockwatch_db_at(&w, 6000 * S), DB + 6000 * S - S,
                    DB + 6000 * S + S);
}

static void test_steps(void **state)
{
    static const struct {
        int64_t off_us;
        bool doubt;
    } cases[] = {
        {4 * S, false},
        {-4 * S, false},
        {6 * S, true},
        {-6 * S, true},
        {86400 * S, true},
        {-86400 * S, true},
        {INT64_C(3600) * S, true},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct clockwatch w = {0};

        assert_false(answer(&w, 100 * S, S / 100, 0));
        assert_int_equal(answer(&w, 101 * S, S / 100, cases[i].off_us),
                         cases[i].doubt);
        assert_int_equal(w.doubted, cases[i].doubt);
    }
}

/* A frozen process, or one that waited for a lock: it says little. */
static void test_slow_answers(void **state)
{
    struct clockwatch w = {0};

    (void)state;
    assert_false(answer(&w, 100 * S, S / 100, 0));
    assert_false(answer(&w, 200 * S, 60 * S, 29 * S));
    assert_false(answer(&w, 201 * S, 60 * S, -29 * S));
    assert_false(w.doubted);
    assert_false(answer(&w, 202 * S, S / 100, 0)); /* they taught it nothing */
    assert_true(answer(&w, 203 * S, 10 * S, 3600 * S));
}

static void test_a_slewed_clock(void **state)
{
    struct clockwatch w = {0};

    (void)state;
    for (int64_t t = 1; t < 1000; t++)
        assert_false(answer(&w, t * S, S / 100, t * S / 10));
    assert_false(w.doubted);
}

static void test_back_again(void **state)
{
    struct clockwatch w = {0};

    (void)state;
    assert_false(answer(&w, 100 * S, S / 100, 0));
    assert_true(answer(&w, 101 * S, S / 100, 86400 * S));
    for (int64_t t = 102; t < 400; t++) /* steady, and still a day off */
        assert_false(answer(&w, t * S, S / 100, 86400 * S));
    assert_true(w.doubted);
    for (int64_t t = 400; t < 410; t++)
        assert_false(answer(&w, t * S, S / 100, 0));
    assert_true(w.doubted);
    assert_true(answer(&w, 410 * S, S / 100, 0));
    assert_false(w.doubted);
}

static void test_accepted(void **state)
{
    struct clockwatch w = {0};

    (void)state;
    assert_false(answer(&w, 100 * S, S / 100, 0));
    assert_true(answer(&w, 101 * S, S / 100, 86400 * S));
    clockwatch_accept(&w);
    assert_false(w.doubted);
    assert_false(answer(&w, 102 * S, S / 100, 86400 * S));
    assert_false(answer(&w, 103 * S, S / 100, 86400 * S));
    assert_false(w.doubted);
    assert_true(answer(&w, 104 * S, S / 100, 0));
}

static void test_records_of_the_future(void **state)
{
    struct clockwatch w = {0};

    (void)state;
    assert_false(answer(&w, 100 * S, S / 100, 0));
    assert_false(clockwatch_appended(&w, DB + 129 * S, DB + 100 * S));
    assert_false(clockwatch_appended(&w, DB - 9000 * S, DB + 100 * S));
    assert_false(w.doubted);
    assert_true(clockwatch_appended(&w, DB + 131 * S, DB + 100 * S));
    assert_true(w.doubted);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clocks_that_agree),
        cmocka_unit_test(test_steps),
        cmocka_unit_test(test_slow_answers),
        cmocka_unit_test(test_a_slewed_clock),
        cmocka_unit_test(test_back_again),
        cmocka_unit_test(test_accepted),
        cmocka_unit_test(test_records_of_the_future),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
