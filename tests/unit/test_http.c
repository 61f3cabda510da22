/*
 * The HTTP server against raw sockets in the same process: the client's bytes
 * are written and read without blocking while the loop turns. TLS goes through
 * common/call, with a certificate that is made for the run.
 */
#include "common/http.h"

#include "common/buf.h"
#include "common/call.h"
#include "common/clock.h"
#include "common/http_abuse.h"
#include "common/metrics.h"
#include "common/must.h"
#include "tests/unit/certificate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define PATIENCE_US (60 * US_PER_S)
#define PARKED_MAX 64

struct world {
    struct loop *loop;
    struct config cfg;
    struct http_server *server;
    struct http_request *parked[PARKED_MAX];
    size_t parked_n;
    size_t died; /* parked requests whose connection died */
};

/* --- handlers --- */

static void add_text(struct buf *b, const char *what, const char *text)
{
    buf_addf(b, "%s=%s\n", what, text ? text : "(none)");
}

static void show(void *arg, struct http_request *req)
{
    struct buf b;
    size_t len;
    const char *body = http_body(req, &len);

    (void)arg;
    buf_init(&b, 100000);
    add_text(&b, "peer", http_peer(req));
    add_text(&b, "x", http_query(req, "x"));
    add_text(&b, "y z", http_query(req, "y z"));
    add_text(&b, "header", http_header(req, "X-Test"));
    buf_addf(&b, "body=%zu:", len);
    buf_add(&b, body, len);
    http_add_header(req, "X-Answer", "shown");
    http_reply(req, 200, "text/plain", b.data, b.len);
    buf_done(&b);
}

static void two(void *arg, struct http_request *req)
{
    char text[200];
    int n = snprintf(text, sizeof(text), "[%s] [%s]", http_param(req, 0),
                     http_param(req, 1));

    (void)arg;
    http_reply(req, 200, "text/plain", text, (size_t)n);
}

static void empty(void *arg, struct http_request *req)
{
    (void)arg;
    http_reply(req, 204, NULL, NULL, 0);
}

static void problem(void *arg, struct http_request *req)
{
    (void)arg;
    http_problem(req, &(struct http_problem){.status = 503,
                                             .code = "not_queued",
                                             .title = "Not \"queued\"",
                                             .detail = "line\nbreak",
                                             .field = "amount",
                                             .payment_id = "p-1",
                                             .retry_after_s = 7});
}

static void parked_died(void *arg)
{
    struct world *w = arg;

    w->died++;
}

static void park(void *arg, struct http_request *req)
{
    struct world *w = arg;

    must(w->parked_n < PARKED_MAX);
    w->parked[w->parked_n++] = req;
    http_on_close(req, parked_died, w);
}

static void cut(void *arg, struct http_request *req)
{
    (void)arg;
    http_reply_cut(req, 200, "text/plain", "0123456789", 10, 4);
}

static void reset(void *arg, struct http_request *req)
{
    (void)arg;
    http_abort(req, true);
}

static void hang_up(void *arg, struct http_request *req)
{
    (void)arg;
    http_abort(req, false);
}

static const struct http_route ROUTES[] = {
    {HTTP_POST, "/show", show},      {HTTP_GET, "/show", show},
    {HTTP_GET, "/a/{}/b/{}", two},   {HTTP_GET, "/a/fixed/b/none", empty},
    {HTTP_POST, "/only-post", show}, {HTTP_GET, "/problem", problem},
    {HTTP_GET, "/park", park},       {HTTP_POST, "/park", park},
    {HTTP_GET, "/cut", cut},         {HTTP_GET, "/reset", reset},
    {HTTP_GET, "/hang-up", hang_up}, {HTTP_GET, "/", empty},
};

/* --- the world --- */

static struct http_spec a_spec(struct world *w)
{
    return (struct http_spec){
        .listen = "127.0.0.1:0",
        .tls_cert = "",
        .tls_key = "",
        .routes = ROUTES,
        .routes_n = ARRAY_LEN(ROUTES),
        .limits = &w->cfg,
        .arg = w,
    };
}

static void serve(struct world *w)
{
    struct http_spec spec = a_spec(w);
    struct err err;

    assert_int_equal(ERR_NONE,
                     http_server_new(w->loop, &spec, &w->server, &err));
}

static int set_up(void **state)
{
    struct world *w = NEW(struct world);

    w->loop = loop_new();
    w->cfg.http_connections_max = 64;
    w->cfg.http_body_bytes_max = 65536;
    w->cfg.http_header_bytes_max = 16384;
    w->cfg.http_idle_timeout_ms = 10000;
    *state = w;
    return 0;
}

static int set_up_served(void **state)
{
    set_up(state);
    serve(*state);
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;

    http_server_free(w->server);
    loop_free(w->loop);
    free(w);
    return metric_get(M_HTTP_CONNECTIONS) == 0 ? 0 : -1;
}

/* --- the client --- */

static int dial(const struct world *w)
{
    struct sockaddr_in at = {
        .sin_family = AF_INET,
        .sin_port = htons((uint16_t)http_server_port(w->server)),
        .sin_addr = {htonl(INADDR_LOOPBACK)},
    };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int on = 1;

    assert_true(fd >= 0);
    assert_int_equal(0, connect(fd, (struct sockaddr *)&at, sizeof(at)));
    assert_int_equal(0, fcntl(fd, F_SETFL, O_NONBLOCK));
    assert_int_equal(0,
                     setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)));
    return fd;
}

/* Turns the loop; false when patience is over. */
static bool turn(struct world *w, int64_t since_us)
{
    loop_once(w->loop, 1000);
    return clock_now_us() - since_us < PATIENCE_US;
}

/* false = the server closed before it had all; its answer tells why. */
static bool say(struct world *w, int fd, const char *data, size_t len)
{
    int64_t since_us = clock_now_us();

    while (len > 0 && turn(w, since_us)) {
        ssize_t n = send(fd, data, len, MSG_NOSIGNAL);

        if (n < 0 && errno != EAGAIN)
            return false;
        if (n > 0) {
            data += n;
            len -= (size_t)n;
        }
    }
    assert_true(len == 0);
    return true;
}

static void says(struct world *w, int fd, const char *text)
{
    say(w, fd, text, strlen(text));
}

struct answer {
    int status; /* 0 = none came           */
    bool closed;
    bool was_reset;
    char text[70000]; /* all bytes, head first   */
    size_t len;
    const char *body;
    size_t body_len;
};

static const char *head_value(const struct answer *a, const char *name)
{
    static char value[256];
    char pattern[64];
    const char *at;

    snprintf(pattern, sizeof(pattern), "\r\n%s: ", name);
    at = strcasestr(a->text, pattern);
    if (!at || at > a->body)
        return NULL;
    at += strlen(pattern);
    snprintf(value, sizeof(value), "%.*s", (int)strcspn(at, "\r"), at);
    return value;
}

/* Whether a whole answer stands in a->text. */
static bool is_whole(struct answer *a)
{
    const char *end = strstr(a->text, "\r\n\r\n");
    const char *length;

    if (!end)
        return false;
    a->body = end + 4;
    a->body_len = a->len - (size_t)(a->body - a->text);
    a->status = (int)strtol(a->text + 9, NULL, 10);
    length = head_value(a, "Content-Length");
    return length && a->body_len >= strtoul(length, NULL, 10);
}

/* Reads until the answer is whole (or, @p to_end, the connection closed). */
static void hear(struct world *w, int fd, struct answer *a, bool to_end)
{
    int64_t since_us = clock_now_us();

    *a = (struct answer){.body = a->text};
    while (!a->closed && (to_end || !is_whole(a)) && turn(w, since_us)) {
        ssize_t n = recv(fd, a->text + a->len, sizeof(a->text) - 1 - a->len, 0);

        if (n > 0)
            a->len += (size_t)n;
        else if (n == 0 || errno != EAGAIN)
            a->closed = true;
        a->was_reset = n < 0 && errno == ECONNRESET;
    }
    is_whole(a);
}

static void ask(struct world *w, const char *data, size_t len, struct answer *a,
                bool to_end)
{
    int fd = dial(w);

    say(w, fd, data, len);
    hear(w, fd, a, to_end);
    close(fd);
}

static void asks(struct world *w, const char *text, struct answer *a)
{
    ask(w, text, strlen(text), a, false);
}

static void assert_problem(const struct answer *a, int status, const char *code)
{
    char member[80];

    snprintf(member, sizeof(member), "\"code\":\"%s\"", code);
    assert_int_equal(status, a->status);
    assert_string_equal("application/problem+json",
                        head_value(a, "Content-Type"));
    assert_non_null(strstr(a->body, member));
    assert_int_equal('{', a->body[0]);
    assert_int_equal('}', a->body[a->body_len - 1]);
}

/* --- what is taken --- */

static void test_reads_requests(void **state)
{
    struct world *w = *state;
    struct answer a;

    asks(w,
         "POST /show?x=1%202&y+z=%2B%26&w HTTP/1.1\r\nHost: h\r\n"
         "X-Test:  some thing \r\nContent-Length: 5\r\n\r\nhello",
         &a);
    assert_int_equal(200, a.status);
    assert_string_equal("text/plain", head_value(&a, "Content-Type"));
    assert_string_equal("shown", head_value(&a, "X-Answer"));
    assert_string_equal("peer=127.0.0.1\nx=1 2\ny z=+&\n"
                        "header=some thing\nbody=5:hello",
                        a.body);
    asks(w, "GET /show HTTP/1.1\r\nHost: h\r\n\r\n", &a);
    assert_non_null(strstr(a.body, "x=(none)\ny z=(none)\nheader=(none)\n"));
    asks(w, "GET http://elsewhere/show?x=5 HTTP/1.1\r\nHost: h\r\n\r\n", &a);
    assert_non_null(strstr(a.body, "x=5\n"));
    asks(w, "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", &a);
    assert_int_equal(204, a.status);
}

static void test_reads_chunked_bodies(void **state)
{
    struct answer a;

    asks(*state,
         "POST /show HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
         "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
         &a);
    assert_int_equal(200, a.status);
    assert_non_null(strstr(a.body, "body=5:abcde"));
}

static void test_reads_bytes_one_by_one(void **state)
{
    static const char request[] =
        "POST /show HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\n\0b\0";
    struct world *w = *state;
    struct answer a;
    int fd = dial(w);

    for (size_t i = 0; i < sizeof(request) - 1; i++)
        say(w, fd, request + i, 1);
    hear(w, fd, &a, false);
    assert_int_equal(200, a.status);
    assert_memory_equal("body=3:\0b\0", strstr(a.body, "body="), 10);
    close(fd);
}

static void test_serves_one_connection_often(void **state)
{
    struct world *w = *state;
    struct answer a;
    int fd = dial(w);

    for (int i = 0; i < 50; i++) {
        says(w, fd,
             "POST /show HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n\0\0"
             "");
        say(w, fd, "\0\0", 2);
        hear(w, fd, &a, false);
        assert_int_equal(200, a.status);
        assert_false(a.closed);
    }
    assert_int_equal(1, metric_get(M_HTTP_CONNECTIONS));
    close(fd);
}

static void test_serves_http_1_0(void **state)
{
    struct answer a;
    static const char request[] = "GET /show HTTP/1.0\r\n\r\n";

    ask(*state, request, strlen(request), &a, true);
    assert_int_equal(200, a.status);
    assert_true(a.closed);
}

/* --- pipelining --- */

static void test_answers_pipelined_requests_in_order(void **state)
{
    struct world *w = *state;
    static const char requests[] = "GET /a/1/b/x HTTP/1.1\r\nHost: h\r\n\r\n"
                                   "GET /a/2/b/x HTTP/1.1\r\nHost: h\r\n\r\n"
                                   "GET /nowhere HTTP/1.1\r\nHost: h\r\n\r\n";
    struct answer a;
    const char *first, *second, *third;

    ask(w, requests, strlen(requests), &a, true);
    first = strstr(a.text, "[1] [x]");
    second = strstr(a.text, "[2] [x]");
    third = strstr(a.text, "not_found");
    assert_non_null(first);
    assert_non_null(second);
    assert_non_null(third);
    assert_true(first < second && second < third);
}

static void test_a_parked_request_holds_the_next_one_back(void **state)
{
    struct world *w = *state;
    struct answer a;
    int fd = dial(w);

    says(w, fd,
         "GET /park HTTP/1.1\r\nHost: h\r\n\r\n"
         "GET /a/2/b/x HTTP/1.1\r\nHost: h\r\n\r\n");
    while (w->parked_n < 1)
        loop_once(w->loop, 1000);
    for (int i = 0; i < 5; i++)
        loop_once(w->loop, 0);
    assert_int_equal(-1, recv(fd, a.text, 1, 0));
    http_reply(w->parked[0], 200, "text/plain", "first", 5);
    hear(w, fd, &a, false);
    if (!strstr(a.text, "[2] [x]")) {
        assert_string_equal("first", a.body);
        hear(w, fd, &a, false);
    }
    assert_non_null(strstr(a.text, "[2] [x]"));
    assert_int_equal(0, w->died);
    close(fd);
}

/* --- routes --- */

static void test_routes(void **state)
{
    static const struct {
        const char *target;
        int status;
        const char *has;
    } cases[] = {
        {"/a/1/b/2", 200, "[1] [2]"},
        {"/a/%41%2f%20+/b/2?x=%zz", 400, "bad_target"},
        {"/a/%41%2f%20+/b/2?x=%00", 400, "bad_target"},
        {"/a/%41%2f%20+/b/2", 200, "[A/ +] [2]"},
        {"/a/%00/b/2", 400, "bad_target"},
        {"/a/%1f/b/2", 400, "bad_target"},
        {"/a/%4/b/2", 400, "bad_target"},
        {"/a/%/b/2", 400, "bad_target"},
        {"/a/1/b/2/", 404, "not_found"},
        {"/a//b/2", 404, "not_found"},
        {"/a/1/b", 404, "not_found"},
        {"/a/1/c/2", 404, "not_found"},
        {"//a/1/b/2", 404, "not_found"},
        {"/a/1/b/2/3", 404, "not_found"},
        {"/aa/1/b/2", 404, "not_found"},
        {"/%61/1/b/2", 404, "not_found"},
        {"/nowhere", 404, "not_found"},
        {"/1/2/3/4/5/6/7/8/9/10/11/12/13", 400, "bad_target"},
        {"/show?a&b&c&d&e&f&g&h&i&j&k&l&m&n&o&p", 200, "body=0:"},
        {"/show?a&b&c&d&e&f&g&h&i&j&k&l&m&n&o&p&q", 400, "bad_target"},
        {"/show?&&x=1&&x=2&=3", 200, "x=1"},
    };
    struct answer a;
    char request[200];

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: h\r\n\r\n",
                 cases[i].target);
        asks(*state, request, &a);
        if (a.status != cases[i].status || !strstr(a.body, cases[i].has))
            fail_msg("%s: %d %s", cases[i].target, a.status, a.body);
    }
}

static void test_refuses_wrong_methods(void **state)
{
    static const struct {
        const char *method, *path, *allow;
        int status;
    } cases[] = {
        {"PUT", "/show", "GET, POST", 405},
        {"DELETE", "/show", "GET, POST", 405},
        {"PATCH", "/show", "GET, POST", 405},
        {"OPTIONS", "/show", "GET, POST", 405},
        {"TRACE", "/show", "GET, POST", 405},
        {"GET", "/only-post", "POST", 405},
        {"POST", "/problem", "GET", 405},
        {"BREW", "/show", "GET, POST", 405},
        {"get", "/show", "GET, POST", 405},
        {"PUT", "/nowhere", NULL, 404},
        {"OPTIONS", "*", NULL, 404},
    };
    struct answer a;
    char request[200];

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        snprintf(request, sizeof(request), "%s %s HTTP/1.1\r\nHost: h\r\n\r\n",
                 cases[i].method, cases[i].path);
        asks(*state, request, &a);
        assert_problem(&a, cases[i].status,
                       cases[i].allow ? "method_not_allowed" : "not_found");
        if (cases[i].allow)
            assert_string_equal(cases[i].allow, head_value(&a, "Allow"));
    }
}

static void test_a_head_gets_no_body(void **state)
{
    static const char request[] = "HEAD /show HTTP/1.1\r\nHost: h\r\n"
                                  "Content-Length: 30\r\n\r\n"
                                  "GET /show HTTP/1.1\r\nHost: h\r\n\r\n";
    struct answer a;

    ask(*state, request, strlen(request), &a, true);
    assert_int_equal(405, a.status);
    assert_int_equal(0, a.body_len);
    assert_true(a.closed);
}

/* --- what is refused before a handler --- */

#define PROBE(name, text, status, code)            \
    {                                              \
        name, text, sizeof(text) - 1, status, code \
    }
#define POST_SHOW "POST /show HTTP/1.1\r\nHost: h\r\n"
#define HUGE_LENGTH \
    POST_SHOW "Content-Length: 99999999999999999999\r\n\r\nhello"
#define GET_SHOW "GET /show HTTP/1.1\r\nHost: h\r\n"

static void test_refuses_dubious_heads(void **state)
{
    static const struct {
        const char *name, *text;
        size_t len;
        int status;
        const char *code;
    } cases[] = {
        PROBE("length and coding",
              POST_SHOW "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"
                        "\r\n0\r\n\r\n",
              400, "bad_request"),
        PROBE("unknown coding",
              POST_SHOW "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 400,
              "bad_request"),
        PROBE("coding twice",
              POST_SHOW "Transfer-Encoding: chunked\r\n"
                        "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
              400, "bad_request"),
        PROBE("two lengths",
              POST_SHOW "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
              400, "bad_request"),
        PROBE("two equal lengths",
              POST_SHOW "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
              400, "bad_request"),
        PROBE("signed length", POST_SHOW "Content-Length: +5\r\n\r\nhello", 400,
              "bad_request"),
        PROBE("negative length", POST_SHOW "Content-Length: -5\r\n\r\nhello",
              400, "bad_request"),
        PROBE("list of lengths", POST_SHOW "Content-Length: 5, 5\r\n\r\nhello",
              400, "bad_request"),
        PROBE("hex length", POST_SHOW "Content-Length: 0x5\r\n\r\nhello", 400,
              "bad_request"),
        PROBE("empty length", POST_SHOW "Content-Length: \r\n\r\nhello", 400,
              "bad_request"),
        PROBE("tab and length", POST_SHOW "Content-Length:\t5\r\n\r\nhello",
              400, "bad_request"),
        PROBE("blank before the colon", POST_SHOW "Content-Length : 5\r\n\r\n",
              400, "bad_request"),
        PROBE("no name", GET_SHOW ": value\r\n\r\n", 400, "bad_request"),
        PROBE("no colon", GET_SHOW "nonsense\r\n\r\n", 400, "bad_request"),
        PROBE("no host", "GET /show HTTP/1.1\r\n\r\n", 400, "bad_request"),
        PROBE("two hosts", GET_SHOW "Host: i\r\n\r\n", 400, "bad_request"),
        PROBE("two keys",
              GET_SHOW "Idempotency-Key: a\r\nidempotency-key: b\r\n\r\n", 400,
              "bad_request"),
        PROBE("zero byte in a value", GET_SHOW "X-Test: a\0b\r\n\r\n", 400,
              "bad_request"),
        PROBE("zero byte in a name", GET_SHOW "X-\0Test: a\r\n\r\n", 400,
              "bad_request"),
        PROBE("zero byte as the end", GET_SHOW "\0\r\nX-Test: a\r\n\r\n", 400,
              "bad_request"),
        PROBE("zero byte in the target",
              "GET /show\0x HTTP/1.1\r\nHost: h\r\n\r\n", 400, "bad_request"),
        PROBE("zero byte in a value, others in the body",
              POST_SHOW "X-Test: a\0b\r\nContent-Length: 2\r\n\r\n\0\0", 400,
              "bad_request"),
        PROBE("not HTTP", "\x16\x03\x01\x02garbage garbage\r\n\r\n", 400,
              "bad_request"),
        PROBE("HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "bad_request"),
        PROBE("unknown expectation",
              POST_SHOW "Content-Length: 5\r\nExpect: wonders\r\n\r\nhello",
              417, "expectation_failed"),
        PROBE("broken chunk",
              POST_SHOW "Transfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n", 413,
              "body_too_large"),
    };
    struct answer a;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        ask(*state, cases[i].text, cases[i].len, &a, true);
        if (a.status != cases[i].status || !strstr(a.body, cases[i].code) ||
            !a.closed || strstr(a.text, "HTML") ||
            strstr(a.body, "HTTP/1.1 200"))
            fail_msg("%s: %s", cases[i].name, a.text);
        assert_problem(&a, cases[i].status, cases[i].code);
    }
}

static void test_refuses_after_good_requests(void **state)
{
    struct world *w = *state;
    static const char requests[] = GET_SHOW "\r\n" GET_SHOW "\r\nnonsense\r\n";
    struct answer a;
    int fd = dial(w);

    for (int i = 0; i < 2; i++) {
        says(w, fd, GET_SHOW "\r\n");
        hear(w, fd, &a, false);
        assert_int_equal(200, a.status);
    }
    says(w, fd, "nonsense\r\n");
    hear(w, fd, &a, true);
    assert_problem(&a, 400, "bad_request");
    close(fd);
    ask(w, requests, strlen(requests), &a, true);
    assert_non_null(strstr(a.text, "bad_request"));
    assert_null(strstr(a.text, "HTML"));
}

static void test_zero_bytes_read_ahead_are_the_next_requests(void **state)
{
    static const char requests[] =
        POST_SHOW "Content-Length: 3\r\n\r\n\0b\0" POST_SHOW
                  "Content-Length: 1\r\n\r\n\0" GET_SHOW "X-Test: \0\r\n\r\n";
    struct answer a;
    const char *at;

    ask(*state, requests, sizeof(requests) - 1, &a, true);
    assert_int_equal(200, a.status);
    at = memmem(a.text, a.len, "body=1:\0", 8);
    assert_non_null(at);
    assert_non_null(memmem(at, a.len - (size_t)(at - a.text), "zero byte", 9));
}

static void test_refuses_large_bodies(void **state)
{
    struct world *w = *state;
    size_t len = 100000;
    char *body = malloc(len + 300);
    struct answer a;
    int n;

    memset(body, 'x', len + 300);
    n = snprintf(body, 300, POST_SHOW "Content-Length: %zu\r\n\r\n", len);
    body[n] = 'x';
    ask(w, body, (size_t)n + len, &a, true);
    assert_problem(&a, 413, "body_too_large");
    assert_true(a.closed);

    n = snprintf(body, 300,
                 POST_SHOW "Transfer-Encoding: chunked\r\n\r\n%zx\r\n", len);
    body[n] = 'x';
    ask(w, body, (size_t)n + len, &a, true);
    assert_problem(&a, 413, "body_too_large");
    free(body);
}

/* More than the sockets' buffers hold: the answer must not be lost in a reset
 * while the client still writes. */
static void test_hears_a_large_body_out(void **state)
{
    struct world *w = *state;
    const size_t len = 16 << 20;
    char *body = malloc(len);
    struct answer a;
    int fd = dial(w);
    int n =
        snprintf(body, len, POST_SHOW "Content-Length: %zu\r\n\r\n", len - 300);

    memset(body + n, 'x', len - (size_t)n);
    assert_true(say(w, fd, body, (size_t)n + len - 300));
    hear(w, fd, &a, true);
    assert_problem(&a, 413, "body_too_large");
    assert_false(a.was_reset);
    close(fd);
    free(body);
}

static void test_takes_a_body_of_the_limit(void **state)
{
    struct world *w = *state;
    struct buf b;
    struct answer a;

    buf_init(&b, 100000);
    buf_addf(&b, POST_SHOW "Content-Length: %d\r\n\r\n", 65536);
    for (int i = 0; i < 65536; i++)
        buf_addc(&b, 'x');
    ask(w, b.data, b.len, &a, false);
    assert_int_equal(200, a.status);
    assert_non_null(strstr(a.body, "body=65536:x"));
    buf_done(&b);
}

static void test_refuses_large_heads(void **state)
{
    struct buf b;
    struct answer a;

    buf_init(&b, 100000);
    buf_adds(&b, GET_SHOW "X-Test: ");
    for (int i = 0; i < 64 * 1024; i++)
        buf_addc(&b, 'x');
    buf_adds(&b, "\r\n\r\n");
    ask(*state, b.data, b.len, &a, true);
    assert_problem(&a, 400, "bad_request");
    buf_reset(&b);
    buf_adds(&b, GET_SHOW);
    for (int i = 0; i < 9000; i++)
        buf_adds(&b, "X: y\r\n");
    ask(*state, b.data, b.len, &a, true);
    assert_problem(&a, 400, "bad_request");
    buf_done(&b);
}

/* --- time and numbers --- */

static void test_closes_half_requests_that_are_idle(void **state)
{
    struct world *w = *state;
    struct answer a;

    w->cfg.http_idle_timeout_ms = 100;
    serve(w);
    ask(w, "GET /show HTT", 13, &a, true);
    assert_true(a.closed);
    assert_int_equal(0, a.status);
    ask(w, "", 0, &a, true);
    assert_true(a.closed);
    ask(w, GET_SHOW "\r\n", strlen(GET_SHOW "\r\n"), &a, true);
    assert_true(a.closed); /* when nothing follows */
    assert_int_equal(200, a.status);
    ask(w, HUGE_LENGTH, strlen(HUGE_LENGTH), &a, true);
    assert_true(a.closed);
    assert_int_not_equal(200, a.status);
}

static void test_closes_requests_that_trickle(void **state)
{
    struct world *w = *state;
    int64_t since_us = clock_now_us();
    struct answer a;
    int fd;
    char byte;

    w->cfg.http_idle_timeout_ms = 100;
    serve(w);
    fd = dial(w);
    says(w, fd, GET_SHOW "\r\n"); /* not only a connection's first request */
    hear(w, fd, &a, false);
    assert_int_equal(200, a.status);
    says(w, fd, GET_SHOW "X-Test: ");
    while (send(fd, "x", 1, MSG_NOSIGNAL) == 1 && turn(w, since_us))
        for (int64_t at_us = clock_now_us(); /* 10 ms: never idle */
             clock_now_us() - at_us < 10 * US_PER_MS;)
            loop_once(w->loop, US_PER_MS);
    assert_true(clock_now_us() - since_us < PATIENCE_US);
    assert_true(recv(fd, &byte, 1, 0) <= 0);
    close(fd);
}

static void test_refuses_connections_above_the_limit(void **state)
{
    struct world *w = *state;
    int64_t refused = metric_get(M_HTTP_REFUSED);
    struct answer a;
    int one, other;

    w->cfg.http_connections_max = 2;
    serve(w);
    one = dial(w);
    other = dial(w);
    says(w, one, GET_SHOW "\r\n");
    hear(w, one, &a, false);
    assert_int_equal(200, a.status);
    assert_int_equal(2, metric_get(M_HTTP_CONNECTIONS));

    asks(w, GET_SHOW "\r\n", &a);
    assert_int_equal(0, a.status);
    assert_true(a.closed);
    assert_int_equal(refused + 1, metric_get(M_HTTP_REFUSED));
    assert_int_equal(2, metric_get(M_HTTP_CONNECTIONS));

    close(one);
    while (metric_get(M_HTTP_CONNECTIONS) == 2)
        loop_once(w->loop, 1000);
    asks(w, GET_SHOW "\r\n", &a);
    assert_int_equal(200, a.status);
    close(other);
}

/* Both listeners of a process share one limit. */
static void test_listeners_share_the_limit(void **state)
{
    struct world *w = *state;
    struct http_server *first;
    struct answer a;
    int one;

    w->cfg.http_connections_max = 1;
    serve(w);
    first = w->server;
    one = dial(w);
    says(w, one, GET_SHOW "\r\n");
    hear(w, one, &a, false);
    assert_int_equal(200, a.status);
    serve(w);
    asks(w, GET_SHOW "\r\n", &a);
    assert_int_equal(0, a.status);
    http_server_free(first);
    asks(w, GET_SHOW "\r\n", &a);
    assert_int_equal(200, a.status);
    close(one);
}

static void test_pauses_when_descriptors_run_out(void **state)
{
    struct world *w = *state;
    struct rlimit was, low;
    struct answer a;
    int fd = dial(w);

    assert_int_equal(0, getrlimit(RLIMIT_NOFILE, &was));
    low = was;
    low.rlim_cur = (rlim_t)fd; /* nothing above what is open */
    assert_int_equal(0, setrlimit(RLIMIT_NOFILE, &low));
    for (int i = 0; i < 20; i++)
        loop_once(w->loop, 0);
    assert_int_equal(0, metric_get(M_HTTP_CONNECTIONS));
    assert_int_equal(0, setrlimit(RLIMIT_NOFILE, &was));
    says(w, fd, GET_SHOW "\r\n");
    hear(w, fd, &a, false);
    assert_int_equal(200, a.status);
    close(fd);
}

/* --- later answers --- */

static void park_one(struct world *w, int fd)
{
    size_t n = w->parked_n;

    says(w, fd,
         "POST /park HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi");
    while (w->parked_n == n)
        loop_once(w->loop, 1000);
}

static void test_answers_later(void **state)
{
    struct world *w = *state;
    struct answer a;
    size_t len;
    int fd = dial(w);

    park_one(w, fd);
    assert_memory_equal("hi", http_body(w->parked[0], &len), 2);
    http_untimed(w->parked[0]);
    http_problem(w->parked[0],
                 &(struct http_problem){.status = 504, .code = "late"});
    hear(w, fd, &a, false);
    assert_problem(&a, 504, "late");
    park_one(w, fd);
    http_reply(w->parked[1], 202, "text/plain", "ok", 2);
    hear(w, fd, &a, false);
    assert_int_equal(202, a.status);
    assert_int_equal(0, w->died);
    close(fd);
}

static void wait_for_deaths(struct world *w, size_t n)
{
    int64_t since_us = clock_now_us();

    while (w->died < n && turn(w, since_us))
        ;
    assert_int_equal(n, w->died);
}

static void test_tells_when_a_parked_connection_dies(void **state)
{
    struct world *w = *state;
    struct linger at_once = {1, 0};
    struct answer a;
    int fds[5];

    for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
        fds[i] = dial(w);
        park_one(w, fds[i]);
    }
    close(fds[0]);
    setsockopt(fds[1], SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    close(fds[1]);
    shutdown(fds[2], SHUT_WR);
    wait_for_deaths(w, 3);
    /* The others are as they were. */
    http_reply(w->parked[3], 200, "text/plain", "3", 1);
    http_reply(w->parked[4], 200, "text/plain", "4", 1);
    hear(w, fds[4], &a, false);
    assert_string_equal("4", a.body);
    hear(w, fds[3], &a, false);
    assert_string_equal("3", a.body);
    assert_int_equal(3, w->died);
    for (size_t i = 2; i < ARRAY_LEN(fds); i++)
        close(fds[i]);
}

/* Answered in the very moment in which the client has left. */
static void test_answers_a_client_that_has_left(void **state)
{
    struct world *w = *state;
    struct linger at_once = {1, 0};
    struct answer a;

    for (int i = 0; i < 20; i++) {
        int fd = dial(w);

        park_one(w, fd);
        if (i % 2)
            setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
        close(fd);
        http_reply(w->parked[i], 200, "text/plain", "gone", 4);
    }
    asks(w, GET_SHOW "\r\n", &a);
    assert_int_equal(200, a.status);
    assert_int_equal(0, w->died);
}

static void test_frees_with_parked_requests(void **state)
{
    struct world *w = *state;
    int fd = dial(w);

    park_one(w, fd);
    http_server_free(w->server);
    w->server = NULL;
    assert_int_equal(0, w->died);
    close(fd);
}

static void test_frees_with_a_fresh_connection(void **state)
{
    struct world *w = *state;
    int fd = dial(w);

    http_server_free(w->server);
    w->server = NULL;
    close(fd);
}

static void test_closing_ends_connections_with_their_answers(void **state)
{
    struct world *w = *state;
    struct answer a;
    int fd = dial(w), parked = dial(w);
    struct sockaddr_in at = {
        .sin_family = AF_INET,
        .sin_port = htons((uint16_t)http_server_port(w->server)),
        .sin_addr = {htonl(INADDR_LOOPBACK)},
    };
    int late = socket(AF_INET, SOCK_STREAM, 0);

    says(w, fd, GET_SHOW "\r\n");
    hear(w, fd, &a, false);
    park_one(w, parked);
    http_server_close(w->server);
    assert_int_equal(-1, connect(late, (struct sockaddr *)&at, sizeof(at)));
    assert_int_equal(ECONNREFUSED, errno);
    says(w, fd, GET_SHOW "\r\n");
    hear(w, fd, &a, true);
    assert_int_equal(200, a.status);
    assert_string_equal("close", head_value(&a, "Connection"));
    http_reply(w->parked[0], 200, "text/plain", "late", 4);
    hear(w, parked, &a, true);
    assert_int_equal(200, a.status);
    assert_true(a.closed);
    close(late);
    close(fd);
    close(parked);
}

/* --- answers --- */

static void test_problems(void **state)
{
    struct answer a;

    asks(*state, "GET /problem HTTP/1.1\r\nHost: h\r\n\r\n", &a);
    assert_problem(&a, 503, "not_queued");
    assert_string_equal("7", head_value(&a, "Retry-After"));
    assert_string_equal("{\"type\":\"about:blank\","
                        "\"title\":\"Not \\\"queued\\\"\",\"status\":503,"
                        "\"code\":\"not_queued\",\"detail\":\"line\\nbreak\","
                        "\"field\":\"amount\",\"payment_id\":\"p-1\","
                        "\"retry_after\":7}",
                        a.body);
}

static void test_counts_answers(void **state)
{
    struct world *w = *state;
    int64_t good = metric_get(M_HTTP_2XX), bad = metric_get(M_HTTP_4XX),
            worse = metric_get(M_HTTP_5XX);
    struct answer a;

    asks(w, GET_SHOW "\r\n", &a);
    asks(w, "GET /nowhere HTTP/1.1\r\nHost: h\r\n\r\n", &a);
    asks(w, "nonsense\r\n\r\n", &a);
    asks(w, "GET /problem HTTP/1.1\r\nHost: h\r\n\r\n", &a);
    assert_int_equal(good + 1, metric_get(M_HTTP_2XX));
    assert_int_equal(bad + 2, metric_get(M_HTTP_4XX));
    assert_int_equal(worse + 1, metric_get(M_HTTP_5XX));
}

/* --- bad manners --- */

static void test_abuse(void **state)
{
    struct world *w = *state;
    static const char cut_short[] = "GET /cut HTTP/1.1\r\nHost: h\r\n\r\n";
    static const char by_reset[] = "GET /reset HTTP/1.1\r\nHost: h\r\n\r\n";
    static const char by_fin[] = "GET /hang-up HTTP/1.1\r\nHost: h\r\n\r\n";
    struct answer a;

    ask(w, cut_short, strlen(cut_short), &a, true);
    assert_int_equal(200, a.status);
    assert_string_equal("10", head_value(&a, "Content-Length"));
    assert_string_equal("0123", a.body);
    ask(w, by_reset, strlen(by_reset), &a, true);
    assert_int_equal(0, a.len);
    assert_true(a.was_reset);
    ask(w, by_fin, strlen(by_fin), &a, true);
    assert_int_equal(0, a.len);
    assert_false(a.was_reset);
}

static void test_refuses_and_listens_again(void **state)
{
    struct world *w = *state;
    int port = http_server_port(w->server), fd;
    struct sockaddr_in at = {
        .sin_family = AF_INET,
        .sin_port = htons((uint16_t)port),
        .sin_addr = {htonl(INADDR_LOOPBACK)},
    };
    struct answer a;
    struct err err;

    assert_int_equal(ERR_NONE, http_server_refuse(w->server, true, &err));
    assert_int_equal(ERR_NONE, http_server_refuse(w->server, true, &err));
    fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(-1, connect(fd, (struct sockaddr *)&at, sizeof(at)));
    close(fd);
    assert_int_equal(ERR_NONE, http_server_refuse(w->server, false, &err));
    assert_int_equal(port, http_server_port(w->server));
    asks(w, GET_SHOW "\r\n", &a);
    assert_int_equal(200, a.status);
}

/* --- start --- */

/* Accepted sockets inherit it: answers do not wait for a delayed ACK. */
static void test_listens_without_delay(void **state)
{
    struct world *w = *state;
    int found = 0;

    for (int fd = 0; fd < 256; fd++) {
        struct sockaddr_in at = {0};
        socklen_t at_len = sizeof(at), len = sizeof(int);
        int listening = 0, no_delay = 0;

        if (getsockname(fd, (struct sockaddr *)&at, &at_len) < 0 ||
            ntohs(at.sin_port) != http_server_port(w->server))
            continue;
        getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len);
        getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &no_delay, &len);
        found += listening && no_delay;
    }
    assert_int_equal(1, found);
}

static void test_says_why_it_cannot_listen(void **state)
{
    struct world *w = *state;
    struct http_spec spec = a_spec(w);
    static const char *const bad[] = {
        "",      "8080",           ":8080",           "127.0.0.1:",
        "[::1]", "127.0.0.1:http", "127.0.0.1:123456"};
    char taken[32];
    struct http_server *s = NULL;
    struct err err;

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        spec.listen = bad[i];
        assert_int_equal(ERR_CONFIG, http_server_new(w->loop, &spec, &s, &err));
        assert_non_null(strstr(err.text, "cannot listen on"));
    }
    serve(w);
    snprintf(taken, sizeof(taken), "127.0.0.1:%d", http_server_port(w->server));
    spec.listen = taken;
    assert_int_equal(ERR_IO, http_server_new(w->loop, &spec, &s, &err));
    assert_int_equal(EADDRINUSE, err.native);
    spec.listen = "127.0.0.1:0";
    spec.tls_cert = "/nowhere.pem";
    assert_int_equal(ERR_CONFIG, http_server_new(w->loop, &spec, &s, &err));
    assert_non_null(strstr(err.text, "/nowhere.pem"));
    assert_null(s);
}

static void test_serves_ipv6(void **state)
{
    struct world *w = *state;
    struct http_spec spec = a_spec(w);
    struct http_server *s;
    struct err err;
    struct sockaddr_in6 at = {.sin6_family = AF_INET6,
                              .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int fd;

    spec.listen = "[::1]:0";
    assert_int_equal(ERR_NONE, http_server_new(w->loop, &spec, &s, &err));
    at.sin6_port = htons((uint16_t)http_server_port(s));
    fd = socket(AF_INET6, SOCK_STREAM, 0);
    assert_int_equal(0, connect(fd, (struct sockaddr *)&at, sizeof(at)));
    close(fd);
    http_server_free(s);
}

/* --- TLS --- */

struct heard {
    size_t n;
    int status;
    char body[400];
    enum call_end end;
};

static void called(void *arg, const struct call_result *r)
{
    struct heard *h = arg;

    h->n++;
    h->end = r->end;
    h->status = r->status;
    snprintf(h->body, sizeof(h->body), "%s", r->body);
}

static void call_and_wait(struct world *w, struct calls *calls,
                          const char *path, const char *body, struct heard *h)
{
    char url[100];
    struct call_request req = {
        .url = url,
        .body = body,
        .body_len = body ? strlen(body) : 0,
        .done = called,
        .arg = h,
    };
    int64_t since_us = clock_now_us();
    size_t n = h->n;
    struct err err;

    snprintf(url, sizeof(url), "https://127.0.0.1:%d%s",
             http_server_port(w->server), path);
    assert_int_equal(ERR_NONE, call_start(calls, &req, &err));
    while (h->n == n && turn(w, since_us))
        ;
    assert_int_equal(n + 1, h->n);
}

static void test_tls(void **state)
{
    struct world *w = *state;
    struct http_spec spec = a_spec(w);
    struct certificate cert;
    struct calls_spec out = {
        .slots_max = 4,
        .connect_timeout_ms = 5000,
        .total_timeout_ms = 10000,
        .idle_connection_s = 60,
        .answer_bytes_max = 65536,
    };
    struct calls *calls;
    struct heard h = {0};
    struct answer a;
    struct err err;

    certificate_make(&cert, "tls");
    spec.tls_cert = cert.cert;
    spec.tls_key = cert.key;
    assert_int_equal(ERR_NONE,
                     http_server_new(w->loop, &spec, &w->server, &err));
    out.ca_file = cert.cert;
    calls = calls_new(w->loop, &out);
    for (int i = 0; i < 3; i++) {
        call_and_wait(w, calls, "/show?x=7", "body", &h);
        assert_int_equal(CALL_ANSWERED, h.end);
        assert_int_equal(200, h.status);
        assert_non_null(strstr(h.body, "x=7"));
    }
    assert_int_equal(1, metric_get(M_HTTP_CONNECTIONS)); /* kept alive */
    call_and_wait(w, calls, "/nowhere", NULL, &h);
    assert_int_equal(404, h.status);
    call_and_wait(w, calls, "/hang-up", NULL, &h);
    assert_int_equal(CALL_LOST, h.end);
    /* Plain bytes to a TLS port: closed, nothing is served. */
    ask(w, GET_SHOW "\r\n", strlen(GET_SHOW "\r\n"), &a, true);
    assert_int_not_equal(200, a.status);
    calls_free(calls);
    certificate_remove(&cert);
}

#define SERVED(t) cmocka_unit_test_setup_teardown(t, set_up_served, tear_down)
#define UNSERVED(t) cmocka_unit_test_setup_teardown(t, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SERVED(test_reads_requests),
        SERVED(test_reads_chunked_bodies),
        SERVED(test_reads_bytes_one_by_one),
        SERVED(test_serves_one_connection_often),
        SERVED(test_serves_http_1_0),
        SERVED(test_answers_pipelined_requests_in_order),
        SERVED(test_a_parked_request_holds_the_next_one_back),
        SERVED(test_routes),
        SERVED(test_refuses_wrong_methods),
        SERVED(test_a_head_gets_no_body),
        SERVED(test_refuses_dubious_heads),
        SERVED(test_refuses_after_good_requests),
        SERVED(test_zero_bytes_read_ahead_are_the_next_requests),
        SERVED(test_refuses_large_bodies),
        SERVED(test_hears_a_large_body_out),
        SERVED(test_takes_a_body_of_the_limit),
        SERVED(test_refuses_large_heads),
        UNSERVED(test_closes_half_requests_that_are_idle),
        UNSERVED(test_closes_requests_that_trickle),
        UNSERVED(test_refuses_connections_above_the_limit),
        UNSERVED(test_listeners_share_the_limit),
        SERVED(test_pauses_when_descriptors_run_out),
        SERVED(test_answers_later),
        SERVED(test_tells_when_a_parked_connection_dies),
        SERVED(test_answers_a_client_that_has_left),
        SERVED(test_frees_with_parked_requests),
        SERVED(test_frees_with_a_fresh_connection),
        SERVED(test_closing_ends_connections_with_their_answers),
        SERVED(test_problems),
        SERVED(test_counts_answers),
        SERVED(test_abuse),
        SERVED(test_refuses_and_listens_again),
        SERVED(test_listens_without_delay),
        UNSERVED(test_says_why_it_cannot_listen),
        UNSERVED(test_serves_ipv6),
        UNSERVED(test_tls),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
