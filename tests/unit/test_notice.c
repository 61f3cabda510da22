/*
 * Notices: what one look means, as a table; phones; and the statements against
 * a real server.
 */
#include "consumer/notice.h"

#include "common/clock.h"
#include "common/loop.h"
#include "common/metrics.h"
#include "consumer/notice_priv.h"
#include "tests/unit/ledger.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define PATIENCE_US (60 * US_PER_S)
#define FOUND_MAX 32
#define WINDOW_MS 900000

/* --- what a look means --- */

#define PLACE(n, e, f)                                                    \
    {                                                                     \
        .there = true, .payment.b = {n}, .attempt = (n), .evidence = (e), \
        .fits = (f),                                                      \
    }
#define C2B .source = EVIDENCE_C2B

static const struct judged {
    const char *name;
    struct notice_look look;
    enum notice_act_kind kind;
    int what;    /* enum notice_means, or enum notice_disposition        */
    int payment; /* first byte of its id, 0 = none                       */
    bool closed;
} judged[] = {
    {"nobody yet", {C2B}, NOTICE_LEAVE, 0, 0, false},
    {"nobody any more",
     {C2B, .over = true},
     NOTICE_SETTLE,
     NOTICE_UNMATCHED,
     0,
     false},
    {"still nobody",
     {C2B, .over = true, .disposition = NOTICE_UNMATCHED},
     NOTICE_LEAVE,
     0,
     0,
     false},
    {"one",
     {C2B, .open = PLACE(1, 0, true), .open_n = 1},
     NOTICE_FIND,
     NOTICE_MONEY,
     1,
     false},
    {"one, late",
     {C2B, .open = PLACE(1, 0, true), .open_n = 1, .over = true,
      .disposition = NOTICE_UNMATCHED},
     NOTICE_FIND,
     NOTICE_MONEY,
     1,
     false},
    {"one, and a prompt that fits too",
     {C2B, .open = PLACE(1, 0, true), .open_n = 1, .under_way = true},
     NOTICE_LEAVE,
     0,
     0,
     false},
    {"two",
     {C2B, .open = PLACE(1, 0, true), .open_n = 2},
     NOTICE_SETTLE,
     NOTICE_AMBIGUOUS,
     0,
     false},
    {"two before, one now",
     {C2B, .open = PLACE(1, 0, true), .open_n = 1,
      .disposition = NOTICE_AMBIGUOUS},
     NOTICE_FIND,
     NOTICE_MONEY,
     1,
     false},
    {"a callback was first",
     {C2B, .holder = PLACE(1, EVIDENCE_CALLBACK, true)},
     NOTICE_FORGET,
     0,
     0,
     false},
    {"a callback had it for a payment that it does not fit",
     {C2B, .holder = PLACE(1, EVIDENCE_CALLBACK, false),
      .open = PLACE(2, 0, true), .open_n = 1},
     NOTICE_FORGET,
     0,
     0,
     false},
    {"applied",
     {C2B, .holder = PLACE(1, EVIDENCE_C2B, true)},
     NOTICE_SETTLE,
     NOTICE_APPLIED,
     1,
     false},
    {"applied, looked at once more",
     {C2B, .holder = PLACE(1, EVIDENCE_C2B, true),
      .disposition = NOTICE_APPLIED},
     NOTICE_SETTLE,
     NOTICE_APPLIED,
     1,
     true},
    {"applied, and its callback came",
     {C2B, .holder = PLACE(1, EVIDENCE_CALLBACK, true),
      .disposition = NOTICE_APPLIED},
     NOTICE_SETTLE,
     NOTICE_APPLIED,
     1,
     true},
    {"a person had said so",
     {C2B, .holder = PLACE(1, EVIDENCE_PERSON, true)},
     NOTICE_FIND,
     NOTICE_MONEY,
     1,
     false},
    {"a person had said so of another",
     {C2B, .holder = PLACE(1, EVIDENCE_PERSON, false),
      .open = PLACE(2, 0, true), .open_n = 1},
     NOTICE_FIND,
     NOTICE_TAKEN,
     1,
     false},
    {"a person had said so of another, and two fit",
     {C2B, .holder = PLACE(1, EVIDENCE_PERSON, false),
      .open = PLACE(2, 0, true), .open_n = 2},
     NOTICE_SETTLE,
     NOTICE_AMBIGUOUS,
     0,
     false},
    {"a person had said so of another, and a prompt fits too",
     {C2B, .holder = PLACE(1, EVIDENCE_PERSON, false),
      .open = PLACE(2, 0, true), .open_n = 1, .under_way = true},
     NOTICE_SETTLE,
     NOTICE_AMBIGUOUS,
     0,
     false},
    {"a person had said so, and it fits nobody",
     {C2B, .holder = PLACE(1, EVIDENCE_PERSON, false)},
     NOTICE_SETTLE,
     NOTICE_AMBIGUOUS,
     0,
     false},
    {"two have it",
     {C2B, .holder = PLACE(1, EVIDENCE_CALLBACK, true),
      .rival = PLACE(2, EVIDENCE_C2B, true)},
     NOTICE_FIND,
     NOTICE_TAKEN,
     2,
     false},
    {"pull after c2b",
     {.source = EVIDENCE_PULL, .holder = PLACE(1, EVIDENCE_C2B, true)},
     NOTICE_FORGET,
     0,
     0,
     false},
    {"one, and another notice denies it",
     {C2B, .denied = true, .open = PLACE(1, 0, true), .open_n = 1},
     NOTICE_SETTLE,
     NOTICE_AMBIGUOUS,
     0,
     false},
    {"still denied",
     {C2B, .denied = true, .open = PLACE(1, 0, true), .open_n = 1,
      .disposition = NOTICE_AMBIGUOUS},
     NOTICE_LEAVE,
     0,
     0,
     false},
    {"denied, and a callback has it",
     {C2B, .denied = true, .holder = PLACE(1, EVIDENCE_CALLBACK, true)},
     NOTICE_SETTLE,
     NOTICE_AMBIGUOUS,
     0,
     false},
    {"denied when it was applied",
     {C2B, .denied = true, .holder = PLACE(1, EVIDENCE_C2B, true),
      .disposition = NOTICE_APPLIED},
     NOTICE_SETTLE,
     NOTICE_APPLIED,
     1,
     true},
    {"a decision",
     {.source = EVIDENCE_PERSON,
      .payment.b = {1},
      .attempt = 1,
      .seen_so = true},
     NOTICE_FIND,
     NOTICE_DECISION,
     1,
     false},
    {"a decision about what was",
     {.source = EVIDENCE_PERSON, .attempt = 1},
     NOTICE_SETTLE,
     NOTICE_REFUSED,
     0,
     true},
    {"a decision that was written",
     {.source = EVIDENCE_PERSON, .attempt = 1, .resolved = true},
     NOTICE_SETTLE,
     NOTICE_APPLIED,
     0,
     true},
    {"a receipt that another has",
     {.source = EVIDENCE_PERSON, .attempt = 1, .seen_so = true, .owned = true},
     NOTICE_SETTLE,
     NOTICE_REFUSED,
     0,
     true},
    {"again, while its worker lives",
     {.source = EVIDENCE_PERSON,
      .attempt = 1,
      .seen_so = true,
      .decision = RESOLVE_AGAIN},
     NOTICE_SETTLE,
     NOTICE_REFUSED,
     0,
     true},
    {"not paid, while its worker lives",
     {.source = EVIDENCE_PERSON,
      .attempt = 1,
      .seen_so = true,
      .decision = RESOLVE_NOT_PAID},
     NOTICE_SETTLE,
     NOTICE_REFUSED,
     0,
     true},
    {"paid, while its worker lives",
     {.source = EVIDENCE_PERSON,
      .payment.b = {1},
      .attempt = 1,
      .seen_so = true,
      .decision = RESOLVE_PAID},
     NOTICE_FIND,
     NOTICE_DECISION,
     1,
     false},
    {"again, its worker is dead",
     {.source = EVIDENCE_PERSON,
      .payment.b = {1},
      .attempt = 1,
      .seen_so = true,
      .gone = true,
      .decision = RESOLVE_AGAIN},
     NOTICE_FIND,
     NOTICE_DECISION,
     1,
     false},
};

static void test_judge(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(judged); i++) {
        const struct judged *j = &judged[i];
        struct notice_act act;

        notice_judge(&j->look, &act);
        if (act.kind != j->kind || act.payment.b[0] != j->payment ||
            act.closed != j->closed ||
            (j->kind == NOTICE_FIND && (int)act.means != j->what) ||
            (j->kind == NOTICE_SETTLE && (int)act.disposition != j->what))
            fail_msg("%s: kind %d means %d disposition %d payment %d", j->name,
                     act.kind, act.means, act.disposition, act.payment.b[0]);
    }
}

static void test_taken_by_whom(void **state)
{
    struct notice_act act;
    struct notice_look look = {
        C2B,
        .holder = PLACE(1, EVIDENCE_CALLBACK, true),
        .rival = PLACE(2, EVIDENCE_C2B, true),
    };

    (void)state;
    notice_judge(&look, &act);
    assert_int_equal(act.stronger, EVIDENCE_CALLBACK);
    look = (struct notice_look){
        C2B,
        .holder = PLACE(1, EVIDENCE_PERSON, false),
        .open = PLACE(2, 0, true),
        .open_n = 1,
    };
    notice_judge(&look, &act);
    assert_int_equal(act.stronger, EVIDENCE_C2B);
}

static void test_phone(void **state)
{
    static const char hash[] =
        "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    static const char *const phones[][2] = {
        {"254708374149", "254708374149"},
        {"0708374149", "254708374149"},
        {"+254708374149", "254708374149"},
        {"2547 ***** 126", "2547*****126"},
        {"25470****149", "25470****149"},
        {"2547*****12", ""},
        {"2547*****1267", ""},
        {"254*******26", ""},
        {"************", ""},
        {"2547_____126", ""},
        {"2547%", ""},
        {"", ""},
        {"nobody", ""},
        {"0123456789ABCDEF0123456789abcdef0123456789abcdef0123456789abcdef",
         hash},
        {"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdeg",
         ""},
    };
    char out[NOTICE_PHONE_MAX + 1];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(phones); i++) {
        notice_phone(phones[i][0], out);
        assert_string_equal(out, phones[i][1]);
    }
}

/* --- the statements --- */

struct world {
    struct loop *loop;
    struct config cfg;
    struct shortcode codes[2];
    struct pg_session *other;
    struct notice *notice;
    bool unwanted;
    size_t stored;
    int puts;
    struct notice_finding found[FOUND_MAX];
    int found_n;
};

#define WAIT(w, cond)                                   \
    do {                                                \
        int64_t end_us_ = clock_now_us() + PATIENCE_US; \
        while (!(cond) && clock_now_us() < end_us_)     \
            loop_once((w)->loop, 10 * US_PER_MS);       \
        assert_true(cond);                              \
    } while (0)

static bool wanted(void *arg)
{
    struct world *w = arg;

    return !w->unwanted;
}

static void on_finding(void *arg, const struct notice_finding *f)
{
    struct world *w = arg;

    if (w->found_n < FOUND_MAX)
        w->found[w->found_n++] = *f;
}

static int make_database(void **state)
{
    (void)state;
    return ledger_make("foleni_notice");
}

static int set_up(void **state)
{
    struct world *w = NEW(struct world);
    struct notice_spec spec = {wanted, on_finding, w};

    w->other = ledger_session(ledger_conninfo);
    ledger_run(w->other,
               "TRUNCATE payments, notices, workers, timeline, alarms");
    w->loop = loop_new();
    w->codes[0] = (struct shortcode){
        .shortcode = 174379, .transaction_type = "CustomerPayBillOnline"};
    w->codes[1] =
        (struct shortcode){.shortcode = 600001,
                           .party_b = 600002,
                           .transaction_type = "CustomerBuyGoodsOnline"};
    w->cfg = (struct config){
        .database_conninfo = ledger_conninfo,
        .database_password = "",
        .worker_batch_max = 50,
        .worker_heartbeat_dead_ms = 3000,
        .notices_scan_ms = 5,
        .notices_first_look_ms = 5,
        .notices_window_ms = WINDOW_MS,
        .notices_keep_h = 720,
        .shortcodes = w->codes,
        .shortcodes_n = 2,
    };
    w->notice = notice_new(w->loop, &w->cfg, &spec);
    WAIT(w, notice_up(w->notice));
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;

    notice_free(w->notice);
    loop_free(w->loop);
    pg_session_close(w->other);
    free(w);
    return 0;
}

static void on_put(void *arg, size_t stored, const struct err *err)
{
    struct world *w = arg;

    if (err)
        fail_msg("%s", err->text);
    w->stored = stored;
    w->puts++;
}

/* Pushed half a minute before the money below; phone 2547080000NN. */
static void payment(struct world *w, int n, int state)
{
    ledger_payment(w->other, n, state, 0);
    ledger_runf(w->other,
                "UPDATE payments SET msisdn = 254708000001, "
                "pushed_at = now() - interval '30 s', holds_phone = %s "
                "WHERE id = '00000000-0000-4000-8000-%012d'",
                state == PAYMENT_PROMPTED ? "true" : "false", n);
}

static struct notice_record money(const char *receipt)
{
    return (struct notice_record){
        .source = EVIDENCE_C2B,
        .receipt = receipt,
        .shortcode = 174379,
        .phone = "25470****001",
        .amount = 100,
        .reference = "INV1",
        .paid_at = clock_wall_at(),
        .body = "{}",
        .body_len = 2,
    };
}

static void put(struct world *w, const struct notice_record *r)
{
    int puts = w->puts;

    notice_put(w->notice, r, 1, on_put, w);
    WAIT(w, w->puts > puts);
}

static void expect_found(struct world *w, enum notice_means means, int n)
{
    WAIT(w, w->found_n > 0);
    assert_int_equal(w->found[0].means, means);
    assert_int_equal(w->found[0].payment.b[15], n);
    w->found_n = 0;
}

static int64_t disposition(struct world *w, const char *receipt)
{
    char sql[200];

    snprintf(sql, sizeof(sql),
             "SELECT disposition FROM notices WHERE receipt = '%s'", receipt);
    return ledger_ask(w->other, sql);
}

/* Nothing is found, and the look at it has been made. */
static void expect_left(struct world *w, const char *receipt,
                        enum notice_disposition d)
{
    char sql[200];

    snprintf(sql, sizeof(sql), "SELECT looks FROM notices WHERE receipt = '%s'",
             receipt);
    WAIT(w, ledger_ask(w->other, sql) >= 2);
    assert_int_equal(disposition(w, receipt), d);
    assert_int_equal(w->found_n, 0);
}

static void test_singles_out(void **state)
{
    struct world *w = *state;
    struct notice_record r = money("UNITA1");

    payment(w, 1, PAYMENT_UNKNOWN);
    put(w, &r);
    assert_int_equal(w->stored, 1);
    expect_found(w, NOTICE_MONEY, 1);
    put(w, &r); /* repeated */
    assert_int_equal(w->stored, 0);
}

/* Each changes one fact, and then the payment does not fit. */
static void test_one_fact_that_differs(void **state)
{
    struct world *w = *state;
    struct notice_record rs[10];
    static const char *const receipts[] = {
        "UNITB0", "UNITB1", "UNITB2", "UNITB3", "UNITB4",
        "UNITB5", "UNITB6", "UNITB7", "UNITB8", "UNITB9"};

    payment(w, 1, PAYMENT_UNKNOWN);
    for (size_t i = 0; i < ARRAY_LEN(rs); i++)
        rs[i] = money(receipts[i]);
    rs[0].shortcode = 174378;
    rs[1].phone = "25471****001";
    rs[2].phone = "";
    rs[3].amount = 101;
    rs[4].reference = "INV2";
    rs[5].reference = "";
    rs[6].paid_at -= 100 * US_PER_S; /* before the push */
    rs[7].paid_at += (WINDOW_MS / 1000 + 1) * US_PER_S;
    rs[8].paid_at = 0;
    rs[9].phone =
        "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    notice_put(w->notice, rs, ARRAY_LEN(rs), on_put, w);
    WAIT(w, w->puts == 1);
    assert_int_equal(w->stored, ARRAY_LEN(rs));
    for (size_t i = 0; i < ARRAY_LEN(rs); i++)
        expect_left(w, receipts[i], NOTICE_OPEN);
}

static void test_phone_as_hash(void **state)
{
    CLEANUP(pg_text_rows_free)
    struct pg_text_rows *rows = NULL;
    struct world *w = *state;
    struct notice_record r = money("UNITC1");
    struct err err;

    payment(w, 1, PAYMENT_UNRESOLVED);
    must(!pg_session_exec(w->other,
                          "SELECT encode(sha256('254708000001'), 'hex')", NULL,
                          0, &rows, &err));
    r.phone = pg_text_value(rows, 0, 0);
    put(w, &r);
    expect_found(w, NOTICE_MONEY, 1);
}

static void test_two_that_fit(void **state)
{
    struct world *w = *state;
    struct notice_record r = money("UNITD1");

    payment(w, 1, PAYMENT_UNKNOWN);
    payment(w, 2, PAYMENT_UNRESOLVED);
    put(w, &r);
    expect_left(w, "UNITD1", NOTICE_AMBIGUOUS);
    ledger_run(w->other, "UPDATE payments SET state = 7, evidence = 6 "
                         "WHERE id::text LIKE '%2'");
    expect_found(w, NOTICE_MONEY, 1);
}

/* "Not paid" is a person's word, and it is proven wrong; but it tells two
   payments apart. */
static void test_persons_word(void **state)
{
    struct world *w = *state;
    struct notice_record r = money("UNITD5"), other = money("UNITD6");

    payment(w, 1, PAYMENT_FAILED);
    payment(w, 2, PAYMENT_UNKNOWN);
    ledger_run(w->other, "UPDATE payments SET evidence = 2 WHERE state = 7");
    put(w, &r);
    expect_found(w, NOTICE_MONEY, 2);
    ledger_run(w->other, "UPDATE payments SET state = 6, evidence = 5, "
                         "receipt = 'UNITD5' WHERE state = 4");
    WAIT(w, disposition(w, "UNITD5") == NOTICE_APPLIED);
    w->found_n = 0;
    put(w, &other);
    expect_found(w, NOTICE_MONEY, 1);
}

static void test_prompt_under_way(void **state)
{
    struct world *w = *state;
    struct notice_record r = money("UNITE1");

    payment(w, 1, PAYMENT_UNKNOWN);
    payment(w, 2, PAYMENT_PROMPTED);
    put(w, &r);
    expect_left(w, "UNITE1", NOTICE_OPEN);
    ledger_run(w->other, "UPDATE payments SET state = 6, evidence = 6, "
                         "receipt = 'UNITE2', holds_phone = false "
                         "WHERE id::text LIKE '%2'");
    expect_found(w, NOTICE_MONEY, 1);
}

static void test_prompt_alone_waits(void **state)
{
    struct world *w = *state;
    struct notice_record r = money("UNITF1");

    payment(w, 1, PAYMENT_PROMPTED);
    put(w, &r);
    expect_left(w, "UNITF1", NOTICE_OPEN);
    ledger_run(w->other, "UPDATE payments SET state = 4");
    expect_found(w, NOTICE_MONEY, 1);
}

/* What a query had called paid has no receipt yet. */
static void test_receipt_for_a_query(void **state)
{
    struct world *w = *state;
    struct notice_record r = money("UNITG1");

    payment(w, 1, PAYMENT_SUCCEEDED);
    ledger_run(w->other, "UPDATE payments SET evidence = 3");
    put(w, &r);
    expect_found(w, NOTICE_MONEY, 1);
}

static void test_known(void **state)
{
    struct world *w = *state;
    struct notice_record r = money("UNITH1");

    payment(w, 1, PAYMENT_SUCCEEDED);
    ledger_run(w->other,
               "UPDATE payments SET evidence = 6, receipt = 'UNITH1'");
    put(w, &r);
    assert_int_equal(w->stored, 0);
    assert_int_equal(disposition(w, "UNITH1"), -1);
}

/* The callback came after the notice, before its look. */
static void test_known_at_the_look(void **state)
{
    struct world *w = *state;
    struct notice_record r = money("UNITI1");

    w->unwanted = true;
    payment(w, 1, PAYMENT_PROMPTED);
    put(w, &r);
    assert_int_equal(w->stored, 1);
    ledger_run(w->other, "UPDATE payments SET state = 6, evidence = 6, "
                         "receipt = 'UNITI1'");
    w->unwanted = false;
    WAIT(w, disposition(w, "UNITI1") == -1);
    assert_int_equal(w->found_n, 0);
}

static void test_applied(void **state)
{
    struct world *w = *state;
    struct notice_record r = money("UNITJ1");

    payment(w, 1, PAYMENT_UNKNOWN);
    put(w, &r);
    WAIT(w, w->found_n > 0);
    ledger_run(w->other, "UPDATE payments SET state = 6, evidence = 5, "
                         "receipt = 'UNITJ1'");
    notice_decided(w->notice, w->found[0].notice, NULL);
    WAIT(w, disposition(w, "UNITJ1") == NOTICE_APPLIED);
    WAIT(w, ledger_ask(w->other, "SELECT count(*) FROM notices "
                                 "WHERE next_look_at IS NULL") == 1);
    assert_int_equal(
        ledger_ask(w->other, "SELECT count(*) FROM notices n JOIN payments p "
                             "ON p.id = n.payment AND p.attempt = n.attempt"),
        1);
}

static void test_receipt_that_a_person_gave_another(void **state)
{
    struct world *w = *state;
    struct notice_record r = money("UNITK1");

    payment(w, 1, PAYMENT_SUCCEEDED);
    ledger_run(w->other, "UPDATE payments SET evidence = 2, amount = 500, "
                         "receipt = 'UNITK1'");
    payment(w, 2, PAYMENT_UNKNOWN);
    put(w, &r);
    WAIT(w, w->found_n > 0);
    assert_int_equal(w->found[0].source, EVIDENCE_C2B);
    expect_found(w, NOTICE_TAKEN, 1);
    ledger_run(w->other, "UPDATE payments SET state = 4, evidence = 0, "
                         "receipt = NULL WHERE amount = 500");
    w->found_n = 0;
    WAIT(w, w->found_n > 0 && w->found[w->found_n - 1].means == NOTICE_MONEY);
    assert_int_equal(w->found[w->found_n - 1].payment.b[15], 2);
}

/* --- one receipt, two stories --- */

static int64_t contradictions(struct world *w, const char *receipt, int n)
{
    char sql[300];

    snprintf(sql, sizeof(sql),
             "SELECT count(*) FROM alarms WHERE kind = 'receipt_contradicted' "
             "AND seen_at IS NULL AND receipt = '%s' "
             "AND payment = '00000000-0000-%d000-%d000-%012d'",
             receipt, n ? 4 : 0, n ? 8 : 0, n);
    return ledger_ask(w->other, sql);
}

static int64_t doubted(struct world *w, const char *receipt)
{
    char sql[200];

    snprintf(sql, sizeof(sql),
             "SELECT count(*) FROM notices WHERE receipt = '%s' "
             "AND disposition = 4 AND next_look_at IS NOT NULL AND looks >= 2",
             receipt);
    return ledger_ask(w->other, sql);
}

static void test_receipt_of_two_stories(void **state)
{
    struct world *w = *state;
    struct notice_record rs[6];
    char receipt[RECEIPT_MAX + 1];

    for (int i = 1; i < 6; i++) {
        snprintf(receipt, sizeof(receipt), "UNITM%d", i);
        rs[0] = rs[i] = money(receipt);
        rs[i].amount += i == 1;
        rs[i].shortcode += i == 2;
        rs[i].phone = i == 3 ? "25470****002" : rs[i].phone;
        rs[i].reference = i == 4 ? "INV2" : rs[i].reference;
        rs[i].paid_at += i == 5;
        w->unwanted = true;
        payment(w, i, PAYMENT_UNKNOWN); /* both stand before the first look */
        put(w, &rs[0]);
        put(w, &rs[i]);
        assert_int_equal(w->stored, 1);
        put(w, &rs[i]);
        assert_int_equal(w->stored, 0);
        w->unwanted = false;
        WAIT(w, doubted(w, receipt) == 2);
        assert_int_equal(contradictions(w, receipt, 0), 1);
        assert_int_equal(w->found_n, 0);
    }
}

/* What was applied stays; what comes after it is no news, but it is kept. */
static void test_second_story_comes_late(void **state)
{
    struct world *w = *state;
    struct notice_record r = money("UNITN1");
    int64_t rung = metric_get(M_ALARM_DENIED);

    payment(w, 1, PAYMENT_UNKNOWN);
    put(w, &r);
    expect_found(w, NOTICE_MONEY, 1);
    w->unwanted = true;
    ledger_run(w->other, "UPDATE payments SET state = 6, evidence = 5, "
                         "receipt = 'UNITN1'");
    ledger_run(w->other, "UPDATE notices SET disposition = 1, "
                         "next_look_at = NULL");
    r.amount = 99;
    put(w, &r);
    assert_int_equal(w->stored, 1);
    w->unwanted = false;
    WAIT(w, doubted(w, "UNITN1") == 1);
    assert_int_equal(contradictions(w, "UNITN1", 1), 1);
    assert_int_equal(metric_get(M_ALARM_DENIED), rung + 1);
    assert_int_equal(ledger_ask(w->other, "SELECT count(*) FROM notices "
                                          "WHERE disposition = 1"),
                     1);
    assert_int_equal(w->found_n, 0);
}

static void test_till(void **state)
{
    struct world *w = *state;
    struct notice_record r = money("UNITL1");

    payment(w, 1, PAYMENT_UNKNOWN);
    ledger_run(w->other, "UPDATE payments SET shortcode = 600001");
    r.shortcode = 600002; /* the till; it was pushed by its store's number */
    r.reference = "";
    put(w, &r);
    expect_found(w, NOTICE_MONEY, 1);
}

/* --- persons --- */

static void decide(struct world *w, int version, enum resolution decision,
                   bool forced)
{
    ledger_runf(w->other,
                "INSERT INTO notices (source, next_look_at, payment, attempt, "
                "version, decision, forced, receipt, who, why) VALUES (2, "
                "now(), '00000000-0000-4000-8000-000000000001', 1, %d, %d, "
                "%s, 'UNITP1', 'me', 'seen in the portal')",
                version, (int)decision, forced ? "true" : "false");
}

static void test_decision(void **state)
{
    struct world *w = *state;

    payment(w, 1, PAYMENT_UNKNOWN);
    decide(w, 1, RESOLVE_NOT_PAID, false);
    WAIT(w, w->found_n > 0);
    assert_int_equal(w->found[0].version, 1);
    assert_int_equal(w->found[0].decision, RESOLVE_NOT_PAID);
    assert_string_equal(w->found[0].why, "seen in the portal");
    expect_found(w, NOTICE_DECISION, 1);
    ledger_run(w->other, "UPDATE payments SET state = 7, version = 2");
    ledger_run(w->other,
               "INSERT INTO timeline (payment, version, state, waits, attempt, "
               "cause) SELECT id, 2, 7, 0, 1, 14 FROM payments");
    WAIT(w, disposition(w, "UNITP1") == NOTICE_APPLIED);
}

static void test_decision_about_what_was(void **state)
{
    struct world *w = *state;

    payment(w, 1, PAYMENT_UNKNOWN);
    ledger_run(w->other, "UPDATE payments SET version = 2");
    decide(w, 1, RESOLVE_PAID, false);
    WAIT(w, disposition(w, "UNITP1") == NOTICE_REFUSED);
    assert_int_equal(w->found_n, 0);
}

static void test_decision_that_the_flow_refuses(void **state)
{
    struct world *w = *state;

    payment(w, 1, PAYMENT_UNKNOWN);
    decide(w, 1, RESOLVE_PAID, false);
    WAIT(w, w->found_n > 0);
    notice_decided(w->notice, w->found[0].notice, "because");
    WAIT(w, disposition(w, "UNITP1") == NOTICE_REFUSED);
    assert_int_equal(ledger_ask(w->other, "SELECT count(*) FROM notices WHERE "
                                          "outcome = 'because'"),
                     1);
}

static void worker(struct world *w, const char *host, int age_s)
{
    ledger_runf(w->other,
                "INSERT INTO workers (host, boot, pid, recorder, heartbeat_at) "
                "VALUES ('%s', 'b', 1, '', now() - interval '%d s')",
                host, age_s);
    ledger_run(w->other, "UPDATE payments SET owner = (SELECT "
                         "min(incarnation) FROM workers)");
}

static void test_again_while_its_worker_lives(void **state)
{
    struct world *w = *state;

    payment(w, 1, PAYMENT_UNKNOWN);
    worker(w, "h1", 0);
    decide(w, 1, RESOLVE_AGAIN, false);
    WAIT(w, disposition(w, "UNITP1") == NOTICE_REFUSED);
    assert_int_equal(w->found_n, 0);
}

/* Its heartbeat stopped, and a neighbour could not read its recorder yet. */
static void test_again_while_its_host_lives(void **state)
{
    struct world *w = *state;

    payment(w, 1, PAYMENT_UNKNOWN);
    worker(w, "h1", 60);
    worker(w, "h1", -60);
    decide(w, 1, RESOLVE_AGAIN, false);
    WAIT(w, disposition(w, "UNITP1") == NOTICE_REFUSED);
    assert_int_equal(w->found_n, 0);
}

static void test_again_by_force(void **state)
{
    struct world *w = *state;

    payment(w, 1, PAYMENT_UNKNOWN);
    worker(w, "h1", 0);
    decide(w, 1, RESOLVE_AGAIN, true);
    WAIT(w, w->found_n > 0);
    assert_true(w->found[0].force);
    expect_found(w, NOTICE_DECISION, 1);
}

static void test_again_after_its_workers_death(void **state)
{
    struct world *w = *state;

    payment(w, 1, PAYMENT_UNKNOWN);
    worker(w, "h1", 60);
    worker(w, "h2", -60);
    decide(w, 1, RESOLVE_AGAIN, false);
    /* a server that has just started gives everyone the time anew */
    WAIT(w, w->found_n > 0 || disposition(w, "UNITP1") == NOTICE_REFUSED);
    if (!w->found_n) {
        ledger_run(w->other, "SELECT pg_sleep(4)");
        ledger_run(w->other, "UPDATE notices SET disposition = 0, "
                             "next_look_at = now()");
    }
    expect_found(w, NOTICE_DECISION, 1);
}

static void test_old_ones_are_removed(void **state)
{
    struct world *w = *state;
    struct notice_record r = money("UNITQ1");
    struct notice_spec spec = {wanted, on_finding, w};

    put(w, &r);
    ledger_run(w->other, "UPDATE notices SET at = now() - interval '800 h'");
    notice_free(w->notice); /* it begins with a census */
    w->notice = notice_new(w->loop, &w->cfg, &spec);
    WAIT(w, disposition(w, "UNITQ1") == -1);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_judge),
        cmocka_unit_test(test_taken_by_whom),
        cmocka_unit_test(test_phone),
        TEST(test_singles_out),
        TEST(test_one_fact_that_differs),
        TEST(test_phone_as_hash),
        TEST(test_two_that_fit),
        TEST(test_persons_word),
        TEST(test_prompt_under_way),
        TEST(test_prompt_alone_waits),
        TEST(test_receipt_for_a_query),
        TEST(test_known),
        TEST(test_known_at_the_look),
        TEST(test_applied),
        TEST(test_receipt_that_a_person_gave_another),
        TEST(test_receipt_of_two_stories),
        TEST(test_second_story_comes_late),
        TEST(test_till),
        TEST(test_decision),
        TEST(test_decision_about_what_was),
        TEST(test_decision_that_the_flow_refuses),
        TEST(test_again_while_its_worker_lives),
        TEST(test_again_while_its_host_lives),
        TEST(test_again_by_force),
        TEST(test_again_after_its_workers_death),
        TEST(test_old_ones_are_removed),
    };

    return cmocka_run_group_tests(tests, make_database, NULL);
}
