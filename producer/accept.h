/*
 * Reading a request of a client: who asks, under which key, for what. What is
 * wrong is answered here as problem+json; nothing else happens in this room.
 */
#ifndef FOLENI_PRODUCER_ACCEPT_H
#define FOLENI_PRODUCER_ACCEPT_H

#include "common/config.h"
#include "common/http.h"
#include "common/payment.h"

#include <stdbool.h>

/** A request for a payment, read and found good. */
struct accepted {
    const struct client *client;
    char key[IDEMPOTENCY_KEY_MAX + 1];
    struct request request;
};

/**
 * The client whose API key the request carries (Authorization: Bearer), or
 * NULL: then 401 was answered and @p req is gone.
 */
const struct client *accept_client(const struct config *cfg,
                                   struct http_request *req);

/**
 * Reads POST /v1/payments of @p client.
 *
 * @return false when a problem was answered; @p req is then gone.
 */
bool accept_payment(const struct config *cfg, const struct client *client,
                    struct http_request *req, int64_t now_at,
                    struct accepted *ret);

/**
 * Reads ?wait= ("30s", "1500ms", "30"): how long to wait, 0 without it.
 *
 * @return false when a problem was answered; @p req is then gone.
 */
bool accept_wait(const struct config *cfg, struct http_request *req,
                 int64_t *ret_us);

#endif
