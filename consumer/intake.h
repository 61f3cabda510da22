/*
 * Records in: the request topics by credit and weight, and the callback topic.
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
    struct intake_bad *bad; /* to payments.dead before the claim        */
    size_t bad_n;
    const struct kafka_record **records; /* of each row, for key_conflict */
    struct kafka_position *positions;    /* next offset per partition   */
    size_t positions_n;
};

struct intake_spec {
    /**
     * A group of requests was assigned partitions: read `intake` and answer
     * with intake_start(). Asked again by intake_ask_again().
     */
    void (*on_assign)(void *arg, size_t group, unsigned generation,
                      const struct kafka_position *positions, size_t n);
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
 * Kafka knows more than Postgres stays stopped, with an alarm (rule S2). An
 * answer to an older @p generation is ignored, and so is a second one.
 */
void intake_start(struct intake *intake, size_t group, unsigned generation,
                  const struct kafka_position *positions, size_t n);

/** Asks again for positions that were never given (Postgres is back). */
void intake_ask_again(struct intake *intake);

/**
 * Takes requests: at most @p credit that could be pushed. NULL = none now, or
 * the last batch is not finished.
 */
struct intake_batch *intake_take(struct intake *intake, size_t credit,
                                 int64_t now_at);

/** Moves row @p i of the batch to its bad ones: the database refused it. */
void intake_refuse(struct intake *intake, size_t i, const struct fault *fault);

/** The batch is claimed and committed: offsets follow, records are freed. */
void intake_done(struct intake *intake);

/** Takes up to @p max callbacks; finished by intake_callbacks_done(). */
const struct kafka_record **intake_callbacks(struct intake *intake, size_t max,
                                             size_t *ret_n);
void intake_callbacks_done(struct intake *intake);

/** No further records; offsets of what is finished are committed. */
void intake_stop(struct intake *intake);

/** Whether nothing is out and every offset is committed. */
bool intake_quiet(const struct intake *intake);

size_t intake_health(const struct intake *intake, struct health *rows,
                     size_t max);

#endif
