/*
 * One connection, units of one look each. Lists are led by an index of their
 * filters, whatever the planner would think of figures that it does not know.
 */
#include "producer/look.h"

#include "common/clock.h"
#include "common/must.h"
#include "common/payment_row.h"
#include "common/pg.h"

#include <stdlib.h>

#define LOOKS_MAX 1000 /* in flight; more are told that it is unavailable */

enum {
    LOOK_PAYMENT,
    LOOK_KEY,
    LOOK_KEYS,
    LOOK_ASK_CANCEL,
    LOOK_CANCEL,
    LOOK_IDS,
    LOOK_MSISDN,
    LOOK_REFERENCE,
    LOOK_APART,
    LOOK_OPEN,
    LOOK_TIME,
    LOOK_EVENTS
};

/* --- lists --- */

_Static_assert(PAYMENT_SENDING == 1 && PAYMENT_PROMPTED == 2 &&
                   PAYMENT_SUCCEEDED == 6 && PAYMENT_FAILED == 7,
               "numbers in the statements");

/* One statement for each index that a list can be led by, so that its plan is
   the same for everybody (0009_clients.sql); what else is asked for is looked
   at row by row. $1 client, $2 from, $3 $4 the place before, or the end of the
   time, $5 most, $6 state, $7 reference, $8 phone, $9 ids. */
#define LIST(lead)                                                          \
    "SELECT " PAYMENT_COLUMNS " FROM payments p WHERE p.client = $1::uuid " \
    "AND p.created_at >= $2::timestamptz "                                  \
    "AND (p.created_at, p.id) < ($3::timestamptz, $4::uuid) "               \
    "AND ($6::int2 IS NULL OR p.state = $6::int2) "                         \
    "AND ($7::text IS NULL OR p.reference = $7::text) "                     \
    "AND ($8::int8 IS NULL OR p.msisdn = $8::int8) "                        \
    "AND ($9::uuid[] IS NULL OR p.id = ANY ($9::uuid[])) " lead
#define LIST_ORDERED "ORDER BY p.created_at DESC, p.id DESC LIMIT $5::int8"
/* Few rows, by an index in another order: the sum keeps the planner from
   walking all of a client's by time until it meets them. */
#define LIST_SORTED \
    "ORDER BY p.created_at + interval '0' DESC, p.id DESC LIMIT $5::int8"

static const char events_sql[] =
    "SELECT t.version, t.at, t.state, t.waits, t.attempt, t.code, t.text, "
    "t.evidence, t.receipt, t.class, t.paid_at, " PAYMENT_COLUMNS
    " FROM payments p LEFT JOIN LATERAL (SELECT * FROM timeline e "
    "WHERE e.payment = p.id AND e.version > $3::int4 AND e.state <> 1 "
    "ORDER BY e.version LIMIT $4::int8) AS t ON true "
    "WHERE p.id = $1::uuid AND p.client = $2::uuid ORDER BY t.version";

/* --- cancels --- */

/* The transaction's number stands beside the row, of one snapshot. */
static const char cancel_sql[] =
    "SELECT pg_snapshot_xmin(s.now)::text::int8, "
    "pg_snapshot_xmax(s.now)::text::int8, "
    "EXISTS (SELECT FROM cancels c WHERE c.payment = $1::uuid "
    "AND c.client = $2::uuid), " PAYMENT_COLUMNS
    " FROM (SELECT pg_current_snapshot() AS now) AS s "
    "LEFT JOIN payments p ON p.id = $1::uuid";

static const struct pg_statement statements[] = {
    [LOOK_PAYMENT] = {"look", "SELECT " PAYMENT_COLUMNS
                              " FROM payments p WHERE p.id = $1::uuid"},
    [LOOK_KEY] = {"key", PAYMENT_KEY_USED_SQL},
    [LOOK_KEYS] = {"keys", PAYMENT_KEYS_MISSING_SQL
                   " SELECT mac_key, n FROM g ORDER BY n DESC, mac_key "
                   "LIMIT 1"},
    [LOOK_ASK_CANCEL] = {"ask_cancel", "SELECT ask_cancel($1::uuid, $2::uuid, "
                                       "$3::text, $4::int8)"},
    [LOOK_CANCEL] = {"cancel", cancel_sql},
    [LOOK_IDS] = {"list_ids", LIST("AND p.id = ANY ($9::uuid[]) ") LIST_SORTED},
    [LOOK_MSISDN] = {"list_msisdn",
                     LIST("AND p.msisdn = $8::int8 ") LIST_SORTED},
    [LOOK_REFERENCE] = {"list_reference",
                        LIST("AND p.reference = $7::text ") LIST_ORDERED},
    [LOOK_APART] = {"list_apart", LIST("AND p.state IN (3, 4, 5, 8, 9, 10, 11) "
                                       "AND p.state = $6::int2 ") LIST_ORDERED},
    [LOOK_OPEN] = {"list_open", LIST("AND p.holds_phone ") LIST_SORTED},
    [LOOK_TIME] = {"list_time", LIST("") LIST_ORDERED},
    [LOOK_EVENTS] = {"events", events_sql},
};

struct look {
    struct pg *pg;
    const struct config *cfg;
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

    l->cfg = cfg;
    l->pg = pg_new(loop, &(struct pg_spec){
                             .conninfo = cfg->database_conninfo,
                             .password = cfg->database_password,
                             .application_name = "foleni-api",
                             .statements = statements,
                             .statements_n = ARRAY_LEN(statements),
                             .units_max = LOOKS_MAX,
                             .session = pg_pinned_session,
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

/* --- lists --- */

#define END_OF_TIME (INT64_C(253402300800) * US_PER_S) /* the year 10000 */

struct one_list {
    look_rows_fn done;
    void *arg;
    size_t most;
};

static void list_read(void *arg, struct pg_result *const *results, size_t n,
                      const struct err *err)
{
    struct one_list *one = arg;
    struct payment *rows = NULL;
    size_t rows_n;

    (void)n;
    if (err) {
        one->done(one->arg, NULL, 0, false, err);
        free(one);
        return;
    }
    rows_n = MIN(pg_rows(results[0]), one->most);
    rows = must_alloc(MAX(rows_n, 1), sizeof(*rows));
    for (size_t i = 0; i < rows_n; i++)
        payment_row_read(results[0], i, 0, &rows[i]);
    one->done(one->arg, rows, rows_n, pg_rows(results[0]) > one->most, NULL);
    free(rows);
    free(one);
}

/* The index that leads to the fewest rows. What is being pushed or prompted
   holds its phone; `apart` are the states that a payment which goes straight
   through is never in. */
static size_t statement_for(const struct find *f)
{
    if (f->ids_n)
        return LOOK_IDS;
    if (f->msisdn)
        return LOOK_MSISDN;
    if (*f->reference)
        return LOOK_REFERENCE;
    if (f->state == PAYMENT_SENDING || f->state == PAYMENT_PROMPTED)
        return LOOK_OPEN;
    if (f->state >= 0 && f->state != PAYMENT_SUCCEEDED &&
        f->state != PAYMENT_FAILED)
        return LOOK_APART;
    return LOOK_TIME;
}

/* Where the page begins: behind the cursor, and before the end of the time. */
static struct find_place place_before(const struct find *f)
{
    struct find_place at = {f->to_at ? f->to_at : END_OF_TIME, {{0}}};

    return f->goes_on && f->after.created_at < at.created_at ? f->after : at;
}

static void put_find(struct pg_params *p, const struct find *f)
{
    if (f->state >= 0)
        pg_int2(p, (int16_t)f->state);
    else
        pg_null(p);
    pg_text(p, *f->reference ? f->reference : NULL);
    if (f->msisdn)
        pg_int8(p, f->msisdn);
    else
        pg_null(p);
    if (f->ids_n) {
        pg_array(p, PG_UUID, f->ids_n);
        for (size_t i = 0; i < f->ids_n; i++)
            pg_uuid(p, &f->ids[i]);
    } else {
        pg_null(p);
    }
}

void look_payments(struct look *l, const struct uuid *client,
                   const struct find *find, look_rows_fn done, void *arg)
{
    struct one_list *one = NEW(struct one_list);
    struct pg_params *params = pg_params(l->pg);
    struct find_place before = place_before(find);

    *one = (struct one_list){done, arg, (size_t)find->limit};
    pg_uuid(params, client);
    pg_time(params, MAX(find->from_at, 1));
    pg_time(params, before.created_at);
    pg_uuid(params, &before.id);
    pg_int8(params, find->limit + 1);
    put_find(params, find);
    pg_send(l->pg, statement_for(find), params);
    pg_sync(l->pg, list_read, one);
}

/* --- events --- */

struct one_events {
    look_events_fn done;
    void *arg;
    size_t most;
};

#define VERSION_COLUMNS 11 /* in front of the payment's */

/* The payment as it was in the version of row @p row. */
static void read_version(const struct pg_result *r, size_t row,
                         struct payment *p)
{
    size_t c = 0;

    payment_row_read(r, row, VERSION_COLUMNS, p);
    p->version = (int)pg_get_int(r, row, c++);
    p->updated_at = pg_get_time(r, row, c++);
    p->state = (enum payment_state)pg_get_int(r, row, c++);
    p->waits = (enum payment_wait)pg_get_int(r, row, c++);
    p->attempt = (int)pg_get_int(r, row, c++);
    text_copy(p->code, sizeof(p->code), pg_get_text(r, row, c++, NULL));
    text_copy(p->text, sizeof(p->text), pg_get_text(r, row, c++, NULL));
    p->evidence = (enum evidence)pg_get_int(r, row, c++);
    text_copy(p->receipt, sizeof(p->receipt), pg_get_text(r, row, c++, NULL));
    p->class = (enum result_class)pg_get_int(r, row, c++);
    p->paid_at = pg_get_time(r, row, c++);
    must(c == VERSION_COLUMNS);
}

static void events_read(void *arg, struct pg_result *const *results, size_t n,
                        const struct err *err)
{
    struct one_events *one = arg;
    const struct pg_result *r = err ? NULL : results[0];
    struct payment *versions;
    size_t all = r ? pg_rows(r) : 0, some;

    (void)n;
    if (err || !all || pg_is_null(r, 0, 0)) {
        one->done(one->arg, all > 0, NULL, 0, false, err);
        free(one);
        return;
    }
    some = MIN(all, one->most);
    versions = must_alloc(some, sizeof(*versions));
    for (size_t i = 0; i < some; i++)
        read_version(r, i, &versions[i]);
    one->done(one->arg, true, versions, some, all > some, NULL);
    free(versions);
    free(one);
}

void look_events(struct look *l, const struct uuid *id,
                 const struct uuid *client, int after, look_events_fn done,
                 void *arg)
{
    struct one_events *one = NEW(struct one_events);
    struct pg_params *params = pg_params(l->pg);

    *one = (struct one_events){done, arg, (size_t)l->cfg->api_list_max};
    pg_uuid(params, id);
    pg_uuid(params, client);
    pg_int4(params, after);
    pg_int8(params, l->cfg->api_list_max + 1);
    pg_send(l->pg, LOOK_EVENTS, params);
    pg_sync(l->pg, events_read, one);
}

/* --- cancels --- */

struct one_ask {
    look_asked_fn done;
    void *arg;
};

static void asked(void *arg, struct pg_result *const *results, size_t n,
                  const struct err *err)
{
    struct one_ask *one = arg;

    (void)n;
    one->done(one->arg, !err && pg_get_bool(results[0], 0, 0), err);
    free(one);
}

void look_ask_cancel(struct look *l, const struct uuid *id,
                     const struct uuid *client, const char *text, int64_t most,
                     look_asked_fn done, void *arg)
{
    struct one_ask *one = NEW(struct one_ask);
    struct pg_params *params = pg_params(l->pg);

    *one = (struct one_ask){done, arg};
    pg_uuid(params, id);
    pg_uuid(params, client);
    pg_text(params, text);
    pg_int8(params, most);
    pg_send(l->pg, LOOK_ASK_CANCEL, params);
    pg_sync(l->pg, asked, one);
}

struct one_cancel {
    look_cancel_fn done;
    void *arg;
    int64_t tx;
};

static void cancel_looked(void *arg, struct pg_result *const *results, size_t n,
                          const struct err *err)
{
    struct one_cancel *one = arg;
    struct look_cancel c = {0};
    struct payment p;

    (void)n;
    if (err) {
        one->done(one->arg, NULL, err);
        free(one);
        return;
    }
    c.now_tx = pg_get_int(results[0], 0, 1);
    c.sure = pg_get_int(results[0], 0, 0) >= (one->tx ? one->tx : c.now_tx);
    c.open = pg_get_bool(results[0], 0, 2);
    if (!pg_is_null(results[0], 0, 3)) {
        payment_row_read(results[0], 0, 3, &p);
        c.payment = &p;
    }
    one->done(one->arg, &c, NULL);
    free(one);
}

void look_cancel(struct look *l, const struct uuid *id,
                 const struct uuid *client, int64_t tx, look_cancel_fn done,
                 void *arg)
{
    struct one_cancel *one = NEW(struct one_cancel);
    struct pg_params *params = pg_params(l->pg);

    *one = (struct one_cancel){done, arg, tx};
    pg_uuid(params, id);
    pg_uuid(params, client);
    pg_send(l->pg, LOOK_CANCEL, params);
    pg_sync(l->pg, cancel_looked, one);
}

bool look_up(const struct look *l, char *note, size_t size)
{
    return pg_up(l->pg, note, size);
}

int64_t look_latency_us(const struct look *l)
{
    return pg_latency_us(l->pg);
}
