/*
 * The server: one evhttp per listener on the loop's base. The listening socket
 * is our own, so that TCP_NODELAY stands on it (Linux hands it on to accepted
 * sockets; without it TLS answers wait 40 ms for a delayed ACK) and running out
 * of descriptors pauses accepting instead of spinning.
 *
 * evhttp reads and frames; what it lets through and should not is refused in
 * http_check.c. Its answer to what it refuses itself becomes problem+json in
 * http_conn.c.
 */
#include "common/http.h"

#include "common/clock.h"
#include "common/http_priv.h"
#include "common/log.h"
#include "common/must.h"

#include <event2/event.h>
#include <event2/http_struct.h>

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BACKLOG 1024
#define HOST_MAX 256
#define PORT_SIZE sizeof("65535")

/* All that it knows: a wrong method gets our 405, not its own page. */
#define METHODS                                                            \
    (EVHTTP_REQ_GET | EVHTTP_REQ_POST | EVHTTP_REQ_HEAD | EVHTTP_REQ_PUT | \
     EVHTTP_REQ_DELETE | EVHTTP_REQ_OPTIONS | EVHTTP_REQ_TRACE |           \
     EVHTTP_REQ_CONNECT | EVHTTP_REQ_PATCH)

static void handle(struct evhttp_request *ev, void *arg);
static void set_limits(struct http_server *s);
static int open_socket(const struct http_server *s, struct err *err);
static bool split_address(const char *text, char host[HOST_MAX],
                          char port[PORT_SIZE]);
static int bind_first(const struct addrinfo *list);
static int bound_port(int fd);
static void accept_failed(struct evconnlistener *listener, void *arg);

enum err_code http_server_new(struct loop *loop, const struct http_spec *spec,
                              struct http_server **ret, struct err *err)
{
    struct http_server *s = NEW(struct http_server);

    s->loop = loop;
    s->spec = *spec;
    list_init(&s->fresh);
    list_init(&s->conns);
    list_init(&s->parked);
    timer_init(&s->sweep, http_conn_sweep, s);
    s->settle = event_new(loop_base(loop), -1, 0, http_conn_settle, s);
    s->http = evhttp_new(loop_base(loop));
    must(s->settle && s->http);
    set_limits(s);
    if ((spec->tls_cert && *spec->tls_cert &&
         http_tls_new(spec->tls_cert, spec->tls_key, &s->tls, err)) ||
        http_listen(s, err)) {
        http_server_free(s);
        return err->code;
    }
    timer_set(loop, &s->sweep, clock_now_us() + http_conn_sweep_us(s));
    *ret = s;
    return ERR_NONE;
}

static void set_limits(struct http_server *s)
{
    const struct config *cfg = s->spec.limits;
    struct timeval idle = {
        .tv_sec = cfg->http_idle_timeout_ms / 1000,
        .tv_usec = (suseconds_t)(cfg->http_idle_timeout_ms % 1000 * US_PER_MS),
    };

    evhttp_set_timeout_tv(s->http, &idle);
    evhttp_set_max_headers_size(s->http, cfg->http_header_bytes_max);
    evhttp_set_max_body_size(s->http, cfg->http_body_bytes_max);
    evhttp_set_allowed_methods(s->http, METHODS);
    evhttp_set_default_content_type(s->http, NULL);
    /* Reads what is left of a body that is too long, so that the 413 is not
     * lost in a reset. The sweep bounds it. */
    evhttp_set_flags(s->http, EVHTTP_SERVER_LINGERING_CLOSE);
    evhttp_set_bevcb(s->http, http_conn_accept, s);
    evhttp_set_gencb(s->http, handle, s);
}

void http_server_close(struct http_server *s)
{
    s->closing = true;
    http_unlisten(s);
}

void http_server_free(struct http_server *s)
{
    if (!s)
        return;
    http_server_close(s);
    timer_cancel(s->loop, &s->sweep);
    http_conn_settle(-1, 0, s); /* none is left to evhttp alone */
    while (!list_empty(&s->conns)) {
        struct http_conn *c =
            container_of(s->conns.next, struct http_conn, node);

        c->req.on_close = NULL;
        http_conn_close(c);
    }
    event_free(s->settle);
    evhttp_free(s->http);
    http_tls_free(s->tls);
    free(s->by_fd);
    free(s->polls);
    free(s);
}

int http_server_port(const struct http_server *s)
{
    return s->port;
}

/* A request is complete. evhttp has stopped reading from its connection. */
static void handle(struct evhttp_request *ev, void *arg)
{
    struct http_server *s = arg;
    struct http_conn *c = http_conn_of(s, ev);
    struct http_request *req = &c->req;
    const struct http_problem *refused;
    http_handler_fn fn;

    req->conn = c;
    req->ev = ev;
    req->timed = true;
    req->began_us = loop_now_us(s->loop);
    req->params_n = req->query_n = 0;
    c->due_us = 0;
    refused = http_check(c);
    if (refused) {
        http_add_close(req);
        http_problem(req, refused);
        return;
    }
    fn = http_route(req);
    if (fn)
        fn(s->spec.arg, req);
}

/* --- listening --- */

enum err_code http_listen(struct http_server *s, struct err *err)
{
    int fd = open_socket(s, err);

    if (fd < 0)
        return err->code;
    s->port = bound_port(fd);
    s->listener = evconnlistener_new(
        loop_base(s->loop), NULL, NULL,
        LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, BACKLOG, fd);
    if (!s->listener) {
        int why = errno;

        close(fd);
        return err_set_from(err, ERR_IO, ERR_ERRNO, why,
                            "could not listen on \"%s\"", s->spec.listen);
    }
    s->bound = evhttp_bind_listener(s->http, s->listener);
    must(s->bound);
    evconnlistener_set_error_cb(s->listener, accept_failed);
    return ERR_NONE;
}

void http_unlisten(struct http_server *s)
{
    if (s->bound)
        evhttp_del_accept_socket(s->http, s->bound);
    s->bound = NULL;
    s->listener = NULL;
}

/* A bound socket for "host:port" or "[v6]:port", or -1 and the error. */
static int open_socket(const struct http_server *s, struct err *err)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC,
                             .ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *list = NULL;
    char host[HOST_MAX], port[PORT_SIZE];
    int fd, why;

    if (!split_address(s->spec.listen, host, port)) {
        err_set(err, ERR_CONFIG, "cannot listen on \"%s\": not address:port",
                s->spec.listen);
        return -1;
    }
    if (s->port) /* again, after http_server_refuse() */
        snprintf(port, sizeof(port), "%d", s->port);
    why = getaddrinfo(host, port, &hints, &list);
    if (why) {
        err_set(err, ERR_CONFIG, "cannot listen on \"%s\": %s", s->spec.listen,
                gai_strerror(why));
        return -1;
    }
    fd = bind_first(list);
    why = errno;
    freeaddrinfo(list);
    if (fd < 0)
        err_set_from(err, ERR_IO, ERR_ERRNO, why, "could not listen on \"%s\"",
                     s->spec.listen);
    return fd;
}

static bool split_address(const char *text, char host[HOST_MAX],
                          char port[PORT_SIZE])
{
    const char *colon = strrchr(text, ':');
    size_t len = colon ? (size_t)(colon - text) : 0;

    if (len > 1 && text[0] == '[' && text[len - 1] == ']') {
        text++;
        len -= 2;
    }
    if (!len || len >= HOST_MAX || !colon[1] || strlen(colon) > PORT_SIZE)
        return false;
    snprintf(host, HOST_MAX, "%.*s", (int)len, text);
    snprintf(port, PORT_SIZE, "%s", colon + 1);
    return true;
}

static int bind_first(const struct addrinfo *list)
{
    int on = 1, fd = -1;

    for (const struct addrinfo *a = list; a && fd < 0; a = a->ai_next) {
        fd = socket(a->ai_family, a->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC,
                    0);
        if (fd < 0)
            continue;
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        if (bind(fd, a->ai_addr, a->ai_addrlen) < 0) {
            int why = errno;

            close(fd);
            errno = why;
            fd = -1;
        }
    }
    return fd;
}

static int bound_port(int fd)
{
    struct sockaddr_storage at;
    socklen_t len = sizeof(at);

    if (getsockname(fd, (struct sockaddr *)&at, &len) < 0)
        return 0;
    if (at.ss_family == AF_INET6)
        return ntohs(((struct sockaddr_in6 *)(void *)&at)->sin6_port);
    return ntohs(((struct sockaddr_in *)(void *)&at)->sin_port);
}

/* No descriptors for another connection: those that wait in the kernel's queue
 * stay there until the next sweep listens again. */
static void accept_failed(struct evconnlistener *listener, void *arg)
{
    (void)arg; /* evhttp's */
    log_warn("http", "accept_paused", KV("text", strerror(errno)));
    evconnlistener_disable(listener);
}
