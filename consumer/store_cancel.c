/*
 * Cancels that were asked for, found for the driver. What is not claimed yet is
 * the claim's to end; what is claimed is the flow's. The look goes by ages, so
 * that many of payments that nobody knows cost little.
 */
#include "common/clock.h"
#include "common/must.h"
#include "common/payment_row.h"
#include "consumer/store_priv.h"

#include <stdlib.h>

#define FIRST_LOOK_US US_PER_S
/* Twice the longest deadline: a record of before is late by then (S4). */
#define OVER_US (INT64_C(48) * 3600 * US_PER_S)

enum { C_ID, C_CLIENT, C_AT, C_TEXT, C_OVER, C_PAYMENT };

struct cancels {
    struct store_op op;
    store_cancels_fn done;
    void *arg;
};

static struct cancel_row *read_rows(const struct pg_result *r)
{
    size_t n = pg_rows(r);
    struct cancel_row *rows = must_alloc(MAX(n, 1), sizeof(*rows));

    for (size_t i = 0; i < n; i++) {
        rows[i].id = pg_get_uuid(r, i, C_ID);
        rows[i].client = pg_get_uuid(r, i, C_CLIENT);
        rows[i].at = pg_get_time(r, i, C_AT);
        text_copy(rows[i].text, sizeof(rows[i].text),
                  pg_get_text(r, i, C_TEXT, NULL));
        rows[i].over = pg_get_bool(r, i, C_OVER);
        rows[i].known = !pg_is_null(r, i, C_PAYMENT);
        if (rows[i].known)
            payment_row_read(r, i, C_PAYMENT, &rows[i].payment);
    }
    return rows;
}

static void taken(void *arg, struct pg_result *const *results, size_t n,
                  const struct err *err)
{
    struct cancels *c = arg;
    struct cancel_row *rows = NULL;

    if (err) {
        c->done(c->arg, NULL, 0, err);
    } else {
        must(n == 3);
        rows = read_rows(results[2]);
        c->done(c->arg, rows, pg_rows(results[2]), NULL);
    }
    free(rows);
    store_op_free(&c->op);
}

void store_cancels(struct store *store, size_t max, store_cancels_fn done,
                   void *arg)
{
    struct cancels *c = store_op_new(store, sizeof(*c));
    struct pg_params *p;

    c->done = done;
    c->arg = arg;
    store_send_steady(store);
    store_send_lazy(store); /* forgotten: looked at again, and fenced */
    p = pg_params(store->pg);
    pg_int8(p, (int64_t)max);
    pg_int8(p, FIRST_LOOK_US);
    pg_int8(p, OVER_US);
    pg_send(store->pg, STORE_CANCELS, p);
    pg_sync(store->pg, taken, c);
}

static void forgotten(void *arg, struct pg_result *const *results, size_t n,
                      const struct err *err)
{
    (void)results, (void)n, (void)err; /* not: the next look does it */
    store_op_free(arg);
}

void store_uncancel(struct store *store, const struct cancel_row *const *rows,
                    size_t n)
{
    struct store_op *op = store_op_new(store, sizeof(*op));
    struct pg_params *p;

    store_send_lazy(store);
    p = pg_params(store->pg);
    STORE_PUT(p, PG_UUID, n, pg_uuid(p, &rows[i]->id));
    STORE_PUT(p, PG_UUID, n, pg_uuid(p, &rows[i]->client));
    STORE_PUT(p, PG_TIMESTAMPTZ, n, pg_time(p, rows[i]->at));
    pg_send(store->pg, STORE_UNCANCEL, p);
    pg_sync(store->pg, forgotten, op);
}
