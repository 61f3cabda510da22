/*
 * The arithmetic of waiting, at its ends and over many draws.
 */
#include "consumer/retry.h"

#include "common/base.h"

#include <limits.h>
#include <math.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define S INT64_C(1000000)
#define DICE_MAX UINT32_MAX
#define DRAWS 100000
#define BUCKETS 10

static void test_between_its_ends(void **state)
{
    (void)state;
    assert_int_equal(retry_between(60 * S, 180 * S, 0), 60 * S);
    assert_int_equal(retry_between(60 * S, 180 * S, DICE_MAX), 180 * S - 1);
    assert_int_equal(retry_between(60 * S, 180 * S, DICE_MAX / 2 + 1), 120 * S);
    assert_int_equal(retry_between(5, 5, DICE_MAX), 5);
    assert_int_equal(retry_between(0, 0, 12345), 0);
    assert_int_equal(retry_between(-10, 10, 0), -10);
}

static void test_between_far_ends(void **state)
{
    int64_t most = retry_between(0, INT64_MAX, DICE_MAX);

    (void)state;
    assert_true(most > INT64_MAX / 2);
    assert_int_equal(retry_between(0, INT64_MAX, 0), 0);
    assert_int_equal(retry_between(INT64_MAX, INT64_MAX, DICE_MAX), INT64_MAX);
}

static void test_gaps_double_up_to_the_cap(void **state)
{
    static const int64_t want[] = {20 * S, 40 * S, 60 * S, 60 * S, 60 * S};

    (void)state;
    for (int n = 0; n < (int)ARRAY_LEN(want); n++)
        assert_int_equal(retry_gap(n, 20 * S, 60 * S), want[n]);
}

/* Whatever the count: neither too long, nor around the corner. */
static void test_gaps_of_any_count(void **state)
{
    static const int64_t firsts[] = {1, 1000, S, 3600 * S, INT64_MAX};
    static const int counts[] = {0, 1, 19, 20, 21, 40, 62, 63, 64, INT_MAX};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(firsts); i++)
        for (size_t k = 0; k < ARRAY_LEN(counts); k++) {
            double exact = ldexp((double)firsts[i], MIN(counts[k], 1000));
            int64_t cap = 3600 * S;
            int64_t want = exact < (double)cap ? (int64_t)exact : cap;

            assert_int_equal(retry_gap(counts[k], firsts[i], cap), want);
        }
    assert_int_equal(retry_gap(INT_MAX, 0, 60 * S), 0);
    assert_int_equal(retry_gap(INT_MAX, 2, INT64_MAX), INT64_MAX);
    assert_int_equal(retry_gap(62, 1, INT64_MAX), INT64_C(1) << 62);
}

static void test_backoff_is_full_jitter(void **state)
{
    (void)state;
    for (int n = 1; n <= 200; n++) {
        int64_t bound = n < 6 ? 2 * S << (n - 1) : 60 * S;

        bound = MIN(bound, 60 * S);
        assert_int_equal(retry_backoff(n, 2 * S, 60 * S, 0), 0);
        assert_int_equal(retry_backoff(n, 2 * S, 60 * S, DICE_MAX), bound - 1);
        assert_int_equal(retry_backoff(n, 2 * S, 60 * S, 1u << 31), bound / 2);
    }
    assert_int_equal(retry_backoff(INT_MAX, 2 * S, 60 * S, DICE_MAX),
                     60 * S - 1);
}

/* Every tenth of the bound gets its tenth of the draws. */
static void test_backoff_is_uniform(void **state)
{
    int hits[BUCKETS] = {0};
    uint32_t dice = 1;

    (void)state;
    for (int i = 0; i < DRAWS; i++) {
        dice = dice * 1664525u + 1013904223u;
        hits[retry_backoff(4, S, 60 * S, dice) * BUCKETS / (8 * S)]++;
    }
    for (int i = 0; i < BUCKETS; i++)
        assert_in_range(hits[i], DRAWS / BUCKETS * 9 / 10,
                        DRAWS / BUCKETS * 11 / 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_between_its_ends),
        cmocka_unit_test(test_between_far_ends),
        cmocka_unit_test(test_gaps_double_up_to_the_cap),
        cmocka_unit_test(test_gaps_of_any_count),
        cmocka_unit_test(test_backoff_is_full_jitter),
        cmocka_unit_test(test_backoff_is_uniform),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
