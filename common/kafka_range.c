/*
 * Where a topic's partitions begin and end and where a group stands, and the
 * records between two offsets: blocking, for the command line.
 */
#include "common/kafka_priv.h"

#include "common/clock.h"
#include "common/must.h"

#include <stdlib.h>
#include <string.h>

#define ANSWER_MS 10000
#define SILENCE_US (20 * US_PER_S) /* a range without a record for so long */

struct kafka_range {
    rd_kafka_t *rk;
    rd_kafka_topic_t *topic;
    int32_t partition;
    int64_t next, to;
    bool started;
    rd_kafka_message_t *message; /* handed out last */
    struct kafka_record record;
    struct kafka_header headers[KAFKA_HEADERS_MAX];
};

/** @param group whose offsets are to be asked for, or NULL */
static enum err_code client_open(const struct config *cfg, const char *group,
                                 rd_kafka_t **ret, struct err *err)
{
    const struct kafka_setting settings[] = {
        {"enable.partition.eof", "true", 0},
        {"auto.offset.reset", "error", 0},
        {"enable.auto.commit", "false", 0},
        /* ends of logs as they are; records as workers get them, to whom what
           a transaction took back, and its marker, is a gap like others */
        {"isolation.level", group ? "read_uncommitted" : "read_committed", 0},
        {"group.id", group, 0},
    };
    const struct kafka_client_spec spec = {
        .type = RD_KAFKA_CONSUMER,
        .client_id = "foleni-range",
        .settings = settings,
        .settings_n = ARRAY_LEN(settings) - !group,
    };

    return kafka_client_new(cfg, &spec, ret, err);
}

static enum err_code away(const char *topic, const char *what,
                          rd_kafka_resp_err_t code, struct err *err)
{
    return err_set_from(err, ERR_UNAVAILABLE, ERR_KAFKA, code,
                        "could not read %s of \"%s\": %s", what, topic,
                        rd_kafka_err2str(code));
}

/* --- places --- */

static enum err_code count_partitions(rd_kafka_t *rk, const char *topic,
                                      size_t *ret, struct err *err)
{
    rd_kafka_topic_t *t = rd_kafka_topic_new(rk, topic, NULL);
    const struct rd_kafka_metadata *all;
    rd_kafka_resp_err_t code = rd_kafka_metadata(rk, 0, t, &all, ANSWER_MS);

    rd_kafka_topic_destroy(t);
    if (code)
        return away(topic, "the partitions", code, err);
    code = all->topic_cnt == 1 ? all->topics[0].err
                               : RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
    *ret = code ? 0 : (size_t)all->topics[0].partition_cnt;
    rd_kafka_metadata_destroy(all);
    return code ? away(topic, "the partitions", code, err) : ERR_NONE;
}

static enum err_code read_committed(rd_kafka_t *rk, const char *group,
                                    const char *topic,
                                    struct kafka_place *places, size_t n,
                                    struct err *err)
{
    rd_kafka_topic_partition_list_t *list =
        rd_kafka_topic_partition_list_new((int)n);
    rd_kafka_resp_err_t code;

    for (size_t i = 0; i < n; i++)
        rd_kafka_topic_partition_list_add(list, topic, (int32_t)i);
    code = kafka_committed(rk, list);
    for (size_t i = 0; !code && i < n; i++)
        kafka_offset_read(&list->elems[i], &places[i].committed,
                          places[i].metadata);
    rd_kafka_topic_partition_list_destroy(list);
    if (code)
        return err_set_from(err, ERR_UNAVAILABLE, ERR_KAFKA, code,
                            "could not read the offsets of group \"%s\": %s",
                            group, rd_kafka_err2str(code));
    return ERR_NONE;
}

static enum err_code read_ends(rd_kafka_t *rk, const char *topic,
                               struct kafka_place *places, size_t n,
                               struct err *err)
{
    for (size_t i = 0; i < n; i++) {
        rd_kafka_resp_err_t code = rd_kafka_query_watermark_offsets(
            rk, topic, (int32_t)i, &places[i].first, &places[i].next,
            ANSWER_MS);

        if (code)
            return away(topic, "the ends", code, err);
    }
    return ERR_NONE;
}

enum err_code kafka_places(const struct config *cfg, const char *group,
                           const char *topic, struct kafka_place **ret,
                           size_t *ret_n, struct err *err)
{
    struct kafka_place *places = NULL;
    rd_kafka_t *rk;
    size_t n;

    if (client_open(cfg, group, &rk, err))
        return err->code;
    if (!count_partitions(rk, topic, &n, err)) {
        places = must_alloc(MAX(n, 1), sizeof(*places));
        for (size_t i = 0; i < n; i++)
            places[i] =
                (struct kafka_place){.partition = (int32_t)i, .committed = -1};
        if (read_committed(rk, group, topic, places, n, err) ||
            read_ends(rk, topic, places, n, err)) {
            free(places);
            places = NULL;
        }
    }
    rd_kafka_destroy_flags(rk, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    if (!places)
        return err->code;
    *ret = places;
    *ret_n = n;
    return ERR_NONE;
}

enum err_code kafka_members(const struct config *cfg, const char *group,
                            int *ret, struct err *err)
{
    const struct rd_kafka_group_list *list = NULL;
    rd_kafka_resp_err_t code;
    rd_kafka_t *rk;

    *ret = 0;
    if (client_open(cfg, group, &rk, err))
        return err->code;
    code = rd_kafka_list_groups(rk, group, &list, ANSWER_MS);
    for (int i = 0; list && i < list->group_cnt; i++)
        *ret += list->groups[i].member_cnt;
    if (list)
        rd_kafka_group_list_destroy(list);
    rd_kafka_destroy_flags(rk, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    if (code && code != RD_KAFKA_RESP_ERR_GROUP_ID_NOT_FOUND)
        return away(group, "the members", code, err);
    return ERR_NONE;
}

/* --- a range --- */

enum err_code kafka_range_open(const struct config *cfg, const char *topic,
                               int32_t partition, int64_t from, int64_t to,
                               struct kafka_range **ret, struct err *err)
{
    struct kafka_range *r = NEW(struct kafka_range);

    r->partition = partition;
    r->next = from;
    r->to = to;
    if (client_open(cfg, NULL, &r->rk, err)) {
        free(r);
        return err->code;
    }
    r->topic = rd_kafka_topic_new(r->rk, topic, NULL);
    must(r->topic);
    if (from < to && rd_kafka_consume_start(r->topic, partition, from)) {
        (void)away(topic, "the records", rd_kafka_last_error(), err);
        kafka_range_close(r);
        return err->code;
    }
    r->started = from < to;
    *ret = r;
    return ERR_NONE;
}

static void forget_message(struct kafka_range *r)
{
    if (r->message)
        rd_kafka_message_destroy(r->message);
    r->message = NULL;
}

void kafka_range_close(struct kafka_range *r)
{
    if (!r)
        return;
    forget_message(r);
    if (r->started)
        (void)rd_kafka_consume_stop(r->topic, r->partition);
    rd_kafka_topic_destroy(r->topic);
    rd_kafka_destroy(r->rk);
    free(r);
}

/* True = at its end: the log ends there, or the error is a lasting one. */
static bool take_error(struct kafka_range *r, const rd_kafka_message_t *m,
                       struct err *err)
{
    if (m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
        r->next = MAX(r->next, m->offset);
        return true;
    }
    if (m->err != RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET &&
        m->err != RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE)
        return false; /* it may pass */
    (void)err_set(err, ERR_NOT_FOUND,
                  "record %lld of \"%s\" [%d] is not in the log any more",
                  (long long)r->next, rd_kafka_topic_name(r->topic),
                  (int)r->partition);
    return true;
}

enum err_code kafka_range_next(struct kafka_range *r,
                               const struct kafka_record **ret, struct err *err)
{
    int64_t end_us = clock_now_us() + SILENCE_US;

    forget_message(r);
    *ret = NULL;
    *err = (struct err){0};
    while (r->next < r->to && clock_now_us() < end_us) {
        rd_kafka_message_t *m = rd_kafka_consume(r->topic, r->partition, 200);

        if (!m)
            continue;
        if (!m->err && m->offset < r->to) {
            r->message = m;
            r->next = m->offset + 1;
            kafka_record_read(m, &r->record, r->headers);
            *ret = &r->record;
            return ERR_NONE;
        }
        bool at_end = m->err ? take_error(r, m, err) : true;

        rd_kafka_message_destroy(m);
        if (at_end)
            return err->code;
    }
    if (r->next < r->to)
        return err_set(err, ERR_TIMEOUT,
                       "no record of \"%s\" [%d] at %lld in time",
                       rd_kafka_topic_name(r->topic), (int)r->partition,
                       (long long)r->next);
    return ERR_NONE;
}
