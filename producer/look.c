/*
 * One connection, units of one look each.
 */
#include "producer/look.h"

#include "common/must.h"
#include "common/payment_row.h"
#include "common/pg.h"

#include <stdlib.h>

#define LOOKS_MAX 1000 /* in flight; more are told that it is unavailable */

enum { LOOK_PAYMENT, LOOK_KEY, LOOK_KEYS };

static const struct pg_statement statements[] = {
    [LOOK_PAYMENT] = {"look", "SELECT " PAYMENT_COLUMNS
                              " FROM payments p WHERE p.id = $1::uuid"},
    [LOOK_KEY] = {"key", PAYMENT_KEY_USED_SQL},
    [LOOK_KEYS] = {"keys", PAYMENT_KEYS_MISSING_SQL
                   " SELECT mac_key, n FROM g ORDER BY n DESC, mac_key "
                   "LIMIT 1"},
};

struct look {
    struct pg *pg;
};

struct one_look {
    look_done_fn done;
    void *arg;
};

static void on_state(void *arg, bool up)
{
    (void)arg, (void)up; /* pg says it itself, and health shows it */
}

struct look *look_new(struct loop *loop, const struct config *cfg)
{
    struct look *l = NEW(struct look);

    l->pg = pg_new(loop, &(struct pg_spec){
                             .conninfo = cfg->database_conninfo,
                             .password = cfg->database_password,
                             .application_name = "foleni-api",
                             .statements = statements,
                             .statements_n = ARRAY_LEN(statements),
                             .units_max = LOOKS_MAX,
                             .on_state = on_state,
                             .arg = l,
                         });
    return l;
}

void look_free(struct look *l)
{
    if (!l)
        return;
    pg_free(l->pg);
    free(l);
}

static void looked(void *arg, struct pg_result *const *results, size_t n,
                   const struct err *err)
{
    struct one_look *one = arg;
    struct payment p;

    (void)n;
    if (err || !pg_rows(results[0])) {
        one->done(one->arg, NULL, err);
    } else {
        payment_row_read(results[0], 0, 0, &p);
        one->done(one->arg, &p, NULL);
    }
    free(one);
}

void look_payment(struct look *l, const struct uuid *id, look_done_fn done,
                  void *arg)
{
    struct one_look *one = NEW(struct one_look);
    struct pg_params *params = pg_params(l->pg);

    *one = (struct one_look){done, arg};
    pg_uuid(params, id);
    pg_send(l->pg, LOOK_PAYMENT, params);
    pg_sync(l->pg, looked, one);
}

struct one_key {
    look_key_fn done;
    void *arg;
};

static void key_looked(void *arg, struct pg_result *const *results, size_t n,
                       const struct err *err)
{
    struct one_key *one = arg;

    (void)n;
    one->done(one->arg, !err && pg_get_bool(results[0], 0, 0), err);
    free(one);
}

void look_key(struct look *l, int64_t id, look_key_fn done, void *arg)
{
    struct one_key *one = NEW(struct one_key);
    struct pg_params *params = pg_params(l->pg);

    *one = (struct one_key){done, arg};
    pg_int2(params, (int16_t)id);
    pg_send(l->pg, LOOK_KEY, params);
    pg_sync(l->pg, key_looked, one);
}

struct all_keys {
    look_keys_fn done;
    void *arg;
};

static void keys_looked(void *arg, struct pg_result *const *results, size_t n,
                        const struct err *err)
{
    struct all_keys *all = arg;
    bool any = !err && pg_rows(results[0]) > 0;

    (void)n;
    all->done(all->arg, any ? pg_get_int(results[0], 0, 0) : 0,
              any ? pg_get_int(results[0], 0, 1) : 0, err);
    free(all);
}

void look_keys(struct look *l, int64_t first, int64_t second, look_keys_fn done,
               void *arg)
{
    struct all_keys *all = NEW(struct all_keys);
    struct pg_params *params = pg_params(l->pg);

    *all = (struct all_keys){done, arg};
    pg_int2(params, (int16_t)first);
    pg_int2(params, (int16_t)second);
    pg_send(l->pg, LOOK_KEYS, params);
    pg_sync(l->pg, keys_looked, all);
}

bool look_up(const struct look *l, char *note, size_t size)
{
    return pg_up(l->pg, note, size);
}

int64_t look_latency_us(const struct look *l)
{
    return pg_latency_us(l->pg);
}
