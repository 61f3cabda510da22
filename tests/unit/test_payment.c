/*
 * The domain's words, numbers of phones, deadlines, and texts that are cut.
 */
#include "common/payment.h"

#include "common/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

/* The numbers stand in Postgres, the names in other people's programs: they are
   written out here a second time, because they must never change. */
static void test_states(void **state)
{
    static const struct {
        const char *name;
        bool final, announced;
    } want[] = {
        {"queued", false, true},    {"sending", false, false},
        {"prompted", false, true},  {"waiting", false, true},
        {"unknown", false, true},   {"unresolved", false, true},
        {"succeeded", true, true},  {"failed", true, true},
        {"rejected", true, true},   {"cancelled", true, true},
        {"superseded", true, true}, {"dead", true, true},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(want); i++) {
        enum payment_state s = (enum payment_state)i;

        assert_string_equal(payment_state_name(s), want[i].name);
        assert_int_equal(payment_state_final(s), want[i].final);
        assert_int_equal(payment_state_announced(s), want[i].announced);
    }
    assert_string_equal(payment_state_name((enum payment_state)12), "");
    assert_false(payment_state_final((enum payment_state)12));
    assert_false(payment_state_announced((enum payment_state)12));
}

static void test_other_words(void **state)
{
    static const char *const waits[] = {"",      "retry",     "phone",
                                        "proof", "shortcode", ""};
    static const char *const results[] = {
        "",          "paid",        "cancelled_by_customer",
        "no_answer", "wrong_pin",   "insufficient_funds",
        "limit",     "request",     "configuration",
        "provider",  "throttled",   "phone_busy",
        "auth",      "unreachable", "lost_answer",
        "expired",   "no_evidence", "withdrawn",
        ""};
    static const char *const evidence[] = {
        "", "answer", "person", "query", "pull", "c2b", "callback", ""};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(waits); i++)
        assert_string_equal(payment_wait_name((enum payment_wait)i), waits[i]);
    for (size_t i = 0; i < ARRAY_LEN(results); i++)
        assert_string_equal(result_class_name((enum result_class)i),
                            results[i]);
    for (size_t i = 0; i < ARRAY_LEN(evidence); i++)
        assert_string_equal(evidence_name((enum evidence)i), evidence[i]);
}

static void test_priorities(void **state)
{
    enum priority p = PRIORITY_LOW;

    (void)state;
    assert_true(priority_parse("high", &p));
    assert_int_equal(p, PRIORITY_HIGH);
    assert_true(priority_parse("normal", &p));
    assert_int_equal(p, PRIORITY_NORMAL);
    assert_true(priority_parse("low", &p));
    assert_int_equal(p, PRIORITY_LOW);
    p = PRIORITY_NORMAL;
    assert_false(priority_parse("High", &p));
    assert_false(priority_parse("", &p));
    assert_false(priority_parse("low ", &p));
    assert_int_equal(p, PRIORITY_NORMAL);
    assert_string_equal(priority_name(PRIORITY_HIGH), "high");
    assert_string_equal(priority_name(PRIORITY_LOW), "low");
    assert_string_equal(priority_name(PRIORITIES_N), "");
    assert_string_equal(priority_name((enum priority) - 1), "");
}

static void test_phone_numbers_have_one_form(void **state)
{
    static const struct {
        const char *text;
        int64_t n; /* 0 = refused */
    } cases[] = {
        {"0712345678", INT64_C(254712345678)},
        {"0112345678", INT64_C(254112345678)},
        {"712345678", INT64_C(254712345678)},
        {"112345678", INT64_C(254112345678)},
        {"254712345678", INT64_C(254712345678)},
        {"+254712345678", INT64_C(254712345678)},
        {"+254112345678", INT64_C(254112345678)},
        {"0700000000", INT64_C(254700000000)},
        {"0799999999", INT64_C(254799999999)},
        {"0199999999", INT64_C(254199999999)},
        {"", 0},
        {"0", 0},
        {"7", 0},
        {"12345678", 0},
        {"07123456789", 0},
        {"071234567", 0},
        {"25471234567", 0},
        {"2547123456789", 0},
        {"+712345678", 0},
        {"+0712345678", 0},
        {"00712345678", 0},
        {"00254712345678", 0},
        {"0254712345678", 0},
        {"+2540712345678", 0},
        {"255712345678", 0},
        {"+255712345678", 0},
        {"0202345678", 0},
        {"0812345678", 0},
        {"212345678", 0},
        {"0 712345678", 0},
        {"0712 345678", 0},
        {"0712345678 ", 0},
        {" 0712345678", 0},
        {"07123x5678", 0},
        {"-712345678", 0},
        {"7123456.8", 0},
    };
    int64_t n;
    struct err err;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        n = 0;
        if (msisdn_parse(cases[i].text, strlen(cases[i].text), &n, &err) !=
                (cases[i].n ? ERR_NONE : ERR_INPUT) ||
            n != cases[i].n)
            fail_msg("\"%s\" became %lld", cases[i].text, (long long)n);
    }
    /* the length counts, not a terminator */
    assert_int_equal(msisdn_parse("07123456789", 10, &n, &err), ERR_NONE);
    assert_int_equal(msisdn_parse("071234567\0", 10, &n, &err), ERR_INPUT);
}

static void test_valid_phone_numbers(void **state)
{
    (void)state;
    assert_true(msisdn_valid(INT64_C(254700000000)));
    assert_true(msisdn_valid(INT64_C(254799999999)));
    assert_true(msisdn_valid(INT64_C(254100000000)));
    assert_true(msisdn_valid(INT64_C(254199999999)));
    assert_false(msisdn_valid(INT64_C(254699999999)));
    assert_false(msisdn_valid(INT64_C(254800000000)));
    assert_false(msisdn_valid(INT64_C(254099999999)));
    assert_false(msisdn_valid(INT64_C(254200000000)));
    assert_false(msisdn_valid(0));
    assert_false(msisdn_valid(-INT64_C(254712345678)));
}

static void test_masked_phone_numbers(void **state)
{
    char out[16];

    (void)state;
    msisdn_mask(INT64_C(254708374149), out);
    assert_string_equal(out, "2547\xe2\x80\xa6"
                             "149");
    msisdn_mask(INT64_C(254100000007), out);
    assert_string_equal(out, "2541\xe2\x80\xa6"
                             "007");
    msisdn_mask(42, out);
    assert_string_equal(out, "?");
}

static void test_deadline_is_the_earliest(void **state)
{
    struct request req = {.requested_at = 1000 * US_PER_S};
    int64_t ttl = 900 * US_PER_S;

    (void)state;
    assert_int_equal(payment_deadline(&req, 0, ttl), 1900 * US_PER_S);
    assert_int_equal(payment_deadline(&req, -1, ttl), 1900 * US_PER_S);
    /* dated after it was appended: the log knows better */
    assert_int_equal(payment_deadline(&req, 990 * US_PER_S, ttl),
                     1890 * US_PER_S);
    assert_int_equal(payment_deadline(&req, 1010 * US_PER_S, ttl),
                     1900 * US_PER_S);
    req.expires_at = 1200 * US_PER_S;
    assert_int_equal(payment_deadline(&req, 0, ttl), 1200 * US_PER_S);
    req.expires_at = 2200 * US_PER_S;
    assert_int_equal(payment_deadline(&req, 0, ttl), 1900 * US_PER_S);
    req.requested_at = INT64_MAX - 1;
    assert_int_equal(payment_deadline(&req, 0, ttl), 2200 * US_PER_S);
}

static void test_texts_are_cut_between_characters(void **state)
{
    static const char four[] = "ab\xf0\x9f\xa6\x81z"; /* 2 + 4 + 1 bytes */
    char out[9];

    (void)state;
    for (size_t size = 1; size <= sizeof(out); size++) {
        size_t want = size > 7 ? 7 : size == 7 ? 6 : size > 2 ? 2 : size - 1;

        memset(out, '#', sizeof(out));
        text_copy(out, size, four);
        assert_int_equal(strlen(out), want);
        assert_memory_equal(out, four, want);
        if (size < sizeof(out))
            assert_int_equal(out[size], '#');
    }
    text_copy(out, 3, "\xc3\xa9\xc3\xa9");
    assert_string_equal(out, "\xc3\xa9");
    text_copy(out, 2, "\xc3\xa9");
    assert_string_equal(out, "");
    text_copy(out, 1, "x");
    assert_string_equal(out, "");
    text_copy(out, sizeof(out), "");
    assert_string_equal(out, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_states),
        cmocka_unit_test(test_other_words),
        cmocka_unit_test(test_priorities),
        cmocka_unit_test(test_phone_numbers_have_one_form),
        cmocka_unit_test(test_valid_phone_numbers),
        cmocka_unit_test(test_masked_phone_numbers),
        cmocka_unit_test(test_deadline_is_the_earliest),
        cmocka_unit_test(test_texts_are_cut_between_characters),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
