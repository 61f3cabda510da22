/*
 * Reading what Daraja posts: POST /callbacks/{payment}/{attempt}/{mac}, and
 * POST /c2b/confirmation/{secret}. Only the path is believed, because only the
 * path is ours.
 */
#ifndef FOLENI_PRODUCER_CALLBACKS_H
#define FOLENI_PRODUCER_CALLBACKS_H

#include "common/config.h"
#include "common/http.h"
#include "common/payment.h"

#include <stdbool.h>

struct callback_path {
    struct uuid payment;
    int attempt;
    const char *mac; /* borrowed from the request */
    bool ours;       /* one of our keys has made it */
};

/**
 * Reads and checks the path. What is no callback path gets 404, and so do
 * callers from outside of callbacks.networks. A MAC that is not ours is the
 * caller's to judge: a key may be missing here.
 *
 * @return false when that was answered; @p req is then gone.
 */
bool callbacks_path(const struct config *cfg, struct http_request *req,
                    struct callback_path *ret);

/**
 * Checks the secret in the path of a C2B confirmation. A wrong one gets 404, as
 * everything does while no secret is configured.
 *
 * @return false when that was answered; @p req is then gone.
 */
bool callbacks_c2b(const struct config *cfg, struct http_request *req);

/** 404 for a MAC that none of us has made: nobody learns what payments there
 *  are. */
void callbacks_forged(struct http_request *req);

/** 200, what Daraja expects; only after the callback is durable. */
void callbacks_accepted(struct http_request *req);

/** 503: not durable. Daraja does not try again; a status query settles it. */
void callbacks_refused(struct http_request *req);

#endif
