/*
 * Calls over curl multi with the multi_socket interface: libcurl says which
 * sockets and which timer it wants, the loop watches them. Handles are made on
 * demand, keep what does not change, and are used again; a slot's buffers too.
 *
 * A call moves through: started → (connection) → before_send() → sent → ended.
 * before_send() is CURLOPT_PREREQFUNCTION: it runs when name, connection and
 * TLS are done, just before the request is written, and again before libcurl
 * repeats a request by itself on a new connection (it does so when a reused
 * connection dies without an answer). Its first run is the line between "proven
 * not sent" and "may have been received"; its second run stops a `once` call.
 * The body comes from a read callback that cannot be rewound, the second guard.
 *
 * TLS early data is never sent: libcurl 7.88 does not know it.
 */
#include "common/call.h"

#include "common/buf.h"
#include "common/clock.h"
#include "common/list.h"
#include "common/must.h"
#include "common/windows.h"

#include <curl/curl.h>

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define HEAD_BYTES_MAX 65536  /* of an answer, with every 1xx before it  */
#define HEADER_BYTES_MAX 8192 /* of a request                           */
#define KEEP_BYTES 4096       /* larger buffers are not kept for reuse  */
#define RECEIVE_BYTES 1024    /* libcurl's buffers: memory per call     */
#define SEND_BYTES 16384
#define SUCCESS_MIN 200

struct call {
    struct list node; /* in calls->free, busy or late */
    struct calls *calls;
    CURL *easy;
    struct curl_slist headers[CALL_HEADERS_MAX + 1];
    struct buf header_text, body, answer;
    size_t body_sent;
    size_t head_bytes;
    int head_status; /* of the head that is being read               */
    bool head_done;  /* ... and it was complete and not a 1xx        */
    bool once;
    bool begun; /* before_send() let it go: it may be received  */
    bool held;  /* `before` said no                             */
    call_before_fn before;
    call_done_fn done;
    void *arg;
    int64_t started_us, total_ms;
    struct loop_timer patience; /* while it may wait for a connection  */
    char why[CURL_ERROR_SIZE];
};

/* A socket of libcurl's. */
struct call_socket {
    struct calls *calls;
    curl_socket_t fd;
    struct loop_watch *watch;
};

struct calls {
    struct loop *loop;
    struct calls_spec spec;
    char *ca_file;
    CURLM *multi;
    struct loop_timer timer;
    struct list free, busy;
    struct list late; /* gave up waiting; collect() ends them  */
    size_t open;
};

static int socket_wanted(CURL *easy, curl_socket_t fd, int what, void *arg,
                         void *socket_arg);
static int timer_wanted(CURLM *multi, long timeout_ms, void *arg);
static void timer_rang(void *arg);
static bool collect(void *arg);
static struct call *call_new(struct calls *calls);
static void call_free(struct call *c);
static void end(struct call *c, CURLcode code);

struct calls *calls_new(struct loop *loop, const struct calls_spec *spec)
{
    struct calls *calls = NEW(struct calls);
    must(curl_global_init(CURL_GLOBAL_DEFAULT) == 0);
    calls->loop = loop;
    calls->spec = *spec;
    if (!spec->host_connections_max)
        calls->spec.host_connections_max = spec->slots_max;
    calls->ca_file = must_strdup(spec->ca_file ? spec->ca_file : "");
    calls->multi = curl_multi_init();
    must(calls->multi);
    list_init(&calls->free);
    list_init(&calls->busy);
    list_init(&calls->late);
    timer_init(&calls->timer, timer_rang, calls);
    curl_multi_setopt(calls->multi, CURLMOPT_SOCKETFUNCTION, socket_wanted);
    curl_multi_setopt(calls->multi, CURLMOPT_SOCKETDATA, calls);
    curl_multi_setopt(calls->multi, CURLMOPT_TIMERFUNCTION, timer_wanted);
    curl_multi_setopt(calls->multi, CURLMOPT_TIMERDATA, calls);
    curl_multi_setopt(calls->multi, CURLMOPT_PIPELINING, CURLPIPE_NOTHING);
    curl_multi_setopt(calls->multi, CURLMOPT_MAXCONNECTS,
                      (long)spec->slots_max);
    curl_multi_setopt(calls->multi, CURLMOPT_MAX_HOST_CONNECTIONS,
                      (long)calls->spec.host_connections_max);
    loop_add_room(loop, collect, calls);
    return calls;
}

void calls_free(struct calls *calls)
{
    struct list *n;

    if (!calls)
        return;
    list_splice(&calls->busy, &calls->late);
    while ((n = list_shift(&calls->busy))) {
        struct call *c = container_of(n, struct call, node);

        curl_multi_remove_handle(calls->multi, c->easy);
        call_free(c);
    }
    while ((n = list_shift(&calls->free)))
        call_free(container_of(n, struct call, node));
    curl_multi_cleanup(calls->multi); /* hands back every socket */
    timer_cancel(calls->loop, &calls->timer);
    curl_global_cleanup();
    free(calls->ca_file);
    free(calls);
}

size_t calls_open(const struct calls *calls)
{
    return calls->open;
}

/* --- the loop's side --- */

static void drive(struct calls *calls, curl_socket_t fd, int ready)
{
    int running;

    /* The only errors are of our making: a bad handle, recursion. */
    must(curl_multi_socket_action(calls->multi, fd, ready, &running) ==
         CURLM_OK);
    if (running)
        WINDOW(call_sent);
}

static void socket_ready(void *arg, int ready)
{
    const struct call_socket *s = arg;

    drive(s->calls, s->fd,
          (ready & LOOP_READ ? CURL_CSELECT_IN : 0) |
              (ready & LOOP_WRITE ? CURL_CSELECT_OUT : 0));
}

static int socket_wanted(CURL *easy, curl_socket_t fd, int what, void *arg,
                         void *socket_arg)
{
    struct calls *calls = arg;
    struct call_socket *s = socket_arg;
    int want = (what & CURL_POLL_IN ? LOOP_READ : 0) |
               (what & CURL_POLL_OUT ? LOOP_WRITE : 0);

    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        if (s)
            loop_unwatch(s->watch);
        free(s);
        curl_multi_assign(calls->multi, fd, NULL);
    } else if (s) {
        loop_watch_change(s->watch, want);
    } else {
        s = NEW(struct call_socket);
        s->calls = calls;
        s->fd = fd;
        s->watch = loop_watch(calls->loop, fd, want, socket_ready, s);
        curl_multi_assign(calls->multi, fd, s);
    }
    return 0;
}

/* Only notes the time: calling libcurl from here may recurse. */
static int timer_wanted(CURLM *multi, long timeout_ms, void *arg)
{
    struct calls *calls = arg;

    (void)multi;
    if (timeout_ms < 0)
        timer_cancel(calls->loop, &calls->timer);
    else
        timer_set(calls->loop, &calls->timer,
                  clock_now_us() + timeout_ms * US_PER_MS);
    return 0;
}

static void timer_rang(void *arg)
{
    drive(arg, CURL_SOCKET_TIMEOUT, 0);
}

/* The room: hands out what has ended. */
static bool collect(void *arg)
{
    struct calls *calls = arg;
    struct CURLMsg *msg;
    struct list *n;
    int left;

    while ((n = list_shift(&calls->late)))
        end(container_of(n, struct call, node), CURLE_OPERATION_TIMEDOUT);
    if (list_empty(&calls->busy))
        return false;
    while ((msg = curl_multi_info_read(calls->multi, &left))) {
        struct call *c = NULL;

        if (msg->msg != CURLMSG_DONE)
            continue;
        curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, (char **)&c);
        end(c, msg->data.result);
    }
    return false;
}

/* libcurl's own time-out does not see a transfer that waits because its host
 * has all its connections. */
static void lost_patience(void *arg)
{
    struct call *c = arg;

    if (c->begun || c->held)
        return;
    list_remove(&c->node);
    list_append(&c->calls->late, &c->node);
}

/* --- libcurl's side of one call --- */

static int before_send(void *arg, char *peer, char *local, int peer_port,
                       int local_port)
{
    struct call *c = arg;

    (void)peer;
    (void)local;
    (void)peer_port;
    (void)local_port;
    if (c->begun)
        return c->once ? CURL_PREREQFUNC_ABORT : CURL_PREREQFUNC_OK;
    if (c->before && !c->before(c->arg)) {
        c->held = true;
        return CURL_PREREQFUNC_ABORT;
    }
    c->begun = true;
    return CURL_PREREQFUNC_OK;
}

static size_t give_body(char *out, size_t size, size_t n, void *arg)
{
    struct call *c = arg;
    size_t len = MIN(size * n, c->body.len - c->body_sent);

    memcpy(out, c->body.data + c->body_sent, len);
    c->body_sent += len;
    return len;
}

/* Only for calls that may be repeated. */
static int seek_body(void *arg, curl_off_t offset, int origin)
{
    struct call *c = arg;

    if (origin != SEEK_SET || offset < 0 || (size_t)offset > c->body.len)
        return CURL_SEEKFUNC_FAIL;
    c->body_sent = (size_t)offset;
    return CURL_SEEKFUNC_OK;
}

static size_t take_body(char *data, size_t size, size_t n, void *arg)
{
    struct call *c = arg;

    buf_add(&c->answer, data, size * n);
    return c->answer.failed ? 0 : size * n;
}

/* Status lines, headers and the empty line, each in a call of its own. libcurl
 * takes any number of 1xx and calls a head complete that a FIN has cut. */
static size_t take_head(char *line, size_t size, size_t n, void *arg)
{
    struct call *c = arg;
    size_t len = size * n;

    c->head_bytes += len;
    if (c->head_bytes > HEAD_BYTES_MAX)
        return 0;
    if (len > 12 && strncasecmp(line, "HTTP/1.", 7) == 0)
        c->head_status = (int)strtol(line + 9, NULL, 10);
    else if (len <= 2 && (line[0] == '\r' || line[0] == '\n'))
        c->head_done = c->head_status >= SUCCESS_MIN;
    return len;
}

/* --- a call's life --- */

/* Everything that is the same for each call. */
static void set_always(struct call *c, const struct calls_spec *spec)
{
    CURL *easy = c->easy;

    curl_easy_setopt(easy, CURLOPT_PRIVATE, c);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, c->why);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(easy, CURLOPT_PROXY, "");
    curl_easy_setopt(easy, CURLOPT_USERAGENT, "foleni");
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS,
                     (long)spec->connect_timeout_ms);
    curl_easy_setopt(easy, CURLOPT_MAXAGE_CONN, (long)spec->idle_connection_s);
    curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, (long)RECEIVE_BYTES);
    curl_easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE, (long)SEND_BYTES);
    /* Debian's default CAPATH switches libcurl's cache of certificates off. */
    curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
    curl_easy_setopt(easy, CURLOPT_CAINFO,
                     *c->calls->ca_file ? c->calls->ca_file : NULL);
    curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, before_send);
    curl_easy_setopt(easy, CURLOPT_PREREQDATA, c);
    curl_easy_setopt(easy, CURLOPT_READFUNCTION, give_body);
    curl_easy_setopt(easy, CURLOPT_READDATA, c);
    curl_easy_setopt(easy, CURLOPT_SEEKDATA, c);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, c);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, take_head);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, c);
}

static struct call *call_new(struct calls *calls)
{
    struct call *c = NEW(struct call);

    c->calls = calls;
    c->easy = curl_easy_init();
    must(c->easy);
    list_init(&c->node);
    buf_init(&c->header_text, HEADER_BYTES_MAX);
    buf_init(&c->body, CALL_BODY_MAX);
    buf_init(&c->answer, calls->spec.answer_bytes_max);
    timer_init(&c->patience, lost_patience, c);
    set_always(c, &calls->spec);
    return c;
}

static void call_free(struct call *c)
{
    timer_cancel(c->calls->loop, &c->patience);
    curl_easy_cleanup(c->easy);
    buf_done(&c->header_text);
    buf_done(&c->body);
    buf_done(&c->answer);
    free(c);
}

/* libcurl only reads the list, so its nodes may stand in an array. */
static bool set_headers(struct call *c, const struct call_request *req)
{
    static char no_expect[] = "Expect:"; /* else libcurl may wait for a 100 */
    size_t at[CALL_HEADERS_MAX];

    must(req->headers_n <= CALL_HEADERS_MAX);
    buf_reset(&c->header_text);
    for (size_t i = 0; i < req->headers_n; i++) {
        at[i] = c->header_text.len;
        buf_add(&c->header_text, req->headers[i], strlen(req->headers[i]) + 1);
    }
    c->headers[0].data = no_expect;
    for (size_t i = 0; i < req->headers_n; i++) {
        c->headers[i].next = &c->headers[i + 1];
        c->headers[i + 1].data = c->header_text.data + at[i];
    }
    c->headers[req->headers_n].next = NULL;
    return !c->header_text.failed;
}

static bool set_request(struct call *c, const struct call_request *req)
{
    CURL *easy = c->easy;
    buf_reset(&c->body);
    buf_reset(&c->answer);
    if (req->body)
        buf_add(&c->body, req->body, req->body_len);
    if (c->body.failed || !set_headers(c, req))
        return false;
    c->body_sent = c->head_bytes = 0;
    c->head_status = 0;
    c->head_done = c->begun = c->held = false;
    c->once = req->once;
    c->before = req->before;
    c->done = req->done;
    c->arg = req->arg;
    c->started_us = clock_now_us();
    c->total_ms = req->total_timeout_ms ? req->total_timeout_ms
                                        : c->calls->spec.total_timeout_ms;
    c->why[0] = '\0';
    if (req->body) {
        curl_easy_setopt(easy, CURLOPT_POST, 1L);
        curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE,
                         (curl_off_t)req->body_len);
        curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, req->get ? "GET" : NULL);
    } else {
        curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, NULL);
        curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L);
    }
    curl_easy_setopt(easy, CURLOPT_SEEKFUNCTION, c->once ? NULL : seek_body);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, c->headers);
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)c->total_ms);
    return curl_easy_setopt(easy, CURLOPT_URL, req->url) == CURLE_OK &&
           curl_easy_setopt(easy, CURLOPT_USERPWD, req->user_password) ==
               CURLE_OK;
}

enum err_code call_start(struct calls *calls, const struct call_request *req,
                         struct err *err)
{
    struct list *n;
    struct call *c;

    if (calls->open >= calls->spec.slots_max)
        return err_set(err, ERR_LIMIT, "all %zu calls are in use",
                       calls->spec.slots_max);
    n = list_shift(&calls->free);
    c = n ? container_of(n, struct call, node) : call_new(calls);
    if (!set_request(c, req) ||
        curl_multi_add_handle(calls->multi, c->easy) != CURLM_OK) {
        list_append(&calls->free, &c->node);
        return err_set(err, ERR_LIMIT, "the request is too large to be sent");
    }
    list_append(&calls->busy, &c->node);
    if (calls->spec.host_connections_max < calls->spec.slots_max)
        timer_set(calls->loop, &c->patience,
                  c->started_us + c->total_ms * US_PER_MS);
    calls->open++;
    return ERR_NONE;
}

/* --- what its end means --- */

static bool is_certificate(CURLcode code)
{
    return code == CURLE_PEER_FAILED_VERIFICATION ||
           code == CURLE_SSL_CERTPROBLEM || code == CURLE_SSL_CACERT_BADFILE ||
           code == CURLE_SSL_ISSUER_ERROR || code == CURLE_SSL_CRL_BADFILE ||
           code == CURLE_SSL_INVALIDCERTSTATUS ||
           code == CURLE_SSL_PINNEDPUBKEYNOTMATCH;
}

/* Name, connection, TLS; and a time-out before the request could begin. */
static bool is_unreachable(CURLcode code)
{
    return code == CURLE_COULDNT_RESOLVE_HOST ||
           code == CURLE_COULDNT_CONNECT || code == CURLE_OPERATION_TIMEDOUT ||
           code == CURLE_SSL_CONNECT_ERROR || code == CURLE_SEND_ERROR ||
           code == CURLE_RECV_ERROR || is_certificate(code);
}

static void read_end(struct call *c, CURLcode code, struct call_result *r)
{
    const char *why = c->why[0] ? c->why : curl_easy_strerror(code);
    long status = 0;

    if (code == CURLE_OK && c->head_done) {
        curl_easy_getinfo(c->easy, CURLINFO_RESPONSE_CODE, &status);
        r->end = CALL_ANSWERED;
        r->status = (int)status;
        return;
    }
    if (c->begun) {
        r->end = CALL_LOST;
        err_set_from(&r->err,
                     code == CURLE_OPERATION_TIMEDOUT ? ERR_TIMEOUT
                                                      : ERR_UNSURE,
                     ERR_CURL, (int)code, "no complete answer: %s", why);
        return;
    }
    r->end = CALL_NOT_SENT;
    if (c->held) {
        err_set(&r->err, ERR_DENIED, "held back just before sending");
        return;
    }
    r->unreachable = is_unreachable(code);
    r->certificate = is_certificate(code);
    err_set_from(&r->err, ERR_UNAVAILABLE, ERR_CURL, (int)code,
                 "could not reach host: %s", why);
}

static void read_headers(struct call *c, struct call_result *r)
{
    struct curl_header *retry = NULL;
    curl_off_t seconds = 0;
    char *type = NULL;

    curl_easy_getinfo(c->easy, CURLINFO_CONTENT_TYPE, &type);
    r->content_type = type ? type : "";
    if (curl_easy_header(c->easy, "Retry-After", 0, CURLH_HEADER, -1, &retry) !=
        CURLHE_OK)
        return;
    curl_easy_getinfo(c->easy, CURLINFO_RETRY_AFTER, &seconds);
    r->retry_after_s = seconds;
}

/* The slot is free for others only after done: its buffers are borrowed. */
static void end(struct call *c, CURLcode code)
{
    struct calls *calls = c->calls;
    struct call_result r = {
        .content_type = "",
        .body = "",
        .retry_after_s = -1,
        .took_us = clock_now_us() - c->started_us,
    };

    read_end(c, code, &r);
    if (r.end == CALL_ANSWERED) {
        read_headers(c, &r);
        r.body = c->answer.data;
        r.len = c->answer.len;
    }
    curl_multi_remove_handle(calls->multi, c->easy);
    timer_cancel(calls->loop, &c->patience);
    list_remove(&c->node);
    calls->open--;
    c->done(c->arg, &r);
    if (c->answer.cap > KEEP_BYTES)
        buf_done(&c->answer);
    if (c->body.cap > KEEP_BYTES)
        buf_done(&c->body);
    list_append(&calls->free, &c->node);
}
