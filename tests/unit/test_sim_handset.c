/* Unit tests of the simulated phones: lock, script, equal amounts. */
#include "tests/daraja/handset.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "common/clock.h"

#define PHONE INT64_C(254708374149)
#define WINDOW_US (120 * US_PER_S)
#define HOUR_US (3600 * US_PER_S)

static int set_up(void **state)
{
    *state = handsets_new();
    return 0;
}

static int tear_down(void **state)
{
    handsets_free(*state);
    return 0;
}

static void a_phone_is_locked_while_it_has_a_prompt(void **state)
{
    struct handset *h = handset_get(*state, PHONE, 0);

    assert_false(handset_locked(h));
    handset_lock(h);
    handset_lock(h); /* a leak */
    handset_unlock(h);
    assert_true(handset_locked(handset_get(*state, PHONE, 1)));
    assert_false(handset_locked(handset_get(*state, PHONE + 1, 1)));
    handset_unlock(h);
    assert_false(handset_locked(h));
    handset_unlock(h); /* of a prompt that a reset forgot */
    handset_lock(h);
    assert_true(handset_locked(h));
}

static void a_script_is_used_up(void **state)
{
    struct handset *h = handset_get(*state, PHONE, 0);
    struct step steps[2] = {{.fate = 1}, {.fate = 2}}, got;

    assert_false(handset_step(h, &got));
    handset_script(h, steps, 2, false);
    assert_true(handset_step(h, &got));
    assert_int_equal(got.fate, 1);
    assert_true(handset_step(h, &got));
    assert_int_equal(got.fate, 2);
    assert_false(handset_step(h, &got));
}

static void a_script_may_repeat(void **state)
{
    struct handset *h = handset_get(*state, PHONE, 0);
    struct step steps[2] = {{.fate = 1}, {.fate = 2}}, got;

    handset_script(h, steps, 2, true);
    for (int i = 0; i < 6; i++) {
        assert_true(handset_step(h, &got));
        assert_int_equal(got.fate, 1 + i % 2);
    }
    handset_script(h, NULL, 0, false);
    assert_false(handset_step(h, &got));
}

static void equal_amounts_are_seen_within_the_window(void **state)
{
    struct handset *h = handset_get(*state, PHONE, 0);

    assert_false(handset_ask(h, 174379, 100, 0, WINDOW_US));
    assert_false(handset_ask(h, 174379, 101, 1, WINDOW_US));
    assert_false(handset_ask(h, 600000, 100, 1, WINDOW_US));
    assert_true(handset_ask(h, 174379, 100, WINDOW_US - 1, WINDOW_US));
    assert_false(handset_ask(h, 174379, 101, WINDOW_US + 1, WINDOW_US));
    assert_false(handset_ask(h, 174379, 101, WINDOW_US + 1, 0));
}

static void idle_phones_are_forgotten_but_not_scripts(void **state)
{
    struct step step = {.fate = 1}, got;
    struct handset *h = handset_get(*state, PHONE, 0);

    handset_ask(h, 174379, 100, 0, INT64_MAX);
    handset_script(handset_get(*state, PHONE + 1, 0), &step, 1, false);
    for (int i = 2; i < 10; i++)
        handset_get(*state, PHONE + i, HOUR_US);
    h = handset_get(*state, PHONE, HOUR_US);
    assert_false(handset_ask(h, 174379, 100, HOUR_US, INT64_MAX));
    h = handset_get(*state, PHONE + 1, HOUR_US);
    assert_true(handset_step(h, &got));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_phone_is_locked_while_it_has_a_prompt,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_script_is_used_up, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_script_may_repeat, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            equal_amounts_are_seen_within_the_window, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            idle_phones_are_forgotten_but_not_scripts, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
