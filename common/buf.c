/*
 * The buffer grows by doubling, never beyond its limit, and turns `failed`
 * instead of growing when the limit or the memory is reached; what was there
 * before stays readable. It knows nothing about what it holds.
 */
#include "common/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/must.h"

#define FIRST_CAP 64

/* What an empty buffer points at, so that `data` is always a string. */
static char nothing[1];

static bool room_for(struct buf *b, size_t n);

void buf_init(struct buf *b, size_t max)
{
    must(max < SIZE_MAX);
    *b = (struct buf){.data = nothing, .max = max};
}

void buf_over(struct buf *b, char *memory, size_t size)
{
    must(size > 0);
    *b = (struct buf){.data = memory, .cap = size, .max = size - 1};
    memory[0] = '\0';
}

void buf_done(struct buf *b)
{
    if (b->data != nothing)
        free(b->data);
    buf_init(b, b->max);
}

void buf_reset(struct buf *b)
{
    b->len = 0;
    b->failed = false;
    if (b->cap)
        b->data[0] = '\0';
}

void buf_add(struct buf *b, const void *data, size_t len)
{
    if (len == 0 || !room_for(b, len))
        return;
    memcpy(b->data + b->len, data, len);
    b->len += len;
    b->data[b->len] = '\0';
}

void buf_adds(struct buf *b, const char *s)
{
    buf_add(b, s, strlen(s));
}

void buf_addc(struct buf *b, char c)
{
    buf_add(b, &c, 1);
}

/* Usually there is room already, and one pass is enough. */
void buf_addf(struct buf *b, const char *fmt, ...)
{
    size_t spare = b->cap - b->len;
    va_list args;
    int n;

    va_start(args, fmt);
    n = vsnprintf(spare ? b->data + b->len : NULL, spare, fmt, args);
    va_end(args);
    must(n >= 0);
    if (spare && (b->failed || (size_t)n >= spare))
        b->data[b->len] = '\0';
    if (!room_for(b, (size_t)n))
        return;
    if ((size_t)n >= spare) {
        va_start(args, fmt);
        vsnprintf(b->data + b->len, (size_t)n + 1, fmt, args);
        va_end(args);
    }
    b->len += (size_t)n;
}

void buf_addi(struct buf *b, int64_t n)
{
    char digits[20]; /* "-9223372036854775808" */
    char *p = digits + sizeof(digits);
    uint64_t left = n < 0 ? 0 - (uint64_t)n : (uint64_t)n;

    do {
        *--p = (char)('0' + left % 10);
        left /= 10;
    } while (left);
    if (n < 0)
        *--p = '-';
    buf_add(b, p, (size_t)(digits + sizeof(digits) - p));
}

void buf_addhex(struct buf *b, const void *data, size_t len)
{
    static const char hex[] = "0123456789abcdef";
    const unsigned char *bytes = data;

    if (len > b->max / 2) {
        b->failed = true;
        return;
    }
    if (len == 0 || !room_for(b, 2 * len))
        return;
    for (size_t i = 0; i < len; i++) {
        b->data[b->len++] = hex[bytes[i] >> 4];
        b->data[b->len++] = hex[bytes[i] & 15];
    }
    b->data[b->len] = '\0';
}

void buf_drop(struct buf *b, size_t n)
{
    must(n <= b->len);
    if (n == 0)
        return;
    b->len -= n;
    memmove(b->data, b->data + n, b->len + 1);
}

/* Whether @p n more bytes and the terminator fit, after growing for them. */
static bool room_for(struct buf *b, size_t n)
{
    size_t cap = b->cap ? b->cap : FIRST_CAP;
    char *bigger;

    if (b->failed || n > b->max - b->len) {
        b->failed = true;
        return false;
    }
    if (b->len + n < b->cap)
        return true;
    while (cap <= b->len + n)
        cap = cap > SIZE_MAX / 2 ? SIZE_MAX : 2 * cap;
    cap = MIN(cap, b->max + 1);
    bigger = realloc(b->cap ? b->data : NULL, cap);
    if (!bigger) {
        b->failed = true;
        return false;
    }
    b->data = bigger;
    b->cap = cap;
    return true;
}
