/*
 * Filters are a table. A cursor is the place in the order, in hex: it says
 * nothing that its holder has not seen, and any other text is refused.
 */
#include "producer/find.h"

#include "common/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PLACE_MAX (UINT64_C(1) << 55) /* us since 1970: in the year 3111 */

void find_init(struct find *f)
{
    *f = (struct find){.state = -1, .limit = FIND_LIMIT};
}

/* --- values; false = cannot be used --- */

static bool take_ids(struct find *f, const char *value)
{
    struct err err;

    for (f->ids_n = 0; f->ids_n < FIND_IDS_MAX; value++) {
        size_t len = strcspn(value, ",");

        if (uuid_parse(value, len, &f->ids[f->ids_n], &err))
            return false;
        f->ids_n++;
        value += len;
        if (!*value)
            return true;
    }
    return false;
}

static bool take_msisdn(struct find *f, const char *value)
{
    struct err err;

    return !msisdn_parse(value, strlen(value), &f->msisdn, &err);
}

static bool take_reference(struct find *f, const char *value)
{
    size_t len = strlen(value);

    text_copy(f->reference, sizeof(f->reference), value);
    return len > 0 && len <= REFERENCE_MAX &&
           strspn(value, "abcdefghijklmnopqrstuvwxyz"
                         "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") == len;
}

/* What is queued still has no row to be found by. */
static bool take_status(struct find *f, const char *value)
{
    for (int s = PAYMENT_SENDING; s <= PAYMENT_DEAD; s++)
        if (strcmp(value, payment_state_name((enum payment_state)s)) == 0)
            f->state = s;
    return f->state >= 0;
}

static bool take_time(int64_t *at, const char *value)
{
    struct err err;

    return !clock_parse(value, strlen(value), at, &err) && *at > 0;
}

static bool take_from(struct find *f, const char *value)
{
    return take_time(&f->from_at, value);
}

static bool take_to(struct find *f, const char *value)
{
    return take_time(&f->to_at, value);
}

static bool take_limit(struct find *f, const char *value)
{
    size_t len = strlen(value);

    if (len == 0 || len > 6 || strspn(value, "0123456789") != len)
        return false;
    f->limit = strtol(value, NULL, 10);
    return f->limit > 0;
}

static bool read_hex(const char *text, uint8_t *to, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        int high = hex_value(text[2 * i]), low = hex_value(text[2 * i + 1]);

        if (high < 0 || low < 0)
            return false;
        to[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

static bool take_cursor(struct find *f, const char *value)
{
    uint8_t at[8];
    uint64_t n = 0;

    if (strlen(value) != FIND_CURSOR_SIZE - 1 ||
        !read_hex(value, at, sizeof(at)) ||
        !read_hex(value + 16, f->after.id.b, sizeof(f->after.id.b)))
        return false;
    for (size_t i = 0; i < sizeof(at); i++)
        n = n << 8 | at[i];
    f->after.created_at = (int64_t)(n & INT64_MAX);
    f->goes_on = true;
    return n > 0 && n < PLACE_MAX;
}

static const struct filter {
    const char *name, *must;
    bool (*take)(struct find *f, const char *value);
} filters[] = {
    {"ids", "must be 1 to 100 payment ids with commas between", take_ids},
    {"msisdn", "must be a Kenyan mobile number", take_msisdn},
    {"reference", "must be 1 to 12 letters and digits", take_reference},
    {"status",
     "must be one status of a payment that was claimed: what is queued is "
     "found by its id alone",
     take_status},
    {"from", "must be a time like 2026-11-21T08:00:00Z", take_from},
    {"to", "must be a time like 2026-11-21T08:00:00Z", take_to},
    {"limit", "must be a whole number from 1 to api.list_max", take_limit},
    {"cursor", "must be the next of an earlier page", take_cursor},
};

static bool printable(const char *s)
{
    while (*s > ' ' && *s < 0x7f)
        s++;
    return !*s;
}

enum err_code find_take(struct find *f, const char *name, const char *value,
                        int64_t limit_max, struct fault *fault)
{
    text_copy(fault->field, sizeof(fault->field), printable(name) ? name : "");
    for (size_t i = 0; i < ARRAY_LEN(filters); i++) {
        if (strcmp(filters[i].name, name) != 0)
            continue;
        if (filters[i].take(f, value) && f->limit <= limit_max)
            return ERR_NONE;
        fault->code = "invalid_field";
        text_copy(fault->text, sizeof(fault->text), filters[i].must);
        return ERR_INPUT;
    }
    fault->code = "unknown_filter";
    text_copy(fault->text, sizeof(fault->text),
              "is no filter: ids, msisdn, reference, status, from, to, limit, "
              "cursor");
    return ERR_INPUT;
}

void find_cursor(const struct find_place *place, char out[FIND_CURSOR_SIZE])
{
    int n = snprintf(out, FIND_CURSOR_SIZE, "%016" PRIx64,
                     (uint64_t)place->created_at);
    struct buf hex;

    buf_over(&hex, out + n, (size_t)(FIND_CURSOR_SIZE - n));
    buf_addhex(&hex, place->id.b, sizeof(place->id.b));
}
