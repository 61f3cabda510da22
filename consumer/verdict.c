/*
 * Reads an answer of Daraja just far enough to find its row in verdict.def. A
 * body is first given a shape, then code and text are compared. Reading is
 * tolerant (strings or numbers, unknown members); what cannot be read has a
 * shape of its own and ends as ambiguous.
 */
#include "consumer/verdict.h"

#include "common/json.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

enum shape {
    SHAPE_ID,    /* ResponseCode and CheckoutRequestID            */
    SHAPE_NO_ID, /* ResponseCode alone                            */
    SHAPE_ERROR, /* errorCode (+ errorMessage)                    */
    SHAPE_FAULT, /* the gateway's {"fault":{"detail":{...}}}      */
    SHAPE_JSON,  /* any other JSON                                */
    SHAPE_TEXT,  /* no JSON at all: HTML, text, nothing           */
    SHAPE_BROKEN /* begins like JSON, and is none: cut, or two    */
};

struct push_row {
    int row;
    enum shape shape;
    int status;
    const char *code, *says;
    enum verdict_kind kind;
    enum result_class class;
    bool stop;
};

struct code_row {
    const char *code;
    enum verdict_kind kind;
    enum result_class class;
    bool stop;
};

static const struct push_row push_rows[] = {
#define PUSH(row, shape, status, code, says, kind, class, stop) \
    {row, shape, status, code, says, VERDICT_##kind, class, stop},
#include "consumer/verdict.def"
#undef PUSH
};

static const struct code_row code_rows[] = {
#define RESULT_CODE(code, kind, class, stop) \
    {code, VERDICT_##kind, class, stop},
#include "consumer/verdict.def"
#undef RESULT_CODE
};

/* What was read of a body; texts are "" when absent. */
struct reading {
    enum shape shape;
    bool odd;   /* members contradict each other, or cannot be kept */
    bool named; /* an id of a push shows anywhere in it, whatever it says */
    char code[RESULT_CODE_MAX + 1];
    char text[RESULT_TEXT_MAX + 1];
    char checkout_id[CHECKOUT_ID_MAX + 1];
    char merchant_id[CHECKOUT_ID_MAX + 1];
    char result[RESULT_CODE_MAX + 1]; /* ResultCode, of a query */
};

/* Copies the scalar @p name of @p object; false when it is absent, empty or
   too long: an id that had to be cut would be another id. */
static bool read_scalar(const struct json *object, const char *name, char *to,
                        size_t size)
{
    if (json_scalar(json_get(object, name), to, size) && *to)
        return true;
    *to = '\0';
    return false;
}

static void read_text(const struct json *object, const char *name,
                      struct reading *r)
{
    const char *s = json_text(json_get(object, name));

    text_copy(r->text, sizeof(r->text), s ? s : "");
}

static enum shape odd(struct reading *r)
{
    r->odd = true;
    return SHAPE_JSON;
}

static enum shape shape_of_response(const struct json *o, struct reading *r)
{
    if (!read_scalar(o, "ResponseCode", r->code, sizeof(r->code)))
        return odd(r);
    read_text(o, "ResponseDescription", r);
    read_scalar(o, "MerchantRequestID", r->merchant_id, sizeof(r->merchant_id));
    if (read_scalar(o, "CheckoutRequestID", r->checkout_id,
                    sizeof(r->checkout_id)))
        return SHAPE_ID;
    /* an id that is there but cannot be kept is neither one nor the other */
    return r->named ? odd(r) : SHAPE_NO_ID;
}

static enum shape shape_of_fault(const struct json *fault, struct reading *r)
{
    const char *code =
        json_text(json_get(json_get(fault, "detail"), "errorcode"));

    read_text(fault, "faultstring", r);
    /* longer than the provider's own codes; its beginning is what counts */
    text_copy(r->code, sizeof(r->code), code ? code : "");
    return SHAPE_FAULT;
}

static enum shape shape_of_object(const struct json *o, struct reading *r)
{
    bool error = read_scalar(o, "errorCode", r->code, sizeof(r->code));
    bool response = json_get(o, "ResponseCode") != NULL;

    read_scalar(o, "ResultCode", r->result, sizeof(r->result));
    /* refused, and yet it was given an id, or was answered */
    if (error && (response || r->named))
        return odd(r);
    if (error) {
        read_text(o, "errorMessage", r);
        return SHAPE_ERROR;
    }
    if (response)
        return shape_of_response(o, r);
    if (json_get(o, "fault"))
        return shape_of_fault(json_get(o, "fault"), r);
    return SHAPE_JSON;
}

static bool mentions(const struct verdict_answer *a, const char *word)
{
    size_t len = strlen(word);

    for (size_t at = 0; at + len <= a->len; at++)
        if (strncasecmp(a->body + at, word, len) == 0)
            return true;
    return false;
}

static bool begins_json(const struct verdict_answer *a)
{
    size_t at = 0;

    while (at < a->len && isspace((unsigned char)a->body[at]))
        at++;
    return at < a->len && (a->body[at] == '{' || a->body[at] == '[');
}

static void read_body(const struct verdict_answer *a, struct reading *r)
{
    CLEANUP(json_free)
    struct json *root = NULL;
    struct err err;

    memset(r, 0, sizeof(*r));
    r->shape = begins_json(a) ? SHAPE_BROKEN : SHAPE_TEXT;
    r->named = mentions(a, "CheckoutRequestID") || mentions(a, "ws_CO_");
    if (json_parse_tolerant(a->body, a->len, &root, &err))
        return;
    r->shape = json_is_object(root) ? shape_of_object(root, r) : SHAPE_JSON;
}

/* Lower case, runs of blanks as one. */
static void normalise(const char *text, char *out, size_t size)
{
    size_t n = 0;

    for (; *text && n + 1 < size; text++) {
        bool blank = isspace((unsigned char)*text) != 0;

        if (blank && n && out[n - 1] == ' ')
            continue;
        out[n++] = blank ? ' ' : (char)tolower((unsigned char)*text);
    }
    out[n] = '\0';
}

static bool code_matches(const char *pattern, const char *code)
{
    size_t len = strlen(pattern);

    if (len && pattern[len - 1] == '*')
        return strncmp(pattern, code, len - 1) == 0;
    return strcmp(pattern, code) == 0;
}

static const struct push_row *find_push_row(int status, const struct reading *r)
{
    char text[RESULT_TEXT_MAX + 1];

    if (r->odd)
        return NULL;
    normalise(r->text, text, sizeof(text));
    for (size_t i = 0; i < ARRAY_LEN(push_rows); i++) {
        const struct push_row *row = &push_rows[i];

        if (row->shape == r->shape &&
            (row->status == 0 || row->status == status) &&
            code_matches(row->code, r->code) &&
            (!row->says || strstr(text, row->says)))
            return row;
    }
    return NULL;
}

static const struct code_row *find_code_row(const char *code)
{
    for (size_t i = 0; i < ARRAY_LEN(code_rows); i++)
        if (strcmp(code_rows[i].code, code) == 0)
            return &code_rows[i];
    return NULL;
}

static void fill(struct verdict *v, enum verdict_kind kind,
                 enum result_class class, bool stop, int row)
{
    v->kind = kind;
    v->class = class;
    v->stop_line = stop;
    v->row = row;
}

static void fill_from_reading(struct verdict *v, const struct reading *r,
                              const struct verdict_answer *a)
{
    memset(v, 0, sizeof(*v));
    text_copy(v->code, sizeof(v->code), r->code);
    text_copy(v->text, sizeof(v->text), r->text);
    text_copy(v->checkout_id, sizeof(v->checkout_id), r->checkout_id);
    text_copy(v->merchant_id, sizeof(v->merchant_id), r->merchant_id);
    v->retry_after_s = a->retry_after_s;
}

void verdict_push(const struct verdict_answer *answer, struct verdict *ret)
{
    const struct push_row *row;
    struct reading r;

    read_body(answer, &r);
    row = find_push_row(answer->status, &r);
    fill_from_reading(ret, &r, answer);
    /* what names a push was accepted by somebody, also under a refusal */
    if (row && (!r.named || r.shape == SHAPE_ID))
        fill(ret, row->kind, row->class, row->stop, row->row);
    else
        fill(ret, VERDICT_AMBIGUOUS, RESULT_LOST, false, -1);
}

/* A query that has no result: only token and rate matter, all else says
   nothing. */
static void query_without_result(const struct verdict_answer *answer,
                                 const struct reading *r, struct verdict *ret)
{
    const struct push_row *row = find_push_row(answer->status, r);
    bool told =
        row && (row->kind == VERDICT_AUTH || row->kind == VERDICT_THROTTLED);

    if (told)
        fill(ret, row->kind, row->class, false, row->row);
    else if (answer->status == 429) /* asking twice does no harm */
        fill(ret, VERDICT_THROTTLED, RESULT_THROTTLED, false, -1);
    else
        fill(ret, VERDICT_PENDING, RESULT_NONE, false, -1);
}

/* A result stands in an answer that is no error and, where it has a
   ResponseCode, was accepted. */
static bool result_counts(const struct reading *r)
{
    if (r->odd || r->shape == SHAPE_ERROR || r->shape == SHAPE_FAULT)
        return false;
    return !*r->code || strcmp(r->code, "0") == 0;
}

void verdict_query(const struct verdict_answer *answer, struct verdict *ret)
{
    const struct code_row *row;
    struct reading r;

    read_body(answer, &r);
    fill_from_reading(ret, &r, answer);
    if (answer->status != 200 || !*r.result || !result_counts(&r)) {
        query_without_result(answer, &r, ret);
        return;
    }
    row = find_code_row(r.result);
    text_copy(ret->code, sizeof(ret->code), r.result);
    if (!row)
        fill(ret, VERDICT_PENDING, RESULT_NONE, false, -1);
    else if (row->kind == VERDICT_PAID)
        fill(ret, VERDICT_PAID, RESULT_PAID, false, 0);
    else if (row->kind == VERDICT_REPEAT)
        fill(ret, VERDICT_REPEAT, row->class, false, 0);
    else
        fill(ret, VERDICT_SOFT, row->class, false, 0);
}

void verdict_callback(const char *code, const char *text, struct verdict *ret)
{
    const struct code_row *row = find_code_row(code);

    memset(ret, 0, sizeof(*ret));
    text_copy(ret->code, sizeof(ret->code), code);
    text_copy(ret->text, sizeof(ret->text), text);
    ret->retry_after_s = -1;
    if (row)
        fill(ret, row->kind, row->class, row->stop, 0);
    else
        fill(ret, VERDICT_SOFT, RESULT_PROVIDER, false, -1);
}

static const struct {
    const char *name;
    enum result_class class;
} kinds[] = {
    [VERDICT_AMBIGUOUS] = {"ambiguous", RESULT_LOST},
    [VERDICT_ACCEPTED] = {"accepted", RESULT_NONE},
    [VERDICT_FAILED] = {"failed", RESULT_PROVIDER},
    [VERDICT_AUTH] = {"auth", RESULT_AUTH},
    [VERDICT_THROTTLED] = {"throttled", RESULT_THROTTLED},
    [VERDICT_LOCKED] = {"locked", RESULT_PHONE_BUSY},
    [VERDICT_PAID] = {"paid", RESULT_PAID},
    [VERDICT_PROVE] = {"prove", RESULT_PROVIDER},
    [VERDICT_REPEAT] = {"repeat", RESULT_LIMIT},
    [VERDICT_SOFT] = {"soft", RESULT_PROVIDER},
    [VERDICT_PENDING] = {"pending", RESULT_NONE},
};

const char *verdict_name(enum verdict_kind k)
{
    return kinds[k].name;
}

void verdict_by_name(const char *name, struct verdict *ret)
{
    memset(ret, 0, sizeof(*ret));
    ret->retry_after_s = -1;
    fill(ret, VERDICT_AMBIGUOUS, RESULT_LOST, false, -1);
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        if (strcmp(kinds[i].name, name) == 0)
            fill(ret, (enum verdict_kind)i, kinds[i].class, false, -1);
}
