/* The simulator's C2B: URLs, confirmations, simulated money; a sandbox. */
#include "tests/unit/sim_stage.h"

#include "common/sign.h"

static void register_at(struct stage *s, const char *path, int status)
{
    char body[512];

    snprintf(body, sizeof(body),
             "{\"ShortCode\":\"174379\",\"ResponseType\":\"Completed\","
             "\"ConfirmationURL\":\"http://127.0.0.1:%d/notices\","
             "\"ValidationURL\":\"http://127.0.0.1:%d/notices\"}",
             http_server_port(s->receiver), http_server_port(s->receiver));
    assert_int_equal(post(s, path, body), status);
}

/* The value of a text member of @p body, "" when it is not there. */
static void member(const char *body, const char *name, char out[80])
{
    char look[40];
    const char *at;

    snprintf(look, sizeof(look), "\"%s\":\"", name);
    at = strstr(body, look);
    out[0] = '\0';
    if (!at)
        return;
    at += strlen(look);
    snprintf(out, 80, "%.*s", (int)strcspn(at, "\""), at);
}

static void a_confirmation_carries_the_callbacks_receipt(void **state)
{
    struct stage *s = *state;
    char receipt[80], text[80];

    get_token(s);
    register_at(s, "/mpesa/c2b/v2/registerurl", 200);
    assert_true(says(s, "\"OriginatorCoversationID\":"));
    assert_int_equal(push(s, PHONE, 100, 1), 200);
    wait_callbacks(s, 1);
    wait_notices(s, 1);
    member(s->notices[0], "TransID", receipt);
    assert_int_equal(strlen(receipt), 10);
    assert_non_null(strstr(s->callbacks[0], receipt));
    member(s->notices[0], "TransAmount", text);
    assert_string_equal(text, "100.00");
    member(s->notices[0], "BillRefNumber", text);
    assert_string_equal(text, "INV1");
    member(s->notices[0], "BusinessShortCode", text);
    assert_string_equal(text, "174379");
    member(s->notices[0], "MSISDN", text);
    assert_string_equal(text, "2547 ***** 149");
    wait_journal(s, "\"t\":\"notice\",", 1);
    assert_int_equal(ask(s, "GET", "/sim/summary", "", ""), 200);
    assert_true(says(s, "\"notices\":{\"acked\":1,\"failed\":0,\"lost\":0}"));
    assert_true(says(s, "\"open_letters\":0"));
}

static void v1_hashes_the_phone_and_a_knob_says_how(void **state)
{
    struct stage *s = *state;
    uint8_t hash[SHA256_SIZE];
    char want[80], text[80];

    sign_sha256(PHONE, strlen(PHONE), hash);
    for (int i = 0; i < SHA256_SIZE; i++)
        snprintf(want + 2 * i, 3, "%02x", hash[i]);
    control(s, "/sim/profile", "{\"same_amount_ms\":0}");
    get_token(s);
    register_at(s, "/mpesa/c2b/v1/registerurl", 200);
    assert_int_equal(push(s, PHONE, 1, 1), 200);
    wait_notices(s, 1);
    member(s->notices[0], "MSISDN", text);
    assert_string_equal(text, want);
    wait_callbacks(s, 1);
    control(s, "/sim/profile", "{\"c2b_msisdn\":\"plain\"}");
    assert_int_equal(push(s, PHONE, 1, 2), 200);
    wait_notices(s, 2);
    member(s->notices[1], "MSISDN", text);
    assert_string_equal(text, PHONE);
    wait_callbacks(s, 2);
    control(s, "/sim/profile", "{\"c2b_msisdn\":\"starred\"}");
    assert_int_equal(push(s, PHONE, 1, 3), 200);
    wait_notices(s, 3);
    member(s->notices[2], "MSISDN", text);
    assert_string_equal(text, "25470****149");
}

static void confirmations_are_lost_doubled_and_late(void **state)
{
    struct stage *s = *state;

    control(s, "/sim/profile", "{\"same_amount_ms\":0}");
    get_token(s);
    register_at(s, "/mpesa/c2b/v2/registerurl", 200);
    script(s, "{\"c2b\":\"lost\"},{\"c2b\":\"twice\",\"callback\":\"lost\"},"
              "{\"c2b_ms\":600000},{\"fate\":\"cancel\"}");
    assert_int_equal(push(s, PHONE, 1, 1), 200);
    wait_callbacks(s, 1);
    assert_int_equal(journal_count(s, "\"status\":0,\"lost\":true"), 1);
    assert_int_equal(push(s, PHONE, 1, 2), 200);
    wait_notices(s, 2);
    assert_string_equal(s->notices[0], s->notices[1]);
    assert_int_equal(push(s, PHONE, 1, 3), 200);
    wait_callbacks(s, 2);
    assert_int_equal(push(s, PHONE, 1, 4), 200);
    wait_callbacks(s, 3);
    assert_int_equal(s->notices_n, 2);
    assert_int_equal(ask(s, "GET", "/sim/summary", "", ""), 200);
    assert_true(says(s, "\"open_letters\":1"));
    control(s, "/sim/reset", "{}");
    assert_int_equal(ask(s, "GET", "/sim/summary", "", ""), 200);
    assert_true(says(s, "\"open_letters\":0"));
}

static void nothing_is_confirmed_that_nobody_registered_for(void **state)
{
    struct stage *s = *state;

    get_token(s);
    assert_int_equal(push(s, PHONE, 1, 1), 200);
    wait_callbacks(s, 1);
    assert_int_equal(s->notices_n, 0);
    assert_int_equal(journal_count(s, "\"t\":\"notice\""), 0);
}

static void production_registers_once(void **state)
{
    struct stage *s = *state;

    get_token(s);
    register_at(s, "/mpesa/c2b/v1/registerurl", 200);
    register_at(s, "/mpesa/c2b/v2/registerurl", 200); /* a sandbox */
    control(s, "/sim/profile", "{\"c2b_once\":true}");
    register_at(s, "/mpesa/c2b/v2/registerurl", 500);
    assert_true(says(s, "500.003.1001"));
    assert_true(says(s, "Urls are already registered."));
}

static void registrations_are_checked(void **state)
{
#define REGISTER(shortcode, type, url)                            \
    "{\"ShortCode\":" shortcode ",\"ResponseType\":\"" type "\"," \
    "\"ConfirmationURL\":\"" url "\",\"ValidationURL\":\"http://h/v\"}"
    static const char *const wrong[][2] = {
        {REGISTER("\"174379\"", "completed", "http://h/c"), "ResponseType"},
        {REGISTER("174379", "Completed", "ftp://h/c"), "ConfirmationURL"},
        {REGISTER("174379", "Completed", "http://h/sql"), "ConfirmationURL"},
        {REGISTER("174380", "Completed", "http://h/c"), "ShortCode"},
        {"{\"ShortCode\":174379", "Payload"},
    };
    struct stage *s = *state;

    assert_int_equal(post(s, "/mpesa/c2b/v1/registerurl", wrong[0][0]), 400);
    assert_true(says(s, "400.003.01"));
    get_token(s);
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        assert_int_equal(post(s, "/mpesa/c2b/v1/registerurl", wrong[i][0]),
                         400);
        assert_true(says(s, wrong[i][1]));
    }
    assert_int_equal(journal_count(s, "\"t\":\"register\""), 0);
}

#define SIMULATE                                                     \
    "{\"ShortCode\":174379,\"CommandID\":\"CustomerPayBillOnline\"," \
    "\"Amount\":\"7\",\"Msisdn\":\"" PHONE "\",\"BillRefNumber\":\"X\"}"

static void simulated_money_is_confirmed_and_no_debit(void **state)
{
    struct stage *s = *state;
    char a[80], b[80];

    get_token(s);
    register_at(s, "/mpesa/c2b/v2/registerurl", 200);
    assert_int_equal(post(s, "/mpesa/c2b/v1/simulate", SIMULATE), 200);
    assert_true(says(s, "\"ConversationID\":\"AG_"));
    assert_int_equal(post(s, "/mpesa/c2b/v1/simulate", SIMULATE), 200);
    wait_notices(s, 2);
    member(s->notices[0], "TransID", a);
    member(s->notices[1], "TransID", b);
    assert_string_not_equal(a, b);
    assert_int_equal(journal_count(s, "\"t\":\"paid\""), 2);
    assert_int_equal(journal_count(s, "\"t\":\"debit\""), 0);
    control(s, "/sim/profile", "{\"c2b_simulate\":false}");
    assert_int_equal(post(s, "/mpesa/c2b/v1/simulate", SIMULATE), 404);
}

static void a_registration_survives_a_restart(void **state)
{
    struct stage *s = *state;

    get_token(s);
    register_at(s, "/mpesa/c2b/v2/registerurl", 200);
    close_all(s);
    open_all(s);
    get_token(s);
    assert_int_equal(push(s, PHONE, 1, 1), 200);
    wait_notices(s, 1);
    control(s, "/sim/reset", "{}");
    get_token(s);
    assert_int_equal(push(s, PHONE, 2, 1), 200);
    wait_callbacks(s, 2);
    assert_int_equal(s->notices_n, 1);
}

static void tests_register_and_pay_without_a_token(void **state)
{
    struct stage *s = *state;
    char body[256], text[80];

    snprintf(
        body, sizeof(body),
        "{\"shortcode\":174379,\"c2b_url\":\"http://127.0.0.1:%d/notices\","
        "\"c2b_version\":2}",
        http_server_port(s->receiver));
    control(s, "/sim/register", body);
    control(s, "/sim/pay",
            "{\"shortcode\":174379,\"msisdn\":\"" PHONE "\",\"amount\":3,"
            "\"reference\":\"R\",\"receipt\":\"AAAAAAAAAA\","
            "\"age_ms\":1000}");
    wait_notices(s, 1);
    member(s->notices[0], "TransID", text);
    assert_string_equal(text, "AAAAAAAAAA");
    control(s, "/sim/register", "{\"shortcode\":174379,\"c2b_url\":\"\"}");
    control(s, "/sim/pay",
            "{\"shortcode\":174379,\"msisdn\":\"" PHONE "\",\"amount\":3}");
    assert_int_equal(ask(s, "GET", "/sim/summary", "", ""), 200);
    assert_true(says(s, "\"open_letters\":0"));
}

static void one_receipt_for_two_debits(void **state)
{
    struct stage *s = *state;
    char first[80], second[80];

    control(s, "/sim/profile", "{\"receipt_clash\":1}");
    get_token(s);
    register_at(s, "/mpesa/c2b/v2/registerurl", 200);
    assert_int_equal(push(s, PHONE, 1, 1), 200);
    wait_notices(s, 1);
    assert_int_equal(push(s, "254708374150", 2, 1), 200);
    wait_notices(s, 2);
    member(s->notices[0], "TransID", first);
    member(s->notices[1], "TransID", second);
    assert_string_equal(first, second);
}

static void nothing_goes_out_before_its_debit_is_on_the_disk(void **state)
{
    struct stage *s = *state;

    get_token(s);
    register_at(s, "/mpesa/c2b/v2/registerurl", 200);
    script(s, "{\"c2b_ms\":0}");
    assert_int_equal(push(s, PHONE, 1, 1), 200);
    wait_notices(s, 1);
    assert_int_equal(journal_count(s, "\"t\":\"debit\""), 1);
}

static void a_sandbox_knows_one_handset(void **state)
{
    struct stage *s = *state;

    control(s, "/sim/profile", "{\"test_numbers_only\":true}");
    get_token(s);
    assert_int_equal(push(s, "254708374150", 1, 1), 200);
    wait_callbacks(s, 1);
    assert_non_null(strstr(s->callbacks[0], "\"ResultCode\":\"E3008\""));
    assert_int_equal(push(s, PHONE, 1, 1), 200);
    wait_callbacks(s, 2);
    assert_non_null(strstr(s->callbacks[1], "\"ResultCode\":0,"));
}

static void wrong_pins_lock_the_pin(void **state)
{
    struct stage *s = *state;

    control(s, "/sim/profile", "{\"pin_tries\":2,\"same_amount_ms\":0}");
    get_token(s);
    script(s, "{\"fate\":\"wrong_pin\"},{\"fate\":\"wrong_pin\"}");
    assert_int_equal(push(s, PHONE, 1, 1), 200);
    wait_callbacks(s, 1);
    assert_non_null(strstr(s->callbacks[0], "\"ResultCode\":2001,"));
    assert_int_equal(push(s, PHONE, 1, 2), 200);
    wait_callbacks(s, 2);
    assert_non_null(strstr(s->callbacks[1], "\"ResultCode\":8006,"));
}

static void a_query_may_get_the_edges_page(void **state)
{
    struct stage *s = *state;

    control(s, "/sim/profile", "{\"query_edge\":1}");
    get_token(s);
    assert_int_equal(query(s, "ws_CO_other"), 200);
    assert_true(says(s, "Incapsula"));
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_confirmation_carries_the_callbacks_receipt),
        CASE(v1_hashes_the_phone_and_a_knob_says_how),
        CASE(confirmations_are_lost_doubled_and_late),
        CASE(nothing_is_confirmed_that_nobody_registered_for),
        CASE(production_registers_once),
        CASE(registrations_are_checked),
        CASE(simulated_money_is_confirmed_and_no_debit),
        CASE(a_registration_survives_a_restart),
        CASE(tests_register_and_pay_without_a_token),
        CASE(one_receipt_for_two_debits),
        CASE(nothing_goes_out_before_its_debit_is_on_the_disk),
        CASE(a_sandbox_knows_one_handset),
        CASE(wrong_pins_lock_the_pin),
        CASE(a_query_may_get_the_edges_page),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
