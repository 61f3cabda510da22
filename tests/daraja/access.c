/*
 * Logins and tokens. Tokens are few, so they are looked for one by one. What
 * a login's header must be is worked out once, at start. Pure.
 */
#include "tests/daraja/access.h"

#include <stdlib.h>
#include <string.h>

#include "common/buf.h"
#include "common/clock.h"
#include "common/must.h"
#include "common/sign.h"

#define LOGIN_MAX 1024

struct token {
    char text[TOKEN_SIZE]; /* "" = none */
    int64_t until_us;
};

struct access_app {
    const char *key;
    struct buf login; /* "Basic " and base64 of key:secret */
    struct token tokens[ACCESS_TOKENS_MAX];
    unsigned next;
    int64_t admit_us; /* when the next request is admitted */
};

struct access {
    struct access_app *apps;
    size_t n;
};

static void app_init(struct access_app *app, const struct shortcode *s)
{
    struct buf plain;

    app->key = s->consumer_key;
    buf_init(&plain, LOGIN_MAX);
    buf_addf(&plain, "%s:%s", s->consumer_key, s->consumer_secret);
    buf_init(&app->login, 2 * LOGIN_MAX);
    buf_adds(&app->login, "Basic ");
    sign_base64(&app->login, plain.data, plain.len);
    buf_done(&plain);
}

static bool known(const struct access *a, const char *key)
{
    for (size_t i = 0; i < a->n; i++)
        if (strcmp(a->apps[i].key, key) == 0)
            return true;
    return false;
}

struct access *access_new(const struct config *cfg)
{
    struct access *a = NEW(struct access);

    a->apps = must_alloc(cfg->shortcodes_n + 1, sizeof(*a->apps));
    for (size_t i = 0; i < cfg->shortcodes_n; i++)
        if (!known(a, cfg->shortcodes[i].consumer_key))
            app_init(&a->apps[a->n++], &cfg->shortcodes[i]);
    return a;
}

void access_free(struct access *a)
{
    if (!a)
        return;
    for (size_t i = 0; i < a->n; i++)
        buf_done(&a->apps[i].login);
    free(a->apps);
    free(a);
}

struct access_app *access_login(struct access *a, const char *authorization)
{
    for (size_t i = 0; i < a->n; i++)
        if (strcmp(a->apps[i].login.data, authorization) == 0)
            return &a->apps[i];
    return NULL;
}

void access_mint(struct access_app *app, const char token[TOKEN_SIZE],
                 int64_t until_us, bool single)
{
    struct token *t = &app->tokens[app->next++ % ACCESS_TOKENS_MAX];

    if (single)
        memset(app->tokens, 0, sizeof(app->tokens));
    memcpy(t->text, token, TOKEN_SIZE);
    t->until_us = until_us;
}

static bool has_token(const struct access_app *app, const char *text,
                      int64_t now_us)
{
    for (size_t i = 0; i < ACCESS_TOKENS_MAX; i++)
        if (app->tokens[i].text[0] && strcmp(app->tokens[i].text, text) == 0)
            return now_us < app->tokens[i].until_us;
    return false;
}

struct access_app *access_check(struct access *a, const char *authorization,
                                int64_t now_us)
{
    if (!authorization || strncmp(authorization, "Bearer ", 7) != 0)
        return NULL;
    for (size_t i = 0; i < a->n; i++)
        if (has_token(&a->apps[i], authorization + 7, now_us))
            return &a->apps[i];
    return NULL;
}

const char *access_key(const struct access_app *app)
{
    return app->key;
}

bool access_admit(struct access_app *app, int64_t per_s, int64_t now_us)
{
    if (per_s <= 0)
        return true;
    if (now_us < app->admit_us)
        return false;
    app->admit_us = now_us + US_PER_S / per_s;
    return true;
}

void access_revoke(struct access *a)
{
    for (size_t i = 0; i < a->n; i++)
        memset(a->apps[i].tokens, 0, sizeof(a->apps[i].tokens));
}
