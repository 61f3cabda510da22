/*
 * The members of a request, for the HTTP body and the Kafka record alike: one
 * table, one row per member. A row's reader puts the canonical value into the
 * request or says what the member must be. What JSON Schema can say stands in
 * schemas/request-event.schema.json too; both must agree.
 */
#include "common/wire_priv.h"

#include "common/buf.h"
#include "common/clock.h"
#include "common/must.h"
#include "common/sign.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define DESCRIPTION_DEFAULT "Payment"
#define ASK_AGAIN_MAX 2
#define METADATA_MEMBERS_MAX 16
#define METADATA_NAME_MAX 40   /* characters */
#define METADATA_VALUE_MAX 256 /* characters */

static bool refuse(struct wire_reading *r, const char *field, const char *fmt,
                   ...) PRINTF_LIKE(3, 4);

static void fill(struct fault *f, const char *code, const char *field,
                 const char *fmt, va_list args) PRINTF_LIKE(4, 0);

static void fill(struct fault *f, const char *code, const char *field,
                 const char *fmt, va_list args)
{
    f->code = code;
    text_copy(f->field, sizeof(f->field), field);
    vsnprintf(f->text, sizeof(f->text), fmt, args);
}

enum err_code wire_fault(struct fault *f, const char *code, const char *field,
                         const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    fill(f, code, field, fmt, args);
    va_end(args);
    return ERR_INPUT;
}

static bool refuse(struct wire_reading *r, const char *field, const char *fmt,
                   ...)
{
    va_list args;

    va_start(args, fmt);
    fill(r->fault, "invalid_field", field, fmt, args);
    va_end(args);
    return false;
}

/* --- forms of texts --- */

static bool is_alnum(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') ||
           (c >= 'a' && c <= 'z');
}

static bool is_description(char c)
{
    return is_alnum(c) || (c && strchr(" .,_/-", c));
}

/* 1 to @p max characters, all of them @p ok. */
static bool made_of(const char *s, size_t max, bool (*ok)(char c))
{
    size_t n = 0;

    for (; s[n]; n++)
        if (n == max || !ok(s[n]))
            return false;
    return n > 0;
}

static bool is_printable(char c)
{
    return c >= ' ' && c <= '~';
}

static bool key_ok(const char *key)
{
    return made_of(key, IDEMPOTENCY_KEY_MAX, is_printable) && *key != ' ' &&
           key[strlen(key) - 1] != ' ';
}

/* How many characters a UTF-8 text has; JSON Schema counts them too. */
static size_t characters(const char *s)
{
    size_t n = 0;

    for (; *s; s++)
        n += ((unsigned char)*s & 0xc0) != 0x80;
    return n;
}

/* --- one reader per member --- */

static bool read_version(struct wire_reading *r, const struct json *v)
{
    (void)r;
    (void)v; /* looked at before all others */
    return true;
}

static bool read_key(struct wire_reading *r, const struct json *v)
{
    r->key = json_text(v);
    if (r->key && key_ok(r->key))
        return true;
    return refuse(r, "idempotency_key",
                  "must be 1 to %d printable ASCII characters, no space first "
                  "or last",
                  IDEMPOTENCY_KEY_MAX);
}

static bool read_msisdn(struct wire_reading *r, const struct json *v)
{
    char text[24];
    struct err err;

    if (!json_scalar(v, text, sizeof(text)))
        *text = '\0';
    if (msisdn_parse(text, strlen(text), &r->req->msisdn, &err))
        return refuse(r, "msisdn", "%s", err.text);
    return true;
}

static bool read_amount(struct wire_reading *r, const struct json *v)
{
    if (json_integer(v, &r->req->amount) && r->req->amount >= AMOUNT_MIN &&
        r->req->amount <= AMOUNT_MAX)
        return true;
    return refuse(r, "amount", "must be a whole number from %d to %d",
                  AMOUNT_MIN, AMOUNT_MAX);
}

static bool read_currency(struct wire_reading *r, const struct json *v)
{
    const char *s = json_text(v);

    return (s && strcmp(s, "KES") == 0) ||
           refuse(r, "currency", "must be \"KES\"");
}

static bool read_reference(struct wire_reading *r, const struct json *v)
{
    const char *s = json_text(v);

    if (!s || !made_of(s, REFERENCE_MAX, is_alnum))
        return refuse(r, "reference",
                      "must be 1 to %d letters and digits (A-Z, a-z, 0-9)",
                      REFERENCE_MAX);
    text_copy(r->req->reference, sizeof(r->req->reference), s);
    return true;
}

static bool read_description(struct wire_reading *r, const struct json *v)
{
    const char *s = json_text(v);

    if (!s || !made_of(s, DESCRIPTION_MAX, is_description))
        return refuse(r, "description",
                      "must be 1 to %d of letters, digits, space and .,_/-",
                      DESCRIPTION_MAX);
    text_copy(r->req->description, sizeof(r->req->description), s);
    return true;
}

/* A record of one that is gone was good when it was accepted. */
static bool read_shortcode(struct wire_reading *r, const struct json *v)
{
    const struct shortcode *sc;
    char text[24];
    int64_t n = 0;

    if (!json_scalar(v, text, sizeof(text)) || *text == '0' ||
        !wire_decimal(text, 9999999, &n) || n < 10000)
        return refuse(r, "shortcode", "must be 5 to 7 digits");
    sc = config_shortcode(r->cfg, n);
    if (!sc || (sc->gone && !r->record)) {
        (void)wire_fault(r->fault, "unknown_shortcode", "shortcode",
                         "shortcode %" PRId64 " is not configured", n);
        return false;
    }
    r->req->shortcode = n;
    return true;
}

static bool read_priority(struct wire_reading *r, const struct json *v)
{
    const char *s = json_text(v);

    return (s && priority_parse(s, &r->req->priority)) ||
           refuse(r, "priority", "must be \"high\", \"normal\" or \"low\"");
}

/* Kept in milliseconds: what is written is what was read. */
static bool read_expires_at(struct wire_reading *r, const struct json *v)
{
    const char *s = json_text(v);
    int64_t at;
    struct err err;

    if (!s || clock_parse(s, strlen(s), &at, &err))
        return refuse(r, "expires_at",
                      "must be a time like 2026-11-21T09:30:00Z (RFC 3339)");
    at -= at % US_PER_MS;
    if (at <= r->after_at)
        return refuse(r, "expires_at", "must lie after the request's time");
    r->req->expires_at = at;
    return true;
}

static bool read_ask_again(struct wire_reading *r, const struct json *v)
{
    int64_t n;

    if (!json_integer(v, &n) || n < 0 || n > ASK_AGAIN_MAX)
        return refuse(r, "ask_again", "must be a whole number from 0 to %d",
                      ASK_AGAIN_MAX);
    r->req->ask_again = (int)n;
    return true;
}

/* --- metadata --- */

static bool metadata_member(struct wire_reading *r, const struct json *m)
{
    const char *name = json_name(m), *s = json_text(m);
    char field[sizeof(r->fault->field)];
    size_t n = characters(name);

    snprintf(field, sizeof(field), "metadata.%s", name);
    if (n == 0 || n > METADATA_NAME_MAX)
        return refuse(r, field, "must have a name of 1 to %d characters",
                      METADATA_NAME_MAX);
    if (!s || characters(s) > METADATA_VALUE_MAX)
        return refuse(r, field, "must be a string of at most %d characters",
                      METADATA_VALUE_MAX);
    return true;
}

/* Members sorted by the bytes of their names: an object has no order, and the
   same request must have the same fingerprint. */
static size_t sort_members(const struct json *object,
                           const struct json *members[METADATA_MEMBERS_MAX])
{
    size_t n = 0;

    for (const struct json *m = json_first(object); m; m = json_next(m)) {
        size_t i = n++;

        if (n > METADATA_MEMBERS_MAX)
            break;
        for (; i > 0 && strcmp(json_name(m), json_name(members[i - 1])) < 0;
             i--)
            members[i] = members[i - 1];
        members[i] = m;
    }
    return n;
}

static void write_metadata(const struct json *const *members, size_t n,
                           struct buf *out)
{
    struct json_out j = {.buf = out};

    json_open(&j, NULL, '{');
    for (size_t i = 0; i < n; i++)
        json_put_text(&j, json_name(members[i]), json_text(members[i]));
    json_close(&j, '}');
}

static bool read_metadata(struct wire_reading *r, const struct json *v)
{
    const struct json *members[METADATA_MEMBERS_MAX];
    struct buf out;
    size_t n;

    if (!json_is_object(v))
        return refuse(r, "metadata", "must be an object of strings");
    n = sort_members(v, members);
    if (n > METADATA_MEMBERS_MAX)
        return refuse(r, "metadata", "must have at most %d members",
                      METADATA_MEMBERS_MAX);
    for (size_t i = 0; i < n; i++)
        if (!metadata_member(r, members[i]))
            return false;
    if (n == 0)
        return true; /* the same as none */
    buf_over(&out, r->req->metadata, sizeof(r->req->metadata));
    write_metadata(members, n, &out);
    return !out.failed ||
           refuse(r, "metadata", "must be at most %d bytes as compact JSON",
                  METADATA_MAX);
}

/* --- the table --- */

enum need {
    UNKNOWN,
    OPTIONAL,
    REQUIRED,
    OF_RECORD, /* required in a record, unknown elsewhere      */
    OF_ITEM    /* in a record and an item, unknown in a body   */
};

static const struct member {
    const char *name;
    enum need need;
    bool (*read)(struct wire_reading *r, const struct json *v);
} members[] = {
    {"version", OF_RECORD, read_version},
    {"idempotency_key", OF_ITEM, read_key},
    {"msisdn", REQUIRED, read_msisdn},
    {"amount", REQUIRED, read_amount},
    {"currency", OPTIONAL, read_currency},
    {"reference", REQUIRED, read_reference},
    {"description", OPTIONAL, read_description},
    {"shortcode", OPTIONAL, read_shortcode},
    {"priority", OPTIONAL, read_priority},
    {"expires_at", OPTIONAL, read_expires_at},
    {"ask_again", OPTIONAL, read_ask_again},
    {"metadata", OPTIONAL, read_metadata},
};

/* What it is in what is being read. */
static enum need needs(const struct wire_reading *r, const struct member *m)
{
    if (m->need == OF_RECORD)
        return r->record ? REQUIRED : UNKNOWN;
    if (m->need == OF_ITEM)
        return r->record || r->item ? REQUIRED : UNKNOWN;
    return m->need;
}

/* The row named @p name, or ARRAY_LEN(members). Most documents have their
   members in our order, so that row @p from is the first to be looked at. */
static size_t find_member(const char *name, size_t from)
{
    for (size_t n = 0; n < ARRAY_LEN(members); n++) {
        size_t i = (from + n) % ARRAY_LEN(members);

        if (strcmp(members[i].name, name) == 0)
            return i;
    }
    return ARRAY_LEN(members);
}

static bool read_all(struct wire_reading *r, const struct json *object,
                     unsigned *ret_seen)
{
    size_t i = 0;

    for (const struct json *v = json_first(object); v; v = json_next(v)) {
        i = find_member(json_name(v), i);
        if (i == ARRAY_LEN(members) || (needs(r, &members[i]) == UNKNOWN)) {
            (void)wire_fault(r->fault, "unknown_field", json_name(v),
                             "no such member is known");
            return false;
        }
        if (!members[i].read(r, v))
            return false;
        *ret_seen |= 1U << i;
        i++;
    }
    return true;
}

static bool none_missing(struct wire_reading *r, unsigned seen)
{
    for (size_t i = 0; i < ARRAY_LEN(members); i++) {
        if (needs(r, &members[i]) == REQUIRED && !(seen & (1U << i))) {
            (void)wire_fault(r->fault, "missing_field", members[i].name,
                             "is required");
            return false;
        }
    }
    return true;
}

static bool known_version(struct wire_reading *r, const struct json *root)
{
    const struct json *v = json_get(root, "version");
    int64_t n;

    if (!r->record || (json_integer(v, &n) && n == REQUEST_VERSION))
        return true;
    (void)wire_fault(r->fault, "unknown_version", "version",
                     v ? "must be %d: this is another version's record"
                       : "must be %d and is missing",
                     REQUEST_VERSION);
    return false;
}

static bool default_shortcode(struct wire_reading *r)
{
    size_t n = 0;

    if (r->req->shortcode)
        return true;
    for (size_t i = 0; i < r->cfg->shortcodes_n; i++) {
        const struct shortcode *sc = &r->cfg->shortcodes[i];

        n += !sc->gone;
        if (!sc->gone)
            r->req->shortcode = sc->shortcode;
    }
    if (n == 1)
        return true;
    (void)wire_fault(r->fault, "missing_field", "shortcode",
                     "is required: more than one is configured");
    return false;
}

/* What follows from the members: who it is, and what it looks like. */
static void derive(struct wire_reading *r)
{
    char canonical[CANONICAL_MAX + 1];
    uint8_t hash[SHA256_SIZE];
    struct buf b;
    struct json_out j = {.buf = &b};

    uuid_v5(&r->client->uuid, r->key, strlen(r->key), &r->req->id);
    buf_over(&b, canonical, sizeof(canonical));
    json_open(&j, NULL, '{');
    wire_put_members(&j, r->req);
    json_close(&j, '}');
    must(!b.failed);
    sign_sha256(b.data, b.len, hash);
    memcpy(r->req->fingerprint, hash, FINGERPRINT_SIZE);
}

static bool read_object(struct wire_reading *r, const struct json *root)
{
    unsigned seen = 0;

    return known_version(r, root) && read_all(r, root, &seen) &&
           none_missing(r, seen) && default_shortcode(r);
}

enum err_code wire_read_members(struct wire_reading *r, const char *text,
                                size_t len)
{
    CLEANUP(json_free)
    struct json *root = NULL;
    struct err err;

    if (!r->record && !r->item && !key_ok(r->key))
        return wire_fault(r->fault, "invalid_field", "Idempotency-Key",
                          "must be 1 to %d printable ASCII characters",
                          IDEMPOTENCY_KEY_MAX);
    if (len == 0)
        return wire_fault(r->fault, "invalid_json", "", "it is empty");
    if (json_parse_strict(text, len, &root, &err)) {
        /* Nobody may be told that a good request is a bad one. */
        must(err.code != ERR_MEMORY);
        return wire_fault(r->fault, "invalid_json", "", "%s", err.text);
    }
    if (!json_is_object(root))
        return wire_fault(r->fault, "invalid_json", "",
                          "must be a JSON object");
    r->req->client = r->client->uuid;
    r->req->priority = PRIORITY_NORMAL;
    text_copy(r->req->description, sizeof(r->req->description),
              DESCRIPTION_DEFAULT);
    if (!read_object(r, root))
        return ERR_INPUT;
    derive(r); /* r->key may stand in the tree */
    if (r->key_out)
        text_copy(r->key_out, IDEMPOTENCY_KEY_MAX + 1, r->key);
    return ERR_NONE;
}
