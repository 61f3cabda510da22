/*
 * What the files of the HTTP server share. One `struct http_conn` per accepted
 * connection; it holds its one request, because evhttp works on one request of
 * a connection at a time: the next is read when the answer has been written.
 *
 *   http.c        server: listening, limits, the handler that evhttp calls
 *   http_conn.c   connections: counting, watching, closing, evhttp's own pages
 *   http_check.c  what is refused before a handler sees it
 *   http_route.c  path, parameters, query
 *   http_reply.c  answers and problems
 *   http_tls.c    TLS
 *   http_abuse.c  what only the simulator does to its clients
 */
#ifndef FOLENI_COMMON_HTTP_PRIV_H
#define FOLENI_COMMON_HTTP_PRIV_H

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/http.h>
#include <event2/listener.h>

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/http.h"
#include "common/list.h"

#define HTTP_QUERY_MAX 16    /* parameters of one query              */
#define HTTP_SEGMENTS_MAX 12 /* of a path                            */

struct http_pair {
    const char *name, *value;
};

struct http_request {
    struct http_conn *conn;
    struct evhttp_request *ev; /* NULL while no handler owes an answer */
    char *params[HTTP_PARAMS_MAX];
    size_t params_n;
    struct http_pair query[HTTP_QUERY_MAX];
    size_t query_n;
    struct buf text; /* path and query, which the above point into   */
    int64_t began_us;
    bool timed;
    void (*on_close)(void *arg);
    void *close_arg;
};

struct http_conn {
    struct list node;   /* in server->fresh, then server->conns       */
    struct list parked; /* in server->parked while on_close is set   */
    struct http_server *server;
    struct bufferevent *bev;
    struct evhttp_connection *ev; /* NULL while fresh                */
    int fd;
    int64_t due_us; /* the request being read must be there by then;
                       0 = none is being read                        */
    size_t nuls;    /* zero bytes read since the last answer         */
    bool answering; /* we write the answer; evhttp's pages otherwise */
    struct http_request req;
};

struct http_server {
    struct loop *loop;
    struct http_spec spec;
    struct evhttp *http;
    struct ssl_ctx_st *tls; /* NULL = plain                          */
    struct evconnlistener *listener;
    struct evhttp_bound_socket *bound; /* NULL = not listening       */
    int port;
    bool closing;
    struct list fresh, conns, parked;
    struct http_conn **by_fd;
    struct pollfd *polls; /* for the sweep                           */
    size_t by_fd_n;       /* elements of both                        */
    struct event *settle; /* active while fresh is not empty     */
    struct loop_timer sweep;
};

/* http.c */
MUST_CHECK enum err_code http_listen(struct http_server *s, struct err *err);
void http_unlisten(struct http_server *s);

/* http_conn.c */
struct bufferevent *http_conn_accept(struct event_base *base, void *arg);
void http_conn_settle(int fd, short what, void *arg);
void http_conn_sweep(void *arg);
int64_t http_conn_sweep_us(const struct http_server *s);
struct http_conn *http_conn_of(struct http_server *s,
                               struct evhttp_request *ev);
/** Closes the connection and forgets both. */
void http_conn_close(struct http_conn *c);
/** Zero bytes outside the request's body; for one call per request. */
size_t http_conn_nuls(struct http_conn *c);
void http_conn_park(struct http_conn *c);
void http_conn_unpark(struct http_conn *c);

/* http_check.c */
/** What is wrong with the request's head, or NULL. */
const struct http_problem *http_check(struct http_conn *c);

/* http_route.c */
/** Finds the handler, or answers 404, 405 or 400 itself. */
http_handler_fn http_route(struct http_request *req);

/* http_reply.c */
/** Ends the connection after the answer that follows. */
void http_add_close(struct http_request *req);
void http_count(int status);

/* http_tls.c */
MUST_CHECK enum err_code http_tls_new(const char *cert, const char *key,
                                      struct ssl_ctx_st **ret, struct err *err);
void http_tls_free(struct ssl_ctx_st *tls);
struct bufferevent *http_tls_bufferevent(struct ssl_ctx_st *tls,
                                         struct event_base *base);

#endif
