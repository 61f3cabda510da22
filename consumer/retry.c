/*
 * The arithmetic of waiting. Never more than the cap, whatever the count: the
 * shift is bounded before it can overflow.
 */
#include "consumer/retry.h"

#include "common/base.h"
#include "common/must.h"

#define DOUBLINGS_MAX 62 /* of an int64_t */

int64_t retry_between(int64_t low_us, int64_t high_us, uint32_t dice)
{
    must(low_us <= high_us);
    return low_us + (int64_t)((double)(high_us - low_us) *
                              ((double)dice / 4294967296.0));
}

int64_t retry_gap(int n, int64_t first_us, int64_t max_us)
{
    int64_t gap;

    must(n >= 0);
    if (__builtin_mul_overflow(first_us, INT64_C(1) << MIN(n, DOUBLINGS_MAX),
                               &gap))
        return max_us;
    return MIN(gap, max_us);
}

int64_t retry_backoff(int n, int64_t min_us, int64_t max_us, uint32_t dice)
{
    must(n >= 1);
    return retry_between(0, retry_gap(n - 1, min_us, max_us), dice);
}
