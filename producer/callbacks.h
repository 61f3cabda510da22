/*
 * Reading what Daraja posts: POST /callbacks/{payment}/{attempt}/{mac}. Only
 * the path is believed, because only the path is ours.
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
 * that is no callback path: nobody learns which payments exist.
 *
 * @return false when that was answered; @p req is then gone.
 */
bool callbacks_path(const struct config *cfg, struct http_request *req,
                    struct callback_path *ret);

/** 200, what Daraja expects; only after the callback is durable. */
void callbacks_accepted(struct http_request *req);

/** 503: not durable. Daraja does not try again; a status query settles it. */
void callbacks_refused(struct http_request *req);

#endif
