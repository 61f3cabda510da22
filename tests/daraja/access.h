/*
 * Apps and their tokens: one app per consumer key of the configuration's
 * shortcodes.
 */
#ifndef FOLENI_TESTS_DARAJA_ACCESS_H
#define FOLENI_TESTS_DARAJA_ACCESS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base.h"
#include "common/config.h"
#include "tests/daraja/ident.h"

#define ACCESS_TOKENS_MAX 8 /* living ones of an app */

struct access;
struct access_app;

struct access *access_new(const struct config *cfg);
void access_free(struct access *a);

/** The app whose key and secret @p authorization holds ("Basic ..."). */
struct access_app *access_login(struct access *a, const char *authorization);

/** Makes @p token good until @p until_us; @p single: no other one is. */
void access_mint(struct access_app *app, const char token[TOKEN_SIZE],
                 int64_t until_us, bool single);

/** The app whose token @p authorization holds ("Bearer ..."), or NULL. */
struct access_app *access_check(struct access *a, const char *authorization,
                                int64_t now_us);

const char *access_key(const struct access_app *app);

/**
 * Spike arrest: admits one request per 1/@p per_s s. 0 = all.
 */
bool access_admit(struct access_app *app, int64_t per_s, int64_t now_us);

/** Makes every token bad. */
void access_revoke(struct access *a);

#endif
