/*
 * Alarms for a person, written with the step that found their reason, so that
 * no crash forgets one. Metric and log line follow the commit, and may be lost.
 */
#include "common/log.h"
#include "common/must.h"
#include "consumer/store_priv.h"

#include <stdlib.h>

/* One alarm of one step. */
struct alarm {
    const struct step_row *row;
    const char *kind;
};

/* What needs a person for the payment itself. Wrong settings are no such
   thing: they have a metric. */
static const enum flow_action kept[] = {
    FLOW_DO_ALARM_DOUBLE,  FLOW_DO_ALARM_UNRESOLVED, FLOW_DO_ALARM_LATE,
    FLOW_DO_ALARM_DIFFERS, FLOW_DO_ALARM_TAKEN,      FLOW_DO_ALARM_SHARED,
};

static size_t find_alarms(struct step_row *const *rows, size_t n,
                          struct alarm *ret)
{
    size_t found = 0;

    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; rows[i]->actions && k < ARRAY_LEN(kept); k++)
            if (rows[i]->actions[kept[k]])
                ret[found++] =
                    (struct alarm){rows[i], flow_alarm_name(kept[k])};
    return found;
}

static size_t find_calm(struct step_row *const *rows, size_t n,
                        struct alarm *ret)
{
    size_t found = 0;

    for (size_t i = 0; i < n; i++)
        if (rows[i]->seen->state == PAYMENT_UNRESOLVED &&
            rows[i]->next->state != PAYMENT_UNRESOLVED)
            ret[found++].row = rows[i];
    return found;
}

#define NEXT(member) alarms[i].row->next->member

static struct pg_params *put_written(struct store *store,
                                     const struct alarm *alarms, size_t n)
{
    struct pg_params *p = pg_params(store->pg);

    STORE_PUT(p, PG_UUID, n, pg_uuid(p, &NEXT(req.id)));
    STORE_PUT(p, PG_INT4, n, pg_int4(p, NEXT(version)));
    STORE_PUT(p, PG_TIMESTAMPTZ, n, pg_time(p, NEXT(updated_at)));
    return p;
}

static const char *receipt_of(const struct alarm *a)
{
    return a->row->receipt ? a->row->receipt : "";
}

void store_send_alarms(struct store *store, struct step_row *const *rows,
                       size_t n)
{
    struct alarm *alarms = must_alloc(n * ARRAY_LEN(kept), sizeof(*alarms));
    size_t found = find_calm(rows, n, alarms);

    if (found)
        pg_send(store->pg, STORE_CALM, put_written(store, alarms, found));
    found = find_alarms(rows, n, alarms);
    if (found) {
        struct pg_params *p = put_written(store, alarms, found);

        STORE_PUT(p, PG_TEXT, found, pg_text(p, alarms[i].kind));
        STORE_PUT(p, PG_TEXT, found, pg_text(p, receipt_of(&alarms[i])));
        pg_send(store->pg, STORE_ALARM, p);
    }
    free(alarms);
}

/* --- one alarm, of no step --- */

static void raised(void *arg, struct pg_result *const *results, size_t n,
                   const struct err *err)
{
    struct store_op *op = arg;

    (void)results;
    (void)n;
    if (err)
        log_error("store", "alarm_not_written", KV_ERR(err));
    store_op_free(op);
}

void store_alarm(struct store *store, const struct uuid *payment, int attempt,
                 const char *kind, const char *text)
{
    struct store_op *op = store_op_new(store, sizeof(*op));
    struct pg_params *p = pg_params(store->pg);

    pg_uuid(p, payment);
    pg_text(p, kind);
    pg_int4(p, attempt);
    pg_text(p, text);
    pg_send(store->pg, STORE_ALARM_ALONE, p);
    pg_sync(store->pg, raised, op);
}
