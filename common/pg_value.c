/*
 * Values in PostgreSQL's binary form: parameters, built up in one buffer that
 * is used again for every statement, and the reading of results.
 *
 * Forms: src/backend/utils/adt/arrayfuncs.c array_recv() for arrays, big-endian
 * integers, timestamptz as microseconds since 2000-01-01 UTC (`infinity` does
 * not occur in our tables). Types and counts are ours, never input, so what
 * does not fit is a must().
 */
#include <endian.h>
#include <libpq-fe.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/must.h"
#include "common/pg_priv.h"

#define EPOCH_2000_US (INT64_C(946684800) * US_PER_S)
#define PARAMS_BYTES_FIRST 4096
#define ARRAY_HEAD 20 /* dimensions, nulls, type, length, lower bound */

/* pg_type.dat of the server: these numbers never change. */
static const uint32_t element_oids[] = {
    [PG_BOOL] = 16,   [PG_INT2] = 21, [PG_INT4] = 23,  [PG_INT8] = 20,
    [PG_UUID] = 2950, [PG_TEXT] = 25, [PG_BYTEA] = 17, [PG_TIMESTAMPTZ] = 1184,
};

/* --- parameters --- */

struct pg_params *pg_params(struct pg *pg)
{
    struct pg_params *p = &pg->params;

    must(p->left == 0);
    p->len = p->n = 0;
    return p;
}

static void grow(struct pg_params *p, size_t need)
{
    size_t cap = MAX(p->cap, PARAMS_BYTES_FIRST);

    while (cap < need)
        cap *= 2;
    must(cap <= PG_PARAMS_BYTES_MAX);
    p->data = realloc(p->data, cap);
    must(p->data);
    p->cap = cap;
}

static char *room(struct pg_params *p, size_t n)
{
    char *at;

    if (p->len + n > p->cap)
        grow(p, p->len + n);
    at = p->data + p->len;
    p->len += n;
    return at;
}

static void put32(char *at, uint32_t v)
{
    v = htobe32(v);
    memcpy(at, &v, sizeof(v));
}

static void begin_param(struct pg_params *p, bool null)
{
    must(p->left == 0 && p->n < PG_PARAMS_MAX);
    p->null[p->n] = null;
    p->at[p->n++] = p->len;
}

/* Where the n bytes of the next element or parameter go. */
static char *value(struct pg_params *p, enum pg_type type, size_t n)
{
    char *at;

    if (!p->left) {
        begin_param(p, false);
        return room(p, n);
    }
    must(p->type == type);
    p->left--;
    at = room(p, n + 4);
    put32(at, (uint32_t)n);
    return at + 4;
}

void pg_int2(struct pg_params *p, int16_t v)
{
    uint16_t be = htobe16((uint16_t)v);

    memcpy(value(p, PG_INT2, sizeof(be)), &be, sizeof(be));
}

void pg_int4(struct pg_params *p, int32_t v)
{
    put32(value(p, PG_INT4, 4), (uint32_t)v);
}

static void put64(struct pg_params *p, enum pg_type type, int64_t v)
{
    uint64_t be = htobe64((uint64_t)v);

    memcpy(value(p, type, sizeof(be)), &be, sizeof(be));
}

void pg_int8(struct pg_params *p, int64_t v)
{
    put64(p, PG_INT8, v);
}

void pg_bool(struct pg_params *p, bool v)
{
    *value(p, PG_BOOL, 1) = v;
}

void pg_uuid(struct pg_params *p, const struct uuid *v)
{
    memcpy(value(p, PG_UUID, sizeof(v->b)), v->b, sizeof(v->b));
}

static void put_bytes(struct pg_params *p, enum pg_type type, const void *v,
                      size_t len)
{
    char *at = value(p, type, len);

    if (len > 0)
        memcpy(at, v, len);
}

void pg_text(struct pg_params *p, const char *v)
{
    if (v)
        put_bytes(p, PG_TEXT, v, strlen(v));
    else
        pg_null(p);
}

void pg_bytes(struct pg_params *p, const void *v, size_t len)
{
    put_bytes(p, PG_BYTEA, v, len);
}

void pg_time(struct pg_params *p, int64_t at)
{
    if (at)
        put64(p, PG_TIMESTAMPTZ, at - EPOCH_2000_US);
    else
        pg_null(p);
}

void pg_null(struct pg_params *p)
{
    if (!p->left) {
        begin_param(p, true);
        return;
    }
    p->left--;
    put32(room(p, 4), UINT32_MAX); /* length -1 */
    put32(p->data + p->flags_at, 1);
}

void pg_array(struct pg_params *p, enum pg_type type, size_t n)
{
    char *head;

    begin_param(p, false);
    head = room(p, n ? ARRAY_HEAD : 12); /* empty: no dimension follows */
    put32(head, n ? 1 : 0);
    put32(head + 4, 0);
    put32(head + 8, element_oids[type]);
    if (n) {
        put32(head + 12, (uint32_t)n);
        put32(head + 16, 1);
    }
    p->flags_at = (size_t)(head - p->data) + 4;
    p->type = type;
    p->left = n;
}

void pg_keep(struct pg_params *p, size_t n)
{
    must(p->left == 0 && n <= p->n);
    if (n < p->n)
        p->len = p->at[n];
    p->n = n;
}

void pg_params_wire(const struct pg_params *p, struct pg_wire *ret)
{
    must(p->left == 0);
    ret->n = (int)p->n;
    for (size_t i = 0; i < p->n; i++) {
        size_t end = i + 1 < p->n ? p->at[i + 1] : p->len;

        ret->values[i] = p->null[i] ? NULL : p->data + p->at[i];
        ret->lengths[i] = (int)(end - p->at[i]);
        ret->formats[i] = 1;
    }
}

/* --- results --- */

size_t pg_rows(const struct pg_result *r)
{
    return (size_t)PQntuples(r);
}

size_t pg_changed(const struct pg_result *r)
{
    /* libpq takes no const here and changes nothing. */
    const char *n = PQcmdTuples((PGresult *)(uintptr_t)r);

    return (size_t)strtoull(n, NULL, 10);
}

static const char *cell(const struct pg_result *r, size_t row, size_t col)
{
    const char *v = PQgetvalue(r, (int)row, (int)col);

    must(v);
    return v;
}

static int cell_length(const struct pg_result *r, size_t row, size_t col)
{
    return PQgetlength(r, (int)row, (int)col);
}

bool pg_is_null(const struct pg_result *r, size_t row, size_t col)
{
    return PQgetisnull(r, (int)row, (int)col);
}

static int64_t get64(const char *v)
{
    uint64_t n;

    memcpy(&n, v, sizeof(n));
    return (int64_t)be64toh(n);
}

int64_t pg_get_int(const struct pg_result *r, size_t row, size_t col)
{
    const char *v = cell(r, row, col);
    uint32_t n4;
    uint16_t n2;

    switch (cell_length(r, row, col)) {
    case 0: return 0; /* null */
    case 2: memcpy(&n2, v, sizeof(n2)); return (int16_t)be16toh(n2);
    case 4: memcpy(&n4, v, sizeof(n4)); return (int32_t)be32toh(n4);
    case 8: return get64(v);
    default: break;
    }
    must_failed("an integer column", __FILE__, __LINE__);
}

bool pg_get_bool(const struct pg_result *r, size_t row, size_t col)
{
    return *cell(r, row, col) != 0; /* null is "", hence false */
}

struct uuid pg_get_uuid(const struct pg_result *r, size_t row, size_t col)
{
    const char *v = cell(r, row, col);
    struct uuid id = {0};

    if (!pg_is_null(r, row, col)) {
        must(cell_length(r, row, col) == sizeof(id.b));
        memcpy(id.b, v, sizeof(id.b));
    }
    return id;
}

int64_t pg_get_time(const struct pg_result *r, size_t row, size_t col)
{
    const char *v = cell(r, row, col);

    if (pg_is_null(r, row, col))
        return 0;
    must(cell_length(r, row, col) == 8);
    return get64(v) + EPOCH_2000_US;
}

const char *pg_get_text(const struct pg_result *r, size_t row, size_t col,
                        size_t *ret_len)
{
    const char *v = cell(r, row, col);

    if (ret_len)
        *ret_len = (size_t)cell_length(r, row, col);
    return v;
}
