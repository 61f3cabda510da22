/*
 * The memory of a configuration: many small texts that live and die together.
 * One allocation each, in a list; the end wipes them all, since some are
 * secrets. Also how a fault is said, which every file of config needs.
 */
#include "common/config_priv.h"

#include "common/buf.h"
#include "common/must.h"
#include "common/sign.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FAULT_SIZE 1024 /* longer ones are cut */

struct keep_block {
    struct keep_block *next;
    size_t len;
    max_align_t data[]; /* len bytes */
};

void *keep_alloc(struct keep *k, size_t n, size_t size)
{
    size_t len, whole;

    must(!__builtin_mul_overflow(n, size, &len));
    must(!__builtin_add_overflow(len, sizeof(struct keep_block), &whole));
    struct keep_block *block = must_alloc(1, whole);
    block->len = len;
    block->next = k->first;
    k->first = block;
    return block->data;
}

const char *keep_text(struct keep *k, const char *text, size_t len)
{
    char *copy = keep_alloc(k, len + 1, 1);

    memcpy(copy, text, len);
    return copy;
}

const char *keep_textf(struct keep *k, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    int len = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    must(len >= 0);
    /* Straight into its place: a secret leaves no copy on the stack. */
    char *text = keep_alloc(k, (size_t)len + 1, 1);
    va_start(args, fmt);
    vsnprintf(text, (size_t)len + 1, fmt, args);
    va_end(args);
    return text;
}

void keep_done(struct keep *k)
{
    while (k->first) {
        struct keep_block *block = k->first;
        k->first = block->next;
        sign_wipe(block->data, block->len);
        free(block);
    }
}

void fault(struct faults *f, const char *where, const char *path,
           const char *fmt, ...)
{
    char what[FAULT_SIZE];
    va_list args;

    va_start(args, fmt);
    vsnprintf(what, sizeof(what), fmt, args);
    va_end(args);
    f->n++;
    if (where[0])
        buf_addf(f->out, "%s: ", where);
    if (path[0])
        buf_addf(f->out, "%s: ", path);
    buf_addf(f->out, "%s\n", what);
}
