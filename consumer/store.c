/*
 * The store's connection and its small operations: look, told, positions,
 * strays. Claims, steps and the due-scan have files of their own; all texts of
 * statements are in store_sql.c.
 *
 * Each call is one unit, hence one transaction and one round trip, that begins
 * with the database's clock. Nothing is kept between calls but the operations
 * in flight.
 */
#include "consumer/store.h"

#include "common/clock.h"
#include "common/must.h"
#include "common/payment_row.h"
#include "consumer/store_priv.h"

#include <stdlib.h>
#include <string.h>

#define UNITS_MAX 64

struct store *store_new(struct loop *loop, const struct config *cfg,
                        void (*on_state)(void *arg, bool up), void *arg)
{
    struct store *store = NEW(struct store);
    struct pg_spec spec = {
        .conninfo = cfg->database_conninfo,
        .password = cfg->database_password,
        .application_name = "foleni-worker",
        .statements = store_statements,
        .statements_n = STORE_STATEMENTS_N,
        .units_max = UNITS_MAX,
        .session = pg_pinned_session,
        .on_state = on_state,
        .arg = arg,
    };

    store->cfg = cfg;
    flow_policy_from(cfg, &store->policy);
    list_init(&store->ops);
    store->pg = pg_new(loop, &spec);
    return store;
}

void store_free(struct store *store)
{
    struct list *l;

    if (!store)
        return;
    pg_free(store->pg);
    while ((l = list_shift(&store->ops)))
        free(container_of(l, struct store_op, node));
    free(store);
}

bool store_up(const struct store *store, char *note, size_t size)
{
    return pg_up(store->pg, note, size);
}

int64_t store_latency_us(const struct store *store)
{
    return pg_latency_us(store->pg);
}

size_t store_busy(const struct store *store)
{
    return pg_units(store->pg);
}

void store_set_owner(struct store *store, int64_t incarnation)
{
    store->owner = incarnation;
}

void store_expect(struct store *store, int64_t (*now_at)(void *arg), void *arg)
{
    store->expected = now_at;
    store->expected_arg = arg;
}

void store_set_mac_key(struct store *store, int mac_key)
{
    store->policy.mac_key = mac_key;
}

/* --- what operations share --- */

void *store_op_new(struct store *store, size_t size)
{
    struct store_op *op = must_alloc(1, size);

    op->store = store;
    list_append(&store->ops, &op->node);
    return op;
}

void store_op_free(struct store_op *op)
{
    list_remove(&op->node);
    free(op);
}

bool store_find(const struct pg_result *r, const struct uuid *id, size_t *at)
{
    size_t n = pg_rows(r);

    for (size_t i = 0; i < n; i++) {
        size_t row = (*at + i) % n;
        struct uuid there = pg_get_uuid(r, row, 0);

        if (uuid_equal(&there, id)) {
            *at = row;
            return true;
        }
    }
    return false;
}

void store_send_now(struct store *store)
{
    pg_send(store->pg, STORE_NOW, NULL);
}

static void send_expected(struct store *store, enum store_statement statement)
{
    int64_t at = store->expected ? store->expected(store->expected_arg) : 0;
    struct pg_params *p = pg_params(store->pg);

    pg_time(p, at);
    pg_send(store->pg, statement, p);
}

void store_send_steady(struct store *store)
{
    send_expected(store, STORE_STEADY);
}

void store_send_claim(struct store *store)
{
    send_expected(store, STORE_CLAIM);
}

void store_send_lazy(struct store *store)
{
    pg_send(store->pg, STORE_LAZY, NULL);
}

int64_t store_now_at(struct pg_result *const *results)
{
    return pg_get_time(results[0], 0, 0);
}

int64_t store_lease_us(const struct store *store, const struct payment *p,
                       int64_t claimed_at, int64_t now_at)
{
    int64_t until_at = claimed_at + store->cfg->worker_lease_ms * US_PER_MS;
    int64_t left_us = MIN(until_at, p->deadline_at) - now_at;

    /* now_at is not before the unit was sent */
    return MAX(left_us - pg_latency_us(store->pg), 0);
}

struct payment *store_read_rows(const struct pg_result *r)
{
    size_t n = pg_rows(r);
    struct payment *rows = n ? must_alloc(n, sizeof(*rows)) : NULL;

    for (size_t i = 0; i < n; i++)
        payment_row_read(r, i, 0, &rows[i]);
    return rows;
}

/* --- look --- */

struct look {
    struct store_op op;
    store_rows_fn done;
    void *arg;
};

static void looked(void *arg, struct pg_result *const *results, size_t n,
                   const struct err *err)
{
    struct look *look = arg;
    struct payment *rows = NULL;

    if (err) {
        look->done(look->arg, NULL, 0, 0, err);
    } else {
        must(n == 2);
        rows = store_read_rows(results[1]);
        look->done(look->arg, rows, pg_rows(results[1]), store_now_at(results),
                   NULL);
    }
    free(rows);
    store_op_free(&look->op);
}

void store_look(struct store *store, const struct uuid *ids, size_t n,
                store_rows_fn done, void *arg)
{
    struct look *look = store_op_new(store, sizeof(*look));
    struct pg_params *p;

    look->done = done;
    look->arg = arg;
    store_send_now(store);
    p = pg_params(store->pg);
    STORE_PUT(p, PG_UUID, n, pg_uuid(p, &ids[i]));
    pg_send(store->pg, STORE_LOOK, p);
    pg_sync(store->pg, looked, look);
}

/* --- told --- */

struct plain {
    struct store_op op;
    store_done_fn done;
    void *arg;
};

static void plain_done(void *arg, struct pg_result *const *results, size_t n,
                       const struct err *err)
{
    struct plain *plain = arg;

    (void)results;
    (void)n;
    plain->done(plain->arg, err);
    store_op_free(&plain->op);
}

static void sync_plain(struct store *store, store_done_fn done, void *arg)
{
    struct plain *plain = store_op_new(store, sizeof(*plain));

    plain->done = done;
    plain->arg = arg;
    pg_sync(store->pg, plain_done, plain);
}

/* By id, the highest version first. */
static int compare_told(const void *a, const void *b)
{
    const struct told_row *x = a, *y = b;
    int order = memcmp(&x->payment, &y->payment, sizeof(x->payment));

    return order ? order
                 : (y->version > x->version) - (y->version < x->version);
}

/* Sorted, and of each payment only the highest version, which covers the
   others; an UPDATE takes any one of several matches. */
static struct told_row *sort_told(const struct told_row *rows, size_t *n)
{
    struct told_row *sorted = must_alloc(MAX(*n, 1), sizeof(*sorted));
    size_t kept = 0;

    memcpy(sorted, rows, *n * sizeof(*rows));
    qsort(sorted, *n, sizeof(*sorted), compare_told);
    for (size_t i = 0; i < *n; i++)
        if (!kept || !uuid_equal(&sorted[kept - 1].payment, &sorted[i].payment))
            sorted[kept++] = sorted[i];
    *n = kept;
    return sorted;
}

void store_told(struct store *store, const struct told_row *rows, size_t n,
                store_done_fn done, void *arg)
{
    struct told_row *sorted = sort_told(rows, &n);
    struct pg_params *p;

    store_send_lazy(store); /* forgotten: told twice */
    p = pg_params(store->pg);
    STORE_PUT(p, PG_UUID, n, pg_uuid(p, &sorted[i].payment));
    STORE_PUT(p, PG_INT4, n, pg_int4(p, sorted[i].version));
    free(sorted);
    pg_send(store->pg, STORE_TOLD, p);
    sync_plain(store, done, arg);
}

/* --- intake positions --- */

struct positions {
    struct store_op op;
    store_positions_fn done;
    void *arg;
    size_t n;
    struct kafka_position rows[];
};

static void positions_read(void *arg, struct pg_result *const *results,
                           size_t n, const struct err *err)
{
    struct positions *p = arg;

    must(err || n == 2);
    for (size_t i = 0; !err && i < pg_rows(results[1]); i++) {
        size_t at = (size_t)pg_get_int(results[1], i, 0) - 1;

        must(at < p->n);
        p->rows[at].offset = pg_get_int(results[1], i, 1);
    }
    if (err)
        p->done(p->arg, NULL, NULL, 0, err);
    else
        p->done(p->arg, pg_get_text(results[0], 0, 0, NULL), p->rows, p->n,
                NULL);
    store_op_free(&p->op);
}

void store_positions(struct store *store,
                     const struct kafka_position *positions, size_t n,
                     store_positions_fn done, void *arg)
{
    struct positions *op =
        store_op_new(store, sizeof(*op) + n * sizeof(*positions));
    struct pg_params *p;

    op->done = done;
    op->arg = arg;
    op->n = n;
    for (size_t i = 0; i < n; i++) {
        op->rows[i] = positions[i];
        op->rows[i].offset = KAFKA_BEGINNING;
    }
    pg_send(store->pg, STORE_LEDGER, NULL);
    p = pg_params(store->pg);
    STORE_PUT(p, PG_TEXT, n, pg_text(p, positions[i].topic));
    STORE_PUT(p, PG_INT4, n, pg_int4(p, positions[i].partition));
    pg_send(store->pg, STORE_POSITIONS, p);
    pg_sync(store->pg, positions_read, op);
}

void store_moved(struct store *store, const struct kafka_position *positions,
                 size_t n, store_done_fn done, void *arg)
{
    struct pg_params *p;

    store_send_lazy(store); /* forgotten: read again */
    p = pg_params(store->pg);
    STORE_PUT(p, PG_TEXT, n, pg_text(p, positions[i].topic));
    STORE_PUT(p, PG_INT4, n, pg_int4(p, positions[i].partition));
    STORE_PUT(p, PG_INT8, n, pg_int8(p, positions[i].offset));
    pg_send(store->pg, STORE_INTAKE, p);
    sync_plain(store, done, arg);
}

/* --- keys --- */

struct key_used {
    struct store_op op;
    store_key_fn done;
    void *arg;
};

static void key_looked(void *arg, struct pg_result *const *results, size_t n,
                       const struct err *err)
{
    struct key_used *op = arg;

    must(err || n == 1);
    op->done(op->arg, !err && pg_get_bool(results[0], 0, 0), err);
    store_op_free(&op->op);
}

void store_key_used(struct store *store, int64_t id, store_key_fn done,
                    void *arg)
{
    struct key_used *op = store_op_new(store, sizeof(*op));
    struct pg_params *p = pg_params(store->pg);

    op->done = done;
    op->arg = arg;
    pg_int2(p, (int16_t)id);
    pg_send(store->pg, STORE_KEY_USED, p);
    pg_sync(store->pg, key_looked, op);
}

struct keys_missing {
    struct store_op op;
    void (*done)(void *arg, int64_t key, int64_t attempts,
                 const struct err *err);
    void *arg;
};

static void missing_looked(void *arg, struct pg_result *const *results,
                           size_t n, const struct err *err)
{
    struct keys_missing *op = arg;
    bool any = !err && pg_rows(results[0]) > 0;

    must(err || n == 1);
    op->done(op->arg, any ? pg_get_int(results[0], 0, 0) : 0,
             any ? pg_get_int(results[0], 0, 1) : 0, err);
    store_op_free(&op->op);
}

void store_keys_missing(struct store *store,
                        void (*done)(void *arg, int64_t key, int64_t attempts,
                                     const struct err *err),
                        void *arg)
{
    struct keys_missing *op = store_op_new(store, sizeof(*op));
    struct pg_params *p = pg_params(store->pg);

    op->done = done;
    op->arg = arg;
    pg_int2(p, (int16_t)store->cfg->callbacks_mac_key_id);
    pg_int2(p, (int16_t)store->cfg->callbacks_second_mac_key_id);
    pg_send(store->pg, STORE_KEYS_MISSING, p);
    pg_sync(store->pg, missing_looked, op);
}

/* --- strays --- */

void store_stray(struct store *store, const struct uuid *payment, int attempt,
                 const char *why, const void *body, size_t len,
                 store_done_fn done, void *arg)
{
    struct pg_params *p = pg_params(store->pg);

    pg_uuid(p, payment);
    pg_int4(p, attempt);
    pg_text(p, why);
    pg_bytes(p, body, len);
    pg_send(store->pg, STORE_STRAY, p);
    sync_plain(store, done, arg);
}

#define STRAYS_MAX 16

struct strays {
    struct store_op op;
    store_stray_fn fn;
    void *arg;
};

static void strays_read(void *arg, struct pg_result *const *results, size_t n,
                        const struct err *err)
{
    struct strays *op = arg;

    must(err || n == 1);
    for (size_t i = 0; !err && i < pg_rows(results[0]); i++) {
        size_t len;
        const char *body = pg_get_text(results[0], i, 1, &len);

        op->fn(op->arg, (int)pg_get_int(results[0], i, 0), body, len);
    }
    op->fn(op->arg, 0, NULL, 0);
    store_op_free(&op->op);
}

void store_strays(struct store *store, const struct uuid *payment,
                  const char *why, store_stray_fn fn, void *arg)
{
    struct strays *op = store_op_new(store, sizeof(*op));
    struct pg_params *p = pg_params(store->pg);

    op->fn = fn;
    op->arg = arg;
    pg_uuid(p, payment);
    pg_text(p, why);
    pg_int4(p, STRAYS_MAX);
    pg_send(store->pg, STORE_STRAYS, p);
    pg_sync(store->pg, strays_read, op);
}

struct word {
    struct store_op op;
    void (*done)(void *arg, int64_t id);
    void *arg;
};

static void word_read(void *arg, struct pg_result *const *results, size_t n,
                      const struct err *err)
{
    struct word *op = arg;

    must(err || n == 1);
    op->done(op->arg, err ? -1 : pg_get_int(results[0], 0, 0));
    store_op_free(&op->op);
}

void store_clock_word(struct store *store, void (*done)(void *arg, int64_t id),
                      void *arg)
{
    struct word *op = store_op_new(store, sizeof(*op));

    op->done = done;
    op->arg = arg;
    pg_send(store->pg, STORE_CLOCK_WORD, NULL);
    pg_sync(store->pg, word_read, op);
}

struct near {
    struct store_op op;
    store_done_fn done;
    void *arg;
};

static void pulled_near(void *arg, struct pg_result *const *results, size_t n,
                        const struct err *err)
{
    struct near *near = arg;

    (void)results, (void)n;
    near->done(near->arg, err);
    store_op_free(&near->op);
}

void store_pull_near(struct store *store, store_done_fn done, void *arg)
{
    const struct flow_policy *policy = &store->policy;
    struct near *near = store_op_new(store, sizeof(*near));
    struct pg_params *p;

    near->done = done;
    near->arg = arg;
    p = pg_params(store->pg);
    pg_int8(p, flow_wait_max(policy));
    pg_int8(p, policy->unresolved_after_us);
    pg_send(store->pg, STORE_NEAR_ROWS, p);
    pg_send(store->pg, STORE_NEAR_BEATS, NULL);
    pg_sync(store->pg, pulled_near, near);
}
