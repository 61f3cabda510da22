/* Unit tests of what the simulator checks of a push and of a query. */
#include "tests/daraja/inspect.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/buf.h"
#include "common/json.h"
#include "tests/daraja/profile.h"

#define MEMBERS 11
#define PASSWORD "MTc0Mzc5dGVzdC1wYXNza2V5MjAyNDA3MTAwOTE1MjY="

static struct shortcode shortcodes[] = {
    {.shortcode = 174379,
     .consumer_key = "key",
     .passkey = "test-passkey",
     .transaction_type = "CustomerPayBillOnline",
     .party_b = 174379},
    {.shortcode = 600000,
     .consumer_key = "other",
     .passkey = "test-passkey",
     .transaction_type = "CustomerBuyGoodsOnline",
     .party_b = 500001},
};

static const struct config cfg = {.shortcodes = shortcodes, .shortcodes_n = 2};

static const char *const sound[MEMBERS][2] = {
    {"BusinessShortCode", "\"174379\""},
    {"Password", "\"" PASSWORD "\""},
    {"Timestamp", "\"20240710091526\""},
    {"TransactionType", "\"CustomerPayBillOnline\""},
    {"Amount", "\"1\""},
    {"PartyA", "\"254708374149\""},
    {"PartyB", "\"174379\""},
    {"PhoneNumber", "\"254708374149\""},
    {"CallBackURL", "\"https://pay.example.org/callbacks/6f1c-9e/1/5d0a\""},
    {"AccountReference", "\"INV0000042\""},
    {"TransactionDesc", "\"Order 42\""},
};

struct check {
    struct profile profile;
    struct inspection in;
    struct json *doc;
};

static int set_up(void **state)
{
    static struct check c;

    memset(&c, 0, sizeof(c));
    profile_preset(&c.profile, PRESET_CALM);
    c.in = (struct inspection){.cfg = &cfg,
                               .profile = &c.profile,
                               .content_type = "application/json",
                               .consumer_key = "key"};
    *state = &c;
    return 0;
}

static int tear_down(void **state)
{
    struct check *c = *state;

    json_free(c->doc);
    return 0;
}

/* The sound request with @p name as @p value; value NULL leaves it out. */
static bool push(struct check *c, const char *name, const char *value)
{
    struct buf text;
    struct err err;
    bool comma = false;

    buf_init(&text, 4096);
    buf_addc(&text, '{');
    for (int i = 0; i < MEMBERS; i++) {
        bool own = name && strcmp(name, sound[i][0]) == 0;

        if (own && !value)
            continue;
        buf_addf(&text, "%s\"%s\":%s", comma ? "," : "", sound[i][0],
                 own ? value : sound[i][1]);
        comma = true;
    }
    buf_addc(&text, '}');
    json_free(c->doc);
    assert_int_equal(json_parse_tolerant(text.data, text.len, &c->doc, &err),
                     0);
    buf_done(&text);
    return inspect_push(&c->in, c->doc);
}

static void a_sound_push_is_taken_apart(void **state)
{
    struct check *c = *state;

    assert_true(push(c, NULL, NULL));
    assert_int_equal(c->in.order.shortcode, 174379);
    assert_int_equal(c->in.order.msisdn, 254708374149);
    assert_int_equal(c->in.order.amount, 1);
    assert_string_equal(c->in.order.reference, "INV0000042");
    assert_string_equal(c->in.order.url,
                        "https://pay.example.org/callbacks/6f1c-9e/1/5d0a");
    assert_ptr_equal(c->in.merchant, &shortcodes[0]);
    assert_true(inspect_product(&c->in));
}

static void numbers_may_be_numbers(void **state)
{
    assert_true(push(*state, "BusinessShortCode", "174379"));
    assert_true(push(*state, "Amount", "250000"));
    assert_true(push(*state, "PhoneNumber", "254108374149"));
    assert_true(push(*state, "PartyB", "174379"));
    assert_true(push(*state, "Timestamp", "20240710091526"));
}

static void each_field_is_refused_by_its_name(void **state)
{
    static const struct {
        const char *name, *value, *message;
    } rows[] = {
        {"BusinessShortCode", "\"17\"", "BusinessShortCode"},
        {"Timestamp", "\"20241310091526\"", "Timestamp"},
        {"Password", "\"\"", "Password"},
        {"TransactionType", "\"CustomerPaybill\"", "TransactionType"},
        {"Amount", "0", "Amount"},
        {"Amount", "250001", "Amount"},
        {"Amount", "\"1.5\"", "Amount"},
        {"PartyA", "\"0708374149\"", "PartyA"},
        {"PartyB", "\"x\"", "PartyB"},
        {"PhoneNumber", "254308374149", "PhoneNumber"},
        {"CallBackURL", "\"ftp://example.org/x\"", "CallBackURL"},
        {"AccountReference", "\"1234567890123\"", "AccountReference"},
        {"AccountReference", "\"\"", "AccountReference"},
        {"TransactionDesc", NULL, "Remarks"},
        {"TransactionDesc", "\"12345678901234\"", "Remarks"},
        {"PhoneNumber", NULL, "PhoneNumber"},
    };
    struct check *c = *state;
    char message[64];

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_false(push(c, rows[i].name, rows[i].value));
        snprintf(message, sizeof(message), "Bad Request - Invalid %s",
                 rows[i].message);
        assert_string_equal(c->in.refusal.message, message);
        assert_string_equal(c->in.refusal.code, "400.002.02");
        assert_int_equal(c->in.refusal.status, 400);
    }
    /* What could be read of a refused push is there for the journal. */
    assert_int_equal(c->in.order.amount, 1);
}

static void callback_urls_have_rules(void **state)
{
    static const char *const refused[] = {
        "\"https://example.org/<id>\"",
        "\"https://example.org/a b\"",
        "\"https://Example.org/a\"",
        "\"https:///a\"",
        "\"https://example.org/mpesaSQL\"",
        "\"https://example.org/M-PESA/x\"",
        "\"example.org/a\"",
        "7",
    };
    struct check *c = *state;

    for (size_t i = 0; i < ARRAY_LEN(refused); i++)
        assert_false(push(c, "CallBackURL", refused[i]));
    assert_true(push(c, "CallBackURL", "\"http://127.0.0.1:8080/a/B\""));
    c->profile.https_only = true;
    assert_false(push(c, "CallBackURL", "\"http://127.0.0.1:8080/a\""));
    c->profile.forbidden_words = false;
    assert_true(push(c, "CallBackURL", "\"https://example.org/query\""));
    c->profile.reference_max = 15;
    assert_true(push(c, "AccountReference", "\"123456789012345\""));
}

static void json_and_content_type_come_first(void **state)
{
    struct check *c = *state;

    assert_false(inspect_push(&c->in, NULL));
    assert_string_equal(c->in.refusal.code, "400.002.05");
    c->in.content_type = "text/plain";
    assert_false(push(c, "Amount", "0"));
    assert_string_equal(c->in.refusal.message,
                        "Bad Request - Invalid BusinessShortCode");
    c->in.content_type = "application/json; charset=UTF-8";
    assert_true(push(c, NULL, NULL));
}

static void merchant_then_password(void **state)
{
    struct check *c = *state;

    assert_false(push(c, "BusinessShortCode", "174380"));
    assert_string_equal(c->in.refusal.message, "Merchant does not exist");
    assert_int_equal(c->in.refusal.status, 500);
    assert_false(push(c, "Password", "\"MTc0Mzc5\""));
    assert_string_equal(c->in.refusal.message, "Wrong credentials");
    assert_string_equal(c->in.refusal.code, "500.001.1001");
    assert_false(push(c, "Timestamp", "\"20240710091527\""));
    assert_string_equal(c->in.refusal.message, "Wrong credentials");
    c->in.consumer_key = "other"; /* another app's shortcode */
    assert_false(push(c, NULL, NULL));
    assert_string_equal(c->in.refusal.message, "Merchant does not exist");
}

static void type_and_party_have_to_fit(void **state)
{
    struct check *c = *state;

    assert_true(push(c, "TransactionType", "\"CustomerBuyGoodsOnline\""));
    assert_false(inspect_product(&c->in));
    assert_true(push(c, "PartyB", "\"174380\""));
    assert_false(inspect_product(&c->in));
}

static void a_query_is_checked_too(void **state)
{
    static const char text[] =
        "{\"BusinessShortCode\":\"174379\",\"Password\":\"" PASSWORD "\","
        "\"Timestamp\":\"20240710091526\",\"CheckoutRequestID\":\"ws_CO_1\"}";
    struct check *c = *state;
    struct err err;

    assert_int_equal(json_parse_tolerant(text, strlen(text), &c->doc, &err), 0);
    assert_true(inspect_query(&c->in, c->doc));
    assert_string_equal(c->in.checkout, "ws_CO_1");
    assert_false(push(c, NULL, NULL) && inspect_query(&c->in, c->doc));
    assert_string_equal(c->in.refusal.message,
                        "Bad Request - Invalid CheckoutRequestID");
}

static void paths_name_payment_and_attempt(void **state)
{
    struct order o = {.url = "http://h:1/callbacks/6f1c-9e/12/5d0a"};
    struct order p = {.url = "http://h:1/callbacks/6f1c-9e/13/77aa"};
    struct order q = {.url = "http://h:1/hook"};
    struct order_path a, b, c;

    (void)state;
    order_path(&o, &a);
    order_path(&p, &b);
    order_path(&q, &c);
    assert_string_equal(a.payment, "6f1c-9e");
    assert_int_equal(a.attempt, 12);
    assert_true(order_payment_key(&a) == order_payment_key(&b));
    assert_true(order_attempt_key(&a) != order_attempt_key(&b));
    assert_string_equal(c.payment, "");
    assert_int_equal(c.attempt, 0);
    assert_true(order_payment_key(&c) != order_payment_key(&a));
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_sound_push_is_taken_apart),       CASE(numbers_may_be_numbers),
        CASE(each_field_is_refused_by_its_name), CASE(callback_urls_have_rules),
        CASE(json_and_content_type_come_first),  CASE(merchant_then_password),
        CASE(type_and_party_have_to_fit),        CASE(a_query_is_checked_too),
        CASE(paths_name_payment_and_attempt),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
