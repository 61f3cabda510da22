/*
 * The intake on a Kafka in memory: what may go, what is parked, what is held,
 * what is read past, and pools that are paused.
 */
#include "consumer/intake.h"

#include "common/log.h"
#include "tests/unit/intake_world.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void allow(struct world *w, size_t go, size_t park)
{
    w->go = go;
    w->park = park;
}

/* Takes one batch and finishes it: how many go, how many are parked. */
static void batch(struct world *w, size_t credit, size_t go, size_t parked)
{
    struct intake_batch *b = take(w, credit);

    if (go + parked == 0) {
        assert_null(b);
        return;
    }
    assert_non_null(b);
    assert_int_equal(b->goers, go);
    assert_int_equal(b->rows_n, go + parked);
    for (size_t i = 0; i < b->rows_n; i++)
        parked -= b->rows[i].park;
    assert_int_equal(parked, 0);
    done(w);
}

static void test_parked_takes_no_credit(void **state)
{
    struct world *w = *state;

    start(w, HIGH, 1, 0);
    add(w, HIGH, 0, 0, 30);
    allow(w, 0, 10);
    batch(w, 3, 0, 10); /* and the eleventh is held */
    allow(w, 4, 10);
    batch(w, 3, 3, 0); /* it goes first */
    batch(w, 3, 1, 10);
    allow(w, 20, 0);
    batch(w, 20, 30 - 24, 0);
}

static void test_a_held_record_is_the_next_one(void **state)
{
    struct world *w = *state;
    struct intake_batch *b;

    start(w, LOW, 2, 0);
    add(w, LOW, 0, 0, 5);
    add(w, LOW, 1, 0, 5);
    allow(w, 2, 0);
    batch(w, 10, 2, 0);
    for (int i = 0; i < 3; i++)
        batch(w, 10, 0, 0);
    allow(w, 1, 0);
    b = take(w, 10);
    assert_int_equal(b->rows[0].offset, 2);
    assert_int_equal(position(b, TOPIC_LOW, 0)->offset, 3);
    done(w);
    allow(w, SIZE_MAX, 0);
    batch(w, 10, 7, 0);
}

/* What is held by one pool is not in the way of the others. */
static void test_a_held_pool_lends(void **state)
{
    struct world *w = *state;

    start(w, HIGH, 1, 0);
    start(w, LOW, 1, 0);
    add(w, HIGH, 0, 0, 5);
    allow(w, 0, 0);
    batch(w, 10, 0, 0);
    add(w, LOW, 0, 0, 5);
    batch(w, 10, 0, 0); /* now both hold one */
    allow(w, SIZE_MAX, 0);
    batch(w, 20, 10, 0);
}

/* Kafka gives it again with the next assignment, or from an earlier place. */
static void test_a_held_record_goes_with_its_place(void **state)
{
    struct world *w = *state;
    struct intake_batch *b;

    start(w, HIGH, 1, 0);
    add(w, HIGH, 0, 0, 10);
    allow(w, 4, 0);
    assert_int_equal(take(w, 10)->rows_n, 4);
    intake_abandon(w->intake); /* read again, with the fifth one */
    allow(w, 6, 0);
    b = take(w, 10);
    assert_int_equal(b->rows_n, 6);
    assert_int_equal(b->rows[0].offset, 0);
    done(w); /* the seventh is held */
    fake_revoke(HIGH);
    assert_int_equal(HIGH->out, 0);
    fake_assign(HIGH, 1);
    answer(w, 2);
    allow(w, SIZE_MAX, 0);
    b = take(w, 10);
    assert_int_equal(b->rows_n, 8);
    assert_int_equal(b->rows[0].offset, 2);
    done(w);
}

/* Its place is kept: Kafka does not give it again. */
static void test_a_held_record_outlives_a_doubt(void **state)
{
    struct world *w = *state;

    start(w, HIGH, 1, 0);
    add(w, HIGH, 0, 0, 5);
    allow(w, 2, 0);
    batch(w, 10, 2, 0);
    batch(w, 10, 0, 0);
    intake_doubt(w->intake);
    batch(w, 10, 0, 0);
    while (!intake_sure(w->intake))
        answer(w, 2);
    allow(w, SIZE_MAX, 0);
    batch(w, 10, 3, 0);
}

/* A full batch is read however small the credit. */
static void test_skimming(void **state)
{
    struct world *w = *state;

    start(w, NORMAL, 1, 0);
    add(w, NORMAL, 0, 0, 250);
    allow(w, SIZE_MAX, SIZE_MAX);
    batch(w, 2, 2, 0);
    intake_skim(w->intake, true);
    batch(w, 2, 2, 98); /* worker.batch_max is 100 */
    intake_skim(w->intake, false);
    batch(w, 2, 2, 0);
    intake_skim(w->intake, true);
    allow(w, 1, 5);
    batch(w, 2, 1, 5);
}

/* Too late by the clock of the last answer: no place, and nobody is asked. */
static void test_late_ones_take_no_credit(void **state)
{
    struct world *w = *state;

    w->cfg.payments_ttl_ms = 1000;
    start(w, LOW, 1, 0);
    add(w, LOW, 0, 0, 40);
    batch(w, 1, 0, 40);
}

static void test_a_paused_pool(void **state)
{
    struct world *w = *state;
    size_t of[PRIORITIES_N] = {0};

    start(w, HIGH, 1, 0);
    start(w, LOW, 1, 0);
    add(w, HIGH, 0, 0, 50);
    add(w, LOW, 0, 0, 50);
    w->paused = 1u << PRIORITY_HIGH;
    assert_int_equal(take_all(w, 40, of), 40);
    assert_int_equal(of[PRIORITY_LOW], 40);
    w->paused = 0;
    assert_int_equal(take_all(w, 40, of), 40);
    assert_true(of[PRIORITY_HIGH] >= 30);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_parked_takes_no_credit),
        TEST(test_a_held_record_is_the_next_one),
        TEST(test_a_held_pool_lends),
        TEST(test_a_held_record_goes_with_its_place),
        TEST(test_a_held_record_outlives_a_doubt),
        TEST(test_skimming),
        TEST(test_late_ones_take_no_credit),
        TEST(test_a_paused_pool),
    };

    log_open("test_intake_admit", LOG_ERROR, false);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
