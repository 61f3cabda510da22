/*
 * Notices that belong to no prompt: C2B confirmations, results of Transaction
 * Status and of reversals. Each goes out once, at its time and after the
 * journal's commit; how it went is journalled. What is on its way when the
 * process ends is lost, as the provider loses it.
 */
#ifndef FOLENI_TESTS_DARAJA_LETTER_H
#define FOLENI_TESTS_DARAJA_LETTER_H

#include <stddef.h>
#include <stdint.h>

#include "common/base.h"
#include "common/loop.h"
#include "tests/daraja/courier.h"
#include "tests/daraja/ident.h"
#include "tests/daraja/ledger.h"

/** At once; one more is journalled as lost. */
#define LETTERS_MAX 100000

struct buf;
struct letters;

struct letter_spec {
    const char *kind;       /* of the journal's line; borrowed for ever       */
    const char *url;        /* copied                                         */
    const struct buf *body; /* copied                                   */
    int64_t shortcode;
    const char *receipt; /* what it is about, "" = nothing; copied      */
    int64_t at_us;       /* when it goes out                            */
};

/** All borrowed, and outlive it. */
struct letters *letters_new(struct loop *loop, struct courier *courier,
                            struct ledger *ledger);

/** Free the courier first. NULL is fine. */
void letters_free(struct letters *ls);

/** Takes one; it depends on all that was journalled so far. */
void letters_send(struct letters *ls, const struct letter_spec *spec);

/** Forgets those that are not yet on their way. */
void letters_reset(struct letters *ls);

/** How much of the journal those that are due depend on. */
uint64_t letters_need(const struct letters *ls);

/** Sends what is due; after the journal's commit. */
void letters_flush(struct letters *ls);

size_t letters_open(const struct letters *ls);

#endif
