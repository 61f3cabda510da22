/*
 * The intake on a Kafka in memory: how the pools share its credit, what is
 * committed and when, callbacks, and the end.
 */
#include "consumer/intake.h"

#include "common/log.h"
#include "common/metrics.h"
#include "tests/unit/intake_world.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void start_all(struct world *w, int n)
{
    for (size_t i = 0; i < PRIORITIES_N; i++) {
        start(w, fakes[i], 1, 0);
        add(w, fakes[i], 0, 0, n);
    }
}

/* --- credit and weight --- */

static void test_credit_is_never_passed(void **state)
{
    struct world *w = *state;
    size_t of[PRIORITIES_N] = {0};

    start_all(w, 1000);
    assert_null(take(w, 0));
    for (size_t credit = 1; credit <= 60; credit++)
        assert_int_equal(take_all(w, credit, of), credit);
}

static void test_a_batch_is_bounded(void **state)
{
    struct world *w = *state;
    size_t of[PRIORITIES_N] = {0};

    start_all(w, 500);
    assert_int_equal(take_all(w, 100000, of), 100); /* worker.batch_max */
}

static void test_weights(void **state)
{
    struct world *w = *state;
    size_t of[PRIORITIES_N] = {0};

    start_all(w, 500);
    assert_int_equal(take_all(w, 65, of), 65);
    assert_int_equal(of[PRIORITY_HIGH], 40);
    assert_int_equal(of[PRIORITY_NORMAL], 20);
    assert_int_equal(of[PRIORITY_LOW], 5);
}

/* However small the credit: what is too little now is saved up. */
static void test_weights_of_small_credits(void **state)
{
    static const size_t credits[] = {1, 2, 3, 5};
    struct world *w = *state;

    start_all(w, 2600);
    for (size_t i = 0; i < ARRAY_LEN(credits); i++) {
        size_t of[PRIORITIES_N] = {0}, n = 0;

        while (n < 650)
            n += take_all(w, credits[i], of);
        assert_in_range(of[PRIORITY_LOW], 650 / 20, 650 / 10);
        assert_in_range(of[PRIORITY_NORMAL], 650 / 5, 650 * 2 / 5);
        assert_true(of[PRIORITY_HIGH] > 650 / 2);
    }
}

static void test_idle_pools_lend(void **state)
{
    struct world *w = *state;
    size_t of[PRIORITIES_N] = {0};

    start(w, LOW, 1, 0);
    add(w, LOW, 0, 0, 200);
    assert_int_equal(take_all(w, 50, of), 50);
    start(w, NORMAL, 1, 0);
    add(w, NORMAL, 0, 0, 10);
    assert_int_equal(take_all(w, 50, of), 50);
    assert_int_equal(of[PRIORITY_NORMAL], 10);
    assert_int_equal(of[PRIORITY_LOW], 90);
}

/* A pool that had nothing for long does not take all when it has again. */
static void test_an_idle_pool_saves_nothing(void **state)
{
    struct world *w = *state;
    size_t of[PRIORITIES_N] = {0};

    start(w, HIGH, 1, 0);
    start(w, LOW, 1, 0);
    add(w, LOW, 0, 0, 2000);
    for (int i = 0; i < 20; i++)
        take_all(w, 65, of);
    add(w, HIGH, 0, 0, 1000);
    memset(of, 0, sizeof(of));
    take_all(w, 65, of);
    assert_true(of[PRIORITY_LOW] >= 5);
}

static void test_borrowing_goes_high_first(void **state)
{
    struct world *w = *state;
    size_t of[PRIORITIES_N] = {0};

    start(w, NORMAL, 1, 0);
    start(w, LOW, 1, 0);
    add(w, NORMAL, 0, 0, 200);
    add(w, LOW, 0, 0, 200);
    take_all(w, 65, of); /* high's 40 go to normal */
    assert_int_equal(of[PRIORITY_NORMAL], 60);
    assert_int_equal(of[PRIORITY_LOW], 5);
}

/* A pool full of records that make no row is read past, not waited for. */
static void test_a_flood_of_nothing(void **state)
{
    struct world *w = *state;
    size_t of[PRIORITIES_N] = {0};

    start_all(w, 0);
    for (int i = 0; i < 1000; i++)
        fake_add(HIGH, 0, i, "k", "garbage");
    add(w, LOW, 0, 0, 20);
    take_all(w, 65, of);
    assert_true(of[PRIORITY_LOW] >= 5);
    for (int i = 0; i < 20; i++)
        take_all(w, 65, of);
    assert_int_equal(of[PRIORITY_LOW], 20);
    assert_null(take(w, 65)); /* and all of it was read */
}

/* --- commits --- */

static void test_commits_follow_the_claim(void **state)
{
    struct world *w = *state;

    start(w, HIGH, 2, 0);
    add(w, HIGH, 1, 0, 30);
    assert_non_null(take(w, 20));
    tick(w);
    assert_int_equal(HIGH->commits, 0); /* not claimed yet */
    assert_false(intake_quiet(w->intake));
    done(w);
    tick(w);
    assert_int_equal(HIGH->commits, 1);
    assert_int_equal(HIGH->flying_n, 1);
    assert_int_equal(HIGH->flying[0].partition, 1);
    assert_int_equal(HIGH->flying[0].offset, 20);
    assert_false(intake_quiet(w->intake));
    fake_commit_end(HIGH, true);
    assert_true(intake_quiet(w->intake));
    tick(w);
    assert_int_equal(HIGH->commits, 1); /* nothing moved */
}

static void test_one_commit_at_a_time(void **state)
{
    struct world *w = *state;
    size_t of[PRIORITIES_N] = {0};

    start(w, HIGH, 1, 0);
    add(w, HIGH, 0, 0, 50);
    take_all(w, 5, of);
    tick(w);
    take_all(w, 5, of);
    tick(w);
    assert_int_equal(HIGH->commits, 1);
    fake_commit_end(HIGH, true);
    tick(w);
    assert_int_equal(HIGH->commits, 2);
    fake_commit_end(HIGH, true);
    assert_int_equal(HIGH->parts[0].committed, 10);
}

static void test_a_failed_commit_is_repeated(void **state)
{
    struct world *w = *state;
    size_t of[PRIORITIES_N] = {0};

    start(w, HIGH, 2, 0);
    add(w, HIGH, 0, 0, 5);
    take_all(w, 5, of);
    tick(w);
    fake_commit_end(HIGH, false);
    tick(w); /* without any news */
    assert_int_equal(HIGH->commits, 2);
    fake_commit_end(HIGH, true);
    assert_int_equal(HIGH->parts[0].committed, 5);
    assert_true(intake_quiet(w->intake));
}

static void test_revoked_while_a_batch_is_out(void **state)
{
    struct world *w = *state;
    struct intake_batch *b;

    start(w, HIGH, 1, 0);
    add(w, HIGH, 0, 0, 20);
    b = take(w, 5);
    fake_revoke(HIGH);
    assert_int_equal(b->rows_n, 5); /* it is claimed all the same */
    assert_int_equal(position(b, TOPIC_HIGH, 0)->offset, 5);
    done(w);
    tick(w);
    assert_int_equal(HIGH->commits, 0); /* no longer ours to commit */
    assert_null(take(w, 5));
    start(w, HIGH, 1, 5);
    b = take(w, 5);
    assert_int_equal(b->rows[0].offset, 5);
    done(w);
}

/* --- callbacks --- */

static void add_callbacks(int32_t partition, int64_t from, int n)
{
    for (int i = 0; i < n; i++)
        fake_add(CALLBACKS, partition, from + i, "k", "{}");
}

static void test_callbacks_go_on_where_the_group_was(void **state)
{
    struct world *w = *state;

    CALLBACKS->parts[1].committed = 7;
    fake_assign(CALLBACKS, 2);
    answer(w, KAFKA_BEGINNING);
    assert_int_equal(w->asked, 1);
    assert_int_equal(CALLBACKS->parts[0].from, KAFKA_BEGINNING);
    assert_int_equal(CALLBACKS->parts[1].from, 7);
}

static void test_callbacks(void **state)
{
    struct world *w = *state;
    const struct kafka_record **records;
    size_t n;

    fake_assign(CALLBACKS, 2);
    answer(w, KAFKA_BEGINNING);
    add_callbacks(0, 0, 150);
    records = intake_callbacks(w->intake, 40, &n);
    assert_int_equal(n, 40);
    assert_int_equal(records[39]->offset, 39);
    tick(w);
    assert_int_equal(CALLBACKS->commits, 0); /* not applied yet */
    assert_false(intake_quiet(w->intake));
    intake_callbacks_done(w->intake);
    tick(w);
    assert_int_equal(CALLBACKS->flying[0].offset, 40);
    fake_commit_end(CALLBACKS, true);
    intake_callbacks(w->intake, 1000, &n);
    assert_int_equal(n, 100); /* worker.batch_max */
    intake_callbacks_done(w->intake);
    intake_callbacks(w->intake, 1000, &n);
    assert_int_equal(n, 10);
    intake_callbacks_done(w->intake);
    intake_callbacks(w->intake, 1000, &n);
    assert_int_equal(n, 0);
}

static void test_callbacks_do_not_wait_for_claims(void **state)
{
    struct world *w = *state;
    size_t n;

    start(w, HIGH, 1, 0);
    add(w, HIGH, 0, 0, 1);
    assert_non_null(take(w, 1));
    fake_assign(CALLBACKS, 1);
    answer(w, KAFKA_BEGINNING);
    add_callbacks(0, 0, 1);
    intake_callbacks(w->intake, 10, &n);
    assert_int_equal(n, 1);
    intake_callbacks_done(w->intake);
    tick(w);
    assert_int_equal(CALLBACKS->commits, 1);
    fake_commit_end(CALLBACKS, true);
    done(w);
}

static void test_deleted_callbacks(void **state)
{
    struct world *w = *state;
    int64_t stopped = metric_get(M_INTAKE_STOPPED);
    size_t n;

    CALLBACKS->parts[0].committed = 7;
    add_callbacks(0, 90, 2);
    fake_assign(CALLBACKS, 1);
    answer(w, KAFKA_BEGINNING);
    CALLBACKS->spec.on_lost_offset(CALLBACKS->spec.arg, CALLBACKS->topic, 0);
    assert_int_equal(CALLBACKS->parts[0].from, KAFKA_BEGINNING);
    assert_int_equal(metric_get(M_INTAKE_STOPPED), stopped);
    intake_callbacks(w->intake, 10, &n); /* what is left is read */
    assert_int_equal(n, 2);
    intake_callbacks_done(w->intake);
}

/* --- the end --- */

static void test_stop(void **state)
{
    struct world *w = *state;
    size_t n;

    start(w, HIGH, 1, 0);
    fake_assign(CALLBACKS, 1);
    answer(w, KAFKA_BEGINNING);
    add(w, HIGH, 0, 0, 20);
    add_callbacks(0, 0, 5);
    assert_non_null(take(w, 5));
    intake_stop(w->intake);
    assert_int_equal(HIGH->commits, 0);
    assert_false(intake_quiet(w->intake));
    done(w);
    assert_null(take(w, 5));
    intake_callbacks(w->intake, 5, &n);
    assert_int_equal(n, 0);
    tick(w);
    assert_int_equal(HIGH->flying[0].offset, 5);
    fake_commit_end(HIGH, true);
    assert_true(intake_quiet(w->intake));
}

/* Kafka is away at the end: the claims are in Postgres, nobody waits. */
static void test_stop_without_kafka(void **state)
{
    struct world *w = *state;
    size_t of[PRIORITIES_N] = {0};

    start(w, HIGH, 1, 0);
    add(w, HIGH, 0, 0, 5);
    take_all(w, 5, of);
    intake_stop(w->intake);
    assert_int_equal(HIGH->commits, 1);
    fake_commit_end(HIGH, false);
    assert_true(intake_quiet(w->intake));
}

/* Postgres' place counts where it is the earlier one, and when it goes back. */
static void test_callbacks_that_postgres_forgot(void **state)
{
    struct world *w = *state;
    struct kafka_position at[2];
    size_t n;

    add_callbacks(0, 0, 20);
    CALLBACKS->parts[0].committed = 9;
    fake_assign(CALLBACKS, 1);
    answer(w, 12); /* later than the group: Kafka had not heard of them */
    assert_int_equal(CALLBACKS->parts[0].from, 9);
    fake_revoke(CALLBACKS);
    fake_assign(CALLBACKS, 1);
    answer(w, 4);
    assert_int_equal(CALLBACKS->parts[0].from, 4);
    assert_int_equal(intake_callbacks_moved(w->intake, at, 2), 0);
    intake_callbacks(w->intake, 10, &n);
    intake_callbacks_done(w->intake);
    assert_int_equal(intake_callbacks_moved(w->intake, at, 2), 1);
    assert_int_equal(at[0].offset, 14);
    intake_callbacks_told(w->intake);
    assert_int_equal(intake_callbacks_moved(w->intake, at, 2), 0);
    intake_callbacks(w->intake, 3, &n);
    intake_doubt(w->intake);
    answer(w, 6);
    assert_int_equal(CALLBACKS->parts[0].from, 6);
    intake_callbacks_done(w->intake); /* of before: moves nothing */
    assert_int_equal(intake_callbacks_moved(w->intake, at, 2), 0);
    intake_callbacks(w->intake, 100, &n);
    assert_int_equal(n, 14);
    intake_callbacks_done(w->intake);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_credit_is_never_passed),
        TEST(test_a_batch_is_bounded),
        TEST(test_weights),
        TEST(test_weights_of_small_credits),
        TEST(test_idle_pools_lend),
        TEST(test_an_idle_pool_saves_nothing),
        TEST(test_borrowing_goes_high_first),
        TEST(test_a_flood_of_nothing),
        TEST(test_commits_follow_the_claim),
        TEST(test_one_commit_at_a_time),
        TEST(test_a_failed_commit_is_repeated),
        TEST(test_revoked_while_a_batch_is_out),
        TEST(test_callbacks_go_on_where_the_group_was),
        TEST(test_callbacks_that_postgres_forgot),
        TEST(test_callbacks),
        TEST(test_callbacks_do_not_wait_for_claims),
        TEST(test_deleted_callbacks),
        TEST(test_stop),
        TEST(test_stop_without_kafka),
    };

    log_open("test_intake_share", LOG_ERROR, false);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
