/*
 * One page of Pull Transactions: the request, and the answer read without
 * trust. An answer is an array in an array, amounts are text, and times end in
 * "Z" although the request's are EAT without a zone: a time is taken as UTC, or
 * as EAT where only that lies in the range that was asked for. Pure.
 */
#include "consumer/pull_priv.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/json.h"
#include "common/must.h"

#define EAT_US (INT64_C(3) * 3600 * US_PER_S)
/* The provider's clock may differ from ours by so much. */
#define SKEW_US (10 * 60 * US_PER_S)
#define AMOUNT_TEXT_MAX 24

/* --- the request --- */

/* "2026-11-21 17:04:09", EAT */
static void write_date(struct buf *out, int64_t at)
{
    char eat[15];

    clock_format_eat(at, eat);
    buf_addf(out, "%.4s-%.2s-%.2s %.2s:%.2s:%.2s", eat, eat + 4, eat + 6,
             eat + 8, eat + 10, eat + 12);
}

void pull_page_ask(struct buf *out, const struct pull_range *range,
                   int64_t offset)
{
    buf_addf(out, "{\"ShortCode\":\"%lld\",\"StartDate\":\"",
             (long long)range->shortcode);
    write_date(out, range->from);
    buf_adds(out, "\",\"EndDate\":\"");
    write_date(out, range->until);
    buf_addf(out, "\",\"OffSetValue\":\"%lld\"}", (long long)offset);
}

/* --- one record --- */

/* "168.00", 168: whole shillings. 0 for one with cents, which no push of ours
   can be; false for what is no amount. */
static bool read_amount(const struct json *v, int64_t *ret)
{
    char text[AMOUNT_TEXT_MAX];
    size_t whole, cents;
    const char *point;

    if (!json_scalar(v, text, sizeof(text)))
        return false;
    whole = strspn(text, "0123456789");
    point = text + whole;
    if (whole == 0 || whole > 12 || (*point && *point != '.'))
        return false;
    cents = *point ? strspn(point + 1, "0123456789") : 0;
    if (*point && (cents == 0 || point[1 + cents]))
        return false;
    *ret = strtoll(text, NULL, 10);
    if (*point && strspn(point + 1, "0") != cents)
        *ret = 0;
    return true;
}

static bool within(const struct pull_range *range, int64_t at)
{
    return at >= range->from - SKEW_US && at <= range->until + SKEW_US;
}

static bool read_time(const struct json *v, const struct pull_range *range,
                      int64_t *ret_at)
{
    const char *text = json_text(v);
    struct err err;

    if (!text || clock_parse(text, strlen(text), ret_at, &err))
        return false;
    if (!within(range, *ret_at) && within(range, *ret_at - EAT_US))
        *ret_at -= EAT_US;
    return true;
}

static bool read_receipt(const struct json *v, char out[RECEIPT_MAX + 1])
{
    if (!json_scalar(v, out, RECEIPT_MAX + 1) || !*out)
        return false;
    for (const char *c = out; *c; c++)
        if (!isalnum((unsigned char)*c))
            return false;
    return true;
}

/* A text or number that may be missing or null; false for more than that. */
static bool read_text(const struct json *v, char *out, size_t size)
{
    const char *text = json_text(v);

    out[0] = '\0';
    if (!v || (text && strlen(text) >= size))
        return true; /* longer than any of ours: fits none */
    return json_scalar(v, out, size) ||
           !(json_is_object(v) || json_is_array(v));
}

/* What is wrong with it, or NULL. */
static const char *read_row(const struct json *v,
                            const struct pull_range *range,
                            struct pull_row *row)
{
    buf_init(&row->body, PULL_BODY_MAX);
    if (!json_is_object(v))
        return "a record is no object";
    if (!read_receipt(json_get(v, "transactionId"), row->receipt))
        return "a record has no transaction id";
    if (!read_amount(json_get(v, "amount"), &row->amount))
        return "an amount is no amount";
    if (!read_time(json_get(v, "trxDate"), range, &row->paid_at))
        return "a time is no time";
    if (!within(range, row->paid_at))
        return "a record is of another time";
    if (!read_text(json_get(v, "msisdn"), row->phone, sizeof(row->phone)))
        return "a phone is no phone";
    if (!read_text(json_get(v, "billreference"), row->reference,
                   sizeof(row->reference)))
        return "a reference is no text";
    json_print(v, &row->body);
    return NULL;
}

/* --- the page --- */

static void lie(struct pull_page *page, const char *why)
{
    page->kind = PULL_LIE;
    page->why = why;
}

static size_t count(const struct json *list)
{
    size_t n = 0;

    for (const struct json *v = json_first(list); v; v = json_next(v))
        n++;
    return n;
}

/* The list of records, NULL for none or for a shape that is not the one. */
static const struct json *records(const struct json *response,
                                  struct pull_page *page)
{
    const struct json *list = json_first(response);

    if (!json_is_array(response) ||
        (list && (!json_is_array(list) || json_next(list)))) {
        lie(page, "Response is no array in an array");
        return NULL;
    }
    return list;
}

static void read_rows(const struct json *list, const struct pull_range *range,
                      struct pull_page *page)
{
    size_t n = count(list);
    const char *why = NULL;

    if (n > PULL_ROWS_MAX) {
        lie(page, "a page has too many records");
        return;
    }
    page->kind = n > 0 ? PULL_ROWS : PULL_END;
    page->rows = must_alloc(MAX(n, 1), sizeof(*page->rows));
    for (const struct json *v = json_first(list); v && !why; v = json_next(v))
        why = read_row(v, range, &page->rows[page->n++]);
    if (why)
        lie(page, why);
}

/* Who leaves it out speaks of the one that was asked for. */
static bool same_shortcode(const struct json *doc, int64_t shortcode)
{
    const struct json *v = json_get(doc, "ShortCode");
    int64_t n;

    return !v || (json_integer_or_text(v, &n) && n == shortcode);
}

static bool refuses_token(const struct pull_answer *a, const struct json *doc)
{
    const char *message = json_text(json_get(doc, "errorMessage"));

    return a->status == 401 ||
           (message && strstr(message, "Invalid Access Token"));
}

static void read_success(const struct json *doc, const struct pull_range *range,
                         struct pull_page *page)
{
    const struct json *list;
    char code[16];

    if (!json_scalar(json_get(doc, "ResponseCode"), code, sizeof(code)) ||
        (strcmp(code, "1000") != 0 && strcmp(code, "1001") != 0)) {
        lie(page, "ResponseCode is neither 1000 nor 1001");
    } else if (!same_shortcode(doc, range->shortcode)) {
        lie(page, "it is another shortcode's");
    } else if (code[3] == '1') {
        page->kind = PULL_END;
    } else {
        list = records(json_get(doc, "Response"), page);
        if (page->kind != PULL_LIE)
            read_rows(list, range, page);
    }
}

void pull_page_read(const struct pull_answer *a, const struct pull_range *range,
                    struct pull_page *ret)
{
    CLEANUP(json_free)
    struct json *doc = NULL;
    struct err err;

    *ret = (struct pull_page){.kind = PULL_END};
    if (json_parse_tolerant(a->body, a->len, &doc, &err) ||
        !json_is_object(doc)) {
        if (a->status == 401)
            ret->kind = PULL_TOKEN;
        else if (a->status == 200)
            lie(ret, "the answer is no JSON object");
        else
            *ret = (struct pull_page){PULL_LATER, "an error without words",
                                      NULL, 0};
    } else if (refuses_token(a, doc)) {
        ret->kind = PULL_TOKEN;
    } else if (a->status != 200 || json_get(doc, "errorCode")) {
        *ret = (struct pull_page){PULL_LATER, "an error", NULL, 0};
    } else {
        read_success(doc, range, ret);
    }
}

void pull_page_done(struct pull_page *page)
{
    for (size_t i = 0; i < page->n; i++)
        buf_done(&page->rows[i].body);
    free(page->rows);
    *page = (struct pull_page){.kind = PULL_END};
}
