/*
 * The simulator on a stage: client, receiver of callbacks and notices, and
 * simulator share one loop. The client sees the bare bytes.
 */
#ifndef FOLENI_TESTS_UNIT_SIM_STAGE_H
#define FOLENI_TESTS_UNIT_SIM_STAGE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/config.h"
#include "common/http.h"
#include "common/loop.h"
#include "tests/daraja/sim.h"

#define PHONE "254708374149"
#define PASSWORD "MTc0Mzc5dGVzdC1wYXNza2V5MjAyNDA3MTAwOTE1MjY="
#define BASIC "Authorization: Basic a2V5OnNlY3JldA==\r\n" /* key:secret */
#define JSON "Content-Type: application/json\r\n"
#define TURN_US (20 * US_PER_MS)
#define TURNS_MAX 500 /* an answer that takes longer has failed */
#define TEXT_MAX 65536
#define CALLBACKS_MAX 8

static struct shortcode shortcodes[] = {
    {.shortcode = 174379,
     .consumer_key = "key",
     .consumer_secret = "secret",
     .passkey = "test-passkey",
     .transaction_type = "CustomerPayBillOnline",
     .party_b = 174379},
};

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
    char notices[CALLBACKS_MAX][1024]; /* C2B and results */
    int notices_n;
    int callback_status;
    const char *receiver_host; /* in the callback URL */
    char token[64];
    char answer[TEXT_MAX]; /* of the last exchange */
};

static inline void on_callback(void *arg, struct http_request *req)
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

static inline void on_notice(void *arg, struct http_request *req)
{
    struct stage *s = arg;
    size_t len;
    const char *body = http_body(req, &len);

    assert_in_range(s->notices_n, 0, CALLBACKS_MAX - 1);
    snprintf(s->notices[s->notices_n++], sizeof(s->notices[0]), "%.*s",
             (int)len, body);
    http_reply(req, s->callback_status, "application/json", "{}", 2);
}

static const struct http_route receiver_routes[] = {
    {HTTP_POST, "/callbacks/{}/{}/{}", on_callback},
    {HTTP_POST, "/notices", on_notice},
};

static inline void set_config(struct stage *s)
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
static inline void open_all(struct stage *s)
{
    struct http_spec spec = {.listen = s->receiver_listen,
                             .tls_cert = "",
                             .tls_key = "",
                             .routes = receiver_routes,
                             .routes_n = ARRAY_LEN(receiver_routes),
                             .limits = &s->cfg,
                             .arg = s};
    struct err err;

    s->loop = loop_new();
    assert_int_equal(http_server_new(s->loop, &spec, &s->receiver, &err), 0);
    snprintf(s->receiver_listen, sizeof(s->receiver_listen), "127.0.0.1:%d",
             http_server_port(s->receiver));
    assert_int_equal(sim_new(s->loop, &s->cfg, &s->sim, &err), 0);
}

static inline void close_all(struct stage *s)
{
    sim_free(s->sim);
    http_server_free(s->receiver);
    loop_free(s->loop);
}

static inline int set_up(void **state)
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

static inline int tear_down(void **state)
{
    struct stage *s = *state;

    close_all(s);
    unlink(s->journal);
    free(s);
    return 0;
}

/* --- a client that sees the bare bytes --- */

static inline int dial(const struct stage *s)
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

static inline bool whole(const char *answer)
{
    const char *length = strstr(answer, "Content-Length: ");
    const char *body = strstr(answer, "\r\n\r\n");

    return length && body &&
           strlen(body + 4) >= (size_t)strtol(length + 16, NULL, 10);
}

enum seen { SEEN_ANSWER, SEEN_FIN, SEEN_RST, SEEN_NOTHING };

/* Turns the loop until the connection has told something, @p turns at most. */
static inline enum seen listen_for(struct stage *s, int fd, int turns)
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

static inline int send_request(struct stage *s, const char *method,
                               const char *path, const char *headers,
                               const char *body)
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
static inline int ask(struct stage *s, const char *method, const char *path,
                      const char *headers, const char *body)
{
    int fd = send_request(s, method, path, headers, body);

    assert_int_equal(listen_for(s, fd, TURNS_MAX), SEEN_ANSWER);
    close(fd);
    return (int)strtol(s->answer + strlen("HTTP/1.1 "), NULL, 10);
}

static inline bool says(const struct stage *s, const char *text)
{
    return strstr(s->answer, text) != NULL;
}

static inline void control(struct stage *s, const char *path, const char *body)
{
    assert_int_equal(ask(s, "POST", path, JSON, body), 200);
}

static inline void get_token(struct stage *s)
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

static inline void write_push(const struct stage *s, const char *phone,
                              int amount, int attempt, char *headers,
                              char *body)
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

static inline int send_push(struct stage *s, const char *phone, int amount,
                            int attempt)
{
    char headers[256], body[1024];

    write_push(s, phone, amount, attempt, headers, body);
    return send_request(s, "POST", "/mpesa/stkpush/v1/processrequest", headers,
                        body);
}

static inline int push(struct stage *s, const char *phone, int amount,
                       int attempt)
{
    int fd = send_push(s, phone, amount, attempt);

    assert_int_equal(listen_for(s, fd, TURNS_MAX), SEEN_ANSWER);
    close(fd);
    return (int)strtol(s->answer + strlen("HTTP/1.1 "), NULL, 10);
}

static inline void script(struct stage *s, const char *steps)
{
    char body[1024];

    snprintf(body, sizeof(body), "{\"msisdn\":\"" PHONE "\",\"steps\":[%s]}",
             steps);
    control(s, "/sim/script", body);
}

static inline void wait_notices(struct stage *s, int n)
{
    for (int i = 0; i < TURNS_MAX && s->notices_n < n; i++)
        loop_once(s->loop, TURN_US);
    assert_int_equal(s->notices_n, n);
}

/* A POST with the present token. */
static inline int post(struct stage *s, const char *path, const char *body)
{
    char headers[256];

    snprintf(headers, sizeof(headers), JSON "Authorization: Bearer %s\r\n",
             s->token);
    return ask(s, "POST", path, headers, body);
}

static inline void wait_callbacks(struct stage *s, int n)
{
    for (int i = 0; i < TURNS_MAX && s->callbacks_n < n; i++)
        loop_once(s->loop, TURN_US);
    assert_int_equal(s->callbacks_n, n);
}

static inline int query(struct stage *s, const char *checkout)
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
static inline void take_checkout(const struct stage *s, char out[64])
{
    const char *at = strstr(s->answer, "CheckoutRequestID\":\"");

    assert_non_null(at);
    at += strlen("CheckoutRequestID\":\"");
    snprintf(out, 64, "%.*s", (int)strcspn(at, "\""), at);
}

/* What stands in the journal's file, as another process would see it. */
static inline int journal_count(const struct stage *s, const char *text)
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

static inline void wait_journal(struct stage *s, const char *text, int n)
{
    for (int i = 0; i < TURNS_MAX && journal_count(s, text) < n; i++)
        loop_once(s->loop, TURN_US);
    assert_int_equal(journal_count(s, text), n);
}

#endif
