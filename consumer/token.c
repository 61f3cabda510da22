/*
 * Three statements about a row. Asking is one unit: the row is made where it is
 * missing, leased where it may be, and read after that.
 *
 * After a token was saved there is no other lease for a second, and, while
 * young tokens are refused one after the other, for longer and longer: a
 * gateway that refuses whatever it gives out is not asked in a storm.
 */
#include "consumer/token.h"

#include "common/clock.h"
#include "common/list.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/must.h"
#include "common/pg.h"
#include "common/seal.h"
#include "common/sign.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define UNITS_MAX 64 /* an ask and a save per consumer key; more come again */
#define NAME_MAX_ 8192
#define US " * interval '1 us'"
#define CHURN_AGE "interval '1 min'" /* refused before it is so old: young   */
#define CHURN_MAX "4"                /* 1, 2, 4, 8, 16 s                     */

enum { Q_MAKE, Q_LEASE, Q_READ, Q_SAVE, Q_FAIL };

static const char *const session[] = {
    "SET jit = off",
    "SET lock_timeout = '2s'",
    "SET statement_timeout = '5s'",
    "SET client_connection_check_interval = '500ms'",
    NULL,
};

/* $1 consumer, $2 refused version, $3 the lease's length, $4 the longest time
   that anybody may ask for: what lies beyond it is of a clock that stepped. */
static const char lease_sql[] =
    "UPDATE tokens SET "
    "lease = greatest(lease + 1, $2::int8 + 1, "
    "extract(epoch FROM now())::int8), "
    "leased_until = now() + $3::int8" US ", "
    "churn = CASE WHEN sealed IS NOT NULL AND version <= $2::int8 "
    "AND fetched_at > now() - " CHURN_AGE " "
    "THEN least(churn + 1, " CHURN_MAX ") ELSE 0 END "
    "WHERE consumer = $1::bytea AND (leased_until <= now() "
    "OR leased_until > now() + $4::int8" US
    ") AND (sealed IS NULL OR version <= $2::int8 OR refresh_at <= now()) "
    "RETURNING lease";

#define US_OF(interval) "(extract(epoch FROM " interval ") * 1000000)::int8"

enum { R_VERSION, R_SEALED, R_AGE, R_REFRESH, R_LEFT, R_FAILURES };

static const char read_sql[] =
    "SELECT version, sealed, " US_OF("now() - fetched_at") ", " /* R_AGE */
    US_OF("refresh_at - now()") ", " US_OF(
        "expires_at - now()") ", "
                              "failures FROM tokens WHERE consumer = $1::bytea";

/* $2 lease, $3 sealed, $4 age, $5 until refresh, $6 left. */
static const char save_sql[] =
    "UPDATE tokens SET version = lease, sealed = $3::bytea, "
    "fetched_at = now() - $4::int8" US ", refresh_at = now() + $5::int8" US ", "
    "expires_at = now() + $6::int8" US ", failures = 0, last_error = NULL, "
    "leased_until = now() + (1 << churn) * interval '1 s' "
    "WHERE consumer = $1::bytea AND lease = $2::int8";

/* $2 lease, $3 wait, $4 why. */
static const char fail_sql[] =
    "UPDATE tokens SET leased_until = now() + $3::int8" US ", "
    "failures = least(failures + 1, 100), last_error = $4::text "
    "WHERE consumer = $1::bytea AND lease = $2::int8";

static const struct pg_statement statements[] = {
    [Q_MAKE] = {"token_make", "INSERT INTO tokens (consumer) VALUES ($1::bytea)"
                              " ON CONFLICT DO NOTHING"},
    [Q_LEASE] = {"token_lease", lease_sql},
    [Q_READ] = {"token_read", read_sql},
    [Q_SAVE] = {"token_save", save_sql},
    [Q_FAIL] = {"token_fail", fail_sql},
};

struct token_ledger {
    const struct config *cfg;
    struct pg *pg;
    struct list errands;
    void (*on_state)(void *arg, bool up);
    void *arg;
};

/* A question or a save that is under way. */
struct errand {
    struct list node; /* in the ledger's, until its end */
    struct token_ledger *ledger;
    const struct shortcode *sc;
    token_asked_fn asked;
    token_saved_fn saved;
    void *arg;
};

static struct errand *errand_new(struct token_ledger *l,
                                 const struct shortcode *sc, void *arg)
{
    struct errand *e = NEW(struct errand);

    e->ledger = l;
    e->sc = sc;
    e->arg = arg;
    list_append(&l->errands, &e->node);
    return e;
}

static void errand_free(struct errand *e)
{
    list_remove(&e->node);
    free(e);
}

/* --- names and seals --- */

static struct pg_params *row_params(struct token_ledger *l,
                                    const struct shortcode *sc)
{
    struct pg_params *p = pg_params(l->pg);
    uint8_t id[SHA256_SIZE];
    char name[NAME_MAX_];
    int n =
        snprintf(name, sizeof(name), "%s\n%s", sc->base_url, sc->consumer_key);

    must(n > 0 && (size_t)n < sizeof(name));
    sign_sha256(name, (size_t)n, id);
    sign_wipe(name, sizeof(name));
    pg_bytes(p, id, sizeof(id));
    return p;
}

static void make_key(const struct token_ledger *l, const struct shortcode *sc,
                     uint8_t out[SEAL_KEY_SIZE])
{
    const char *own = l->cfg->token_key;

    seal_key(*own ? own : sc->consumer_secret, "foleni access token", out);
}

/* A row's token opens as that of its key and version only. */
static void make_context(const struct shortcode *sc, int64_t version,
                         char out[NAME_MAX_])
{
    int n = snprintf(out, NAME_MAX_, "%s\n%s\n%lld", sc->base_url,
                     sc->consumer_key, (long long)version);

    must(n > 0 && n < NAME_MAX_);
}

static void open_value(const struct errand *e, const struct pg_result *r,
                       struct token_row *row)
{
    uint8_t key[SEAL_KEY_SIZE];
    char context[NAME_MAX_];
    size_t len;
    const char *sealed = pg_get_text(r, 0, R_SEALED, &len);

    make_key(e->ledger, e->sc, key);
    make_context(e->sc, row->version, context);
    if (!seal_open(key, context, sealed, len, row->value, sizeof(row->value)))
        row->value[0] = '\0';
    sign_wipe(key, sizeof(key));
    if (*row->value)
        return;
    metric_add(M_TOKEN_UNREADABLE, 1);
    log_warn("gate", "token_unreadable", KV_INT("shortcode", e->sc->shortcode),
             KV_INT("version", row->version),
             KV("why", "torn, or sealed with another key: it is fetched anew"));
}

/* --- asking --- */

static void asked(void *arg, struct pg_result *const *results, size_t n,
                  const struct err *err)
{
    struct errand *e = arg;
    struct token_row row = {0};
    const struct pg_result *r;

    if (!err) {
        must(n == 3);
        r = results[2];
        if (pg_rows(results[1]))
            row.lease = pg_get_int(results[1], 0, 0);
        if (pg_rows(r)) {
            row.version = pg_get_int(r, 0, R_VERSION);
            row.age_us = pg_get_int(r, 0, R_AGE);
            row.refresh_us = pg_get_int(r, 0, R_REFRESH);
            row.left_us = pg_get_int(r, 0, R_LEFT);
            row.failures = (int)pg_get_int(r, 0, R_FAILURES);
            if (!pg_is_null(r, 0, R_SEALED))
                open_value(e, r, &row);
        }
    }
    e->asked(e->arg, &row, err);
    sign_wipe(row.value, sizeof(row.value));
    errand_free(e);
}

void token_ledger_ask(struct token_ledger *l, const struct shortcode *sc,
                      int64_t refused, token_asked_fn done, void *arg)
{
    struct errand *e = errand_new(l, sc, arg);
    struct pg_params *p = row_params(l, sc);
    int64_t lease_us = l->cfg->token_lease_ms * US_PER_MS;

    e->asked = done;
    pg_send(l->pg, Q_MAKE, p);
    pg_int8(p, refused);
    pg_int8(p, lease_us);
    pg_int8(p, MAX(lease_us, TOKEN_WAIT_MAX_US));
    pg_send(l->pg, Q_LEASE, p);
    pg_keep(p, 1);
    pg_send(l->pg, Q_READ, p);
    pg_sync(l->pg, asked, e);
}

/* --- saving --- */

static void saved(void *arg, struct pg_result *const *results, size_t n,
                  const struct err *err)
{
    struct errand *e = arg;

    (void)n;
    e->saved(e->arg, !err && pg_changed(results[0]) == 1, err);
    errand_free(e);
}

void token_ledger_save(struct token_ledger *l, const struct shortcode *sc,
                       int64_t lease, const struct token_row *row,
                       token_saved_fn done, void *arg)
{
    struct errand *e = errand_new(l, sc, arg);
    struct pg_params *p = row_params(l, sc);
    uint8_t key[SEAL_KEY_SIZE], sealed[TOKEN_MAX + SEAL_EXTRA];
    char context[NAME_MAX_];
    size_t len = strlen(row->value);

    e->saved = done;
    make_key(l, sc, key);
    make_context(sc, lease, context);
    seal(key, context, row->value, len, sealed);
    sign_wipe(key, sizeof(key));
    pg_int8(p, lease);
    pg_bytes(p, sealed, len + SEAL_EXTRA);
    pg_int8(p, row->age_us);
    pg_int8(p, row->refresh_us);
    pg_int8(p, row->left_us);
    pg_send(l->pg, Q_SAVE, p);
    pg_sync(l->pg, saved, e);
}

static void failed(void *arg, struct pg_result *const *results, size_t n,
                   const struct err *err)
{
    (void)arg, (void)results, (void)n, (void)err; /* the lease ends by itself */
}

void token_ledger_fail(struct token_ledger *l, const struct shortcode *sc,
                       int64_t lease, int64_t wait_us, const char *why)
{
    struct pg_params *p = row_params(l, sc);

    pg_int8(p, lease);
    pg_int8(p, wait_us);
    pg_text(p, why);
    pg_send(l->pg, Q_FAIL, p);
    pg_sync(l->pg, failed, l);
}

/* --- life --- */

static void on_state(void *arg, bool up)
{
    const struct token_ledger *l = arg;

    l->on_state(l->arg, up);
}

struct token_ledger *token_ledger_new(struct loop *loop,
                                      const struct config *cfg,
                                      void (*state)(void *arg, bool up),
                                      void *arg)
{
    struct token_ledger *l = NEW(struct token_ledger);
    struct pg_spec spec = {
        .conninfo = cfg->database_conninfo,
        .password = cfg->database_password,
        .application_name = "foleni-worker token",
        .statements = statements,
        .statements_n = ARRAY_LEN(statements),
        .units_max = UNITS_MAX,
        .session = session,
        .on_state = on_state,
        .arg = l,
    };

    list_init(&l->errands);
    l->cfg = cfg;
    l->on_state = state;
    l->arg = arg;
    l->pg = pg_new(loop, &spec);
    return l;
}

void token_ledger_free(struct token_ledger *l)
{
    if (!l)
        return;
    pg_free(l->pg);
    while (!list_empty(&l->errands))
        errand_free(container_of(l->errands.next, struct errand, node));
    free(l);
}

bool token_ledger_up(const struct token_ledger *l)
{
    return pg_up(l->pg, NULL, 0);
}
