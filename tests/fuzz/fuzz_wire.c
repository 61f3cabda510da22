/*
 * Requests, batches and filters, status events and JSON itself. What is
 * accepted is canonical: written and read again it is the same, and nothing
 * that was not signed is taken.
 */
#include "common/buf.h"
#include "common/json.h"
#include "common/sign.h"
#include "producer/find.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

#define DOCUMENT_MAX (1 << 20)

static void print_again(const struct json *v, struct buf *out)
{
    buf_init(out, DOCUMENT_MAX);
    json_print(v, out);
    CHECK(!out->failed);
}

/* Printed, read and printed again it is the same, once numbers have the digits
   that a double keeps. */
static void check_print(const struct json *v)
{
    struct json *again = NULL;
    struct buf text[3];
    struct err err;

    print_again(v, &text[0]);
    for (size_t i = 1; i < ARRAY_LEN(text); i++) {
        CHECK(json_parse_tolerant(text[i - 1].data, text[i - 1].len, &again,
                                  &err) == ERR_NONE);
        print_again(again, &text[i]);
        json_free(again);
    }
    CHECK(text[1].len == text[2].len &&
          memcmp(text[1].data, text[2].data, text[1].len) == 0);
    for (size_t i = 0; i < ARRAY_LEN(text); i++)
        buf_done(&text[i]);
}

/* Strict is a part of tolerant. */
void fuzz_json(const uint8_t *data, size_t len)
{
    char *text = fuzz_text(data, len);
    struct json *strict = NULL, *tolerant = NULL;
    bool is_strict, is_tolerant;
    struct err err;

    is_strict = json_parse_strict(text, len, &strict, &err) == ERR_NONE;
    is_tolerant = json_parse_tolerant(text, len, &tolerant, &err) == ERR_NONE;
    CHECK(is_tolerant || !is_strict);
    if (is_tolerant)
        check_print(tolerant);
    if (is_strict) {
        check_print(strict);
        json_free(strict);
    }
    if (is_tolerant)
        json_free(tolerant);
    free(text);
}

/* A record as its client would publish it. */
static bool read_signed(const char *key, const char *time, const char *value,
                        size_t len, enum topic topic, const char *mac,
                        struct request *ret)
{
    char right[RECORD_MAC_SIZE];
    struct kafka_header headers[] = {
        {HDR_CLIENT, fuzz_client.id, strlen(fuzz_client.id)},
        {HDR_TIME, time, strlen(time)},
        {HDR_SIGNATURE, mac ? mac : right, mac ? strlen(mac) : 64},
    };
    struct kafka_record record = {
        .key = key,
        .key_len = strlen(key),
        .value = value,
        .value_len = len,
        .headers = headers,
        .headers_n = ARRAY_LEN(headers),
        .timestamp_at = FUZZ_NOW_AT,
    };
    struct fault fault = {0};
    bool taken;

    sign_record(fuzz_client.signing_secret,
                &(struct record_claim){fuzz_client.id, time, key, strlen(key),
                                       value, len},
                right);
    taken = wire_read_request(&fuzz_cfg, &record, topic, FUZZ_NOW_AT, ret,
                              &fault) == ERR_NONE;
    CHECK(taken || (fault.code && *fault.code));
    CHECK(!taken || !mac || strcmp(mac, right) == 0);
    return taken;
}

static void check_request(const struct request *r)
{
    CHECK(r->msisdn >= 254000000000 && r->msisdn <= 254999999999);
    CHECK(r->amount >= 1 && r->amount <= 250000);
    CHECK(config_shortcode(&fuzz_cfg, r->shortcode));
    CHECK(r->ask_again >= 0 && r->ask_again <= 2);
    CHECK(r->reference[0]);
}

/* The document that GET answers and events carry. */
static void check_document(const struct request *r)
{
    struct payment queued = {.req = *r, .state = PAYMENT_QUEUED};
    struct json *root = NULL;
    struct buf out;
    struct err err;

    buf_init(&out, DOCUMENT_MAX);
    wire_write_payment(&queued, &out);
    CHECK(!out.failed);
    CHECK(json_parse_strict(out.data, out.len, &root, &err) == ERR_NONE);
    json_free(root);
    buf_done(&out);
}

/* The API writes what the worker takes, as the same payment. */
static void check_same(const struct request *r, const char *key)
{
    char phone[16];
    struct request again;
    struct buf out;

    snprintf(phone, sizeof(phone), "%lld", (long long)r->msisdn);
    buf_init(&out, DOCUMENT_MAX);
    wire_write_request(r, key, &out);
    CHECK(!out.failed);
    CHECK(read_signed(phone, FUZZ_NOW_MS, out.data, out.len,
                      (enum topic)(TOPIC_HIGH + (int)r->priority), NULL,
                      &again));
    CHECK(uuid_equal(&again.id, &r->id));
    CHECK(memcmp(again.fingerprint, r->fingerprint, FINGERPRINT_SIZE) == 0);
    CHECK(again.amount == r->amount && again.msisdn == r->msisdn &&
          again.expires_at == r->expires_at &&
          strcmp(again.reference, r->reference) == 0 &&
          strcmp(again.metadata, r->metadata) == 0);
    buf_done(&out);
}

/* First line: the idempotency key; then the body. */
void fuzz_body(const uint8_t *data, size_t len)
{
    struct fault fault = {0};
    struct request r;
    char key[300];
    char *body;

    fuzz_line(&data, &len, key, sizeof(key));
    body = fuzz_text(data, len);
    if (wire_read_body(&fuzz_cfg, &fuzz_client, key, body, len, FUZZ_NOW_AT, &r,
                       &fault) == ERR_NONE) {
        check_request(&r);
        check_document(&r);
        check_same(&r, key);
    } else {
        CHECK(fault.code && *fault.code);
    }
    free(body);
}

/* Lines: topic (0 to 2), key, time, signature ("" = the right one); then the
   value. */
void fuzz_record(const uint8_t *data, size_t len)
{
    char topic[4], key[64], time[32], mac[RECORD_MAC_SIZE + 8];
    struct request r;
    char *value;

    fuzz_line(&data, &len, topic, sizeof(topic));
    fuzz_line(&data, &len, key, sizeof(key));
    fuzz_line(&data, &len, time, sizeof(time));
    fuzz_line(&data, &len, mac, sizeof(mac));
    value = fuzz_text(data, len);
    if (read_signed(key, time, value, len, (enum topic)(topic[0] % 3),
                    *mac ? mac : NULL, &r)) {
        check_request(&r);
        check_document(&r);
        CHECK(strtoll(key, NULL, 10) == r.msisdn);
    }
    free(value);
}

/* Lines: key, client, fingerprint, version, final; then the value. */
void fuzz_event(const uint8_t *data, size_t len)
{
    char lines[5][80];
    char *value;
    struct event_summary e;
    struct json *root = NULL;
    struct err err;

    for (size_t i = 0; i < ARRAY_LEN(lines); i++)
        fuzz_line(&data, &len, lines[i], sizeof(lines[i]));
    value = fuzz_text(data, len);
    struct kafka_header headers[] = {
        {HDR_CLIENT, lines[1], strlen(lines[1])},
        {HDR_FINGERPRINT, lines[2], strlen(lines[2])},
        {HDR_VERSION, lines[3], strlen(lines[3])},
        {HDR_FINAL, lines[4], strlen(lines[4])},
    };
    struct kafka_record record = {
        .key = lines[0],
        .key_len = strlen(lines[0]),
        .value = value,
        .value_len = len,
        .headers = headers,
        .headers_n = ARRAY_LEN(headers),
    };
    if (wire_read_event(&record, &e, &err) == ERR_NONE) {
        CHECK(e.document >= value && e.document_len <= len &&
              e.document + e.document_len <= value + len);
        CHECK(e.version >= 0);
        if (json_parse_tolerant(e.document, e.document_len, &root, &err) ==
            ERR_NONE)
            json_free(root);
    }
    free(value);
}

/* Each item lies behind the one before, inside the body; one that can be read
   is the payment that it would be alone. */
void fuzz_batch(const uint8_t *data, size_t len)
{
    static struct wire_item items[WIRE_BATCH_MAX];
    char *body = fuzz_text(data, len);
    const char *at = body;
    struct fault fault = {0};
    size_t n = 0;

    if (wire_cut_batch(body, len, items, &n, &fault)) {
        CHECK(fault.code && *fault.code);
        free(body);
        return;
    }
    CHECK(n > 0 && n <= WIRE_BATCH_MAX);
    for (size_t i = 0; i < n; i++) {
        char key[IDEMPOTENCY_KEY_MAX + 1];
        struct request r;

        CHECK(items[i].text > at && items[i].text + items[i].len < body + len);
        at = items[i].text + items[i].len;
        if (wire_read_item(&fuzz_cfg, &fuzz_client, &items[i], FUZZ_NOW_AT, key,
                           &r, &fault))
            continue;
        check_request(&r);
        check_same(&r, key);
    }
    free(body);
}

/* Lines of a name and a value; what is taken is in range, and a cursor leads
   back to its place. */
void fuzz_filters(const uint8_t *data, size_t len)
{
    char name[64], value[4096], cursor[FIND_CURSOR_SIZE];
    struct fault fault;
    struct find f;

    find_init(&f);
    while (len > 0) {
        fuzz_line(&data, &len, name, sizeof(name));
        fuzz_line(&data, &len, value, sizeof(value));
        memset(&fault, 0, sizeof(fault));
        if (find_take(&f, name, value, 200, &fault)) {
            CHECK(fault.code && *fault.code);
            return;
        }
        CHECK(f.ids_n <= FIND_IDS_MAX && f.limit > 0 && f.limit <= 200);
        CHECK(f.state == -1 ||
              (f.state > PAYMENT_QUEUED && f.state <= PAYMENT_DEAD));
        if (!f.goes_on)
            continue;
        find_cursor(&f.after, cursor);
        CHECK(find_take(&f, "cursor", cursor, 200, &fault) == ERR_NONE);
    }
}
