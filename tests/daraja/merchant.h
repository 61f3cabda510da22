/*
 * What each shortcode has registered: URLs for C2B, and Pull. Rebuilt from the
 * journal at start.
 */
#ifndef FOLENI_TESTS_DARAJA_MERCHANT_H
#define FOLENI_TESTS_DARAJA_MERCHANT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/config.h"
#include "tests/daraja/order.h"

struct merchant {
    const struct shortcode *settings;
    int c2b_version;             /* 0 = no URLs, else 1 or 2 */
    char url[ORDER_URL_MAX + 1]; /* where confirmations go   */
    bool pulls;
};

struct merchants;

/** One for each shortcode of @p cfg, which is borrowed. */
struct merchants *merchants_new(const struct config *cfg);

/** NULL is fine. */
void merchants_free(struct merchants *ms);

/** Forgets all registrations. */
void merchants_reset(struct merchants *ms);

/** NULL for a shortcode that is not in the configuration. */
struct merchant *merchant_find(struct merchants *ms, int64_t shortcode);

#endif
