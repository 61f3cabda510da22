/*
 * The end of a process that has caught itself in a mistake. Nothing here
 * allocates or locks: the line goes out in one write(2), then abort() leaves a
 * core for whoever looks into it.
 */
#include "common/must.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LINE_SIZE 512

void must_failed(const char *what, const char *file, int line)
{
    char text[LINE_SIZE];
    int n = snprintf(text, sizeof(text), "%s:%d: must hold, does not: %s\n",
                     file, line, what);

    if (n > 0) {
        /* A standard error that is gone changes nothing now. */
        ssize_t written =
            write(STDERR_FILENO, text, MIN((size_t)n, sizeof(text) - 1));
        (void)written;
    }
    abort();
}

void *must_alloc(size_t n, size_t size)
{
    void *p = calloc(MAX(n, (size_t)1), MAX(size, (size_t)1));

    if (!p)
        must_failed("memory for a new object", __FILE__, __LINE__);
    return p;
}

void *must_grow(void *p, size_t n, size_t size)
{
    void *bigger = reallocarray(p, n, size);

    if (!bigger)
        must_failed("memory for a growing table", __FILE__, __LINE__);
    return bigger;
}

char *must_strdup(const char *s)
{
    char *copy = strdup(s);

    if (!copy)
        must_failed("memory for a copy", __FILE__, __LINE__);
    return copy;
}
