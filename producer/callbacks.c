/*
 * The MAC is compared in constant time. What is no callback is counted and
 * leaves nothing behind.
 */
#include "producer/callbacks.h"

#include "common/log.h"
#include "common/metrics.h"
#include "common/net.h"
#include "common/sign.h"
#include "common/wire.h"

#include <stdlib.h>
#include <string.h>

#define ATTEMPT_DIGITS_MAX 6

/* 1 to 999999 in decimal, nothing else. */
static int read_attempt(const char *text)
{
    size_t len = strlen(text);

    if (!len || len > ATTEMPT_DIGITS_MAX || *text == '0' ||
        strspn(text, "0123456789") != len)
        return 0;
    return (int)strtol(text, NULL, 10);
}

static bool read_path(const struct config *cfg, struct http_request *req,
                      struct callback_path *ret)
{
    struct callback_address at = {.attempt = read_attempt(http_param(req, 1))};
    const char *id = http_param(req, 0);
    struct err err;

    if (uuid_parse(id, strlen(id), &at.payment, &err) || !at.attempt)
        return false;
    *ret = (struct callback_path){at.payment, at.attempt, http_param(req, 2),
                                  false};
    ret->ours = wire_callback_mac(cfg, &at, ret->mac);
    return strlen(ret->mac) == CALLBACK_MAC_SIZE - 1 &&
           strspn(ret->mac, "0123456789abcdef") == CALLBACK_MAC_SIZE - 1;
}

/* The second line only: the first is the MAC, or the secret. */
static bool from_there(const struct config *cfg, const struct http_request *req)
{
    const struct texts *networks = &cfg->callbacks_networks;
    struct network n;

    for (size_t i = 0; i < networks->n; i++)
        if (network_parse(networks->items[i], &n) &&
            network_has(&n, http_peer(req)))
            return true;
    return networks->n == 0;
}

static void refuse(struct http_request *req, enum metric counter)
{
    metric_add(counter, 1);
    log_warn("callbacks", "refused", KV("source", http_peer(req)));
    http_problem(req, &(struct http_problem){.status = 404,
                                             .code = "not_found",
                                             .title = "Not found"});
}

void callbacks_forged(struct http_request *req)
{
    refuse(req, M_CALLBACKS_FORGED);
}

bool callbacks_path(const struct config *cfg, struct http_request *req,
                    struct callback_path *ret)
{
    if (!from_there(cfg, req))
        refuse(req, M_CALLBACKS_ELSEWHERE);
    else if (read_path(cfg, req, ret))
        return true;
    else
        refuse(req, M_CALLBACKS_FORGED);
    return false;
}

/* Hashes of both, so that their lengths take the same time too. */
static bool same_secret(const char *is, const char *secret)
{
    uint8_t a[SHA256_SIZE], b[SHA256_SIZE];

    sign_sha256(is, strlen(is), a);
    sign_sha256(secret, strlen(secret), b);
    return sign_equal(a, b, sizeof(a)) && *secret;
}

bool callbacks_c2b(const struct config *cfg, struct http_request *req)
{
    const char *is = http_param(req, 0);
    bool first = same_secret(is, cfg->c2b_secret);
    bool second = same_secret(is, cfg->c2b_second_secret);

    if (!from_there(cfg, req))
        refuse(req, M_C2B_ELSEWHERE);
    else if (first || second)
        return true;
    else
        refuse(req, M_C2B_FORGED);
    return false;
}

void callbacks_accepted(struct http_request *req)
{
    static const char body[] = "{\"ResultCode\":0,\"ResultDesc\":\"Accepted\"}";

    http_reply(req, 200, "application/json", body, sizeof(body) - 1);
}

void callbacks_refused(struct http_request *req)
{
    http_problem(req, &(struct http_problem){
                          .status = 503,
                          .code = "not_durable",
                          .title = "Callback could not be kept",
                          .retry_after_s = 1,
                      });
}
