/*
 * Everything random in the simulator. One generator (xoshiro256**, Blackman
 * and Vigna, public domain), seeded by splitmix64. What becomes of a push is
 * drawn from a generator of its own, seeded by the simulator's seed and the
 * push's order, so that it does not depend on what else arrives in between.
 */
#ifndef FOLENI_TESTS_DARAJA_CHANCE_H
#define FOLENI_TESTS_DARAJA_CHANCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** A probability is counted in millionths. */
#define PPM 1000000

/** No delay is drawn longer than this. */
#define SPREAD_US_MAX INT64_C(600000000)

struct chance {
    uint64_t s[4];
};

/** A delay: log-normal through both points, or fixed when they are equal. */
struct spread {
    int64_t p50_us, p95_us;
};

void chance_seed(struct chance *c, uint64_t seed);

uint64_t chance_next(struct chance *c);

/** A number in [0, @p n), n > 0. */
uint64_t chance_below(struct chance *c, uint64_t n);

/** True in @p ppm of a million cases. Draws once, whatever @p ppm is. */
bool chance_hit(struct chance *c, int64_t ppm);

/**
 * Picks one of @p n outcomes with probabilities @p ppm; what they leave of a
 * million goes to outcome 0.
 */
size_t chance_pick(struct chance *c, const int64_t *ppm, size_t n);

/** Draws a delay in [0, SPREAD_US_MAX]. */
int64_t chance_spread(struct chance *c, const struct spread *s);

/** Mixes two numbers into a well-spread one. */
uint64_t chance_mix(uint64_t a, uint64_t b);

/** A 64-bit hash of bytes (FNV-1a with a finish). */
uint64_t chance_hash(const void *data, size_t len);

#endif
