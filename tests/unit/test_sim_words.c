/* Unit tests of the simulator's bodies and of the shapes of its ids. */
#include "tests/daraja/words.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/buf.h"
#include "common/clock.h"
#include "tests/daraja/ident.h"

#define RECEIPTS 100000

static struct buf out;

static int set_up(void **state)
{
    (void)state;
    buf_init(&out, 4096);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    buf_done(&out);
    return 0;
}

static int64_t at(const char *text)
{
    int64_t t;
    struct err err;

    assert_int_equal(clock_parse(text, strlen(text), &t, &err), 0);
    return t;
}

static struct callback_words paid(void)
{
    return (struct callback_words){
        .merchant_id = "96657-188398728-1",
        .checkout_id = "ws_CO_10122023133400273708374149",
        .code = "0",
        .amount = 1,
        .msisdn = 254708374149,
        .paid_at = at("2023-12-10T10:34:16Z"),
        .receipt = "RLA0X1Y2Z3",
    };
}

static void a_paid_callback_is_as_recorded(void **state)
{
    struct callback_words w = paid();

    (void)state;
    w.balance_item = true;
    words_callback(&out, &w);
    assert_string_equal(
        out.data,
        "{\"Body\":{\"stkCallback\":{\"MerchantRequestID\":"
        "\"96657-188398728-1\",\"CheckoutRequestID\":"
        "\"ws_CO_10122023133400273708374149\",\"ResultCode\":0,"
        "\"ResultDesc\":\"The service request is processed successfully.\","
        "\"CallbackMetadata\":{\"Item\":[{\"Name\":\"Amount\",\"Value\":1},"
        "{\"Name\":\"MpesaReceiptNumber\",\"Value\":\"RLA0X1Y2Z3\"},"
        "{\"Name\":\"Balance\"},"
        "{\"Name\":\"TransactionDate\",\"Value\":20231210133416},"
        "{\"Name\":\"PhoneNumber\",\"Value\":254708374149}]}}}}");
}

static void an_unpaid_callback_has_no_metadata(void **state)
{
    struct callback_words w = paid();

    (void)state;
    w.code = "1032";
    words_callback(&out, &w);
    assert_non_null(strstr(out.data, "\"ResultCode\":1032,"));
    assert_null(strstr(out.data, "CallbackMetadata"));
    buf_reset(&out);
    w.text_code = true;
    words_callback(&out, &w);
    assert_non_null(strstr(out.data, "\"ResultCode\":\"1032\","));
    buf_reset(&out);
    w.text_code = false;
    w.code = "SFC_IC0003";
    words_callback(&out, &w);
    assert_non_null(strstr(out.data, "\"ResultCode\":\"SFC_IC0003\","));
}

static void answers_are_as_recorded(void **state)
{
    (void)state;
    words_error(&out, "5031-1921185-1", "404.001.03", "Invalid Access Token");
    assert_string_equal(out.data, "{\"requestId\":\"5031-1921185-1\","
                                  "\"errorCode\":\"404.001.03\","
                                  "\"errorMessage\":\"Invalid Access Token\"}");
    buf_reset(&out);
    words_token(&out, "SGWcJPtNtYNPGm6uSYR9yPYrAI3B", 3599, true);
    assert_string_equal(out.data,
                        "{\"access_token\":\"SGWcJPtNtYNPGm6uSYR9yPYrAI3B\","
                        "\"expires_in\":\"3599\"}");
    buf_reset(&out);
    words_accepted(&out, "m", "c", "0");
    assert_string_equal(
        out.data,
        "{\"MerchantRequestID\":\"m\",\"CheckoutRequestID\":\"c\","
        "\"ResponseCode\":\"0\",\"ResponseDescription\":"
        "\"Success. Request accepted for processing\",\"CustomerMessage\":"
        "\"Success. Request accepted for processing\"}");
    buf_reset(&out);
    words_query(&out, "m", "c", "1032");
    assert_non_null(strstr(out.data, "\"ResultCode\":\"1032\""));
    assert_non_null(strstr(out.data, "\"ResponseCode\":\"0\""));
}

static void prose_differs_between_callback_and_query(void **state)
{
    (void)state;
    assert_string_not_equal(words_result("1037", true),
                            words_result("1037", false));
    assert_non_null(words_result("no such code", true));
}

static void ids_have_their_shapes(void **state)
{
    struct idents ids, same;
    char checkout[CHECKOUT_SIZE], receipt[RECEIPT_SIZE];
    char a[REQUEST_ID_SIZE], b[REQUEST_ID_SIZE];

    (void)state;
    ident_checkout(at("2024-07-10T06:15:26.171Z"), 254708374149, checkout);
    assert_string_equal(checkout, "ws_CO_10072024091526171708374149");
    ident_receipt(at("2025-12-10T20:59:59Z"), 1, receipt);
    assert_int_equal(strlen(receipt), 10);
    assert_memory_equal(receipt, "TLA", 3);
    ident_receipt(at("2025-12-10T21:00:00Z"), 1, receipt); /* EAT: the 11th */
    assert_memory_equal(receipt, "TLB", 3);
    ident_init(&ids, 1);
    ident_init(&same, 1);
    ident_request(&ids, 7, a);
    ident_request(&same, 7, b);
    assert_string_equal(a, b);
    ident_request(&ids, 8, b);
    assert_string_not_equal(a, b);
    assert_int_equal(a[4], '-');
    assert_int_equal(strlen(a), 27 + 7);
}

static int by_text(const void *a, const void *b)
{
    return memcmp(a, b, RECEIPT_SIZE);
}

static void receipts_are_unique(void **state)
{
    static char all[RECEIPTS][RECEIPT_SIZE];
    int64_t now = at("2026-11-21T00:00:00Z");

    (void)state;
    for (uint64_t i = 0; i < RECEIPTS; i++)
        ident_receipt(now, i, all[i]);
    qsort(all, RECEIPTS, RECEIPT_SIZE, by_text);
    for (int i = 1; i < RECEIPTS; i++)
        assert_true(memcmp(all[i - 1], all[i], RECEIPT_SIZE) != 0);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_paid_callback_is_as_recorded),
        CASE(an_unpaid_callback_has_no_metadata),
        CASE(answers_are_as_recorded),
        CASE(prose_differs_between_callback_and_query),
        CASE(ids_have_their_shapes),
        CASE(receipts_are_unique),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
