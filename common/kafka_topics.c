/*
 * What a broker has of our topics: their sizes from its metadata, their
 * settings from its answer to DescribeConfigs. Blocking, for the command line.
 */
#include "common/kafka_priv.h"

#include "common/must.h"

#include <stdlib.h>
#include <string.h>

#define ANSWER_MS 15000

static enum err_code unread(rd_kafka_resp_err_t code, const char *why,
                            struct err *err)
{
    enum err_code kind =
        code == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED ? ERR_DENIED
        : code == RD_KAFKA_RESP_ERR__TIMED_OUT               ? ERR_TIMEOUT
                                                             : ERR_UNAVAILABLE;

    return err_set_from(err, kind, ERR_KAFKA, code,
                        "could not read the topics: %s", why);
}

/** The row of @p facts whose plan is called @p name, or NULL. */
static struct kafka_topic_facts *facts_of(const struct kafka_topic_plan *plans,
                                          struct kafka_topic_facts *facts,
                                          const char *name)
{
    for (int i = 0; i < TOPICS_N; i++)
        if (strcmp(plans[i].name, name) == 0)
            return &facts[i];
    return NULL;
}

/* All topics are asked for, so that none is made by being asked for. */
static enum err_code read_sizes(rd_kafka_t *rk,
                                const struct kafka_topic_plan *plans,
                                struct kafka_topic_facts *ret, struct err *err)
{
    const struct rd_kafka_metadata *all;
    rd_kafka_resp_err_t code = rd_kafka_metadata(rk, 1, NULL, &all, ANSWER_MS);

    if (code)
        return unread(code, rd_kafka_err2str(code), err);
    for (int i = 0; i < all->topic_cnt; i++) {
        const struct rd_kafka_metadata_topic *t = &all->topics[i];
        struct kafka_topic_facts *facts = facts_of(plans, ret, t->topic);

        if (!facts || t->err || t->partition_cnt < 1)
            continue;
        facts->exists = true;
        facts->partitions = t->partition_cnt;
        facts->replication = t->partitions[0].replica_cnt;
    }
    rd_kafka_metadata_destroy(all);
    return ERR_NONE;
}

static void take_entry(struct kafka_topic_facts *facts, const char *name,
                       const char *value)
{
    if (!strcmp(name, "retention.ms"))
        facts->retention_ms = strtoll(value, NULL, 10);
    else if (!strcmp(name, "retention.bytes"))
        facts->retention_bytes = strtoll(value, NULL, 10);
    else if (!strcmp(name, "min.insync.replicas"))
        facts->min_insync = (int)strtol(value, NULL, 10);
    else if (!strcmp(name, "message.timestamp.type"))
        facts->append_time = !strcmp(value, "LogAppendTime");
    else if (!strcmp(name, "cleanup.policy"))
        facts->compacted = strcmp(value, "delete") != 0;
    else if (!strcmp(name, "unclean.leader.election.enable"))
        facts->unclean = !strcmp(value, "true");
}

static enum err_code take_settings(rd_kafka_event_t *event,
                                   const struct kafka_topic_plan *plans,
                                   struct kafka_topic_facts *ret,
                                   struct err *err)
{
    const rd_kafka_ConfigResource_t **all;
    size_t n = 0;

    all = rd_kafka_DescribeConfigs_result_resources(
        rd_kafka_event_DescribeConfigs_result(event), &n);
    for (size_t i = 0; i < n; i++) {
        struct kafka_topic_facts *facts =
            facts_of(plans, ret, rd_kafka_ConfigResource_name(all[i]));
        const rd_kafka_ConfigEntry_t **entries;
        size_t m = 0;

        if (rd_kafka_ConfigResource_error(all[i]))
            return unread(rd_kafka_ConfigResource_error(all[i]),
                          rd_kafka_ConfigResource_error_string(all[i]), err);
        entries = rd_kafka_ConfigResource_configs(all[i], &m);
        for (size_t k = 0; facts && k < m; k++)
            if (rd_kafka_ConfigEntry_value(entries[k]))
                take_entry(facts, rd_kafka_ConfigEntry_name(entries[k]),
                           rd_kafka_ConfigEntry_value(entries[k]));
    }
    return ERR_NONE;
}

static size_t ask_for(const struct kafka_topic_plan *plans,
                      const struct kafka_topic_facts *facts,
                      rd_kafka_ConfigResource_t **ret)
{
    size_t n = 0;

    for (int i = 0; i < TOPICS_N; i++) {
        if (!facts[i].exists)
            continue;
        ret[n] =
            rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, plans[i].name);
        must(ret[n++]);
    }
    return n;
}

static enum err_code read_settings(rd_kafka_t *rk,
                                   const struct kafka_topic_plan *plans,
                                   struct kafka_topic_facts *ret,
                                   struct err *err)
{
    rd_kafka_ConfigResource_t *asked[TOPICS_N];
    size_t n = ask_for(plans, ret, asked);
    rd_kafka_queue_t *queue;
    rd_kafka_event_t *event;
    enum err_code code;

    if (!n)
        return ERR_NONE;
    queue = rd_kafka_queue_new(rk);
    rd_kafka_DescribeConfigs(rk, asked, n, NULL, queue);
    event = rd_kafka_queue_poll(queue, ANSWER_MS);
    if (!event)
        code = unread(RD_KAFKA_RESP_ERR__TIMED_OUT, "no answer", err);
    else if (rd_kafka_event_error(event))
        code = unread(rd_kafka_event_error(event),
                      rd_kafka_event_error_string(event), err);
    else
        code = take_settings(event, plans, ret, err);
    if (event)
        rd_kafka_event_destroy(event);
    rd_kafka_ConfigResource_destroy_array(asked, n);
    rd_kafka_queue_destroy(queue);
    return code;
}

enum err_code kafka_topics_read(const struct config *cfg,
                                const struct kafka_topic_plan plans[TOPICS_N],
                                struct kafka_topic_facts ret[TOPICS_N],
                                struct err *err)
{
    const struct kafka_client_spec spec = {.type = RD_KAFKA_PRODUCER,
                                           .client_id = "foleni-topics"};
    rd_kafka_t *rk;
    enum err_code code;

    memset(ret, 0, TOPICS_N * sizeof(*ret));
    if (kafka_client_new(cfg, &spec, &rk, err))
        return err->code;
    code = read_sizes(rk, plans, ret, err);
    if (!code)
        code = read_settings(rk, plans, ret, err);
    rd_kafka_destroy(rk);
    return code;
}
