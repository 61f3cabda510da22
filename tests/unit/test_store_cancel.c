/*
 * Cancels as the worker's statements meet them, against a real server: the
 * claim that finds one, the look at what is asked for, and the claim of the
 * very moment, which whoever asks has to wait for.
 */
#include "common/clock.h"
#include "consumer/store.h"
#include "producer/look.h"
#include "tests/unit/ledger.h"

// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
// clang-format on

#define WAIT_MAX_US (60 * US_PER_S)
#define MINUTE_US (60 * US_PER_S)
#define CLIENT 1 /* first byte of its id; the others are 0 */
#define OTHER 2

struct fixture {
    struct loop *loop;
    struct config cfg;
    struct store *store;
    struct look *look;
    struct pg_session *other;
    int done;
    struct cancel_row cancel; /* the first of the last look */
    size_t cancels_n;
    bool noted;
    struct look_cancel seen;
    struct payment payment; /* of `seen` */
};

static int make(void **state)
{
    (void)state;
    return ledger_make("foleni_cancel");
}

static bool up(const struct fixture *f)
{
    return store_up(f->store, NULL, 0) && look_up(f->look, NULL, 0);
}

static void turn_until(struct fixture *f, int wanted)
{
    int64_t end_us = clock_now_us() + WAIT_MAX_US;

    while ((f->done < wanted || !up(f)) && clock_now_us() < end_us)
        loop_once(f->loop, US_PER_S);
    assert_int_equal(f->done, wanted);
}

static int set_up(void **state)
{
    struct fixture *f = NEW(struct fixture);

    f->other = ledger_session(ledger_conninfo);
    ledger_run(f->other, "TRUNCATE payments, timeline, cancels");
    f->cfg = (struct config){
        .database_conninfo = ledger_conninfo,
        .database_password = "",
        .worker_lease_ms = 15000,
        .gate_total_timeout_ms = 60000,
        .payments_same_amount_gap_ms = 120000,
    };
    f->loop = loop_new();
    f->store = store_new(f->loop, &f->cfg, NULL, NULL);
    store_set_owner(f->store, 1);
    f->look = look_new(f->loop, &f->cfg);
    turn_until(f, 0);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    store_free(f->store);
    look_free(f->look);
    pg_session_close(f->other);
    loop_free(f->loop);
    free(f);
    return 0;
}

/* --- calls that wait --- */

static void on_claim(void *arg, const struct err *err)
{
    struct fixture *f = arg;

    assert_null(err);
    f->done++;
}

static struct claim_row request(int n)
{
    struct claim_row row = {
        .req = {.client = {{CLIENT}},
                .msisdn = INT64_C(254700000000) + n,
                .amount = 100,
                .shortcode = 174379,
                .priority = PRIORITY_NORMAL,
                .reference = "INV7",
                .description = "Payment"},
        .topic = TOPIC_NORMAL,
        .offset = n,
    };

    row.req.requested_at = clock_wall_at();
    row.deadline_at = row.req.requested_at + 15 * MINUTE_US;
    row.req.id.b[15] = (uint8_t)n;
    return row;
}

static void claim(struct fixture *f, struct claim_row *rows, size_t n)
{
    struct kafka_position at = {.topic = "t", .offset = 1};

    store_claim(f->store, rows, n, &at, 1, on_claim, f);
    turn_until(f, f->done + 1);
}

static void on_asked(void *arg, bool noted, const struct err *err)
{
    struct fixture *f = arg;

    assert_null(err);
    f->noted = noted;
    f->done++;
}

static bool ask(struct fixture *f, const struct claim_row *row, uint8_t client)
{
    struct uuid who = {{client}};

    look_ask_cancel(f->look, &row->req.id, &who, "cancelled by it", 10,
                    on_asked, f);
    turn_until(f, f->done + 1);
    return f->noted;
}

static void on_cancels(void *arg, const struct cancel_row *rows, size_t n,
                       const struct err *err)
{
    struct fixture *f = arg;

    assert_null(err);
    f->cancels_n = n;
    if (n)
        f->cancel = rows[0];
    f->done++;
}

static size_t scan(struct fixture *f)
{
    store_cancels(f->store, 10, on_cancels, f);
    turn_until(f, f->done + 1);
    return f->cancels_n;
}

static void on_seen(void *arg, const struct look_cancel *c,
                    const struct err *err)
{
    struct fixture *f = arg;

    assert_null(err);
    f->seen = *c;
    if (c->payment)
        f->payment = *c->payment;
    f->done++;
}

static const struct look_cancel *see(struct fixture *f,
                                     const struct claim_row *row, int64_t tx)
{
    struct uuid who = {{CLIENT}};

    look_cancel(f->look, &row->req.id, &who, tx, on_seen, f);
    turn_until(f, f->done + 1);
    return &f->seen;
}

/* --- tests --- */

static void what_was_cancelled_before_is_never_pushed(void **state)
{
    struct fixture *f = *state;
    struct claim_row rows[] = {request(1), request(2), request(3), request(4)};

    rows[2].park = true;
    rows[3].deadline_at = clock_wall_at() - 1;
    assert_true(ask(f, &rows[0], CLIENT));
    assert_true(ask(f, &rows[1], OTHER)); /* not theirs to cancel */
    assert_true(ask(f, &rows[2], CLIENT));
    assert_true(ask(f, &rows[3], CLIENT));
    claim(f, rows, 4);
    assert_int_equal(rows[0].verdict, CLAIM_CANCELLED);
    assert_int_equal(rows[1].verdict, CLAIM_GO);
    assert_int_equal(rows[2].verdict, CLAIM_CANCELLED);
    assert_int_equal(rows[3].verdict, CLAIM_CANCELLED);
    see(f, &rows[0], 0);
    assert_int_equal(f->payment.state, PAYMENT_CANCELLED);
    assert_int_equal(f->payment.class, RESULT_WITHDRAWN);
    assert_string_equal(f->payment.code, "cancelled");
    assert_string_equal(f->payment.text, "cancelled by it");
    assert_string_equal(rows[0].payment.text, "cancelled by it");
    assert_int_equal(f->payment.version, rows[0].payment.version);
    assert_int_equal(ledger_ask(f->other, "SELECT count(*) FROM timeline WHERE "
                                          "text = 'cancelled by it'"),
                     3);
    assert_int_equal(ledger_ask(f->other, "SELECT count(*) FROM parked "
                                          "WHERE n <> 0"),
                     0);
    claim(f, rows, 1); /* its answer was lost */
    assert_int_equal(rows[0].verdict, CLAIM_SAME);
}

static void one_is_looked_at_until_it_is_forgotten(void **state)
{
    struct fixture *f = *state;
    struct claim_row row = request(1);
    const struct cancel_row *all[] = {&f->cancel};

    ask(f, &row, CLIENT);
    assert_int_equal(scan(f), 1);
    assert_false(f->cancel.known);
    assert_false(f->cancel.over);
    assert_int_equal(scan(f), 0); /* in its time */
    claim(f, &row, 1);
    ask(f, &row, CLIENT);
    store_uncancel(f->store, all, 1); /* not what was asked for since */
    assert_int_equal(scan(f), 1);
    assert_true(f->cancel.known);
    assert_int_equal(f->cancel.payment.state, PAYMENT_CANCELLED);
    assert_string_equal(f->cancel.text, "cancelled by it");
    store_uncancel(f->store, all, 1);
    ledger_run(f->other, "UPDATE cancels SET next_look_at = now()");
    assert_int_equal(scan(f), 0);
    ask(f, &row, OTHER);
    ledger_run(f->other, "UPDATE cancels SET at = now() - interval '3 days'");
    assert_int_equal(scan(f), 1);
    assert_false(f->cancel.known);
    assert_true(f->cancel.over);
}

static void there_are_not_too_many_of_what_nobody_knows(void **state)
{
    struct fixture *f = *state;
    struct claim_row known = request(99);

    claim(f, &known, 1);
    for (int i = 0; i < 12; i++) {
        struct claim_row row = request(i);

        assert_int_equal(ask(f, &row, CLIENT), i < 10);
    }
    assert_true(ask(f, &known, CLIENT));
    known.req.id.b[0] = 7;
    assert_true(ask(f, &known, OTHER)); /* each client for itself */
}

/* A claim that did not see the cancel is under way: until it has ended nobody
   may say that no push follows. */
static void a_claim_of_the_moment_is_waited_for(void **state)
{
    struct fixture *f = *state;
    struct pg_session *held = ledger_session(ledger_conninfo);
    struct claim_row row = request(1);
    struct kafka_position at = {.topic = "t", .offset = 1};
    int64_t tx;
    int before;

    ledger_run(held, "BEGIN; LOCK TABLE payments IN SHARE MODE");
    before = f->done;
    store_claim(f->store, &row, 1, &at, 1, on_claim, f);
    while (ledger_ask(f->other, "SELECT count(*) FROM pg_locks WHERE NOT "
                                "granted") == 0)
        loop_once(f->loop, 10 * US_PER_MS);
    assert_int_equal(f->done, before);
    ask(f, &row, CLIENT);
    tx = see(f, &row, 0)->now_tx;
    assert_null(f->seen.payment);
    assert_true(f->seen.open);
    assert_false(f->seen.sure);
    assert_false(see(f, &row, tx)->sure);
    ledger_run(held, "COMMIT");
    pg_session_close(held);
    turn_until(f, f->done + 1);
    assert_true(see(f, &row, tx)->sure);
    assert_non_null(f->seen.payment);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_was_cancelled_before_is_never_pushed),
        TEST(one_is_looked_at_until_it_is_forgotten),
        TEST(there_are_not_too_many_of_what_nobody_knows),
        TEST(a_claim_of_the_moment_is_waited_for),
    };

    return cmocka_run_group_tests(tests, make, NULL);
}
