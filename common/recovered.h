/*
 * Payments that may have been pushed and that Postgres does not know: they are
 * entered as `unknown`, never as `sending` (rule S2). Evidence settles them, or
 * a person does. Used by `foleni recover`, for what a Postgres has lost.
 *
 * The statement may be run again: who is known already is left alone.
 * Versions go on 1000 further, since some may have been told that nobody
 * remembers.
 */
#ifndef FOLENI_COMMON_RECOVERED_H
#define FOLENI_COMMON_RECOVERED_H

#include "common/json.h"
#include "common/payment.h"

/** `code` of such a row, until evidence says more. */
#define RECOVERED_CODE "recovered"
#define RECOVERED_TEXT \
    "Postgres had forgotten this attempt; it may have been pushed"

/** Versions that were told of before the loss are not given a second time. */
#define RECOVERED_AHEAD 1000

/** A request whose record was read again. */
struct recovered {
    const struct request *req;
    int topic; /* enum topic */
    int32_t partition;
    int64_t offset;
    int64_t deadline_at;
    int attempt; /* that may have been pushed */
};

/** Adds it to the open array of $1. */
void recovered_put(struct json_out *j, const struct recovered *row);

/**
 * Enters the rows of the JSON array $1; returns the ids of those that were not
 * known. A phone that another row has is left to it. Fails as a conflict when
 * somebody takes a phone in the same moment: again.
 */
extern const char recovered_enter_sql[];

#endif
