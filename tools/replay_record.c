/*
 * One range of the dead topic is read forwards; items come in the order of
 * partition and offset, so it is opened about once per partition.
 */
#include "tools/replay_record.h"

#include "common/buf.h"
#include "common/clock.h"
#include "common/loop.h"
#include "common/must.h"
#include "common/sign.h"
#include "common/wire.h"
#include "tools/letters_priv.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FLUSH_US (30 * US_PER_S)
#define TURN_US (50 * US_PER_MS)
#define CLOSE_MS 5000
#define NUMBERS_BYTES_MAX ((size_t)1 << 20)

static const char SQL_NEXT[] =
    "SELECT n, partition, \"offset\" FROM replay_items "
    "WHERE replay = $1::int8 AND disposition = 0 AND record "
    "ORDER BY n LIMIT $2::int8";
/* $2 those that went, $3 those of which no payment can be made. */
static const char SQL_NOTE[] =
    "UPDATE replay_items SET settled_at = now(), "
    "disposition = CASE WHEN n = ANY ($3::int8[]) THEN 12 ELSE 2 END "
    "WHERE replay = $1::int8 AND (n = ANY ($2::int8[]) OR n = ANY "
    "($3::int8[]))";

/* Headers of a letter that are not its record's. */
static const char *const letter_headers[] = {
    HDR_PAYMENT,       HDR_ATTEMPTS,         HDR_FIRST_FAILURE,
    HDR_LAST_FAILURE,  HDR_ERROR_CLASS,      HDR_ERROR_CODE,
    HDR_ERROR_MESSAGE, HDR_SOURCE_TOPIC,     HDR_SOURCE_PARTITION,
    HDR_SOURCE_OFFSET, HDR_SOURCE_TIMESTAMP, HDR_STAGE,
    HDR_LEFT_OUT,      HDR_REPLAYS,          HDR_REPLAY,
    HDR_TIME,          HDR_SIGNATURE, /* made anew */
};

struct replay_records {
    struct replay *r;
    struct loop *loop;
    struct kafka_producer *producer;
    char dead[KAFKA_TOPIC_SIZE];
    struct kafka_range *range; /* or NULL */
    struct letter_place at;    /* the next that the range would give */
    size_t pending, failed;
    struct err why;
    struct buf went, bad; /* n of items, as arrays */
};

enum err_code replay_records_new(struct replay *r, struct replay_records **ret,
                                 struct err *err)
{
    struct replay_records *x = NEW(struct replay_records);

    x->r = r;
    x->loop = loop_new();
    kafka_topic(r->cfg, TOPIC_DEAD, x->dead);
    buf_init(&x->went, NUMBERS_BYTES_MAX);
    buf_init(&x->bad, NUMBERS_BYTES_MAX);
    if (kafka_producer_new(x->loop, r->cfg, "foleni-replay",
                           r->cfg->kafka_linger_worker_ms, &x->producer, err)) {
        replay_records_free(x);
        return err->code;
    }
    *ret = x;
    return ERR_NONE;
}

void replay_records_free(struct replay_records *x)
{
    if (!x)
        return;
    kafka_range_close(x->range);
    kafka_producer_free(x->producer, CLOSE_MS);
    loop_free(x->loop);
    buf_done(&x->went);
    buf_done(&x->bad);
    free(x);
}

/* --- the letter --- */

static enum err_code seek(struct replay_records *x, struct letter_place to,
                          struct err *err)
{
    if (x->range && x->at.partition == to.partition &&
        x->at.offset <= to.offset)
        return ERR_NONE;
    kafka_range_close(x->range);
    x->range = NULL;
    x->at = to;
    return kafka_range_open(x->r->cfg, x->dead, to.partition, to.offset,
                            INT64_MAX, &x->range, err);
}

/* NULL when it is not there any more. */
static enum err_code fetch(struct replay_records *x, struct letter_place place,
                           const struct kafka_record **ret, struct err *err)
{
    *ret = NULL;
    if (seek(x, place, err))
        return err->code;
    while (x->at.offset <= place.offset) {
        if (kafka_range_next(x->range, ret, err) || !*ret) {
            kafka_range_close(TAKE(x->range));
            return err->code == ERR_NOT_FOUND ? ERR_NONE : err->code;
        }
        x->at.offset = (*ret)->offset + 1;
    }
    if ((*ret)->offset != place.offset)
        *ret = NULL;
    return ERR_NONE;
}

/* --- back to its topic --- */

struct anew {
    char client[UUID_TEXT_SIZE], time[24], signature[RECORD_MAC_SIZE];
    char replays[24];
    struct kafka_header headers[KAFKA_HEADERS_MAX + 8];
    size_t n;
};

static bool is_the_records(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(letter_headers); i++)
        if (strcmp(letter_headers[i], name) == 0)
            return false;
    return true;
}

static void add_header(struct anew *a, const char *name, const char *text)
{
    a->headers[a->n++] = (struct kafka_header){name, text, strlen(text)};
}

static void sign_anew(const struct replay_records *x,
                      const struct kafka_record *r, const struct uuid *client,
                      struct anew *a)
{
    const struct client *row = config_client(x->r->cfg, client);

    uuid_format(client, a->client);
    snprintf(a->time, sizeof(a->time), "%" PRId64, clock_wall_at() / US_PER_MS);
    add_header(a, HDR_TIME, a->time);
    must(row); /* it was read by its configuration */
    if (!*row->signing_secret)
        return;
    sign_record(row->signing_secret,
                &(struct record_claim){a->client, a->time, r->key, r->key_len,
                                       r->value, r->value_len},
                a->signature);
    add_header(a, HDR_SIGNATURE, a->signature);
}

static void reported(void *arg, const struct err *err)
{
    struct replay_records *x = arg;

    x->pending--;
    if (!err)
        return;
    x->failed++;
    x->why = *err;
}

static enum err_code produce(struct replay_records *x,
                             const struct kafka_record *r,
                             const struct letter_view *l,
                             const struct request *req, struct err *err)
{
    struct anew a = {.n = 0};
    struct kafka_record out = *r;

    for (size_t i = 0; i < r->headers_n; i++)
        if (is_the_records(r->headers[i].name))
            a.headers[a.n++] = r->headers[i];
    sign_anew(x, r, &req->client, &a);
    snprintf(a.replays, sizeof(a.replays), "%" PRId64, l->replays + 1);
    add_header(&a, HDR_REPLAYS, a.replays);
    add_header(&a, HDR_REPLAY, x->r->id);
    out.topic = l->source_topic;
    out.headers = a.headers;
    out.headers_n = a.n;
    if (kafka_produce(x->producer, &out, reported, x, err))
        return err->code;
    x->pending++;
    return ERR_NONE;
}

static void note(struct buf *numbers, const char *n)
{
    buf_adds(numbers, numbers->len ? "," : "{");
    buf_adds(numbers, n);
}

/* Read once more, with what the settings say now. */
static enum err_code send_back(struct replay_records *x, const char *n,
                               struct letter_place place, struct err *err)
{
    const struct kafka_record *record;
    struct letter_view view;
    struct request req;
    struct fault fault;
    enum topic topic;

    if (fetch(x, place, &record, err))
        return err->code;
    if (record)
        letter_read(record, &view);
    if (!record || !letter_topic(x->r->cfg, view.source_topic, &topic) ||
        wire_read_request(x->r->cfg, record, topic, clock_wall_at(), &req,
                          &fault)) {
        note(&x->bad, n);
        return ERR_NONE;
    }
    note(&x->went, n);
    return produce(x, record, &view, &req, err);
}

/* Until all reports are there. */
static enum err_code flush(struct replay_records *x, struct err *err)
{
    int64_t end_us = clock_now_us() + FLUSH_US;

    while (x->pending && clock_now_us() < end_us)
        loop_once(x->loop, TURN_US);
    if (x->pending)
        return err_set(err, ERR_TIMEOUT,
                       "Kafka has not said in %d s whether it has %zu records",
                       (int)(FLUSH_US / US_PER_S), x->pending);
    if (!x->failed)
        return ERR_NONE;
    *err = x->why;
    return err_wrap(err, "%zu records did not get back to their topic",
                    x->failed);
}

static enum err_code note_all(struct replay_records *x, struct err *err)
{
    const char *params[] = {x->r->id, "{}", "{}"};

    if (x->went.len) {
        buf_adds(&x->went, "}");
        params[1] = x->went.data;
    }
    if (x->bad.len) {
        buf_adds(&x->bad, "}");
        params[2] = x->bad.data;
    }
    must(!x->went.failed && !x->bad.failed);
    if (pg_session_exec(x->r->session, SQL_NOTE, params, ARRAY_LEN(params),
                        NULL, err))
        return err_wrap(err, "could not note which records went back");
    return ERR_NONE;
}

enum err_code replay_records_release(struct replay_records *x, int64_t n,
                                     int64_t *ret, struct err *err)
{
    CLEANUP(pg_text_rows_free)
    struct pg_text_rows *rows = NULL;
    char most[24];
    const char *const params[] = {x->r->id, most};

    snprintf(most, sizeof(most), "%" PRId64, n);
    if (pg_session_exec(x->r->session, SQL_NEXT, params, 2, &rows, err))
        return err_wrap(err, "could not read the next records");
    buf_reset(&x->went);
    buf_reset(&x->bad);
    *ret = (int64_t)pg_text_rows_n(rows);
    for (size_t i = 0; i < pg_text_rows_n(rows); i++) {
        struct letter_place place = {
            (int32_t)strtol(pg_text_value(rows, i, 1), NULL, 10),
            strtoll(pg_text_value(rows, i, 2), NULL, 10)};

        if (send_back(x, pg_text_value(rows, i, 0), place, err))
            return err->code;
    }
    if (!*ret)
        return ERR_NONE;
    return flush(x, err) ? err->code : note_all(x, err);
}
