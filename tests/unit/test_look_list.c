/*
 * Lists of a client's payments, on a real server and over many rows: what is
 * found, in which order, a page at a time, and how few rows are read for it.
 */
#include "producer/look.h"

#include "common/clock.h"
#include "tests/unit/ledger.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define PATIENCE_US (60 * US_PER_S)
#define ROWS 40000
#define CLIENTS 4 /* row n is of client n % CLIENTS */
#define RARE 997  /* every so many is waiting       */
#define PAGE 20
#define READ_MAX 400 /* rows for a page, however many there are */
#define DAY_US (24 * 3600 * US_PER_S)
#define FIRST_AT (INT64_C(1800000000) * US_PER_S)

struct world {
    struct loop *loop;
    struct config cfg;
    struct pg_session *other;
    struct look *look;
    bool done, more, known;
    size_t n;
    struct payment rows[PAGE];
};

/* Row n: created n seconds after the first, to phone n / 40, with reference
   R(n / 100), all but the rare ones succeeded. */
static const char rows_sql[] =
    "INSERT INTO payments (id, client, fingerprint, msisdn, amount, shortcode, "
    "priority, ask_again, reference, description, requested_at, deadline_at, "
    "source_topic, source_partition, source_offset, created_at, updated_at, "
    "state, version, attempt, spent, holds_phone, pushed_at) SELECT "
    "('00000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid, "
    "('10000000-0000-4000-8000-' || lpad((n %% %d)::text, 12, '0'))::uuid, "
    "'\\x00000000000000000000000000000000', 254700000000 + n / 40, 100, "
    "174379, 1, 0, 'R' || n / 100, 'Payment', t.at, t.at + interval '1 h', 1, "
    "0, n, t.at, t.at, CASE WHEN n %% %d = 0 THEN 3 ELSE 6 END, 2, 1, 0, "
    "false, t.at FROM generate_series(0, %d) AS n CROSS JOIN LATERAL "
    "(SELECT to_timestamp(1800000000 + n) AS at) AS t";

static int make_database(void **state)
{
    struct pg_session *s;

    (void)state;
    if (ledger_make("foleni_lists"))
        return 1;
    s = ledger_session(ledger_conninfo);
    ledger_runf(s, rows_sql, CLIENTS, RARE, ROWS - 1);
    ledger_run(s, "UPDATE payments SET state = 2, holds_phone = true "
                  "WHERE id IN (SELECT id FROM payments WHERE state = 6 "
                  "AND msisdn % 50 = 0 AND source_offset % 40 = 1)");
    ledger_run(s, "ANALYZE payments");
    pg_session_close(s);
    return 0;
}

static void connect_look(struct world *w)
{
    int64_t end_us = clock_now_us() + PATIENCE_US;

    w->look = look_new(w->loop, &w->cfg);
    while (!look_up(w->look, NULL, 0) && clock_now_us() < end_us)
        loop_once(w->loop, 10 * US_PER_MS);
    assert_true(look_up(w->look, NULL, 0));
}

static int set_up(void **state)
{
    struct world *w = NEW(struct world);

    w->other = ledger_session(ledger_conninfo);
    w->loop = loop_new();
    w->cfg = (struct config){.database_conninfo = ledger_conninfo,
                             .database_password = "",
                             .api_list_max = PAGE};
    connect_look(w);
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

static void on_rows(void *arg, const struct payment *rows, size_t n, bool more,
                    const struct err *err)
{
    struct world *w = arg;

    assert_null(err);
    assert_true(n <= PAGE);
    if (n)
        memcpy(w->rows, rows, n * sizeof(*rows));
    w->n = n;
    w->more = more;
    w->done = true;
}

static struct uuid client(int n)
{
    return (struct uuid){
        {0x10, 0, 0, 0, 0, 0, 0x40, 0, 0x80, [15] = (uint8_t)n}};
}

static struct find all(void)
{
    struct find f;

    find_init(&f);
    f.limit = PAGE;
    return f;
}

static void wait_done(struct world *w)
{
    int64_t end_us = clock_now_us() + PATIENCE_US;

    while (!w->done && clock_now_us() < end_us)
        loop_once(w->loop, 10 * US_PER_MS);
    assert_true(w->done);
    w->done = false;
}

static void look_for(struct world *w, const struct find *f)
{
    struct uuid who = client(1);

    look_payments(w->look, &who, f, on_rows, w);
    wait_done(w);
    for (size_t i = 0; i < w->n; i++)
        assert_true(uuid_equal(&w->rows[i].req.client, &who));
    for (size_t i = 1; i < w->n; i++)
        assert_true(w->rows[i].created_at < w->rows[i - 1].created_at);
}

static int64_t rows_read(struct world *w)
{
    return ledger_ask(w->other, "SELECT seq_tup_read + idx_tup_fetch FROM "
                                "pg_stat_user_tables WHERE relname = "
                                "'payments'");
}

/* As look_for(), and how many rows the server read for it: a session's counts
   are told when it ends. */
static void look_cheaply(struct world *w, const struct find *f)
{
    int64_t before = rows_read(w), end_us = clock_now_us() + PATIENCE_US;

    look_for(w, f);
    look_free(w->look);
    while (ledger_ask(w->other, "SELECT count(*) FROM pg_stat_activity WHERE "
                                "application_name = 'foleni-api'") > 0 &&
           clock_now_us() < end_us)
        loop_once(w->loop, 10 * US_PER_MS);
    assert_in_range(rows_read(w) - before, 1, READ_MAX);
    connect_look(w);
}

static void all_of_it_a_page_at_a_time(void **state)
{
    struct world *w = *state;
    struct find f = all();

    look_cheaply(w, &f);
    assert_int_equal(w->n, PAGE);
    assert_true(w->more);
    assert_int_equal(w->rows[0].created_at, FIRST_AT + (ROWS - 3) * US_PER_S);
    f.goes_on = true;
    f.after = (struct find_place){w->rows[PAGE - 1].created_at,
                                  w->rows[PAGE - 1].req.id};
    look_cheaply(w, &f);
    assert_int_equal(w->rows[0].created_at,
                     f.after.created_at - CLIENTS * US_PER_S);
    f.after = (struct find_place){FIRST_AT + 9 * US_PER_S, {{0}}};
    look_cheaply(w, &f);
    assert_int_equal(w->n, 2); /* rows 1 and 5 */
    assert_false(w->more);
}

static void by_time(void **state)
{
    struct world *w = *state;
    struct find f = all();

    f.from_at = FIRST_AT + 1001 * US_PER_S;
    f.to_at = FIRST_AT + 1013 * US_PER_S;
    look_cheaply(w, &f);
    assert_int_equal(w->n, 3); /* 1001, 1005, 1009 */
    assert_int_equal(w->rows[2].created_at, f.from_at);
    f.to_at = FIRST_AT - DAY_US;
    f.from_at = 0;
    look_for(w, &f);
    assert_int_equal(w->n, 0);
}

static void by_each_filter(void **state)
{
    struct world *w = *state;
    struct find f = all();

    text_copy(f.reference, sizeof(f.reference), "R77");
    look_cheaply(w, &f);
    assert_int_equal(w->n, PAGE);
    assert_true(w->more); /* 25 of 100 are this client's */
    f = all();
    f.msisdn = 254700000100;
    look_cheaply(w, &f);
    assert_int_equal(w->n, 10);
    f.state = PAYMENT_UNKNOWN;
    look_for(w, &f);
    assert_int_equal(w->n, 0);
    f = all();
    f.state = PAYMENT_WAITING;
    look_cheaply(w, &f);
    assert_int_equal(w->n, ROWS / RARE / CLIENTS);
    for (size_t i = 0; i < w->n; i++)
        assert_int_equal(w->rows[i].state, PAYMENT_WAITING);
    f.state = PAYMENT_PROMPTED;
    look_cheaply(w, &f);
    assert_int_equal(w->n, PAGE);
    f.state = PAYMENT_SUCCEEDED;
    look_cheaply(w, &f);
    assert_int_equal(w->n, PAGE);
}

static void by_ids(void **state)
{
    struct world *w = *state;
    struct find f = all();

    look_for(w, &f);
    f.ids[0] = w->rows[3].req.id;
    f.ids[1] = w->rows[9].req.id;
    f.ids[2] = w->rows[9].req.id;
    f.ids[2].b[15] ^= 1; /* another client's */
    f.ids_n = 3;
    look_cheaply(w, &f);
    assert_int_equal(w->n, 2);
    assert_true(uuid_equal(&w->rows[0].req.id, &f.ids[0]));
}

static void on_events(void *arg, bool known, const struct payment *versions,
                      size_t n, bool more, const struct err *err)
{
    struct world *w = arg;

    w->known = known;
    on_rows(w, versions, n, more, err);
}

static void events_of_one(void **state)
{
    struct world *w = *state;
    struct uuid who = client(1), other = client(2);
    struct uuid id = {{[6] = 0x40, [8] = 0x80, [15] = 1}};

    ledger_run(w->other,
               "INSERT INTO timeline (payment, version, at, state, waits, "
               "attempt, cause, code, text, class, evidence, receipt, "
               "paid_at) SELECT '00000000-0000-4000-8000-000000000001', v, "
               "to_timestamp(1800000000 + v), s, 0, 1, 2, '0', 'fine', "
               "CASE s WHEN 6 THEN 1 ELSE 0 END, 6, 'R1', "
               "to_timestamp(1800000009) FROM (VALUES (1, 1), (2, 2), (3, 6)) "
               "AS r(v, s)");
    look_events(w->look, &id, &who, 0, on_events, w);
    wait_done(w);
    assert_true(w->known);
    assert_int_equal(w->n, 2); /* sending is not told */
    assert_int_equal(w->rows[0].version, 2);
    assert_int_equal(w->rows[0].state, PAYMENT_PROMPTED);
    assert_int_equal(w->rows[1].class, RESULT_PAID);
    assert_int_equal(w->rows[1].evidence, EVIDENCE_CALLBACK);
    assert_string_equal(w->rows[1].receipt, "R1");
    assert_int_equal(w->rows[1].updated_at, FIRST_AT + 3 * US_PER_S);
    assert_int_equal(w->rows[1].paid_at, FIRST_AT + 9 * US_PER_S);
    assert_int_equal(w->rows[1].req.amount, 100);
    look_events(w->look, &id, &who, 3, on_events, w);
    wait_done(w);
    assert_true(w->known);
    assert_int_equal(w->n, 0);
    look_events(w->look, &id, &other, 0, on_events, w);
    wait_done(w);
    assert_false(w->known);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(all_of_it_a_page_at_a_time),
        TEST(by_time),
        TEST(by_each_filter),
        TEST(by_ids),
        TEST(events_of_one),
    };

    return cmocka_run_group_tests(tests, make_database, NULL);
}
