/* Unit tests of the simulator's generator: everything under fixed seeds. */
#include "tests/daraja/chance.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define DRAWS 20000

static void the_same_seed_gives_the_same(void **state)
{
    struct chance a, b, c;

    (void)state;
    chance_seed(&a, 7);
    chance_seed(&b, 7);
    chance_seed(&c, 8);
    for (int i = 0; i < 100; i++) {
        uint64_t n = chance_next(&a);

        assert_true(n == chance_next(&b));
        assert_true(n != chance_next(&c));
    }
}

static void outcomes_have_their_shares(void **state)
{
    const int64_t ppm[] = {0, 100000, 0, 300000};
    size_t seen[4] = {0};
    struct chance c;

    (void)state;
    chance_seed(&c, 1);
    for (int i = 0; i < DRAWS; i++)
        seen[chance_pick(&c, ppm, 4)]++;
    assert_in_range(seen[0], DRAWS * 59 / 100, DRAWS * 61 / 100);
    assert_in_range(seen[1], DRAWS * 9 / 100, DRAWS * 11 / 100);
    assert_int_equal(seen[2], 0);
    assert_in_range(seen[3], DRAWS * 29 / 100, DRAWS * 31 / 100);
}

static void never_and_always(void **state)
{
    struct chance c;

    (void)state;
    chance_seed(&c, 1);
    for (int i = 0; i < 1000; i++) {
        assert_false(chance_hit(&c, 0));
        assert_true(chance_hit(&c, PPM));
    }
}

static int by_size(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

static void a_spread_goes_through_both_points(void **state)
{
    static int64_t us[DRAWS];
    struct spread s = {800000, 4000000};
    struct chance c;

    (void)state;
    chance_seed(&c, 3);
    for (int i = 0; i < DRAWS; i++)
        us[i] = chance_spread(&c, &s);
    qsort(us, DRAWS, sizeof(us[0]), by_size);
    assert_in_range(us[DRAWS / 2], 770000, 830000);
    assert_in_range(us[DRAWS * 95 / 100], 3800000, 4200000);
    assert_in_range(us[DRAWS - 1], 4000000, SPREAD_US_MAX);
}

static void equal_points_are_a_fixed_delay(void **state)
{
    struct spread fixed = {20000, 20000}, none = {0, 0};
    struct chance c;

    (void)state;
    chance_seed(&c, 3);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(chance_spread(&c, &fixed), 20000);
        assert_int_equal(chance_spread(&c, &none), 0);
    }
}

static void hashes_differ(void **state)
{
    (void)state;
    assert_true(chance_hash("a", 1) != chance_hash("b", 1));
    assert_true(chance_hash("a", 1) != chance_hash("a", 0));
    assert_true(chance_mix(1, 2) != chance_mix(2, 1));
    assert_true(chance_mix(1, 2) == chance_mix(1, 2));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_seed_gives_the_same),
        cmocka_unit_test(outcomes_have_their_shares),
        cmocka_unit_test(never_and_always),
        cmocka_unit_test(a_spread_goes_through_both_points),
        cmocka_unit_test(equal_points_are_a_fixed_delay),
        cmocka_unit_test(hashes_differ),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
