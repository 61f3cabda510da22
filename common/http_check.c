/*
 * What is refused before a handler sees it: heads that two parsers could read
 * in two ways (RFC 9112 sections 3.2, 6.3 and 11.2). evhttp takes a coding that
 * it does not know as none, the first of several Content-Length, "+5", no Host,
 * names with white space before the colon, and, before Debian's security update
 * 2.1.12-stable-8+deb12u1, Content-Length beside Transfer-Encoding. The
 * connection ends with the answer: where the next request would begin is what
 * the two parsers disagree about.
 */
#include "common/http_priv.h"

#include <event2/http_struct.h>
#include <event2/keyvalq_struct.h>

#include <ctype.h>
#include <string.h>
#include <strings.h>

/* Headers that say one thing: twice is a contradiction. */
static const char *const SINGLE[] = {
    "Host",          "Content-Length",    "Content-Type",
    "Authorization", "Transfer-Encoding", "Idempotency-Key",
};

static const struct http_problem NO_HOST = {
    .status = 400,
    .code = "bad_request",
    .title = "The request has no Host header",
};
static const struct http_problem TWICE = {
    .status = 400,
    .code = "bad_request",
    .title = "A header that may stand once stands twice",
};
static const struct http_problem BAD_LENGTH = {
    .status = 400,
    .code = "bad_request",
    .title = "Content-Length is not a number",
};
static const struct http_problem BAD_CODING = {
    .status = 400,
    .code = "bad_request",
    .title = "Transfer-Encoding is not chunked",
};
static const struct http_problem TWO_LENGTHS = {
    .status = 400,
    .code = "bad_request",
    .title = "Content-Length stands beside Transfer-Encoding",
};
static const struct http_problem BAD_NAME = {
    .status = 400,
    .code = "bad_request",
    .title = "A header's name has characters that it may not have",
};
static const struct http_problem ZERO_BYTE = {
    .status = 400,
    .code = "bad_request",
    .title = "There is a zero byte in the request's head",
};

/* RFC 9110 section 5.6.2 */
static bool is_token(const char *s)
{
    if (!*s)
        return false;
    for (; *s; s++)
        if (!isalnum((unsigned char)*s) && !strchr("!#$%&'*+-.^_`|~", *s))
            return false;
    return true;
}

static int single(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(SINGLE); i++)
        if (strcasecmp(SINGLE[i], name) == 0)
            return (int)i;
    return -1;
}

const struct http_problem *http_check(struct http_conn *c)
{
    const struct evhttp_request *ev = c->req.ev;
    const struct evkeyval *h;
    const char *length =
        evhttp_find_header(ev->input_headers, "Content-Length");
    const char *coding =
        evhttp_find_header(ev->input_headers, "Transfer-Encoding");
    unsigned seen = 0;

    if (http_conn_nuls(c) > 0)
        return &ZERO_BYTE;
    if (length && (!*length || length[strspn(length, "0123456789")]))
        return &BAD_LENGTH;
    if (coding && strcasecmp(coding, "chunked") != 0)
        return &BAD_CODING;
    if (coding && length)
        return &TWO_LENGTHS;
    if (ev->minor >= 1 && !evhttp_find_header(ev->input_headers, "Host"))
        return &NO_HOST;
    for (h = ev->input_headers->tqh_first; h; h = h->next.tqe_next) {
        int i = single(h->key);

        if (!is_token(h->key))
            return &BAD_NAME;
        if (i >= 0 && seen & 1U << i)
            return &TWICE;
        if (i >= 0)
            seen |= 1U << i;
    }
    return NULL;
}
