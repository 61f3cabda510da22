/*
 * The due-scan: rows whose time has come, each given to one scanner by moving
 * that time forward. Whoever dies with rows in hand loses them when the hold is
 * over, and nothing has to be given back.
 *
 * What waits for a push may be millions of rows of one client or shortcode. So
 * it is not scanned in one order: the lanes in which anything waits are found
 * first, then rows are taken from those whose turn it is.
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

/* The beginning of a unit that takes rows. */
static struct due *begin(struct store *store, store_rows_fn done, void *arg)
{
    struct due *due = store_op_new(store, sizeof(*due));

    due->done = done;
    due->arg = arg;
    store_send_steady(store);
    store_send_lazy(store); /* forgotten: due again, and fenced */
    return due;
}

void store_due(struct store *store, size_t max, int64_t hold_us,
               store_rows_fn done, void *arg)
{
    struct due *due = begin(store, done, arg);
    struct pg_params *p = pg_params(store->pg);

    pg_int8(p, (int64_t)max);
    pg_int8(p, hold_us);
    pg_send(store->pg, STORE_DUE, p);
    pg_sync(store->pg, due_taken, due);
}

/* --- lanes --- */

struct lanes {
    struct store_op op;
    store_lanes_fn done;
    void *arg;
};

static struct lane *read_lanes(const struct pg_result *r)
{
    size_t n = pg_rows(r);
    struct lane *lanes = must_alloc(MAX(n, 1), sizeof(*lanes));

    for (size_t i = 0; i < n; i++) {
        int64_t priority = pg_get_int(r, i, 0);

        must(priority >= 0 && priority < PRIORITIES_N);
        lanes[i] = (struct lane){
            .priority = (enum priority)priority,
            .shortcode = pg_get_int(r, i, 1),
            .client = pg_get_uuid(r, i, 2),
            .due = (size_t)pg_get_int(r, i, 3),
        };
    }
    return lanes;
}

static struct parked_row *read_parked(const struct pg_result *r)
{
    size_t n = pg_rows(r);
    struct parked_row *rows = must_alloc(MAX(n, 1), sizeof(*rows));

    for (size_t i = 0; i < n; i++)
        rows[i] = (struct parked_row){
            .shortcode = pg_get_int(r, i, 0),
            .n = (size_t)MAX(pg_get_int(r, i, 1), 0),
        };
    return rows;
}

static void lanes_found(void *arg, struct pg_result *const *results, size_t n,
                        const struct err *err)
{
    struct lanes *op = arg;

    if (err) {
        op->done(op->arg, NULL, 0, NULL, 0, err);
    } else {
        struct lane *lanes;
        struct parked_row *parked;

        must(n == 2);
        lanes = read_lanes(results[0]);
        parked = read_parked(results[1]);
        op->done(op->arg, lanes, pg_rows(results[0]), parked,
                 pg_rows(results[1]), NULL);
        free(lanes);
        free(parked);
    }
    store_op_free(&op->op);
}

/* The lanes' names, as three parameters. */
static struct pg_params *put_lanes(struct store *store,
                                   const struct lane *lanes, size_t n)
{
    struct pg_params *p = pg_params(store->pg);

    STORE_PUT(p, PG_INT2, n, pg_int2(p, (int16_t)lanes[i].priority));
    STORE_PUT(p, PG_INT4, n, pg_int4(p, (int32_t)lanes[i].shortcode));
    STORE_PUT(p, PG_UUID, n, pg_uuid(p, &lanes[i].client));
    return p;
}

void store_lanes(struct store *store, const struct lanes_ask *ask,
                 store_lanes_fn done, void *arg)
{
    struct lanes *op = store_op_new(store, sizeof(*op));
    struct pg_params *p = put_lanes(store, ask->after, ask->after_n);

    op->done = done;
    op->arg = arg;
    STORE_PUT(p, PG_INT4, ask->shortcodes_n,
              pg_int4(p, (int32_t)ask->shortcodes[i]));
    pg_int8(p, (int64_t)ask->lanes_max);
    pg_int8(p, (int64_t)ask->counted_max);
    pg_send(store->pg, STORE_LANES, p);
    pg_send(store->pg, STORE_PARKED, NULL);
    pg_sync(store->pg, lanes_found, op);
}

void store_ready(struct store *store, const struct lane *lanes, size_t n,
                 int64_t hold_us, store_rows_fn done, void *arg)
{
    struct due *due = begin(store, done, arg);
    struct pg_params *p = put_lanes(store, lanes, n);

    STORE_PUT(p, PG_INT8, n, pg_int8(p, (int64_t)lanes[i].take));
    pg_int8(p, hold_us);
    pg_send(store->pg, STORE_READY, p);
    pg_sync(store->pg, due_taken, due);
}

static void given_back(void *arg, struct pg_result *const *results, size_t n,
                       const struct err *err)
{
    (void)arg, (void)results, (void)n, (void)err;
}

void store_undue(struct store *store, const struct payment *const *rows,
                 size_t n)
{
    struct pg_params *p;

    store_send_lazy(store);
    p = pg_params(store->pg);
    STORE_PUT(p, PG_UUID, n, pg_uuid(p, &rows[i]->req.id));
    STORE_PUT(p, PG_INT4, n, pg_int4(p, rows[i]->version));
    pg_send(store->pg, STORE_UNDUE, p);
    pg_sync(store->pg, given_back, NULL);
}
