/*
 * Checks of a push's or query's fields as a table in the provider's order,
 * then merchant and password. Pure: settings and profile in, refusal out.
 *
 * Every field may be a string or a number, as in recorded requests. A field
 * that is refused by Daraja's documents but was seen accepted has a knob.
 */
#include "tests/daraja/inspect.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "common/buf.h"
#include "common/clock.h"
#include "common/json.h"
#include "common/payment.h"
#include "common/sign.h"
#include "tests/daraja/profile.h"

#define SHORTCODE_MIN 10000 /* 5 to 7 digits */
#define SHORTCODE_MAX 9999999
#define PASSWORD_MAX 512

static bool refuse(struct inspection *in, int status, const char *code,
                   const char *fmt, const char *what)
{
    in->refusal.status = status;
    in->refusal.code = code;
    snprintf(in->refusal.message, sizeof(in->refusal.message), "%s%s", fmt,
             what);
    return false;
}

static bool read_shortcode(int64_t *ret, const struct json *v)
{
    return json_integer_or_text(v, ret) && *ret >= SHORTCODE_MIN &&
           *ret <= SHORTCODE_MAX;
}

static bool field_shortcode(struct inspection *in, const struct json *v)
{
    return read_shortcode(&in->order.shortcode, v);
}

static bool field_timestamp(struct inspection *in UNUSED, const struct json *v)
{
    char text[32];
    int64_t at;
    struct err err;

    return json_scalar(v, text, sizeof(text)) &&
           clock_parse_eat(text, strlen(text), &at, &err) == ERR_NONE;
}

static bool field_password(struct inspection *in UNUSED, const struct json *v)
{
    const char *text = json_text(v);

    return text && *text && strlen(text) <= PASSWORD_MAX;
}

static bool field_type(struct inspection *in, const struct json *v)
{
    const char *text = json_text(v);

    if (!text)
        return false;
    in->buy_goods = strcmp(text, "CustomerBuyGoodsOnline") == 0;
    return in->buy_goods || strcmp(text, "CustomerPayBillOnline") == 0;
}

static bool field_amount(struct inspection *in, const struct json *v)
{
    return json_integer_or_text(v, &in->order.amount) &&
           in->order.amount >= AMOUNT_MIN && in->order.amount <= AMOUNT_MAX;
}

static bool field_party_a(struct inspection *in UNUSED, const struct json *v)
{
    int64_t n;

    return json_integer_or_text(v, &n) && msisdn_valid(n);
}

static bool field_party_b(struct inspection *in, const struct json *v)
{
    return read_shortcode(&in->party_b, v);
}

static bool field_phone(struct inspection *in, const struct json *v)
{
    return json_integer_or_text(v, &in->order.msisdn) &&
           msisdn_valid(in->order.msisdn);
}

/* As the portal lists them, any case. */
static bool forbidden(const char *url)
{
    static const char *const words[] = {"m-pesa", "safaricom", "exe",
                                        "cmd",    "sql",       "query"};

    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (strcasestr(url, words[i]))
            return true;
    return false;
}

/* Placeholders, spaces and hosts with capitals were refused when seen. */
static bool url_well_formed(const char *url, bool https_only)
{
    bool https = strncmp(url, "https://", 8) == 0;
    const char *host = url + (https ? 8 : 7);

    if (!https && (https_only || strncmp(url, "http://", 7) != 0))
        return false;
    for (const char *p = url; *p; p++)
        if (*p <= ' ' || *p > '~' || strchr("<>\"\\", *p))
            return false;
    if (strcspn(host, "/") == 0)
        return false;
    for (; *host && *host != '/'; host++)
        if (isupper((unsigned char)*host))
            return false;
    return true;
}

bool inspect_url(const struct profile *profile, const char *url)
{
    return strlen(url) <= ORDER_URL_MAX &&
           url_well_formed(url, profile->https_only) &&
           !(profile->forbidden_words && forbidden(url));
}

static bool field_url(struct inspection *in, const struct json *v)
{
    const char *text = json_text(v);

    if (!text || strlen(text) > ORDER_URL_MAX)
        return false;
    in->order.url = text;
    return inspect_url(in->profile, text);
}

static bool field_reference(struct inspection *in, const struct json *v)
{
    size_t size = sizeof(in->order.reference);

    if (!json_scalar(v, in->order.reference, size)) {
        in->order.reference[0] = '\0';
        return false;
    }
    size = strlen(in->order.reference);
    return size > 0 && size <= (size_t)in->profile->reference_max;
}

static bool field_description(struct inspection *in, const struct json *v)
{
    const char *text = json_text(v);

    return text && *text &&
           strlen(text) <= (size_t)in->profile->description_max;
}

static bool field_checkout(struct inspection *in, const struct json *v)
{
    return json_scalar(v, in->checkout, sizeof(in->checkout)) &&
           in->checkout[0];
}

struct field {
    const char *name, *shown; /* in the request, in the refusal */
    bool (*read)(struct inspection *in, const struct json *v);
};

static const struct field push_fields[] = {
    {"BusinessShortCode", "BusinessShortCode", field_shortcode},
    {"Timestamp", "Timestamp", field_timestamp},
    {"Password", "Password", field_password},
    {"TransactionType", "TransactionType", field_type},
    {"Amount", "Amount", field_amount},
    {"PartyA", "PartyA", field_party_a},
    {"PartyB", "PartyB", field_party_b},
    {"PhoneNumber", "PhoneNumber", field_phone},
    {"CallBackURL", "CallBackURL", field_url},
    {"AccountReference", "AccountReference", field_reference},
    {"TransactionDesc", "Remarks", field_description},
};

static const struct field query_fields[] = {
    {"BusinessShortCode", "BusinessShortCode", field_shortcode},
    {"Timestamp", "Timestamp", field_timestamp},
    {"Password", "Password", field_password},
    {"CheckoutRequestID", "CheckoutRequestID", field_checkout},
};

/* All fields are read, so that the journal tells what a refused push asked. */
static bool check_fields(struct inspection *in, const struct json *doc,
                         const struct field *fields, size_t n)
{
    const char *wrong = NULL;

    for (size_t i = 0; i < n; i++)
        if (!fields[i].read(in, json_get(doc, fields[i].name)) && !wrong)
            wrong = fields[i].shown;
    if (!in->content_type ||
        strncasecmp(in->content_type, "application/json", 16) != 0)
        wrong = "BusinessShortCode"; /* so it says then */
    return !wrong ||
           refuse(in, 400, "400.002.02", "Bad Request - Invalid ", wrong);
}

/* base64(shortcode passkey timestamp), both as they stand in the body. */
static bool password_fits(const struct shortcode *merchant,
                          const struct json *doc)
{
    char shortcode[32], timestamp[32];
    const char *shown = json_text(json_get(doc, "Password"));
    struct buf plain, coded;
    bool fits = false;

    buf_init(&plain, PASSWORD_MAX);
    buf_init(&coded, 2 * PASSWORD_MAX);
    if (json_scalar(json_get(doc, "BusinessShortCode"), shortcode,
                    sizeof(shortcode)) &&
        json_scalar(json_get(doc, "Timestamp"), timestamp, sizeof(timestamp))) {
        buf_adds(&plain, shortcode);
        buf_adds(&plain, merchant->passkey);
        buf_adds(&plain, timestamp);
        sign_base64(&coded, plain.data, plain.len);
        fits = !coded.failed && strcmp(coded.data, shown) == 0;
    }
    buf_done(&plain);
    buf_done(&coded);
    return fits;
}

static bool check_merchant(struct inspection *in, const struct json *doc)
{
    const struct shortcode *m = config_shortcode(in->cfg, in->order.shortcode);

    if (!m || strcmp(m->consumer_key, in->consumer_key) != 0)
        return refuse(in, 500, "500.001.1001", "Merchant does not exist", "");
    if (!password_fits(m, doc))
        return refuse(in, 500, "500.001.1001", "Wrong credentials", "");
    in->merchant = m;
    return true;
}

static bool inspect(struct inspection *in, const struct json *doc,
                    const struct field *fields, size_t n)
{
    in->order = (struct order){.url = ""};
    in->checkout[0] = '\0';
    in->merchant = NULL;
    if (!json_is_object(doc))
        return refuse(in, 400, "400.002.05", "Invalid Request Payload", "");
    return check_fields(in, doc, fields, n) && check_merchant(in, doc);
}

bool inspect_push(struct inspection *in, const struct json *doc)
{
    return inspect(in, doc, push_fields, ARRAY_LEN(push_fields));
}

bool inspect_query(struct inspection *in, const struct json *doc)
{
    return inspect(in, doc, query_fields, ARRAY_LEN(query_fields));
}

bool inspect_product(const struct inspection *in)
{
    bool goods =
        strcmp(in->merchant->transaction_type, "CustomerBuyGoodsOnline") == 0;

    return goods == in->buy_goods && in->party_b == in->merchant->party_b;
}
