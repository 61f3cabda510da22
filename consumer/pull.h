/*
 * Pull Transactions: asks the provider for the money of a shortcode while
 * payments of it are unknown or unresolved. What a record says is evidence of
 * payment, found by whoever stores it; what two complete passes do not have,
 * long after a push may have left, is presumed not charged. A presumption is
 * told to a person, it never leads to a push.
 *
 * A pass covers a range of time, page by page. It is complete when every page
 * held and every record is stored; one that lies, breaks off or cannot be had
 * ends it, and then its silence means nothing. One worker of the fleet passes
 * a shortcode at a time, by a lease in the table `pulls`; one call is in flight
 * per shortcode. The room has connections of its own to Postgres and to the
 * provider, so it takes nothing from pushes.
 *
 * Nothing is kept in memory that a crash could lose: the lease ends by itself
 * and the next pass begins anew.
 */
#ifndef FOLENI_CONSUMER_PULL_H
#define FOLENI_CONSUMER_PULL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/config.h"
#include "common/id.h"
#include "common/loop.h"
#include "common/payment.h"

struct pull;

/** A record that held. Texts are borrowed for the call. */
struct pull_record {
    const char *receipt;
    int64_t shortcode;
    const char *phone;     /* as it came                              */
    int64_t amount;        /* whole shillings, 0 = none that we push  */
    const char *reference; /* "" = none                               */
    int64_t paid_at;
    const char *body; /* the record as JSON                          */
    size_t body_len;
};

/** @p err NULL: all are durable, or known before. */
typedef void (*pull_stored_fn)(void *arg, size_t stored, const struct err *err);

struct pull_spec {
    /** The access token for @p sc and its version; NULL = there is none now. */
    const char *(*token)(void *arg, const struct shortcode *sc,
                         int64_t *ret_version);
    /** An answer has refused that version. */
    void (*token_refused)(void *arg, const struct shortcode *sc,
                          int64_t version);
    /** Stores @p n records (1 to worker.batch_max); @p done then runs once,
     *  never inside this call. */
    void (*on_records)(void *arg, const struct pull_record *records, size_t n,
                       pull_stored_fn done, void *done_arg);
    /** The attempt is presumed not charged: FLOW_NO_MONEY. Told again after the
     *  next pass when nothing came of it. */
    void (*on_silence)(void *arg, const struct uuid *payment, int attempt);
    /** Whether passes may begin or go on. */
    bool (*wanted)(void *arg);
    void *arg;
};

/** Adds timers to @p loop; does nothing where no shortcode has `pull` set. */
struct pull *pull_new(struct loop *loop, const struct config *cfg,
                      const struct pull_spec *spec);

/** The settings have other shortcodes; a pass under way goes on with those that
 *  it began with. */
void pull_renewed(struct pull *pull);

/** NULL is fine. on_records' done may not run any more. */
void pull_free(struct pull *pull);

#endif
