/*
 * Whose turn it is: weights, floors, fairness between shortcodes and clients,
 * and what nobody else uses.
 */
#include "consumer/share.h"

#include "common/base.h"

// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
// clang-format on

#define A 174379
#define B 600000
#define ALL SIZE_MAX

/* A stage of lanes, in the order in which they are named. */
struct stage {
    struct shares shares;
    struct lane lanes[16];
    size_t n;
    struct line_credit lines[2];
};

static void set(struct stage *s)
{
    *s = (struct stage){.lines = {{A, ALL}, {B, ALL}}};
}

static void lane(struct stage *s, enum priority p, int64_t shortcode,
                 uint8_t client, size_t due)
{
    s->lanes[s->n++] = (struct lane){
        .priority = p,
        .shortcode = shortcode,
        .client = {{client}},
        .due = due,
    };
}

static size_t give(struct stage *s, size_t places, uint32_t dice)
{
    for (size_t i = 0; i < s->n; i++) {
        s->lanes[i].due -= s->lanes[i].take;
        s->lanes[i].take = 0;
    }
    return share_out(&s->shares, s->lanes, s->n, s->lines, ARRAY_LEN(s->lines),
                     places, dice);
}

static void test_high_first_by_weight(void **state)
{
    struct stage s;

    (void)state;
    set(&s);
    lane(&s, PRIORITY_HIGH, A, 1, 1000);
    lane(&s, PRIORITY_NORMAL, A, 1, 1000);
    lane(&s, PRIORITY_LOW, A, 1, 1000);
    assert_int_equal(give(&s, 130, 0), 130);
    assert_int_equal(s.lanes[0].take, 80);
    assert_int_equal(s.lanes[1].take, 40);
    assert_int_equal(s.lanes[2].take, 10);
}

/* One place at a time, as slow pushes free them: what is too little now is
   owed. */
static void test_floors_of_single_places(void **state)
{
    size_t of[PRIORITIES_N] = {0};
    struct stage s;

    (void)state;
    set(&s);
    for (int i = 0; i < PRIORITIES_N; i++)
        lane(&s, (enum priority)i, A, 1, 1000);
    for (uint32_t i = 0; i < 130; i++) {
        assert_int_equal(give(&s, 1, i), 1);
        for (int k = 0; k < PRIORITIES_N; k++)
            of[k] += s.lanes[k].take;
    }
    assert_int_equal(of[PRIORITY_HIGH], 80);
    assert_int_equal(of[PRIORITY_LOW], 10);
}

static void test_what_is_not_used_is_lent(void **state)
{
    struct stage s;

    (void)state;
    set(&s);
    lane(&s, PRIORITY_HIGH, A, 1, 3);
    lane(&s, PRIORITY_LOW, A, 1, 1000);
    assert_int_equal(give(&s, 100, 0), 100);
    assert_int_equal(s.lanes[0].take, 3);
    assert_int_equal(s.lanes[1].take, 97);
    assert_int_equal(give(&s, 10000, 0), 1000 - 97);
}

/* Who had nothing for long does not take all when it has again. */
static void test_nothing_is_saved_while_idle(void **state)
{
    struct stage s;

    (void)state;
    set(&s);
    lane(&s, PRIORITY_LOW, A, 1, 100000);
    (void)give(&s, 5000, 0);
    set(&s);
    lane(&s, PRIORITY_HIGH, A, 1, 1000);
    lane(&s, PRIORITY_LOW, A, 1, 1000);
    assert_int_equal(give(&s, 90, 0), 90);
    assert_in_range(s.lanes[1].take, 9, 11);
}

/* A shortcode with many clients has no more than one with a single one; within
   it every client has the same. */
static void test_shortcodes_then_clients(void **state)
{
    struct stage s;

    (void)state;
    for (uint32_t dice = 0; dice < 5000; dice += 999) {
        set(&s);
        for (uint8_t i = 0; i < 6; i++)
            lane(&s, PRIORITY_NORMAL, A, i, 1000);
        lane(&s, PRIORITY_NORMAL, B, 1, 1000);
        assert_int_equal(give(&s, 120, dice), 120);
        for (size_t i = 0; i < 6; i++)
            assert_int_equal(s.lanes[i].take, 10);
        assert_int_equal(s.lanes[6].take, 60);
    }
}

static void test_the_dice_say_who_begins(void **state)
{
    size_t of[4] = {0};
    struct stage s;

    (void)state;
    for (uint32_t i = 0; i < 400; i++) {
        set(&s);
        for (uint8_t k = 0; k < 4; k++)
            lane(&s, PRIORITY_LOW, A, k, 1);
        assert_int_equal(give(&s, 1, i * 2654435761u), 1);
        for (size_t k = 0; k < 4; k++)
            of[k] += s.lanes[k].take;
    }
    for (size_t k = 0; k < 4; k++)
        assert_in_range(of[k], 60, 140);
}

/* The credit of a line is one for all its priorities. */
static void test_credit_of_a_line(void **state)
{
    struct stage s;

    (void)state;
    set(&s);
    s.lines[0].credit = 13;
    s.lines[1].credit = 0;
    lane(&s, PRIORITY_HIGH, A, 1, 1000);
    lane(&s, PRIORITY_HIGH, B, 1, 1000);
    lane(&s, PRIORITY_LOW, A, 1, 1000);
    lane(&s, PRIORITY_LOW, 999, 1, 1000); /* nobody's line */
    assert_int_equal(give(&s, 1000, 7), 13);
    assert_int_equal(s.lanes[0].take, 12);
    assert_int_equal(s.lanes[1].take, 0);
    assert_int_equal(s.lanes[2].take, 1);
    assert_int_equal(s.lines[0].credit, 0);
    assert_int_equal(give(&s, 1000, 7), 0);
}

static void test_nothing_to_share(void **state)
{
    struct stage s;

    (void)state;
    set(&s);
    assert_int_equal(give(&s, 100, 0), 0);
    lane(&s, PRIORITY_LOW, A, 1, 0);
    assert_int_equal(give(&s, 100, 0), 0);
    s.lanes[0].due = 5;
    assert_int_equal(give(&s, 0, 0), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_high_first_by_weight),
        cmocka_unit_test(test_floors_of_single_places),
        cmocka_unit_test(test_what_is_not_used_is_lent),
        cmocka_unit_test(test_nothing_is_saved_while_idle),
        cmocka_unit_test(test_shortcodes_then_clients),
        cmocka_unit_test(test_the_dice_say_who_begins),
        cmocka_unit_test(test_credit_of_a_line),
        cmocka_unit_test(test_nothing_to_share),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
