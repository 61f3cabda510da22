/*
 * What a push asks for, as far as it could be read: what the journal keeps of
 * it and what the oracle counts by.
 */
#ifndef FOLENI_TESTS_DARAJA_ORDER_H
#define FOLENI_TESTS_DARAJA_ORDER_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base.h"

#define ORDER_URL_MAX 400
#define ORDER_REFERENCE_MAX 20

/** Numbers are 0 and texts "" where the body did not say or said nonsense. */
struct order {
    int64_t shortcode, msisdn, amount;
    char reference[ORDER_REFERENCE_MAX + 1];
    const char *url; /* CallBackURL, <= ORDER_URL_MAX, borrowed; never NULL */
};

/** The path's own parts: .../{payment}/{attempt}/{mac}. */
struct order_path {
    const char *path; /* from the first "/" after the host on     */
    size_t path_len;
    size_t payment_len; /* of the path up to and with {payment}   */
    char payment[64];   /* "" when the path has no such parts     */
    int64_t attempt;    /* 0 likewise                             */
};

void order_path(const struct order *o, struct order_path *ret);

/** Keys of the counts: (msisdn, reference, amount), attempt, payment. */
uint64_t order_key(const struct order *o);
uint64_t order_attempt_key(const struct order_path *p);
uint64_t order_payment_key(const struct order_path *p);

#endif
