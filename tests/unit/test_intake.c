/*
 * The intake on a Kafka in memory: where it begins, when it stops, and what it
 * makes of records. Shares and commits are test_intake_share.c's, a real
 * consumer is test_intake_kafka.c's.
 */
#include "consumer/intake.h"

#include "common/log.h"
#include "common/metrics.h"
#include "tests/unit/intake_world.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* --- where it begins --- */

static void test_groups(void **state)
{
    struct world *w = *state;

    assert_int_equal(fakes_n, 4);
    assert_string_equal(HIGH->group, "t.foleni.high");
    assert_string_equal(HIGH->topic, "t.payments.requests.high");
    assert_string_equal(LOW->group, "t.foleni.low");
    assert_string_equal(CALLBACKS->group, "t.foleni.callbacks");
    assert_string_equal(CALLBACKS->topic, "t.payments.callbacks");
    assert_int_equal(intake_pools(w->intake), 7);
}

static void test_one_pool(void **state)
{
    struct world *w = *state;
    size_t of[PRIORITIES_N] = {0};

    assert_int_equal(fakes_n, 2);
    assert_int_equal(intake_pools(w->intake), 1u << PRIORITY_LOW);
    start(w, fakes[0], 1, KAFKA_BEGINNING);
    add(w, fakes[0], 0, 0, 20);
    assert_int_equal(take_all(w, 7, of), 7); /* all credit is its own */
    assert_int_equal(of[PRIORITY_LOW], 7);
}

static void test_nothing_before_postgres_has_spoken(void **state)
{
    struct world *w = *state;
    struct intake_batch *b;
    unsigned old;

    add(w, HIGH, 0, 0, 10);
    fake_assign(HIGH, 2);
    assert_int_equal(w->asked, 1);
    assert_int_equal(w->group, PRIORITY_HIGH);
    assert_int_equal(w->positions_n, 2);
    assert_false(HIGH->parts[0].started);
    assert_null(take(w, 100));
    old = w->generation;
    fake_revoke(HIGH);
    fake_assign(HIGH, 2);
    assert_int_not_equal(w->generation, old);
    intake_start(w->intake, w->group, old, "1/1", w->positions,
                 2); /* too late */
    assert_false(HIGH->parts[0].started);
    answer(w, 4);
    assert_true(HIGH->parts[0].started && HIGH->parts[1].started);
    b = take(w, 100);
    assert_int_equal(b->rows_n, 6);
    assert_int_equal(b->rows[0].offset, 4);
    assert_int_equal(b->rows[5].offset, 9);
    done(w);
}

static void test_asks_again(void **state)
{
    struct world *w = *state;

    fake_assign(HIGH, 1);
    fake_assign(NORMAL, 1);
    assert_int_equal(w->asked, 2);
    answer(w, 0); /* normal's */
    intake_ask_again(w->intake);
    assert_int_equal(w->asked, 3);
    assert_int_equal(w->group, PRIORITY_HIGH);
    answer(w, 0);
    intake_ask_again(w->intake);
    assert_int_equal(w->asked, 3);
    fake_assign(LOW, 1);
    fake_revoke(LOW); /* an answer is of no use any more */
    intake_ask_again(w->intake);
    assert_int_equal(w->asked, 4);
}

/* Asked twice, answered twice: the second answer is an old position. */
static void test_a_second_answer(void **state)
{
    struct world *w = *state;
    size_t of[PRIORITIES_N] = {0};
    struct intake_batch *b;

    add(w, HIGH, 0, 0, 20);
    fake_assign(HIGH, 1);
    intake_ask_again(w->intake);
    assert_int_equal(w->asked, 2);
    answer(w, 0);
    assert_int_equal(take_all(w, 5, of), 5);
    answer(w, 0);
    b = take(w, 5);
    assert_int_equal(b->rows[0].offset, 5);
    done(w);
}

/* --- when it stops (rule S2) --- */

static void test_postgres_has_forgotten(void **state)
{
    static const struct {
        int64_t committed, intake;
        bool stops;
    } cases[] = {
        {-1, KAFKA_BEGINNING, false},
        {0, KAFKA_BEGINNING, false},
        {1, KAFKA_BEGINNING, true},
        {-1, 7, false},
        {6, 7, false},
        {7, 7, false},
        {8, 7, true},
    };
    struct world *w = *state;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int64_t stopped = metric_get(M_INTAKE_STOPPED);
        struct health row;

        HIGH->parts[1].committed = cases[i].committed;
        start(w, HIGH, 3, cases[i].intake);
        assert_int_equal(HIGH->parts[1].started, !cases[i].stops);
        assert_true(HIGH->parts[0].started && HIGH->parts[2].started);
        assert_int_equal(metric_get(M_INTAKE_STOPPED) - stopped,
                         cases[i].stops);
        assert_int_equal(intake_health(w->intake, &row, 1), 1);
        assert_int_equal(row.ok, !cases[i].stops);
        fake_revoke(HIGH);
    }
}

/* What tells of the loss must not be overwritten. */
static void test_a_stopped_partition_commits_nothing(void **state)
{
    struct world *w = *state;
    size_t of[PRIORITIES_N] = {0};

    HIGH->parts[0].committed = 50;
    add(w, HIGH, 1, 0, 6);
    start(w, HIGH, 2, 0);
    take_all(w, 3, of);
    tick(w);
    fake_commit_end(HIGH, true);
    assert_int_equal(HIGH->parts[0].committed, 50);
    take_all(w, 3, of);
    tick(w);
    fake_commit_end(HIGH, false);
    tick(w);
    fake_commit_end(HIGH, true);
    assert_int_equal(HIGH->parts[0].committed, 50);
    assert_int_equal(HIGH->parts[1].committed, 6);
}

/* Another Postgres answers, and knows less than this process claimed: Kafka is
   told how far it was, for who recovers it. */
static void test_postgres_forgets_at_run_time(void **state)
{
    struct world *w = *state;
    int64_t stopped = metric_get(M_INTAKE_STOPPED);
    size_t of[PRIORITIES_N] = {0};

    add(w, HIGH, 0, 0, 20);
    add(w, HIGH, 1, 0, 20);
    start(w, HIGH, 2, 0);
    assert_int_equal(take_all(w, 30, of), 30); /* 20 of 0, 10 of 1 */
    assert_non_null(take(w, 5));
    intake_doubt(w->intake);
    assert_false(intake_sure(w->intake));
    w->positions[0].offset = 20;
    w->positions[1].offset = 7;
    intake_start(w->intake, w->group, w->generation, "1/2", w->positions, 2);
    assert_true(intake_sure(w->intake));
    assert_int_equal(w->forgotten, 1);
    assert_int_equal(metric_get(M_INTAKE_STOPPED), stopped + 1);
    assert_null(take(w, 5)); /* 0 is at its end, 1 is stopped */
    tick(w);
    assert_int_equal(HIGH->flying_n, 2);
    fake_commit_end(HIGH, true);
    assert_int_equal(HIGH->parts[1].committed, 10);
    assert_string_equal(HIGH->parts[0].metadata, "1/2");
    assert_string_equal(HIGH->parts[1].metadata, "1/1"); /* till recovered */
    w->asked = 0;
    for (int i = 0; i < 12; i++)
        tick(w);
    assert_true(w->asked > 0); /* somebody may have recovered it */
    answer(w, 20);
    assert_int_equal(HIGH->parts[1].from, 20);
    add(w, HIGH, 1, 20, 2);
    assert_int_equal(take_all(w, 9, of), 2);
    assert_int_equal(metric_get(M_INTAKE_STOPPED), stopped + 1);
}

/* The others go on, and their claims leave `intake` of the stopped one where it
   is: else what was forgotten would be passed over by the next claim. */
static void test_claims_pass_over_nothing_forgotten(void **state)
{
    struct world *w = *state;
    const struct intake_batch *b;
    size_t of[PRIORITIES_N] = {0};

    add(w, HIGH, 0, 0, 30);
    add(w, HIGH, 1, 0, 10);
    start(w, HIGH, 2, 0);
    assert_int_equal(take_all(w, 40, of), 40);
    intake_doubt(w->intake);
    w->positions[0].offset = 30;
    w->positions[1].offset = 7;
    intake_start(w->intake, w->group, w->generation, "1/2", w->positions, 2);
    add(w, HIGH, 0, 30, 5);
    b = take(w, 5);
    assert_non_null(b);
    assert_int_equal(position(b, TOPIC_HIGH, 0)->offset, 35);
    assert_null(position(b, TOPIC_HIGH, 1));
    done(w);
    tick(w);
    fake_commit_end(HIGH, true);
    assert_int_equal(HIGH->parts[1].committed, 10); /* Kafka is told of it */
}

/* A recorder shows pushes that neither Postgres nor Kafka's group knows of. */
static void test_a_recorder_knows_more(void **state)
{
    struct world *w = *state;
    int64_t stopped = metric_get(M_INTAKE_STOPPED);
    unsigned recovered = intake_recovered(w->intake);
    size_t of[PRIORITIES_N] = {0};

    intake_recall(w->intake, TOPIC_HIGH, 1, 12); /* before it is assigned */
    intake_recall(w->intake, TOPIC_HIGH, 1, 9);
    intake_recall(w->intake, TOPIC_LOW, 0, 5); /* another pool's */
    add(w, HIGH, 0, 0, 20);
    start(w, HIGH, 2, 10);
    assert_int_equal(intake_stopped(w->intake), 1);
    assert_int_equal(metric_get(M_INTAKE_STOPPED), stopped + 1);
    assert_int_equal(take_all(w, 5, of), 5);
    tick(w);
    fake_commit_end(HIGH, true);
    assert_int_equal(HIGH->parts[1].committed, 12); /* for `recover` */
    intake_recall(w->intake, TOPIC_HIGH, 0, 17);    /* and at run time */
    intake_doubt(w->intake);
    w->positions[0].offset = 15;
    w->positions[1].offset = 12;
    intake_start(w->intake, w->group, w->generation, "1/2", w->positions, 2);
    assert_int_equal(intake_stopped(w->intake), 1);
    assert_int_equal(intake_recovered(w->intake), recovered + 1);
    intake_doubt(w->intake);
    answer(w, 17);
    assert_int_equal(intake_stopped(w->intake), 0);
}

/* Its worker died before Kafka heard of the claims, and no record follows. */
static void test_kafka_is_told_what_it_missed(void **state)
{
    struct world *w = *state;

    HIGH->parts[0].committed = 3;
    start(w, HIGH, 2, 7);
    tick(w);
    assert_int_equal(HIGH->flying_n, 2);
    fake_commit_end(HIGH, false);
    tick(w);
    fake_commit_end(HIGH, true);
    assert_int_equal(HIGH->parts[0].committed, 7);
    assert_int_equal(HIGH->parts[1].committed, 7);
    assert_string_equal(HIGH->parts[0].metadata, "1/1");
    tick(w);
    assert_int_equal(HIGH->commits, 2);
}

/* The batch in hand goes on where nothing was lost. */
static void test_postgres_was_only_away(void **state)
{
    struct world *w = *state;
    size_t of[PRIORITIES_N] = {0};

    add(w, HIGH, 0, 0, 20);
    start(w, HIGH, 1, 0);
    assert_int_equal(take_all(w, 5, of), 5);
    assert_non_null(take(w, 5));
    intake_doubt(w->intake);
    answer(w, 10); /* its claim was committed, and the answer lost */
    assert_int_equal(w->forgotten, 0);
    done(w);
    assert_int_equal(HIGH->parts[0].from, 0); /* reads on */
    assert_int_equal(take_all(w, 100, of), 10);
}

static void test_nothing_is_taken_in_doubt(void **state)
{
    struct world *w = *state;
    size_t of[PRIORITIES_N] = {0};

    add(w, HIGH, 0, 0, 20);
    start(w, HIGH, 1, 0);
    intake_doubt(w->intake);
    assert_null(take(w, 5));
    answer(w, 0);
    assert_int_equal(take_all(w, 5, of), 5);
}

static void test_requests_were_deleted_unclaimed(void **state)
{
    struct world *w = *state;
    int64_t stopped = metric_get(M_INTAKE_STOPPED);
    struct intake_batch *b;

    add(w, HIGH, 0, 5, 3); /* 0 to 4 are gone */
    add(w, HIGH, 1, 0, 3); /* ... and here 3 to 5 */
    add(w, HIGH, 1, 6, 3);
    add(w, HIGH, 2, 0, 2);
    start(w, HIGH, 3, KAFKA_BEGINNING);
    b = take(w, 100);
    assert_int_equal(b->rows_n, 5);
    assert_int_equal(metric_get(M_INTAKE_STOPPED), stopped + 2);
    assert_null(position(b, TOPIC_HIGH, 0));
    assert_int_equal(position(b, TOPIC_HIGH, 1)->offset, 3);
    assert_int_equal(position(b, TOPIC_HIGH, 2)->offset, 2);
    done(w);
    assert_null(take(w, 100));
    add(w, HIGH, 0, 8, 1);
    add(w, HIGH, 2, 2, 1);
    b = take(w, 100);
    assert_int_equal(b->rows_n, 1); /* the others go on */
    done(w);
}

static void test_a_position_outside_the_log(void **state)
{
    struct world *w = *state;
    int64_t stopped = metric_get(M_INTAKE_STOPPED);

    start(w, HIGH, 2, 500);
    HIGH->spec.on_lost_offset(HIGH->spec.arg, HIGH->topic, 1);
    assert_int_equal(metric_get(M_INTAKE_STOPPED), stopped + 1);
    add(w, HIGH, 1, 500, 1);
    assert_null(take(w, 100));
    HIGH->spec.on_lost_offset(HIGH->spec.arg, HIGH->topic, 2); /* not ours */
    assert_int_equal(metric_get(M_INTAKE_STOPPED), stopped + 1);
}

/* --- what it makes of records --- */

static void test_a_row(void **state)
{
    struct world *w = *state;
    struct intake_batch *b;
    const struct claim_row *row;

    add(w, NORMAL, 2, 41, 1);
    start(w, NORMAL, 3, 41);
    b = take(w, 100);
    assert_int_equal(b->rows_n, 1);
    row = &b->rows[0];
    assert_int_equal(row->topic, TOPIC_NORMAL);
    assert_int_equal(row->partition, 2);
    assert_int_equal(row->offset, 41);
    assert_int_equal(row->req.msisdn, 254708374149);
    assert_int_equal(row->req.requested_at, NOW_AT - 5 * US_PER_S);
    assert_int_equal(row->deadline_at, NOW_AT + 895 * US_PER_S);
    assert_int_equal(b->records[0]->offset, 41);
    assert_int_equal(b->bad_n, 0);
    assert_int_equal(b->positions_n, 1);
    assert_int_equal(position(b, TOPIC_NORMAL, 2)->offset, 42);
    assert_null(take(w, 100)); /* one batch at a time */
    done(w);
}

static void test_the_same_id_twice(void **state)
{
    struct world *w = *state;
    int64_t same = metric_get(M_RECORDS_SAME);
    struct intake_batch *b;

    add_named(w, HIGH, 0, 0, "a", 100);
    add_named(w, HIGH, 0, 1, "a", 100);
    add_named(w, HIGH, 0, 2, "b", 100);
    add_named(w, HIGH, 0, 3, "a", 250); /* the key, another content */
    add_named(w, HIGH, 0, 4, "a", 100);
    start(w, HIGH, 1, 0);
    b = take(w, 100);
    assert_int_equal(b->rows_n, 2);
    assert_int_equal(b->rows[0].offset, 0);
    assert_int_equal(b->rows[1].offset, 2);
    assert_int_equal(metric_get(M_RECORDS_SAME), same + 2);
    assert_int_equal(b->bad_n, 1);
    assert_int_equal(b->bad[0].record->offset, 3);
    assert_string_equal(b->bad[0].fault->code, "key_conflict");
    assert_int_equal(position(b, TOPIC_HIGH, 0)->offset, 5);
    done(w);
}

static void test_bad_records_are_set_aside(void **state)
{
    struct world *w = *state;
    int64_t bad = metric_get(M_RECORDS_BAD);
    struct intake_batch *b;

    fake_add(HIGH, 0, 0, "k", "not JSON");
    add(w, HIGH, 0, 1, 1);
    fake_add(HIGH, 0, 2, "", "");
    add(w, HIGH, 0, 3, 1);
    HIGH->parts[0].log[3]->key[11] = '0'; /* another phone than the value's */
    start(w, HIGH, 1, 0);
    b = take(w, 100);
    assert_int_equal(b->rows_n, 1);
    assert_int_equal(b->bad_n, 3);
    assert_int_equal(metric_get(M_RECORDS_BAD), bad + 3);
    assert_string_equal(b->bad[0].fault->code, "unknown_client");
    assert_memory_equal(b->bad[0].record->value, "not JSON", 8);
    assert_string_equal(b->bad[2].fault->code, "bad_key");
    assert_int_equal(position(b, TOPIC_HIGH, 0)->offset, 4);
    done(w);
}

static void test_only_bad_records_are_a_batch_too(void **state)
{
    struct world *w = *state;
    struct intake_batch *b;

    fake_add(LOW, 0, 0, "k", "{}");
    start(w, LOW, 1, 0);
    b = take(w, 1);
    assert_non_null(b);
    assert_int_equal(b->rows_n, 0);
    assert_int_equal(b->bad_n, 1);
    assert_int_equal(position(b, TOPIC_LOW, 0)->offset, 1);
    done(w);
}

static void test_a_row_that_the_database_refuses(void **state)
{
    struct world *w = *state;
    struct fault fault = {.code = "refused_by_database"};
    struct intake_batch *b;

    add(w, HIGH, 0, 0, 3);
    start(w, HIGH, 1, 0);
    b = take(w, 100);
    intake_refuse(w->intake, 1, &fault);
    assert_int_equal(b->rows_n, 2);
    assert_int_equal(b->rows[1].offset, 2);
    assert_int_equal(b->records[1]->offset, 2);
    assert_int_equal(b->bad_n, 1);
    assert_int_equal(b->bad[0].record->offset, 1);
    assert_string_equal(b->bad[0].fault->code, "refused_by_database");
    done(w);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_groups),
        cmocka_unit_test_setup_teardown(test_one_pool, set_up_low, tear_down),
        TEST(test_nothing_before_postgres_has_spoken),
        TEST(test_asks_again),
        TEST(test_a_second_answer),
        TEST(test_postgres_has_forgotten),
        TEST(test_a_stopped_partition_commits_nothing),
        TEST(test_postgres_forgets_at_run_time),
        TEST(test_claims_pass_over_nothing_forgotten),

        TEST(test_a_recorder_knows_more),
        TEST(test_kafka_is_told_what_it_missed),
        TEST(test_postgres_was_only_away),
        TEST(test_nothing_is_taken_in_doubt),
        TEST(test_requests_were_deleted_unclaimed),
        TEST(test_a_position_outside_the_log),
        TEST(test_a_row),
        TEST(test_the_same_id_twice),
        TEST(test_bad_records_are_set_aside),
        TEST(test_only_bad_records_are_a_batch_too),
        TEST(test_a_row_that_the_database_refuses),
    };

    log_open("test_intake", LOG_ERROR, false);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
