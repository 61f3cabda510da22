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
};

/**
 * Reads and checks the path. A MAC that is not ours gets 404, as does anything
 * that is no callback path: nobody learns which payments exist. The same for
 * callers from outside of callbacks.networks.
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

/** 200, what Daraja expects; only after the callback is durable. */
void callbacks_accepted(struct http_request *req);

/** 503: not durable. Daraja does not try again; a status query settles it. */
void callbacks_refused(struct http_request *req);

#endif
