/*
 * Who has a receipt that another payment is about to get. Usually nobody: one
 * look into an index per callback that says paid, on the way of its own look.
 */
#include "common/must.h"
#include "consumer/store_priv.h"

#include <stdlib.h>

struct holders {
    struct store_op op;
    store_holder_fn found;
    size_t n;
    void *tags[];
};

static void holders_found(void *arg, struct pg_result *const *results, size_t n,
                          const struct err *err)
{
    struct holders *h = arg;

    must(err || n == 1);
    for (size_t i = 0; err && i < h->n; i++)
        h->found(h->tags[i], NULL, false);
    for (size_t i = 0; !err && i < pg_rows(results[0]); i++) {
        size_t at = (size_t)pg_get_int(results[0], i, 0) - 1;
        struct uuid holder = pg_get_uuid(results[0], i, 1);

        must(at < h->n);
        h->found(h->tags[at], &holder, pg_get_bool(results[0], i, 2));
    }
    store_op_free(&h->op);
}

void store_holders(struct store *store, const struct holder_row *rows, size_t n,
                   store_holder_fn found)
{
    struct holders *h = store_op_new(store, sizeof(*h) + n * sizeof(void *));
    struct pg_params *p = pg_params(store->pg);

    h->found = found;
    h->n = n;
    for (size_t i = 0; i < n; i++)
        h->tags[i] = rows[i].tag;
    STORE_PUT(p, PG_UUID, n, pg_uuid(p, &rows[i].payment));
    STORE_PUT(p, PG_TEXT, n, pg_text(p, rows[i].receipt));
    STORE_PUT(p, PG_INT2, n, pg_int2(p, (int16_t)rows[i].evidence));
    pg_send(store->pg, STORE_HOLDERS, p);
    pg_sync(store->pg, holders_found, h);
}
