/*
 * Bodies by hand, member by member in the order that was recorded. Pure.
 */
#include "tests/daraja/words.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/buf.h"
#include "common/clock.h"
#include "common/json.h"
#include "common/sign.h"

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

static void put_msisdn(struct json_out *j, const struct c2b_words *w)
{
    uint8_t hash[SHA256_SIZE];
    char plain[24];
    struct buf text;

    snprintf(plain, sizeof(plain), "%lld", (long long)w->msisdn);
    buf_init(&text, 2 * SHA256_SIZE);
    switch (w->form) {
    case WORDS_MSISDN_PLAIN: buf_adds(&text, plain); break;
    case WORDS_MSISDN_HASH:
        sign_sha256(plain, strlen(plain), hash);
        buf_addhex(&text, hash, sizeof(hash));
        break;
    case WORDS_MSISDN_MASKED:
        buf_addf(&text, "%.4s ***** %.3s", plain, plain + 9);
        break;
    case WORDS_MSISDN_STARRED:
        buf_addf(&text, "%.5s****%.3s", plain, plain + 9);
        break;
    }
    json_put_text(j, "MSISDN", text.data);
    buf_done(&text);
}

/* Amounts are texts with two digits behind the point. */
static void put_amount(struct json_out *j, const char *name, int64_t amount)
{
    char text[32];

    snprintf(text, sizeof(text), "%lld.00", (long long)amount);
    json_put_text(j, name, text);
}

void words_c2b(struct buf *out, const struct c2b_words *w)
{
    struct json_out j = {out, false};
    char text[24];

    json_open(&j, NULL, '{');
    json_put_text(&j, "TransactionType",
                  w->buy_goods ? "Buy Goods" : "Pay Bill");
    json_put_text(&j, "TransID", w->receipt);
    clock_format_eat(w->paid_at, text);
    json_put_text(&j, "TransTime", text);
    put_amount(&j, "TransAmount", w->amount);
    snprintf(text, sizeof(text), "%lld", (long long)w->shortcode);
    json_put_text(&j, "BusinessShortCode", text);
    json_put_text(&j, "BillRefNumber", w->buy_goods ? "" : w->reference);
    json_put_text(&j, "InvoiceNumber", "");
    put_amount(&j, "OrgAccountBalance", w->balance);
    json_put_text(&j, "ThirdPartyTransID", "");
    put_msisdn(&j, w);
    json_put_text(&j, "FirstName", "A");
    json_put_text(&j, "MiddleName", "");
    json_put_text(&j, "LastName", "");
    json_close(&j, '}');
}

void words_registered(struct buf *out, const char *request_id)
{
    struct json_out j = {out, false};

    json_open(&j, NULL, '{');
    json_put_text(&j, "OriginatorCoversationID", request_id);
    json_put_text(&j, "ResponseCode", "0");
    json_put_text(&j, "ResponseDescription", "success");
    json_close(&j, '}');
}

void words_simulated(struct buf *out, const char *conversation_id,
                     const char *request_id)
{
    struct json_out j = {out, false};

    json_open(&j, NULL, '{');
    json_put_text(&j, "ConversationID", conversation_id);
    json_put_text(&j, "OriginatorCoversationID", request_id);
    json_put_text(&j, "ResponseDescription",
                  "Accept the service request successfully.");
    json_close(&j, '}');
}

void words_pull_registered(struct buf *out, const char *id, int64_t shortcode,
                           bool again, bool spaces)
{
    struct json_out j = {out, false};

    json_open(&j, NULL, '{');
    json_put_text(&j, spaces ? "Response Ref ID" : "ResponseRefID", id);
    json_put_text(&j, spaces ? "Response Status" : "ResponseStatus",
                  again ? "1001" : "1000");
    json_put_int(&j, spaces ? "Short Code" : "ShortCode", shortcode);
    json_put_text(&j, spaces ? "Response Description" : "ResponseDescription",
                  again ? "Shortcode already Registered"
                        : "Shortcode Registered Successfully");
    json_close(&j, '}');
}

void words_pull_none(struct buf *out, const char *id)
{
    struct json_out j = {out, false};

    json_open(&j, NULL, '{');
    json_put_text(&j, "ResponseRefID", id);
    json_put_text(&j, "ResponseCode", "1001");
    json_put_text(&j, "ResponseMessage", "No transactions for the period");
    json_put_raw(&j, "Response", "[]", 2);
    json_close(&j, '}');
}

void words_pull_row(struct json_out *j, const struct pull_words *w)
{
    char text[CLOCK_TEXT_SIZE];

    json_open(j, NULL, '{');
    json_put_text(j, "transactionId", w->receipt);
    clock_format(w->paid_at, 0, text);
    json_put_text(j, "trxDate", text);
    json_put_int(j, "msisdn", w->msisdn);
    json_put_text(j, "sender", "MPESA");
    json_put_text(j, "transactiontype", "c2b-pay-bill-debit");
    json_put_text(j, "billreference", w->reference);
    if (w->nan)
        json_put_text(j, "amount", "NaN");
    else
        put_amount(j, "amount", w->amount);
    json_put_text(j, "organizationname", "Daraja Simulator");
    json_close(j, '}');
}

void words_result_accepted(struct buf *out, const char *conversation,
                           const char *originator)
{
    struct json_out j = {out, false};

    json_open(&j, NULL, '{');
    json_put_text(&j, "OriginatorConversationID", originator);
    json_put_text(&j, "ConversationID", conversation);
    json_put_text(&j, "ResponseCode", "0");
    json_put_text(&j, "ResponseDescription",
                  "Accept the service request successfully.");
    json_close(&j, '}');
}

static void put_key(struct json_out *j, const char *key, const char *text,
                    int64_t n)
{
    json_open(j, NULL, '{');
    json_put_text(j, "Key", key);
    if (text)
        json_put_text(j, "Value", text);
    else
        json_put_int(j, "Value", n);
    json_close(j, '}');
}

static void put_parameters(struct json_out *j, const struct outcome_words *w)
{
    char eat[15];

    clock_format_eat(w->paid_at, eat);
    json_open(j, "ResultParameters", '{');
    json_open(j, "ResultParameter", '[');
    put_key(j, "ReceiptNo", w->receipt, 0);
    put_key(j, "TransactionStatus", w->status, 0);
    put_key(j, "Amount", NULL, w->amount);
    put_key(j, "InitiatedTime", NULL, strtoll(eat, NULL, 10));
    put_key(j, "FinalisedTime", NULL, strtoll(eat, NULL, 10));
    json_close(j, ']');
    json_close(j, '}');
}

void words_outcome(struct buf *out, const struct outcome_words *w)
{
    struct json_out j = {out, false};

    json_open(&j, NULL, '{');
    json_open(&j, "Result", '{');
    json_put_int(&j, "ResultType", 0);
    json_put_int(&j, "ResultCode", w->found ? 0 : 2032);
    json_put_text(&j, "ResultDesc",
                  w->found ? "The service request is processed successfully."
                           : "The transaction does not exist.");
    json_put_text(&j, "OriginatorConversationID", w->originator);
    json_put_text(&j, "ConversationID", w->conversation);
    json_put_text(&j, "TransactionID", w->receipt);
    if (w->found)
        put_parameters(&j, w);
    json_open(&j, "ReferenceData", '{');
    json_open(&j, "ReferenceItem", '{');
    json_put_text(&j, "Key", "Occasion");
    json_close(&j, '}');
    json_close(&j, '}');
    json_close(&j, '}');
    json_close(&j, '}');
}
