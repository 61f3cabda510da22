/*
 * A hash table with open addressing that only grows. Pure.
 */
#include "tests/daraja/tally.h"

#include <stdlib.h>
#include <string.h>

#include "common/must.h"

#define CAP_MIN 1024

void tally_init(struct tally *t)
{
    memset(t, 0, sizeof(*t));
    t->cap = CAP_MIN;
    t->rows = must_alloc(t->cap, sizeof(*t->rows));
}

void tally_done(struct tally *t)
{
    free(t->rows);
    t->rows = NULL;
}

void tally_reset(struct tally *t)
{
    tally_done(t);
    tally_init(t);
}

/* The key's row, or the free one where it belongs. 0 is no key. */
static struct tally_row *slot(struct tally_row *rows, size_t cap, uint64_t key)
{
    size_t i = key & (cap - 1);

    while (rows[i].key != 0 && rows[i].key != key)
        i = (i + 1) & (cap - 1);
    return &rows[i];
}

static void grow(struct tally *t)
{
    size_t cap = t->cap * 2;
    struct tally_row *rows = must_alloc(cap, sizeof(*rows));

    for (size_t i = 0; i < t->cap; i++)
        if (t->rows[i].key != 0)
            *slot(rows, cap, t->rows[i].key) = t->rows[i];
    free(t->rows);
    t->rows = rows;
    t->cap = cap;
}

static uint64_t sound(uint64_t key)
{
    return key ? key : 1;
}

uint32_t tally_add(struct tally *t, uint64_t key, enum tally_kind kind)
{
    struct tally_row *row;

    if (t->used * 4 >= t->cap * 3)
        grow(t);
    row = slot(t->rows, t->cap, sound(key));
    if (row->key == 0) {
        row->key = sound(key);
        t->used++;
    }
    if (++row->n[kind] == 2)
        t->twice[kind]++;
    if (row->n[kind] > t->most[kind])
        t->most[kind] = row->n[kind];
    return row->n[kind];
}

uint32_t tally_get(const struct tally *t, uint64_t key, enum tally_kind kind)
{
    return slot(t->rows, t->cap, sound(key))->n[kind];
}
