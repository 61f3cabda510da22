/*
 * What a handler reads of its request and how it answers. The answer's bytes go
 * straight into evhttp's buffer of the request.
 */
#include "common/clock.h"
#include "common/http_priv.h"
#include "common/json.h"
#include "common/metrics.h"
#include "common/must.h"

#include <event2/http_struct.h>

#include <stdio.h>
#include <string.h>

#define PROBLEM_MAX 4096

/* --- the request --- */

const char *http_header(const struct http_request *req, const char *name)
{
    return evhttp_find_header(evhttp_request_get_input_headers(req->ev), name);
}

const char *http_body(const struct http_request *req, size_t *ret_len)
{
    struct evbuffer *in = evhttp_request_get_input_buffer(req->ev);
    size_t len = evbuffer_get_length(in);
    const unsigned char *body = len ? evbuffer_pullup(in, -1) : NULL;

    *ret_len = body ? len : 0;
    return body ? (const char *)body : "";
}

const char *http_peer(const struct http_request *req)
{
    return req->ev->remote_host;
}

/* --- the answer --- */

void http_add_header(struct http_request *req, const char *name,
                     const char *value)
{
    /* It refuses line breaks; a header that has some is better left out. */
    (void)evhttp_add_header(evhttp_request_get_output_headers(req->ev), name,
                            value);
}

void http_add_close(struct http_request *req)
{
    http_add_header(req, "Connection", "close");
}

void http_untimed(struct http_request *req)
{
    req->timed = false;
}

void http_count(int status)
{
    if (status >= 500)
        metric_add(M_HTTP_5XX, 1);
    else if (status >= 400)
        metric_add(M_HTTP_4XX, 1);
    else
        metric_add(M_HTTP_2XX, 1);
}

void http_reply(struct http_request *req, int status, const char *content_type,
                const void *body, size_t len)
{
    struct http_conn *c = req->conn;
    struct evhttp_request *ev = req->ev;

    must(ev); /* answered once, and not after its connection died */
    if (c->server->closing)
        http_add_close(req);
    if (content_type)
        http_add_header(req, "Content-Type", content_type);
    if (len && evhttp_request_get_command(ev) != EVHTTP_REQ_HEAD)
        must(evbuffer_add(evhttp_request_get_output_buffer(ev), body, len) ==
             0);
    http_count(status);
    if (req->timed)
        metric_observe_us(M_HTTP_SECONDS, clock_now_us() - req->began_us);
    http_conn_unpark(c);
    req->ev = NULL;
    req->on_close = NULL;
    c->answering = true;
    evhttp_send_reply(ev, status, NULL, NULL);
    c->answering = false;
}

void http_problem_json(struct buf *out, const struct http_problem *p)
{
    struct json_out j = {.buf = out};

    json_open(&j, NULL, '{');
    json_put_text(&j, "type", "about:blank");
    if (p->title)
        json_put_text(&j, "title", p->title);
    json_put_int(&j, "status", p->status);
    json_put_text(&j, "code", p->code);
    if (p->detail)
        json_put_text(&j, "detail", p->detail);
    if (p->field)
        json_put_text(&j, "field", p->field);
    if (p->payment_id)
        json_put_text(&j, "payment_id", p->payment_id);
    if (p->retry_after_s)
        json_put_int(&j, "retry_after", p->retry_after_s);
    json_close(&j, '}');
}

void http_problem(struct http_request *req, const struct http_problem *p)
{
    struct buf json;
    char seconds[12];

    buf_init(&json, PROBLEM_MAX);
    http_problem_json(&json, p);
    if (json.failed) { /* a detail beyond all measure */
        struct http_problem shorter = *p;

        shorter.detail = NULL;
        shorter.field = NULL;
        buf_reset(&json);
        http_problem_json(&json, &shorter);
    }
    if (p->retry_after_s) {
        snprintf(seconds, sizeof(seconds), "%d", p->retry_after_s);
        http_add_header(req, "Retry-After", seconds);
    }
    http_reply(req, p->status, "application/problem+json", json.data, json.len);
    buf_done(&json);
}

void http_on_close(struct http_request *req, void (*fn)(void *arg), void *arg)
{
    must(req->ev);
    req->on_close = fn;
    req->close_arg = arg;
    http_conn_park(req->conn);
}
