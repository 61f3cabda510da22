/*
 * Topics made and described, blocking, for the command line. The plan of each
 * topic follows from the configuration: request and callback topics get the
 * broker's own append time and no limit of bytes, because deadlines are
 * reckoned from it and nothing unclaimed may be deleted for its size.
 */
#include "common/kafka_priv.h"

#include "common/must.h"

#include <stdio.h>

#define ADMIN_WAIT_MS 15000
#define MS_PER_HOUR INT64_C(3600000)

static int64_t retention_h(const struct config *cfg, enum topic t)
{
    if (t == TOPIC_STATUS)
        return cfg->topics_status_retention_h;
    if (t == TOPIC_DEAD)
        return cfg->topics_dead_retention_h;
    return cfg->topics_requests_retention_h;
}

void kafka_topic_plans(const struct config *cfg,
                       struct kafka_topic_plan plans[TOPICS_N])
{
    for (int i = 0; i < TOPICS_N; i++) {
        enum topic t = (enum topic)i;

        kafka_topic(cfg, t, plans[i].name);
        plans[i].partitions = (int)cfg->topics_partitions;
        plans[i].replication = (int)cfg->topics_replication;
        plans[i].min_insync = (int)cfg->topics_min_insync;
        plans[i].retention_ms = retention_h(cfg, t) * MS_PER_HOUR;
        plans[i].append_time = t != TOPIC_STATUS && t != TOPIC_DEAD;
    }
}

static void topic_set(rd_kafka_NewTopic_t *topic, const char *name,
                      const char *value)
{
    must(!rd_kafka_NewTopic_set_config(topic, name, value));
}

static void topic_set_number(rd_kafka_NewTopic_t *topic, const char *name,
                             int64_t number)
{
    char text[24];

    snprintf(text, sizeof(text), "%lld", (long long)number);
    topic_set(topic, name, text);
}

static rd_kafka_NewTopic_t *topic_new(const struct kafka_topic_plan *plan,
                                      struct err *err)
{
    char why[160];
    rd_kafka_NewTopic_t *topic = rd_kafka_NewTopic_new(
        plan->name, plan->partitions, plan->replication, why, sizeof(why));

    if (!topic) {
        (void)err_set(err, ERR_CONFIG, "cannot create topic \"%s\": %s",
                      plan->name, why);
        return NULL;
    }
    topic_set(topic, "cleanup.policy", "delete");
    topic_set(topic, "retention.bytes", "-1");
    topic_set(topic, "unclean.leader.election.enable", "false");
    topic_set(topic, "message.timestamp.type",
              plan->append_time ? "LogAppendTime" : "CreateTime");
    topic_set_number(topic, "retention.ms", plan->retention_ms);
    topic_set_number(topic, "min.insync.replicas", plan->min_insync);
    return topic;
}

/** What the answer in @p event says of the one topic that was asked for. */
static enum err_code result_read(rd_kafka_event_t *event, const char *name,
                                 struct err *err)
{
    const rd_kafka_CreateTopics_result_t *result;
    const rd_kafka_topic_result_t **topics;
    rd_kafka_resp_err_t code;
    size_t n = 0;

    if (!event)
        return err_set(err, ERR_TIMEOUT,
                       "could not create topic \"%s\": no answer", name);
    if (rd_kafka_event_error(event))
        return err_set_from(err, ERR_UNAVAILABLE, ERR_KAFKA,
                            rd_kafka_event_error(event),
                            "could not create topic \"%s\": %s", name,
                            rd_kafka_event_error_string(event));
    result = rd_kafka_event_CreateTopics_result(event);
    topics = rd_kafka_CreateTopics_result_topics(result, &n);
    if (n != 1)
        return err_set(err, ERR_INTERNAL,
                       "could not create topic \"%s\": %zu answers", name, n);
    code = rd_kafka_topic_result_error(topics[0]);
    if (!code)
        return ERR_NONE;
    return err_set_from(err,
                        code == RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS
                            ? ERR_CONFLICT
                            : ERR_DENIED,
                        ERR_KAFKA, code, "cannot create topic \"%s\": %s", name,
                        rd_kafka_topic_result_error_string(topics[0]));
}

static enum err_code topic_create(rd_kafka_t *rk, rd_kafka_NewTopic_t *topic,
                                  const char *name, struct err *err)
{
    rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);
    rd_kafka_AdminOptions_t *options =
        rd_kafka_AdminOptions_new(rk, RD_KAFKA_ADMIN_OP_CREATETOPICS);
    rd_kafka_event_t *event;
    enum err_code code;
    char why[128];

    must(!rd_kafka_AdminOptions_set_request_timeout(options, ADMIN_WAIT_MS, why,
                                                    sizeof(why)));
    rd_kafka_CreateTopics(rk, &topic, 1, options, queue);
    event = rd_kafka_queue_poll(queue, ADMIN_WAIT_MS + 1000);
    code = result_read(event, name, err);
    if (event)
        rd_kafka_event_destroy(event);
    rd_kafka_AdminOptions_destroy(options);
    rd_kafka_queue_destroy(queue);
    return code;
}

enum err_code kafka_topic_create(const struct config *cfg,
                                 const struct kafka_topic_plan *plan,
                                 struct err *err)
{
    const struct kafka_client_spec spec = {.type = RD_KAFKA_PRODUCER,
                                           .client_id = "foleni-admin"};
    rd_kafka_NewTopic_t *topic;
    rd_kafka_t *rk;
    enum err_code code;

    if (kafka_client_new(cfg, &spec, &rk, err))
        return err->code;
    topic = topic_new(plan, err);
    code = topic ? topic_create(rk, topic, plan->name, err) : err->code;
    if (topic)
        rd_kafka_NewTopic_destroy(topic);
    rd_kafka_destroy(rk);
    return code;
}
