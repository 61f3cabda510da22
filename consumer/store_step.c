/*
 * The one mover. Rows are written on the version that was seen, and one waiter
 * of each phone that they free is woken with them. New attempts, which need a
 * phone, follow in a unit of their own: so each unit locks phones in one order,
 * as the claim does, and no two workers deadlock.
 *
 * Two workers may still take one phone in the same moment, or a value may be
 * refused: the whole unit is rolled back then, and its rows are written one by
 * one, each with an end of its own.
 */
#include "common/log.h"
#include "common/must.h"
#include "consumer/store_priv.h"

#include <stdlib.h>
#include <string.h>

struct step {
    struct store_op op;
    store_step_fn done;
    void *arg;
    int64_t now_at;
    size_t from, to;    /* what the unit in flight has                      */
    size_t single_to;   /* up to there rows go one by one                   */
    size_t takers_from; /* new attempts; the others stand before them       */
    size_t written;
    size_t n;
    struct step_row *rows[];
};

static void send_next(struct step *s);

/* --- sending --- */

/* New attempts last; in both parts the order in which rows are locked. */
static int compare_rows(const void *a, const void *b)
{
    const struct step_row *r = *(struct step_row *const *)a;
    const struct step_row *q = *(struct step_row *const *)b;
    const struct request *x = &r->next->req, *y = &q->next->req;

    if (r->takes_phone != q->takes_phone)
        return r->takes_phone ? 1 : -1;
    if (x->msisdn != y->msisdn)
        return x->msisdn < y->msisdn ? -1 : 1;
    return memcmp(&r->seen->req.id, &q->seen->req.id, sizeof(x->id));
}

/* "" is null */
static void put_text(struct pg_params *p, const char *s)
{
    pg_text(p, *s ? s : NULL);
}

/* 0 is null */
static void put_number(struct pg_params *p, int64_t n)
{
    if (n)
        pg_int8(p, n);
    else
        pg_null(p);
}

/* An array parameter of the `parked` rows among them. */
#define PUT_PARKED(type, put)          \
    do {                               \
        pg_array(p, (type), parked);   \
        for (size_t i = 0; i < n; i++) \
            if (unparks(rows[i]))      \
                put;                   \
    } while (0)

#define NEXT(member) rows[i]->next->member
#define INT2(member) STORE_PUT(p, PG_INT2, n, pg_int2(p, (int16_t)NEXT(member)))
#define INT4(member) STORE_PUT(p, PG_INT4, n, pg_int4(p, NEXT(member)))
#define TIME(member) STORE_PUT(p, PG_TIMESTAMPTZ, n, pg_time(p, NEXT(member)))
#define TEXT(member) STORE_PUT(p, PG_TEXT, n, put_text(p, NEXT(member)))

static void put_state(struct pg_params *p, struct step_row *const *rows,
                      size_t n)
{
    STORE_PUT(p, PG_UUID, n, pg_uuid(p, &rows[i]->seen->req.id));
    STORE_PUT(p, PG_INT4, n, pg_int4(p, rows[i]->seen->version));
    STORE_PUT(p, PG_INT2, n, pg_int2(p, (int16_t)rows[i]->cause));
    INT4(version);
    INT2(state);
    INT2(waits);
    INT4(attempt);
    INT4(spent);
    STORE_PUT(p, PG_INT8, n, put_number(p, NEXT(owner)));
    STORE_PUT(p, PG_BOOL, n, pg_bool(p, NEXT(holds_phone)));
    TIME(pushed_at);
    TIME(next_action_at);
    TIME(updated_at);
}

static void put_evidence(struct pg_params *p, struct step_row *const *rows,
                         size_t n)
{
    STORE_PUT(p, PG_INT8, n, pg_int8(p, NEXT(auth_version)));
    INT2(queries);
    TEXT(query_code);
    TIME(query_code_at);
    TEXT(checkout_id);
    TEXT(merchant_id);
    INT2(class);
    INT2(evidence);
    TEXT(code);
    TEXT(text);
    TEXT(receipt);
    TIME(paid_at);
    INT2(mac_key);
    INT4(paid_attempt);
    TIME(deadline_at);
    INT2(replays);
    STORE_PUT(p, PG_INT8, n, put_number(p, NEXT(replay)));
}

static struct pg_params *put_rows(struct store *store,
                                  struct step_row *const *rows, size_t n)
{
    struct pg_params *p = pg_params(store->pg);

    put_state(p, rows, n);
    put_evidence(p, rows, n);
    put_number(p, store->owner); /* who writes, for the timeline */
    return p;
}

/* It waited for its shortcode, and does so no more. */
static bool unparks(const struct step_row *row)
{
    return row->seen->state == PAYMENT_WAITING &&
           row->seen->waits == WAIT_LINE &&
           row->next->version != row->seen->version;
}

/* What of the parked this unit has written: the last thing in it, since all
   units that park meet in these rows. */
static void send_unparked(struct store *store, struct step_row *const *rows,
                          size_t n)
{
    struct pg_params *p;
    size_t parked = 0;

    for (size_t i = 0; i < n; i++)
        parked += unparks(rows[i]);
    if (!parked)
        return;
    p = pg_params(store->pg);
    PUT_PARKED(PG_UUID, pg_uuid(p, &rows[i]->seen->req.id));
    PUT_PARKED(PG_INT4, pg_int4(p, rows[i]->next->version));
    PUT_PARKED(PG_TIMESTAMPTZ, pg_time(p, rows[i]->next->updated_at));
    pg_send(store->pg, STORE_UNPARK, p);
}

static void send_takers(struct store *store, struct step_row *const *rows,
                        size_t n)
{
    struct pg_params *p = put_rows(store, rows, n);

    pg_int8(p, store->policy.same_amount_gap_us);
    pg_send(store->pg, STORE_TAKE, p);
    pg_keep(p, 2); /* ids and versions seen */
    put_number(p, store->owner);
    pg_send(store->pg, STORE_STILL, p);
    send_unparked(store, rows, n);
}

static void send_others(struct store *store, struct step_row *const *rows,
                        size_t n)
{
    struct pg_params *p = put_rows(store, rows, n);
    size_t phones = 0;

    pg_send(store->pg, STORE_STEP, p);
    store_send_alarms(store, rows, n);
    for (size_t i = 0; i < n; i++)
        phones += rows[i]->wakes_phone;
    if (phones) {
        p = pg_params(store->pg);
        pg_array(p, PG_INT8, phones);
        for (size_t i = 0; i < n; i++)
            if (rows[i]->wakes_phone)
                pg_int8(p, rows[i]->next->req.msisdn);
        pg_int8(p, store->policy.same_amount_gap_us);
        pg_send(store->pg, STORE_WAKE, p);
    }
    send_unparked(store, rows, n);
}

/* --- answers --- */

static void finish(struct step *s, const struct err *err)
{
    s->done(s->arg, err ? 0 : s->now_at, err);
    store_op_free(&s->op);
}

/* A phone that was taken in the same moment; or something that the flow meets
   again when it has looked at the row. */
static void refused(struct step *s, const struct err *err)
{
    struct step_row *row = s->rows[s->from];

    bool takes = row->takes_phone || row->cause == FLOW_RECOVERED;

    if (takes && err->code == ERR_CONFLICT) {
        row->end = STEP_PHONE_BUSY;
    } else {
        row->end = err->code == ERR_CONFLICT ? STEP_STALE : STEP_REFUSED;
        row->why = *err;
        log_warn("store", "step_refused", KV_ID("payment", &row->seen->req.id),
                 KV_ERR(err));
    }
    send_next(s);
}

static void failed(struct step *s, const struct err *err)
{
    bool rolled_back = err->code == ERR_CONFLICT || err->code == ERR_INPUT ||
                       err->code == ERR_INTERNAL;
    struct err all = *err;

    if (rolled_back && s->to - s->from == 1) {
        refused(s, err);
    } else if (rolled_back) {
        s->single_to = s->to;
        s->to = s->from;
        send_next(s);
    } else {
        if (s->written > 0)
            all.code = ERR_UNSURE; /* some are written, these are not */
        finish(s, &all);
    }
}

/* Gives @p end to the rows of the unit that @p r names. */
static void mark(struct step *s, const struct pg_result *r, enum step_end end)
{
    size_t at = 0, left = pg_rows(r);

    for (size_t i = s->from; i < s->to && left > 0; i++)
        if (store_find(r, &s->rows[i]->seen->req.id, &at)) {
            s->rows[i]->end = end;
            s->written += end == STEP_WRITTEN;
            left--;
        }
}

static void give_leases(struct step *s)
{
    for (size_t i = s->from; i < s->to; i++) {
        struct step_row *row = s->rows[i];

        if (row->end == STEP_WRITTEN)
            row->lease_us =
                store_lease_us(s->op.store, row->next, s->now_at, s->now_at);
    }
}

static void stepped(void *arg, struct pg_result *const *results, size_t n,
                    const struct err *err)
{
    struct step *s = arg;

    if (err) {
        failed(s, err);
        return;
    }
    must(n >= 2);
    s->now_at = store_now_at(results);
    mark(s, results[1], STEP_WRITTEN);
    if (s->from >= s->takers_from) {
        must(n >= 3);
        mark(s, results[2], STEP_PHONE_BUSY);
        give_leases(s);
    }
    send_next(s);
}

static void clock_read(void *arg, struct pg_result *const *results, size_t n,
                       const struct err *err)
{
    struct step *s = arg;

    must(err || n == 1);
    if (!err)
        s->now_at = store_now_at(results);
    finish(s, err);
}

/* --- units --- */

/* Every row has its end; where all were refused the clock is still missing. */
static void conclude(struct step *s)
{
    if (s->now_at) {
        finish(s, NULL);
        return;
    }
    store_send_now(s->op.store);
    pg_sync(s->op.store->pg, clock_read, s);
}

static void send_next(struct step *s)
{
    struct store *store = s->op.store;
    bool takers = s->to >= s->takers_from;

    if (s->to == s->n) {
        conclude(s);
        return;
    }
    s->from = s->to;
    s->to = s->from < s->single_to ? s->from + 1
            : takers               ? s->n
                                   : s->takers_from;
    store_send_now(store);
    if (takers)
        send_takers(store, s->rows + s->from, s->to - s->from);
    else
        send_others(store, s->rows + s->from, s->to - s->from);
    pg_sync(store->pg, stepped, s);
}

/* Of several attempts that want one phone the first may try. */
static size_t drop_rivals(struct step_row **rows, size_t n, size_t from)
{
    size_t kept = from;

    for (size_t i = from; i < n; i++) {
        if (kept > from &&
            rows[kept - 1]->next->req.msisdn == rows[i]->next->req.msisdn)
            rows[i]->end = STEP_PHONE_BUSY;
        else
            rows[kept++] = rows[i];
    }
    return kept;
}

void store_step(struct store *store, struct step_row *rows, size_t n,
                store_step_fn done, void *arg)
{
    struct step *s = store_op_new(store, sizeof(*s) + n * sizeof(s->rows[0]));

    must(n > 0);
    s->done = done;
    s->arg = arg;
    for (size_t i = 0; i < n; i++) {
        s->rows[i] = &rows[i];
        rows[i].end = STEP_STALE;
        rows[i].lease_us = 0;
        s->takers_from += !rows[i].takes_phone;
    }
    qsort(s->rows, n, sizeof(s->rows[0]), compare_rows);
    s->n = drop_rivals(s->rows, n, s->takers_from);
    send_next(s);
}
