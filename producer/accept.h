/*
 * Reading a request of a client: who asks, under which key, for what. What is
 * wrong is answered here as problem+json; nothing else happens in this room.
 */
#ifndef FOLENI_PRODUCER_ACCEPT_H
#define FOLENI_PRODUCER_ACCEPT_H

#include "common/config.h"
#include "common/http.h"
#include "common/payment.h"
#include "producer/find.h"

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
 * Cuts POST /v1/payments/batch into its items. Each has its own key: the header
 * is refused.
 *
 * @return false when a problem was answered; @p req is then gone.
 */
bool accept_batch(struct http_request *req,
                  struct wire_item items[WIRE_BATCH_MAX], size_t *ret_n);

/**
 * Reads ?wait= ("30s", "1500ms", "30"): how long to wait, 0 without it.
 *
 * @return false when a problem was answered; @p req is then gone.
 */
bool accept_wait(const struct config *cfg, struct http_request *req,
                 int64_t *ret_us);

/**
 * Reads the filters of a list; a parameter that is none, or that comes twice,
 * is refused, so that nobody takes all of a list for a part of it.
 *
 * @return false when a problem was answered; @p req is then gone.
 */
bool accept_find(const struct config *cfg, struct http_request *req,
                 struct find *ret);

/** Reads ?after=, the version behind which events are wanted, 0 without it; as
 *  above. */
bool accept_after(struct http_request *req, int *ret);

#endif
