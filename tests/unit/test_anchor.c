/*
 * Anchors against a real server: they follow one another without a gap, cover
 * what has ended and nothing that may still grow, and two makers share them.
 * FOLENI_TEST_CONNINFO comes from tests/unit/run.
 */
#include "consumer/anchor.h"

#include "common/clock.h"
#include "tests/unit/ledger.h"

// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
// clang-format on

#define WAIT_MAX_US (30 * US_PER_S)
#define APPEND                                                        \
    "INSERT INTO timeline (payment, version, state, waits, attempt, " \
    "cause, tx, hash) SELECT gen_random_uuid(), 1, 1, 0, 1, 1, "      \
    "pg_current_xact_id()::text::int8, sha256(n::text::bytea) "       \
    "FROM generate_series(1, %d) AS n"

struct fixture {
    struct loop *loop;
    struct config cfg;
    struct pg_session *s, *other;
    struct anchor *a, *b;
};

static int make_database(void **state)
{
    (void)state;
    return ledger_make("foleni_anchor");
}

static int set_up(void **state)
{
    struct fixture *f = NEW(struct fixture);

    f->cfg = (struct config){.database_conninfo = ledger_conninfo,
                             .database_password = "",
                             .worker_anchor_ms = 100};
    f->loop = loop_new();
    f->s = ledger_session(ledger_conninfo);
    f->other = ledger_session(ledger_conninfo);
    ledger_run(f->s, "TRUNCATE timeline, operator_actions, anchors");
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    anchor_free(f->a);
    anchor_free(f->b);
    pg_session_close(f->s);
    pg_session_close(f->other);
    loop_free(f->loop);
    free(f);
    return 0;
}

static int64_t covered(struct fixture *f)
{
    return ledger_ask(f->s, "SELECT coalesce(sum(timeline_n), 0) FROM anchors");
}

static void turn_until_covered(struct fixture *f, int64_t n)
{
    int64_t end_us = clock_now_us() + WAIT_MAX_US;

    while (covered(f) != n && clock_now_us() < end_us)
        loop_once(f->loop, US_PER_S / 100);
    assert_int_equal(covered(f), n);
}

static void turn_until_anchors(struct fixture *f, int64_t more)
{
    int64_t end_us = clock_now_us() + WAIT_MAX_US;
    int64_t want = ledger_ask(f->s, "SELECT count(*) FROM anchors") + more;

    while (ledger_ask(f->s, "SELECT count(*) FROM anchors") < want) {
        if (clock_now_us() > end_us)
            fail_msg("no anchor");
        loop_once(f->loop, US_PER_S / 100);
    }
}

/* Anchors that do not follow the one before. */
static int64_t gaps(struct fixture *f)
{
    return ledger_ask(f->s, "SELECT count(*) FROM (SELECT number, from_tx, "
                            "lag(to_tx, 1, 1::bigint) OVER w AS was, "
                            "row_number() OVER w AS n FROM anchors "
                            "WINDOW w AS (ORDER BY number)) AS a "
                            "WHERE number <> n OR from_tx <> was");
}

static void an_anchor_covers_what_was_appended(void **state)
{
    struct fixture *f = *state;

    ledger_runf(f->s, APPEND, 10);
    f->a = anchor_new(f->loop, &f->cfg);
    turn_until_covered(f, 10);
    ledger_runf(f->s, APPEND, 5);
    ledger_run(f->s, "SELECT audit_operator('a', 'b', 'c', 'd', NULL, NULL)");
    turn_until_covered(f, 15);
    turn_until_anchors(f, 1);
    assert_int_equal(
        ledger_ask(f->s, "SELECT sum(actions_n)::int8 FROM anchors"), 1);
    assert_int_equal(gaps(f), 0);
}

/* What an open transaction appended stands below what has been committed. */
static void an_open_transaction_is_waited_for(void **state)
{
    struct fixture *f = *state;

    ledger_run(f->other, "BEGIN");
    ledger_runf(f->other, APPEND, 3);
    ledger_runf(f->s, APPEND, 4);
    f->a = anchor_new(f->loop, &f->cfg);
    turn_until_anchors(f, 3);
    assert_int_equal(covered(f), 0);
    ledger_run(f->other, "COMMIT");
    turn_until_covered(f, 7);
    assert_int_equal(gaps(f), 0);
}

static void two_makers_make_one_chain(void **state)
{
    struct fixture *f = *state;

    f->a = anchor_new(f->loop, &f->cfg);
    f->b = anchor_new(f->loop, &f->cfg);
    for (int i = 1; i <= 5; i++) {
        ledger_runf(f->s, APPEND, 2);
        turn_until_covered(f, 2 * i);
    }
    assert_int_equal(gaps(f), 0);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(an_anchor_covers_what_was_appended),
        TEST(an_open_transaction_is_waited_for),
        TEST(two_makers_make_one_chain),
    };

    return cmocka_run_group_tests(tests, make_database, NULL);
}
