/*
 * A replay: a task in Postgres that brings dead letters back at a rate (rule
 * S22). Between the files of `foleni dead replay`.
 *
 * What a letter is and what became of it stands in `replay_items`; whoever
 * drives a task takes the next ready ones, hands each to the workers (a notice)
 * or back to its topic (a record) in the same transaction or before it, and
 * collects what became of them. So it may be killed at any moment: a payment's
 * notice is written with the item's disposition, and a record that comes twice
 * is the same payment.
 */
#ifndef FOLENI_TOOLS_REPLAY_H
#define FOLENI_TOOLS_REPLAY_H

#include "common/pg.h"
#include "tools/letters.h"
#include "tools/operator.h"

#define REPLAY_RATE_MAX 10000
#define REPLAY_PROBE_MAX 1000

struct replay {
    const struct cli *cli;
    const struct config *cfg;
    struct pg_session *session;
    struct operator who;
    char id[24], give_ms[24];
    int64_t rate, probe;
    size_t counts[LETTERS_N]; /* items by disposition, as last read        */
    int64_t letters;
    char stopped[256]; /* why it stands still, "" = it does not            */
};

/** Writes the task, its items and the audit row in one transaction. */
MUST_CHECK enum err_code replay_create(struct replay *r,
                                       const struct letter_filter *filter,
                                       const struct letters_ends *ends,
                                       const struct letters *letters,
                                       struct err *err);

/** Takes up the task named by --resume; ERR_CONFLICT when it has ended. */
MUST_CHECK enum err_code replay_take_up(struct replay *r, struct err *err);

/** Makes this session the one that drives a replay, until it is closed.
 *  ERR_CONFLICT when another process does right now. */
MUST_CHECK enum err_code replay_alone(struct replay *r, struct err *err);

/** Drives it to its end, or until it stops: r->stopped says why. */
MUST_CHECK enum err_code replay_drive(struct replay *r, struct err *err);

/** Why it must not go on: a breaker is open, or its pool is paused. "" = it
 *  may. */
MUST_CHECK enum err_code replay_hindered(struct replay *r, struct err *err);

/** Hands up to @p n ready items over; @p ret of them were. */
MUST_CHECK enum err_code replay_release(struct replay *r, int64_t n,
                                        int64_t *ret, struct err *err);

/** Notes what the workers have done; reads r->counts. */
MUST_CHECK enum err_code replay_collect(struct replay *r, struct err *err);

/** How the first @p r->probe letters fare: so many are still under way, so many
 *  have ended badly. */
MUST_CHECK enum err_code replay_probed(struct replay *r, int64_t *ret_open,
                                       int64_t *ret_bad, struct err *err);

#endif
