/*
 * The generator and what is drawn from it. Pure: no clock, no I/O.
 *
 * A log-normal delay is given by its median and its 95th percentile, since
 * those are what people know of a service; sigma follows from their ratio.
 */
#include "tests/daraja/chance.h"

#include <math.h>

#define Z95 1.6448536269514722 /* 95th percentile of the standard normal */

static uint64_t rotl(uint64_t x, int k)
{
    return (x << k) | (x >> (64 - k));
}

/* splitmix64 by Vigna: the finish of its step is a good mixer too. */
static uint64_t split(uint64_t x)
{
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

uint64_t chance_mix(uint64_t a, uint64_t b)
{
    return split(split(a + UINT64_C(0x9e3779b97f4a7c15)) ^ b);
}

uint64_t chance_hash(const void *data, size_t len)
{
    const unsigned char *p = data;
    uint64_t h = UINT64_C(0xcbf29ce484222325);

    for (size_t i = 0; i < len; i++)
        h = (h ^ p[i]) * UINT64_C(0x100000001b3);
    return split(h);
}

void chance_seed(struct chance *c, uint64_t seed)
{
    for (int i = 0; i < 4; i++) {
        seed += UINT64_C(0x9e3779b97f4a7c15);
        c->s[i] = split(seed);
    }
}

uint64_t chance_next(struct chance *c)
{
    uint64_t *s = c->s;
    uint64_t out = rotl(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;

    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 45);
    return out;
}

/* The bias of a plain remainder is below 2^-40 for the small n used here. */
uint64_t chance_below(struct chance *c, uint64_t n)
{
    return chance_next(c) % n;
}

bool chance_hit(struct chance *c, int64_t ppm)
{
    return (int64_t)chance_below(c, PPM) < ppm;
}

size_t chance_pick(struct chance *c, const int64_t *ppm, size_t n)
{
    int64_t left = (int64_t)chance_below(c, PPM);

    for (size_t i = 1; i < n; i++) {
        if (left < ppm[i])
            return i;
        left -= ppm[i];
    }
    return 0;
}

/* A number in (0, 1): never 0, so that its logarithm exists. */
static double unit(struct chance *c)
{
    return ((double)(chance_next(c) >> 11) + 0.5) * 0x1p-53;
}

int64_t chance_spread(struct chance *c, const struct spread *s)
{
    double radius = sqrt(-2 * log(unit(c)));
    double z = radius * cos(2 * M_PI * unit(c)); /* Box and Muller */
    double us;

    if (s->p50_us >= s->p95_us || s->p50_us <= 0)
        return s->p50_us;
    us = (double)s->p50_us *
         exp(z * log((double)s->p95_us / (double)s->p50_us) / Z95);
    return us < (double)SPREAD_US_MAX ? (int64_t)us : SPREAD_US_MAX;
}
