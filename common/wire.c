/*
 * Requests as they come in: the body of POST /v1/payments, and the record in
 * Kafka with what protects it (safety rules S4 and S18). The members themselves
 * are read in one place for both, wire_members.c, so that the worker accepts
 * exactly what the API accepts.
 *
 * Nothing here looks at a clock or says what is to become of a bad record.
 */
#include "common/wire.h"

#include "common/clock.h"
#include "common/sign.h"
#include "common/wire_priv.h"

#include <inttypes.h>
#include <string.h>

#define TIME_TEXT_SIZE 20
#define TIME_MS_MAX INT64_C(253402300799999) /* 9999-12-31T23:59:59.999Z */
#define KEY_LEN 12                           /* 254XXXXXXXXX */

bool wire_header(const struct kafka_record *record, const char *name, char *out,
                 size_t size)
{
    size_t len = 0;
    const char *value = kafka_header(record, name, &len);

    if (!value || len >= size || memchr(value, '\0', len))
        return false;
    memcpy(out, value, len);
    out[len] = '\0';
    return true;
}

bool wire_decimal(const char *text, int64_t max, int64_t *ret)
{
    int64_t n = 0;

    if (!*text)
        return false;
    for (; *text; text++) {
        if (*text < '0' || *text > '9' || n > (max - (*text - '0')) / 10)
            return false;
        n = 10 * n + (*text - '0');
    }
    *ret = n;
    return true;
}

enum err_code wire_read_body(const struct config *cfg,
                             const struct client *client, const char *key,
                             const char *body, size_t len, int64_t now_at,
                             struct request *ret, struct fault *fault)
{
    struct request req = {.requested_at = now_at - now_at % US_PER_MS};
    struct wire_reading r = {
        .cfg = cfg,
        .client = client,
        .after_at = now_at,
        .key = key,
        .req = &req,
        .fault = fault,
    };

    if (wire_read_members(&r, body, len))
        return ERR_INPUT;
    *ret = req;
    return ERR_NONE;
}

/* --- records --- */

/* Whose record it is, when, and whether the client says so itself. */
struct sender {
    const struct client *client;
    char id[UUID_TEXT_SIZE];
    char time[TIME_TEXT_SIZE];
};

static enum err_code read_client(const struct config *cfg,
                                 const struct kafka_record *record,
                                 struct sender *s, struct fault *fault)
{
    struct uuid id;
    struct err err;

    if (!wire_header(record, HDR_CLIENT, s->id, sizeof(s->id)))
        return wire_fault(fault, "unknown_client", HDR_CLIENT,
                          "must be the client's id and is missing or too long");
    if (uuid_parse(s->id, strlen(s->id), &id, &err))
        return wire_fault(fault, "unknown_client", HDR_CLIENT, "%s", err.text);
    s->client = config_client(cfg, &id);
    if (!s->client)
        return wire_fault(fault, "unknown_client", HDR_CLIENT,
                          "client \"%s\" is not configured", s->id);
    return ERR_NONE;
}

/* The time is when the client asked: the deadline counts from it (S4). */
static enum err_code read_time(const struct config *cfg,
                               const struct kafka_record *record,
                               int64_t now_at, struct sender *s, int64_t *ret,
                               struct fault *fault)
{
    int64_t skew = cfg->payments_clock_skew_ms * US_PER_MS;
    int64_t ms;

    if (!wire_header(record, HDR_TIME, s->time, sizeof(s->time)) ||
        !wire_decimal(s->time, TIME_MS_MAX, &ms) || ms == 0)
        return wire_fault(fault, "bad_time", HDR_TIME,
                          "must be milliseconds since 1970 in decimal");
    if (ms * US_PER_MS > now_at + skew)
        return wire_fault(fault, "bad_time", HDR_TIME,
                          "lies more than %" PRId64 " ms in the future",
                          cfg->payments_clock_skew_ms);
    *ret = ms * US_PER_MS;
    return ERR_NONE;
}

static void compute_signature(const struct kafka_record *record,
                              const struct sender *s, char *out)
{
    sign_record(s->client->signing_secret,
                &(struct record_claim){
                    .client = s->id,
                    .time = s->time,
                    .key = record->key,
                    .key_len = record->key_len,
                    .value = record->value,
                    .value_len = record->value_len,
                },
                out);
}

/* A wrong signature is refused even where none is needed. */
static enum err_code check_signature(const struct config *cfg,
                                     const struct kafka_record *record,
                                     const struct sender *s,
                                     struct fault *fault)
{
    char want[RECORD_MAC_SIZE];
    size_t len = 0;
    const char *is = kafka_header(record, HDR_SIGNATURE, &len);

    if (!*s->client->signing_secret || !is) {
        if (cfg->kafka_unsigned_requests)
            return ERR_NONE;
        return wire_fault(fault, "unsigned", HDR_SIGNATURE, "%s",
                          is ? "the client has no signing_secret to check it by"
                             : "the record is not signed");
    }
    compute_signature(record, s, want);
    if (len != sizeof(want) - 1 || !sign_equal(is, want, len))
        return wire_fault(fault, "bad_signature", HDR_SIGNATURE,
                          "does not fit client, time, key and value");
    return ERR_NONE;
}

/* Where the record lies must fit what it says: the key gives the order per
   phone, the topic the pool. */
static enum err_code check_place(const struct kafka_record *record,
                                 enum topic topic, const struct request *req,
                                 struct fault *fault)
{
    char key[KEY_LEN + 1];
    int64_t n = 0;

    if (record->key && record->key_len == KEY_LEN) {
        memcpy(key, record->key, KEY_LEN);
        key[KEY_LEN] = '\0';
        if (!wire_decimal(key, INT64_MAX, &n))
            n = 0;
    }
    if (n != req->msisdn)
        return wire_fault(fault, "bad_key", "",
                          "the record's key must be the msisdn as 12 digits");
    if ((int)topic != TOPIC_HIGH + (int)req->priority)
        return wire_fault(fault, "wrong_topic", "priority",
                          "is \"%s\", which is not this topic's",
                          priority_name(req->priority));
    return ERR_NONE;
}

enum err_code wire_read_request(const struct config *cfg,
                                const struct kafka_record *record,
                                enum topic topic, int64_t now_at,
                                struct request *ret, struct fault *fault)
{
    struct request req = {0};
    struct sender sender;
    struct wire_reading r = {
        .cfg = cfg, .record = true, .req = &req, .fault = fault};

    if (read_client(cfg, record, &sender, fault) ||
        read_time(cfg, record, now_at, &sender, &req.requested_at, fault) ||
        check_signature(cfg, record, &sender, fault))
        return ERR_INPUT;
    r.client = sender.client;
    r.after_at = req.requested_at;
    if (wire_read_members(&r, record->value, record->value_len) ||
        check_place(record, topic, &req, fault))
        return ERR_INPUT;
    *ret = req;
    return ERR_NONE;
}
