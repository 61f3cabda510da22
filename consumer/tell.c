/*
 * One idempotent producer for both topics. A status event's context is from a
 * slab as large as the producer's queue; when either is full nothing is sent
 * and the event stays owed, which the due-scan sees.
 */
#include "consumer/tell.h"

#include "common/buf.h"
#include "common/clock.h"
#include "common/list.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/must.h"
#include "common/wire.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EVENT_MAX 8192
#define MESSAGE_MAX 512 /* bytes of foleni-error-message */
#define LETTER_HEADERS_MAX 15

struct telling {
    struct list node; /* in free while unused */
    struct tell *tell;
    struct uuid payment;
    int version;
    tell_done_fn done;
    void *arg;
};

struct tell {
    struct kafka_producer *producer;
    struct buf event;
    struct telling *slab;
    struct list free;
    char status[KAFKA_TOPIC_SIZE], dead[KAFKA_TOPIC_SIZE];
};

enum err_code tell_new(struct loop *loop, const struct config *cfg,
                       struct tell **ret, struct err *err)
{
    struct tell *t = NEW(struct tell);
    size_t n = (size_t)cfg->kafka_queue_records_max;

    if (kafka_producer_new(loop, cfg, "foleni-worker",
                           cfg->kafka_linger_worker_ms, &t->producer, err)) {
        free(t);
        return err->code;
    }
    kafka_topic(cfg, TOPIC_STATUS, t->status);
    kafka_topic(cfg, TOPIC_DEAD, t->dead);
    buf_init(&t->event, EVENT_MAX);
    list_init(&t->free);
    t->slab = must_alloc(n, sizeof(*t->slab));
    for (size_t i = 0; i < n; i++) {
        t->slab[i].tell = t;
        list_append(&t->free, &t->slab[i].node);
    }
    *ret = t;
    return ERR_NONE;
}

void tell_free(struct tell *t, int64_t wait_ms)
{
    if (!t)
        return;
    kafka_producer_free(t->producer, wait_ms);
    buf_done(&t->event);
    free(t->slab);
    free(t);
}

static void told(void *arg, const struct err *err)
{
    struct telling *x = arg;

    metric_add(err ? M_EVENTS_FAILED : M_EVENTS_TOLD, 1);
    x->done(x->arg, &x->payment, x->version, err);
    list_append(&x->tell->free, &x->node);
}

static void text_header(struct kafka_header *h, const char *name,
                        const char *value)
{
    *h = (struct kafka_header){name, value, strlen(value)};
}

/* Headers that spare a reader like foleni-api the parsing of the value. */
static size_t event_headers(const struct payment *p, struct kafka_header *h,
                            char texts[4][UUID_TEXT_SIZE])
{
    struct buf hex;

    uuid_format(&p->req.client, texts[0]);
    buf_init(&hex, 2 * FINGERPRINT_SIZE);
    buf_addhex(&hex, p->req.fingerprint, FINGERPRINT_SIZE);
    text_copy(texts[1], UUID_TEXT_SIZE, hex.data);
    buf_done(&hex);
    snprintf(texts[2], UUID_TEXT_SIZE, "%d", p->version);
    text_copy(texts[3], UUID_TEXT_SIZE,
              payment_state_final(p->state) ? "1" : "0");
    text_header(&h[0], HDR_CLIENT, texts[0]);
    text_header(&h[1], HDR_FINGERPRINT, texts[1]);
    text_header(&h[2], HDR_VERSION, texts[2]);
    text_header(&h[3], HDR_FINAL, texts[3]);
    return 4;
}

void tell_status(struct tell *t, const struct payment *p, tell_done_fn done,
                 void *arg)
{
    struct list *n = list_shift(&t->free);
    struct kafka_header headers[4];
    char texts[4][UUID_TEXT_SIZE], key[UUID_TEXT_SIZE];
    struct kafka_record record = {
        .topic = t->status,
        .key = key,
        .key_len = UUID_TEXT_SIZE - 1,
        .headers = headers,
    };
    struct telling *x;
    struct err err;

    if (!n) {
        metric_add(M_EVENTS_OWED, 1);
        return;
    }
    x = container_of(n, struct telling, node);
    x->payment = p->req.id;
    x->version = p->version;
    x->done = done;
    x->arg = arg;
    uuid_format(&p->req.id, key);
    buf_reset(&t->event);
    wire_write_event(p, &t->event);
    must(!t->event.failed);
    record.value = t->event.data;
    record.value_len = t->event.len;
    record.headers_n = event_headers(p, headers, texts);
    if (kafka_produce(t->producer, &record, told, x, &err)) {
        metric_add(M_EVENTS_OWED, 1);
        list_append(&t->free, &x->node);
    }
}

/* --- dead letters --- */

struct letter_texts {
    char payment[UUID_TEXT_SIZE], attempts[16], first[24], last[24];
    char message[MESSAGE_MAX + 1], partition[16], offset[24], at[24];
    char replays[24], replay[24];
};

static void number(char *to, size_t size, int64_t n)
{
    snprintf(to, size, "%lld", (long long)n);
}

static size_t letter_headers(const struct kafka_record *r,
                             const struct letter *l, struct letter_texts *x,
                             struct kafka_header *h)
{
    size_t n = 0;

    if (l->payment) {
        uuid_format(l->payment, x->payment);
        text_header(&h[n++], HDR_PAYMENT, x->payment);
    }
    number(x->attempts, sizeof(x->attempts), l->attempts);
    number(x->first, sizeof(x->first), l->first_failure_at / US_PER_MS);
    number(x->last, sizeof(x->last), l->last_failure_at / US_PER_MS);
    text_copy(x->message, sizeof(x->message), l->error_message);
    number(x->partition, sizeof(x->partition), r->partition);
    number(x->offset, sizeof(x->offset), r->offset);
    number(x->at, sizeof(x->at), r->timestamp_at / US_PER_MS);
    number(x->replays, sizeof(x->replays), l->replay_count);
    text_header(&h[n++], HDR_ATTEMPTS, x->attempts);
    text_header(&h[n++], HDR_FIRST_FAILURE, x->first);
    text_header(&h[n++], HDR_LAST_FAILURE, x->last);
    text_header(&h[n++], HDR_ERROR_CLASS, l->error_class);
    text_header(&h[n++], HDR_ERROR_CODE, l->error_code);
    text_header(&h[n++], HDR_ERROR_MESSAGE, x->message);
    text_header(&h[n++], HDR_SOURCE_TOPIC, r->topic);
    text_header(&h[n++], HDR_SOURCE_PARTITION, x->partition);
    text_header(&h[n++], HDR_SOURCE_OFFSET, x->offset);
    text_header(&h[n++], HDR_SOURCE_TIMESTAMP, x->at);
    text_header(&h[n++], HDR_STAGE, l->stage);
    text_header(&h[n++], HDR_REPLAYS, x->replays);
    if (l->replay) {
        number(x->replay, sizeof(x->replay), l->replay);
        text_header(&h[n++], HDR_REPLAY, x->replay);
    }
    must(n <= LETTER_HEADERS_MAX);
    return n;
}

/* A record that leaves no room for the letter's headers can never be written
   with them, and must not hold up those behind it. Its bytes stay where the
   letter says, as long as Kafka keeps them. */
static enum err_code tell_without(struct tell *t,
                                  const struct kafka_record *record,
                                  const struct letter *letter,
                                  kafka_done_fn done, void *arg,
                                  struct err *err)
{
    struct kafka_header headers[LETTER_HEADERS_MAX + 1];
    struct kafka_record out = {.topic = t->dead, .headers = headers};
    struct letter_texts texts;
    char size[24];

    number(size, sizeof(size), (int64_t)record->value_len);
    out.headers_n = letter_headers(record, letter, &texts, headers);
    text_header(&headers[out.headers_n++], HDR_LEFT_OUT, size);
    log_error("tell", "letter_without_record", KV("topic", record->topic),
              KV_INT("partition", record->partition),
              KV_INT("offset", record->offset),
              KV_INT("bytes", record->value_len));
    return kafka_produce(t->producer, &out, done, arg, err);
}

/* Of an earlier replay: the letter has its own. */
static bool is_replay_header(const struct kafka_header *h)
{
    return strcmp(h->name, HDR_REPLAYS) == 0 ||
           strcmp(h->name, HDR_REPLAY) == 0;
}

enum err_code tell_dead(struct tell *t, const struct kafka_record *record,
                        const struct letter *letter, kafka_done_fn done,
                        void *arg, struct err *err)
{
    struct kafka_header headers[KAFKA_HEADERS_MAX + LETTER_HEADERS_MAX];
    struct kafka_record out = *record;
    struct letter_texts texts;
    size_t own = MIN(record->headers_n, KAFKA_HEADERS_MAX), n = 0;
    enum err_code code;

    for (size_t i = 0; i < own; i++)
        if (!is_replay_header(&record->headers[i]))
            headers[n++] = record->headers[i];
    n += letter_headers(record, letter, &texts, headers + n);
    out.topic = t->dead;
    out.headers = headers;
    out.headers_n = n;
    code = kafka_produce(t->producer, &out, done, arg, err);
    if (code == ERR_INPUT)
        code = tell_without(t, record, letter, done, arg, err);
    if (!code)
        metric_add(M_LETTERS, 1);
    return code;
}

size_t tell_queued(const struct tell *t)
{
    return kafka_queued(t->producer);
}

bool tell_up(const struct tell *t, char *note, size_t size)
{
    return kafka_producer_up(t->producer, note, size);
}
