/* Pages of Pull Transactions: what holds is read, what lies is refused. */
#include "consumer/pull_priv.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "common/clock.h"

/* 2026-11-21 12:00:00 to 12:30:00 UTC */
#define FROM INT64_C(1795262400000000)
#define UNTIL (FROM + 1800 * US_PER_S)

static const struct pull_range range = {600000, FROM, UNTIL};

#define PAGE(rows) "{\"ResponseCode\":\"1000\",\"Response\":[[" rows "]]}"
#define ROW(id, date, phone, amount)                                   \
    "{\"transactionId\":" id ",\"trxDate\":" date ",\"msisdn\":" phone \
    ",\"billreference\":\"INV1\",\"amount\":" amount "}"
#define GOOD_DATE "\"2026-11-21T12:10:00Z\""

static struct pull_page read_as(int status, const char *body)
{
    struct pull_answer answer = {status, body, strlen(body)};
    struct pull_page page;

    pull_page_read(&answer, &range, &page);
    return page;
}

static struct pull_page read_page(const char *body)
{
    return read_as(200, body);
}

static void it_asks_in_nairobi_time(void **state)
{
    struct buf out;

    (void)state;
    buf_init(&out, 512);
    pull_page_ask(&out, &range, 200);
    assert_string_equal(out.data,
                        "{\"ShortCode\":\"600000\",\"StartDate\":\"2026-11-21 "
                        "15:00:00\",\"EndDate\":\"2026-11-21 15:30:00\","
                        "\"OffSetValue\":\"200\"}");
    buf_done(&out);
}

static void records_are_read(void **state)
{
    struct pull_page page = read_page(PAGE(
        ROW("\"RLA0X1Y2Z3\"", GOOD_DATE, "254708374149", "\"168.00\"") "," ROW(
            "\"RLA0X1Y2Z4\"", "\"2026-11-21T15:10:00Z\"", "\"7083***\"", "7")));

    (void)state;
    assert_int_equal(page.kind, PULL_ROWS);
    assert_int_equal(page.n, 2);
    assert_string_equal(page.rows[0].receipt, "RLA0X1Y2Z3");
    assert_string_equal(page.rows[0].phone, "254708374149");
    assert_string_equal(page.rows[0].reference, "INV1");
    assert_int_equal(page.rows[0].amount, 168);
    assert_int_equal(page.rows[0].paid_at, FROM + 600 * US_PER_S);
    assert_non_null(strstr(page.rows[0].body.data, "RLA0X1Y2Z3"));
    /* a "Z" that means Nairobi's time */
    assert_int_equal(page.rows[1].paid_at, FROM + 600 * US_PER_S);
    assert_string_equal(page.rows[1].phone, "7083***");
    pull_page_done(&page);
}

static void cents_are_no_payment_of_ours(void **state)
{
    struct pull_page page = read_page(
        PAGE(ROW("\"RLA0X1Y2Z3\"", GOOD_DATE, "254708374149", "\"168.50\"")));

    (void)state;
    assert_int_equal(page.kind, PULL_ROWS);
    assert_int_equal(page.rows[0].amount, 0);
    pull_page_done(&page);
}

static void a_record_may_lack_what_does_not_decide(void **state)
{
    struct pull_page page = read_page(
        PAGE("{\"transactionId\":\"RLA0X1Y2Z3\",\"trxDate\":" GOOD_DATE
             ",\"billreference\":null,\"amount\":\"5\"}"));

    (void)state;
    assert_int_equal(page.kind, PULL_ROWS);
    assert_string_equal(page.rows[0].phone, "");
    assert_string_equal(page.rows[0].reference, "");
    pull_page_done(&page);
}

static void the_end_is_told_in_three_ways(void **state)
{
    static const char *const ends[] = {
        "{\"ResponseCode\":\"1001\",\"Response\":[]}",
        "{\"ResponseCode\":1001}",
        PAGE(""),
        "{\"ResponseCode\":\"1000\",\"Response\":[]}",
        "{\"ResponseCode\":\"1000\",\"ShortCode\":600000,\"Response\":[]}",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
        struct pull_page page = read_page(ends[i]);

        assert_int_equal(page.kind, PULL_END);
        pull_page_done(&page);
    }
}

#define BAD_ROW(id, date, phone, amount) PAGE(ROW(id, date, phone, amount))
#define ID "\"RLA0X1Y2Z3\""

static void what_cannot_be_is_a_lie(void **state)
{
    static const char *const lies[] = {
        "",
        "[]",
        "<html>Incapsula incident ID</html>",
        "{\"ResponseCode\":\"1000\",\"Response\":[[{",
        "{\"ResponseCode\":\"1000\"}",
        "{\"ResponseCode\":\"1000\",\"Response\":{\"rows\":[]}}",
        "{\"ResponseCode\":\"1000\",\"Response\":[[],[]]}",
        "{\"ResponseCode\":\"1000\",\"Response\":[{}]}",
        "{\"ResponseCode\":\"1000\",\"Response\":\"none\"}",
        "{\"ResponseCode\":\"2\",\"Response\":[[]]}",
        "{\"Response\":[[]]}",
        "{\"ResponseCode\":\"1001\",\"ShortCode\":\"999999\"}",
        PAGE("7"),
        BAD_ROW("\"\"", GOOD_DATE, "1", "\"5\""),
        BAD_ROW("\"RLA 0X1Y2\"", GOOD_DATE, "1", "\"5\""),
        BAD_ROW("null", GOOD_DATE, "1", "\"5\""),
        BAD_ROW(ID, "\"yesterday\"", "1", "\"5\""),
        BAD_ROW(ID, "\"2026-11-18T12:10:00Z\"", "1", "\"5\""),
        BAD_ROW(ID, "\"2026-11-21T18:10:00Z\"", "1", "\"5\""),
        BAD_ROW(ID, "20261121", "1", "\"5\""),
        BAD_ROW(ID, GOOD_DATE, "{}", "\"5\""),
        BAD_ROW(ID, GOOD_DATE, "1", "\"NaN\""),
        BAD_ROW(ID, GOOD_DATE, "1", "\"-5\""),
        BAD_ROW(ID, GOOD_DATE, "1", "\"5.\""),
        BAD_ROW(ID, GOOD_DATE, "1", "\"5.00x\""),
        BAD_ROW(ID, GOOD_DATE, "1", "\"1e3\""),
        BAD_ROW(ID, GOOD_DATE, "1", "null"),
        BAD_ROW(ID, GOOD_DATE, "1", "[5]"),
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(lies); i++) {
        struct pull_page page = read_page(lies[i]);

        if (page.kind != PULL_LIE)
            print_error("taken: %s\n", lies[i]);
        assert_int_equal(page.kind, PULL_LIE);
        assert_non_null(page.why);
        pull_page_done(&page);
    }
}

static void errors_are_no_information(void **state)
{
    static const struct {
        int status;
        const char *body;
        enum pull_page_kind kind;
    } rows[] = {
        {500, "{\"errorCode\":\"500.003.1001\"}", PULL_LATER},
        {503, "<html>Incapsula</html>", PULL_LATER},
        {405, "{\"errorCode\":\"405.001\"}", PULL_LATER},
        {200, "{\"errorCode\":\"500.001.1001\"}", PULL_LATER},
        {500, "{\"ResponseCode\":\"1001\"}", PULL_LATER},
        {400, "{\"errorMessage\":\"Invalid Access Token\"}", PULL_TOKEN},
        {401, "", PULL_TOKEN},
        {401, "{}", PULL_TOKEN},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct pull_page page = read_as(rows[i].status, rows[i].body);

        assert_int_equal(page.kind, rows[i].kind);
        pull_page_done(&page);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_asks_in_nairobi_time),
        cmocka_unit_test(records_are_read),
        cmocka_unit_test(cents_are_no_payment_of_ours),
        cmocka_unit_test(a_record_may_lack_what_does_not_decide),
        cmocka_unit_test(the_end_is_told_in_three_ways),
        cmocka_unit_test(what_cannot_be_is_a_lie),
        cmocka_unit_test(errors_are_no_information),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
