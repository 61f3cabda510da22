/*
 * Brings callbacks to their receivers, once each.
 *
 * A receiver given as http:// and an IPv4 address, which is what a benchmark on
 * one machine has, is served by a client of our own that costs a fifth of
 * libcurl's; every other (names, TLS) by common/call.h.
 */
#ifndef FOLENI_TESTS_DARAJA_COURIER_H
#define FOLENI_TESTS_DARAJA_COURIER_H

#include <stddef.h>
#include <stdint.h>

#include "common/base.h"
#include "common/err.h"
#include "common/loop.h"

struct courier;

struct courier_spec {
    int64_t timeout_ms; /* for one delivery                               */
    const char *ca_file;
};

/** @p status 0 = no answer, and then @p error says why; otherwise "". */
typedef void (*courier_done_fn)(void *arg, int status, const char *error);

struct courier_letter {
    const char *url;
    int64_t shortcode; /* header BusinessShortCode                        */
    const char *body;  /* copied                                          */
    size_t len;
    courier_done_fn done; /* never from inside courier_send()             */
    void *arg;
};

struct courier *courier_new(struct loop *loop, const struct courier_spec *spec);

/** Aborts what is open without calling done. NULL is fine. */
void courier_free(struct courier *c);

/**
 * Sends @p letter.
 *
 * @return ERR_LIMIT when too many are on their way, ERR_UNAVAILABLE when the
 *         receiver refused at once; done will not run then.
 */
MUST_CHECK enum err_code courier_send(struct courier *c,
                                      const struct courier_letter *letter,
                                      struct err *err);

#endif
