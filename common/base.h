/*
 * The words that every file may use: attributes, ownership helpers, small
 * arithmetic. No functions of its own, no types, nothing that a library gives.
 */
#ifndef FOLENI_COMMON_BASE_H
#define FOLENI_COMMON_BASE_H

#include <stddef.h>

/** The caller has to look at the result; a wilful ignorer casts to void. */
#define MUST_CHECK __attribute__((warn_unused_result))
#define UNUSED __attribute__((unused))
#define NORETURN __attribute__((noreturn))
#define PRINTF_LIKE(fmt, first) __attribute__((format(printf, fmt, first)))

/** How many elements the array @p a has; never for a pointer. */
#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

/** The struct of type @p type whose member @p member is at @p ptr. */
#define container_of(ptr, type, member) \
    ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

/**
 * Calls @p fn on the variable when it leaves its scope:
 * `CLEANUP(buf_free) struct buf *b = NULL;`. @p fn takes the pointer, accepts
 * NULL, and needs `DEFINE_CLEANUP(buf_free, struct buf *)` beside its header's
 * prototype.
 */
#define CLEANUP(fn) __attribute__((cleanup(fn##_cleanup)))

#define DEFINE_CLEANUP(fn, type)                    \
    UNUSED static inline void fn##_cleanup(type *p) \
    {                                               \
        if (*p)                                     \
            fn(*p);                                 \
    }

/** Hands the pointer in @p var on and leaves NULL behind. */
#define TAKE(var)                       \
    __extension__({                     \
        __typeof__(var) taken_ = (var); \
        (var) = NULL;                   \
        taken_;                         \
    })

#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

#endif
