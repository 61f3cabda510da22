/*
 * Bodies by hand, member by member in the order that was recorded. Pure.
 */
#include "tests/daraja/words.h"

#include <stdlib.h>
#include <string.h>

#include "common/buf.h"
#include "common/clock.h"
#include "common/json.h"

#define ACCEPTED "Success. Request accepted for processing"

struct result_words {
    const char *code, *callback, *query;
};

static const struct result_words results[] = {
#define RESULT(code, callback, query) {code, callback, query},
#include "tests/daraja/words.def"
#undef RESULT
};

const char *words_result(const char *code, bool query)
{
    for (size_t i = 0; i < ARRAY_LEN(results); i++)
        if (strcmp(results[i].code, code) == 0)
            return query ? results[i].query : results[i].callback;
    return "The request could not be completed.";
}

void words_error(struct buf *out, const char *request_id, const char *code,
                 const char *message)
{
    struct json_out j = {out, false};

    json_open(&j, NULL, '{');
    json_put_text(&j, "requestId", request_id);
    json_put_text(&j, "errorCode", code);
    json_put_text(&j, "errorMessage", message);
    json_close(&j, '}');
}

void words_fault(struct buf *out)
{
    buf_adds(out, "{\"fault\":{\"faultstring\":\"Spike arrest violation. "
                  "Allowed rate : MessageRate{messagesPerPeriod=1, "
                  "periodInMicroseconds=1000000, maxBurstMessageCount=1.0}\","
                  "\"detail\":{\"errorcode\":"
                  "\"policies.ratelimit.SpikeArrestViolation\"}}}");
}

void words_incapsula(struct buf *out, uint64_t incident)
{
    buf_adds(out, "<html style=\"height:100%\"><head><META NAME=\"ROBOTS\" "
                  "CONTENT=\"NOINDEX, NOFOLLOW\"></head><body>Request "
                  "unsuccessful. Incapsula incident ID: 1030000");
    buf_addi(out, (int64_t)(incident % 1000000000));
    buf_adds(out, "-86428570</body></html>");
}

void words_gateway(struct buf *out, int status)
{
    const char *text = status == 502 ? "Bad Gateway" : "Gateway Time-out";

    buf_addf(out,
             "<html>\r\n<head><title>%d %s</title></head>\r\n<body>\r\n"
             "<center><h1>%d %s</h1></center>\r\n</body>\r\n</html>\r\n",
             status, text, status, text);
}

void words_token(struct buf *out, const char *token, int64_t expires_s,
                 bool text)
{
    buf_addf(out,
             text ? "{\"access_token\":\"%s\",\"expires_in\":\"%lld\"}"
                  : "{\"access_token\":\"%s\",\"expires_in\":%lld}",
             token, (long long)expires_s);
}

void words_accepted(struct buf *out, const char *merchant_id,
                    const char *checkout_id, const char *code)
{
    struct json_out j = {out, false};
    bool fine = strcmp(code, "0") == 0;

    json_open(&j, NULL, '{');
    json_put_text(&j, "MerchantRequestID", merchant_id);
    json_put_text(&j, "CheckoutRequestID", checkout_id);
    json_put_text(&j, "ResponseCode", code);
    json_put_text(&j, "ResponseDescription",
                  fine ? ACCEPTED : "An error occurred");
    json_put_text(&j, "CustomerMessage", fine ? ACCEPTED : "An error occurred");
    json_close(&j, '}');
}

void words_nonzero(struct buf *out)
{
    buf_adds(out, "{\"ResponseCode\":\"1\",\"ResponseDescription\":"
                  "\"An error occurred\"}");
}

void words_query(struct buf *out, const char *merchant_id,
                 const char *checkout_id, const char *code)
{
    struct json_out j = {out, false};

    json_open(&j, NULL, '{');
    json_put_text(&j, "ResponseCode", "0");
    json_put_text(&j, "ResponseDescription",
                  "The service request has been accepted successsfully");
    json_put_text(&j, "MerchantRequestID", merchant_id);
    json_put_text(&j, "CheckoutRequestID", checkout_id);
    json_put_text(&j, "ResultCode", code);
    json_put_text(&j, "ResultDesc", words_result(code, true));
    json_close(&j, '}');
}

void words_pending(struct buf *out)
{
    buf_adds(out, "{\"ResultCode\":\"4999\",\"ResultDesc\":"
                  "\"The transaction is still under processing\"}");
}

static bool numeric(const char *code)
{
    return *code && code[strspn(code, "0123456789")] == '\0';
}

static void put_item(struct json_out *j, const char *name, int64_t value)
{
    json_open(j, NULL, '{');
    json_put_text(j, "Name", name);
    json_put_int(j, "Value", value);
    json_close(j, '}');
}

/* TransactionDate is a number whose digits are yyyyMMddHHmmss. */
static void put_metadata(struct json_out *j, const struct callback_words *w)
{
    char eat[15];

    clock_format_eat(w->paid_at, eat);
    json_open(j, "CallbackMetadata", '{');
    json_open(j, "Item", '[');
    put_item(j, "Amount", w->amount);
    json_open(j, NULL, '{');
    json_put_text(j, "Name", "MpesaReceiptNumber");
    json_put_text(j, "Value", w->receipt);
    json_close(j, '}');
    if (w->balance_item)
        json_put_raw(j, NULL, "{\"Name\":\"Balance\"}", 18);
    put_item(j, "TransactionDate", strtoll(eat, NULL, 10));
    put_item(j, "PhoneNumber", w->msisdn);
    json_close(j, ']');
    json_close(j, '}');
}

void words_callback(struct buf *out, const struct callback_words *w)
{
    struct json_out j = {out, false};

    json_open(&j, NULL, '{');
    json_open(&j, "Body", '{');
    json_open(&j, "stkCallback", '{');
    json_put_text(&j, "MerchantRequestID", w->merchant_id);
    json_put_text(&j, "CheckoutRequestID", w->checkout_id);
    if (numeric(w->code) && !w->text_code)
        json_put_raw(&j, "ResultCode", w->code, strlen(w->code));
    else
        json_put_text(&j, "ResultCode", w->code);
    json_put_text(&j, "ResultDesc", words_result(w->code, false));
    if (strcmp(w->code, "0") == 0)
        put_metadata(&j, w);
    json_close(&j, '}');
    json_close(&j, '}');
    json_close(&j, '}');
}
