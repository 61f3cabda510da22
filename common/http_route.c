/*
 * From the request's target to its handler: the path is cut into segments and
 * compared with each route; `{}` takes one that is not empty. Parameters and
 * the query are decoded in place (RFC 3986; `+` is a space in the query only).
 * Escapes that are broken or stand for control characters get 400.
 */
#include "common/http_priv.h"

#include "common/must.h"

#include <event2/http_struct.h>

#include <stdlib.h>
#include <string.h>

#define ALLOW_SIZE sizeof("GET, POST")

struct path {
    char *segments[HTTP_SEGMENTS_MAX];
    size_t n;
};

static void no_route(struct http_request *req, const struct path *path);
static void bad_target(struct http_request *req, const char *detail);
static bool read_target(struct http_request *req, struct path *ret_path,
                        char **ret_query);
static bool matches(const struct http_route *route, const struct path *path,
                    struct http_request *req);
static bool read_query(struct http_request *req, char *query);
static bool decode(char *s, bool plus_is_space);

http_handler_fn http_route(struct http_request *req)
{
    const struct http_spec *spec = &req->conn->server->spec;
    enum evhttp_cmd_type type = evhttp_request_get_command(req->ev);
    struct path path;
    char *query;

    if (!read_target(req, &path, &query)) {
        bad_target(req, "the path has too many segments or is too long");
        return NULL;
    }
    for (size_t i = 0; i < spec->routes_n; i++) {
        const struct http_route *route = &spec->routes[i];

        if (type != (route->method == HTTP_GET ? EVHTTP_REQ_GET
                                               : EVHTTP_REQ_POST) ||
            !matches(route, &path, req))
            continue;
        for (size_t k = 0; k < req->params_n; k++)
            if (!decode(req->params[k], false)) {
                bad_target(req, "an escape in the path is broken");
                return NULL;
            }
        if (query && !read_query(req, query)) {
            bad_target(req, "the query is broken or has too many parameters");
            return NULL;
        }
        return route->fn;
    }
    no_route(req, &path);
    return NULL;
}

/* 405 when the path has a handler for another method, 404 otherwise. */
static void no_route(struct http_request *req, const struct path *path)
{
    const struct http_spec *spec = &req->conn->server->spec;
    bool get = false, post = false;

    for (size_t i = 0; i < spec->routes_n; i++) {
        if (!matches(&spec->routes[i], path, req))
            continue;
        get |= spec->routes[i].method == HTTP_GET;
        post |= spec->routes[i].method == HTTP_POST;
    }
    /* A body that a HEAD or TRACE brings was not read: nothing may follow. */
    http_add_close(req);
    if (!get && !post) {
        http_problem(req, &(struct http_problem){
                              .status = 404,
                              .code = "not_found",
                              .title = "There is nothing at this path",
                          });
        return;
    }
    http_add_header(req, "Allow",
                    get && post ? "GET, POST" : (get ? "GET" : "POST"));
    http_problem(req, &(struct http_problem){
                          .status = 405,
                          .code = "method_not_allowed",
                          .title = "This path does not take this method",
                      });
}

static void bad_target(struct http_request *req, const char *detail)
{
    http_problem(req, &(struct http_problem){
                          .status = 400,
                          .code = "bad_target",
                          .title = "The request's target cannot be read",
                          .detail = detail,
                      });
}

/* Copies path and query into req->text and cuts the path. */
static bool read_target(struct http_request *req, struct path *ret_path,
                        char **ret_query)
{
    const struct evhttp_uri *uri = evhttp_request_get_evhttp_uri(req->ev);
    const char *path = uri ? evhttp_uri_get_path(uri) : NULL;
    const char *query = uri ? evhttp_uri_get_query(uri) : NULL;
    size_t path_len = path ? strlen(path) : 0;
    char *at;

    buf_reset(&req->text);
    buf_add(&req->text, path, path_len);
    buf_addc(&req->text, '\0');
    if (query)
        buf_adds(&req->text, query);
    if (req->text.failed)
        return false;
    *ret_query = query ? req->text.data + path_len + 1 : NULL;
    ret_path->n = 0;
    if (path_len == 0 || path[0] != '/')
        return true; /* "*" or an authority: no route has it */
    for (at = req->text.data; at; at = strchr(at, '/')) {
        if (ret_path->n == HTTP_SEGMENTS_MAX)
            return false;
        *at++ = '\0';
        ret_path->segments[ret_path->n++] = at;
    }
    return true;
}

/* Leaves the parameters in @p req when it does. */
static bool matches(const struct http_route *route, const struct path *path,
                    struct http_request *req)
{
    const char *p = route->path;

    req->params_n = 0;
    for (size_t i = 0; i < path->n; i++) {
        size_t len;

        if (*p++ != '/')
            return false;
        len = strcspn(p, "/");
        if (len == 2 && memcmp(p, "{}", 2) == 0) {
            if (!*path->segments[i])
                return false;
            must(req->params_n < HTTP_PARAMS_MAX);
            req->params[req->params_n++] = path->segments[i];
        } else if (strncmp(path->segments[i], p, len) != 0 ||
                   path->segments[i][len]) {
            return false;
        }
        p += len;
    }
    return path->n > 0 && !*p;
}

static bool read_query(struct http_request *req, char *query)
{
    char *rest = query, *pair;

    while ((pair = strsep(&rest, "&"))) {
        char *value = strchr(pair, '=');

        if (!*pair)
            continue;
        if (value)
            *value++ = '\0';
        if (req->query_n == HTTP_QUERY_MAX || !decode(pair, true) ||
            (value && !decode(value, true)))
            return false;
        req->query[req->query_n].name = pair;
        req->query[req->query_n++].value = value ? value : "";
    }
    return true;
}

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* In place; false for a broken escape or a control character. */
static bool decode(char *s, bool plus_is_space)
{
    char *out = s;

    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;

        if (c == '%') {
            if (hex(s[1]) < 0 || hex(s[2]) < 0)
                return false;
            c = (unsigned char)(hex(s[1]) << 4 | hex(s[2]));
            s += 2;
        } else if (c == '+' && plus_is_space) {
            c = ' ';
        }
        if (c < 0x20 || c == 0x7f)
            return false;
        *out++ = (char)c;
    }
    *out = '\0';
    return true;
}

const char *http_param(const struct http_request *req, size_t i)
{
    must(i < req->params_n);
    return req->params[i];
}

const char *http_query(const struct http_request *req, const char *name)
{
    for (size_t i = 0; i < req->query_n; i++)
        if (strcmp(req->query[i].name, name) == 0)
            return req->query[i].value;
    return NULL;
}

const char *http_query_at(const struct http_request *req, size_t i,
                          const char **ret_name)
{
    if (i >= req->query_n)
        return NULL;
    *ret_name = req->query[i].name;
    return req->query[i].value;
}
