/*
 * Reading JSON: json_scan() first holds the text to the grammar and to our
 * bounds, then cJSON makes the tree, then equal names are looked for in it. A
 * `struct json` is a cJSON item under another name; no other file knows that.
 *
 * cJSON keeps numbers as doubles. What the scan lets through is exact in one
 * (see there), so that whole numbers come back as they were written.
 */
#include "common/json.h"

#include "common/buf.h"
#include "common/json_priv.h"
#include "common/must.h"

#include <cjson/cJSON.h>

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define EXACT_MAX 9007199254740992.0 /* 2^53: above it doubles have gaps */
#define UTF8_REPLACEMENT "\xef\xbf\xbd"
#define BOM "\xef\xbb\xbf"

static const cJSON *item(const struct json *v)
{
    return (const cJSON *)(const void *)v;
}

static const struct json *node(const cJSON *i)
{
    return (const struct json *)(const void *)i;
}

/* --- equal names --- */

static unsigned name_bit(const char *name)
{
    uint32_t h = 2166136261; /* FNV-1a */

    for (; *name; name++)
        h = (h ^ (unsigned char)*name) * 16777619;
    return (h ^ (h >> 16)) & 63;
}

/* The name that @p object has twice, or NULL. Names are compared only when a
   set of 64 bits cannot tell them apart; JSON_MEMBERS_MAX bounds the rest. */
static const char *twice_here(const cJSON *object)
{
    uint64_t seen = 0;

    for (const cJSON *i = object->child; i; i = i->next) {
        uint64_t bit = UINT64_C(1) << name_bit(i->string);

        if (seen & bit)
            for (const cJSON *k = object->child; k != i; k = k->next)
                if (strcmp(i->string, k->string) == 0)
                    return i->string;
        seen |= bit;
    }
    return NULL;
}

/* The same in @p v and all below it; the scan has bounded the depth. */
static const char *twice(const cJSON *v)
{
    const char *name = cJSON_IsObject(v) ? twice_here(v) : NULL;

    for (const cJSON *i = v->child; i && !name; i = i->next)
        if (i->child)
            name = twice(i);
    return name;
}

/* --- parsing --- */

static enum err_code refuse(const struct json_fault *f, struct err *err)
{
    return err_set(err, ERR_INPUT, "cannot read JSON at byte %zu: %s", f->at,
                   f->why);
}

/* @p text has passed the scan: nothing but memory can be missing. */
static enum err_code make_tree(const char *text, size_t len, struct json **ret,
                               struct err *err)
{
    cJSON *root = cJSON_ParseWithLengthOpts(text, len, NULL, false);

    if (!root)
        return err_set(err, ERR_MEMORY, "could not read JSON: out of memory");
    *ret = (struct json *)(void *)root;
    return ERR_NONE;
}

enum err_code json_parse_strict(const char *text, size_t len, struct json **ret,
                                struct err *err)
{
    CLEANUP(json_free)
    struct json *root = NULL;
    struct json_fault fault;
    const char *name;

    if (!json_scan(text, len, true, &fault))
        return refuse(&fault, err);
    if (make_tree(text, len, &root, err))
        return err->code;
    name = twice(item(root));
    if (name)
        return err_set(err, ERR_INPUT,
                       "cannot read JSON: name \"%.40s\" stands there twice",
                       name);
    *ret = TAKE(root);
    return ERR_NONE;
}

/* What is no UTF-8 becomes U+FFFD; outside of strings the scan then fails. */
static void repair(const char *text, size_t len, struct buf *out)
{
    while (len) {
        size_t n = json_utf8(text, len);

        if (n)
            buf_add(out, text, n);
        else
            buf_adds(out, UTF8_REPLACEMENT);
        n = MAX(n, 1);
        text += n;
        len -= n;
    }
}

static enum err_code parse_repaired(const char *text, size_t len,
                                    struct json **ret, struct err *err)
{
    enum err_code code;
    struct json_fault fault;
    struct buf b;

    if (len > SIZE_MAX / 4)
        return err_set(err, ERR_LIMIT, "cannot read JSON: it is too long");
    buf_init(&b, 3 * len);
    repair(text, len, &b);
    if (b.failed)
        code = err_set(err, ERR_MEMORY, "could not read JSON: out of memory");
    else if (!json_scan(b.data, b.len, false, &fault))
        code = refuse(&fault, err);
    else
        code = make_tree(b.data, b.len, ret, err);
    buf_done(&b);
    return code;
}

enum err_code json_parse_tolerant(const char *text, size_t len,
                                  struct json **ret, struct err *err)
{
    struct json_fault fault;

    if (len >= strlen(BOM) && memcmp(text, BOM, strlen(BOM)) == 0) {
        text += strlen(BOM);
        len -= strlen(BOM);
    }
    if (json_scan(text, len, false, &fault))
        return make_tree(text, len, ret, err);
    if (fault.bad_utf8)
        return parse_repaired(text, len, ret, err);
    return refuse(&fault, err);
}

void json_free(struct json *root)
{
    cJSON_Delete((cJSON *)(void *)root);
}

/* --- looking --- */

bool json_is_object(const struct json *v)
{
    return cJSON_IsObject(item(v));
}

bool json_is_array(const struct json *v)
{
    return cJSON_IsArray(item(v));
}

const struct json *json_get(const struct json *object, const char *name)
{
    if (!json_is_object(object))
        return NULL;
    for (const cJSON *i = item(object)->child; i; i = i->next)
        if (strcmp(i->string, name) == 0)
            return node(i);
    return NULL;
}

const struct json *json_first(const struct json *v)
{
    return v ? node(item(v)->child) : NULL;
}

const struct json *json_next(const struct json *v)
{
    return v ? node(item(v)->next) : NULL;
}

const char *json_name(const struct json *v)
{
    return v && item(v)->string ? item(v)->string : "";
}

const char *json_text(const struct json *v)
{
    return cJSON_IsString(item(v)) ? item(v)->valuestring : NULL;
}

bool json_integer(const struct json *v, int64_t *ret)
{
    double d;
    int64_t n;

    if (!cJSON_IsNumber(item(v)))
        return false;
    d = item(v)->valuedouble;
    if (!(d > -EXACT_MAX && d < EXACT_MAX))
        return false;
    n = (int64_t)d;
    if ((double)n < d || (double)n > d)
        return false;
    *ret = n;
    return true;
}

/* "254", "-3", "254.00": whole, and within what json_integer() takes. */
static bool whole_text(const char *s, int64_t *ret)
{
    bool negative = *s == '-';
    int64_t n = 0;
    const char *first;

    s += negative;
    for (first = s; *s >= '0' && *s <= '9'; s++) {
        n = 10 * n + (*s - '0');
        if (n >= (int64_t)EXACT_MAX)
            return false;
    }
    if (s == first)
        return false;
    if (*s == '.' && s[1])
        s += 1 + strspn(s + 1, "0");
    if (*s)
        return false;
    *ret = negative ? -n : n;
    return true;
}

bool json_integer_or_text(const struct json *v, int64_t *ret)
{
    const char *s = json_text(v);

    return s ? whole_text(s, ret) : json_integer(v, ret);
}

bool json_scalar(const struct json *v, char *out, size_t size)
{
    char decimal[24];
    const char *s = json_text(v);
    int64_t n;

    if (!s && json_integer(v, &n)) {
        snprintf(decimal, sizeof(decimal), "%" PRId64, n);
        s = decimal;
    }
    if (!s || strlen(s) >= size)
        return false;
    memcpy(out, s, strlen(s) + 1);
    return true;
}

/* --- printing a tree --- */

static void print_number(const struct json *v, struct buf *out)
{
    int64_t n;

    if (json_integer(v, &n))
        buf_addi(out, n);
    else
        buf_addf(out, "%.15g", item(v)->valuedouble);
}

static void print_items(const struct json *v, struct buf *out)
{
    bool object = json_is_object(v);

    buf_addc(out, object ? '{' : '[');
    for (const struct json *i = json_first(v); i; i = json_next(i)) {
        if (i != json_first(v))
            buf_addc(out, ',');
        if (object) {
            json_string(out, json_name(i), strlen(json_name(i)));
            buf_addc(out, ':');
        }
        json_print(i, out);
    }
    buf_addc(out, object ? '}' : ']');
}

void json_print(const struct json *v, struct buf *out)
{
    const char *s = json_text(v);

    if (s)
        json_string(out, s, strlen(s));
    else if (cJSON_IsNumber(item(v)))
        print_number(v, out);
    else if (json_is_object(v) || json_is_array(v))
        print_items(v, out);
    else if (cJSON_IsBool(item(v)))
        buf_adds(out, cJSON_IsTrue(item(v)) ? "true" : "false");
    else
        buf_adds(out, "null");
}
