/*
 * Records in: the request topics by credit and weight, and the callback topic.
 * Credit counts pushes: what is known already, too late or to be parked is read
 * past without.
 * Reads where `intake` in Postgres says, stops a partition when Kafka or
 * Postgres has forgotten something (rule S2), sets aside what no payment can be
 * made of, and commits offsets behind the claims.
 *
 * What it hands out is a contiguous run per partition; it hands out nothing
 * more until the run was finished by intake_done(), so there are no holes.
 */
#ifndef FOLENI_CONSUMER_INTAKE_H
#define FOLENI_CONSUMER_INTAKE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/app.h"
#include "common/config.h"
#include "common/kafka.h"
#include "common/wire.h"
#include "consumer/store.h"

struct intake;

/** A record of which no payment can be made. */
struct intake_bad {
    const struct kafka_record *record; /* borrowed until intake_done() */
    struct fault *fault;
};

/** One run of records, at most `max` of them. Owned by the intake. */
struct intake_batch {
    struct claim_row *rows; /* valid requests, no id twice              */
    size_t rows_n;
    size_t goers;           /* of them those that are not to be parked  */
    struct intake_bad *bad; /* to payments.dead before the claim        */
    size_t bad_n;
    const struct kafka_record **records; /* of each row, for key_conflict */
    struct kafka_position *positions;    /* next offset per partition   */
    size_t positions_n;
};

/** What is to become of a request that was read. */
enum intake_admission {
    INTAKE_GO,   /* it may be pushed: takes credit                      */
    INTAKE_PARK, /* its shortcode takes no push now, others do: claimed
                    without an attempt, so that they are reached        */
    INTAKE_HOLD  /* it stays in Kafka, and its pool stands still        */
};

struct intake_spec {
    /**
     * A group was assigned partitions, or Postgres was away: read `intake` and
     * answer with intake_start(). Asked again by intake_ask_again().
     */
    void (*on_assign)(void *arg, size_t group, unsigned generation,
                      const struct kafka_position *positions, size_t n);
    /**
     * Postgres has forgotten claims: the batch that is out must not be claimed.
     * Answer with intake_abandon().
     */
    void (*on_forgotten)(void *arg);
    /**
     * What is to become of @p row, whose deadline is ahead. Without @p places
     * it may not go. NULL: all may.
     */
    enum intake_admission (*admit)(void *arg, struct claim_row *row,
                                   bool places);
    /** Whether nothing of the pool is taken. NULL: never. */
    bool (*paused)(void *arg, enum priority pool);
    void *arg;
};

MUST_CHECK enum err_code intake_new(struct loop *loop, const struct config *cfg,
                                    const struct intake_spec *spec,
                                    struct intake **ret, struct err *err);

/** Leaves the groups. */
void intake_free(struct intake *intake);

/** The pools served, a set of 1 << enum priority bits. */
unsigned intake_pools(const struct intake *intake);

/**
 * Starts group @p group at @p positions (from `intake`). A partition of which
 * Kafka, or this process, knows more than Postgres stops, with an alarm (rule
 * S2), until a later answer knows it too. Callbacks begin at the earlier one of
 * Kafka's and Postgres' positions: they are harmless to read again, and a
 * Postgres that has forgotten some gets them back.
 *
 * @p ledger names that memory of Postgres; it stands with each offset commit.
 * An answer to an older @p generation is ignored, and so is a second one.
 */
void intake_start(struct intake *intake, size_t group, unsigned generation,
                  const char *ledger, const struct kafka_position *positions,
                  size_t n);

/** Asks again for positions that were never given. */
void intake_ask_again(struct intake *intake);

/**
 * Postgres was away, and it may be another one that is back: asks for every
 * position anew. Until intake_sure() nothing is handed out.
 */
void intake_doubt(struct intake *intake);
bool intake_sure(const struct intake *intake);

/**
 * A recorder shows that the record before @p next was pushed, and Postgres does
 * not know its payment: as if Kafka's group had committed @p next, now and
 * whenever this process is given the partition. Then intake_doubt() asks.
 */
void intake_recall(struct intake *intake, enum topic topic, int32_t partition,
                   int64_t next);

/** Partitions that are stopped now. */
size_t intake_stopped(const struct intake *intake);
/** Times that a stopped partition went on: somebody has recovered it. */
unsigned intake_recovered(const struct intake *intake);

/** Gives the batch back unclaimed: its records are read again. */
void intake_abandon(struct intake *intake);

/**
 * Takes requests: at most @p credit that could be pushed, and others between
 * them. NULL = none now, or the last batch is not finished.
 */
struct intake_batch *intake_take(struct intake *intake, size_t credit,
                                 int64_t now_at);

/** Moves row @p i of the batch to its bad ones: the database refused it. */
void intake_refuse(struct intake *intake, size_t i, const struct fault *fault);

/** Whether the next batches are taken beyond their credit, as long as they are
 *  mostly duplicates: what turns out to be fresh is parked. */
void intake_skim(struct intake *intake, bool skim);

/** The batch is claimed, and `intake` moved with it: it must never forget. */
void intake_claimed(struct intake *intake);

/** The claimed batch is finished: offsets follow, records are freed. */
void intake_done(struct intake *intake);

/** Takes up to @p max callbacks; finished by intake_callbacks_done(). */
const struct kafka_record **intake_callbacks(struct intake *intake, size_t max,
                                             size_t *ret_n);
void intake_callbacks_done(struct intake *intake);

/**
 * Where callbacks are applied up to, as far as `intake` has not been told:
 * fills at most @p max rows. Once it was: intake_callbacks_told().
 */
size_t intake_callbacks_moved(struct intake *intake,
                              struct kafka_position *positions, size_t max);
void intake_callbacks_told(struct intake *intake);

/** No further records; offsets of what is finished are committed. */
void intake_stop(struct intake *intake);

/** Whether nothing is out and every offset is committed. */
bool intake_quiet(const struct intake *intake);

size_t intake_health(const struct intake *intake, struct health *rows,
                     size_t max);

#endif
