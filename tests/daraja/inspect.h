/*
 * What the provider checks of a push or a query before anything happens, in
 * its order and with its words.
 */
#ifndef FOLENI_TESTS_DARAJA_INSPECT_H
#define FOLENI_TESTS_DARAJA_INSPECT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base.h"
#include "common/config.h"
#include "tests/daraja/order.h"

#define INSPECT_CHECKOUT_SIZE 80

struct json;
struct profile;

struct refusal {
    int status;
    const char *code;
    char message[64];
};

/** A push or query that is being read. */
struct inspection {
    const struct config *cfg;
    const struct profile *profile;
    const char *content_type; /* header, or NULL                         */
    const char *consumer_key; /* of the app whose token was shown        */
    /* Out: */
    struct order order; /* its URL is borrowed from the document    */
    const struct shortcode *merchant;     /* when it passed                  */
    char checkout[INSPECT_CHECKOUT_SIZE]; /* of a query                  */
    int64_t party_b;
    bool buy_goods;
    struct refusal refusal; /* when it did not                           */
};

/**
 * Checks a push. @p doc NULL stands for a body that is no JSON.
 *
 * @return true when it may be executed; false leaves the refusal, and in
 *         `order` what could be read all the same.
 */
bool inspect_push(struct inspection *in, const struct json *doc);

/** Checks a query likewise. */
bool inspect_query(struct inspection *in, const struct json *doc);

/** Whether a URL of the client's may be registered or called back. */
bool inspect_url(const struct profile *profile, const char *url);

/** Whether type and credit party fit the shortcode (else ResultCode 2028). */
bool inspect_product(const struct inspection *in);

#endif
