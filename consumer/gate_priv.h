/*
 * Between the files of the gate: its calls and its tokens.
 */
#ifndef FOLENI_CONSUMER_GATE_PRIV_H
#define FOLENI_CONSUMER_GATE_PRIV_H

#include "common/buf.h"
#include "common/call.h"
#include "common/list.h"
#include "consumer/gate.h"

#define TOKEN_MAX 512     /* bytes of an access token, ours to bound */
#define SECRET_MAX 4096   /* bytes of a secret, as the settings take it */
#define GATE_URL_MAX 1024 /* bytes of any URL of the gate            */

struct tokens;

/** One consumer key's token. */
struct token {
    const struct shortcode *of; /* the first shortcode with that key      */
    char value[TOKEN_MAX];      /* "" = none                              */
    int64_t expires_us;         /* when the provider forgets it           */
    int64_t refresh_us;         /* when a new one is fetched              */
    int64_t latency_us;         /* of the last fetch, -1 = none yet       */
    int version;                /* +1 with each one fetched               */
    int failures;               /* fetches that failed in a row           */
    bool fetching;
    char note[120];          /* why there is none                      */
    struct loop_timer timer; /* the next fetch                         */
    struct tokens *tokens;
};

/** @param on_news  Runs when a token came or could not be had. */
struct tokens *tokens_new(struct loop *loop, const struct config *cfg,
                          struct calls *calls, void (*on_news)(void *arg),
                          void *arg);
void tokens_free(struct tokens *tokens);

/** The token for pushes to @p sc; never NULL. */
struct token *tokens_of(struct tokens *tokens, const struct shortcode *sc);

/** Whether it can be used now. */
bool token_good(const struct token *t);

/** An answer refused version @p version of it: fetch another, once. */
void token_refused(struct token *t, int version);

size_t tokens_health(const struct tokens *tokens, struct health *rows,
                     size_t max);

#endif
