/*
 * A growing byte buffer that cannot be made without its upper limit. After a
 * write that did not fit it is marked failed and stays so until buf_reset():
 * many writes can be done and the outcome looked at once. The content is
 * always followed by a zero byte that does not count.
 */
#ifndef FOLENI_COMMON_BUF_H
#define FOLENI_COMMON_BUF_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base.h"

struct buf {
    char *data;  /* never NULL after buf_init(); zero-terminated */
    size_t len;  /* bytes of content                             */
    size_t cap;  /* bytes allocated                              */
    size_t max;  /* most bytes of content                        */
    bool failed; /* a write did not fit, or memory was out     */
};

/** @p max bytes of content at most, terminator apart; allocates nothing yet. */
void buf_init(struct buf *b, size_t max);

/** Writes into @p memory of the caller and never grows: no buf_done(). */
void buf_over(struct buf *b, char *memory, size_t size);

/** Frees the memory; the buffer is then as after buf_init(). */
void buf_done(struct buf *b);

/** Empties the buffer and clears the failure; memory stays for reuse. */
void buf_reset(struct buf *b);

void buf_add(struct buf *b, const void *data, size_t len);
void buf_adds(struct buf *b, const char *s);
void buf_addc(struct buf *b, char c);
void buf_addf(struct buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);

/** Adds @p n in decimal; faster than buf_addf. */
void buf_addi(struct buf *b, int64_t n);

/** Adds lower-case hex of @p len bytes. */
void buf_addhex(struct buf *b, const void *data, size_t len);

/** Drops the first @p n bytes (n <= len) by moving the rest down. */
void buf_drop(struct buf *b, size_t n);

#endif
