/* The simulator's Pull Transactions, Transaction Status and Reversal. */
#include "tests/unit/sim_stage.h"

#define QUERY "/pulltransactions/v1/query"
#define REGISTER "/pulltransactions/v1/register"
#define EAT_US (3 * 3600 * US_PER_S)
#define ALL (INT64_C(7) * 86400 * US_PER_S) /* beyond what is kept */

static void write_date(int64_t at, char out[CLOCK_TEXT_SIZE])
{
    clock_format(at + EAT_US, 0, out);
    out[10] = ' ';
    out[19] = '\0';
}

static void write_query(char body[256], int64_t back_us, int offset)
{
    char from[CLOCK_TEXT_SIZE], until[CLOCK_TEXT_SIZE];
    int64_t now = clock_wall_at();

    write_date(now - back_us, from);
    write_date(now, until);
    snprintf(body, 256,
             "{\"ShortCode\":\"174379\",\"StartDate\":\"%s\",\"EndDate\":"
             "\"%s\",\"OffSetValue\":\"%d\"}",
             from, until, offset);
}

static int pull(struct stage *s, int64_t back_us, int offset)
{
    char body[256];

    write_query(body, back_us, offset);
    return post(s, QUERY, body);
}

static int count(const struct stage *s, const char *text)
{
    int n = 0;

    for (const char *at = s->answer; (at = strstr(at, text)); at++)
        n++;
    return n;
}

static void begin(struct stage *s)
{
    get_token(s);
    control(s, "/sim/register", "{\"shortcode\":174379,\"pull\":true}");
}

static void money(struct stage *s, const char *receipt, int64_t age_ms)
{
    char body[256];

    snprintf(body, sizeof(body),
             "{\"shortcode\":174379,\"msisdn\":\"" PHONE "\",\"amount\":3,"
             "\"reference\":\"R\",\"receipt\":\"%s\",\"age_ms\":%lld}",
             receipt, (long long)age_ms);
    control(s, "/sim/pay", body);
}

static void a_shortcode_registers_first(void **state)
{
    static const char good[] =
        "{\"ShortCode\":\"174379\",\"RequestType\":\"Pull\","
        "\"NominatedNumber\":\"0722000000\",\"CallBackURL\":\"http://h/p\"}";
    struct stage *s = *state;

    get_token(s);
    assert_int_equal(pull(s, ALL, 0), 400);
    assert_int_equal(post(s, REGISTER, "{\"ShortCode\":\"174379\"}"), 400);
    assert_true(says(s, "RequestType"));
    assert_int_equal(post(s, REGISTER, good), 200);
    assert_true(says(s, "\"ResponseStatus\":\"1000\""));
    control(s, "/sim/profile", "{\"pull_spaces\":true}");
    assert_int_equal(post(s, REGISTER, good), 200);
    assert_true(says(s, "\"Response Status\":\"1001\""));
    assert_int_equal(pull(s, ALL, 0), 200);
    close_all(s);
    open_all(s);
    get_token(s);
    assert_int_equal(pull(s, ALL, 0), 200);
}

static void a_debit_is_pulled_whatever_became_of_its_callback(void **state)
{
    struct stage *s = *state;

    begin(s);
    assert_int_equal(pull(s, ALL, 0), 200);
    assert_true(says(s, "\"ResponseCode\":\"1001\""));
    script(s, "{\"callback\":\"lost\",\"answer\":\"rst_after\"}");
    close(send_push(s, PHONE, 100, 1));
    wait_journal(s, "\"t\":\"debit\"", 1);
    assert_int_equal(pull(s, 60 * US_PER_S, 0), 200);
    assert_true(says(s, "\"ResponseCode\":\"1000\""));
    assert_true(says(s, "\"Response\":[[{\"transactionId\":\""));
    assert_true(says(s, "\"msisdn\":254708374149,"));
    assert_true(says(s, "\"billreference\":\"INV1\",\"amount\":\"100.00\","));
    close_all(s);
    open_all(s);
    get_token(s);
    assert_int_equal(pull(s, 60 * US_PER_S, 0), 200);
    assert_true(says(s, "\"billreference\":\"INV1\""));
}

static void the_window_is_48_hours(void **state)
{
    struct stage *s = *state;

    begin(s);
    money(s, "AAAAAAAAA1", INT64_C(49) * 3600000);
    money(s, "AAAAAAAAA2", INT64_C(47) * 3600000);
    money(s, "AAAAAAAAA3", 3600000);
    assert_int_equal(pull(s, ALL, 0), 200);
    assert_int_equal(count(s, "transactionId"), 2);
    assert_false(says(s, "AAAAAAAAA1"));
    assert_int_equal(pull(s, 2 * 3600 * US_PER_S, 0), 200);
    assert_int_equal(count(s, "transactionId"), 1);
    control(s, "/sim/profile", "{\"pull_delay_ms\":7200000}");
    assert_int_equal(pull(s, ALL, 0), 200);
    assert_false(says(s, "AAAAAAAAA3"));
}

static void pages_follow_the_offset(void **state)
{
    struct stage *s = *state;
    char receipt[24];

    begin(s);
    control(s, "/sim/profile", "{\"pull_page\":2}");
    for (int i = 0; i < 5; i++) {
        snprintf(receipt, sizeof(receipt), "AAAAAAAAA%d", i);
        money(s, receipt, 1000);
    }
    assert_int_equal(pull(s, ALL, 2), 200);
    assert_int_equal(count(s, "transactionId"), 2);
    assert_true(says(s, "AAAAAAAAA2"));
    assert_true(says(s, "AAAAAAAAA3"));
    assert_int_equal(pull(s, ALL, 4), 200);
    assert_int_equal(count(s, "transactionId"), 1);
    assert_int_equal(pull(s, ALL, 5), 200);
    assert_true(says(s, "1001"));
    control(s, "/sim/profile", "{\"pull_lie\":\"same\"}");
    assert_int_equal(pull(s, ALL, 400), 200);
    assert_true(says(s, "AAAAAAAAA0"));
}

static void a_query_may_be_a_get_with_a_body(void **state)
{
    struct stage *s = *state;
    char headers[256], body[256];

    begin(s);
    money(s, "AAAAAAAAA1", 1000);
    snprintf(headers, sizeof(headers), JSON "Authorization: Bearer %s\r\n",
             s->token);
    write_query(body, ALL, 0);
    assert_int_equal(ask(s, "GET", QUERY, headers, body), 200);
    assert_true(says(s, "AAAAAAAAA1"));
    control(s, "/sim/profile", "{\"pull_method\":\"get\"}");
    assert_int_equal(pull(s, ALL, 0), 405);
    assert_int_equal(ask(s, "GET", QUERY, headers, body), 200);
    control(s, "/sim/profile", "{\"pull_method\":\"post\"}");
    assert_int_equal(ask(s, "GET", QUERY, headers, body), 405);
}

static void pages_lie_as_the_knob_says(void **state)
{
    static const char *const rows[][2] = {
        {"shape", "\"Response\":{"},
        {"shortcode", "\"ShortCode\":\"9"},
        {"amount", "\"amount\":\"NaN\""},
        {"html", "Incapsula"},
        {"garbage", "[[{"},
    };
    struct stage *s = *state;
    char body[64];

    begin(s);
    money(s, "AAAAAAAAA1", 1000);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        snprintf(body, sizeof(body), "{\"pull_lie\":\"%s\"}", rows[i][0]);
        control(s, "/sim/profile", body);
        assert_int_equal(pull(s, ALL, 0), 200);
        assert_true(says(s, rows[i][1]));
    }
    control(s, "/sim/profile", "{\"pull_lie\":\"none\",\"pull_loss\":1}");
    assert_int_equal(pull(s, ALL, 0), 200);
    assert_true(says(s, "\"1001\""));
    control(s, "/sim/profile", "{\"pull_error\":1}");
    assert_int_equal(pull(s, ALL, 0), 500);
}

static void ranges_are_checked(void **state)
{
    static const char *const wrong[] = {
        "{\"ShortCode\":174379,\"StartDate\":\"x\"}",
        "{\"ShortCode\":174379,\"StartDate\":\"2026-01-02 3:00:00\","
        "\"EndDate\":\"2026-01-01 3:00:00\",\"OffSetValue\":\"0\"}",
        "{\"ShortCode\":174379,\"StartDate\":\"2026-01-02 3:00:00\","
        "\"EndDate\":\"2026-01-03 3:00:00\",\"OffSetValue\":\"-1\"}",
        "{\"ShortCode\":174380}",
        "[",
    };
    struct stage *s = *state;

    begin(s);
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
        assert_int_equal(post(s, QUERY, wrong[i]), 400);
}

static int send_status(struct stage *s, const char *path, const char *command,
                       const char *receipt)
{
    char body[512];

    snprintf(body, sizeof(body),
             "{\"Initiator\":\"api\",\"SecurityCredential\":\"x\","
             "\"CommandID\":\"%s\",\"TransactionID\":\"%s\",\"PartyA\":174379,"
             "\"ReceiverParty\":174379,\"IdentifierType\":\"4\","
             "\"ResultURL\":\"http://127.0.0.1:%d/notices\","
             "\"QueueTimeOutURL\":\"http://127.0.0.1:%d/notices\","
             "\"Remarks\":\"r\"}",
             command, receipt, http_server_port(s->receiver),
             http_server_port(s->receiver));
    return post(s, path, body);
}

static void status_and_reversal_tell_later(void **state)
{
    static const char status[] = "/mpesa/transactionstatus/v1/query";
    static const char reversal[] = "/mpesa/reversal/v1/request";
    struct stage *s = *state;

    begin(s);
    money(s, "AAAAAAAAA1", 1000);
    assert_int_equal(
        send_status(s, status, "TransactionStatusQuery", "AAAAAAAAA1"), 200);
    assert_true(says(s, "\"ConversationID\":\"AG_"));
    wait_notices(s, 1);
    assert_non_null(strstr(s->notices[0], "\"Value\":\"Completed\""));
    assert_int_equal(
        send_status(s, status, "TransactionStatusQuery", "BBBBBBBBB1"), 200);
    wait_notices(s, 2);
    assert_non_null(strstr(s->notices[1], "\"ResultCode\":2032"));
    assert_int_equal(
        send_status(s, reversal, "TransactionReversal", "AAAAAAAAA1"), 200);
    wait_notices(s, 3);
    assert_non_null(strstr(s->notices[2], "\"Value\":\"Reversed\""));
    assert_int_equal(
        send_status(s, reversal, "TransactionReversal", "AAAAAAAAA1"), 200);
    wait_notices(s, 4);
    assert_non_null(strstr(s->notices[3], "\"ResultCode\":2032"));
    assert_int_equal(journal_count(s, "\"t\":\"reversal\""), 1);
    assert_int_equal(send_status(s, status, "Other", "AAAAAAAAA1"), 400);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_shortcode_registers_first),
        CASE(a_debit_is_pulled_whatever_became_of_its_callback),
        CASE(the_window_is_48_hours),
        CASE(pages_follow_the_offset),
        CASE(a_query_may_be_a_get_with_a_body),
        CASE(pages_lie_as_the_knob_says),
        CASE(ranges_are_checked),
        CASE(status_and_reversal_tell_later),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
