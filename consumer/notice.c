/*
 * The room's connection, and the calls around its statements: put, scan,
 * settle, purge, census. Which statement does what is notice_sql.c's, what a
 * look means notice_judge.c's.
 *
 * A scan is one unit, what it settles another. Both commit without waiting for
 * the disk: what a crash forgets is looked at and settled once more.
 */
#include "consumer/notice.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/must.h"
#include "consumer/notice_priv.h"

#include <stdlib.h>
#include <string.h>

#define UNITS_MAX 64
#define CENSUS_US (10 * US_PER_S)
#define CENSUS_ROWS_MAX 10000
#define PURGE_ROWS_MAX 1000
#define AGAIN_MAX 500 /* remembered; the others have their own next look */

struct notice {
    struct loop *loop;
    const struct config *cfg;
    struct notice_spec spec;
    struct pg *pg;
    struct loop_timer scan, census;
    bool scanning, counting;
    size_t max; /* notices of one scan */
    struct notice_look *looks;
    struct notice_act *acts;
    int64_t again[AGAIN_MAX];
    size_t again_n;
};

bool notice_up(const struct notice *n)
{
    return pg_up(n->pg, NULL, 0);
}

static void nothing(void *arg, struct pg_result *const *results, size_t n,
                    const struct err *err)
{
    (void)arg, (void)results, (void)n, (void)err; /* done again if lost */
}

#define PUT(p, type, n, put)             \
    do {                                 \
        pg_array((p), (type), (n));      \
        for (size_t i = 0; i < (n); i++) \
            put;                         \
    } while (0)

/* --- put --- */

struct put {
    notice_put_fn done;
    void *arg;
};

static void stored(void *arg, struct pg_result *const *results, size_t n,
                   const struct err *err)
{
    struct put *put = arg;

    must(err || n == 1);
    put->done(put->arg, err ? 0 : pg_changed(results[0]), err);
    free(put);
}

static const struct shortcode *shortcode_of(const struct config *cfg,
                                            int64_t number)
{
    for (size_t i = 0; i < cfg->shortcodes_n; i++)
        if (cfg->shortcodes[i].shortcode == number ||
            cfg->shortcodes[i].party_b == number)
            return &cfg->shortcodes[i];
    return NULL;
}

/* A till's records may come under the till's number or its store's. */
static int32_t shortcode_as_pushed(const struct config *cfg, int64_t number)
{
    const struct shortcode *s = shortcode_of(cfg, number);

    return (int32_t)(s ? s->shortcode : number);
}

/* Tills have no account number: null, and it is not looked at. */
static void put_reference(struct pg_params *p, const struct config *cfg,
                          const struct notice_record *r)
{
    const struct shortcode *s = shortcode_of(cfg, r->shortcode);
    bool till = s && !strcmp(s->transaction_type, "CustomerBuyGoodsOnline");

    pg_text(p, till ? NULL : r->reference);
}

static void put_phone(struct pg_params *p, const char *as_given)
{
    char phone[NOTICE_PHONE_MAX + 1];

    notice_phone(as_given, phone);
    pg_text(p, phone);
}

/* Beyond what a payment can be, it fits none. */
static int32_t amount_of(const struct notice_record *r)
{
    return r->amount > 0 && r->amount <= AMOUNT_MAX ? (int32_t)r->amount : 0;
}

void notice_put(struct notice *notice, const struct notice_record *rs, size_t n,
                notice_put_fn done, void *arg)
{
    struct pg_params *p = pg_params(notice->pg);
    struct put *put = NEW(struct put);

    must(n > 0);
    *put = (struct put){done, arg};
    PUT(p, PG_INT2, n, pg_int2(p, (int16_t)rs[i].source));
    PUT(p, PG_TEXT, n, pg_text(p, rs[i].receipt));
    PUT(p, PG_INT4, n,
        pg_int4(p, shortcode_as_pushed(notice->cfg, rs[i].shortcode)));
    PUT(p, PG_TEXT, n, put_phone(p, rs[i].phone));
    PUT(p, PG_INT4, n, pg_int4(p, amount_of(&rs[i])));
    PUT(p, PG_TEXT, n, put_reference(p, notice->cfg, &rs[i]));
    PUT(p, PG_TIMESTAMPTZ, n, pg_time(p, rs[i].paid_at));
    PUT(p, PG_BYTEA, n, pg_bytes(p, rs[i].body, rs[i].body_len));
    pg_int8(p, notice->cfg->notices_first_look_ms * US_PER_MS);
    pg_send(notice->pg, NOTICE_SQL_PUT, p);
    pg_sync(notice->pg, stored, put);
}

/* --- scan --- */

enum {
    C_ID,
    C_SOURCE,
    C_DISPOSITION,
    C_RECEIPT,
    C_PAID_AT,
    C_OVER,
    C_HOLDER,
    C_HOLDER_ATTEMPT,
    C_HOLDER_EVIDENCE,
    C_HOLDER_FITS,
    C_RIVAL,
    C_RIVAL_ATTEMPT,
    C_FIT,
    C_FIT_ATTEMPT,
    C_FIT_N,
    C_UNDER_WAY,
    C_PAYMENT,
    C_ATTEMPT,
    C_VERSION,
    C_DECISION,
    C_WHY,
    C_SEEN_SO,
    C_RESOLVED,
    C_GONE,
    C_OWNED,
    C_DENIED,
    C_REPLAY,
    C_GIVE_MS,
    C_ORDERED_AGAIN
};

/* A payment and, in the next column, its attempt. */
static void read_place(const struct pg_result *r, size_t row, size_t col,
                       struct notice_place *ret)
{
    ret->there = !pg_is_null(r, row, col);
    if (!ret->there)
        return;
    ret->payment = pg_get_uuid(r, row, col);
    ret->attempt = (int)pg_get_int(r, row, col + 1);
}

static void read_record(const struct pg_result *r, size_t row,
                        struct notice_look *l)
{
    read_place(r, row, C_HOLDER, &l->holder);
    l->holder.evidence = (enum evidence)pg_get_int(r, row, C_HOLDER_EVIDENCE);
    l->holder.fits = pg_get_bool(r, row, C_HOLDER_FITS);
    read_place(r, row, C_RIVAL, &l->rival);
    read_place(r, row, C_FIT, &l->open);
    l->open_n = (int)pg_get_int(r, row, C_FIT_N);
    l->under_way = pg_get_bool(r, row, C_UNDER_WAY);
    l->denied = pg_get_bool(r, row, C_DENIED);
    l->over = pg_get_bool(r, row, C_OVER);
}

static void read_decision(const struct pg_result *r, size_t row,
                          struct notice_look *l)
{
    l->payment = pg_get_uuid(r, row, C_PAYMENT);
    l->attempt = (int)pg_get_int(r, row, C_ATTEMPT);
    l->version = (int)pg_get_int(r, row, C_VERSION);
    l->decision = (enum resolution)pg_get_int(r, row, C_DECISION);
    text_copy(l->why, sizeof(l->why), pg_get_text(r, row, C_WHY, NULL));
    l->seen_so = pg_get_bool(r, row, C_SEEN_SO);
    l->resolved = pg_get_bool(r, row, C_RESOLVED);
    l->gone = pg_get_bool(r, row, C_GONE);
    l->owned = pg_get_bool(r, row, C_OWNED);
    l->replay.id = pg_get_int(r, row, C_REPLAY);
    l->replay.give_us = pg_get_int(r, row, C_GIVE_MS) * US_PER_MS;
    l->ordered_again = pg_get_bool(r, row, C_ORDERED_AGAIN);
}

static void read_look(const struct pg_result *r, size_t row,
                      struct notice_look *l)
{
    memset(l, 0, sizeof(*l));
    l->id = pg_get_int(r, row, C_ID);
    l->source = (enum evidence)pg_get_int(r, row, C_SOURCE);
    l->disposition = (enum notice_disposition)pg_get_int(r, row, C_DISPOSITION);
    text_copy(l->receipt, sizeof(l->receipt),
              pg_get_text(r, row, C_RECEIPT, NULL));
    l->paid_at = pg_get_time(r, row, C_PAID_AT);
    if (l->source == EVIDENCE_PERSON)
        read_decision(r, row, l);
    else
        read_record(r, row, l);
}

static void hand_out(struct notice *n, const struct notice_look *l,
                     const struct notice_act *a)
{
    struct notice_finding f = {
        .notice = l->id,
        .means = a->means,
        .payment = a->payment,
        .attempt = a->attempt,
        .version = a->means == NOTICE_DECISION ? l->version : 0,
        .source = a->means == NOTICE_TAKEN ? a->stronger : l->source,
        .decision = l->decision,
        .replay = l->replay,
        .force = l->gone,
        .paid_at = l->paid_at,
    };

    text_copy(f.receipt, sizeof(f.receipt), l->receipt);
    text_copy(f.why, sizeof(f.why), l->why);
    metric_add(M_NOTICE_FOUND, 1);
    log_info("notice", "found", KV_INT("notice", l->id),
             KV("source", evidence_name(l->source)),
             KV_ID("payment", &f.payment), KV_INT("attempt", f.attempt),
             KV("receipt", f.receipt));
    n->spec.on_finding(n->spec.arg, &f);
}

static void log_settled(const struct notice_look *l, const struct notice_act *a)
{
    static const char *const names[] = {
        [NOTICE_OPEN] = "open",           [NOTICE_APPLIED] = "applied",
        [NOTICE_KNOWN] = "known",         [NOTICE_UNMATCHED] = "unmatched",
        [NOTICE_AMBIGUOUS] = "ambiguous", [NOTICE_REFUSED] = "refused",
    };

    log_info("notice", names[a->disposition], KV_INT("notice", l->id),
             KV("source", evidence_name(l->source)), KV("receipt", l->receipt),
             KV("why", a->why ? a->why : ""));
    if (!a->denied)
        return;
    metric_add(M_ALARM_DENIED, 1);
    log_error("notice", "receipt_contradicted", KV_INT("notice", l->id),
              KV("source", evidence_name(l->source)),
              KV("receipt", l->receipt));
}

/* Which of the looks got an act of @p kind. */
static size_t pick(struct notice *n, size_t rows, enum notice_act_kind kind,
                   size_t *which)
{
    size_t picked = 0;

    for (size_t i = 0; i < rows; i++)
        if (n->acts[i].kind == kind)
            which[picked++] = i;
    return picked;
}

static void put_payment(struct pg_params *p, const struct notice_act *a)
{
    if (a->attempt)
        pg_uuid(p, &a->payment);
    else
        pg_null(p);
}

static void put_attempt(struct pg_params *p, const struct notice_act *a)
{
    if (a->attempt)
        pg_int4(p, a->attempt);
    else
        pg_null(p);
}

#define LOOK(i) (&n->looks[which[i]])
#define ACT(i) (&n->acts[which[i]])

static void send_settled(struct notice *n, const size_t *which, size_t rows)
{
    struct pg_params *p = pg_params(n->pg);

    PUT(p, PG_INT8, rows, pg_int8(p, LOOK(i)->id));
    PUT(p, PG_INT2, rows, pg_int2(p, (int16_t)ACT(i)->disposition));
    PUT(p, PG_UUID, rows, put_payment(p, ACT(i)));
    PUT(p, PG_INT4, rows, put_attempt(p, ACT(i)));
    PUT(p, PG_BOOL, rows, pg_bool(p, ACT(i)->closed));
    PUT(p, PG_TEXT, rows, pg_text(p, ACT(i)->why));
    PUT(p, PG_BOOL, rows, pg_bool(p, ACT(i)->denied));
    pg_send(n->pg, NOTICE_SQL_SETTLE, p);
    for (size_t i = 0; i < rows; i++)
        log_settled(LOOK(i), ACT(i));
}

static void send_forgotten(struct notice *n, const size_t *which, size_t rows)
{
    struct pg_params *p = pg_params(n->pg);

    PUT(p, PG_INT8, rows, pg_int8(p, LOOK(i)->id));
    pg_send(n->pg, NOTICE_SQL_FORGET, p);
    metric_add(M_NOTICE_KNOWN, rows);
}

/* What needs no flow is settled here, each kind in a unit. */
static void settle(struct notice *n, size_t rows)
{
    static const struct {
        enum notice_act_kind kind;
        void (*send)(struct notice *n, const size_t *which, size_t rows);
    } kinds[] = {
        {NOTICE_SETTLE, send_settled},
        {NOTICE_FORGET, send_forgotten},
    };
    size_t *which = must_alloc(MAX(rows, 1), sizeof(*which));

    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        size_t picked = pick(n, rows, kinds[i].kind, which);

        if (!picked)
            continue;
        pg_send(n->pg, NOTICE_SQL_LAZY, NULL);
        kinds[i].send(n, which, picked);
        pg_sync(n->pg, nothing, n);
    }
    free(which);
}

static void scanned(void *arg, struct pg_result *const *results, size_t n_res,
                    const struct err *err)
{
    struct notice *n = arg;
    size_t rows;

    n->scanning = false;
    if (err) {
        log_debug("notice", "scan_failed", KV_ERR(err));
        return;
    }
    must(n_res == 2);
    rows = MIN(pg_rows(results[1]), n->max);
    for (size_t i = 0; i < rows; i++) {
        read_look(results[1], i, &n->looks[i]);
        notice_judge(&n->looks[i], &n->acts[i]);
    }
    settle(n, rows);
    for (size_t i = 0; i < rows; i++)
        if (n->acts[i].kind == NOTICE_FIND)
            hand_out(n, &n->looks[i], &n->acts[i]);
    if (rows == n->max)
        timer_set(n->loop, &n->scan, clock_now_us());
}

static void send_again(struct notice *n)
{
    struct pg_params *p = pg_params(n->pg);

    PUT(p, PG_INT8, n->again_n, pg_int8(p, n->again[i]));
    pg_send(n->pg, NOTICE_SQL_AGAIN, p);
    pg_sync(n->pg, nothing, n); /* lost: each has its own next look */
    n->again_n = 0;
}

static void scan(void *arg)
{
    struct notice *n = arg;
    const struct config *cfg = n->cfg;
    struct pg_params *p;

    timer_set(n->loop, &n->scan,
              clock_now_us() + cfg->notices_scan_ms * US_PER_MS);
    if (n->scanning || !notice_up(n) || !n->spec.wanted(n->spec.arg))
        return;
    if (n->again_n)
        send_again(n);
    n->scanning = true;
    pg_send(n->pg, NOTICE_SQL_LAZY, NULL);
    p = pg_params(n->pg);
    pg_int8(p, (int64_t)n->max);
    pg_int8(p, cfg->notices_first_look_ms * US_PER_MS);
    pg_int8(p, cfg->notices_window_ms * US_PER_MS);
    pg_int8(p, cfg->worker_heartbeat_dead_ms * US_PER_MS);
    pg_send(n->pg, NOTICE_SQL_TAKE, p);
    pg_sync(n->pg, scanned, n);
}

static void send_refused(struct notice *n, int64_t id, const char *why)
{
    struct pg_params *p = pg_params(n->pg);

    PUT(p, PG_INT8, (size_t)1, pg_int8(p, id));
    PUT(p, PG_INT2, (size_t)1, pg_int2(p, NOTICE_REFUSED));
    PUT(p, PG_UUID, (size_t)1, pg_null(p));
    PUT(p, PG_INT4, (size_t)1, pg_null(p));
    PUT(p, PG_BOOL, (size_t)1, pg_bool(p, true));
    PUT(p, PG_TEXT, (size_t)1, pg_text(p, why));
    PUT(p, PG_BOOL, (size_t)1, pg_bool(p, false));
    pg_send(n->pg, NOTICE_SQL_SETTLE, p);
    pg_sync(n->pg, nothing, n);
}

void notice_decided(struct notice *n, int64_t id, const char *refused)
{
    if (refused)
        send_refused(n, id, refused);
    else if (n->again_n < AGAIN_MAX)
        n->again[n->again_n++] = id;
}

/* --- census and purge --- */

static void counted(void *arg, struct pg_result *const *results, size_t n_res,
                    const struct err *err)
{
    struct notice *n = arg;
    int64_t counts[NOTICE_REFUSED + 1] = {0};

    n->counting = false;
    if (err)
        return;
    must(n_res == 3);
    for (size_t i = 0; i < pg_rows(results[2]); i++) {
        int64_t what = pg_get_int(results[2], i, 0);
        int64_t rows = pg_get_int(results[2], i, 1);

        if (what < 0)
            metric_set(M_ALARMS_OPEN, rows);
        else if (what <= NOTICE_REFUSED)
            counts[what] = rows;
    }
    metric_set(M_NOTICES_OPEN, counts[NOTICE_OPEN]);
    metric_set(M_NOTICES_UNMATCHED, counts[NOTICE_UNMATCHED]);
    metric_set(M_NOTICES_AMBIGUOUS, counts[NOTICE_AMBIGUOUS]);
}

static void census(void *arg)
{
    struct notice *n = arg;
    struct pg_params *p;

    timer_set(n->loop, &n->census, clock_now_us() + CENSUS_US);
    if (n->counting || !notice_up(n))
        return;
    n->counting = true;
    pg_send(n->pg, NOTICE_SQL_LAZY, NULL);
    p = pg_params(n->pg);
    pg_int8(p, n->cfg->notices_keep_h * 3600 * US_PER_S);
    pg_int8(p, PURGE_ROWS_MAX);
    pg_send(n->pg, NOTICE_SQL_PURGE, p);
    p = pg_params(n->pg);
    pg_int8(p, CENSUS_ROWS_MAX);
    pg_send(n->pg, NOTICE_SQL_CENSUS, p);
    pg_sync(n->pg, counted, n);
}

/* --- life --- */

static void on_state(void *arg, bool up)
{
    struct notice *n = arg;

    n->scanning = n->counting = false;
    if (up)
        census(n);
}

struct notice *notice_new(struct loop *loop, const struct config *cfg,
                          const struct notice_spec *spec)
{
    struct notice *n = NEW(struct notice);
    struct pg_spec pg = {
        .conninfo = cfg->database_conninfo,
        .password = cfg->database_password,
        .application_name = "foleni-worker notices",
        .statements = notice_statements,
        .statements_n = NOTICE_SQL_N,
        .units_max = UNITS_MAX,
        .session = pg_pinned_session,
        .on_state = on_state,
        .arg = n,
    };

    n->loop = loop;
    n->cfg = cfg;
    n->spec = *spec;
    n->max = (size_t)cfg->worker_batch_max;
    n->looks = must_alloc(n->max, sizeof(*n->looks));
    n->acts = must_alloc(n->max, sizeof(*n->acts));
    timer_init(&n->scan, scan, n);
    timer_init(&n->census, census, n);
    n->pg = pg_new(loop, &pg);
    scan(n);
    return n;
}

void notice_free(struct notice *n)
{
    if (!n)
        return;
    timer_cancel(n->loop, &n->scan);
    timer_cancel(n->loop, &n->census);
    pg_free(n->pg);
    free(n->looks);
    free(n->acts);
    free(n);
}
