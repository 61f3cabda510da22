/*
 * A sealed text is one byte for its form, the nonce, as many bytes as the plain
 * one, and the tag. Nonces are random: 96 bits do for the few that one key ever
 * seals.
 *
 * A failure of OpenSSL here is a broken installation: the process ends.
 */
#include "common/seal.h"

#include "common/must.h"
#include "common/sign.h"

#include <openssl/evp.h>
#include <openssl/kdf.h>

#include <limits.h>
#include <string.h>

#define FORM 1
#define NONCE_SIZE 12
#define TAG_SIZE 16
#define HEAD_SIZE (1 + NONCE_SIZE)

_Static_assert(SEAL_EXTRA == HEAD_SIZE + TAG_SIZE, "as the header says");

void seal_key(const char *secret, const char *purpose,
              uint8_t out[SEAL_KEY_SIZE])
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_id(EVP_PKEY_HKDF, NULL);
    const unsigned char *ikm = (const unsigned char *)secret;
    const unsigned char *info = (const unsigned char *)purpose;
    size_t len = SEAL_KEY_SIZE;

    must(ctx && EVP_PKEY_derive_init(ctx) == 1);
    must(EVP_PKEY_CTX_set_hkdf_md(ctx, EVP_sha256()) == 1);
    must(EVP_PKEY_CTX_set1_hkdf_key(ctx, ikm, (int)strlen(secret)) == 1);
    must(EVP_PKEY_CTX_add1_hkdf_info(ctx, info, (int)strlen(purpose)) == 1);
    must(EVP_PKEY_derive(ctx, out, &len) == 1 && len == SEAL_KEY_SIZE);
    EVP_PKEY_CTX_free(ctx);
}

void seal(const uint8_t key[SEAL_KEY_SIZE], const char *context,
          const void *plain, size_t len, uint8_t *out)
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    uint8_t *nonce = out + 1, *text = out + HEAD_SIZE;
    int n;

    must(ctx && len <= INT_MAX);
    out[0] = FORM;
    sign_random(nonce, NONCE_SIZE);
    must(EVP_EncryptInit_ex2(ctx, EVP_aes_256_gcm(), key, nonce, NULL));
    must(EVP_EncryptUpdate(ctx, NULL, &n, (const uint8_t *)context,
                           (int)strlen(context)));
    must(EVP_EncryptUpdate(ctx, text, &n, plain, (int)len) && n == (int)len);
    must(EVP_EncryptFinal_ex(ctx, text + len, &n) && n == 0);
    must(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_GET_TAG, TAG_SIZE, text + len));
    EVP_CIPHER_CTX_free(ctx);
}

static bool decrypt(const uint8_t key[SEAL_KEY_SIZE], const char *context,
                    const uint8_t *sealed, size_t plain_len, uint8_t *out)
{
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    const uint8_t *text = sealed + HEAD_SIZE;
    uint8_t tag[TAG_SIZE];
    int n;
    bool whole;

    memcpy(tag, text + plain_len, TAG_SIZE);
    must(ctx &&
         EVP_DecryptInit_ex2(ctx, EVP_aes_256_gcm(), key, sealed + 1, NULL));
    must(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_SET_TAG, TAG_SIZE, tag));
    must(EVP_DecryptUpdate(ctx, NULL, &n, (const uint8_t *)context,
                           (int)strlen(context)));
    must(EVP_DecryptUpdate(ctx, out, &n, text, (int)plain_len));
    whole = EVP_DecryptFinal_ex(ctx, out + plain_len, &n) == 1;
    EVP_CIPHER_CTX_free(ctx);
    return whole;
}

bool seal_open(const uint8_t key[SEAL_KEY_SIZE], const char *context,
               const void *sealed, size_t len, char *out, size_t size)
{
    size_t plain_len = len - MIN(len, SEAL_EXTRA);

    if (len < SEAL_EXTRA || len > INT_MAX || plain_len >= size ||
        *(const uint8_t *)sealed != FORM)
        return false;
    if (!decrypt(key, context, sealed, plain_len, (uint8_t *)out)) {
        sign_wipe(out, plain_len);
        return false;
    }
    out[plain_len] = '\0';
    return true;
}
