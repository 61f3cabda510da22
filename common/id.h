/*
 * UUIDs (RFC 9562). A payment's id is the UUIDv5 of its client's immutable id
 * (the namespace) and the idempotency key (the name): whoever computes it, the
 * same key names the same payment.
 */
#ifndef FOLENI_COMMON_ID_H
#define FOLENI_COMMON_ID_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base.h"
#include "common/err.h"

#define UUID_TEXT_SIZE 37 /* 36 characters and the terminator */

struct uuid {
    uint8_t b[16]; /* network order */
};

/** RFC 9562 section 5.5: SHA-1 over @p ns and @p name. */
void uuid_v5(const struct uuid *ns, const char *name, size_t len,
             struct uuid *out);

/** A random UUIDv4. */
void uuid_v4(struct uuid *out);

/** What the hexadecimal digit @p c stands for, either case; -1 for others. */
int hex_value(char c);

/** Reads the 36-character form, either case; ERR_INPUT otherwise. */
MUST_CHECK enum err_code uuid_parse(const char *text, size_t len,
                                    struct uuid *ret, struct err *err);

/** Writes the lower-case 36-character form. */
void uuid_format(const struct uuid *id, char out[UUID_TEXT_SIZE]);

bool uuid_equal(const struct uuid *a, const struct uuid *b);

/** A well-mixed number for hash tables. */
uint64_t uuid_hash(const struct uuid *id);

#endif
