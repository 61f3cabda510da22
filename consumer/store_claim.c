/*
 * The claim. The first unit inserts what may go and, when that is all, moves
 * `intake` with it; so the usual claim is one statement. Otherwise a second
 * unit has the rest: it inserts what has to wait or is late, reads what is
 * known already, and moves `intake`, which thus never runs ahead of a claim.
 * Rows that are to be parked belong to the rest from the beginning, and what
 * was cancelled before it is claimed ends there.
 *
 * When the second unit fails and rows have gone with the first, the whole claim
 * is reported as unsure, is made again, and finds its own rows by owner and by
 * the record that they came from.
 */
#include "common/must.h"
#include "common/payment_row.h"
#include "consumer/store_priv.h"

#include <stdlib.h>
#include <string.h>

struct claim {
    struct store_op op;
    store_claim_fn done;
    void *arg;
    int64_t now_at;
    int mac_key; /* as sent: the settings may change meanwhile */
    const struct kafka_position *positions;
    size_t positions_n;
    size_t parked; /* rows that are to be parked: the first ones         */
    size_t rest;   /* rows that did not go, those with them: the first ones,
                      after unit one */
    size_t n;
    struct claim_row *rows[]; /* in both parts by MSISDN, then id */
};

/* --- sending --- */

/* The order in which rows are locked. */
static int compare_rows(const void *a, const void *b)
{
    const struct request *x = &(*(struct claim_row *const *)a)->req;
    const struct request *y = &(*(struct claim_row *const *)b)->req;

    if (x->msisdn != y->msisdn)
        return x->msisdn < y->msisdn ? -1 : 1;
    return memcmp(&x->id, &y->id, sizeof(x->id));
}

/* The same, behind those that are to be parked. */
static int compare_park(const void *a, const void *b)
{
    const struct claim_row *x = *(struct claim_row *const *)a;
    const struct claim_row *y = *(struct claim_row *const *)b;

    if (x->park != y->park)
        return x->park ? -1 : 1;
    return compare_rows(a, b);
}

static void put_money(struct pg_params *p, struct claim_row *const *rows,
                      size_t n)
{
    STORE_PUT(p, PG_INT8, n, pg_int8(p, rows[i]->req.msisdn));
    STORE_PUT(p, PG_INT4, n, pg_int4(p, (int32_t)rows[i]->req.amount));
    STORE_PUT(p, PG_INT4, n, pg_int4(p, (int32_t)rows[i]->req.shortcode));
    STORE_PUT(p, PG_INT2, n, pg_int2(p, (int16_t)rows[i]->req.priority));
    STORE_PUT(p, PG_INT2, n, pg_int2(p, (int16_t)rows[i]->req.ask_again));
}

static void put_texts(struct pg_params *p, struct claim_row *const *rows,
                      size_t n)
{
    const char *s;

    STORE_PUT(p, PG_TEXT, n, pg_text(p, rows[i]->req.reference));
    STORE_PUT(p, PG_TEXT, n, pg_text(p, rows[i]->req.description));
    STORE_PUT(p, PG_TEXT, n,
              (s = rows[i]->req.metadata, pg_text(p, *s ? s : NULL)));
}

static void put_source(struct pg_params *p, struct claim_row *const *rows,
                       size_t n)
{
    STORE_PUT(p, PG_TIMESTAMPTZ, n, pg_time(p, rows[i]->req.requested_at));
    STORE_PUT(p, PG_TIMESTAMPTZ, n, pg_time(p, rows[i]->req.expires_at));
    STORE_PUT(p, PG_TIMESTAMPTZ, n, pg_time(p, rows[i]->deadline_at));
    STORE_PUT(p, PG_INT2, n, pg_int2(p, (int16_t)rows[i]->topic));
    STORE_PUT(p, PG_INT4, n, pg_int4(p, rows[i]->partition));
    STORE_PUT(p, PG_INT8, n, pg_int8(p, rows[i]->offset));
}

static void put_requests(struct pg_params *p, struct claim_row *const *rows,
                         size_t n)
{
    STORE_PUT(p, PG_UUID, n, pg_uuid(p, &rows[i]->req.id));
    STORE_PUT(p, PG_UUID, n, pg_uuid(p, &rows[i]->req.client));
    STORE_PUT(p, PG_BYTEA, n,
              pg_bytes(p, rows[i]->req.fingerprint, FINGERPRINT_SIZE));
    put_money(p, rows, n);
    put_texts(p, rows, n);
    put_source(p, rows, n);
}

/* What the flow says of a request with that verdict; its times count from now
   on, so that the database can add its own clock. */
static struct payment template(const struct claim *c, enum claim_verdict v)
{
    static const struct request none;
    struct payment p;

    flow_claim(&none, INT64_MAX, c->op.store->owner, v, &c->op.store->policy, 0,
               &p);
    return p;
}

static void put_positions(struct pg_params *p, const struct claim *c)
{
    const struct kafka_position *at = c->positions;

    STORE_PUT(p, PG_TEXT, c->positions_n, pg_text(p, at[i].topic));
    STORE_PUT(p, PG_INT4, c->positions_n, pg_int4(p, at[i].partition));
    STORE_PUT(p, PG_INT8, c->positions_n, pg_int8(p, at[i].offset));
}

/* Moves intake only when these are all. */
static void send_go(struct claim *c, struct store *store)
{
    struct payment go = template(c, CLAIM_GO);
    struct claim_row *const *rows = c->rows + c->parked;
    struct pg_params *p;

    c->mac_key = go.mac_key;
    store_send_claim(store);
    p = pg_params(store->pg);
    put_requests(p, rows, c->n - c->parked);
    put_positions(p, c);
    pg_int8(p, (int64_t)c->n);
    pg_int8(p, store->owner);
    pg_int8(p, go.next_action_at);
    pg_int8(p, store->policy.same_amount_gap_us);
    pg_int2(p, (int16_t)go.mac_key);
    pg_send(store->pg, STORE_GO, p);
}

static void send_rest(struct claim *c, struct store *store)
{
    struct payment wait = template(c, CLAIM_WAIT),
                   late = template(c, CLAIM_LATE),
                   cancelled = template(c, CLAIM_CANCELLED);
    struct pg_params *p;

    store_send_claim(store);
    p = pg_params(store->pg);
    put_requests(p, c->rows, c->rest);
    pg_int8(p, wait.next_action_at);
    pg_int8(p, late.next_action_at);
    pg_int2(p, (int16_t)late.class);
    pg_text(p, late.code);
    pg_text(p, late.text);
    pg_int8(p, store->owner);
    STORE_PUT(p, PG_BOOL, c->rest, pg_bool(p, c->rows[i]->park));
    pg_int2(p, (int16_t)cancelled.class);
    pg_text(p, cancelled.code);
    pg_send(store->pg, STORE_WAIT, p);
    pg_keep(p, 1); /* the ids */
    pg_send(store->pg, STORE_LOOK, p);
    p = pg_params(store->pg);
    put_positions(p, c);
    pg_send(store->pg, STORE_INTAKE, p);
}

/* --- answers --- */

static void finish(struct claim *c, const struct err *err)
{
    c->done(c->arg, err);
    store_op_free(&c->op);
}

static void inserted(struct claim *c, struct claim_row *row,
                     enum claim_verdict v)
{
    struct store *store = c->op.store;
    struct payment *p = &row->payment;

    row->verdict = v;
    flow_claim(&row->req, row->deadline_at, store->owner, v, &store->policy,
               c->now_at, p);
    if (v == CLAIM_GO)
        p->mac_key = c->mac_key;
    p->source_topic = (int)row->topic;
    p->source_partition = row->partition;
    p->source_offset = row->offset;
    row->lease_us =
        v == CLAIM_GO ? store_lease_us(store, p, c->now_at, c->now_at) : 0;
}

/* Whether the next row that a statement returned is this one. */
static bool is_next(const struct pg_result *r, size_t *at,
                    const struct claim_row *row)
{
    struct uuid id;

    if (*at == pg_rows(r))
        return false;
    id = pg_get_uuid(r, *at, 0);
    if (!uuid_equal(&id, &row->req.id))
        return false;
    (*at)++;
    return true;
}

/* Rows come back in the order in which they were given. Those that did not go
   are moved to the front, in one order with those that are to be parked. */
static void read_go(struct claim *c, const struct pg_result *go)
{
    size_t at = 0;

    for (size_t i = c->parked; i < c->n; i++) {
        if (is_next(go, &at, c->rows[i]))
            inserted(c, c->rows[i], CLAIM_GO);
        else
            c->rows[c->rest++] = c->rows[i];
    }
    must(at == pg_rows(go));
    if (c->parked && c->rest > c->parked)
        qsort(c->rows, c->rest, sizeof(c->rows[0]), compare_rows);
}

/* Claimed by this incarnation, from this very record, and never moved but by
   others that thought it dead: the answer to that claim was lost. From another
   record it is a duplicate of a payment that is being pushed. */
static bool is_own(const struct claim *c, const struct claim_row *row,
                   const struct payment *p)
{
    bool fresh = p->state == PAYMENT_SENDING && p->version == 1;
    bool taken_over = p->state == PAYMENT_UNKNOWN && p->attempt == 1;

    return (fresh || taken_over) && p->owner == c->op.store->owner &&
           p->source_topic == (int)row->topic &&
           p->source_partition == row->partition &&
           p->source_offset == row->offset;
}

static void judge(struct claim *c, struct claim_row *row)
{
    const struct payment *p = &row->payment;

    row->lease_us = 0;
    if (memcmp(p->req.fingerprint, row->req.fingerprint, FINGERPRINT_SIZE) !=
        0) {
        row->verdict = CLAIM_OTHER;
    } else if (is_own(c, row, p)) {
        row->verdict = CLAIM_OWN;
        row->lease_us = store_lease_us(c->op.store, p, p->pushed_at, c->now_at);
    } else {
        row->verdict = CLAIM_SAME;
    }
}

/* What became of a row of the second statement. */
static enum claim_verdict verdict_of(const struct pg_result *wait, size_t row)
{
    if (pg_get_int(wait, row, 1) == PAYMENT_CANCELLED)
        return CLAIM_CANCELLED;
    if (pg_get_int(wait, row, 1) != PAYMENT_WAITING)
        return CLAIM_LATE;
    return pg_get_int(wait, row, 2) == WAIT_LINE ? CLAIM_PARK : CLAIM_WAIT;
}

/* A row that did not go was inserted as waiting or late, or is known. */
static bool read_rest(struct claim *c, const struct pg_result *wait,
                      const struct pg_result *look)
{
    size_t wait_at = 0, look_at = 0;

    for (size_t i = 0; i < c->rest; i++) {
        struct claim_row *row = c->rows[i];

        if (is_next(wait, &wait_at, row)) {
            inserted(c, row, verdict_of(wait, wait_at - 1));
            if (row->verdict == CLAIM_CANCELLED)
                text_copy(row->payment.text, sizeof(row->payment.text),
                          pg_get_text(wait, wait_at - 1, 3, NULL));
        } else if (store_find(look, &row->req.id, &look_at)) {
            payment_row_read(look, look_at, 0, &row->payment);
            judge(c, row);
        } else {
            return false;
        }
    }
    must(wait_at == pg_rows(wait));
    return true;
}

static void rest_claimed(void *arg, struct pg_result *const *results, size_t n,
                         const struct err *err)
{
    struct claim *c = arg;
    struct err unsure;

    if (err) {
        unsure = *err;
        if (c->rest < c->n) /* what could go is committed */
            unsure.code = ERR_UNSURE;
        finish(c, &unsure);
        return;
    }
    must(n == 4);
    c->now_at = store_now_at(results);
    if (read_rest(c, results[1], results[2])) {
        finish(c, NULL);
        return;
    }
    err_set(&unsure, ERR_UNSURE, "a payment went away during its claim");
    finish(c, &unsure);
}

static void claim_rest(struct claim *c)
{
    send_rest(c, c->op.store);
    pg_sync(c->op.store->pg, rest_claimed, c);
}

static void go_claimed(void *arg, struct pg_result *const *results, size_t n,
                       const struct err *err)
{
    struct claim *c = arg;

    if (err) {
        finish(c, err);
        return;
    }
    must(n == 2);
    c->now_at = store_now_at(results);
    read_go(c, results[1]);
    if (c->rest == 0)
        finish(c, NULL);
    else
        claim_rest(c);
}

void store_claim(struct store *store, struct claim_row *rows, size_t n,
                 const struct kafka_position *positions, size_t positions_n,
                 store_claim_fn done, void *arg)
{
    struct claim *c = store_op_new(store, sizeof(*c) + n * sizeof(c->rows[0]));

    must(store->owner > 0);
    c->done = done;
    c->arg = arg;
    c->positions = positions;
    c->positions_n = positions_n;
    c->n = n;
    for (size_t i = 0; i < n; i++) {
        c->rows[i] = &rows[i];
        c->parked += rows[i].park;
    }
    qsort(c->rows, n, sizeof(c->rows[0]), compare_park);
    c->rest = c->parked;
    if (n && c->parked == n) {
        claim_rest(c);
        return;
    }
    send_go(c, store);
    pg_sync(store->pg, go_claimed, c);
}
