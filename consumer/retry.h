/*
 * When to try again: pure arithmetic with the dice given. Exponential with full
 * jitter (a uniform draw below a doubling, capped bound), and uniform draws
 * between two figures.
 */
#ifndef FOLENI_CONSUMER_RETRY_H
#define FOLENI_CONSUMER_RETRY_H

#include <stdint.h>

/** Uniform in [low, high] by @p dice (0 … 2^32-1); low <= high. */
int64_t retry_between(int64_t low_us, int64_t high_us, uint32_t dice);

/**
 * The wait before try @p n + 1 (n >= 1 have been): uniform in
 * [0, min(min_us * 2^(n-1), max_us)].
 */
int64_t retry_backoff(int n, int64_t min_us, int64_t max_us, uint32_t dice);

/** min(first_us * 2^n, max_us): the gap after query number n (from 0). */
int64_t retry_gap(int n, int64_t first_us, int64_t max_us);

#endif
