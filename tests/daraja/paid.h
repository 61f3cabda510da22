/*
 * The money that came in, whoever asked for it: what C2B confirms, what Pull
 * lists and what Transaction Status knows. Rebuilt from the journal at start.
 */
#ifndef FOLENI_TESTS_DARAJA_PAID_H
#define FOLENI_TESTS_DARAJA_PAID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base.h"
#include "tests/daraja/ident.h"
#include "tests/daraja/order.h"

/** Rows that are kept; the oldest make room. */
#define PAID_ROWS_MAX 200000

struct paid_row {
    int64_t at; /* when the money moved */
    int64_t shortcode, msisdn, amount;
    char reference[ORDER_REFERENCE_MAX + 1];
    char receipt[RECEIPT_SIZE];
    bool reversed;
};

struct paid {
    struct paid_row *rows; /* a ring once it is full */
    size_t n, cap;
    size_t first; /* place of the oldest */
};

void paid_init(struct paid *p);
void paid_done(struct paid *p);

/** Forgets everything. */
void paid_reset(struct paid *p);

/** Copies @p row to the end. */
void paid_add(struct paid *p, const struct paid_row *row);

/** The @p i-th by age, i < n. */
const struct paid_row *paid_at(const struct paid *p, size_t i);

/** The youngest of that receipt, or NULL. */
const struct paid_row *paid_find(const struct paid *p, const char *receipt);

/** Marks that row, if there is one, as reversed. */
void paid_reverse(struct paid *p, const char *receipt);

#endif
