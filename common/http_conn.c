/*
 * Connections. evhttp owns them; we follow each from accept to close:
 *
 * - They are counted over all listeners of the process (the gauge is the
 *   count), and those above http.connections_max are closed unread.
 * - evhttp offers no hook between accept and the first request. So a fresh
 *   connection is taken up (http_conn_settle) in the turn of its accept, before
 *   its first byte is read: evhttp has then made itself the argument of the
 *   bufferevent's callbacks, which tells us its connection.
 * - Zero bytes are counted as they are read, because evhttp's C strings hide
 *   what follows a zero byte in a head.
 * - A request has to be complete within REQUEST_TIMES idle times: a client that
 *   sends a byte now and then is not idle, yet holds its connection for ever.
 * - While a request is parked evhttp reads nothing and does not see its client
 *   leave. The sweep does, by asking the kernel for a FIN or a reset.
 * - evhttp 2.1 answers what it refuses itself with an HTML page and has no
 *   hook for that (evhttp_set_errorcb() came with 2.2). The page is replaced
 *   when it arrives in the output buffer.
 */
#include "common/buf.h"
#include "common/clock.h"
#include "common/http_priv.h"
#include "common/metrics.h"
#include "common/must.h"

#include <event2/event.h>

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define REQUEST_TIMES 3
#define SWEEP_US_MAX (500 * US_PER_MS)
#define PAGE_MAX 1024

static void input_grew(struct evbuffer *in, const struct evbuffer_cb_info *how,
                       void *arg);
static void output_grew(struct evbuffer *out,
                        const struct evbuffer_cb_info *how, void *arg);
static void closed(struct evhttp_connection *ev, void *arg);
static void conn_free(struct http_conn *c);
static int64_t request_us(const struct http_server *s);

/* --- accept --- */

/* evhttp asks for the bufferevent of a connection that it has accepted. */
struct bufferevent *http_conn_accept(struct event_base *base, void *arg)
{
    struct http_server *s = arg;
    struct http_conn *c = NEW(struct http_conn);

    c->server = s;
    c->fd = -1;
    c->bev = s->tls ? http_tls_bufferevent(s->tls, base)
                    : bufferevent_socket_new(base, -1, BEV_OPT_CLOSE_ON_FREE);
    must(c->bev);
    bufferevent_incref(c->bev); /* until it is settled */
    list_init(&c->parked);
    list_append(&s->fresh, &c->node);
    buf_init(&c->req.text, (size_t)s->spec.limits->http_header_bytes_max + 8);
    event_active(s->settle, 0, 0);
    return c->bev;
}

static void remember(struct http_server *s, struct http_conn *c)
{
    size_t n = (size_t)c->fd + 64;

    if ((size_t)c->fd >= s->by_fd_n) {
        s->by_fd = must_grow(s->by_fd, n, sizeof(s->by_fd[0]));
        s->polls = must_grow(s->polls, n, sizeof(s->polls[0]));
        s->by_fd_n = n;
    }
    s->by_fd[c->fd] = c;
}

static void settle(struct http_server *s, struct http_conn *c)
{
    int64_t open = metric_get(M_HTTP_CONNECTIONS);
    void *ev = NULL;

    bufferevent_getcb(c->bev, NULL, NULL, NULL, &ev);
    bufferevent_decref(c->bev);
    if (!ev) { /* evhttp had no memory for it */
        conn_free(c);
        return;
    }
    if (open >= s->spec.limits->http_connections_max) {
        metric_add(M_HTTP_REFUSED, 1);
        evhttp_connection_free(ev);
        conn_free(c);
        return;
    }
    c->ev = ev;
    c->fd = bufferevent_getfd(c->bev);
    c->due_us = clock_now_us() + request_us(s);
    remember(s, c);
    list_append(&s->conns, &c->node);
    metric_set(M_HTTP_CONNECTIONS, open + 1);
    evhttp_connection_set_closecb(c->ev, closed, c);
    must(evbuffer_add_cb(bufferevent_get_input(c->bev), input_grew, c));
    must(evbuffer_add_cb(bufferevent_get_output(c->bev), output_grew, c));
}

void http_conn_settle(int fd, short what, void *arg)
{
    struct http_server *s = arg;
    struct list *n;

    (void)fd;
    (void)what;
    while ((n = list_shift(&s->fresh)))
        settle(s, container_of(n, struct http_conn, node));
}

struct http_conn *http_conn_of(struct http_server *s, struct evhttp_request *ev)
{
    struct bufferevent *bev =
        evhttp_connection_get_bufferevent(evhttp_request_get_connection(ev));
    struct http_conn *c = s->by_fd[bufferevent_getfd(bev)];

    must(c && c->bev == bev);
    return c;
}

/* --- close --- */

void http_conn_close(struct http_conn *c)
{
    evhttp_connection_free(c->ev); /* runs closed() */
}

/* evhttp lets go of the connection, whoever wanted it. */
static void closed(struct evhttp_connection *ev, void *arg)
{
    struct http_conn *c = arg;
    void (*fn)(void *arg) = c->req.ev ? c->req.on_close : NULL;

    evhttp_connection_set_closecb(ev, NULL, NULL);
    evbuffer_remove_cb(bufferevent_get_input(c->bev), input_grew, c);
    evbuffer_remove_cb(bufferevent_get_output(c->bev), output_grew, c);
    metric_set(M_HTTP_CONNECTIONS, metric_get(M_HTTP_CONNECTIONS) - 1);
    c->server->by_fd[c->fd] = NULL;
    list_remove(&c->node);
    http_conn_unpark(c);
    c->req.ev = NULL;
    if (fn)
        fn(c->req.close_arg);
    conn_free(c);
}

bool http_server_quiet(const struct http_server *s)
{
    for (struct list *n = s->conns.next; n != &s->conns; n = n->next) {
        const struct http_conn *c = container_of(n, struct http_conn, node);

        if (c->req.ev ||
            evbuffer_get_length(bufferevent_get_output(c->bev)) > 0)
            return false;
    }
    return true;
}

static void conn_free(struct http_conn *c)
{
    buf_done(&c->req.text);
    free(c);
}

/* --- what is read --- */

static size_t zeros_in(struct evbuffer *b, size_t from)
{
    struct evbuffer_ptr at;
    struct evbuffer_iovec part;
    size_t n = 0;

    if (evbuffer_ptr_set(b, &at, from, EVBUFFER_PTR_SET) < 0)
        return 0;
    while (evbuffer_peek(b, -1, &at, &part, 1) > 0) {
        const char *p = part.iov_base, *end = p + part.iov_len;

        while ((p = memchr(p, 0, (size_t)(end - p)))) {
            n++;
            if (++p == end)
                break;
        }
        if (evbuffer_ptr_set(b, &at, part.iov_len, EVBUFFER_PTR_ADD) < 0)
            break;
    }
    return n;
}

static void input_grew(struct evbuffer *in, const struct evbuffer_cb_info *how,
                       void *arg)
{
    struct http_conn *c = arg;

    if (!how->n_added)
        return;
    if (!c->due_us && !c->req.ev)
        c->due_us = loop_now_us(c->server->loop) + request_us(c->server);
    c->nuls += zeros_in(in, evbuffer_get_length(in) - how->n_added);
}

size_t http_conn_nuls(struct http_conn *c)
{
    size_t all = c->nuls;

    if (!all)
        return 0;
    /* What was read ahead belongs to the next request. */
    c->nuls = zeros_in(bufferevent_get_input(c->bev), 0);
    return all - c->nuls -
           zeros_in(evhttp_request_get_input_buffer(c->req.ev), 0);
}

/* --- evhttp's own pages --- */

static const struct http_problem *page_problem(int status)
{
    static const struct http_problem problems[] = {
        {.status = 400,
         .code = "bad_request",
         .title = "The request is not HTTP/1.1 or its head is too long"},
        {.status = 405,
         .code = "method_not_allowed",
         .title = "This method is not known here"},
        {.status = 413,
         .code = "body_too_large",
         .title = "The body is too large or broken"},
        {.status = 417,
         .code = "expectation_failed",
         .title = "Only Expect: 100-continue is understood"},
    };

    if (status == 0 || status == 501) /* a method that it does not know */
        status = 405;
    for (size_t i = 0; i < ARRAY_LEN(problems); i++)
        if (problems[i].status == status)
            return &problems[i];
    return &problems[0];
}

static void replace_page(struct evbuffer *out, int status)
{
    const struct http_problem *p = page_problem(status);
    struct buf json;

    buf_init(&json, PAGE_MAX);
    http_problem_json(&json, p);
    evbuffer_drain(out, evbuffer_get_length(out));
    evbuffer_add_printf(out,
                        "HTTP/1.1 %d %s\r\n"
                        "Content-Type: application/problem+json\r\n"
                        "Content-Length: %zu\r\n%s"
                        "Connection: close\r\n\r\n%s",
                        p->status, p->code, json.len,
                        p->status == 405 ? "Allow: GET, POST\r\n" : "",
                        json.data);
    buf_done(&json);
    http_count(p->status);
}

/* "<HTML><HEAD>\n<TITLE>413 Request Entity Too Large</TITLE>..." */
static void output_grew(struct evbuffer *out,
                        const struct evbuffer_cb_info *how, void *arg)
{
    static const char mark[] = "\r\n\r\n<HTML><HEAD>\n<TITLE>";
    const size_t len = sizeof(mark) - 1;
    struct http_conn *c = arg;
    struct evbuffer_ptr at;
    char digits[4] = "";

    if (c->answering || !how->n_added)
        return;
    at = evbuffer_search(out, mark, len, NULL);
    if (at.pos < 0 || evbuffer_ptr_set(out, &at, len, EVBUFFER_PTR_ADD) < 0)
        return;
    c->answering = true;
    /* Only the bufferevent takes from its front, between its two writes. */
    evbuffer_unfreeze(out, 1);
    evbuffer_copyout_from(out, &at, digits, 3);
    replace_page(out, (int)strtol(digits, NULL, 10));
    evbuffer_freeze(out, 1);
    c->answering = false;
}

/* --- the sweep --- */

int64_t http_conn_sweep_us(const struct http_server *s)
{
    return MIN(SWEEP_US_MAX,
               s->spec.limits->http_idle_timeout_ms * US_PER_MS / 2);
}

static int64_t request_us(const struct http_server *s)
{
    return REQUEST_TIMES * s->spec.limits->http_idle_timeout_ms * US_PER_MS;
}

static void close_slow(struct http_server *s)
{
    int64_t now_us = clock_now_us();

    for (struct list *n = s->conns.next, *next; n != &s->conns; n = next) {
        struct http_conn *c = container_of(n, struct http_conn, node);

        next = n->next;
        if (c->due_us && c->due_us < now_us)
            http_conn_close(c);
    }
}

/* Callbacks may answer other requests meanwhile, so each is looked up again. */
static void close_gone(struct http_server *s)
{
    nfds_t n = 0;

    for (struct list *l = s->parked.next; l != &s->parked; l = l->next)
        s->polls[n++] = (struct pollfd){
            .fd = container_of(l, struct http_conn, parked)->fd,
            .events = POLLRDHUP,
        };
    if (!n || poll(s->polls, n, 0) <= 0)
        return;
    for (nfds_t i = 0; i < n; i++) {
        struct http_conn *c = s->by_fd[s->polls[i].fd];

        if (s->polls[i].revents && c && !list_empty(&c->parked))
            http_conn_close(c);
    }
}

void http_conn_sweep(void *arg)
{
    struct http_server *s = arg;

    timer_set(s->loop, &s->sweep, clock_now_us() + http_conn_sweep_us(s));
    if (s->listener) /* it may have paused for want of descriptors */
        evconnlistener_enable(s->listener);
    close_slow(s);
    close_gone(s);
}

void http_conn_park(struct http_conn *c)
{
    if (list_empty(&c->parked))
        list_append(&c->server->parked, &c->parked);
}

void http_conn_unpark(struct http_conn *c)
{
    list_remove(&c->parked);
}
