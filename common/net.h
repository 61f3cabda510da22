/*
 * Networks as people write them: "196.201.214.0/24", "2001:db8::/32", or one
 * address. IPv4 and IPv6 are compared as one family (::ffff:0:0/96 is IPv4).
 */
#ifndef FOLENI_COMMON_NET_H
#define FOLENI_COMMON_NET_H

#include <stdbool.h>
#include <stdint.h>

struct network {
    uint8_t address[16]; /* IPv4 as ::ffff:a.b.c.d */
    int bits;            /* 0 to 128               */
};

/** False for what is none, and for bits behind the network's length. */
bool network_parse(const char *text, struct network *ret);

/** Whether @p address, as text, lies in it; false when it is none. */
bool network_has(const struct network *n, const char *address);

#endif
