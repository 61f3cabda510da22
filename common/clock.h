/*
 * Time. Waiting is done on CLOCK_BOOTTIME, which goes on through a suspend and
 * never jumps; deciding about payments uses the database's clock, which comes
 * with its answers. The wall clock is for stamps on messages and log lines.
 *
 * All times are microseconds in int64_t: `_us` is a duration or a boot-time
 * instant, `_at` (in structs of the domain) a wall-clock instant since 1970.
 */
#ifndef FOLENI_COMMON_CLOCK_H
#define FOLENI_COMMON_CLOCK_H

#include <stdint.h>

#include "common/base.h"
#include "common/err.h"

#define US_PER_MS INT64_C(1000)
#define US_PER_S INT64_C(1000000)

/** "2026-11-21T07:46:00.123456Z" and its terminator. */
#define CLOCK_TEXT_SIZE 32

/** Microseconds of CLOCK_BOOTTIME, read now. */
int64_t clock_now_us(void);

/** Microseconds since 1970-01-01 UTC by the wall clock, read now. */
int64_t clock_wall_at(void);

/** Writes @p at as RFC 3339 in UTC with @p digits (0, 3 or 6) of fraction. */
void clock_format(int64_t at, int digits, char out[CLOCK_TEXT_SIZE]);

/**
 * Reads RFC 3339 (any offset, fraction optional, 1970 to 9999).
 *
 * @return ERR_INPUT for anything else; @p ret_at is then untouched.
 */
MUST_CHECK enum err_code clock_parse(const char *text, size_t len,
                                     int64_t *ret_at, struct err *err);

/**
 * Writes @p at as yyyyMMddHHmmss in Nairobi's time (EAT, UTC+3 all year), the
 * form of Daraja's Timestamp and TransactionDate.
 */
void clock_format_eat(int64_t at, char out[15]);

/** Reads yyyyMMddHHmmss in EAT; ERR_INPUT for anything else. */
MUST_CHECK enum err_code clock_parse_eat(const char *text, size_t len,
                                         int64_t *ret_at, struct err *err);

#endif
