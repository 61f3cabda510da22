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
