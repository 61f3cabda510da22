/*
 * The simulator as a whole, over real sockets and in one process with its
 * client: what a client sees, what is called back, what the journal says.
 */
#include "tests/daraja/sim.h"

#include "common/buf.h"
#include "common/clock.h"
#include "common/http.h"
#include "common/json.h"
#include "common/loop.h"
#include "common/metrics.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define PHONE "254708374149"
#define PASSWORD "MTc0Mzc5dGVzdC1wYXNza2V5MjAyNDA3MTAwOTE1MjY="
#define BASIC "Authorization: Basic a2V5OnNlY3JldA==\r\n" /* key:secret */
#define JSON "Content-Type: application/json\r\n"
#define TURN_US (20 * US_PER_MS)
#define TURNS_MAX 500 /* an answer that takes longer has failed */
#define TEXT_MAX 65536
#define CALLBACKS_MAX 8
#define PHONES 8

static struct shortcode shortcodes[] = {
    {.shortcode = 174379,
     .consumer_key = "key",
     .consumer_secret = "secret",
     .passkey = "test-passkey",
     .transaction_type = "CustomerPayBillOnline",
     .party_b = 174379},
};

/* Client, receiver of callbacks and simulator share one loop. */
struct stage {
    struct config cfg;
    struct loop *loop;
    struct sim *sim;
    struct http_server *receiver;
    char journal[64];
    char receiver_listen[32];
    char callbacks[CALLBACKS_MAX][1024];
    char shortcode_header[32];
    int callbacks_n;
    int callback_status;
    const char *receiver_host; /* in the callback URL */
    char token[64];
    char answer[TEXT_MAX]; /* of the last exchange */
};

static void on_callback(void *arg, struct http_request *req)
{
    struct stage *s = arg;
    const char *shortcode = http_header(req, "BusinessShortCode");
    size_t len;
    const char *body = http_body(req, &len);

    assert_in_range(s->callbacks_n, 0, CALLBACKS_MAX - 1);
    snprintf(s->callbacks[s->callbacks_n++], sizeof(s->callbacks[0]), "%.*s",
             (int)len, body);
    snprintf(s->shortcode_header, sizeof(s->shortcode_header), "%s",
             shortcode ? shortcode : "");
    http_reply(req, s->callback_status, "application/json", "{}", 2);
}

static const struct http_route receiver_routes[] = {
    {HTTP_POST, "/callbacks/{}/{}/{}", on_callback},
};

static void set_config(struct stage *s)
{
    s->cfg = (struct config){
        .http_connections_max = 64,
        .http_body_bytes_max = 65536,
        .http_header_bytes_max = 16384,
        .http_idle_timeout_ms = 10000,
        .sim_listen = "127.0.0.1:0",
        .sim_tls_listen = "",
        .sim_tls_cert = "",
        .sim_tls_key = "",
        .sim_journal = s->journal,
        .sim_seed = 1,
        .sim_idle_timeout_ms = 10000,
        .sim_callback_timeout_ms = 2000,
        .sim_ca_file = "",
        .shortcodes = shortcodes,
        .shortcodes_n = 1,
    };
}

/* The receiver keeps its port over a restart. */
static void open_all(struct stage *s)
{
    struct http_spec spec = {.listen = s->receiver_listen,
                             .tls_cert = "",
                             .tls_key = "",
                             .routes = receiver_routes,
                             .routes_n = 1,
                             .limits = &s->cfg,
                             .arg = s};
    struct err err;

    s->loop = loop_new();
    assert_int_equal(http_server_new(s->loop, &spec, &s->receiver, &err), 0);
    snprintf(s->receiver_listen, sizeof(s->receiver_listen), "127.0.0.1:%d",
             http_server_port(s->receiver));
    assert_int_equal(sim_new(s->loop, &s->cfg, &s->sim, &err), 0);
}

static void close_all(struct stage *s)
{
    sim_free(s->sim);
    http_server_free(s->receiver);
    loop_free(s->loop);
}

static int set_up(void **state)
{
    struct stage *s = calloc(1, sizeof(*s));

    snprintf(s->journal, sizeof(s->journal), "/tmp/foleni-test-sim-%d",
             getpid());
    snprintf(s->receiver_listen, sizeof(s->receiver_listen), "127.0.0.1:0");
    unlink(s->journal);
    set_config(s);
    s->callback_status = 200;
    s->receiver_host = "127.0.0.1";
    open_all(s);
    *state = s;
    return 0;
}

static int tear_down(void **state)
{
    struct stage *s = *state;

    close_all(s);
    unlink(s->journal);
    free(s);
    return 0;
}

/* --- a client that sees the bare bytes --- */

static int dial(const struct stage *s)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)sim_port(s->sim)),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    if (connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0)
        return fd;
    close(fd);
    return -1;
}

static bool whole(const char *answer)
{
    const char *length = strstr(answer, "Content-Length: ");
    const char *body = strstr(answer, "\r\n\r\n");

    return length && body &&
           strlen(body + 4) >= (size_t)strtol(length + 16, NULL, 10);
}

enum seen { SEEN_ANSWER, SEEN_FIN, SEEN_RST, SEEN_NOTHING };

/* Turns the loop until the connection has told something, @p turns at most. */
static enum seen listen_for(struct stage *s, int fd, int turns)
{
    size_t have = 0;

    s->answer[0] = '\0';
    for (int i = 0; i < turns; i++) {
        ssize_t n =
            recv(fd, s->answer + have, TEXT_MAX - 1 - have, MSG_DONTWAIT);

        if (n == 0)
            return SEEN_FIN;
        if (n < 0 && errno == ECONNRESET)
            return SEEN_RST;
        if (n > 0)
            s->answer[have += (size_t)n] = '\0';
        if (n > 0 && whole(s->answer))
            return SEEN_ANSWER;
        loop_once(s->loop, TURN_US);
    }
    return SEEN_NOTHING;
}

static int send_request(struct stage *s, const char *method, const char *path,
                        const char *headers, const char *body)
{
    static char text[TEXT_MAX];
    int fd = dial(s);
    int n = snprintf(text, sizeof(text),
                     "%s %s HTTP/1.1\r\nHost: sim\r\n%s"
                     "Content-Length: %zu\r\n\r\n%s",
                     method, path, headers, strlen(body), body);

    assert_true(fd >= 0);
    assert_int_equal(send(fd, text, (size_t)n, MSG_NOSIGNAL), n);
    return fd;
}

/* The status of the answer, which then stands in s->answer. */
static int ask(struct stage *s, const char *method, const char *path,
               const char *headers, const char *body)
{
    int fd = send_request(s, method, path, headers, body);

    assert_int_equal(listen_for(s, fd, TURNS_MAX), SEEN_ANSWER);
    close(fd);
    return (int)strtol(s->answer + strlen("HTTP/1.1 "), NULL, 10);
}

static bool says(const struct stage *s, const char *text)
{
    return strstr(s->answer, text) != NULL;
}

static void control(struct stage *s, const char *path, const char *body)
{
    assert_int_equal(ask(s, "POST", path, JSON, body), 200);
}

static void get_token(struct stage *s)
{
    const char *at;

    assert_int_equal(ask(s, "GET",
                         "/oauth/v1/generate?grant_type=client_credentials",
                         BASIC, ""),
                     200);
    at = strstr(s->answer, "access_token\":\"");
    assert_non_null(at);
    snprintf(s->token, sizeof(s->token), "%.28s", at + 15);
}

static void write_push(const struct stage *s, const char *phone, int amount,
                       int attempt, char *headers, char *body)
{
    snprintf(headers, 256, JSON "Authorization: Bearer %s\r\n", s->token);
    snprintf(body, 1024,
             "{\"BusinessShortCode\":\"174379\",\"Password\":\"" PASSWORD
             "\",\"Timestamp\":\"20240710091526\",\"TransactionType\":"
             "\"CustomerPayBillOnline\",\"Amount\":\"%d\",\"PartyA\":\"%s\","
             "\"PartyB\":\"174379\",\"PhoneNumber\":\"%s\",\"CallBackURL\":"
             "\"http://%s:%d/callbacks/pay-1/%d/aa\","
             "\"AccountReference\":\"INV1\",\"TransactionDesc\":\"Order\"}",
             amount, phone, phone, s->receiver_host,
             http_server_port(s->receiver), attempt);
}

static int send_push(struct stage *s, const char *phone, int amount,
                     int attempt)
{
    char headers[256], body[1024];

    write_push(s, phone, amount, attempt, headers, body);
    return send_request(s, "POST", "/mpesa/stkpush/v1/processrequest", headers,
                        body);
}

static int push(struct stage *s, const char *phone, int amount, int attempt)
{
    int fd = send_push(s, phone, amount, attempt);

    assert_int_equal(listen_for(s, fd, TURNS_MAX), SEEN_ANSWER);
    close(fd);
    return (int)strtol(s->answer + strlen("HTTP/1.1 "), NULL, 10);
}

static void script(struct stage *s, const char *steps)
{
    char body[1024];

    snprintf(body, sizeof(body), "{\"msisdn\":\"" PHONE "\",\"steps\":[%s]}",
             steps);
    control(s, "/sim/script", body);
}

static void wait_callbacks(struct stage *s, int n)
{
    for (int i = 0; i < TURNS_MAX && s->callbacks_n < n; i++)
        loop_once(s->loop, TURN_US);
    assert_int_equal(s->callbacks_n, n);
}

static int query(struct stage *s, const char *checkout)
{
    char headers[256], body[512];

    snprintf(headers, sizeof(headers), JSON "Authorization: Bearer %s\r\n",
             s->token);
    snprintf(body, sizeof(body),
             "{\"BusinessShortCode\":174379,\"Password\":\"" PASSWORD "\","
             "\"Timestamp\":\"20240710091526\",\"CheckoutRequestID\":\"%s\"}",
             checkout);
    return ask(s, "POST", "/mpesa/stkpushquery/v1/query", headers, body);
}

/* The CheckoutRequestID of the last answer. */
static void take_checkout(const struct stage *s, char out[64])
{
    const char *at = strstr(s->answer, "CheckoutRequestID\":\"");

    assert_non_null(at);
    at += strlen("CheckoutRequestID\":\"");
    snprintf(out, 64, "%.*s", (int)strcspn(at, "\""), at);
}

/* What stands in the journal's file, as another process would see it. */
static int journal_count(const struct stage *s, const char *text)
{
    static char file[TEXT_MAX];
    FILE *f = fopen(s->journal, "r");
    size_t n;
    int count = 0;

    assert_non_null(f);
    n = fread(file, 1, sizeof(file) - 1, f);
    file[n] = '\0';
    fclose(f);
    for (const char *at = file; (at = strstr(at, text)); at++)
        count++;
    return count;
}

static void wait_journal(struct stage *s, const char *text, int n)
{
    for (int i = 0; i < TURNS_MAX && journal_count(s, text) < n; i++)
        loop_once(s->loop, TURN_US);
    assert_int_equal(journal_count(s, text), n);
}

/* --- tests --- */

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
