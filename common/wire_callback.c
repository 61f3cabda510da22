/*
 * Daraja's callback, read with tolerance: unknown members are no matter, items
 * are found by name (their order and number vary between years and portals),
 * numbers may be strings. Only ResultCode must be there. Which payment it is
 * about is not looked for in the body: it stands in the path that was called,
 * under a MAC, and travels in the record's headers.
 */
#include "common/wire.h"

#include "common/clock.h"
#include "common/sign.h"
#include "common/wire_priv.h"

#include <limits.h>
#include <string.h>

#define ITEMS_MAX 64 /* items of CallbackMetadata that are looked at */
#define STAMP_LEN 14 /* yyyyMMddHHmmss */
#define NUMBER_SIZE 12

/* A text that is cut would be another text: too long is the same as absent. */
static void read_scalar(const struct json *v, char *out, size_t size)
{
    if (!json_scalar(v, out, size))
        *out = '\0';
}

static void read_amount(const struct json *v, struct callback *c)
{
    if (!json_integer_or_text(v, &c->amount) || c->amount < 0)
        c->amount = 0;
}

static void read_receipt(const struct json *v, struct callback *c)
{
    read_scalar(v, c->receipt, sizeof(c->receipt));
}

static void read_paid_at(const struct json *v, struct callback *c)
{
    char stamp[STAMP_LEN + 1];
    struct err err;

    read_scalar(v, stamp, sizeof(stamp));
    if (clock_parse_eat(stamp, strlen(stamp), &c->paid_at, &err))
        c->paid_at = 0;
}

static void read_msisdn(const struct json *v, struct callback *c)
{
    if (!json_integer_or_text(v, &c->msisdn) || !msisdn_valid(c->msisdn))
        c->msisdn = 0;
}

static const struct metadata_item {
    const char *name;
    void (*read)(const struct json *v, struct callback *c);
} items[] = {
    {"Amount", read_amount},
    {"MpesaReceiptNumber", read_receipt},
    {"TransactionDate", read_paid_at},
    {"PhoneNumber", read_msisdn},
};

/* An item without Value (Balance comes so) tells nothing. */
static void read_item(const struct json *item, struct callback *c)
{
    const char *name = json_text(json_get(item, "Name"));
    const struct json *v = json_get(item, "Value");

    for (size_t i = 0; name && v && i < ARRAY_LEN(items); i++)
        if (strcmp(items[i].name, name) == 0)
            items[i].read(v, c);
}

static void read_metadata(const struct json *list, struct callback *c)
{
    int n = 0;

    if (!json_is_array(list))
        return;
    for (const struct json *i = json_first(list); i && n < ITEMS_MAX;
         i = json_next(i), n++)
        read_item(i, c);
}

enum err_code wire_read_callback(const char *body, size_t len,
                                 struct callback *ret, struct err *err)
{
    CLEANUP(json_free)
    struct json *root = NULL;
    struct callback c = {.code = ""};
    const struct json *stk;
    const char *text;

    if (len == 0)
        return err_set(err, ERR_INPUT, "cannot read callback: it is empty");
    if (json_parse_tolerant(body, len, &root, err))
        return err_wrap(err, "cannot read callback");
    stk = json_get(json_get(root, "Body"), "stkCallback");
    if (!json_is_object(stk))
        return err_set(err, ERR_INPUT,
                       "cannot read callback: it has no Body.stkCallback");
    if (!json_scalar(json_get(stk, "ResultCode"), c.code, sizeof(c.code)) ||
        !*c.code)
        return err_set(err, ERR_INPUT,
                       "cannot read callback: it has no usable ResultCode");
    read_scalar(json_get(stk, "MerchantRequestID"), c.merchant_id,
                sizeof(c.merchant_id));
    read_scalar(json_get(stk, "CheckoutRequestID"), c.checkout_id,
                sizeof(c.checkout_id));
    text = json_text(json_get(stk, "ResultDesc"));
    text_copy(c.text, sizeof(c.text), text ? text : "");
    read_metadata(json_get(json_get(stk, "CallbackMetadata"), "Item"), &c);
    *ret = c;
    return ERR_NONE;
}

static bool mac_by(const char *key, const struct callback_address *at,
                   const char *mac)
{
    char want[CALLBACK_MAC_SIZE];

    if (!key || !*key)
        return false;
    sign_callback(key, &at->payment, at->attempt, want);
    return sign_equal(mac, want, sizeof(want) - 1);
}

bool wire_callback_mac(const struct config *cfg,
                       const struct callback_address *at, const char *mac)
{
    bool first, second;

    if (strlen(mac) != CALLBACK_MAC_SIZE - 1)
        return false;
    first = mac_by(cfg->callbacks_mac_key, at, mac);
    second = mac_by(cfg->callbacks_second_mac_key, at, mac);
    return first || second;
}

enum err_code wire_read_callback_address(const struct kafka_record *record,
                                         const struct config *cfg,
                                         struct callback_address *ret,
                                         struct err *err)
{
    char id[UUID_TEXT_SIZE], attempt[NUMBER_SIZE], mac[CALLBACK_MAC_SIZE];
    struct callback_address a;
    int64_t n;

    if (!wire_header(record, HDR_PAYMENT, id, sizeof(id)) ||
        uuid_parse(id, strlen(id), &a.payment, err) ||
        !wire_header(record, HDR_ATTEMPT, attempt, sizeof(attempt)) ||
        !wire_decimal(attempt, INT_MAX, &n) || n == 0)
        return err_set(err, ERR_INPUT,
                       "cannot read callback: a header is missing or wrong");
    a.attempt = (int)n;
    *ret = a;
    if (!wire_header(record, HDR_MAC, mac, sizeof(mac)) ||
        !wire_callback_mac(cfg, &a, mac))
        return err_set(err, ERR_DENIED, "cannot take callback: wrong MAC");
    return ERR_NONE;
}
