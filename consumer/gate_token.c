/*
 * This process' copies of the fleet's access tokens, one per consumer key:
 * asked for in Postgres, fetched from the provider under a lease, then saved
 * for the others. What waits for a token simply is not sent.
 *
 *   look -> ask -> learn another worker's, or fetch -> save -> until refresh
 *
 * While Postgres is away the copy is used until it expires or is refused. A
 * token that was fetched but not saved is used here all the same: the one
 * before may be dead already, and the others learn of it once it is saved.
 */
#include "common/clock.h"
#include "common/json.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/must.h"
#include "common/sign.h"
#include "consumer/gate_priv.h"
#include "consumer/retry.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FETCH_BACKOFF_MIN_US US_PER_S
#define FETCH_BACKOFF_MAX_US (15 * US_PER_S)
/* Of the lease, so that an answer in time can be saved in time. */
#define FETCH_TIMEOUT_SHARE 0.8
#define LIFE_MIN_S 2
#define LIFE_MAX_S 86400
/* Refreshed at this share of its life, at most AHEAD before its end. */
#define REFRESH_SHARE 0.8
#define REFRESH_AHEAD_MAX_US (300 * US_PER_S)
/* How often it is looked whether another worker has fetched one, or Postgres
   is back. */
#define LOOK_US (250 * US_PER_MS)

_Static_assert(FETCH_BACKOFF_MAX_US <= TOKEN_WAIT_MAX_US, "as its header says");

struct tokens {
    struct loop *loop;
    struct calls *calls;
    const struct config *cfg;
    struct token_ledger *ledger;
    struct list items;
    void (*on_news)(void *arg);
    void *arg;
};

/** One consumer key's token. */
struct token {
    struct list node;
    struct tokens *tokens;
    const struct shortcode *of; /* the first shortcode with that key       */
    char value[TOKEN_MAX];      /* "" = none                               */
    int64_t version;
    int64_t refused;    /* no token up to this version is used any more    */
    int64_t made_us;    /* when it was fetched                             */
    int64_t expires_us; /* when the provider forgets it                    */
    int64_t refresh_us; /* when another one is asked for                   */
    int64_t latency_us; /* of the last fetch, -1 = none yet                */
    int64_t asked_us, lease, lease_end_us;
    int failures; /* of the fleet's fetches before this one, in a row      */
    bool asking, fetching, saving;
    bool unsaved;   /* fetched here, and not in Postgres yet                 */
    bool retired;   /* no shortcode has this key any more                    */
    char note[120]; /* why there is none */
    struct loop_timer timer;
};

bool token_good(const struct token *t)
{
    return *t->value && clock_now_us() < t->expires_us;
}

const char *token_value(const struct token *t, int64_t *ret_version)
{
    *ret_version = t->version;
    return token_good(t) ? t->value : NULL;
}

static void look_at(struct token *t, int64_t at_us)
{
    timer_set(t->tokens->loop, &t->timer, at_us);
}

static void drop(struct token *t, const char *why)
{
    sign_wipe(t->value, sizeof(t->value));
    text_copy(t->note, sizeof(t->note), why);
    t->unsaved = false;
}

/* --- saving --- */

static void saved(void *arg, bool ours, const struct err *err)
{
    struct token *t = arg;
    int64_t now = clock_now_us();

    t->saving = false;
    if (err) {
        log_warn("gate", "token_unsaved", KV_INT("shortcode", t->of->shortcode),
                 KV_ERR(err));
        look_at(t, now + LOOK_US);
        return;
    }
    t->unsaved = false;
    look_at(t, now);
    if (ours || t->version != t->lease)
        return;
    metric_add(M_TOKEN_OVERTAKEN, 1);
    log_warn("gate", "token_overtaken", KV_INT("shortcode", t->of->shortcode),
             KV_INT("version", t->version));
    drop(t, "another worker has fetched one meanwhile");
}

static void save(struct token *t)
{
    int64_t now = clock_now_us();
    struct token_row row = {
        .age_us = now - t->made_us,
        .refresh_us = t->refresh_us - now,
        .left_us = t->expires_us - now,
    };

    t->saving = true;
    text_copy(row.value, sizeof(row.value), t->value);
    token_ledger_save(t->tokens->ledger, t->of, t->lease, &row, saved, t);
    sign_wipe(row.value, sizeof(row.value));
}

/* --- fetching --- */

static void failed(struct token *t, const char *why)
{
    int64_t wait =
        retry_gap(t->failures, FETCH_BACKOFF_MIN_US, FETCH_BACKOFF_MAX_US);

    text_copy(t->note, sizeof(t->note), why);
    metric_add(M_TOKEN_FAILED, 1);
    log_warn("gate", "token_failed", KV_INT("shortcode", t->of->shortcode),
             KV("why", t->note), KV_INT("retry_ms", wait / US_PER_MS));
    token_ledger_fail(t->tokens->ledger, t->of, t->lease, wait, t->note);
    look_at(t, clock_now_us() + wait);
}

static void use(struct token *t, const char *value, int64_t version,
                int64_t made_us, int64_t refresh_us, int64_t expires_us)
{
    text_copy(t->value, sizeof(t->value), value);
    t->version = version;
    t->made_us = made_us;
    t->refresh_us = refresh_us;
    t->expires_us = expires_us;
    t->note[0] = '\0';
}

static void took(struct token *t, const char *value, int64_t life_s)
{
    int64_t now = clock_now_us(), life_us = life_s * US_PER_S;
    int64_t ahead = MIN((int64_t)((double)life_us * (1 - REFRESH_SHARE)),
                        REFRESH_AHEAD_MAX_US);

    metric_add(M_TOKEN_FETCHED, 1);
    log_info("gate", "token_fetched", KV_INT("shortcode", t->of->shortcode),
             KV_INT("version", t->lease), KV_INT("life_s", life_s));
    look_at(t, now);
    if (t->lease <= t->refused)
        return; /* somebody's newer one was refused meanwhile */
    use(t, value, t->lease, now, now + life_us - ahead, now + life_us);
    t->unsaved = true;
}

/* {"access_token":"...","expires_in":"3599"}; the number comes as text too. */
static void read_token(struct token *t, const struct call_result *r)
{
    CLEANUP(json_free)
    struct json *root = NULL;
    const char *value;
    int64_t life_s;
    struct err err;
    char why[64];

    if (r->status != 200) {
        snprintf(why, sizeof(why), "token endpoint answered %d", r->status);
        failed(t, why);
        return;
    }
    if (json_parse_tolerant(r->body, r->len, &root, &err)) {
        failed(t, "token endpoint's answer is no JSON");
        return;
    }
    value = json_text(json_get(root, "access_token"));
    if (!value || !*value || strlen(value) >= TOKEN_MAX ||
        strpbrk(value, "\r\n") ||
        !json_integer_or_text(json_get(root, "expires_in"), &life_s) ||
        life_s < LIFE_MIN_S || life_s > LIFE_MAX_S)
        failed(t, "token endpoint's answer holds no token");
    else
        took(t, value, life_s);
}

static void fetch_done(void *arg, const struct call_result *r)
{
    struct token *t = arg;

    t->fetching = false;
    t->latency_us = r->took_us;
    if (r->end == CALL_ANSWERED)
        read_token(t, r);
    else
        failed(t, r->err.text);
    t->tokens->on_news(t->tokens->arg);
}

/* A process that was stopped meanwhile must not kill the token of whoever took
   the lease after it. */
static bool still_ours(void *arg)
{
    const struct token *t = arg;

    return clock_now_us() < t->lease_end_us;
}

static void fetch(struct token *t)
{
    char url[GATE_URL_MAX], user[2 * SECRET_MAX + 2];
    double lease_ms = (double)t->tokens->cfg->token_lease_ms;
    struct err err;
    struct call_request req = {
        .url = url,
        .user_password = user,
        .total_timeout_ms = (int64_t)(lease_ms * FETCH_TIMEOUT_SHARE),
        .before = still_ours,
        .done = fetch_done,
        .arg = t,
    };

    snprintf(url, sizeof(url),
             "%s/oauth/v1/generate?grant_type=client_credentials",
             t->of->base_url);
    snprintf(user, sizeof(user), "%s:%s", t->of->consumer_key,
             t->of->consumer_secret);
    t->fetching = true;
    log_info("gate", "token_fetching", KV_INT("shortcode", t->of->shortcode),
             KV_INT("version", t->lease));
    if (call_start(t->tokens->calls, &req, &err)) {
        t->fetching = false;
        failed(t, err.text);
    }
    sign_wipe(user, sizeof(user));
}

/* --- asking --- */

static void learn(struct token *t, const struct token_row *row)
{
    int64_t at = t->asked_us; /* what is left, is left from then on at least */
    int64_t left_us = MIN(row->left_us, LIFE_MAX_S * US_PER_S);

    use(t, row->value, row->version, at - MAX(row->age_us, 0),
        at + MIN(row->refresh_us, left_us), at + left_us);
    metric_add(M_TOKEN_LEARNT, 1);
    log_info("gate", "token_learnt", KV_INT("shortcode", t->of->shortcode),
             KV_INT("version", t->version),
             KV_INT("left_s", left_us / US_PER_S));
    t->tokens->on_news(t->tokens->arg);
}

static bool is_news(const struct token *t, const struct token_row *row)
{
    return *row->value && row->left_us > 0 && row->version > t->version &&
           row->version > t->refused;
}

static void asked(void *arg, const struct token_row *row, const struct err *err)
{
    struct token *t = arg;
    int64_t now = clock_now_us();

    t->asking = false;
    if (err) {
        if (!token_good(t))
            text_copy(t->note, sizeof(t->note), err->text);
        look_at(t, now + LOOK_US);
        return;
    }
    if (is_news(t, row))
        learn(t, row);
    else if (!*row->value)
        t->refused = MAX(t->refused, row->version);
    if (row->lease) {
        t->lease = row->lease;
        t->lease_end_us =
            t->asked_us + t->tokens->cfg->token_lease_ms * US_PER_MS;
        t->failures = row->failures;
        fetch(t);
    } else {
        look_at(t, token_good(t) ? MAX(t->refresh_us, now + LOOK_US)
                                 : now + LOOK_US);
    }
}

static void look(void *arg)
{
    struct token *t = arg;
    int64_t now = clock_now_us();

    if (t->asking || t->fetching || t->saving || t->retired)
        return; /* its end looks again */
    if (!t->unsaved && token_good(t) && now < t->refresh_us) {
        look_at(t, t->refresh_us);
    } else if (!token_ledger_up(t->tokens->ledger)) {
        look_at(t, now + LOOK_US);
    } else if (t->unsaved) {
        save(t);
    } else {
        t->asking = true;
        t->asked_us = now;
        token_ledger_ask(t->tokens->ledger, t->of, t->refused, asked, t);
    }
}

/* --- refused --- */

void token_is_refused(struct token *t, int64_t version)
{
    t->refused = MAX(t->refused, version);
    if (t->version > version || !*t->value)
        return;
    log_warn("gate", "token_refused", KV_INT("shortcode", t->of->shortcode),
             KV_INT("version", t->version));
    drop(t, "token was refused");
    look_at(t, clock_now_us());
}

/* --- life --- */

static bool same_key(const struct shortcode *a, const struct shortcode *b)
{
    return strcmp(a->consumer_key, b->consumer_key) == 0 &&
           strcmp(a->base_url, b->base_url) == 0;
}

static struct token *next_token(const struct tokens *ts,
                                const struct list *after)
{
    return after->next == &ts->items
               ? NULL
               : container_of(after->next, struct token, node);
}

#define FOR_EACH(t, ts)                                       \
    for (struct token *t = next_token((ts), &(ts)->items); t; \
         t = next_token((ts), &t->node))

static struct token *find(const struct tokens *ts, const struct shortcode *sc)
{
    FOR_EACH(t, ts)
    if (same_key(t->of, sc))
        return t;
    return NULL;
}

static void add(struct tokens *ts, const struct shortcode *sc)
{
    struct token *t = NEW(struct token);

    t->of = sc;
    t->tokens = ts;
    t->latency_us = -1;
    text_copy(t->note, sizeof(t->note), "no token yet");
    timer_init(&t->timer, look, t);
    list_append(&ts->items, &t->node);
    look_at(t, clock_now_us());
}

static void take_settings(struct tokens *ts)
{
    FOR_EACH(t, ts)
    t->retired = true;
    for (size_t i = 0; i < ts->cfg->shortcodes_n; i++) {
        const struct shortcode *sc = &ts->cfg->shortcodes[i];
        struct token *t = find(ts, sc);

        if (!t)
            add(ts, sc);
        else if (t->retired)
            t->of = sc; /* its secret may be another one */
        if (t)
            t->retired = false;
    }
}

void tokens_renewed(struct tokens *ts)
{
    take_settings(ts);
    FOR_EACH(t, ts)
    look_at(t, clock_now_us());
}

static void on_ledger(void *arg, bool up)
{
    struct tokens *ts = arg;

    if (!up)
        return;
    FOR_EACH(t, ts)
    look_at(t, clock_now_us());
}

struct tokens *tokens_new(struct loop *loop, const struct config *cfg,
                          struct calls *calls, void (*on_news)(void *arg),
                          void *arg)
{
    struct tokens *ts = NEW(struct tokens);

    ts->loop = loop;
    ts->calls = calls;
    ts->cfg = cfg;
    ts->on_news = on_news;
    ts->arg = arg;
    list_init(&ts->items);
    ts->ledger = token_ledger_new(loop, cfg, on_ledger, ts);
    take_settings(ts);
    return ts;
}

void tokens_free(struct tokens *ts)
{
    struct list *n;

    if (!ts)
        return;
    token_ledger_free(ts->ledger);
    while ((n = list_shift(&ts->items))) {
        struct token *t = container_of(n, struct token, node);

        timer_cancel(ts->loop, &t->timer);
        sign_wipe(t->value, sizeof(t->value));
        free(t);
    }
    free(ts);
}

struct token *tokens_of(struct tokens *ts, const struct shortcode *sc)
{
    struct token *t = find(ts, sc);

    must(t);
    return t;
}

/* --- what is seen of it --- */

void tokens_count(const struct tokens *ts)
{
    int64_t now = clock_now_us(), age_us = 0, left_us = INT64_MAX;

    FOR_EACH(t, ts)
    {
        bool good = token_good(t);

        if (t->retired)
            continue;
        age_us = MAX(age_us, good ? now - t->made_us : 0);
        left_us = MIN(left_us, good ? t->expires_us - now : 0);
    }
    metric_set(M_TOKEN_AGE, age_us / US_PER_S);
    metric_set(M_TOKEN_LEFT, left_us == INT64_MAX ? 0 : left_us / US_PER_S);
}

static void write_note(const struct token *t, char *out, size_t size)
{
    int64_t now = clock_now_us();

    if (token_good(t))
        snprintf(out, size, "shortcode %lld: token %lld s old, good for %lld s",
                 (long long)t->of->shortcode,
                 (long long)((now - t->made_us) / US_PER_S),
                 (long long)((t->expires_us - now) / US_PER_S));
    else
        snprintf(out, size, "shortcode %lld: %s", (long long)t->of->shortcode,
                 *t->note ? t->note : "token has expired");
}

size_t tokens_health(const struct tokens *ts, struct health *rows, size_t max)
{
    size_t n = 0;

    FOR_EACH(t, ts)
    {
        if (n == max)
            break;
        if (t->retired)
            continue;
        rows[n] = (struct health){
            .name = "daraja",
            .ok = token_good(t),
            .latency_us = t->latency_us,
        };
        write_note(t, rows[n].note, sizeof(rows[n].note));
        n++;
    }
    return n;
}
