/*
 * HTTP server over evhttp with every limit set: size of head and body, idle
 * time, number of connections, TCP_NODELAY on the listening socket. Requests
 * that could smuggle or confuse (several or signed Content-Length, missing
 * Host, NUL in a header) are refused before a handler sees them. Errors are
 * RFC 9457 problem+json with a stable `code`.
 *
 * A handler answers now or later, exactly once. Handlers and callbacks run on
 * the loop's thread.
 */
#ifndef FOLENI_COMMON_HTTP_H
#define FOLENI_COMMON_HTTP_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base.h"
#include "common/config.h"
#include "common/err.h"
#include "common/loop.h"

struct buf;
struct http_request;
struct http_server;

enum http_method { HTTP_GET, HTTP_POST };

typedef void (*http_handler_fn)(void *arg, struct http_request *req);

/** `path` may hold `{}` for one segment: "/callbacks/{}/{}/{}". */
struct http_route {
    enum http_method method;
    const char *path;
    http_handler_fn fn;
};

#define HTTP_PARAMS_MAX 4

struct http_spec {
    const char *listen; /* "127.0.0.1:8080", "[::1]:0"                 */
    const char *tls_cert, *tls_key;  /* PEM files, "" = plain           */
    const struct http_route *routes; /* borrowed for ever              */
    size_t routes_n;
    const struct config *limits; /* http.* settings, borrowed          */
    void *arg;                   /* to the handlers                    */
};

/** ERR_CONFIG for a bad address or certificate, ERR_IO when it cannot bind. */
MUST_CHECK enum err_code http_server_new(struct loop *loop,
                                         const struct http_spec *spec,
                                         struct http_server **ret,
                                         struct err *err);

/** Stops accepting; open requests go on, each answer ends its connection. */
void http_server_close(struct http_server *server);

/** Whether every request is answered and every answer is on its way. */
bool http_server_quiet(const struct http_server *server);

/**
 * Closes everything; requests not yet answered are gone, and nobody is told:
 * http_on_close() callbacks do not run. NULL is fine.
 */
void http_server_free(struct http_server *server);

/** The port that was bound. */
int http_server_port(const struct http_server *server);

/* What a request says. Everything is borrowed until the answer. */

/** The text of the @p i-th `{}` of the route's path, URL-decoded. */
const char *http_param(const struct http_request *req, size_t i);

/** A header's value, or NULL. */
const char *http_header(const struct http_request *req, const char *name);

/** The value of the query parameter @p name, or NULL. */
const char *http_query(const struct http_request *req, const char *name);

/** The @p i-th query parameter's value, and its name; NULL behind the last. */
const char *http_query_at(const struct http_request *req, size_t i,
                          const char **ret_name);

const char *http_body(const struct http_request *req, size_t *ret_len);

/** The peer's address as text. */
const char *http_peer(const struct http_request *req);

/* Answers. Each ends the request: the pointer is gone afterwards. */

/** Adds a header to the answer that follows. */
void http_add_header(struct http_request *req, const char *name,
                     const char *value);

void http_reply(struct http_request *req, int status, const char *content_type,
                const void *body, size_t len);

/** What a problem says (RFC 9457); NULL and 0 leave a member out. */
struct http_problem {
    int status;             /* 400 .. 599                                   */
    const char *code;       /* stable, snake_case: "invalid_field"          */
    const char *title;      /* short, the same for every use of the code    */
    const char *detail;     /* this occurrence                              */
    const char *field;      /* member of the request that is wrong          */
    const char *payment_id; /* the payment it is about                      */
    int retry_after_s;      /* also sent as the header Retry-After          */
};

void http_problem(struct http_request *req, const struct http_problem *p);

/** Writes it, for an answer that holds several. */
void http_problem_json(struct buf *out, const struct http_problem *p);

/**
 * For a request that is answered later: @p fn(@p arg) runs when its connection
 * dies first (a FIN counts), noticed within half a second. After @p fn the
 * request must not be touched or answered.
 */
void http_on_close(struct http_request *req, void (*fn)(void *arg), void *arg);

/** Leaves the request out of foleni_http_request_seconds: a long poll. */
void http_untimed(struct http_request *req);

#endif
