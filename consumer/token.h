/*
 * The fleet's access tokens: one row of Postgres per consumer key, on a
 * connection of its own, since Daraja kills the old token when a new one is
 * made. A worker asks; the answer holds the row's token, or a lease to fetch
 * another one, or neither while somebody else is at it or it failed just now.
 *
 * The number of a lease fences it, and is the version of the token that is
 * fetched under it. It only grows, also when the row was lost meanwhile, so
 * "not above the version that was refused" is never a token that is still good.
 * A refused token thus costs the fleet one fetch: who asks second sees the
 * newer one. A worker that stops while it holds the lease delays the others by
 * what is left of it, and what it saves afterwards changes nothing.
 *
 * Tokens are sealed in the row, with a key made from `token.key` or, without
 * it, from the consumer secret: who has that can ask for a token anyway.
 */
#ifndef FOLENI_CONSUMER_TOKEN_H
#define FOLENI_CONSUMER_TOKEN_H

#include <stdbool.h>
#include <stdint.h>

#include "common/config.h"
#include "common/err.h"
#include "common/loop.h"

#define TOKEN_MAX 512 /* bytes of an access token, ours to bound */
#define TOKEN_WAIT_MAX_US INT64_C(16000000) /* between a lease and the next */

struct token_ledger;

/** What the row says. Times are from when it was asked, by Postgres' clock. */
struct token_row {
    int64_t lease;   /* ours now: fetch one; 0 = not ours                  */
    int failures;    /* fetches that failed in a row before it             */
    int64_t version; /* of the row's token, 0 = there is none              */
    char value[TOKEN_MAX]; /* "" = there is none that can be read          */
    int64_t age_us, refresh_us, left_us; /* may be negative                */
};

/** @p err: nothing is known, nothing was leased as far as one can tell. */
typedef void (*token_asked_fn)(void *arg, const struct token_row *row,
                               const struct err *err);

/** @p ours false: another lease was given meanwhile, nothing was changed. */
typedef void (*token_saved_fn)(void *arg, bool ours, const struct err *err);

/** @p on_state runs whenever the connection came or went. */
struct token_ledger *token_ledger_new(struct loop *loop,
                                      const struct config *cfg,
                                      void (*on_state)(void *arg, bool up),
                                      void *arg);
void token_ledger_free(struct token_ledger *l);

bool token_ledger_up(const struct token_ledger *l);

/**
 * Asks for the row of @p sc's consumer key. Leases it, for token.lease_ms, when
 * nobody has it and its token is missing, due for refresh, or of version
 * @p refused at most.
 */
void token_ledger_ask(struct token_ledger *l, const struct shortcode *sc,
                      int64_t refused, token_asked_fn done, void *arg);

/** Saves what was fetched under @p lease; again is fine. */
void token_ledger_save(struct token_ledger *l, const struct shortcode *sc,
                       int64_t lease, const struct token_row *row,
                       token_saved_fn done, void *arg);

/** The fetch failed: no other lease for @p wait_us (TOKEN_WAIT_MAX_US at most).
 *  Unwritten, the lease ends
 *  by itself. */
void token_ledger_fail(struct token_ledger *l, const struct shortcode *sc,
                       int64_t lease, int64_t wait_us, const char *why);

#endif
