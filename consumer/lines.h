/*
 * Lines: what pushes of one shortcode go through, its breaker and its pace. A
 * push needs the right to go out at a time; the rights of a limited shortcode
 * are reserved for the whole fleet in one row of Postgres, so membership does
 * not matter and a dead worker loses its own only. What one worker learns
 * (a trip, a throttle answer, an operator's word) the others read with their
 * next look, every lines.sync_ms; a worker that has not looked for
 * lines.trust_ms lets nothing out.
 *
 * Nothing here knows a payment. Times are boot-clock microseconds.
 */
#ifndef FOLENI_CONSUMER_LINES_H
#define FOLENI_CONSUMER_LINES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/app.h"
#include "common/config.h"
#include "common/loop.h"
#include "common/payment.h"
#include "consumer/breaker.h"

struct lines;

/** Credit of a line without a limit: sums of it for all lines fit. */
#define LINES_UNLIMITED ((size_t)1 << 40)

struct lines_spec {
    /** This worker's incarnation, 0 = none yet: it moves no breaker then. */
    int64_t (*me)(void *arg);
    /**
     * Asks the provider something that is no payment, for a breaker that is
     * half-open; lines_probed() follows once, not inside this call. @p
     * shortcode 0: any. false = not now; asked again with the next look.
     */
    bool (*probe)(void *arg, enum operation op, int64_t shortcode);
    void *arg;
};

struct lines *lines_new(struct loop *loop, const struct config *cfg,
                        const struct lines_spec *spec);

/** NULL is fine. */
void lines_free(struct lines *lines);

/** The settings have other shortcodes or rates: they count from now on. Lines
 *  of shortcodes that are gone let no push out. */
void lines_renewed(struct lines *lines);

/** Whether what is known of the lines is fresh enough to push by. */
bool lines_sure(const struct lines *lines);

/**
 * Pushes to @p shortcode that may be prepared now: LINES_UNLIMITED without a
 * limit, 0 while its breaker is open, while the provider wants us to wait, or
 * while none of the reserved rights is left.
 */
size_t lines_credit(const struct lines *lines, int64_t shortcode);

/**
 * Whether reading records is worth it: some line has credit, or of a limited
 * one nobody has wanted anything yet. lines_take() in vain is such a want.
 */
bool lines_flow(const struct lines *lines);

/**
 * Takes the right to one push. *ret_send_us gets when it may go out, 0 = at
 * once; hand it to gate_push(). false = none now, *ret_send_us is untouched.
 */
bool lines_take(struct lines *lines, int64_t shortcode, int64_t *ret_send_us);

/** The right was not used after all (verdicts WAIT, LATE, SAME). */
void lines_give_back(struct lines *lines, int64_t shortcode, int64_t send_us);

/** @p n pushes to @p shortcode wait for credit, as far as the caller has seen:
 *  the next look reserves for them. Cheap, may be said every turn. */
void lines_want(struct lines *lines, int64_t shortcode, size_t n);

/** Whether an operator has paused the pool: nothing of it is pushed. */
bool lines_paused(const struct lines *lines, enum priority pool);

/** Whether status queries of @p shortcode may go out. */
bool lines_may_query(const struct lines *lines, int64_t shortcode);

/* --- what the gate asks and tells --- */

#define LINES_TOO_LATE INT64_MAX

/**
 * When a push with the right for @p send_us may begin: after now when it has to
 * wait, since what is a little late goes out apart from the others all the
 * same; LINES_TOO_LATE when it is not to be sent any more.
 */
int64_t lines_begin_us(struct lines *lines, int64_t shortcode, int64_t send_us);

/** Just before the first byte; when false *ret_why says why not. */
bool lines_may_send(struct lines *lines, int64_t shortcode, int64_t send_us,
                    const char **ret_why);

/** A call has begun; lines_ended() follows exactly once. */
void lines_began(struct lines *lines, enum operation op, int64_t shortcode);

/** @param retry_after_s  Asked for by the provider, -1 = not. */
void lines_ended(struct lines *lines, enum operation op, int64_t shortcode,
                 enum outcome outcome, int64_t took_us, int64_t retry_after_s);

/** The end of a probe. */
void lines_probed(struct lines *lines, enum operation op, int64_t shortcode,
                  bool fine);

/** For /health: one row per line, those first that nothing goes through. */
size_t lines_health(const struct lines *lines, struct health *rows, size_t max);

#endif
