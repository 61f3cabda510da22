/*
 * What a client looks for with GET /v1/payments: its filters, and the cursor
 * that a page ends with. Pure: text in, figures out; who may see what is the
 * ledger's statement's business (look).
 */
#ifndef FOLENI_PRODUCER_FIND_H
#define FOLENI_PRODUCER_FIND_H

#include "common/buf.h"
#include "common/payment.h"
#include "common/wire.h"

#define FIND_IDS_MAX 100
#define FIND_LIMIT 50 /* payments of a page, where it says nothing */
#define FIND_CURSOR_SIZE 49

/** A place in the order of lists: the newest first, then by id. */
struct find_place {
    int64_t created_at;
    struct uuid id;
};

struct find {
    struct uuid ids[FIND_IDS_MAX];
    size_t ids_n;                      /* 0 = any                        */
    int64_t msisdn;                    /* 0 = any                        */
    char reference[REFERENCE_MAX + 1]; /* "" = any                       */
    int state;                         /* enum payment_state; -1 = any   */
    int64_t from_at;                   /* created then or later; 0 = any */
    int64_t to_at;                     /* created before; 0 = any        */
    int64_t limit;
    bool goes_on;            /* behind `after`                 */
    struct find_place after; /* the last one of the page before */
};

/** Looks for everything. */
void find_init(struct find *f);

/**
 * Takes one query parameter. @p limit_max bounds `limit`.
 *
 * @return ERR_INPUT with @p fault filled: no such filter ("unknown_filter"), or
 *         a value that cannot be used ("invalid_field").
 */
MUST_CHECK enum err_code find_take(struct find *f, const char *name,
                                   const char *value, int64_t limit_max,
                                   struct fault *fault);

/** The cursor of the page behind @p place. */
void find_cursor(const struct find_place *place, char out[FIND_CURSOR_SIZE]);

#endif
