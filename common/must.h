/*
 * Assertions that stay on in release builds. They are for our own mistakes:
 * a crash is taken over by another worker within seconds, a wrong payment is
 * not. Bytes, networks, databases, clocks and memory are never asserted on;
 * those are errors (common/err.h).
 */
#ifndef FOLENI_COMMON_MUST_H
#define FOLENI_COMMON_MUST_H

#include "common/base.h"

/** Ends the process with a line on standard error and SIGABRT. */
NORETURN void must_failed(const char *what, const char *file, int line);

/** Dies unless @p x holds. @p x may have side effects: it always runs. */
#define must(x)                                  \
    do {                                         \
        if (!(x))                                \
            must_failed(#x, __FILE__, __LINE__); \
    } while (0)

/**
 * Zeroed memory for @p n times @p size bytes, which the caller frees. Without
 * memory the process ends: use it for start-up and for what is bounded, not
 * for sizes that come from outside.
 */
void *must_alloc(size_t n, size_t size) MUST_CHECK;

/** realloc() of a table to @p n (> 0) elements; new ones are not zeroed. */
void *must_grow(void *p, size_t n, size_t size) MUST_CHECK;

/** One zeroed @p type. */
#define NEW(type) ((type *)must_alloc(1, sizeof(type)))

/** A copy of @p s that the caller frees; dies when memory is out. */
char *must_strdup(const char *s) MUST_CHECK;

#endif
