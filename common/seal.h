/*
 * Small secrets at rest: AES-256-GCM under a key that HKDF-SHA-256 makes from a
 * secret of the settings. What was sealed opens only with the same key and the
 * same context, and only when not a bit of it changed.
 */
#ifndef FOLENI_COMMON_SEAL_H
#define FOLENI_COMMON_SEAL_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base.h"

#define SEAL_KEY_SIZE 32
#define SEAL_EXTRA 29 /* bytes that sealing adds: form, nonce, tag */

/** Makes a key for @p purpose; the caller wipes it with sign_wipe(). */
void seal_key(const char *secret, const char *purpose,
              uint8_t out[SEAL_KEY_SIZE]);

/**
 * Seals @p len bytes, under a random nonce, into @p out of len + SEAL_EXTRA.
 *
 * @param context  Terminated; what the secret belongs to. It is not stored.
 */
void seal(const uint8_t key[SEAL_KEY_SIZE], const char *context,
          const void *plain, size_t len, uint8_t *out);

/**
 * Opens @p len sealed bytes into @p out of @p size and terminates them.
 *
 * @return false when they are torn, another key's or another context's, or do
 *         not fit; @p out then holds nothing.
 */
bool seal_open(const uint8_t key[SEAL_KEY_SIZE], const char *context,
               const void *sealed, size_t len, char *out, size_t size);

#endif
