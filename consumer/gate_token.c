/*
 * Access tokens: one per consumer key, fetched ahead of its expiry, one request
 * in flight, backed off while the endpoint fails. A failed fetch concerns no
 * payment: what waits for the token simply is not sent.
 *
 * Daraja kills the old token when a new one is made, so nothing here asks for a
 * second one without need.
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

#define FETCH_TIMEOUT_MS 10000
#define FETCH_BACKOFF_MIN_US (500 * US_PER_MS)
#define FETCH_BACKOFF_MAX_US (15 * US_PER_S)
#define LIFE_MIN_S 2
#define LIFE_MAX_S 86400
/* Refreshed at this share of its life, at most AHEAD before its end. */
#define REFRESH_SHARE 0.8
#define REFRESH_AHEAD_MAX_US (300 * US_PER_S)

struct tokens {
    struct loop *loop;
    struct calls *calls;
    const struct config *cfg;
    struct token *items;
    size_t n;
    void (*on_news)(void *arg);
    void *arg;
};

bool token_good(const struct token *t)
{
    return *t->value && clock_now_us() < t->expires_us;
}

static void failed(struct token *t, const char *why)
{
    int64_t wait =
        retry_gap(t->failures, FETCH_BACKOFF_MIN_US, FETCH_BACKOFF_MAX_US);

    t->failures++;
    text_copy(t->note, sizeof(t->note), why);
    metric_add(M_TOKEN_FAILED, 1);
    log_warn("gate", "token_failed", KV_INT("shortcode", t->of->shortcode),
             KV("why", t->note), KV_INT("retry_ms", wait / US_PER_MS));
    timer_set(t->tokens->loop, &t->timer, clock_now_us() + wait);
}

static void took(struct token *t, const char *value, int64_t life_s)
{
    int64_t now = clock_now_us();
    int64_t life_us = life_s * US_PER_S;
    int64_t ahead = MIN((int64_t)((double)life_us * (1 - REFRESH_SHARE)),
                        REFRESH_AHEAD_MAX_US);

    text_copy(t->value, sizeof(t->value), value);
    t->expires_us = now + life_us;
    t->refresh_us = t->expires_us - ahead;
    t->version++;
    t->failures = 0;
    t->note[0] = '\0';
    metric_add(M_TOKEN_FETCHED, 1);
    log_info("gate", "token_fetched", KV_INT("shortcode", t->of->shortcode),
             KV_INT("life_s", life_s));
    timer_set(t->tokens->loop, &t->timer, t->refresh_us);
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

static void fetch(void *arg)
{
    struct token *t = arg;
    char url[GATE_URL_MAX], user[2 * SECRET_MAX + 2];
    struct err err;
    struct call_request req = {
        .url = url,
        .user_password = user,
        .total_timeout_ms = FETCH_TIMEOUT_MS,
        .done = fetch_done,
        .arg = t,
    };

    if (t->fetching)
        return;
    snprintf(url, sizeof(url),
             "%s/oauth/v1/generate?grant_type=client_credentials",
             t->of->base_url);
    snprintf(user, sizeof(user), "%s:%s", t->of->consumer_key,
             t->of->consumer_secret);
    if (call_start(t->tokens->calls, &req, &err))
        failed(t, err.text);
    else
        t->fetching = true;
    sign_wipe(user, sizeof(user));
}

static bool same_key(const struct shortcode *a, const struct shortcode *b)
{
    return strcmp(a->consumer_key, b->consumer_key) == 0 &&
           strcmp(a->base_url, b->base_url) == 0;
}

static struct token *find(struct tokens *ts, const struct shortcode *sc)
{
    for (size_t i = 0; i < ts->n; i++)
        if (same_key(ts->items[i].of, sc))
            return &ts->items[i];
    return NULL;
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
    ts->items = must_alloc(MAX(cfg->shortcodes_n, 1), sizeof(*ts->items));
    for (size_t i = 0; i < cfg->shortcodes_n; i++) {
        struct token *t;

        if (find(ts, &cfg->shortcodes[i]))
            continue;
        t = &ts->items[ts->n++];
        t->of = &cfg->shortcodes[i];
        t->tokens = ts;
        t->latency_us = -1;
        text_copy(t->note, sizeof(t->note), "no token yet");
        timer_init(&t->timer, fetch, t);
        timer_set(loop, &t->timer, clock_now_us());
    }
    return ts;
}

void tokens_free(struct tokens *ts)
{
    if (!ts)
        return;
    for (size_t i = 0; i < ts->n; i++) {
        timer_cancel(ts->loop, &ts->items[i].timer);
        sign_wipe(ts->items[i].value, sizeof(ts->items[i].value));
    }
    free(ts->items);
    free(ts);
}

struct token *tokens_of(struct tokens *ts, const struct shortcode *sc)
{
    struct token *t = find(ts, sc);

    must(t);
    return t;
}

void token_refused(struct token *t, int version)
{
    metric_add(M_TOKEN_REFUSED, 1);
    if (version != t->version || !*t->value)
        return;
    log_warn("gate", "token_refused", KV_INT("shortcode", t->of->shortcode));
    sign_wipe(t->value, sizeof(t->value));
    text_copy(t->note, sizeof(t->note), "token was refused");
    if (!t->fetching)
        timer_set(t->tokens->loop, &t->timer, clock_now_us());
}

size_t tokens_health(const struct tokens *ts, struct health *rows, size_t max)
{
    size_t n = MIN(ts->n, max);

    for (size_t i = 0; i < n; i++) {
        const struct token *t = &ts->items[i];

        rows[i] = (struct health){
            .name = "daraja",
            .ok = token_good(t),
            .latency_us = t->latency_us,
        };
        snprintf(rows[i].note, sizeof(rows[i].note), "shortcode %lld%s%s",
                 (long long)t->of->shortcode, *t->note ? ": " : "", t->note);
    }
    return n;
}
