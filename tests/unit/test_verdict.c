/*
 * The classification table, row by row: every published answer has a file
 * below tests/fixtures/daraja, and every row has an answer. Bodies that no
 * table knows are test_verdict_noise.c's.
 */
#include "consumer/verdict.h"

#include "common/must.h"
#include "common/wire.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define FIXTURES "tests/fixtures/daraja/"
#define CALLBACKS "../../../schemas/examples/valid/callback/"
#define FIXTURE_MAX 4096
#define CHECKOUT_ID "ws_CO_10072024091526171708374149"

/* --- the tables --- */

struct expected {
    const char *file;
    int status, row;
    const char *code, *says;
    enum verdict_kind kind;
    enum result_class class;
    bool stop;
};

static const struct expected answers[] = {
#define ANSWER(file, status, row, code, says, kind, class, stop) \
    {file, status, row, code, says, VERDICT_##kind, RESULT_##class, stop},
#include "tests/unit/answers.def"
#undef ANSWER
};

struct row {
    int row, status;
    const char *code, *says;
};

static const struct row rows[] = {
#define PUSH(row, shape, status, code, says, kind, class, stop) \
    {row, status, code, says},
#include "consumer/verdict.def"
#undef PUSH
};

static const char *const result_codes[] = {
#define RESULT_CODE(code, kind, class, stop) code,
#include "consumer/verdict.def"
#undef RESULT_CODE
};

static bool same_text(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

static bool is_of(const struct expected *e, const struct row *r)
{
    return e->row == r->row && same_text(e->code, r->code) &&
           same_text(e->says, r->says) &&
           (r->status == 0 || r->status == e->status);
}

/* --- reading --- */

static size_t read_fixture(const char *name, char to[FIXTURE_MAX])
{
    char path[200];
    FILE *f;
    size_t n;

    snprintf(path, sizeof(path), FIXTURES "%s", name);
    f = fopen(path, "rb");
    if (!f)
        fail_msg("%s: tests run from the top of the tree", path);
    n = fread(to, 1, FIXTURE_MAX - 1, f);
    must(feof(f));
    (void)fclose(f); /* only read */
    to[n] = '\0';
    return n;
}

static struct verdict_answer answer_of(int status, const char *body, size_t len)
{
    return (struct verdict_answer){
        .status = status,
        .content_type = "application/json;charset=UTF-8",
        .body = body,
        .len = len,
        .retry_after_s = -1,
    };
}

static struct verdict push(const char *file, int status)
{
    char body[FIXTURE_MAX];
    size_t len = read_fixture(file, body);
    struct verdict_answer a = answer_of(status, body, len);
    struct verdict v;

    verdict_push(&a, &v);
    return v;
}

static struct verdict push_text(int status, const char *body)
{
    struct verdict_answer a = answer_of(status, body, strlen(body));
    struct verdict v;

    verdict_push(&a, &v);
    return v;
}

static struct verdict query_text(int status, const char *body)
{
    struct verdict_answer a = answer_of(status, body, strlen(body));
    struct verdict v;

    verdict_query(&a, &v);
    return v;
}

static struct verdict query(const char *file, int status)
{
    char body[FIXTURE_MAX];

    read_fixture(file, body);
    return query_text(status, body);
}

/* --- pushes --- */

static void test_every_answer(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
        const struct expected *e = &answers[i];
        struct verdict v = push(e->file, e->status);

        if (v.kind != e->kind || v.class != e->class || v.row != e->row ||
            v.stop_line != e->stop)
            fail_msg("%s under %d: %s, class \"%s\", row %d, stop %d", e->file,
                     e->status, verdict_name(v.kind),
                     result_class_name(v.class), v.row, v.stop_line);
    }
}

static void test_every_row_has_an_answer(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        size_t n = 0;

        for (size_t k = 0; k < ARRAY_LEN(answers); k++)
            n += is_of(&answers[k], &rows[i]);
        if (!n)
            fail_msg("row %d \"%s\" \"%s\" has no answer in answers.def",
                     rows[i].row, rows[i].code,
                     rows[i].says ? rows[i].says : "");
    }
}

static void test_every_answer_has_its_row(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
        bool found = answers[i].row == -1;

        for (size_t k = 0; k < ARRAY_LEN(rows); k++)
            found |= is_of(&answers[i], &rows[k]);
        if (!found)
            fail_msg("%s: the table has no such row", answers[i].file);
    }
}

static void test_ids_and_texts_are_kept(void **state)
{
    struct verdict v = push("push-accepted.json", 200);

    (void)state;
    assert_string_equal(v.checkout_id, CHECKOUT_ID);
    assert_string_equal(v.merchant_id, "2654-4b64-97ff-b827b542881d3130");
    assert_string_equal(v.text, "Success. Request accepted for processing");
    v = push("push-busy.json", 500);
    assert_string_equal(v.code, "500.003.02");
    assert_string_equal(v.text,
                        "System is busy. Please try again in few minutes.");
    assert_string_equal(v.checkout_id, "");
}

/* An id that had to be cut would be another payment's. */
static void test_an_id_that_does_not_fit(void **state)
{
    char body[400], id[CHECKOUT_ID_MAX + 2];
    struct verdict v;

    (void)state;
    memset(id, 'x', sizeof(id));
    id[CHECKOUT_ID_MAX] = '\0';
    snprintf(body, sizeof(body),
             "{\"ResponseCode\":\"0\",\"CheckoutRequestID\":\"%s\"}", id);
    v = push_text(200, body);
    assert_int_equal(v.kind, VERDICT_ACCEPTED);
    assert_string_equal(v.checkout_id, id);
    id[CHECKOUT_ID_MAX] = 'x';
    id[CHECKOUT_ID_MAX + 1] = '\0';
    snprintf(body, sizeof(body),
             "{\"ResponseCode\":\"0\",\"CheckoutRequestID\":\"%s\"}", id);
    v = push_text(200, body);
    assert_int_equal(v.kind, VERDICT_AMBIGUOUS);
    assert_string_equal(v.checkout_id, "");
}

static void test_answers_that_contradict_themselves(void **state)
{
    static const char *const bodies[] = {
        "{\"errorCode\":\"400.002.02\",\"errorMessage\":\"Invalid Amount\","
        "\"CheckoutRequestID\":\"" CHECKOUT_ID "\"}",
        "{\"errorCode\":\"404.001.03\",\"errorMessage\":\"Invalid Access "
        "Token\",\"CheckoutRequestID\":\"" CHECKOUT_ID "\"}",
        "{\"errorCode\":\"404.001.03\",\"ResponseCode\":\"0\"}",
        "{\"ResponseCode\":\"1\",\"CheckoutRequestID\":null}",
        "{\"ResponseCode\":[\"0\"],\"CheckoutRequestID\":\"x\"}",
        "{\"ResponseCode\":{}}",
        "{\"errorCode\":[\"400.002.02\"],\"errorMessage\":\"Invalid Amount\"}",
        "[{\"ResponseCode\":\"1\"}]",
        "{\"Body\":{\"ResponseCode\":\"1\"}}",
        "\"ResponseCode\"",
        "0",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
        struct verdict v = push_text(200, bodies[i]);

        if (v.kind != VERDICT_AMBIGUOUS)
            fail_msg("%s: %s", bodies[i], verdict_name(v.kind));
        v = push_text(400, bodies[i]);
        if (v.kind != VERDICT_AMBIGUOUS)
            fail_msg("400 %s: %s", bodies[i], verdict_name(v.kind));
    }
}

/* Too many requests, and yet a push has its name; or half an answer, which may
   have been cut just before it. */
static void test_no_push_with_a_name_is_throttled(void **state)
{
    static const char *const bodies[] = {
        "{\"CheckoutRequestID\":\"" CHECKOUT_ID "\"}",
        "{\"CheckoutRequestID\":\"\",\"ResponseCode\":\"0\"}",
        "{\"errorCode\":\"429.001.01\",\"CheckoutRequestID\":\"x\"}",
        "{\"fault\":{\"detail\":{\"errorcode\":\"policies.ratelimit.Quota\"}},"
        "\"CheckoutRequestID\":\"" CHECKOUT_ID "\"}",
        "{\"errorCode\":\"429.001.01\",\"ResponseCode\":\"0\"}",
        "[{\"CheckoutRequestID\":\"" CHECKOUT_ID "\"}]",
        "{\"data\":{\"checkoutRequestId\":\"x\"}}",
        "{\"errorCode\":\"429.001.01\",\"errorMessage\":\"" CHECKOUT_ID "\"}",
        "{\"ResponseCode\":\"0\",\"CheckoutRequestID\":\"" CHECKOUT_ID,
        "{\"errorCode\":\"429.001.01\",\"errorMessage\":\"Spike arr",
        "{\"fault\":{\"detail\":{\"errorcode\":\"policies.ratelimit.Quota\"",
        "{\"a\":1}{\"b\":2}",
        "<html>" CHECKOUT_ID "</html>",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
        struct verdict v = push_text(429, bodies[i]);

        if (v.kind != VERDICT_AMBIGUOUS)
            fail_msg("%s: %s", bodies[i], verdict_name(v.kind));
    }
}

/* The same under every other row that says: not delivered. */
static void test_no_refusal_names_a_push(void **state)
{
    static const struct {
        int status;
        const char *body;
    } cases[] = {
        {500, "{\"errorCode\":\"500.001.1001\",\"errorMessage\":"
              "\"Unable to lock subscriber\",\"data\":"
              "{\"CheckoutRequestID\":\"x\"}}"},
        {500, "{\"errorCode\":\"500.003.02\",\"errorMessage\":"
              "\"Spike arrest, " CHECKOUT_ID "\"}"},
        {500, "{\"errorCode\":\"500.003.03\",\"errorMessage\":"
              "\"Quota\",\"x\":[\"" CHECKOUT_ID "\"]}"},
        {404, "{\"errorCode\":\"404.001.03\",\"errorMessage\":"
              "\"Invalid Access Token\",\"x\":{\"CheckoutRequestID\":1}}"},
        {400, "{\"errorCode\":\"400.002.02\",\"errorMessage\":"
              "\"Bad Request - Invalid Amount\",\"x\":\"" CHECKOUT_ID "\"}"},
        {500, "{\"errorCode\":\"500.003.02\",\"errorMessage\":"
              "\"Spike arrest\""},
        {500, "{\"errorCode\":\"500.001.1001\",\"errorMessage\":"
              "\"Unable to lock subscriber\"}}"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct verdict v = push_text(cases[i].status, cases[i].body);

        if (v.kind != VERDICT_AMBIGUOUS)
            fail_msg("%s: %s", cases[i].body, verdict_name(v.kind));
    }
}

static void test_messages_are_compared_loosely(void **state)
{
    struct verdict v =
        push_text(500, "{\"errorCode\":\"500.001.1001\",\"errorMessage\":"
                       "\"UNABLE  to\\tLOCK\\nsubscriber\"}");

    (void)state;
    assert_int_equal(v.kind, VERDICT_LOCKED);
    v = push_text(500, "{\"errorCode\":\"500.001.1001\",\"errorMessage\":"
                       "\"unable tolock subscriber\"}");
    assert_int_equal(v.kind, VERDICT_AMBIGUOUS);
}

static void test_retry_after_is_handed_on(void **state)
{
    struct verdict_answer a = answer_of(429, "", 0);
    struct verdict v;

    (void)state;
    a.retry_after_s = 17;
    verdict_push(&a, &v);
    assert_int_equal(v.retry_after_s, 17);
    verdict_query(&a, &v);
    assert_int_equal(v.retry_after_s, 17);
    verdict_callback("0", "", &v);
    assert_int_equal(v.retry_after_s, -1);
}

/* --- status queries --- */

static void test_queries(void **state)
{
    static const struct {
        const char *file;
        int status;
        enum verdict_kind kind;
    } cases[] = {
        {"query-paid.json", 200, VERDICT_PAID},
        {"query-paid-number.json", 200, VERDICT_PAID},
        {"query-paid.json", 500, VERDICT_PENDING},
        {"query-failed.json", 200, VERDICT_SOFT},
        {"query-failed.json", 500, VERDICT_PENDING},
        {"query-pending-500.json", 500, VERDICT_PENDING},
        {"query-pending-4999.json", 200, VERDICT_PENDING},
        {"query-pending-empty.json", 200, VERDICT_PENDING},
        {"query-no-such.json", 500, VERDICT_PENDING},
        {"query-e3008.json", 200, VERDICT_PENDING},
        {"query-refused.json", 200, VERDICT_PENDING},
        {"push-accepted.json", 200, VERDICT_PENDING},
        {"push-locked.json", 500, VERDICT_PENDING},
        {"push-wrong-credentials.json", 500, VERDICT_PENDING},
        {"push-invalid-timestamp.json", 400, VERDICT_PENDING},
        {"push-busy.json", 500, VERDICT_PENDING},
        {"push-internal.json", 500, VERDICT_PENDING},
        {"push-method.json", 405, VERDICT_PENDING},
        {"push-400-other.json", 400, VERDICT_PENDING},
        {"push-soap.json", 409, VERDICT_PENDING},
        {"push-accepted-cut.txt", 200, VERDICT_PENDING},
        {"edge-incapsula.html", 200, VERDICT_PENDING},
        {"edge-incapsula.html", 403, VERDICT_PENDING},
        {"edge-502.html", 502, VERDICT_PENDING},
        {"edge-502.html", 504, VERDICT_PENDING},
        {"empty.txt", 302, VERDICT_PENDING},
        {"empty.txt", 408, VERDICT_PENDING},
        {"empty.txt", 500, VERDICT_PENDING},
        {"edge-incapsula.html", 503, VERDICT_PENDING},
        {"empty.txt", 200, VERDICT_PENDING},
        {"token-404-001-03.json", 404, VERDICT_AUTH},
        {"token-401-003-01.json", 401, VERDICT_AUTH},
        {"push-spike-arrest.json", 500, VERDICT_THROTTLED},
        {"push-quota.json", 500, VERDICT_THROTTLED},
        {"push-429-apigee.json", 429, VERDICT_THROTTLED},
        {"push-429-001-01.json", 429, VERDICT_THROTTLED},
        {"token-404-001-04.json", 404, VERDICT_AUTH},
        {"empty.txt", 429, VERDICT_THROTTLED},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct verdict v = query(cases[i].file, cases[i].status);

        if (v.kind != cases[i].kind || v.stop_line)
            fail_msg("%s under %d: %s", cases[i].file, cases[i].status,
                     verdict_name(v.kind));
    }
}

static void test_a_query_tells_code_and_id(void **state)
{
    struct verdict v = query("query-failed.json", 200);

    (void)state;
    assert_string_equal(v.code, "1032");
    assert_int_equal(v.class, RESULT_CANCELLED);
    assert_string_equal(v.checkout_id, CHECKOUT_ID);
    v = query("query-paid.json", 200);
    assert_int_equal(v.class, RESULT_PAID);
}

/* "Paid" stands on a whole, plain answer or on nothing. */
static void test_a_query_that_is_not_plain(void **state)
{
    static const char *const bodies[] = {
        "{\"ResponseCode\":{},\"ResultCode\":\"0\"}",
        "{\"ResponseCode\":null,\"ResultCode\":\"0\"}",
        "{\"ResponseCode\":\"\",\"ResultCode\":\"0\"}",
        "{\"ResponseCode\":\"0\",\"CheckoutRequestID\":{},\"ResultCode\":0}",
        "{\"ResponseCode\":\"0\",\"errorCode\":\"0\",\"ResultCode\":\"0\"}",
        "{\"errorCode\":\"0\",\"ResultCode\":\"0\"}",
        "{\"fault\":{},\"ResultCode\":\"0\"}",
        "{\"ResultCode\":\"00\"}",
        "{\"ResultCode\":\"\"}",
        "{\"ResultCode\":null}",
        "{\"ResultCode\":false}",
        "{\"ResultCode\":[0]}",
        "{\"ResultCode\":0.5}",
        "{\"resultcode\":\"0\"}",
        "[{\"ResultCode\":\"0\"}]",
        "{\"ResultCode\":\"0\"",
        "{\"ResultCode\":\"0\"}}",
    };

    (void)state;
    assert_int_equal(query_text(200, "{\"ResultCode\":\"0\"}").kind,
                     VERDICT_PAID);
    for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
        struct verdict v = query_text(200, bodies[i]);

        if (v.kind != VERDICT_PENDING)
            fail_msg("%s: %s", bodies[i], verdict_name(v.kind));
    }
}

/* --- callbacks --- */

struct result {
    const char *code;
    enum verdict_kind kind;
    enum result_class class;
    bool stop;
};

static const struct result results[] = {
    {"0", VERDICT_PAID, RESULT_PAID, false},
    {"1", VERDICT_FAILED, RESULT_FUNDS, false},
    {"2", VERDICT_FAILED, RESULT_LIMIT, false},
    {"3", VERDICT_FAILED, RESULT_LIMIT, false},
    {"4", VERDICT_FAILED, RESULT_LIMIT, false},
    {"8", VERDICT_FAILED, RESULT_LIMIT, false},
    {"15", VERDICT_FAILED, RESULT_PROVIDER, true},
    {"17", VERDICT_REPEAT, RESULT_LIMIT, false},
    {"21", VERDICT_FAILED, RESULT_CONFIGURATION, true},
    {"26", VERDICT_PROVE, RESULT_PROVIDER, false},
    {"1001", VERDICT_PROVE, RESULT_PHONE_BUSY, false},
    {"1019", VERDICT_FAILED, RESULT_NO_ANSWER, false},
    {"1025", VERDICT_PROVE, RESULT_PROVIDER, false},
    {"1031", VERDICT_FAILED, RESULT_CANCELLED, false},
    {"1032", VERDICT_FAILED, RESULT_CANCELLED, false},
    {"1036", VERDICT_SOFT, RESULT_NO_ANSWER, false},
    {"1037", VERDICT_FAILED, RESULT_NO_ANSWER, false},
    {"1101", VERDICT_FAILED, RESULT_REQUEST, true},
    {"1102", VERDICT_FAILED, RESULT_REQUEST, true},
    {"2001", VERDICT_FAILED, RESULT_WRONG_PIN, false},
    {"2008", VERDICT_SOFT, RESULT_PROVIDER, false},
    {"2026", VERDICT_SOFT, RESULT_PROVIDER, false},
    {"2028", VERDICT_FAILED, RESULT_CONFIGURATION, true},
    {"8006", VERDICT_FAILED, RESULT_WRONG_PIN, false},
    {"9999", VERDICT_SOFT, RESULT_PROVIDER, false},
    {"SFC_IC0003", VERDICT_FAILED, RESULT_CONFIGURATION, true},
};

static void test_every_result_code(void **state)
{
    char body[100];

    (void)state;
    assert_int_equal(ARRAY_LEN(results), ARRAY_LEN(result_codes));
    for (size_t i = 0; i < ARRAY_LEN(results); i++) {
        const struct result *r = &results[i];
        struct verdict v;

        assert_string_equal(result_codes[i], r->code);
        verdict_callback(r->code, "words", &v);
        if (v.kind != r->kind || v.class != r->class || v.stop_line != r->stop)
            fail_msg("callback %s: %s", r->code, verdict_name(v.kind));
        assert_string_equal(v.code, r->code);
        assert_string_equal(v.text, "words");
        assert_true(v.row >= 0);
        snprintf(body, sizeof(body), "{\"ResultCode\":\"%s\"}", r->code);
        v = query_text(200, body);
        assert_int_equal(v.kind,
                         r->kind == VERDICT_PAID || r->kind == VERDICT_REPEAT
                             ? r->kind
                             : VERDICT_SOFT);
        assert_int_equal(v.class, r->class);
    }
}

/* Whole bodies, as they come: read and judged. */
static void test_recorded_callbacks(void **state)
{
    static const struct {
        const char *file;
        enum verdict_kind kind;
        enum result_class class;
    } cases[] = {
        {"paid", VERDICT_PAID, RESULT_PAID},
        {"paid-without-balance", VERDICT_PAID, RESULT_PAID},
        {"paid-without-metadata", VERDICT_PAID, RESULT_PAID},
        {"paid-texts-for-numbers", VERDICT_PAID, RESULT_PAID},
        {"paid-other-order", VERDICT_PAID, RESULT_PAID},
        {"paid-masked-phone", VERDICT_PAID, RESULT_PAID},
        {"cancelled", VERDICT_FAILED, RESULT_CANCELLED},
        {"no-answer", VERDICT_FAILED, RESULT_NO_ANSWER},
        {"code-of-letters", VERDICT_FAILED, RESULT_CONFIGURATION},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char path[150], body[FIXTURE_MAX];
        struct callback cb;
        struct verdict v;
        struct err err;
        size_t len;

        snprintf(path, sizeof(path), CALLBACKS "%s.json", cases[i].file);
        len = read_fixture(path, body);
        assert_int_equal(wire_read_callback(body, len, &cb, &err), ERR_NONE);
        verdict_callback(cb.code, cb.text, &v);
        if (v.kind != cases[i].kind || v.class != cases[i].class)
            fail_msg("%s: %s", cases[i].file, verdict_name(v.kind));
    }
}

static void test_unlisted_result_codes(void **state)
{
    static const char *const codes[] = {"",      "00",  "0 ",   " 0",
                                        "4999",  "34",  "35",   "E3008",
                                        "1032x", "103", "10 32"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(codes); i++) {
        struct verdict v;

        verdict_callback(codes[i], "", &v);
        assert_int_equal(v.kind, VERDICT_SOFT);
        assert_int_equal(v.row, -1);
        assert_false(v.stop_line);
    }
}

/* --- names, for the flight recorder --- */

static void test_names(void **state)
{
    struct verdict v;

    (void)state;
    for (int k = VERDICT_AMBIGUOUS; k <= VERDICT_PENDING; k++) {
        verdict_by_name(verdict_name((enum verdict_kind)k), &v);
        assert_int_equal(v.kind, k);
        assert_false(v.stop_line);
        assert_string_equal(v.code, "");
        assert_int_equal(v.retry_after_s, -1);
    }
    verdict_by_name("", &v);
    assert_int_equal(v.kind, VERDICT_AMBIGUOUS);
    verdict_by_name("accepte", &v);
    assert_int_equal(v.kind, VERDICT_AMBIGUOUS);
    assert_int_equal(v.class, RESULT_LOST);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_answer),
        cmocka_unit_test(test_every_row_has_an_answer),
        cmocka_unit_test(test_every_answer_has_its_row),
        cmocka_unit_test(test_ids_and_texts_are_kept),
        cmocka_unit_test(test_an_id_that_does_not_fit),
        cmocka_unit_test(test_answers_that_contradict_themselves),
        cmocka_unit_test(test_no_push_with_a_name_is_throttled),
        cmocka_unit_test(test_no_refusal_names_a_push),
        cmocka_unit_test(test_messages_are_compared_loosely),
        cmocka_unit_test(test_retry_after_is_handed_on),
        cmocka_unit_test(test_queries),
        cmocka_unit_test(test_a_query_tells_code_and_id),
        cmocka_unit_test(test_a_query_that_is_not_plain),
        cmocka_unit_test(test_every_result_code),
        cmocka_unit_test(test_recorded_callbacks),
        cmocka_unit_test(test_unlisted_result_codes),
        cmocka_unit_test(test_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
