/*
 * How long something is to hold, as people say it: "90s", "30m", "2h", "7d", or
 * a time such as 2026-11-21T07:46:00Z.
 */
#ifndef FOLENI_TOOLS_UNTIL_H
#define FOLENI_TOOLS_UNTIL_H

#include <stdint.h>

#include "common/base.h"
#include "common/err.h"

/** Reads a duration into seconds, 1 s to 366 days; ERR_USAGE otherwise. */
MUST_CHECK enum err_code duration_read(const char *text, const char *option,
                                       int64_t *ret_s, struct err *err);

/** A moment to come, for Postgres: a timestamptz's text. ERR_USAGE for what
 *  cannot be read or is over. */
#define UNTIL_SIZE 32
MUST_CHECK enum err_code until_read(const char *text, char ret[UNTIL_SIZE],
                                    struct err *err);

/** A moment that is over, in us since 1970: a time, or how long ago ("2h").
 *  ERR_USAGE for what cannot be read. */
MUST_CHECK enum err_code moment_read(const char *text, const char *option,
                                     int64_t *ret_at, struct err *err);

#endif
