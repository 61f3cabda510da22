/*
 * The due-scan: rows whose time has come, each given to one scanner by moving
 * that time forward. Whoever dies with rows in hand loses them when the hold is
 * over, and nothing has to be given back.
 */
#include "common/must.h"
#include "consumer/store_priv.h"

#include <stdlib.h>

struct due {
    struct store_op op;
    store_rows_fn done;
    void *arg;
};

static void due_taken(void *arg, struct pg_result *const *results, size_t n,
                      const struct err *err)
{
    struct due *due = arg;
    struct payment *rows = NULL;

    if (err) {
        due->done(due->arg, NULL, 0, 0, err);
    } else {
        must(n == 3);
        rows = store_read_rows(results[2]);
        due->done(due->arg, rows, pg_rows(results[2]), store_now_at(results),
                  NULL);
    }
    free(rows);
    store_op_free(&due->op);
}

static void put_pools(struct pg_params *p, unsigned pools)
{
    pools &= (1u << PRIORITIES_N) - 1;
    pg_array(p, PG_INT2, (size_t)__builtin_popcount(pools));
    for (int16_t i = 0; i < PRIORITIES_N; i++)
        if (pools & 1u << i)
            pg_int2(p, i);
}

void store_due(struct store *store, unsigned pools, size_t max, int64_t hold_us,
               store_rows_fn done, void *arg)
{
    struct due *due = store_op_new(store, sizeof(*due));
    struct pg_params *p;

    due->done = done;
    due->arg = arg;
    store_send_steady(store);
    store_send_lazy(store); /* forgotten: due again, and fenced */
    p = pg_params(store->pg);
    pg_int8(p, (int64_t)max);
    put_pools(p, pools);
    pg_int8(p, hold_us);
    pg_send(store->pg, STORE_DUE, p);
    pg_sync(store->pg, due_taken, due);
}
