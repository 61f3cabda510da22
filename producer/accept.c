/*
 * API keys are compared by their SHA-256 and in constant time; the key itself
 * is nowhere. The Idempotency-Key may be a structured-field string (RFC 8941,
 * quoted) or bare.
 */
#include "producer/accept.h"

#include "common/clock.h"
#include "common/metrics.h"
#include "common/sign.h"
#include "common/wire.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define BEARER "Bearer "

static const struct client *find_client(const struct config *cfg,
                                        const char *key)
{
    const struct client *found = NULL;
    uint8_t hash[SHA256_SIZE];

    sign_sha256(key, strlen(key), hash);
    for (size_t i = 0; i < cfg->clients_n; i++)
        if (sign_equal(hash, cfg->clients[i].api_key_hash, sizeof(hash)) &&
            !cfg->clients[i].gone)
            found = &cfg->clients[i];
    return found;
}

const struct client *accept_client(const struct config *cfg,
                                   struct http_request *req)
{
    const char *header = http_header(req, "Authorization");
    const struct client *client = NULL;

    if (header && strncasecmp(header, BEARER, strlen(BEARER)) == 0)
        client = find_client(cfg, header + strlen(BEARER));
    if (client)
        return client;
    metric_add(M_REFUSED_KEY, 1);
    http_add_header(req, "WWW-Authenticate", "Bearer");
    http_problem(req, &(struct http_problem){
                          .status = 401,
                          .code = "unauthorized",
                          .title = "API key missing or unknown",
                          .detail = "send the API key as \"Authorization: "
                                    "Bearer <key>\"",
                      });
    return NULL;
}

/* Takes the quotes of a structured-field string away; false when it is none
   that ends, escapes what may not be escaped, or is too long. */
static bool unquote(const char *from, char *to, size_t size)
{
    size_t n = 0;
    bool quoted = *from == '"';

    for (from += quoted; *from && !(quoted && *from == '"'); from++) {
        if (quoted && *from == '\\' && *++from != '"' && *from != '\\')
            return false;
        if (n + 1 == size)
            return false;
        to[n++] = *from;
    }
    to[n] = '\0';
    return !quoted || (*from == '"' && from[1] == '\0');
}

static bool problem(struct http_request *req, int status,
                    const struct fault *fault, const char *title)
{
    metric_add(M_REFUSED_INPUT, 1);
    http_problem(req, &(struct http_problem){
                          .status = status,
                          .code = fault->code,
                          .title = title,
                          .detail = fault->text,
                          .field = *fault->field ? fault->field : NULL,
                      });
    return false;
}

static bool read_key(struct http_request *req, struct accepted *ret)
{
    const char *header = http_header(req, "Idempotency-Key");
    struct fault fault = {.code = "missing_idempotency_key",
                          .field = "Idempotency-Key"};

    if (!header || !*header) {
        text_copy(fault.text, sizeof(fault.text),
                  "send an Idempotency-Key: it names the payment, and makes a "
                  "retry safe");
        return problem(req, 400, &fault, "Idempotency-Key is missing");
    }
    if (unquote(header, ret->key, sizeof(ret->key)) && *ret->key)
        return true;
    fault.code = "invalid_field";
    text_copy(fault.text, sizeof(fault.text),
              "must be 1 to 255 printable ASCII characters, quoted or bare");
    return problem(req, 400, &fault, "Idempotency-Key cannot be used");
}

static bool json_content(struct http_request *req)
{
    static const char json[] = "application/json";
    const char *type = http_header(req, "Content-Type");
    size_t len = sizeof(json) - 1;
    struct fault fault = {.code = "unsupported_media_type",
                          .field = "Content-Type",
                          .text = "the body must be application/json"};

    if (!type ||
        (strncasecmp(type, json, len) == 0 && strchr("; \t", type[len])))
        return true;
    return problem(req, 415, &fault, "Unsupported media type");
}

bool accept_payment(const struct config *cfg, const struct client *client,
                    struct http_request *req, int64_t now_at,
                    struct accepted *ret)
{
    struct fault fault;
    const char *body;
    size_t len;

    ret->client = client;
    if (!json_content(req) || !read_key(req, ret))
        return false;
    body = http_body(req, &len);
    if (wire_read_body(cfg, client, ret->key, body, len, now_at, &ret->request,
                       &fault))
        return problem(req, 400, &fault, "Request cannot be used");
    return true;
}

bool accept_batch(struct http_request *req,
                  struct wire_item items[WIRE_BATCH_MAX], size_t *ret_n)
{
    struct fault fault = {
        .code = "invalid_field",
        .field = "Idempotency-Key",
        .text = "must not be sent: each payment has its own idempotency_key"};
    const char *body;
    size_t len;

    if (!json_content(req))
        return false;
    if (http_header(req, "Idempotency-Key"))
        return problem(req, 400, &fault, "A batch has no key");
    body = http_body(req, &len);
    if (wire_cut_batch(body, len, items, ret_n, &fault))
        return problem(req, 400, &fault, "Request cannot be used");
    return true;
}

/* A whole number with "s" (or nothing) or "ms" behind it. */
static bool read_duration(const char *text, int64_t *ret_us)
{
    char *end;
    long n;

    if (*text < '0' || *text > '9' || strlen(text) > 9)
        return false;
    n = strtol(text, &end, 10);
    if (strcmp(end, "ms") == 0)
        *ret_us = n * US_PER_MS;
    else if (!*end || strcmp(end, "s") == 0)
        *ret_us = n * US_PER_S;
    else
        return false;
    return true;
}

bool accept_wait(const struct config *cfg, struct http_request *req,
                 int64_t *ret_us)
{
    const char *text = http_query(req, "wait");
    struct fault fault = {.code = "invalid_field",
                          .field = "wait",
                          .text = "must be a duration like 30s or 1500ms, at "
                                  "most api.wait_max_ms"};

    *ret_us = 0;
    if (!text)
        return true;
    if (read_duration(text, ret_us) &&
        *ret_us <= cfg->api_wait_max_ms * US_PER_MS)
        return true;
    return problem(req, 400, &fault, "Query parameter cannot be used");
}

static bool bad_parameter(struct http_request *req, const struct fault *fault)
{
    return problem(req, 400, fault, "Query parameter cannot be used");
}

/* Whether a parameter before the @p n-th has its name. */
static bool is_repeated(const struct http_request *req, size_t n,
                        const char *name)
{
    const char *other;

    for (size_t i = 0; i < n && http_query_at(req, i, &other); i++)
        if (strcmp(other, name) == 0)
            return true;
    return false;
}

bool accept_find(const struct config *cfg, struct http_request *req,
                 struct find *ret)
{
    struct fault fault = {.code = "invalid_field", .text = "is given twice"};
    const char *name, *value;

    find_init(ret);
    ret->limit = MIN(ret->limit, cfg->api_list_max);
    for (size_t i = 0; (value = http_query_at(req, i, &name)); i++) {
        if (is_repeated(req, i, name)) {
            text_copy(fault.field, sizeof(fault.field), name);
            return bad_parameter(req, &fault);
        }
        if (find_take(ret, name, value, cfg->api_list_max, &fault))
            return bad_parameter(req, &fault);
    }
    return true;
}

bool accept_after(struct http_request *req, int *ret)
{
    struct fault fault = {.code = "invalid_field",
                          .field = "after",
                          .text = "must be the version of an event"};
    const char *text = http_query(req, "after");
    size_t len = text ? strlen(text) : 0;

    *ret = 0;
    if (!text)
        return true;
    if (len == 0 || len > 9 || strspn(text, "0123456789") != len)
        return bad_parameter(req, &fault);
    *ret = (int)strtol(text, NULL, 10);
    return true;
}
