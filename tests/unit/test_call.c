/*
 * Calls against a server that answers well, badly, partly or not at all, over
 * plain TCP and TLS, on fresh and on reused connections. After each case the
 * server's own count says how often it saw the request: never twice.
 */
#include "common/call.h"

#include "common/buf.h"
#include "common/clock.h"
#include "common/must.h"
#include "tests/unit/certificate.h"
#include "tests/unit/hostile.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATIENCE_US (90 * US_PER_S)
#define SHORT_MS 300  /* for calls that nobody answers */
#define STALL_MS 2000 /* same, for many at once        */
#define ANSWER_MAX 65536

#define OK_BODY "{\"ok\":1}"
#define OK_ANSWER                                           \
    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n" \
    "Content-Length: 8\r\n\r\n" OK_BODY
#define HEAD_200 "HTTP/1.1 200 OK\r\n"
#define CHUNKED "Transfer-Encoding: chunked\r\n\r\n"
#define NO_BODY "\r\nContent-Length: 0\r\n\r\n"
#define CONTINUE "HTTP/1.1 100 Continue\r\n\r\n"

static const struct hostile_act GOOD = {.say = OK_ANSWER};
static struct certificate the_cert, other_cert;

struct world {
    struct loop *loop;
    struct calls *calls;
    struct calls_spec spec;
    struct hostile server;
    bool served, tls;
};

struct outcome {
    size_t n; /* times that done ran */
    enum call_end end;
    int status;
    char content_type[100], body[200];
    size_t len;
    int64_t retry_after_s, took_us;
    bool unreachable, certificate;
    struct err err;
    int asked; /* times that `before` ran */
    bool refuse;
};

/* --- the world --- */

static int set_up(void **state)
{
    struct world *w = NEW(struct world);

    w->spec = (struct calls_spec){
        .slots_max = 8,
        .connect_timeout_ms = 30000,
        .total_timeout_ms = 60000,
        .idle_connection_s = 60,
        .answer_bytes_max = ANSWER_MAX,
        .ca_file = the_cert.cert,
    };
    *state = w;
    return 0;
}

static void serve(struct world *w, const struct hostile_act *acts, size_t n,
                  bool tls)
{
    w->loop = loop_new();
    w->tls = tls;
    hostile_start(&w->server, acts, n, tls ? &the_cert : NULL);
    w->served = true;
    w->calls = calls_new(w->loop, &w->spec);
}

/* Closes the client's side; what the server saw is final then. */
static void finish(struct world *w)
{
    calls_free(w->calls);
    loop_free(w->loop);
    w->calls = NULL;
    w->loop = NULL;
    if (w->served)
        hostile_stop(&w->server);
}

static void forget(struct world *w)
{
    if (w->served)
        hostile_forget(&w->server);
    w->served = false;
}

static int tear_down(void **state)
{
    struct world *w = *state;

    if (w->calls)
        finish(w);
    forget(w);
    free(w);
    return 0;
}

static bool before(void *arg)
{
    struct outcome *o = arg;

    o->asked++;
    return !o->refuse;
}

static void done(void *arg, const struct call_result *r)
{
    struct outcome *o = arg;

    o->n++;
    o->end = r->end;
    o->status = r->status;
    snprintf(o->content_type, sizeof(o->content_type), "%s", r->content_type);
    snprintf(o->body, sizeof(o->body), "%s", r->body);
    o->len = r->len;
    assert_int_equal('\0', r->body[r->len]);
    o->retry_after_s = r->retry_after_s;
    o->took_us = r->took_us;
    o->unreachable = r->unreachable;
    o->certificate = r->certificate;
    o->err = r->end == CALL_ANSWERED ? (struct err){0} : r->err;
}

static const char *url_of(const struct world *w, const char *path)
{
    static char url[300];

    snprintf(url, sizeof(url), "%s://127.0.0.1:%d%s", w->tls ? "https" : "http",
             w->server.port, path);
    return url;
}

static struct call_request a_push(struct world *w, struct outcome *o)
{
    static const char body[] = "{\"Amount\":\"100\",\"PhoneNumber\":\"2547\"}";

    return (struct call_request){
        .url = url_of(w, "/push"),
        .body = body,
        .body_len = sizeof(body) - 1,
        .once = true,
        .before = before,
        .done = done,
        .arg = o,
    };
}

static void start(struct world *w, const struct call_request *req)
{
    struct err err;

    assert_int_equal(ERR_NONE, call_start(w->calls, req, &err));
}

static void wait_for(struct world *w, const struct outcome *o, size_t n)
{
    int64_t since_us = clock_now_us();

    while (o->n < n && clock_now_us() - since_us < PATIENCE_US)
        loop_once(w->loop, 10 * US_PER_MS);
    assert_int_equal(n, o->n);
}

static void call(struct world *w, const struct call_request *req,
                 struct outcome *o)
{
    size_t n = o->n;

    start(w, req);
    assert_int_equal(n, o->n); /* never inside call_start() */
    wait_for(w, o, n + 1);
    assert_int_equal(0, calls_open(w->calls));
}

static void push(struct world *w, struct outcome *o)
{
    struct call_request req = a_push(w, o);

    *o = (struct outcome){0};
    call(w, &req, o);
}

static void assert_good(const struct outcome *o)
{
    if (o->end != CALL_ANSWERED)
        fail_msg("ended as %d: %s", o->end, o->err.text);
    assert_int_equal(200, o->status);
    assert_string_equal(OK_BODY, o->body);
    assert_int_equal(8, o->len);
    assert_string_equal("application/json", o->content_type);
    assert_int_equal(-1, o->retry_after_s);
}

/* --- what the network does --- */

struct harm {
    const char *name;
    struct hostile_act act;
    enum call_end plain, tls; /* the end that it must have           */
    bool may_miss;
    int status; /* when answered                                     */
};

#define LOST CALL_LOST
#define ANSWERED CALL_ANSWERED

static const struct harm HARMS[] = {
#define HARM(name, read_, say_, times_, then_, plain, tls, may_miss, status) \
    {name,     {.read = read_, .say = say_, .times = times_, .then = then_}, \
     plain,    tls,                                                          \
     may_miss, status},
#include "tests/unit/harms.def"
#undef HARM
};

/* Its size ends it, not its time. */
static bool is_flood(const struct harm *harm)
{
    return harm->act.times > 1000;
}

static void judge(const struct harm *harm, const struct outcome *o,
                  struct hostile_seen *seen, bool tls, bool reused)
{
    enum call_end want = tls ? harm->tls : harm->plain;
    int before_it = reused ? 1 : 0;
    int times = atomic_load(&seen->requests) - before_it;

    /* Gone before anything was sent: proven, or seen in time and sent once on
     * a new connection. */
    if (harm->may_miss && o->end == CALL_NOT_SENT) {
        assert_int_equal(0, o->asked);
        assert_int_equal(0, times);
        return;
    }
    if (o->asked != 1 || times > 1 ||
        atomic_load(&seen->complete) - before_it > times)
        fail_msg("%s, tls %d, reused %d: begun %d times, seen %d times",
                 harm->name, tls, reused, o->asked, times);
    if (harm->may_miss && reused && o->end == CALL_ANSWERED)
        assert_good(o);
    else if (o->end != want ||
             (want == CALL_ANSWERED && o->status != harm->status))
        fail_msg("%s, tls %d, reused %d: ended as %d with status %d: %s",
                 harm->name, tls, reused, o->end, o->status, o->err.text);
    if (o->end == CALL_LOST)
        assert_true(o->err.code == ERR_UNSURE || o->err.code == ERR_TIMEOUT);
    if (is_flood(harm))
        assert_int_equal(ERR_UNSURE, o->err.code);
    assert_true(o->end != CALL_ANSWERED || times == 1);
}

/* One push into each harm, all at once; @p reused: on connections that have
 * served before. */
static void suffer(struct world *w, bool tls, bool reused)
{
    static struct outcome outcomes[ARRAY_LEN(HARMS)];
    static struct hostile servers[ARRAY_LEN(HARMS)];
    const size_t n = ARRAY_LEN(HARMS);

    for (size_t i = 0; i < n; i++) {
        const struct hostile_act acts[3] = {GOOD, HARMS[i].act, GOOD};

        hostile_start(&servers[i], acts + !reused, reused ? 3 : 2,
                      tls ? &the_cert : NULL);
    }
    w->loop = loop_new();
    w->spec.slots_max = n;
    w->calls = calls_new(w->loop, &w->spec);
    w->tls = tls;
    for (int round = !reused; round < 2; round++) {
        for (size_t i = 0; i < n; i++) {
            struct call_request req;

            w->server.port = servers[i].port;
            outcomes[i] = (struct outcome){0};
            req = a_push(w, &outcomes[i]);
            if (round && !is_flood(&HARMS[i]) &&
                (tls ? HARMS[i].tls : HARMS[i].plain) == CALL_LOST)
                req.total_timeout_ms = STALL_MS;
            hostile_hold(&servers[i], round == 0);
            start(w, &req);
        }
        for (size_t i = 0; i < n; i++) {
            wait_for(w, &outcomes[i], 1);
            if (!round)
                assert_good(&outcomes[i]);
        }
    }
    finish(w);
    for (size_t i = 0; i < n; i++) {
        hostile_stop(&servers[i]);
        judge(&HARMS[i], &outcomes[i], servers[i].seen, tls, reused);
        hostile_forget(&servers[i]);
    }
}

static void test_suffers_plain_fresh(void **state)
{
    suffer(*state, false, false);
}

static void test_suffers_plain_reused(void **state)
{
    suffer(*state, false, true);
}

static void test_suffers_tls_fresh(void **state)
{
    suffer(*state, true, false);
}

static void test_suffers_tls_reused(void **state)
{
    suffer(*state, true, true);
}

/* The twin: what libcurl does where we let it. */
static void test_repeats_what_may_be_repeated(void **state)
{
    struct world *w = *state;
    static const struct hostile_act acts[] = {
        {.say = OK_ANSWER}, {.then = THEN_FIN}, {.say = OK_ANSWER}};
    struct outcome o;
    struct call_request req;

    serve(w, acts, 3, false);
    push(w, &o);
    o = (struct outcome){0};
    req = a_push(w, &o);
    req.once = false;
    call(w, &req, &o);
    assert_good(&o);
    assert_int_equal(1, o.asked);
    finish(w);
    assert_int_equal(3, atomic_load(&w->server.seen->requests));
    assert_non_null(strstr(w->server.seen->last, "\"PhoneNumber\":\"2547\"}"));
}

/* Each guard alone: a body cannot be read again (CURLE_SEND_FAIL_REWIND); what
 * has none is stopped as it begins again (CURLE_ABORTED_BY_CALLBACK). */
static void test_each_guard_stops_a_repetition(void **state)
{
    struct world *w = *state;
    static const struct hostile_act acts[] = {
        {.say = OK_ANSWER}, {.then = THEN_FIN}, {.say = OK_ANSWER}};

    for (int get = 0; get < 2; get++) {
        struct outcome o;
        struct call_request req;

        serve(w, acts, 3, false);
        push(w, &o);
        o = (struct outcome){0};
        req = a_push(w, &o);
        if (get)
            req.body = NULL;
        call(w, &req, &o);
        assert_int_equal(CALL_LOST, o.end);
        assert_int_equal(ERR_UNSURE, o.err.code);
        assert_int_equal(ERR_CURL, o.err.from);
        assert_int_equal(get ? 42 : 65, o.err.native);
        finish(w);
        assert_int_equal(2, atomic_load(&w->server.seen->requests));
        forget(w);
    }
}

/* --- proven not sent --- */

static void assert_not_sent(const struct outcome *o, bool unreachable,
                            bool certificate)
{
    if (o->end != CALL_NOT_SENT || o->unreachable != unreachable ||
        o->certificate != certificate)
        fail_msg("ended as %d: %s", o->end, o->err.text);
    assert_int_equal(0, o->status);
    assert_int_equal(unreachable ? ERR_UNAVAILABLE : ERR_DENIED, o->err.code);
    assert_int_equal(unreachable ? ERR_CURL : ERR_SELF, o->err.from);
}

static void test_a_refused_connection_sends_nothing(void **state)
{
    struct world *w = *state;
    struct outcome o = {0};
    struct call_request req;

    serve(w, &GOOD, 1, false);
    req = a_push(w, &o);
    req.url = "http://127.0.0.2:1/push"; /* nobody listens there */
    call(w, &req, &o);
    assert_not_sent(&o, true, false);
    assert_int_equal(0, o.asked);
    assert_non_null(strstr(o.err.text, "could not reach host: "));
}

static void test_an_unknown_name_sends_nothing(void **state)
{
    struct world *w = *state;
    struct outcome o = {0};
    struct call_request req;

    serve(w, &GOOD, 1, false);
    req = a_push(w, &o);
    req.url = "http://name.invalid/push";
    call(w, &req, &o);
    assert_not_sent(&o, true, false);
    assert_int_equal(0, o.asked);
}

static void test_a_malformed_url_sends_nothing(void **state)
{
    static const char *const urls[] = {"", "http://", "ftp://127.0.0.1/x",
                                       "http://127.0.0.1:99999/",
                                       "file:///etc/passwd"};
    struct world *w = *state;

    serve(w, &GOOD, 1, false);
    for (size_t i = 0; i < ARRAY_LEN(urls); i++) {
        struct outcome o = {0};
        struct call_request req = a_push(w, &o);

        req.url = urls[i];
        call(w, &req, &o);
        assert_int_equal(CALL_NOT_SENT, o.end);
        assert_false(o.unreachable);
        assert_int_equal(0, o.asked);
    }
}

static void test_a_wrong_certificate_sends_nothing(void **state)
{
    struct world *w = *state;
    struct outcome o;
    const char *const ca[] = {other_cert.cert, ""};

    for (size_t i = 0; i < ARRAY_LEN(ca); i++) {
        w->spec.ca_file = ca[i];
        serve(w, &GOOD, 1, true);
        push(w, &o);
        assert_not_sent(&o, true, true);
        finish(w);
        assert_int_equal(0, atomic_load(&w->server.seen->requests));
        assert_int_equal(0, o.asked);
        forget(w);
    }
}

static void test_a_wrong_host_name_sends_nothing(void **state)
{
    struct world *w = *state;
    struct outcome o = {0};
    struct call_request req;
    char url[100];

    serve(w, &GOOD, 1, true);
    req = a_push(w, &o);
    req.url = url;
    /* The same address by a name that the certificate does not have. */
    snprintf(url, sizeof(url), "https://x.localhost:%d/", w->server.port);
    call(w, &req, &o);
    assert_not_sent(&o, true, true);
    snprintf(url, sizeof(url), "https://localhost:%d/", w->server.port);
    call(w, &req, &o);
    assert_good(&o);
    finish(w);
    assert_int_equal(1, atomic_load(&w->server.seen->requests));
}

static void test_a_broken_handshake_sends_nothing(void **state)
{
    static const struct hostile_act acts[] = {
        {.read = READ_NOTHING, .then = THEN_CUT, .before_tls = true},
        {.read = READ_NOTHING, .then = THEN_RST, .before_tls = true},
        {.read = READ_WAIT, .then = THEN_RST, .before_tls = true},
        {.read = READ_WAIT, .then = THEN_STALL, .before_tls = true},
        {.read = READ_WAIT,
         .say = OK_ANSWER,
         .then = THEN_STALL,
         .before_tls = true},
    };
    struct world *w = *state;

    w->spec.connect_timeout_ms = SHORT_MS;
    for (size_t i = 0; i < ARRAY_LEN(acts); i++) {
        struct outcome o;

        serve(w, &acts[i], 1, true);
        push(w, &o);
        assert_not_sent(&o, true, false);
        assert_int_equal(0, o.asked);
        finish(w);
        forget(w);
    }
}

static void test_before_may_hold_a_call_back(void **state)
{
    struct world *w = *state;

    for (int tls = 0; tls < 2; tls++) {
        struct outcome o = {.refuse = true};
        struct call_request req;

        serve(w, &GOOD, 1, tls);
        req = a_push(w, &o);
        call(w, &req, &o);
        assert_not_sent(&o, false, false);
        assert_int_equal(1, o.asked);
        o.refuse = false;
        call(w, &req, &o); /* the slot and the multi are as before */
        assert_good(&o);
        o.refuse = true;
        call(w, &req, &o); /* and on a reused connection */
        assert_not_sent(&o, false, false);
        finish(w);
        assert_int_equal(1, atomic_load(&w->server.seen->requests));
        forget(w);
    }
}

static void test_a_call_that_gets_no_connection_is_not_sent(void **state)
{
    struct world *w = *state;
    static const struct hostile_act stall = {.then = THEN_STALL};
    struct outcome first = {0}, second = {0};
    struct call_request req;

    w->spec.host_connections_max = 1;
    serve(w, &stall, 1, false);
    req = a_push(w, &first);
    req.total_timeout_ms = STALL_MS;
    start(w, &req);
    while (first.asked == 0)
        loop_once(w->loop, US_PER_MS);
    req = a_push(w, &second);
    req.total_timeout_ms = SHORT_MS;
    start(w, &req);
    wait_for(w, &second, 1);
    assert_int_equal(0, first.n); /* it still has the connection */
    assert_not_sent(&second, true, false);
    assert_int_equal(0, second.asked);
    wait_for(w, &first, 1);
    assert_int_equal(CALL_LOST, first.end);
    assert_int_equal(ERR_TIMEOUT, first.err.code);
    finish(w);
    assert_int_equal(1, atomic_load(&w->server.seen->requests));
}

static void test_a_queued_call_gets_its_turn(void **state)
{
    struct world *w = *state;
    struct outcome o = {0};
    struct call_request req;

    w->spec.host_connections_max = 1;
    serve(w, &GOOD, 1, false);
    req = a_push(w, &o);
    for (int i = 0; i < 8; i++)
        start(w, &req);
    wait_for(w, &o, 8);
    assert_good(&o);
    assert_int_equal(8, o.asked);
    finish(w);
    assert_int_equal(1, atomic_load(&w->server.seen->connections));
}

/* --- what is sent --- */

static void test_says_what_it_was_told(void **state)
{
    struct world *w = *state;
    static const char *const headers[] = {"Content-Type: application/json",
                                          "Authorization: Bearer abc",
                                          "X-1: 1",
                                          "X-2: 2",
                                          "X-3: 3",
                                          "X-4: 4",
                                          "X-5: 5",
                                          "X-6: 6"};
    struct outcome o = {0};
    struct call_request req;
    const char *said;
    char want[400];

    serve(w, &GOOD, 1, false);
    req = a_push(w, &o);
    req.headers = headers;
    req.headers_n = ARRAY_LEN(headers);
    call(w, &req, &o);
    assert_good(&o);
    finish(w);
    said = w->server.seen->last;
    snprintf(want, sizeof(want),
             "POST /push HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n"
             "User-Agent: foleni\r\nAccept: */*\r\n"
             "Content-Type: application/json\r\nAuthorization: Bearer abc\r\n"
             "X-1: 1\r\nX-2: 2\r\nX-3: 3\r\nX-4: 4\r\nX-5: 5\r\nX-6: 6\r\n"
             "Content-Length: %zu\r\n\r\n%s",
             w->server.port, req.body_len, req.body);
    assert_string_equal(want, said);
}

static void test_gets_with_a_password(void **state)
{
    struct world *w = *state;
    struct outcome o = {0};
    struct call_request req;

    serve(w, &GOOD, 1, false);
    req = (struct call_request){.url = url_of(w, "/oauth?grant_type=x"),
                                .user_password = "key:secret",
                                .done = done,
                                .arg = &o};
    call(w, &req, &o);
    assert_good(&o);
    finish(w);
    assert_non_null(
        strstr(w->server.seen->last, "GET /oauth?grant_type=x HTTP/1.1\r\n"));
    assert_non_null(strstr(w->server.seen->last,
                           "Authorization: Basic a2V5OnNlY3JldA==\r\n"));
    assert_null(strstr(w->server.seen->last, "Content-Length"));
}

/* A slot that has served one kind of call serves another. */
static void test_a_slot_forgets_its_last_call(void **state)
{
    struct world *w = *state;
    struct outcome o = {0};
    struct call_request get, post;
    const char *said;

    w->spec.slots_max = 1;
    serve(w, &GOOD, 1, false);
    get = (struct call_request){
        .url = "", .user_password = "key:secret", .done = done, .arg = &o};
    post = a_push(w, &o);
    for (int i = 0; i < 3; i++) {
        get.url = url_of(w, "/get");
        call(w, &get, &o);
        assert_good(&o);
        post.url = url_of(w, "/post");
        call(w, &post, &o);
        assert_good(&o);
    }
    finish(w);
    said = w->server.seen->last;
    assert_ptr_equal(said, strstr(said, "POST /post"));
    assert_null(strstr(said, "Authorization"));
    assert_int_equal(6, atomic_load(&w->server.seen->complete));
}

static void test_sends_large_bodies(void **state)
{
    struct world *w = *state;
    char *body = malloc(CALL_BODY_MAX + 1);
    struct outcome o = {0};
    struct call_request req;
    struct err err;

    memset(body, 'x', CALL_BODY_MAX + 1);
    serve(w, &GOOD, 1, true);
    req = a_push(w, &o);
    req.body = body;
    req.body_len = CALL_BODY_MAX;
    call(w, &req, &o);
    assert_good(&o);
    req.body_len = CALL_BODY_MAX + 1;
    assert_int_equal(ERR_LIMIT, call_start(w->calls, &req, &err));
    assert_int_equal(0, calls_open(w->calls));
    push(w, &o);
    assert_good(&o);
    finish(w);
    assert_int_equal(2, atomic_load(&w->server.seen->complete));
    free(body);
}

static void test_sends_an_empty_body(void **state)
{
    struct world *w = *state;
    struct outcome o = {0};
    struct call_request req;

    serve(w, &GOOD, 1, false);
    req = a_push(w, &o);
    req.body = "";
    req.body_len = 0;
    call(w, &req, &o);
    assert_good(&o);
    finish(w);
    assert_non_null(strstr(w->server.seen->last, "Content-Length: 0\r\n"));
}

/* --- what comes back --- */

static void test_reads_retry_after(void **state)
{
    struct world *w = *state;
    static const struct hostile_act acts[] = {
        {.say = "HTTP/1.1 429 Slow\r\nRetry-After: 17\r\n"
                "Content-Length: 0\r\n\r\n"},
        {.say = "HTTP/1.1 503 Later\r\nretry-after: 0\r\n"
                "Content-Length: 0\r\n\r\n"},
        {.say = "HTTP/1.1 503 Later\r\nContent-Length: 0\r\n\r\n"},
    };
    static const int64_t want[] = {17, 0, -1};
    struct outcome o;

    serve(w, acts, 3, false);
    for (size_t i = 0; i < ARRAY_LEN(want); i++) {
        push(w, &o);
        assert_int_equal(CALL_ANSWERED, o.end);
        assert_int_equal(want[i], o.retry_after_s);
        assert_string_equal("", o.content_type);
        assert_string_equal("", o.body);
        assert_true(o.took_us > 0);
    }
}

static void test_bounds_the_answer(void **state)
{
    struct world *w = *state;
    static const struct hostile_act acts[] = {
        {.say = OK_ANSWER},
        {.say = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n123456789"}};
    struct outcome o;

    w->spec.answer_bytes_max = 8;
    serve(w, acts, 2, false);
    push(w, &o);
    assert_good(&o);
    push(w, &o);
    assert_int_equal(CALL_LOST, o.end);
}

static void test_uses_connections_again(void **state)
{
    struct world *w = *state;
    struct outcome o;

    for (int tls = 0; tls < 2; tls++) {
        serve(w, &GOOD, 1, tls);
        for (int i = 0; i < 20; i++) {
            push(w, &o);
            assert_good(&o);
        }
        finish(w);
        assert_int_equal(1, atomic_load(&w->server.seen->connections));
        assert_int_equal(20, atomic_load(&w->server.seen->complete));
        forget(w);
    }
}

/* --- slots --- */

static void test_bounds_the_open_calls(void **state)
{
    struct world *w = *state;
    struct outcome o = {0};
    struct call_request req;
    struct err err;

    serve(w, &GOOD, 1, false);
    req = a_push(w, &o);
    for (int i = 0; i < 8; i++)
        start(w, &req);
    assert_int_equal(8, calls_open(w->calls));
    assert_int_equal(ERR_LIMIT, call_start(w->calls, &req, &err));
    wait_for(w, &o, 8);
    assert_int_equal(0, calls_open(w->calls));
    call(w, &req, &o);
    assert_good(&o);
}

struct chain {
    struct world *w;
    struct outcome o;
    int left;
};

static void done_again(void *arg, const struct call_result *r)
{
    struct chain *chain = arg;
    struct call_request req;

    done(&chain->o, r);
    if (chain->left-- <= 0)
        return;
    req = a_push(chain->w, NULL);
    req.before = NULL;
    req.done = done_again;
    req.arg = chain;
    start(chain->w, &req); /* the slot that has just ended is free */
    assert_string_equal(OK_BODY, r->body);
}

static void test_done_may_start_the_next_call(void **state)
{
    struct world *w = *state;
    struct chain chain = {.w = w, .left = 10};
    struct call_request req;

    w->spec.slots_max = 1;
    serve(w, &GOOD, 1, false);
    req = a_push(w, NULL);
    req.before = NULL;
    req.done = done_again;
    req.arg = &chain;
    start(w, &req);
    wait_for(w, &chain.o, 11);
    assert_good(&chain.o);
}

static void test_frees_open_calls_silently(void **state)
{
    struct world *w = *state;
    static const struct hostile_act stall = {.then = THEN_STALL};
    struct outcome o = {0};
    struct call_request req;

    serve(w, &stall, 1, true);
    req = a_push(w, &o);
    for (int i = 0; i < 4; i++)
        start(w, &req);
    while (o.asked < 2)
        loop_once(w->loop, US_PER_MS);
    finish(w);
    assert_int_equal(0, o.n);
}

static int make_certificates(void **state)
{
    (void)state;
    certificate_make(&the_cert, "call");
    certificate_make(&other_cert, "other");
    return 0;
}

static int remove_certificates(void **state)
{
    (void)state;
    certificate_remove(&the_cert);
    certificate_remove(&other_cert);
    return 0;
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_suffers_plain_fresh),
        TEST(test_suffers_plain_reused),
        TEST(test_suffers_tls_fresh),
        TEST(test_suffers_tls_reused),
        TEST(test_each_guard_stops_a_repetition),
        TEST(test_repeats_what_may_be_repeated),
        TEST(test_a_refused_connection_sends_nothing),
        TEST(test_an_unknown_name_sends_nothing),
        TEST(test_a_malformed_url_sends_nothing),
        TEST(test_a_wrong_certificate_sends_nothing),
        TEST(test_a_wrong_host_name_sends_nothing),
        TEST(test_a_broken_handshake_sends_nothing),
        TEST(test_before_may_hold_a_call_back),
        TEST(test_a_call_that_gets_no_connection_is_not_sent),
        TEST(test_a_queued_call_gets_its_turn),
        TEST(test_says_what_it_was_told),
        TEST(test_gets_with_a_password),
        TEST(test_a_slot_forgets_its_last_call),
        TEST(test_sends_large_bodies),
        TEST(test_sends_an_empty_body),
        TEST(test_reads_retry_after),
        TEST(test_bounds_the_answer),
        TEST(test_uses_connections_again),
        TEST(test_bounds_the_open_calls),
        TEST(test_done_may_start_the_next_call),
        TEST(test_frees_open_calls_silently),
    };

    return cmocka_run_group_tests(tests, make_certificates,
                                  remove_certificates);
}
