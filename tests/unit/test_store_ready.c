/*
 * What waits for a push, against a real server: parked claims and their count,
 * lanes and who is found in them, rows given to one worker and given back, and
 * what a payment that goes straight through pays for it.
 */
#include "consumer/store.h"

#include "common/clock.h"
#include "tests/unit/ledger.h"

// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
// clang-format on

#define WAIT_MAX_US (60 * US_PER_S)
#define MINUTE_US (60 * US_PER_S)
#define A 174379
#define B 600000
#define ROWS_MAX 600
#define LANES_MAX 64

struct fixture {
    struct loop *loop;
    struct config cfg;
    struct store *a, *b; /* two workers, incarnations 1 and 2 */
    struct pg_session *other;
    int done;
    enum err_code code;
    struct payment rows[ROWS_MAX]; /* of the last scan */
    size_t rows_n;
    struct lane lanes[LANES_MAX]; /* of the last look */
    size_t lanes_n;
    size_t parked; /* to A, as the last look saw it */
};

static int make(void **state)
{
    (void)state;
    return ledger_make("foleni_ready");
}

static void turn_until(struct fixture *f, int wanted)
{
    int64_t end_us = clock_now_us() + WAIT_MAX_US;

    while ((f->done < wanted || !store_up(f->a, NULL, 0) ||
            !store_up(f->b, NULL, 0)) &&
           clock_now_us() < end_us)
        loop_once(f->loop, US_PER_S);
    assert_int_equal(f->done, wanted);
}

static int set_up(void **state)
{
    struct fixture *f = NEW(struct fixture);

    f->other = ledger_session(ledger_conninfo);
    ledger_run(f->other, "TRUNCATE payments, timeline, parked");
    f->cfg = (struct config){
        .database_conninfo = ledger_conninfo,
        .database_password = "",
        .worker_lease_ms = 15000,
        .gate_total_timeout_ms = 60000,
        .payments_same_amount_gap_ms = 120000,
    };
    f->loop = loop_new();
    f->a = store_new(f->loop, &f->cfg, NULL, NULL);
    f->b = store_new(f->loop, &f->cfg, NULL, NULL);
    store_set_owner(f->a, 1);
    store_set_owner(f->b, 2);
    turn_until(f, 0);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    store_free(f->a);
    store_free(f->b);
    pg_session_close(f->other);
    loop_free(f->loop);
    free(f);
    return 0;
}

/* --- calls that wait --- */

static void on_done(void *arg, const struct err *err)
{
    struct fixture *f = arg;

    f->code = err ? err->code : ERR_NONE;
    f->done++;
}

static void on_step(void *arg, int64_t db_now_at, const struct err *err)
{
    (void)db_now_at;
    on_done(arg, err);
}

static void on_rows(void *arg, const struct payment *rows, size_t n,
                    int64_t db_now_at, const struct err *err)
{
    struct fixture *f = arg;

    (void)db_now_at;
    must(f->rows_n + n <= ROWS_MAX);
    if (n)
        memcpy(f->rows + f->rows_n, rows, n * sizeof(*rows));
    f->rows_n += n;
    on_done(arg, err);
}

static void on_lanes(void *arg, struct lane *lanes, size_t n,
                     const struct parked_row *parked, size_t parked_n,
                     const struct err *err)
{
    struct fixture *f = arg;

    must(n <= LANES_MAX);
    if (n)
        memcpy(f->lanes, lanes, n * sizeof(*lanes));
    f->lanes_n = n;
    f->parked = 0;
    for (size_t i = 0; i < parked_n; i++)
        f->parked += parked[i].shortcode == A ? parked[i].n : 0;
    on_done(arg, err);
}

/* Request n, of client 1, to a phone of its own. */
static struct claim_row request(int n, bool park)
{
    struct claim_row row = {
        .req = {.client = {{1}},
                .msisdn = INT64_C(254700000000) + n,
                .amount = 100,
                .shortcode = A,
                .priority = PRIORITY_NORMAL,
                .reference = "INV7",
                .description = "Payment"},
        .topic = TOPIC_NORMAL,
        .offset = n,
        .park = park,
    };

    row.req.requested_at = clock_wall_at();
    row.deadline_at = row.req.requested_at + 15 * MINUTE_US;
    row.req.id.b[0] = (uint8_t)(n * 37);
    row.req.id.b[15] = (uint8_t)n;
    return row;
}

static void claim(struct fixture *f, struct claim_row *rows, size_t n,
                  int64_t next_offset)
{
    struct kafka_position at = {.topic = "t", .offset = next_offset};

    store_claim(f->a, rows, n, &at, 1, on_done, f);
    turn_until(f, f->done + 1);
    assert_int_equal(f->code, ERR_NONE);
}

static void step(struct fixture *f, const struct payment *seen,
                 const struct payment *next, enum step_end end)
{
    struct step_row row = {
        .seen = seen,
        .next = next,
        .cause = FLOW_DUE,
        .takes_phone = !seen->holds_phone && next->holds_phone,
    };

    store_step(f->a, &row, 1, on_step, f);
    turn_until(f, f->done + 1);
    assert_int_equal(f->code, ERR_NONE);
    assert_int_equal(row.end, end);
}

/* Lanes of every priority, from the beginning. */
static void look(struct fixture *f, const int64_t *shortcodes, size_t n,
                 size_t lanes_max)
{
    struct lane after[PRIORITIES_N] = {
        {.priority = PRIORITY_HIGH},
        {.priority = PRIORITY_NORMAL},
        {.priority = PRIORITY_LOW},
    };
    struct lanes_ask ask = {after, PRIORITIES_N, shortcodes, n, lanes_max, 50};

    store_lanes(f->a, &ask, on_lanes, f);
    turn_until(f, f->done + 1);
    assert_int_equal(f->code, ERR_NONE);
}

static const int64_t both[] = {A, B}, only_b[] = {B};

static int64_t parked_to_a(struct fixture *f)
{
    int64_t n = ledger_ask(f->other, "SELECT n FROM parked WHERE shortcode = "
                                     "174379");

    look(f, both, 2, 10);
    assert_int_equal(f->parked, MAX(n, 0));
    assert_int_equal(ledger_ask(f->other, "SELECT count(*) FROM payments WHERE "
                                          "state = 3 AND waits = 4"),
                     MAX(n, 0));
    return n;
}

/* --- parked claims --- */

static void a_parked_claim_takes_nothing(void **state)
{
    struct fixture *f = *state;
    struct claim_row row = request(1, true);
    struct payment *p = &row.payment;

    claim(f, &row, 1, 2);
    assert_int_equal(row.verdict, CLAIM_PARK);
    assert_int_equal(p->state, PAYMENT_WAITING);
    assert_int_equal(p->waits, WAIT_LINE);
    assert_int_equal(p->attempt, 0);
    assert_false(p->holds_phone);
    assert_int_equal(parked_to_a(f), 1);
    assert_int_equal(ledger_ask(f->other, "SELECT next_offset FROM intake "
                                          "WHERE topic = 't'"),
                     2);
    claim(f, &row, 1, 2);
    assert_int_equal(row.verdict, CLAIM_SAME);
    assert_int_equal(parked_to_a(f), 1);
}

/* Some go, some are parked, one finds its phone taken, one is late. */
static void a_mixed_claim(void **state)
{
    static const enum claim_verdict is[] = {
        CLAIM_PARK, CLAIM_GO,   CLAIM_PARK, CLAIM_GO,
        CLAIM_WAIT, CLAIM_LATE, CLAIM_LATE, CLAIM_PARK,
    };
    struct fixture *f = *state;
    struct claim_row rows[8];

    ledger_run(f->other, "DELETE FROM intake");
    for (int i = 0; i < 8; i++)
        rows[i] = request(80 - i, is[i] == CLAIM_PARK || i == 6);
    rows[4].req.msisdn = rows[3].req.msisdn;
    rows[4].req.id.b[0] = 0xff; /* behind it */
    rows[5].deadline_at = rows[6].deadline_at = clock_wall_at() - US_PER_S;
    claim(f, rows, 8, 81);
    for (int i = 0; i < 8; i++)
        assert_int_equal(rows[i].verdict, is[i]);
    assert_int_equal(parked_to_a(f), 3);
    assert_int_equal(ledger_ask(f->other, "SELECT next_offset FROM intake "
                                          "WHERE topic = 't'"),
                     81);
    claim(f, rows, 8, 81); /* its answer was lost */
    assert_int_equal(rows[1].verdict, CLAIM_OWN);
    assert_int_equal(rows[2].verdict, CLAIM_SAME);
    assert_int_equal(parked_to_a(f), 3);
}

static void the_count_follows_its_rows(void **state)
{
    struct fixture *f = *state;
    struct claim_row rows[3];
    struct payment next, stale;

    for (int i = 0; i < 3; i++)
        rows[i] = request(i, true);
    claim(f, rows, 3, 3);
    next = rows[0].payment; /* an attempt */
    next.state = PAYMENT_SENDING;
    next.waits = WAIT_NONE;
    next.holds_phone = true;
    next.version++;
    next.updated_at++;
    next.owner = next.attempt = 1;
    step(f, &rows[0].payment, &next, STEP_WRITTEN);
    assert_int_equal(parked_to_a(f), 2);
    stale = next;
    stale.updated_at++;
    step(f, &rows[0].payment, &stale, STEP_STALE);
    assert_int_equal(parked_to_a(f), 2);
    next = rows[1].payment; /* too late */
    next.state = PAYMENT_REJECTED;
    next.waits = WAIT_NONE;
    next.version++;
    next.updated_at++;
    step(f, &rows[1].payment, &next, STEP_WRITTEN);
    assert_int_equal(parked_to_a(f), 1);
    next = rows[2].payment; /* only its time moves */
    next.next_action_at += MINUTE_US;
    step(f, &rows[2].payment, &next, STEP_WRITTEN);
    assert_int_equal(parked_to_a(f), 1);
}

/* --- lanes --- */

/* @p n rows of a client that wait for a push, the oldest due first. */
static void fill(struct fixture *f, enum priority p, int64_t shortcode,
                 int client, int n, int waits, const char *due)
{
    ledger_runf(
        f->other,
        "INSERT INTO payments (id, client, fingerprint, msisdn, amount, "
        "shortcode, priority, ask_again, reference, description, "
        "requested_at, deadline_at, source_topic, source_partition, "
        "source_offset, state, waits, version, attempt, spent, holds_phone, "
        "next_action_at) SELECT gen_random_uuid(), lpad(to_hex(%d), 32, "
        "'0')::uuid, decode(md5(''), 'hex'), 254700000000 + n, 10, %lld, %d, "
        "0, 'R', 'D', "
        "now(), now() + interval '1 h', 1, 0, n, 3, %d, 1, 0, 0, false, "
        "now() + interval '%s' + n * interval '1 ms' "
        "FROM generate_series(1, %d) AS n",
        client, (long long)shortcode, (int)p, waits, due, n);
}

static void lanes_are_found_in_their_order(void **state)
{
    struct fixture *f = *state;

    fill(f, PRIORITY_LOW, A, 1, 80, WAIT_LINE, "-1 h");
    fill(f, PRIORITY_HIGH, B, 2, 3, WAIT_RETRY, "-1 h");
    fill(f, PRIORITY_HIGH, B, 2, 4, WAIT_RETRY, "1 h");
    fill(f, PRIORITY_HIGH, A, 7, 5, WAIT_PHONE, "-1 h");
    fill(f, PRIORITY_HIGH, A, 8, 9, WAIT_PROOF, "-1 h"); /* needs no push */
    look(f, both, 2, 10);
    assert_int_equal(f->lanes_n, 3);
    assert_int_equal(f->lanes[0].shortcode, A);
    assert_int_equal(f->lanes[0].due, 5);
    assert_int_equal(f->lanes[1].shortcode, B);
    assert_int_equal(f->lanes[1].due, 3);
    assert_int_equal(f->lanes[2].priority, PRIORITY_LOW);
    assert_int_equal(f->lanes[2].due, 50); /* no more are counted */
}

/* However many clients a stopped shortcode has: one lane of it is seen. */
static void a_stopped_shortcode_is_passed_over(void **state)
{
    struct fixture *f = *state;

    for (int i = 0; i < 20; i++)
        fill(f, PRIORITY_LOW, A, i + 1, 2, WAIT_LINE, "-1 h");
    fill(f, PRIORITY_LOW, B, 1, 2, WAIT_LINE, "-1 h");
    look(f, only_b, 1, 5);
    assert_int_equal(f->lanes_n, 2);
    assert_int_equal(f->lanes[0].due, 2); /* so that somebody wants credit */
    assert_int_equal(f->lanes[1].shortcode, B);
    assert_int_equal(f->lanes[1].due, 2);
}

static void a_scan_goes_on_behind_the_last_one(void **state)
{
    struct fixture *f = *state;
    struct lane after = {.priority = PRIORITY_LOW};
    struct lanes_ask ask = {&after, 1, both, 2, 3, 50};
    size_t seen = 0;

    for (int i = 0; i < 8; i++)
        fill(f, PRIORITY_LOW, i % 2 ? A : B, i + 1, 1, WAIT_LINE, "-1 h");
    do {
        store_lanes(f->a, &ask, on_lanes, f);
        turn_until(f, f->done + 1);
        seen += f->lanes_n;
        after = f->lanes[f->lanes_n - 1];
    } while (f->lanes_n == 3);
    assert_int_equal(seen, 8);
}

/* --- rows --- */

static size_t take(struct fixture *f, size_t lane, size_t n)
{
    f->rows_n = 0;
    f->lanes[lane].take = n;
    store_ready(f->a, &f->lanes[lane], 1, MINUTE_US, on_rows, f);
    turn_until(f, f->done + 1);
    assert_int_equal(f->code, ERR_NONE);
    return f->rows_n;
}

static void rows_are_taken_and_given_back(void **state)
{
    struct fixture *f = *state;
    const struct payment *back[2];

    fill(f, PRIORITY_LOW, A, 1, 6, WAIT_LINE, "-1 h");
    fill(f, PRIORITY_LOW, A, 2, 6, WAIT_LINE, "-2 h");
    look(f, both, 2, 10);
    assert_int_equal(take(f, 0, 2), 2);
    assert_int_equal(f->rows[0].source_offset + f->rows[1].source_offset, 3);
    assert_true(uuid_equal(&f->rows[0].req.client, &f->lanes[0].client));
    back[0] = &f->rows[0];
    back[1] = &f->rows[1];
    store_undue(f->a, back, 2);
    assert_int_equal(take(f, 0, 10), 6);
    assert_int_equal(take(f, 0, 10), 0);
    look(f, both, 2, 10);
    assert_int_equal(f->lanes[0].due, 0);
    assert_int_equal(f->lanes[1].due, 6);
}

static void two_workers_share_nothing(void **state)
{
    struct fixture *f = *state;

    fill(f, PRIORITY_LOW, A, 1, 500, WAIT_LINE, "-1 h");
    look(f, both, 2, 10);
    f->lanes[0].take = 120;
    for (int i = 0; i < 3; i++) {
        store_ready(f->a, f->lanes, 1, MINUTE_US, on_rows, f);
        store_ready(f->b, f->lanes, 1, MINUTE_US, on_rows, f);
        turn_until(f, f->done + 2);
    }
    look(f, both, 2, 10);
    f->lanes[0].take = 500;
    store_ready(f->b, f->lanes, f->lanes_n, MINUTE_US, on_rows, f);
    turn_until(f, f->done + 1);
    assert_int_equal(f->rows_n, 500); /* each once: they are in hand */
}

/* What is in hand or past its deadline is the scan's, each once. */
static void what_is_late_is_found_first(void **state)
{
    struct fixture *f = *state;

    fill(f, PRIORITY_LOW, A, 1, 5, WAIT_LINE, "-1 h");
    look(f, both, 2, 10);
    assert_int_equal(take(f, 0, 2), 2);
    ledger_run(f->other, "UPDATE payments SET deadline_at = now()");
    f->rows_n = 0;
    store_due(f->b, 10, MINUTE_US, on_rows, f);
    store_due(f->a, 10, MINUTE_US, on_rows, f);
    turn_until(f, f->done + 2);
    assert_int_equal(f->rows_n, 3);
}

/* In the usual life of a payment no row is in the indexes of what waits. */
static void who_goes_straight_through_pays_nothing(void **state)
{
    static const char size_sql[] =
        "SELECT sum(pg_relation_size(i)) FROM unnest(ARRAY["
        "'payments_ready'::regclass, 'payments_late']) AS i";
    struct fixture *f = *state;
    struct claim_row row = request(1, false);
    int64_t before = ledger_ask(f->other, size_sql);
    struct payment next;

    claim(f, &row, 1, 2);
    assert_int_equal(row.verdict, CLAIM_GO);
    next = row.payment;
    next.state = PAYMENT_PROMPTED;
    next.version++;
    step(f, &row.payment, &next, STEP_WRITTEN);
    assert_int_equal(ledger_ask(f->other, size_sql), before);
    assert_int_equal(ledger_ask(f->other, "SELECT count(*) FROM parked"), 0);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_parked_claim_takes_nothing),
        TEST(a_mixed_claim),
        TEST(the_count_follows_its_rows),
        TEST(lanes_are_found_in_their_order),
        TEST(a_stopped_shortcode_is_passed_over),
        TEST(a_scan_goes_on_behind_the_last_one),
        TEST(rows_are_taken_and_given_back),
        TEST(two_workers_share_nothing),
        TEST(what_is_late_is_found_first),
        TEST(who_goes_straight_through_pays_nothing),
    };

    return cmocka_run_group_tests(tests, make, NULL);
}
