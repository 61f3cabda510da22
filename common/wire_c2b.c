/*
 * A C2B confirmation: M-Pesa's notice of money that reached a shortcode, also
 * of payments that an STK push began. It is not ours: any customer's payment
 * comes so, and its reference is what somebody typed. Read with tolerance, as
 * callbacks are; only what a notice is worthless without must be there.
 */
#include "common/wire.h"

#include "common/clock.h"
#include "common/sign.h"
#include "common/wire_priv.h"

#include <string.h>

#define STAMP_LEN 14 /* yyyyMMddHHmmss */
#define SHORTCODE_MAX 9999999

/* A text that is cut would be another text: too long is the same as absent. */
static void read_text(const struct json *root, const char *name, char *out,
                      size_t size)
{
    if (!json_scalar(json_get(root, name), out, size))
        *out = '\0';
}

static bool read_shortcode(const struct json *root, int64_t *ret)
{
    return json_integer_or_text(json_get(root, "BusinessShortCode"), ret) &&
           *ret > 0 && *ret <= SHORTCODE_MAX;
}

/* "10", "10.00" and 10; "10.50" is an amount that no payment of ours has. */
static bool read_amount(const struct json *root, int64_t *ret)
{
    const struct json *v = json_get(root, "TransAmount");
    char text[RESULT_CODE_MAX + 1];

    if (!json_integer_or_text(v, ret) || *ret < 0)
        *ret = 0;
    return json_scalar(v, text, sizeof(text)) && *text;
}

static void read_paid_at(const struct json *root, int64_t *ret)
{
    char stamp[STAMP_LEN + 1];
    struct err err;

    read_text(root, "TransTime", stamp, sizeof(stamp));
    if (clock_parse_eat(stamp, strlen(stamp), ret, &err))
        *ret = 0;
}

enum err_code wire_read_c2b(const char *body, size_t len, struct c2b *ret,
                            struct err *err)
{
    CLEANUP(json_free)
    struct json *root = NULL;
    struct c2b c = {.receipt = ""};

    if (len == 0)
        return err_set(err, ERR_INPUT, "cannot read C2B notice: it is empty");
    if (json_parse_tolerant(body, len, &root, err))
        return err_wrap(err, "cannot read C2B notice");
    read_text(root, "TransID", c.receipt, sizeof(c.receipt));
    if (!*c.receipt)
        return err_set(err, ERR_INPUT,
                       "cannot read C2B notice: it has no usable TransID");
    if (!read_shortcode(root, &c.shortcode) || !read_amount(root, &c.amount))
        return err_set(err, ERR_INPUT,
                       "cannot read C2B notice: it has no usable "
                       "BusinessShortCode or TransAmount");
    read_paid_at(root, &c.paid_at);
    read_text(root, "BillRefNumber", c.reference, sizeof(c.reference));
    read_text(root, "MSISDN", c.msisdn, sizeof(c.msisdn));
    *ret = c;
    return ERR_NONE;
}

bool wire_is_c2b(const struct kafka_record *record)
{
    char kind[sizeof(KIND_C2B)];

    return wire_header(record, HDR_KIND, kind, sizeof(kind)) &&
           strcmp(kind, KIND_C2B) == 0;
}

static bool mac_by(const char *key, const struct kafka_record *record,
                   const char *mac)
{
    char want[CALLBACK_MAC_SIZE];

    if (!key || !*key)
        return false;
    sign_c2b(key, record->value, record->value_len, want);
    return sign_equal(mac, want, sizeof(want) - 1);
}

enum err_code wire_check_c2b(const struct kafka_record *record,
                             const struct config *cfg, struct err *err)
{
    char mac[CALLBACK_MAC_SIZE];

    if (!wire_header(record, HDR_MAC, mac, sizeof(mac)) ||
        strlen(mac) != sizeof(mac) - 1 ||
        (!mac_by(cfg->callbacks_mac_key, record, mac) &&
         !mac_by(cfg->callbacks_second_mac_key, record, mac)))
        return err_set(err, ERR_DENIED, "cannot take C2B notice: wrong MAC");
    return ERR_NONE;
}
