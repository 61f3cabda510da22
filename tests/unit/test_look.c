/*
 * The ledger as the API reads it, on a real server.
 */
#include "producer/look.h"

#include "common/clock.h"
#include "common/log.h"
#include "tests/unit/ledger.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define PATIENCE_US (60 * US_PER_S)
#define LOOKS 1200

struct world {
    struct loop *loop;
    struct config cfg;
    struct pg_session *other;
    struct look *look;
    int found, missing, failed;
    struct payment last;
};

#define WAIT(w, cond)                                   \
    do {                                                \
        int64_t end_us_ = clock_now_us() + PATIENCE_US; \
        while (!(cond) && clock_now_us() < end_us_)     \
            loop_once((w)->loop, 10 * US_PER_MS);       \
        assert_true(cond);                              \
    } while (0)

static int make_database(void **state)
{
    (void)state;
    return ledger_make("foleni_look");
}

static int set_up(void **state)
{
    struct world *w = NEW(struct world);

    w->other = ledger_session(ledger_conninfo);
    ledger_run(w->other, "TRUNCATE payments");
    w->loop = loop_new();
    w->cfg = (struct config){.database_conninfo = ledger_conninfo,
                             .database_password = ""};
    w->look = look_new(w->loop, &w->cfg);
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;

    look_free(w->look);
    pg_session_close(w->other);
    loop_free(w->loop);
    free(w);
    return 0;
}

static void on_looked(void *arg, const struct payment *p, const struct err *err)
{
    struct world *w = arg;

    assert_false(p && err);
    w->failed += err != NULL;
    w->missing += !p && !err;
    w->found += p != NULL;
    if (p)
        w->last = *p;
}

static void look_at(struct world *w, int n)
{
    char text[UUID_TEXT_SIZE];
    struct uuid id;
    struct err err;

    snprintf(text, sizeof(text), "00000000-0000-4000-8000-%012d", n);
    must(!uuid_parse(text, 36, &id, &err));
    look_payment(w->look, &id, on_looked, w);
}

static void test_found_and_missing(void **state)
{
    struct world *w = *state;
    char note[200];

    ledger_payment(w->other, 7, PAYMENT_PROMPTED, 0);
    WAIT(w, look_up(w->look, note, sizeof(note)));
    look_at(w, 7);
    assert_int_equal(w->found, 0); /* never inside the call */
    WAIT(w, w->found == 1);
    assert_int_equal(w->last.state, PAYMENT_PROMPTED);
    assert_int_equal(w->last.req.msisdn, 254708000007);
    assert_string_equal(w->last.req.reference, "INV1");
    look_at(w, 8);
    WAIT(w, w->missing == 1);
    assert_true(look_latency_us(w->look) >= 0);
    assert_int_equal(w->failed, 0);
}

static void test_the_server_is_away(void **state)
{
    struct world *w = *state;
    char note[200];

    WAIT(w, look_up(w->look, note, sizeof(note)));
    look_free(w->look);
    w->cfg.database_conninfo = "host=/nonexistent dbname=x";
    loop_free(w->loop);
    w->loop = loop_new();
    w->look = look_new(w->loop, &w->cfg);
    look_at(w, 7);
    assert_int_equal(w->failed, 0);
    WAIT(w, w->failed == 1);
    assert_false(look_up(w->look, note, sizeof(note)));
    assert_string_not_equal(note, "");
    assert_int_equal(look_latency_us(w->look), -1);
}

/* More than may be in flight: the others hear of it, each once. */
static void test_too_many(void **state)
{
    struct world *w = *state;

    ledger_payment(w->other, 7, PAYMENT_PROMPTED, 0);
    WAIT(w, look_up(w->look, NULL, 0));
    for (int i = 0; i < LOOKS; i++)
        look_at(w, 7);
    assert_int_equal(w->found + w->missing + w->failed, 0);
    WAIT(w, w->found + w->missing + w->failed == LOOKS);
    assert_int_equal(w->found, 1000);
    assert_int_equal(w->failed, LOOKS - 1000);
}

static void test_a_connection_that_dies(void **state)
{
    struct world *w = *state;

    ledger_payment(w->other, 7, PAYMENT_PROMPTED, 0);
    WAIT(w, look_up(w->look, NULL, 0));
    ledger_run(w->other, "BEGIN; LOCK TABLE payments");
    look_at(w, 7);
    loop_once(w->loop, 0);
    loop_once(w->loop, 0);
    ledger_run(w->other, "SELECT pg_terminate_backend(pid) FROM "
                         "pg_stat_activity WHERE application_name = "
                         "'foleni-api'");
    WAIT(w, w->failed == 1);
    ledger_run(w->other, "COMMIT");
    WAIT(w, look_up(w->look, NULL, 0));
    look_at(w, 7);
    WAIT(w, w->found == 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_found_and_missing),
        TEST(test_the_server_is_away),
        TEST(test_too_many),
        TEST(test_a_connection_that_dies),
    };

    log_open("test_look", LOG_ERROR, false);
    return cmocka_run_group_tests(tests, make_database, NULL);
}
