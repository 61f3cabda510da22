/*
 * OpenSSL behind our faces. The algorithms are fetched once: OpenSSL 3 looks
 * them up by name on every one-shot call (HMAC(), SHA256()), which costs more
 * than hashing a record. Each thread has its two contexts for good (a thread
 * that ends leaves them behind: only the loop's thread signs); the key that a
 * MAC's context has seen last stays in it.
 *
 * A failure of OpenSSL here is a broken installation: the process ends.
 */
#include "common/sign.h"

#include "common/buf.h"
#include "common/id.h"
#include "common/must.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/rand.h>

#include <limits.h>
#include <stdio.h>
#include <string.h>

static EVP_MD_CTX *digest_context(void)
{
    static _Thread_local EVP_MD_CTX *ctx;

    if (!ctx) {
        EVP_MD *md = EVP_MD_fetch(NULL, "SHA256", NULL);

        ctx = EVP_MD_CTX_new();
        must(md && ctx && EVP_DigestInit_ex2(ctx, md, NULL));
        EVP_MD_free(md); /* the context holds it */
    }
    return ctx;
}

void sign_sha256(const void *data, size_t len, uint8_t out[SHA256_SIZE])
{
    EVP_MD_CTX *ctx = digest_context();

    must(EVP_DigestInit_ex2(ctx, NULL, NULL));
    must(EVP_DigestUpdate(ctx, data, len));
    must(EVP_DigestFinal_ex(ctx, out, NULL));
}

/* --- HMAC-SHA-256 --- */

static EVP_MAC_CTX *mac_context(void)
{
    static _Thread_local EVP_MAC_CTX *ctx;
    char sha256[] = "SHA256";
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, sha256, 0),
        OSSL_PARAM_construct_end()};

    if (!ctx) {
        EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);

        must(mac);
        ctx = EVP_MAC_CTX_new(mac);
        must(ctx && EVP_MAC_CTX_set_params(ctx, params));
        EVP_MAC_free(mac); /* the context holds it */
    }
    return ctx;
}

/* An empty key must not be NULL, or the one before would be used again. */
static EVP_MAC_CTX *mac_begin(const char *key)
{
    EVP_MAC_CTX *ctx = mac_context();

    must(EVP_MAC_init(ctx, (const unsigned char *)key, strlen(key), NULL));
    return ctx;
}

static void mac_add(EVP_MAC_CTX *ctx, const void *data, size_t len)
{
    if (len)
        must(EVP_MAC_update(ctx, data, len));
}

static void mac_end(EVP_MAC_CTX *ctx, uint8_t out[SHA256_SIZE])
{
    size_t n;

    must(EVP_MAC_final(ctx, out, &n, SHA256_SIZE) && n == SHA256_SIZE);
}

static void hex(const uint8_t *bytes, size_t n, char *out)
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < n; i++) {
        *out++ = digits[bytes[i] >> 4];
        *out++ = digits[bytes[i] & 15];
    }
    *out = '\0';
}

void sign_record(const char *secret, const struct record_claim *claim,
                 char out[RECORD_MAC_SIZE])
{
    EVP_MAC_CTX *ctx = mac_begin(secret);
    uint8_t mac[SHA256_SIZE];

    mac_add(ctx, claim->client, strlen(claim->client));
    mac_add(ctx, "\n", 1);
    mac_add(ctx, claim->time, strlen(claim->time));
    mac_add(ctx, "\n", 1);
    mac_add(ctx, claim->key, claim->key_len);
    mac_add(ctx, "\n", 1);
    mac_add(ctx, claim->value, claim->value_len);
    mac_end(ctx, mac);
    hex(mac, sizeof(mac), out);
}

void sign_callback(const char *key, const struct uuid *payment, int attempt,
                   char out[CALLBACK_MAC_SIZE])
{
    char text[UUID_TEXT_SIZE + 12]; /* and "/" and the digits of an int */
    EVP_MAC_CTX *ctx = mac_begin(key);
    uint8_t mac[SHA256_SIZE];

    uuid_format(payment, text);
    snprintf(text + UUID_TEXT_SIZE - 1, sizeof(text) - UUID_TEXT_SIZE + 1,
             "/%d", attempt);
    mac_add(ctx, text, strlen(text));
    mac_end(ctx, mac);
    hex(mac, (CALLBACK_MAC_SIZE - 1) / 2, out);
}

void sign_c2b(const char *key, const void *body, size_t len,
              char out[CALLBACK_MAC_SIZE])
{
    EVP_MAC_CTX *ctx = mac_begin(key);
    uint8_t mac[SHA256_SIZE];

    mac_add(ctx, "c2b\n", 4);
    mac_add(ctx, body, len);
    mac_end(ctx, mac);
    hex(mac, (CALLBACK_MAC_SIZE - 1) / 2, out);
}

/* --- the small ones --- */

bool sign_equal(const void *a, const void *b, size_t len)
{
    return CRYPTO_memcmp(a, b, len) == 0;
}

void sign_random(void *out, size_t len)
{
    must(len <= INT_MAX);
    must(RAND_bytes(out, (int)len) == 1);
}

void sign_wipe(void *data, size_t len)
{
    OPENSSL_cleanse(data, len);
}

void sign_base64(struct buf *out, const void *data, size_t len)
{
    const uint8_t *p = data;
    unsigned char text[5];

    for (; len; p += 3) {
        int n = (int)MIN(len, (size_t)3);

        EVP_EncodeBlock(text, p, n);
        buf_add(out, text, 4);
        len -= (size_t)n;
    }
}

bool sign_unhex(const char *text, size_t len, uint8_t *out, size_t out_len)
{
    if (len != 2 * out_len)
        return false;
    for (size_t i = 0; i < len; i++)
        if (hex_value(text[i]) < 0)
            return false;
    for (size_t i = 0; i < out_len; i++)
        out[i] =
            (uint8_t)(16 * hex_value(text[2 * i]) + hex_value(text[2 * i + 1]));
    return true;
}
