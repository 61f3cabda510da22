/*
 * Between the files of the gate: its calls and its tokens.
 */
#ifndef FOLENI_CONSUMER_GATE_PRIV_H
#define FOLENI_CONSUMER_GATE_PRIV_H

#include "common/buf.h"
#include "common/call.h"
#include "common/list.h"
#include "consumer/gate.h"
#include "consumer/token.h"

#define SECRET_MAX 4096   /* bytes of a secret, as the settings take it */
#define GATE_URL_MAX 1024 /* bytes of any URL of the gate            */

struct token; /* of one consumer key */
struct tokens;

/** @param on_news  Runs when a token came or could not be had. */
struct tokens *tokens_new(struct loop *loop, const struct config *cfg,
                          struct calls *calls, void (*on_news)(void *arg),
                          void *arg);
void tokens_free(struct tokens *tokens);

/** The settings have other shortcodes or credentials. */
void tokens_renewed(struct tokens *tokens);

/** The token for pushes to @p sc; never NULL. */
struct token *tokens_of(struct tokens *tokens, const struct shortcode *sc);

/** Whether it can be used now. */
bool token_good(const struct token *t);

/** Its text, borrowed for the turn, and version; NULL when it is of no use. */
const char *token_value(const struct token *t, int64_t *ret_version);

/** No token of @p version or before it is used any more: an answer to this or
 *  another worker refused it. A newer one is asked for, once. */
void token_is_refused(struct token *t, int64_t version);

/** Sets the gauges. */
void tokens_count(const struct tokens *tokens);

size_t tokens_health(const struct tokens *tokens, struct health *rows,
                     size_t max);

#endif
