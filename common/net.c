/*
 * inet_pton() reads the addresses: it takes no shortened IPv4 and no octal.
 */
#include "common/net.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_SIZE 64
#define MAPPED_BITS 96

/* @return how many bits an address of its kind has, 0 = it is none. */
static int read_address(const char *text, uint8_t out[16])
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

    if (inet_pton(AF_INET6, text, out) == 1)
        return 128;
    memcpy(out, mapped, sizeof(mapped));
    return inet_pton(AF_INET, text, out + sizeof(mapped)) == 1 ? 32 : 0;
}

/* Digits only, at most three. */
static bool read_bits(const char *text, int max, int *ret)
{
    size_t len = strlen(text);

    if (!len || len > 3 || strspn(text, "0123456789") != len)
        return false;
    *ret = (int)strtol(text, NULL, 10);
    return *ret <= max;
}

/* Whether @p a and @p b are equal in their first @p bits. */
static bool same(const uint8_t a[16], const uint8_t b[16], int bits)
{
    int whole = bits / 8, rest = bits % 8;

    return memcmp(a, b, (size_t)whole) == 0 &&
           (!rest || ((a[whole] ^ b[whole]) >> (8 - rest)) == 0);
}

static bool nothing_behind(const struct network *n)
{
    for (int i = n->bits; i < 128; i++)
        if (n->address[i / 8] >> (7 - i % 8) & 1)
            return false;
    return true;
}

bool network_parse(const char *text, struct network *ret)
{
    size_t len = strcspn(text, "/");
    char address[TEXT_SIZE];
    int max;

    if (len >= sizeof(address))
        return false;
    memcpy(address, text, len);
    address[len] = '\0';
    max = read_address(address, ret->address);
    ret->bits = max;
    if (!max || (text[len] && !read_bits(text + len + 1, max, &ret->bits)))
        return false;
    if (max == 32)
        ret->bits += MAPPED_BITS;
    return nothing_behind(ret);
}

bool network_has(const struct network *n, const char *address)
{
    size_t len = strcspn(address, "%"); /* fe80::1%eth0 */
    char text[TEXT_SIZE];
    uint8_t bytes[16];

    if (len >= sizeof(text))
        return false;
    memcpy(text, address, len);
    text[len] = '\0';
    return read_address(text, bytes) && same(n->address, bytes, n->bits);
}
