/*
 * The simulator as a whole, over real sockets and in one process with its
 * client: what a client sees, what is called back, what the journal says.
 */
#include "tests/unit/sim_stage.h"

#include "common/metrics.h"

#include <signal.h>
#include <sys/resource.h>

#define PHONES 8

static void tokens_follow_the_rules(void **state)
{
    struct stage *s = *state;
    char old[64];

    get_token(s);
    assert_true(says(s, "\"expires_in\":\"3599\""));
    assert_int_equal(push(s, PHONE, 1, 1), 200);
    snprintf(old, sizeof(old), "%s", s->token);
    get_token(s);
    assert_string_not_equal(old, s->token);
    snprintf(s->token, sizeof(s->token), "%s", old);
    assert_int_equal(push(s, PHONE, 1, 2), 404);
    assert_true(says(s, "404.001.03"));
}

static void bad_logins_get_what_they_get(void **state)
{
    struct stage *s = *state;
    const char *path = "/oauth/v1/generate?grant_type=client_credentials";

    assert_int_equal(ask(s, "GET", path, "Authorization: Basic eDp5\r\n", ""),
                     400);
    assert_string_equal(strstr(s->answer, "\r\n\r\n"), "\r\n\r\n");
    assert_int_equal(ask(s, "GET", path, "", ""), 400);
    assert_true(says(s, "400.008.01"));
    assert_int_equal(ask(s, "GET", "/oauth/v1/generate", BASIC, ""), 400);
    assert_true(says(s, "400.008.02"));
}

static void a_payment_goes_the_whole_way(void **state)
{
    struct stage *s = *state;
    char checkout[64];

    get_token(s);
    script(s, "{\"decide_ms\":300}");
    assert_int_equal(push(s, PHONE, 100, 1), 200);
    assert_true(says(s, "\"ResponseCode\":\"0\""));
    take_checkout(s, checkout);
    assert_int_equal(query(s, checkout), 200);
    assert_true(says(s, "\"ResultCode\":\"4999\""));
    wait_callbacks(s, 1);
    assert_non_null(strstr(s->callbacks[0], "\"ResultCode\":0,"));
    assert_non_null(strstr(s->callbacks[0], checkout));
    assert_string_equal(s->shortcode_header, "174379");
    assert_int_equal(query(s, checkout), 200);
    assert_true(says(s, "\"ResultCode\":\"0\""));
    assert_int_equal(query(s, "ws_CO_other"), 500);
    assert_true(says(s, "does not Exist"));
    assert_int_equal(ask(s, "GET", "/sim/summary", "", ""), 200);
    assert_true(says(s, "\"debits\":1,\"debited\":100,"));
    assert_true(says(s, "\"callbacks\":{\"acked\":1,"));
}

static void answers_are_lost_in_every_way(void **state)
{
    static const struct {
        const char *answer;
        enum seen seen;
        int accepted;
    } rows[] = {
        {"rst_before", SEEN_RST, 0},       {"rst_after", SEEN_RST, 1},
        {"fin_before", SEEN_FIN, 0},       {"fin_after", SEEN_FIN, 1},
        {"stall_before", SEEN_NOTHING, 0}, {"stall_after", SEEN_NOTHING, 1},
        {"truncated_after", SEEN_FIN, 1},  {"html_after", SEEN_ANSWER, 1},
        {"502_after", SEEN_ANSWER, 1},     {"busy", SEEN_ANSWER, 0},
    };
    struct stage *s = *state;
    int accepted = 0;
    char step[64];

    control(s, "/sim/profile",
            "{\"lock\":false,\"same_amount_ms\":0,\"callbacks\":false}");
    get_token(s);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int fd;

        snprintf(step, sizeof(step), "{\"answer\":\"%s\"}", rows[i].answer);
        script(s, step);
        fd = send_push(s, PHONE, 5, (int)i + 1);
        assert_int_equal(listen_for(s, fd, 20), rows[i].seen);
        close(fd);
        accepted += rows[i].accepted;
        assert_int_equal(journal_count(s, "\"t\":\"push\""), i + 1);
        assert_int_equal(journal_count(s, "\"t\":\"accept\""), accepted);
    }
}

static void a_cut_answer_promises_more_than_it_sends(void **state)
{
    struct stage *s = *state;
    const char *body;
    long promised;
    int fd;

    get_token(s);
    script(s, "{\"answer\":\"truncated_after\"}");
    fd = send_push(s, PHONE, 5, 1);
    assert_int_equal(listen_for(s, fd, TURNS_MAX), SEEN_FIN);
    close(fd);
    assert_true(says(s, "HTTP/1.1 200"));
    promised = strtol(strstr(s->answer, "Content-Length: ") + 16, NULL, 10);
    body = strstr(s->answer, "\r\n\r\n") + 4;
    assert_int_equal(strlen(body), promised / 2);
}

static void the_journal_comes_before_the_answer(void **state)
{
    struct stage *s = *state;

    get_token(s);
    script(s, "{\"answer_ms\":0}");
    assert_int_equal(push(s, PHONE, 7, 3), 200);
    assert_int_equal(journal_count(s, "\"t\":\"accept\""), 1);
    assert_int_equal(journal_count(s, "\"payment\":\"pay-1\",\"attempt\":3"),
                     1);
    wait_callbacks(s, 1);
    assert_int_equal(journal_count(s, "\"t\":\"debit\""), 1);
    assert_int_equal(journal_count(s, "\"t\":\"callback\""), 0);
}

/* A file that may not grow stands for a disk that is full. */
static void limit_files(rlim_t bytes)
{
    struct rlimit limit;

    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void nothing_goes_out_while_the_disk_refuses(void **state)
{
    struct stage *s = *state;
    int fd;

    signal(SIGXFSZ, SIG_IGN);
    get_token(s);
    script(s, "{\"answer_ms\":0,\"decide_ms\":0,\"callback_ms\":0},"
              "{\"answer_ms\":0,\"decide_ms\":100,\"callback_ms\":0}");
    limit_files(0);
    fd = send_push(s, PHONE, 1, 1);
    assert_int_equal(listen_for(s, fd, 10), SEEN_NOTHING);
    assert_int_equal(s->callbacks_n, 0);
    limit_files(RLIM_INFINITY);
    assert_int_equal(listen_for(s, fd, TURNS_MAX), SEEN_ANSWER);
    close(fd);
    wait_callbacks(s, 1);
    assert_int_equal(push(s, PHONE, 2, 2), 200);
    limit_files(0);
    for (int i = 0; i < 10; i++)
        loop_once(s->loop, TURN_US);
    assert_int_equal(s->callbacks_n, 1);
    limit_files(RLIM_INFINITY);
    wait_callbacks(s, 2);
}

static void each_step_is_synced_when_something_depends_on_it(void **state)
{
    struct stage *s = *state;
    int64_t syncs;

    get_token(s);
    script(s, "{\"answer_ms\":0,\"decide_ms\":200,\"callback_ms\":0}");
    syncs = metric_get(M_SIM_SYNCS);
    assert_int_equal(push(s, PHONE, 1, 1), 200);
    assert_int_equal(metric_get(M_SIM_SYNCS), syncs + 1);
    wait_callbacks(s, 1);
    assert_int_equal(metric_get(M_SIM_SYNCS), syncs + 2);
}

static void a_handset_is_locked_and_knows_equal_amounts(void **state)
{
    struct stage *s = *state;

    get_token(s);
    script(s, "{\"fate\":\"cancel\",\"decide_ms\":200}");
    assert_int_equal(push(s, PHONE, 9, 1), 200);
    assert_int_equal(push(s, PHONE, 8, 2), 500);
    assert_true(says(s, "Unable to lock subscriber"));
    assert_int_equal(push(s, "254708374150", 9, 1), 200);
    wait_callbacks(s, 2);
    assert_int_equal(push(s, PHONE, 9, 3), 200);
    wait_callbacks(s, 3);
    assert_non_null(strstr(s->callbacks[2], "\"ResultCode\":17,"));
}

static void callbacks_come_early_twice_or_never(void **state)
{
    struct stage *s = *state;
    int fd;

    control(s, "/sim/profile", "{\"same_amount_ms\":0}");
    get_token(s);
    script(s, "{\"callback\":\"early\"},{\"callback\":\"twice\"},"
              "{\"callback\":\"lost\"},{\"callback\":\"garbage\"}");
    fd = send_push(s, PHONE, 1, 1);
    wait_callbacks(s, 1);
    assert_int_equal(recv(fd, s->answer, TEXT_MAX, MSG_DONTWAIT), -1);
    assert_int_equal(listen_for(s, fd, TURNS_MAX), SEEN_ANSWER);
    close(fd);
    assert_int_equal(push(s, PHONE, 1, 2), 200);
    wait_callbacks(s, 3);
    assert_string_equal(s->callbacks[1], s->callbacks[2]);
    assert_int_equal(push(s, PHONE, 1, 3), 200);
    wait_journal(s, "\"lost\":true", 1);
    assert_int_equal(push(s, PHONE, 1, 4), 200);
    wait_callbacks(s, 4);
    assert_null(strstr(s->callbacks[3], "ResultCode"));
}

static void receivers_may_have_names(void **state)
{
    struct stage *s = *state;

    s->receiver_host = "localhost";
    get_token(s);
    assert_int_equal(push(s, PHONE, 1, 1), 200);
    wait_callbacks(s, 1);
    assert_non_null(strstr(s->callbacks[0], "\"ResultCode\":0,"));
    assert_string_equal(s->shortcode_header, "174379");
    wait_journal(s, "\"status\":200", 1);
}

static void nobody_there_is_a_failure(void **state)
{
    struct stage *s = *state;

    http_server_close(s->receiver);
    get_token(s);
    assert_int_equal(push(s, PHONE, 1, 1), 200);
    wait_journal(s, "\"status\":0,\"error\":", 1);
    assert_int_equal(s->callbacks_n, 0);
}

static void a_failed_callback_is_not_repeated(void **state)
{
    struct stage *s = *state;

    s->callback_status = 500;
    get_token(s);
    assert_int_equal(push(s, PHONE, 1, 1), 200);
    wait_journal(s, "\"status\":500", 1);
    assert_int_equal(s->callbacks_n, 1);
    assert_int_equal(ask(s, "GET", "/sim/summary", "", ""), 200);
    assert_true(says(s, "\"failed\":1"));
    assert_true(says(s, "\"open_prompts\":0"));
}

static void a_late_payment_follows_a_1037(void **state)
{
    struct stage *s = *state;

    control(s, "/sim/profile", "{\"late_ms\":50,\"no_answer_ms\":10}");
    get_token(s);
    script(s, "{\"fate\":\"late_pay\"}");
    assert_int_equal(push(s, PHONE, 1, 1), 200);
    wait_callbacks(s, 2);
    assert_non_null(strstr(s->callbacks[0], "\"ResultCode\":1037,"));
    assert_non_null(strstr(s->callbacks[1], "\"ResultCode\":0,"));
    wait_journal(s, "\"t\":\"callback\"", 2);
    assert_int_equal(ask(s, "GET", "/sim/summary", "", ""), 200);
    assert_true(says(s, "\"open_prompts\":0"));
}

static void an_outage_takes_the_whole_api(void **state)
{
    struct stage *s = *state;
    int fd;

    get_token(s);
    control(s, "/sim/down", "{\"kind\":\"503\"}");
    assert_int_equal(push(s, PHONE, 1, 1), 503);
    assert_true(says(s, "Incapsula"));
    assert_int_equal(query(s, "x"), 503);
    control(s, "/sim/down", "{\"kind\":\"stall\"}");
    fd = send_push(s, PHONE, 1, 2);
    assert_int_equal(listen_for(s, fd, 5), SEEN_NOTHING);
    close(fd);
    control(s, "/sim/down", "{\"kind\":\"refuse\",\"for_ms\":60}");
    loop_once(s->loop, 0);
    assert_int_equal(dial(s), -1);
    for (int i = 0; i < TURNS_MAX && (fd = dial(s)) < 0; i++)
        loop_once(s->loop, TURN_US);
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(push(s, PHONE, 1, 3), 200);
    assert_int_equal(journal_count(s, "\"answer\":\"down\""), 2);
}

static void a_restart_goes_on(void **state)
{
    struct stage *s = *state;
    char checkout[64];

    get_token(s);
    script(s, "{\"fate\":\"no_funds\",\"decide_ms\":60000}");
    assert_int_equal(push(s, PHONE, 1, 1), 200);
    take_checkout(s, checkout);
    close_all(s);
    open_all(s);
    wait_callbacks(s, 1);
    assert_non_null(strstr(s->callbacks[0], checkout));
    assert_non_null(strstr(s->callbacks[0], "\"ResultCode\":1,"));
    assert_int_equal(ask(s, "GET", "/sim/summary", "", ""), 200);
    assert_true(says(s, "\"pushes\":1,\"accepted\":1,"));
    close_all(s);
    open_all(s);
    get_token(s);
    assert_int_equal(query(s, checkout), 200);
    assert_true(says(s, "\"ResultCode\":\"1\""));
    assert_int_equal(s->callbacks_n, 1);
}

static void control_is_strict(void **state)
{
    static const char *const wrong[][2] = {
        {"/sim/profile", "{\"anser_ms\":1}"},
        {"/sim/profile", "{\"seed\":\"x\"}"},
        {"/sim/profile", "nothing"},
        {"/sim/script", "{\"msisdn\":\"12\",\"steps\":[]}"},
        {"/sim/script", "{\"msisdn\":\"" PHONE "\"}"},
        {"/sim/script", "{\"msisdn\":\"" PHONE "\",\"steps\":[],\"x\":1}"},
        {"/sim/script", "{\"msisdn\":\"" PHONE "\",\"steps\":[{\"f\":1}]}"},
        {"/sim/handsets", "{\"handsets\":[{\"msisdn\":\"" PHONE "\"}]}"},
        {"/sim/handsets", "{\"handsets\":[],\"more\":1}"},
        {"/sim/tokens", "{\"action\":\"forge\"}"},
        {"/sim/register", "{\"shortcode\":1}"},
        {"/sim/register", "{\"shortcode\":174379,\"c2b\":\"\"}"},
        {"/sim/register", "{\"shortcode\":174379,\"c2b_version\":3}"},
        {"/sim/pay", "{\"shortcode\":174379,\"amount\":5}"},
        {"/sim/pay", "{\"shortcode\":174379,\"amount\":0}"},
        {"/sim/pay", "{\"c2b\":\"early\"}"},
        {"/sim/down", "{\"kind\":\"sleep\"}"},
        {"/sim/down", "{\"kind\":\"refuse\"}"},
        {"/sim/down", "{\"kind\":\"500\",\"for\":1}"},
        {"/sim/down", "{\"kind\":\"500\",\"for_ms\":0}"},
    };
    struct stage *s = *state;

    for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
        assert_int_equal(ask(s, "POST", wrong[i][0], JSON, wrong[i][1]), 400);
    assert_int_equal(ask(s, "GET", "/sim/nothing", "", ""), 404);
    assert_int_equal(ask(s, "GET", "/mpesa/stkpush/v1/processrequest", "", ""),
                     405);
    assert_true(says(s, "405.001"));
}

/* Whether each of the phones paid, asked in the order of @p step. */
static void ask_phones(struct stage *s, int step, bool paid[PHONES])
{
    control(s, "/sim/reset", "{}");
    control(s, "/sim/profile", "{\"fate\":{\"cancel\":0.5},\"seed\":7}");
    get_token(s);
    for (int i = 0; i < PHONES; i++) {
        int which = step > 0 ? i : PHONES - 1 - i;
        char phone[16];

        snprintf(phone, sizeof(phone), "25470800000%d", which);
        s->callbacks_n = 0;
        assert_int_equal(push(s, phone, 10, 1), 200);
        wait_callbacks(s, 1);
        paid[which] = strstr(s->callbacks[0], "\"ResultCode\":0,") != NULL;
    }
}

static void a_fate_depends_on_seed_and_order_alone(void **state)
{
    bool forth[PHONES], back[PHONES];
    int n = 0;

    ask_phones(*state, 1, forth);
    ask_phones(*state, -1, back);
    assert_memory_equal(forth, back, sizeof(forth));
    for (int i = 0; i < PHONES; i++)
        n += forth[i];
    assert_in_range(n, 1, PHONES - 1);
}

static void a_reset_forgets_what_is_open(void **state)
{
    struct stage *s = *state;

    get_token(s);
    script(s, "{\"decide_ms\":60000}");
    assert_int_equal(push(s, PHONE, 1, 1), 200);
    control(s, "/sim/reset", "{}");
    assert_int_equal(ask(s, "GET", "/sim/summary", "", ""), 200);
    assert_true(says(s, "\"pushes\":0,"));
    assert_true(says(s, "\"open_prompts\":0"));
    assert_int_equal(push(s, PHONE, 1, 2), 404); /* tokens are gone too */
    get_token(s);
    assert_int_equal(push(s, PHONE, 1, 3), 200); /* the lock as well */
    wait_callbacks(s, 1);
    assert_non_null(strstr(s->callbacks[0], "\"ResultCode\":0,"));
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(tokens_follow_the_rules),
        CASE(bad_logins_get_what_they_get),
        CASE(a_payment_goes_the_whole_way),
        CASE(answers_are_lost_in_every_way),
        CASE(a_cut_answer_promises_more_than_it_sends),
        CASE(the_journal_comes_before_the_answer),
        CASE(nothing_goes_out_while_the_disk_refuses),
        CASE(each_step_is_synced_when_something_depends_on_it),
        CASE(a_handset_is_locked_and_knows_equal_amounts),
        CASE(callbacks_come_early_twice_or_never),
        CASE(receivers_may_have_names),
        CASE(nobody_there_is_a_failure),
        CASE(a_failed_callback_is_not_repeated),
        CASE(a_late_payment_follows_a_1037),
        CASE(an_outage_takes_the_whole_api),
        CASE(a_restart_goes_on),
        CASE(control_is_strict),
        CASE(a_fate_depends_on_seed_and_order_alone),
        CASE(a_reset_forgets_what_is_open),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
