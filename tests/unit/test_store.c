/*
 * The store against a real server and the real migrations: every verdict of a
 * claim, fences, the phone lock and its waiters, two workers at once, and the
 * plans of all statements. FOLENI_TEST_CONNINFO comes from tests/unit/run.
 */
#include "consumer/store.h"

#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/buf.h"
#include "common/clock.h"
#include "common/must.h"
#include "consumer/store_priv.h"

// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
// clang-format on

#define WAIT_MAX_US (20 * US_PER_S)
#define DATABASE "foleni_store"
#define PHONE INT64_C(254700000000)
#define MINUTE_US (60 * US_PER_S)
#define HOUR_US (60 * MINUTE_US)
#define TEXT_OF_MAX (4 << 20)

struct fixture {
    struct loop *loop;
    struct config cfg;
    struct store *a, *b; /* two workers, incarnations 1 and 2 */
    struct pg_session *other;
    int done; /* callbacks so far */
    enum err_code code;
    int64_t now_at;
    struct payment *rows; /* of the last look or scan */
    size_t rows_n;
    size_t all_n; /* of all looks and scans */
};

static char conninfo[512];

/* --- the server, looked at from aside --- */

static void run(struct pg_session *s, const char *sql)
{
    struct err err;

    if (pg_session_exec(s, sql, NULL, 0, NULL, &err))
        fail_msg("%.200s: %s", sql, err.text);
}

static int64_t ask(struct pg_session *s, const char *sql)
{
    CLEANUP(pg_text_rows_free)
    struct pg_text_rows *rows = NULL;
    struct err err;

    if (pg_session_exec(s, sql, NULL, 0, &rows, &err))
        fail_msg("%.200s: %s", sql, err.text);
    assert_int_equal(pg_text_rows_n(rows), 1);
    if (!pg_text_value(rows, 0, 0))
        return -1;
    return strtoll(pg_text_value(rows, 0, 0), NULL, 10);
}

static struct pg_session *open_session(const char *info)
{
    struct pg_session *s = NULL;
    struct err err;

    if (pg_session_open(info, "", &s, &err))
        fail_msg("%s", err.text);
    return s;
}

static void apply(struct pg_session *s, const char *path)
{
    struct buf text;
    char chunk[4096];
    FILE *f = fopen(path, "r");
    size_t n;

    assert_non_null(f);
    buf_init(&text, TEXT_OF_MAX);
    while ((n = fread(chunk, 1, sizeof(chunk), f)) > 0)
        buf_add(&text, chunk, n);
    (void)fclose(f); /* only read */
    run(s, text.data);
    buf_done(&text);
}

/* Once for the program: a database of its own with all migrations. */
static int make_database(void **state)
{
    const char *given = getenv("FOLENI_TEST_CONNINFO");
    struct pg_session *s;
    glob_t files;

    (void)state;
    if (!given) {
        (void)fprintf(stderr, "FOLENI_TEST_CONNINFO is missing: use "
                              "tests/unit/run\n");
        return -1;
    }
    s = open_session(given);
    run(s, "DROP DATABASE IF EXISTS " DATABASE " WITH (FORCE)");
    run(s, "CREATE DATABASE " DATABASE);
    pg_session_close(s);
    (void)snprintf(conninfo, sizeof(conninfo), "%s dbname=%s", given, DATABASE);
    s = open_session(conninfo);
    must(glob("schemas/sql/*.sql", 0, NULL, &files) == 0);
    for (size_t i = 0; i < files.gl_pathc; i++)
        apply(s, files.gl_pathv[i]);
    globfree(&files);
    pg_session_close(s);
    return 0;
}

/* --- the fixture --- */

static void turn_until_done(struct fixture *f, int wanted)
{
    int64_t end_us = clock_now_us() + WAIT_MAX_US;

    while (f->done < wanted && clock_now_us() < end_us)
        loop_once(f->loop, US_PER_S);
    if (f->done < wanted)
        fail_msg("nothing within %d s", (int)(WAIT_MAX_US / US_PER_S));
}

static void turn_until_up(struct fixture *f, struct store *store)
{
    int64_t end_us = clock_now_us() + WAIT_MAX_US;

    while (!store_up(store, NULL, 0) && clock_now_us() < end_us)
        loop_once(f->loop, US_PER_S);
    assert_true(store_up(store, NULL, 0));
}

static int set_up(void **state)
{
    struct fixture *f = NEW(struct fixture);

    f->cfg = (struct config){
        .database_conninfo = conninfo,
        .database_password = "",
        .worker_lease_ms = 15000,
        .gate_connect_timeout_ms = 10000,
        .gate_total_timeout_ms = 60000,
        .payments_same_amount_gap_ms = 120000,
    };
    f->other = open_session(conninfo);
    run(f->other, "TRUNCATE payments, timeline, workers, intake, alarms, "
                  "stray_callbacks");
    f->loop = loop_new();
    f->a = store_new(f->loop, &f->cfg, NULL, NULL);
    f->b = store_new(f->loop, &f->cfg, NULL, NULL);
    store_set_owner(f->a, 1);
    store_set_owner(f->b, 2);
    turn_until_up(f, f->a);
    turn_until_up(f, f->b);
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
    free(f->rows);
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
    struct fixture *f = arg;

    f->now_at = db_now_at;
    on_done(arg, err);
}

static void on_rows(void *arg, const struct payment *rows, size_t n,
                    int64_t db_now_at, const struct err *err)
{
    struct fixture *f = arg;

    free(f->rows);
    f->rows = n ? must_alloc(n, sizeof(*rows)) : NULL;
    if (n)
        memcpy(f->rows, rows, n * sizeof(*rows));
    f->rows_n = n;
    f->all_n += n;
    on_step(arg, db_now_at, err);
}

static enum err_code claim_at(struct fixture *f, struct store *store,
                              struct claim_row *rows, size_t n,
                              const struct kafka_position *at, size_t at_n)
{
    int before = f->done;

    store_claim(store, rows, n, at, at_n, on_done, f);
    assert_int_equal(f->done, before);
    turn_until_done(f, before + 1);
    return f->code;
}

static void claim(struct fixture *f, struct store *store,
                  struct claim_row *rows, size_t n)
{
    assert_int_equal(claim_at(f, store, rows, n, NULL, 0), ERR_NONE);
}

static struct payment look(struct fixture *f, const struct claim_row *row)
{
    store_look(f->a, &row->req.id, 1, on_rows, f);
    turn_until_done(f, f->done + 1);
    assert_int_equal(f->code, ERR_NONE);
    assert_int_equal(f->rows_n, 1);
    return f->rows[0];
}

static enum err_code step(struct fixture *f, struct store *store,
                          struct step_row *rows, size_t n)
{
    store_step(store, rows, n, on_step, f);
    turn_until_done(f, f->done + 1);
    return f->code;
}

static enum step_end step_one(struct fixture *f, const struct payment *seen,
                              const struct payment *next)
{
    struct step_row row = {
        .seen = seen,
        .next = next,
        .cause = FLOW_ANSWER,
        .takes_phone = !seen->holds_phone && next->holds_phone,
        .wakes_phone = seen->holds_phone && !next->holds_phone,
    };

    assert_int_equal(step(f, f->a, &row, 1), ERR_NONE);
    assert_true(f->now_at > 0);
    return row.end;
}

static size_t due(struct fixture *f, size_t max)
{
    store_due(f->a, max, MINUTE_US, on_rows, f);
    turn_until_done(f, f->done + 1);
    assert_int_equal(f->code, ERR_NONE);
    return f->rows_n;
}

/* --- rows --- */

/* Request number n, to phone number `phone`. */
static struct claim_row request(int n, int phone, int64_t amount)
{
    struct claim_row row = {
        .req = {.client = {{9, 9}},
                .msisdn = PHONE + phone,
                .amount = amount,
                .shortcode = 174379,
                .priority = PRIORITY_NORMAL,
                .ask_again = 1,
                .reference = "INV7",
                .description = "Payment",
                .metadata = "{\"a\":\"b\"}"},
        .topic = TOPIC_NORMAL,
        .partition = 3,
        .offset = n,
    };

    row.req.requested_at = clock_wall_at() - 5 * US_PER_S;
    row.req.expires_at = row.req.requested_at + HOUR_US;
    row.deadline_at = row.req.requested_at + HOUR_US / 4;
    row.req.id.b[0] = (uint8_t)(n * 37); /* not in the order of n */
    row.req.id.b[14] = (uint8_t)(n >> 8);
    row.req.id.b[15] = (uint8_t)n;
    row.req.fingerprint[0] = (uint8_t)n;
    return row;
}

static struct kafka_position position(const char *topic, int32_t partition,
                                      int64_t offset)
{
    struct kafka_position p = {.partition = partition, .offset = offset};

    (void)snprintf(p.topic, sizeof(p.topic), "%s", topic);
    return p;
}

#define SAME(member) assert_int_equal(x->member, y->member)
#define SAME_TEXT(member) assert_string_equal(x->member, y->member)

static void assert_same_request(const struct request *x,
                                const struct request *y)
{
    assert_true(uuid_equal(&x->id, &y->id));
    assert_true(uuid_equal(&x->client, &y->client));
    assert_memory_equal(x->fingerprint, y->fingerprint, FINGERPRINT_SIZE);
    SAME(msisdn);
    SAME(amount);
    SAME(shortcode);
    SAME(priority);
    SAME(ask_again);
    SAME_TEXT(reference);
    SAME_TEXT(description);
    SAME_TEXT(metadata);
    SAME(requested_at);
    SAME(expires_at);
}

static void assert_same_state(const struct payment *x, const struct payment *y)
{
    SAME(updated_at);
    SAME(state);
    SAME(waits);
    SAME(version);
    SAME(attempt);
    SAME(mac_key);
    SAME(spent);
    SAME(owner);
    SAME(holds_phone);
    SAME(pushed_at);
    SAME(next_action_at);
    SAME(auth_version);
    SAME(queries);
    SAME_TEXT(query_code);
    SAME(query_code_at);
}

static void assert_same(const struct payment *x, const struct payment *y)
{
    assert_same_request(&x->req, &y->req);
    SAME(deadline_at);
    SAME(source_topic);
    SAME(source_partition);
    SAME(source_offset);
    SAME(created_at);
    assert_same_state(x, y);
    SAME_TEXT(checkout_id);
    SAME_TEXT(merchant_id);
    SAME(class);
    SAME(evidence);
    SAME_TEXT(code);
    SAME_TEXT(text);
    SAME_TEXT(receipt);
    SAME(paid_at);
    SAME(paid_attempt);
}

/* What the flow would make of it, as far as the store is concerned. */
static struct payment ended(const struct payment *p, enum payment_state state)
{
    struct payment next = *p;

    next.state = state;
    next.waits = WAIT_NONE;
    next.version++;
    next.owner = 0;
    next.holds_phone = false;
    next.updated_at = clock_wall_at();
    next.next_action_at = next.updated_at + 10 * US_PER_S;
    return next;
}

static struct payment waiting(const struct payment *p, enum payment_wait waits)
{
    struct payment next = ended(p, PAYMENT_WAITING);

    next.waits = waits;
    return next;
}

static struct payment attempted(const struct payment *p)
{
    struct payment next = *p;

    next.state = PAYMENT_SENDING;
    next.waits = WAIT_NONE;
    next.version++;
    next.attempt++;
    next.owner = 1;
    next.holds_phone = true;
    next.updated_at = next.pushed_at = clock_wall_at();
    next.next_action_at = next.updated_at + 85 * US_PER_S;
    return next;
}

/* --- claim --- */

static void a_claim_takes_the_phone_and_goes(void **state)
{
    struct fixture *f = *state;
    struct claim_row rows[20];
    struct kafka_position at = position("payments.requests.normal", 3, 20);

    for (int i = 0; i < 20; i++)
        rows[i] = request(i, (i * 7) % 20, 100);
    rows[5].req.metadata[0] = '\0';
    rows[5].req.expires_at = 0;
    assert_int_equal(claim_at(f, f->a, rows, 20, &at, 1), ERR_NONE);
    for (int i = 0; i < 20; i++) {
        struct payment p = look(f, &rows[i]);

        assert_int_equal(rows[i].verdict, CLAIM_GO);
        assert_same(&p, &rows[i].payment);
        assert_int_equal(p.state, PAYMENT_SENDING);
        assert_int_equal(p.owner, 1);
        assert_int_equal(p.source_offset, i);
        assert_true(p.holds_phone);
        assert_in_range(rows[i].lease_us, 10 * US_PER_S, 15 * US_PER_S);
    }
    assert_int_equal(ask(f->other, "SELECT next_offset FROM intake"), 20);
}

static void an_attempt_names_the_key_of_its_callback(void **state)
{
    struct fixture *f = *state;
    struct claim_row row = request(1, 1, 100);
    struct payment p, next;

    store_set_mac_key(f->a, 3);
    claim(f, f->a, &row, 1);
    p = look(f, &row);
    assert_int_equal(p.mac_key, 3);
    assert_same(&p, &row.payment);
    next = waiting(&p, WAIT_RETRY);
    next.mac_key = 4;
    assert_int_equal(step_one(f, &p, &next), STEP_WRITTEN);
    assert_int_equal(look(f, &row).mac_key, 4);
}

static void a_lease_ends_at_the_deadline(void **state)
{
    struct fixture *f = *state;
    struct claim_row row = request(1, 1, 100);

    row.deadline_at = clock_wall_at() + 8 * US_PER_S;
    claim(f, f->a, &row, 1);
    assert_int_equal(row.verdict, CLAIM_GO);
    assert_in_range(row.lease_us, 1, 8 * US_PER_S);
}

static void a_busy_phone_waits(void **state)
{
    struct fixture *f = *state;
    struct claim_row first = request(1, 1, 100);
    struct claim_row rows[] = {request(2, 1, 200), request(3, 2, 200)};
    struct payment p;

    claim(f, f->b, &first, 1);
    claim(f, f->a, rows, 2);
    assert_int_equal(rows[0].verdict, CLAIM_WAIT);
    assert_int_equal(rows[0].lease_us, 0);
    assert_int_equal(rows[1].verdict, CLAIM_GO);
    p = look(f, &rows[0]);
    assert_same(&p, &rows[0].payment);
    assert_int_equal(p.state, PAYMENT_WAITING);
    assert_int_equal(p.waits, WAIT_PHONE);
    assert_int_equal(p.attempt, 0);
}

static void one_phone_twice_in_a_batch(void **state)
{
    struct fixture *f = *state;
    struct claim_row rows[] = {request(1, 1, 100), request(2, 2, 100),
                               request(3, 1, 200), request(4, 1, 300)};
    int go = 0;

    claim(f, f->a, rows, 4);
    for (int i = 0; i < 4; i++) {
        struct payment p = look(f, &rows[i]);

        assert_same(&p, &rows[i].payment);
        go += rows[i].verdict == CLAIM_GO;
        assert_true(rows[i].verdict == CLAIM_GO ||
                    rows[i].verdict == CLAIM_WAIT);
    }
    assert_int_equal(go, 2);
    assert_int_equal(rows[1].verdict, CLAIM_GO);
}

/* Claims an equal amount, another amount and another shortcode. */
static void claim_three(struct fixture *f, int n, int phone,
                        enum claim_verdict equal)
{
    const int64_t amounts[] = {100, 100 + n, 100};

    for (int i = 0; i < 3; i++) {
        struct claim_row row = request(n + i, phone, amounts[i]);
        struct payment next;

        row.req.shortcode += i == 2 ? n : 0;
        claim(f, f->a, &row, 1);
        assert_int_equal(row.verdict, i == 0 ? equal : CLAIM_GO);
        if (row.verdict != CLAIM_GO)
            continue;
        next = ended(&row.payment, PAYMENT_FAILED);
        assert_int_equal(step_one(f, &row.payment, &next), STEP_WRITTEN);
    }
}

static void equal_amounts_stay_apart(void **state)
{
    struct fixture *f = *state;
    struct claim_row row = request(1, 1, 100);
    struct payment next;

    claim(f, f->b, &row, 1);
    next = ended(&row.payment, PAYMENT_SUCCEEDED);
    assert_int_equal(step_one(f, &row.payment, &next), STEP_WRITTEN);
    claim_three(f, 10, 1, CLAIM_WAIT);
    run(f->other, "UPDATE payments SET pushed_at = now() - interval '119 s' "
                  "WHERE pushed_at IS NOT NULL");
    claim_three(f, 20, 1, CLAIM_WAIT);
    run(f->other, "UPDATE payments SET pushed_at = now() - interval '121 s' "
                  "WHERE pushed_at IS NOT NULL");
    claim_three(f, 30, 1, CLAIM_GO);
}

static void what_was_not_sent_bars_nobody(void **state)
{
    struct fixture *f = *state;
    struct claim_row row = request(1, 1, 100), equal = request(2, 1, 100);
    struct payment next;

    claim(f, f->b, &row, 1);
    next = waiting(&row.payment, WAIT_RETRY);
    next.pushed_at = 0;
    assert_int_equal(step_one(f, &row.payment, &next), STEP_WRITTEN);
    claim(f, f->a, &equal, 1);
    assert_int_equal(equal.verdict, CLAIM_GO);
}

static void a_late_request_is_rejected(void **state)
{
    struct fixture *f = *state;
    struct claim_row row = request(1, 1, 100);
    struct payment p;

    row.deadline_at = clock_wall_at() - 1;
    claim(f, f->a, &row, 1);
    assert_int_equal(row.verdict, CLAIM_LATE);
    p = look(f, &row);
    assert_same(&p, &row.payment);
    assert_int_equal(p.state, PAYMENT_REJECTED);
    assert_int_equal(p.class, RESULT_EXPIRED);
    assert_string_equal(p.code, "expired");
    assert_false(p.holds_phone);
}

static void a_known_id_is_the_same_or_another(void **state)
{
    struct fixture *f = *state;
    struct claim_row first[] = {request(1, 1, 100), request(2, 2, 100)};
    struct claim_row again[] = {request(1, 1, 100), request(2, 2, 100),
                                request(3, 3, 100)};
    struct payment p;

    claim(f, f->a, first, 2);
    again[0].offset = 77;
    again[1].offset = 78;
    again[1].req.fingerprint[15] = 1;
    again[1].req.amount = 250;
    claim(f, f->a, again, 3);
    assert_int_equal(again[0].verdict, CLAIM_SAME);
    assert_int_equal(again[1].verdict, CLAIM_OTHER);
    assert_int_equal(again[2].verdict, CLAIM_GO);
    p = look(f, &first[1]);
    assert_same(&p, &first[1].payment);
}

static void one_id_twice_in_a_batch(void **state)
{
    struct fixture *f = *state;
    struct claim_row rows[] = {request(1, 1, 100), request(1, 1, 100),
                               request(2, 2, 100), request(2, 3, 100)};

    rows[1].offset = 91;
    rows[3].offset = 92;
    rows[3].req.fingerprint[3] = 1;
    claim(f, f->a, rows, 4);
    assert_int_equal((int)rows[0].verdict + (int)rows[1].verdict,
                     CLAIM_GO + CLAIM_SAME);
    assert_int_equal(rows[2].verdict, CLAIM_GO);
    assert_int_equal(rows[3].verdict, CLAIM_OTHER);
    assert_int_equal(ask(f->other, "SELECT count(*) FROM payments"), 2);
}

static void an_own_claim_is_known_again(void **state)
{
    struct fixture *f = *state;
    struct claim_row row = request(1, 1, 100), again = row, twin = row;
    struct payment next;

    claim(f, f->a, &row, 1);
    claim(f, f->a, &again, 1); /* as after a lost answer */
    assert_int_equal(again.verdict, CLAIM_OWN);
    assert_same(&again.payment, &row.payment);
    assert_in_range(again.lease_us, 1, 15 * US_PER_S);

    twin.offset++; /* the same request, published twice */
    claim(f, f->a, &twin, 1);
    assert_int_equal(twin.verdict, CLAIM_SAME);
    claim(f, f->b, &again, 1); /* another worker */
    assert_int_equal(again.verdict, CLAIM_SAME);

    next = row.payment; /* not fresh any more */
    next.version++;
    next.state = PAYMENT_PROMPTED;
    assert_int_equal(step_one(f, &row.payment, &next), STEP_WRITTEN);
    claim(f, f->a, &again, 1);
    assert_int_equal(again.verdict, CLAIM_SAME);
}

/* Others thought this worker dead while it did not hear of its claim. */
static void an_own_claim_is_known_when_taken_over(void **state)
{
    struct fixture *f = *state;
    struct claim_row row = request(1, 1, 100), again = row, twin = row;
    struct payment next;

    claim(f, f->a, &row, 1);
    next = row.payment;
    next.version++;
    next.state = PAYMENT_UNKNOWN;
    assert_int_equal(step_one(f, &row.payment, &next), STEP_WRITTEN);
    claim(f, f->a, &again, 1);
    assert_int_equal(again.verdict, CLAIM_OWN);
    assert_int_equal(again.payment.state, PAYMENT_UNKNOWN);
    twin.offset++;
    claim(f, f->a, &twin, 1);
    assert_int_equal(twin.verdict, CLAIM_SAME);

    row.payment = next; /* a push that was sent and lost has no owner */
    next.version++;
    next.owner = 0;
    assert_int_equal(step_one(f, &row.payment, &next), STEP_WRITTEN);
    claim(f, f->a, &again, 1);
    assert_int_equal(again.verdict, CLAIM_SAME);
}

static void an_old_own_claim_has_no_lease(void **state)
{
    struct fixture *f = *state;
    struct claim_row row = request(1, 1, 100);

    claim(f, f->a, &row, 1);
    run(f->other, "UPDATE payments SET pushed_at = now() - interval '16 s'");
    claim(f, f->a, &row, 1);
    assert_int_equal(row.verdict, CLAIM_OWN);
    assert_int_equal(row.lease_us, 0);
}

static void positions_never_go_back(void **state)
{
    struct fixture *f = *state;
    struct kafka_position at[] = {position("t", 0, 10), position("t", 1, 20)};

    assert_int_equal(claim_at(f, f->a, NULL, 0, at, 2), ERR_NONE);
    at[0].offset = 9;
    at[1].offset = 21;
    assert_int_equal(claim_at(f, f->b, NULL, 0, at, 2), ERR_NONE);
    assert_int_equal(
        ask(f->other, "SELECT next_offset FROM intake WHERE partition = 0"),
        10);
    assert_int_equal(
        ask(f->other, "SELECT next_offset FROM intake WHERE partition = 1"),
        21);
}

static void a_refused_claim_leaves_nothing(void **state)
{
    struct fixture *f = *state;
    struct claim_row rows[] = {request(1, 1, 100), request(2, 2, 0)};
    struct kafka_position at = position("t", 0, 10);

    assert_int_equal(claim_at(f, f->a, rows, 2, &at, 1), ERR_INPUT);
    assert_int_equal(ask(f->other, "SELECT count(*) FROM payments"), 0);
    assert_int_equal(ask(f->other, "SELECT count(*) FROM intake"), 0);
}

/* The second try says what the first could not: its good row has gone. */
static void a_refused_rest_is_found_at_the_second_try(void **state)
{
    struct fixture *f = *state;
    struct claim_row rows[] = {request(1, 1, 100), request(2, 2, 0)};
    struct kafka_position at = position("t", 0, 10);

    rows[1].deadline_at = clock_wall_at() - 1;
    assert_int_equal(claim_at(f, f->a, rows, 2, &at, 1), ERR_UNSURE);
    assert_int_equal(claim_at(f, f->a, rows, 2, &at, 1), ERR_INPUT);
    assert_int_equal(ask(f->other, "SELECT count(*) FROM intake"), 0);
    assert_int_equal(claim_at(f, f->a, rows, 1, &at, 1), ERR_NONE);
    assert_int_equal(rows[0].verdict, CLAIM_OWN);
    assert_int_equal(ask(f->other, "SELECT next_offset FROM intake"), 10);
}

/* Turns until a session of the worker waits for a lock. */
static void turn_until_blocked(struct fixture *f, int sessions)
{
    int64_t end_us = clock_now_us() + WAIT_MAX_US;

    while (clock_now_us() < end_us) {
        loop_once(f->loop, 1000);
        if (ask(f->other, "SELECT count(*) FROM pg_stat_activity WHERE "
                          "application_name = 'foleni-worker' AND "
                          "wait_event_type = 'Lock'") >= sessions)
            return;
    }
    fail_msg("nobody waits for a lock");
}

static void a_lost_answer_is_unsure(void **state)
{
    struct fixture *f = *state;
    struct claim_row rows[] = {request(1, 1, 100), request(2, 2, 100)};
    struct kafka_position at = position("t", 0, 10);
    struct pg_session *s = open_session(conninfo);

    run(s, "BEGIN; LOCK TABLE intake");
    store_claim(f->a, rows, 2, &at, 1, on_done, f);
    turn_until_blocked(f, 1);
    run(f->other, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                  "WHERE application_name = 'foleni-worker'");
    turn_until_done(f, 1);
    assert_int_equal(f->code, ERR_UNSURE);
    run(s, "ROLLBACK");
    pg_session_close(s);
    assert_int_equal(claim_at(f, f->a, rows, 2, &at, 1), ERR_UNAVAILABLE);
    turn_until_up(f, f->a);
    assert_int_equal(claim_at(f, f->a, rows, 2, &at, 1), ERR_NONE);
    assert_int_equal(rows[0].verdict, CLAIM_GO);
    assert_int_equal(rows[1].verdict, CLAIM_GO);
}

#define PAIRS 200

static void opposite_orders_do_not_deadlock(void **state)
{
    struct fixture *f = *state;
    static struct claim_row up[PAIRS], down[PAIRS];

    for (int round = 0; round < 10; round++) {
        run(f->other, "TRUNCATE payments");
        for (int i = 0; i < PAIRS; i++) {
            up[i] = request(i, i, 100);
            down[i] = request(PAIRS + i, PAIRS - 1 - i, 100);
        }
        store_claim(f->a, up, PAIRS, NULL, 0, on_done, f);
        store_claim(f->b, down, PAIRS, NULL, 0, on_done, f);
        turn_until_done(f, 2 * round + 1);
        assert_int_equal(f->code, ERR_NONE);
        turn_until_done(f, 2 * round + 2);
        assert_int_equal(f->code, ERR_NONE);
        for (int i = 0; i < PAIRS; i++)
            assert_int_equal((int)up[i].verdict +
                                 (int)down[PAIRS - 1 - i].verdict,
                             CLAIM_GO + CLAIM_WAIT);
    }
    assert_int_equal(ask(f->other, "SELECT deadlocks FROM pg_stat_database "
                                   "WHERE datname = current_database()"),
                     0);
}

/* --- step --- */

static struct payment full(const struct payment *p)
{
    struct payment next = ended(p, PAYMENT_UNKNOWN);

    next.attempt = 2;
    next.spent = 1;
    next.owner = 7;
    next.holds_phone = true;
    next.auth_version = INT64_C(1) << 40;
    next.queries = 3;
    (void)snprintf(next.query_code, sizeof(next.query_code), "1032");
    next.query_code_at = next.updated_at - 1;
    (void)snprintf(next.checkout_id, sizeof(next.checkout_id), "ws_CO_1");
    (void)snprintf(next.merchant_id, sizeof(next.merchant_id), "29115-1");
    next.class = RESULT_LOST;
    next.evidence = EVIDENCE_ANSWER;
    (void)snprintf(next.code, sizeof(next.code), "lost_answer");
    (void)snprintf(next.text, sizeof(next.text), "caf\xc3\xa9");
    (void)snprintf(next.receipt, sizeof(next.receipt), "SKL12345");
    next.paid_at = next.updated_at - 2;
    next.paid_attempt = 2;
    return next;
}

static void a_step_writes_the_whole_row(void **state)
{
    struct fixture *f = *state;
    struct claim_row row = request(1, 1, 100);
    struct payment next, p;

    claim(f, f->a, &row, 1);
    next = full(&row.payment);
    assert_int_equal(step_one(f, &row.payment, &next), STEP_WRITTEN);
    p = look(f, &row);
    assert_same(&p, &next);
    assert_int_equal(ask(f->other,
                         "SELECT version FROM timeline WHERE state = 4 AND "
                         "cause = 5 AND code = 'lost_answer' AND worker = 1 "
                         "AND attempt = 2"),
                     2);
    next = ended(&p, PAYMENT_FAILED); /* and everything back to nothing */
    next.checkout_id[0] = next.merchant_id[0] = next.query_code[0] = '\0';
    next.code[0] = next.text[0] = next.receipt[0] = '\0';
    next.query_code_at = next.paid_at = next.pushed_at = 0;
    next.paid_attempt = 0;
    next.next_action_at = 0;
    assert_int_equal(step_one(f, &p, &next), STEP_WRITTEN);
    p = look(f, &row);
    assert_same(&p, &next);
}

static void a_stale_version_loses(void **state)
{
    struct fixture *f = *state;
    struct claim_row row = request(1, 1, 100);
    struct payment prompted, failed, p;

    claim(f, f->a, &row, 1);
    prompted = row.payment;
    prompted.version++;
    prompted.state = PAYMENT_PROMPTED;
    failed = ended(&row.payment, PAYMENT_FAILED);
    assert_int_equal(step_one(f, &row.payment, &prompted), STEP_WRITTEN);
    assert_int_equal(step_one(f, &row.payment, &failed), STEP_STALE);
    p = look(f, &row);
    assert_same(&p, &prompted);
    assert_int_equal(ask(f->other, "SELECT count(*) FROM timeline"), 2);
}

static void a_rewrite_keeps_its_version(void **state)
{
    struct fixture *f = *state;
    struct claim_row row = request(1, 1, 100);
    struct payment next, p;

    claim(f, f->a, &row, 1);
    run(f->other, "UPDATE payments SET published_version = 1");
    next = row.payment;
    next.queries = 2;
    next.next_action_at += 5;
    assert_int_equal(step_one(f, &row.payment, &next), STEP_WRITTEN);
    p = look(f, &row);
    assert_same(&p, &next);
    assert_int_equal(p.published_version, 1); /* not the step's to move */
    assert_int_equal(ask(f->other, "SELECT count(*) FROM timeline"), 1);
}

/* Claims `n` requests to one phone: the first goes, the others wait. */
static void claim_queue(struct fixture *f, struct claim_row *rows, int n,
                        int phone)
{
    for (int i = 0; i < n; i++) {
        rows[i] = request(100 + i, phone, 100 + i);
        claim(f, f->a, &rows[i], 1);
        assert_int_equal(rows[i].verdict, i ? CLAIM_WAIT : CLAIM_GO);
    }
}

static void an_attempt_needs_its_phone(void **state)
{
    struct fixture *f = *state;
    struct claim_row rows[2];
    struct payment next, p, over;
    struct step_row row = {.seen = &rows[1].payment, .takes_phone = true};

    claim_queue(f, rows, 2, 1);
    next = attempted(&rows[1].payment);
    row.next = &next;
    assert_int_equal(step(f, f->a, &row, 1), ERR_NONE);
    assert_int_equal(row.end, STEP_PHONE_BUSY);
    p = look(f, &rows[1]);
    assert_same(&p, &rows[1].payment);

    over = ended(&rows[0].payment, PAYMENT_FAILED);
    assert_int_equal(step_one(f, &rows[0].payment, &over), STEP_WRITTEN);
    row.takes_phone = true;
    assert_int_equal(step(f, f->a, &row, 1), ERR_NONE);
    assert_int_equal(row.end, STEP_WRITTEN);
    assert_in_range(row.lease_us, 10 * US_PER_S, 15 * US_PER_S);
    p = look(f, &rows[1]);
    assert_same(&p, &next);
    assert_int_equal(step(f, f->a, &row, 1), ERR_NONE);
    assert_int_equal(row.end, STEP_STALE);
}

static void an_attempt_minds_equal_amounts(void **state)
{
    struct fixture *f = *state;
    struct claim_row rows[] = {request(1, 1, 100), request(2, 1, 100)};
    struct payment next, over;

    claim(f, f->a, &rows[0], 1);
    claim(f, f->a, &rows[1], 1);
    over = ended(&rows[0].payment, PAYMENT_FAILED);
    assert_int_equal(step_one(f, &rows[0].payment, &over), STEP_WRITTEN);
    next = attempted(&rows[1].payment);
    assert_int_equal(step_one(f, &rows[1].payment, &next), STEP_PHONE_BUSY);
    run(f->other, "UPDATE payments SET pushed_at = now() - interval '121 s' "
                  "WHERE pushed_at IS NOT NULL");
    assert_int_equal(step_one(f, &rows[1].payment, &next), STEP_WRITTEN);
}

/* Incarnation 1 was declared dead, and settled, while it lived. */
static void settle_a(struct fixture *f)
{
    run(f->other, "INSERT INTO workers (incarnation, host, boot, pid, "
                  "recorder, settled_at) OVERRIDING SYSTEM VALUE "
                  "VALUES (1, 'h', 'b', 1, '', now()), "
                  "(2, 'h', 'b', 2, '', NULL)");
}

/* Nobody would take over what a settled incarnation begins. */
static void who_is_settled_takes_no_phone(void **state)
{
    struct fixture *f = *state;
    struct claim_row row = request(1, 1, 100), later = request(2, 2, 100);
    struct payment over, next, p;
    struct step_row taken = {.next = &next, .takes_phone = true};

    claim(f, f->a, &row, 1);
    over = waiting(&row.payment, WAIT_RETRY);
    over.pushed_at = 0;
    assert_int_equal(step_one(f, &row.payment, &over), STEP_WRITTEN);
    settle_a(f);
    next = attempted(&over);
    assert_int_equal(step_one(f, &over, &next), STEP_STALE);
    p = look(f, &row);
    assert_same(&p, &over);
    claim(f, f->a, &later, 1); /* nor by a first claim: it waits for others */
    assert_int_equal(later.verdict, CLAIM_WAIT);
    next.owner = 2;
    taken.seen = &over;
    assert_int_equal(step(f, f->b, &taken, 1), ERR_NONE);
    assert_int_equal(taken.end, STEP_WRITTEN);
}

static void a_release_and_an_attempt_in_one_call(void **state)
{
    struct fixture *f = *state;
    struct claim_row rows[3];
    struct payment over, first, second;
    struct step_row steps[3];
    int busy = 0;

    claim_queue(f, rows, 3, 1);
    over = ended(&rows[0].payment, PAYMENT_FAILED);
    first = attempted(&rows[1].payment);
    second = attempted(&rows[2].payment);
    steps[0] = (struct step_row){.seen = &rows[1].payment, .next = &first};
    steps[1] = (struct step_row){.seen = &rows[2].payment, .next = &second};
    steps[2] = (struct step_row){.seen = &rows[0].payment, .next = &over};
    steps[0].takes_phone = steps[1].takes_phone = true;
    steps[2].wakes_phone = true;
    assert_int_equal(step(f, f->a, steps, 3), ERR_NONE);
    assert_int_equal(steps[2].end, STEP_WRITTEN);
    for (int i = 0; i < 2; i++)
        busy += steps[i].end == STEP_PHONE_BUSY;
    assert_int_equal(busy, 1);
    assert_int_equal((int)steps[0].end + (int)steps[1].end,
                     STEP_WRITTEN + STEP_PHONE_BUSY);
    assert_int_equal(
        ask(f->other, "SELECT count(*) FROM payments WHERE holds_phone"), 1);
}

/* One step with an alarm, from @p seen to @p next. */
static enum step_end alarm(struct fixture *f, const struct payment *seen,
                           const struct payment *next, enum flow_action action)
{
    bool actions[FLOW_ACTIONS_N] = {[FLOW_DO_STOP_LINE] = true};
    struct step_row row = {.seen = seen,
                           .next = next,
                           .cause = FLOW_DUE,
                           .actions = actions,
                           .receipt = "UNITRCPT1"};

    actions[action] = true;
    assert_int_equal(step(f, f->a, &row, 1), ERR_NONE);
    return row.end;
}

static void alarms_are_written_with_their_step(void **state)
{
    struct fixture *f = *state;
    struct claim_row rows[1];
    struct payment seen, next;

    claim_queue(f, rows, 1, 1);
    seen = rows[0].payment;
    next = ended(&seen, PAYMENT_UNRESOLVED);
    seen.version++; /* stale */
    assert_int_equal(alarm(f, &seen, &next, FLOW_DO_ALARM_UNRESOLVED),
                     STEP_STALE);
    assert_int_equal(ask(f->other, "SELECT count(*) FROM alarms"), 0);
    seen.version--;
    assert_int_equal(alarm(f, &seen, &next, FLOW_DO_ALARM_UNRESOLVED),
                     STEP_WRITTEN);
    assert_int_equal(ask(f->other, "SELECT count(*) FROM alarms WHERE "
                                   "kind = 'unresolved' AND seen_at IS NULL "
                                   "AND receipt = 'UNITRCPT1'"),
                     1);
    next.updated_at++; /* another's decision, that came to the same version */
    assert_int_equal(alarm(f, &seen, &next, FLOW_DO_ALARM_LATE), STEP_STALE);
    assert_int_equal(ask(f->other, "SELECT count(*) FROM alarms"), 1);
    next.updated_at--;
    seen = next; /* then it is paid twice, and resolved by that */
    next = ended(&seen, PAYMENT_SUCCEEDED);
    assert_int_equal(alarm(f, &seen, &next, FLOW_DO_ALARM_DOUBLE),
                     STEP_WRITTEN);
    assert_int_equal(ask(f->other, "SELECT count(*) FROM alarms WHERE "
                                   "kind = 'unresolved' AND seen_at > at"),
                     1);
    assert_int_equal(ask(f->other,
                         "SELECT count(*) FROM alarms WHERE seen_at IS NULL "
                         "AND kind = 'possible_double_charge'"),
                     1);
    assert_int_equal(ask(f->other, "SELECT count(*) FROM alarms"), 2);
}

/* Somebody else takes the phone between the look and the write. */
static void a_race_for_a_phone_has_one_winner(void **state)
{
    struct fixture *f = *state;
    struct claim_row rows[4];
    struct payment next[3];
    struct step_row steps[3];
    struct pg_session *s = open_session(conninfo);

    for (int i = 0; i < 4; i++) {
        struct payment over;

        rows[i] = request(i, i < 2 ? 1 : i, 100 + i);
        claim(f, f->a, &rows[i], 1);
        if (rows[i].verdict != CLAIM_GO)
            continue;
        over = waiting(&rows[i].payment, WAIT_RETRY);
        assert_int_equal(step_one(f, &rows[i].payment, &over), STEP_WRITTEN);
        rows[i].payment = over;
    }
    for (int i = 0; i < 3; i++) {
        next[i] = attempted(&rows[i + 1].payment);
        steps[i] = (struct step_row){.seen = &rows[i + 1].payment,
                                     .next = &next[i],
                                     .takes_phone = true};
    }
    run(s, "BEGIN; UPDATE payments SET holds_phone = true "
           "WHERE source_offset = 0");
    f->done = 0;
    store_step(f->a, steps, 3, on_step, f);
    turn_until_blocked(f, 1);
    run(s, "COMMIT");
    pg_session_close(s);
    turn_until_done(f, 1);
    assert_int_equal(f->code, ERR_NONE);
    assert_true(f->now_at > 0);
    assert_int_equal(steps[0].end, STEP_PHONE_BUSY);
    assert_int_equal(steps[1].end, STEP_WRITTEN);
    assert_int_equal(steps[2].end, STEP_WRITTEN);
    assert_true(steps[2].lease_us > 0);
}

static void a_refused_row_spoils_no_other(void **state)
{
    struct fixture *f = *state;
    struct claim_row rows[3];
    struct payment next[3];
    struct step_row steps[3];

    for (int i = 0; i < 3; i++) {
        rows[i] = request(i, i, 100);
        claim(f, f->a, &rows[i], 1);
        next[i] = ended(&rows[i].payment, PAYMENT_FAILED);
        steps[i] =
            (struct step_row){.seen = &rows[i].payment, .next = &next[i]};
    }
    (void)snprintf(next[1].text, sizeof(next[1].text), "\xff");
    assert_int_equal(step(f, f->a, steps, 3), ERR_NONE);
    assert_int_equal(steps[0].end, STEP_WRITTEN);
    assert_int_equal(steps[1].end, STEP_REFUSED);
    assert_true(*steps[1].why.text);
    assert_int_equal(steps[2].end, STEP_WRITTEN);
    assert_int_equal(step(f, f->a, &steps[1], 1), ERR_NONE);
    assert_int_equal(steps[1].end, STEP_REFUSED);
    assert_true(f->now_at > 0);
}

static void an_alarm_alone_rings_anew(void **state)
{
    struct fixture *f = *state;
    struct uuid id = {{7}};
    int64_t end_us = clock_now_us() + WAIT_MAX_US;

    store_alarm(f->a, &id, 1, "set_aside", "callback: refused");
    while (store_busy(f->a) && clock_now_us() < end_us)
        loop_once(f->loop, US_PER_S);
    run(f->other, "UPDATE alarms SET seen_at = now(), seen_by = 'x'");
    store_alarm(f->a, &id, 1, "set_aside", "callback: refused again");
    while (store_busy(f->a) && clock_now_us() < end_us)
        loop_once(f->loop, US_PER_S);
    assert_int_equal(ask(f->other, "SELECT count(*) FROM alarms WHERE "
                                   "seen_at IS NULL AND kind = 'set_aside' "
                                   "AND text = 'callback: refused again'"),
                     1);
}

/* --- receipts --- */

#define HOLDERS 6

/* What was found for each row: 0 nobody, 1 weaker, 2 as good. */
static int held[HOLDERS];

static void on_holder(void *tag, const struct uuid *holder, bool equal)
{
    assert_non_null(holder);
    *(int *)tag = equal ? 2 : 1;
}

static void receipts_that_others_have(void **state)
{
    struct fixture *f = *state;
    struct claim_row row = request(1, 1, 100);
    const struct uuid *has = &row.req.id, one = {{1, 1}}, two = {{2, 2}};
    const struct holder_row rows[HOLDERS] = {
        {*has, "SKL12345", EVIDENCE_CALLBACK, &held[0]},
        {one, "SKL12345", EVIDENCE_QUERY, &held[1]},
        {one, "SKL99999", EVIDENCE_CALLBACK, &held[2]},
        {two, "SKL99999", EVIDENCE_CALLBACK, &held[3]},
        {one, "SKL77777", EVIDENCE_CALLBACK, &held[4]},
        {one, "SKL77777", EVIDENCE_CALLBACK, &held[5]},
    };
    struct holder_row mine = {one, "SKL12345", EVIDENCE_C2B, &held[0]};
    struct payment next;

    claim(f, f->a, &row, 1);
    next = full(&row.payment);
    next.state = PAYMENT_SUCCEEDED;
    next.evidence = EVIDENCE_C2B;
    assert_int_equal(step_one(f, &row.payment, &next), STEP_WRITTEN);
    memset(held, 0, sizeof(held));
    store_holders(f->a, rows, HOLDERS, on_holder);
    (void)look(f, &row);          /* answered in order */
    assert_int_equal(held[0], 0); /* its own */
    assert_int_equal(held[1], 2); /* no weaker one; the other is before it */
    assert_int_equal(held[2], 0);
    assert_int_equal(held[3], 2); /* the first one of this batch gets it */
    assert_int_equal(held[5], 0); /* one payment, told twice */
    store_holders(f->a, &mine, 1, on_holder);
    (void)look(f, &row);
    assert_int_equal(held[0], 2);
    mine.evidence = EVIDENCE_CALLBACK;
    store_holders(f->a, &mine, 1, on_holder);
    (void)look(f, &row);
    assert_int_equal(held[0], 1);
    mine.evidence = EVIDENCE_PERSON; /* others are asked about that before */
    held[0] = 0;
    store_holders(f->a, &mine, 1, on_holder);
    (void)look(f, &row);
    assert_int_equal(held[0], 0);
}

/* --- waking --- */

static const char woken_sql[] =
    "SELECT count(*) FROM payments WHERE state = 3 AND next_action_at <= now()";

static void a_release_wakes_one_waiter(void **state)
{
    struct fixture *f = *state;
    struct claim_row rows[5], other = request(50, 2, 100);
    struct payment over;

    claim_queue(f, rows, 5, 1);
    claim(f, f->a, &other, 1);
    run(f->other, "UPDATE payments SET priority = 2 WHERE source_offset = 101");
    run(f->other, "UPDATE payments SET deadline_at = now(), priority = 0 "
                  "WHERE source_offset = 102");
    over = ended(&other.payment, PAYMENT_FAILED);
    assert_int_equal(step_one(f, &other.payment, &over), STEP_WRITTEN);
    assert_int_equal(ask(f->other, woken_sql), 0);
    over = ended(&rows[0].payment, PAYMENT_FAILED);
    assert_int_equal(step_one(f, &rows[0].payment, &over), STEP_WRITTEN);
    assert_int_equal(ask(f->other, woken_sql), 1);
    assert_int_equal(ask(f->other,
                         "SELECT source_offset FROM payments WHERE state = 3 "
                         "AND next_action_at <= now()"),
                     103);
}

/* Who may not go for two minutes is passed over; who may comes next. */
static void a_wake_goes_to_one_that_can_go(void **state)
{
    struct fixture *f = *state;
    struct claim_row rows[4];
    struct payment over;

    claim_queue(f, rows, 4, 1);
    run(f->other, "UPDATE payments SET amount = 100 "
                  "WHERE source_offset IN (101, 102)");
    over = ended(&rows[0].payment, PAYMENT_FAILED);
    assert_int_equal(step_one(f, &rows[0].payment, &over), STEP_WRITTEN);
    assert_int_equal(ask(f->other,
                         "SELECT source_offset FROM payments WHERE state = 3 "
                         "AND next_action_at <= now()"),
                     103);
}

/* Somebody has the first one in hand: the next one is woken. */
static void a_wake_passes_over_who_is_in_hand(void **state)
{
    struct fixture *f = *state;
    struct claim_row rows[3];
    struct payment over;
    struct pg_session *s = open_session(conninfo);

    claim_queue(f, rows, 3, 1);
    run(s, "BEGIN; SELECT FROM payments WHERE source_offset = 101 FOR UPDATE");
    over = ended(&rows[0].payment, PAYMENT_FAILED);
    assert_int_equal(step_one(f, &rows[0].payment, &over), STEP_WRITTEN);
    run(s, "ROLLBACK");
    pg_session_close(s);
    assert_int_equal(ask(f->other,
                         "SELECT source_offset FROM payments WHERE state = 3 "
                         "AND next_action_at <= now()"),
                     102);
}

static void a_phone_still_held_wakes_nobody(void **state)
{
    struct fixture *f = *state;
    struct claim_row rows[2];
    struct payment stale, over;

    claim_queue(f, rows, 2, 1);
    stale = rows[0].payment;
    stale.version = 9;
    over = ended(&stale, PAYMENT_FAILED);
    assert_int_equal(step_one(f, &stale, &over), STEP_STALE);
    assert_int_equal(ask(f->other, woken_sql), 0);
}

/* --- due --- */

/* Four payments per priority, none of them prompted or paid. */
static void make_due(struct fixture *f)
{
    for (int i = 0; i < 12; i++) {
        struct claim_row row = request(i, i, 100);
        struct payment next;

        row.req.priority = (enum priority)(i / 4);
        claim(f, f->a, &row, 1);
        next = waiting(&row.payment, i % 4 == 3 ? WAIT_PROOF : WAIT_RETRY);
        if (i % 4 == 1)
            next.next_action_at = clock_wall_at() + HOUR_US;
        else
            next.next_action_at = clock_wall_at() - (i + 1) * US_PER_S;
        if (i % 4 != 2)
            assert_int_equal(step_one(f, &row.payment, &next), STEP_WRITTEN);
        else
            run(f->other, "UPDATE payments SET next_action_at = now() "
                          "WHERE state = 1");
    }
}

static void the_scan_leaves_pushes_to_their_pools(void **state)
{
    struct fixture *f = *state;

    make_due(f);
    /* of each priority sending and proof, not the retries */
    assert_int_equal(due(f, 100), 2 + 2 + 2);
    for (size_t i = 0; i < f->rows_n; i++) {
        const struct payment *p = &f->rows[i];

        assert_true(p->state != PAYMENT_WAITING || p->waits == WAIT_PROOF);
        assert_int_equal(p->next_action_at, f->now_at + MINUTE_US);
    }
    assert_int_equal(due(f, 100), 0);
    run(f->other, "UPDATE payments SET deadline_at = now(), "
                  "next_action_at = least(next_action_at, now()) "
                  "WHERE priority = 2 AND state = 3 AND waits = 1");
    assert_int_equal(due(f, 1), 1); /* past its deadline: anybody's */
    assert_int_equal(due(f, 1), 1);
    assert_int_equal(f->rows[0].req.priority, PRIORITY_LOW);
    assert_int_equal(due(f, 100), 0); /* those are in hand */
}

static void the_scan_takes_the_longest_due_first(void **state)
{
    struct fixture *f = *state;

    make_due(f);
    assert_int_equal(due(f, 2), 2);
    assert_int_equal(f->rows[0].source_offset + f->rows[1].source_offset,
                     11 + 7);
}

/* --- a clock that is not as expected --- */

static int64_t an_hour_off(void *arg)
{
    (void)arg;
    return clock_wall_at() - HOUR_US;
}

static int64_t nearly_right(void *arg)
{
    (void)arg;
    return clock_wall_at() - 2 * US_PER_S;
}

static void nothing_is_decided_by_a_clock_that_stepped(void **state)
{
    struct fixture *f = *state;
    struct claim_row rows[] = {request(1, 1, 100), request(2, 1, 100)};
    struct kafka_position at = {.topic = "t", .partition = 1, .offset = 7};

    make_due(f);
    store_expect(f->a, an_hour_off, NULL);
    assert_int_equal(claim_at(f, f->a, rows, 2, &at, 1), ERR_UNAVAILABLE);
    assert_int_equal(ask(f->other, "SELECT count(*) FROM intake"), 0);
    store_due(f->a, 100, MINUTE_US, on_rows, f);
    turn_until_done(f, f->done + 1);
    assert_int_equal(f->code, ERR_UNAVAILABLE);
    store_expect(f->a, nearly_right, NULL);
    assert_int_equal(claim_at(f, f->a, rows, 2, &at, 1), ERR_NONE);
    assert_int_equal(ask(f->other, "SELECT next_offset FROM intake"), 7);
    assert_true(due(f, 100) > 0); /* its times were not moved */
}

/* What was written while the clock was a day ahead; windows of an hour, and a
   longest wait of a minute and a half. */
static void what_is_due_too_late_is_pulled_near(void **state)
{
    struct fixture *f = *state;
    struct claim_row rows[] = {request(1, 1, 100), request(2, 2, 100),
                               request(3, 3, 100)};

    claim(f, f->a, rows, 3);
    run(f->other, "UPDATE payments SET next_action_at = now() + CASE msisdn "
                  "% 10 WHEN 1 THEN interval '1 day' ELSE interval '1 min' "
                  "END, pushed_at = next_action_at");
    run(f->other, "INSERT INTO workers (host, boot, pid, recorder, "
                  "heartbeat_at) VALUES ('h', 'b', 1, '', now() + interval "
                  "'1 day'), ('h', 'b', 2, '', now() - interval '1 day')");
    store_pull_near(f->a, on_done, f);
    turn_until_done(f, f->done + 1);
    assert_int_equal(f->code, ERR_NONE);
    assert_int_equal(due(f, 100), 1);
    assert_int_equal(f->rows[0].req.msisdn, PHONE + 1);
    assert_true(f->rows[0].pushed_at <= f->now_at);
    assert_int_equal(ask(f->other, "SELECT count(*) FROM workers "
                                   "WHERE heartbeat_at > now()"),
                     0);
    assert_int_equal(ask(f->other, "SELECT count(*) FROM workers WHERE "
                                   "heartbeat_at < now() - interval '1 h'"),
                     1);
}

/* 1,000 prompted payments to 200 phones, due; one of each holds its phone. */
static void fill(struct fixture *f)
{
    run(f->other,
        "INSERT INTO payments (id, client, fingerprint, msisdn, amount, "
        "shortcode, priority, ask_again, reference, description, "
        "requested_at, deadline_at, source_topic, source_partition, "
        "source_offset, state, version, attempt, spent, holds_phone, "
        "pushed_at, next_action_at) SELECT gen_random_uuid(), "
        "gen_random_uuid(), decode(md5(n::text), 'hex'), "
        "254700000000 + n % 200, 10, 174379, 1, 0, 'R', 'D', now(), "
        "now() + interval '1 h', 1, 0, n, 2, 1, 1, 0, n <= 200, now(), "
        "now() - interval '1 s' FROM generate_series(1, 1000) AS n");
}

static void two_scanners_share_nothing(void **state)
{
    struct fixture *f = *state;

    fill(f);
    for (int round = 0; round < 5; round++) {
        store_due(f->a, 150, HOUR_US, on_rows, f);
        store_due(f->b, 150, HOUR_US, on_rows, f);
        turn_until_done(f, 2 * round + 2);
        assert_int_equal(f->code, ERR_NONE);
    }
    (void)due(f, 1000);
    assert_int_equal(f->all_n, 1000); /* each once: they are held an hour */
}

/* --- told --- */

static enum err_code tell(struct fixture *f, struct told_row *rows, size_t n)
{
    store_told(f->a, rows, n, on_done, f);
    turn_until_done(f, f->done + 1);
    return f->code;
}

static void what_is_told_is_not_owed(void **state)
{
    struct fixture *f = *state;
    struct claim_row row = request(1, 1, 100), late = request(2, 2, 100);
    struct payment p, next;
    struct told_row told[3];

    late.deadline_at = clock_wall_at() - 1;
    claim(f, f->a, &row, 1);
    claim(f, f->a, &late, 1);
    told[0] = (struct told_row){row.req.id, 1};
    told[1] = (struct told_row){late.req.id, 1};
    assert_int_equal(tell(f, told, 2), ERR_NONE);
    p = look(f, &late); /* final */
    assert_int_equal(p.published_version, 1);
    assert_int_equal(p.next_action_at, 0);
    p = look(f, &row); /* not final */
    assert_int_equal(p.published_version, 1);
    assert_int_equal(p.next_action_at, row.payment.next_action_at);

    next = ended(&p, PAYMENT_SUCCEEDED);
    assert_int_equal(step_one(f, &p, &next), STEP_WRITTEN);
    told[0].version = 1; /* an old report */
    assert_int_equal(tell(f, told, 1), ERR_NONE);
    p = look(f, &row);
    assert_int_equal(p.next_action_at, next.next_action_at);
    for (int i = 0; i < 3; i++) /* several versions at once */
        told[i] = (struct told_row){row.req.id, i == 1 ? 2 : 1};
    assert_int_equal(tell(f, told, 3), ERR_NONE);
    p = look(f, &row);
    assert_int_equal(p.published_version, 2);
    assert_int_equal(p.next_action_at, 0);
    told[0].version = 1;
    assert_int_equal(tell(f, told, 1), ERR_NONE);
    assert_int_equal(look(f, &row).published_version, 2);
}

static void an_old_report_settles_nothing(void **state)
{
    struct fixture *f = *state;
    struct claim_row row = request(1, 1, 100);
    struct told_row told = {row.req.id, 1};
    struct payment p, next;

    claim(f, f->a, &row, 1);
    next = ended(&row.payment, PAYMENT_FAILED);
    assert_int_equal(step_one(f, &row.payment, &next), STEP_WRITTEN);
    assert_int_equal(tell(f, &told, 1), ERR_NONE);
    p = look(f, &row);
    assert_int_equal(p.published_version, 1);
    assert_int_equal(p.next_action_at, next.next_action_at);
}

/* --- the rest --- */

static void rows_that_are_not_there_are_not_found(void **state)
{
    struct fixture *f = *state;
    struct uuid ids[2] = {{{1}}, {{2}}};

    store_look(f->a, ids, 2, on_rows, f);
    turn_until_done(f, 1);
    assert_int_equal(f->code, ERR_NONE);
    assert_int_equal(f->rows_n, 0);
    assert_true(llabs(f->now_at - clock_wall_at()) < MINUTE_US);
}

static void on_positions(void *arg, const char *ledger,
                         const struct kafka_position *positions, size_t n,
                         const struct err *err)
{
    struct fixture *f = arg;

    on_done(arg, err);
    assert_int_equal(n, 3);
    assert_true(strtoll(ledger, NULL, 10) > 0);
    assert_non_null(strstr(ledger, "/1"));
    assert_string_equal(positions[1].topic, "u");
    assert_int_equal(positions[0].offset, KAFKA_BEGINNING);
    assert_int_equal(positions[1].offset, 6);
    assert_int_equal(positions[2].offset, 5);
    assert_int_equal(positions[2].committed, 4);
    f->done++;
}

static void positions_come_from_intake(void **state)
{
    struct fixture *f = *state;
    struct kafka_position at[] = {position("t", 1, 5), position("u", 0, 6)};
    struct kafka_position ask_for[] = {
        position("u", 1, -1), position("u", 0, -1), position("t", 1, -1)};

    assert_int_equal(claim_at(f, f->a, NULL, 0, at, 2), ERR_NONE);
    ask_for[2].committed = 4;
    store_positions(f->a, ask_for, 3, on_positions, f);
    turn_until_done(f, 3);
}

static void strays_are_kept_byte_for_byte(void **state)
{
    struct fixture *f = *state;
    struct uuid id = {{1}};

    store_stray(f->a, &id, 2, "malformed", "{\0\xff", 3, on_done, f);
    turn_until_done(f, 1);
    assert_int_equal(f->code, ERR_NONE);
    assert_int_equal(ask(f->other,
                         "SELECT count(*) FROM stray_callbacks WHERE "
                         "body = '\\x7b00ff' AND attempt = 2 AND why = "
                         "'malformed'"),
                     1);
}

static void nothing_happens_while_it_is_away(void **state)
{
    struct fixture *f = *state;
    struct claim_row row = request(1, 1, 100);

    store_free(f->b);
    f->b = store_new(f->loop, &f->cfg, NULL, NULL);
    store_set_owner(f->b, 2);
    assert_false(store_up(f->b, NULL, 0));
    assert_int_equal(claim_at(f, f->b, &row, 1, NULL, 0), ERR_UNAVAILABLE);
    assert_int_equal(ask(f->other, "SELECT count(*) FROM payments"), 0);
}

/* --- plans --- */

static int params_of(const char *sql)
{
    int n = 0;

    for (const char *p = strchr(sql, '$'); p; p = strchr(p + 1, '$'))
        n = MAX(n, (int)strtol(p + 1, NULL, 10));
    return n;
}

/* The plan of a statement, as the worker's session would run it. */
static void explain(struct pg_session *s, const struct pg_statement *statement,
                    struct buf *out)
{
    CLEANUP(pg_text_rows_free)
    struct pg_text_rows *rows = NULL;
    int n = params_of(statement->sql);
    struct err err;

    buf_reset(out);
    buf_addf(out, "EXPLAIN EXECUTE \"%s\"", statement->name);
    for (int i = 0; i < n; i++)
        buf_addf(out, "%sNULL", i ? ", " : "(");
    buf_adds(out, n ? ")" : "");
    if (pg_session_exec(s, out->data, NULL, 0, &rows, &err))
        fail_msg("%s: %s", out->data, err.text);
    buf_reset(out);
    for (size_t i = 0; i < pg_text_rows_n(rows); i++)
        buf_addf(out, "%s\n", pg_text_value(rows, i, 0));
}

static void check_plan(struct pg_session *s, size_t i, struct buf *plan)
{
    static const char *const banned[] = {"Seq Scan on payments", "Hash Join",
                                         "Merge Join", "Seq Scan on intake",
                                         "Bitmap"};
    static const char *const used[STORE_STATEMENTS_N] = {
        [STORE_GO] = "payments_msisdn",    [STORE_LOOK] = "payments_pkey",
        [STORE_STEP] = "payments_pkey",    [STORE_TAKE] = "payments_phone",
        [STORE_WAKE] = "payments_waiters", [STORE_TOLD] = "payments_pkey",
        [STORE_DUE] = "payments_due",      [STORE_LANES] = "payments_ready",
        [STORE_READY] = "payments_ready",  [STORE_POSITIONS] = "intake_pkey"};
    static const char *const too[STORE_STATEMENTS_N] = {
        [STORE_DUE] = "payments_late",
    };

    explain(s, &store_statements[i], plan);
    for (size_t j = 0; j < ARRAY_LEN(banned); j++)
        if (strstr(plan->data, banned[j]))
            fail_msg("%s: %s in\n%s", store_statements[i].name, banned[j],
                     plan->data);
    if (used[i] && !strstr(plan->data, used[i]))
        fail_msg("%s: no %s in\n%s", store_statements[i].name, used[i],
                 plan->data);
    if (too[i] && !strstr(plan->data, too[i]))
        fail_msg("%s: no %s in\n%s", store_statements[i].name, too[i],
                 plan->data);
}

static void plans_are_by_index(void **state)
{
    struct fixture *f = *state;
    struct pg_session *s = open_session(conninfo);
    struct buf text;

    buf_init(&text, TEXT_OF_MAX);
    for (size_t i = 0; pg_pinned_session[i]; i++)
        run(s, pg_pinned_session[i]);
    for (size_t i = 0; i < STORE_STATEMENTS_N; i++) {
        buf_reset(&text);
        buf_addf(&text, "PREPARE \"%s\" AS %s", store_statements[i].name,
                 store_statements[i].sql);
        run(s, text.data);
    }
    for (size_t i = 0; i < STORE_STATEMENTS_N; i++)
        check_plan(s, i, &text);
    fill(f); /* and with rows that the planner knows of */
    run(f->other, "ANALYZE payments");
    for (size_t i = 0; i < STORE_STATEMENTS_N; i++)
        check_plan(s, i, &text);
    buf_done(&text);
    pg_session_close(s);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_claim_takes_the_phone_and_goes),
        TEST(an_attempt_names_the_key_of_its_callback),
        TEST(a_lease_ends_at_the_deadline),
        TEST(a_busy_phone_waits),
        TEST(one_phone_twice_in_a_batch),
        TEST(equal_amounts_stay_apart),
        TEST(what_was_not_sent_bars_nobody),
        TEST(a_late_request_is_rejected),
        TEST(a_known_id_is_the_same_or_another),
        TEST(one_id_twice_in_a_batch),
        TEST(an_own_claim_is_known_again),
        TEST(an_own_claim_is_known_when_taken_over),
        TEST(an_old_own_claim_has_no_lease),
        TEST(positions_never_go_back),
        TEST(a_refused_claim_leaves_nothing),
        TEST(a_refused_rest_is_found_at_the_second_try),
        TEST(a_lost_answer_is_unsure),
        TEST(opposite_orders_do_not_deadlock),
        TEST(a_step_writes_the_whole_row),
        TEST(a_stale_version_loses),
        TEST(a_rewrite_keeps_its_version),
        TEST(an_attempt_needs_its_phone),
        TEST(an_attempt_minds_equal_amounts),
        TEST(who_is_settled_takes_no_phone),
        TEST(a_release_and_an_attempt_in_one_call),
        TEST(a_race_for_a_phone_has_one_winner),
        TEST(a_refused_row_spoils_no_other),
        TEST(an_alarm_alone_rings_anew),
        TEST(receipts_that_others_have),
        TEST(a_release_wakes_one_waiter),
        TEST(a_wake_goes_to_one_that_can_go),
        TEST(a_wake_passes_over_who_is_in_hand),
        TEST(a_phone_still_held_wakes_nobody),
        TEST(the_scan_leaves_pushes_to_their_pools),
        TEST(the_scan_takes_the_longest_due_first),
        TEST(nothing_is_decided_by_a_clock_that_stepped),
        TEST(what_is_due_too_late_is_pulled_near),
        TEST(two_scanners_share_nothing),
        TEST(what_is_told_is_not_owed),
        TEST(an_old_report_settles_nothing),
        TEST(rows_that_are_not_there_are_not_found),
        TEST(positions_come_from_intake),
        TEST(strays_are_kept_byte_for_byte),
        TEST(nothing_happens_while_it_is_away),
        TEST(alarms_are_written_with_their_step),
        TEST(plans_are_by_index),
    };

    return cmocka_run_group_tests(tests, make_database, NULL);
}
