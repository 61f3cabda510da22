/*
 * Two rows of the classic table are enough: the row above and the one that is
 * being filled. Near enough means at most a third of the word's length, and
 * never more than NEAR_MAX: a far-fetched suggestion is worse than none.
 */
#include "common/near.h"

#include "common/base.h"

#include <string.h>

#define NEAR_MAX 4

void near_init(struct near *n, const char *wanted)
{
    size_t third = strnlen(wanted, NEAR_TEXT_MAX) / 3 + 1;

    *n = (struct near){.wanted = wanted, .distance = MIN(third, NEAR_MAX) + 1};
}

void near_offer(struct near *n, const char *candidate)
{
    size_t distance = near_distance(n->wanted, candidate);

    if (distance >= n->distance)
        return;
    n->best = candidate;
    n->distance = distance;
}

size_t near_distance(const char *a, const char *b)
{
    size_t a_len = strnlen(a, NEAR_TEXT_MAX);
    size_t b_len = strnlen(b, NEAR_TEXT_MAX);
    size_t above[NEAR_TEXT_MAX + 1], row[NEAR_TEXT_MAX + 1];

    for (size_t j = 0; j <= b_len; j++)
        above[j] = j;
    for (size_t i = 1; i <= a_len; i++) {
        row[0] = i;
        for (size_t j = 1; j <= b_len; j++) {
            size_t replaced = above[j - 1] + (a[i - 1] != b[j - 1]);
            size_t shorter = MIN(above[j], row[j - 1]) + 1;
            row[j] = MIN(replaced, shorter);
        }
        memcpy(above, row, (b_len + 1) * sizeof(row[0]));
    }
    return above[b_len];
}
