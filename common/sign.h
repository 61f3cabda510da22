/*
 * Hashes, MACs and encodings over OpenSSL, and the signatures of the product:
 * on records in Kafka and in callback paths. Everything secret is
 * compared in constant time and wiped by its owner with sign_wipe().
 */
#ifndef FOLENI_COMMON_SIGN_H
#define FOLENI_COMMON_SIGN_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base.h"
#include "common/err.h"

struct buf;
struct uuid;

#define SHA256_SIZE 32
#define CALLBACK_MAC_SIZE 33 /* 16 bytes as hex and the terminator */
#define RECORD_MAC_SIZE 65   /* 32 bytes as hex and the terminator */

void sign_sha256(const void *data, size_t len, uint8_t out[SHA256_SIZE]);

/** Constant-time comparison of @p len bytes. */
bool sign_equal(const void *a, const void *b, size_t len);

/** Random bytes from the operating system; dies when it has none. */
void sign_random(void *out, size_t len);

void sign_wipe(void *data, size_t len);

/** Appends standard base64 with padding. */
void sign_base64(struct buf *out, const void *data, size_t len);

/** Reads hex, either case, exactly @p out_len bytes; false otherwise. */
bool sign_unhex(const char *text, size_t len, uint8_t *out, size_t out_len);

/** What the signature of a request record covers, and in this order. */
struct record_claim {
    const char *client; /* 36 characters, header foleni-client           */
    const char *time;   /* epoch ms in decimal, header foleni-time       */
    const char *key;    /* the record's key                              */
    size_t key_len;
    const char *value; /* the record's value, byte for byte              */
    size_t value_len;
};

/**
 * HMAC-SHA-256 with @p secret over client LF time LF key LF value, in hex
 * (safety rule S18). client, time and key cannot hold a line feed.
 */
void sign_record(const char *secret, const struct record_claim *claim,
                 char out[RECORD_MAC_SIZE]);

/**
 * First 16 bytes of HMAC-SHA-256 with @p key over "payment/attempt" (the
 * payment in its 36-character form, the attempt in decimal), in hex: hex can
 * spell none of the words that Daraja forbids in a callback URL.
 */
void sign_callback(const char *key, const struct uuid *payment, int attempt,
                   char out[CALLBACK_MAC_SIZE]);

/**
 * First 16 bytes of HMAC-SHA-256 with @p key over "c2b", LF and @p body, in
 * hex: on a C2B notice's record in Kafka it says that foleni-api took it in.
 */
void sign_c2b(const char *key, const void *body, size_t len,
              char out[CALLBACK_MAC_SIZE]);

#endif
