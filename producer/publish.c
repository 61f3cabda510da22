/*
 * One idempotent producer. Values are written into a buffer that is reused:
 * librdkafka copies them.
 */
#include "producer/publish.h"

#include "common/buf.h"
#include "common/clock.h"
#include "common/must.h"
#include "common/sign.h"
#include "common/wire.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VALUE_MAX 8192
#define FREE_WAIT_MS 3000
#define NUMBER_SIZE 24 /* digits of an int64_t, sign, terminator */

struct publish {
    const struct config *cfg;
    struct kafka_producer *producer;
    struct buf value;
    char topics[TOPICS_N][KAFKA_TOPIC_SIZE];
};

enum err_code publish_new(struct loop *loop, const struct config *cfg,
                          struct publish **ret, struct err *err)
{
    struct publish *p = NEW(struct publish);

    if (kafka_producer_new(loop, cfg, "foleni-api", cfg->kafka_linger_api_ms,
                           &p->producer, err)) {
        free(p);
        return err->code;
    }
    p->cfg = cfg;
    for (int t = 0; t < TOPICS_N; t++)
        kafka_topic(cfg, (enum topic)t, p->topics[t]);
    buf_init(&p->value, VALUE_MAX);
    *ret = p;
    return ERR_NONE;
}

void publish_free(struct publish *p)
{
    if (!p)
        return;
    kafka_producer_free(p->producer, FREE_WAIT_MS);
    buf_done(&p->value);
    free(p);
}

static struct kafka_header header(const char *name, const char *value)
{
    return (struct kafka_header){name, value, strlen(value)};
}

static void number(char to[NUMBER_SIZE], int64_t n)
{
    snprintf(to, NUMBER_SIZE, "%lld", (long long)n);
}

enum err_code publish_request(struct publish *p, const struct client *client,
                              const struct request *req, const char *key,
                              kafka_done_fn done, void *arg, struct err *err)
{
    char msisdn[NUMBER_SIZE], time[NUMBER_SIZE], id[UUID_TEXT_SIZE];
    char signature[RECORD_MAC_SIZE] = "";
    struct kafka_header headers[3];
    struct kafka_record record = {
        .topic = p->topics[TOPIC_HIGH + (int)req->priority],
        .key = msisdn,
        .headers = headers,
        .headers_n = ARRAY_LEN(headers),
    };

    number(msisdn, req->msisdn);
    number(time, req->requested_at / US_PER_MS);
    uuid_format(&client->uuid, id);
    buf_reset(&p->value);
    wire_write_request(req, key, &p->value);
    must(!p->value.failed);
    record.key_len = strlen(msisdn);
    record.value = p->value.data;
    record.value_len = p->value.len;
    sign_record(client->signing_secret,
                &(struct record_claim){
                    .client = id,
                    .time = time,
                    .key = msisdn,
                    .key_len = record.key_len,
                    .value = p->value.data,
                    .value_len = p->value.len,
                },
                signature);
    headers[0] = header(HDR_CLIENT, id);
    headers[1] = header(HDR_TIME, time);
    headers[2] = header(HDR_SIGNATURE, signature);
    return kafka_produce(p->producer, &record, done, arg, err);
}

/* --- callbacks --- */

static void make_record(struct publish_record *r, const char *body, size_t len,
                        size_t headers_n)
{
    number(r->time, clock_wall_at() / US_PER_MS);
    r->record = (struct kafka_record){
        .key = r->key,
        .key_len = strlen(r->key),
        .value = body,
        .value_len = len,
        .headers = r->headers,
        .headers_n = headers_n,
    };
}

void publish_make_callback(const struct publish_callback *cb,
                           struct publish_record *ret)
{
    uuid_format(&cb->payment, ret->key);
    number(ret->attempt, cb->attempt);
    text_copy(ret->mac, sizeof(ret->mac), cb->mac);
    make_record(ret, cb->body, cb->len, 5);
    ret->headers[0] = header(HDR_PAYMENT, ret->key);
    ret->headers[1] = header(HDR_ATTEMPT, ret->attempt);
    ret->headers[2] = header(HDR_MAC, ret->mac);
    ret->headers[3] = header(HDR_TIME, ret->time);
    ret->headers[4] = header(HDR_SOURCE, cb->source);
}

/* Notices of one payment go to one partition, whoever repeats them. */
static void c2b_key(const struct publish_c2b *notice,
                    char out[PUBLISH_KEY_SIZE])
{
    uint8_t hash[SHA256_SIZE];
    struct c2b c2b;
    struct err err;
    struct buf hex;

    if (!wire_read_c2b(notice->body, notice->len, &c2b, &err)) {
        text_copy(out, PUBLISH_KEY_SIZE, c2b.receipt);
        return;
    }
    sign_sha256(notice->body, notice->len, hash);
    buf_over(&hex, out, PUBLISH_KEY_SIZE);
    buf_addhex(&hex, hash, sizeof(hash));
}

void publish_make_c2b(const struct publish *p, const struct publish_c2b *notice,
                      struct publish_record *ret)
{
    c2b_key(notice, ret->key);
    sign_c2b(p->cfg->callbacks_mac_key, notice->body, notice->len, ret->mac);
    make_record(ret, notice->body, notice->len, 4);
    ret->headers[0] = header(HDR_KIND, KIND_C2B);
    ret->headers[1] = header(HDR_MAC, ret->mac);
    ret->headers[2] = header(HDR_TIME, ret->time);
    ret->headers[3] = header(HDR_SOURCE, notice->source);
}

enum err_code publish_callback(struct publish *p,
                               const struct kafka_record *record,
                               kafka_done_fn done, void *arg, struct err *err)
{
    struct kafka_record r = *record;

    r.topic = p->topics[TOPIC_CALLBACKS];
    return kafka_produce(p->producer, &r, done, arg, err);
}

size_t publish_queued(const struct publish *p)
{
    return kafka_queued(p->producer);
}

bool publish_up(const struct publish *p, char *note, size_t size)
{
    return kafka_producer_up(p->producer, note, size);
}
