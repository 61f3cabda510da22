/*
 * Rows by age, in a table that grows and then turns into a ring. Pure.
 */
#include "tests/daraja/paid.h"

#include <stdlib.h>
#include <string.h>

#include "common/must.h"

#define CAP_MIN 1024

void paid_init(struct paid *p)
{
    memset(p, 0, sizeof(*p));
}

void paid_done(struct paid *p)
{
    free(p->rows);
    paid_init(p);
}

void paid_reset(struct paid *p)
{
    p->n = p->first = 0;
}

void paid_add(struct paid *p, const struct paid_row *row)
{
    if (p->n == p->cap && p->cap < PAID_ROWS_MAX) {
        p->cap = MIN(MAX(2 * p->cap, CAP_MIN), PAID_ROWS_MAX);
        p->rows = must_grow(p->rows, p->cap, sizeof(*p->rows));
    }
    if (p->n < p->cap) {
        p->rows[p->n++] = *row;
        return;
    }
    p->rows[p->first] = *row;
    p->first = (p->first + 1) % p->cap;
}

static struct paid_row *place(const struct paid *p, size_t i)
{
    must(i < p->n);
    return &p->rows[(p->first + i) % p->cap];
}

static struct paid_row *find(const struct paid *p, const char *receipt)
{
    for (size_t i = p->n; i > 0; i--)
        if (strcmp(place(p, i - 1)->receipt, receipt) == 0)
            return place(p, i - 1);
    return NULL;
}

const struct paid_row *paid_at(const struct paid *p, size_t i)
{
    return place(p, i);
}

const struct paid_row *paid_find(const struct paid *p, const char *receipt)
{
    return find(p, receipt);
}

void paid_reverse(struct paid *p, const char *receipt)
{
    struct paid_row *row = find(p, receipt);

    if (row)
        row->reversed = true;
}
