/*
 * "Did you mean ...?": the candidate nearest to a word that nothing is called.
 * Distance is Levenshtein's (insert, delete, replace), over the first
 * NEAR_TEXT_MAX bytes.
 */
#ifndef FOLENI_COMMON_NEAR_H
#define FOLENI_COMMON_NEAR_H

#include <stddef.h>

#define NEAR_TEXT_MAX 64

struct near {
    const char *wanted;
    const char *best; /* NULL = nothing offered is near enough */
    size_t distance;  /* of best                               */
};

/** Begins a search; @p wanted is borrowed until its end. */
void near_init(struct near *n, const char *wanted);

/** Looks at a candidate, borrowed; of equally near ones the first stays. */
void near_offer(struct near *n, const char *candidate);

/** How many bytes differ between @p a and @p b. */
size_t near_distance(const char *a, const char *b);

#endif
