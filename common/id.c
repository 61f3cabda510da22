/*
 * UUIDs over OpenSSL's SHA-1 and random source. SHA-1 is what RFC 9562 names
 * for version 5; it hides nothing here and nothing rests on its strength.
 *
 * OpenSSL 3 looks an algorithm up by name on each one-shot call, which costs
 * more than the hash itself: it is fetched once, and each thread that makes ids
 * has its context for good.
 */
#include "common/id.h"

#include "common/must.h"

#include <openssl/evp.h>
#include <openssl/rand.h>

#include <string.h>

#define SHA1_SIZE 20

static void sha1(const struct uuid *ns, const char *name, size_t len,
                 uint8_t out[SHA1_SIZE])
{
    static _Thread_local EVP_MD_CTX *ctx;

    if (!ctx) {
        EVP_MD *md = EVP_MD_fetch(NULL, "SHA1", NULL);

        ctx = EVP_MD_CTX_new();
        must(md && ctx && EVP_DigestInit_ex2(ctx, md, NULL));
        EVP_MD_free(md); /* the context holds it */
    }
    must(EVP_DigestInit_ex2(ctx, NULL, NULL));
    must(EVP_DigestUpdate(ctx, ns->b, sizeof(ns->b)));
    must(EVP_DigestUpdate(ctx, name, len));
    must(EVP_DigestFinal_ex(ctx, out, NULL));
}

static void stamp(struct uuid *id, int version)
{
    id->b[6] = (uint8_t)((id->b[6] & 0x0f) | (version << 4));
    id->b[8] = (uint8_t)((id->b[8] & 0x3f) | 0x80);
}

void uuid_v5(const struct uuid *ns, const char *name, size_t len,
             struct uuid *out)
{
    uint8_t hash[SHA1_SIZE];

    sha1(ns, name, len, hash);
    memcpy(out->b, hash, sizeof(out->b));
    stamp(out, 5);
}

void uuid_v4(struct uuid *out)
{
    must(RAND_bytes(out->b, sizeof(out->b)) == 1);
    stamp(out, 4);
}

int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* Whether a hyphen stands before byte @p i in the text. */
static bool hyphen_before(size_t i)
{
    return i == 4 || i == 6 || i == 8 || i == 10;
}

/* -1 for what is no hex digit. (sign.h has hex too, but stands above.) */
static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static bool read_bytes(const char *p, struct uuid *id)
{
    for (size_t i = 0; i < sizeof(id->b); i++, p += 2) {
        if (hyphen_before(i) && *p++ != '-')
            return false;
        if (hex_digit(p[0]) < 0 || hex_digit(p[1]) < 0)
            return false;
        id->b[i] = (uint8_t)(hex_digit(p[0]) << 4 | hex_digit(p[1]));
    }
    return true;
}

enum err_code uuid_parse(const char *text, size_t len, struct uuid *ret,
                         struct err *err)
{
    struct uuid id;

    if (len != UUID_TEXT_SIZE - 1 || !read_bytes(text, &id))
        return err_set(err, ERR_INPUT, "\"%.*s\" is no UUID",
                       (int)MIN(len, (size_t)40), text);
    *ret = id;
    return ERR_NONE;
}

void uuid_format(const struct uuid *id, char out[UUID_TEXT_SIZE])
{
    static const char hex[] = "0123456789abcdef";
    char *p = out;

    for (size_t i = 0; i < sizeof(id->b); i++) {
        if (hyphen_before(i))
            *p++ = '-';
        *p++ = hex[id->b[i] >> 4];
        *p++ = hex[id->b[i] & 15];
    }
    *p = '\0';
}

bool uuid_equal(const struct uuid *a, const struct uuid *b)
{
    return memcmp(a->b, b->b, sizeof(a->b)) == 0;
}

/* Version and variant are the same in every id, so that the halves are folded
   and mixed (the finalizer of MurmurHash3, public domain). */
uint64_t uuid_hash(const struct uuid *id)
{
    uint64_t half[2], h;

    memcpy(half, id->b, sizeof(half));
    h = half[0] ^ (half[1] << 1 | half[1] >> 63);
    h = (h ^ (h >> 33)) * UINT64_C(0xff51afd7ed558ccd);
    h = (h ^ (h >> 33)) * UINT64_C(0xc4ceb9fe1a85ec53);
    return h ^ (h >> 33);
}
