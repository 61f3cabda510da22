/*
 * Kafka: is it there, and are the topics as planned.
 */
#include "common/must.h"
#include "tools/doctor.h"
#include "tools/topics.h"

#include <stdio.h>

static void check_kafka(struct doctor *d, struct doctor_line *ret)
{
    const struct kafka_cluster *c = &d->cluster;

    if (d->kafka_err.code)
        doctor_say(ret, DOCTOR_FAIL,
                   "is it there (kafka.brokers), and may this host reach it?",
                   "%s", d->kafka_err.text);
    else if (c->embedded)
        doctor_say(ret, DOCTOR_OK, "", "the embedded broker");
    else
        doctor_say(ret, DOCTOR_OK, "", "%d brokers, cluster %s%s%s", c->brokers,
                   c->id, *c->version ? ", protocol " : "", c->version);
}

static void judge_topic(const struct doctor *d,
                        const struct kafka_topic_plan *plan,
                        const struct kafka_topic_facts *facts,
                        struct doctor_line *ret)
{
    struct topic_difference all[TOPIC_DIFFERENCES_MAX];
    const struct topic_difference *bad;
    size_t n;

    if (!facts->exists) {
        doctor_say(ret, DOCTOR_FAIL, "foleni topics create", "%s is absent",
                   plan->name);
        return;
    }
    n = topic_compare(d->cfg, plan, facts, all);
    bad = topic_unsafe(all, n);
    if (bad)
        doctor_say(ret, DOCTOR_FAIL,
                   "alter the topic, then look with foleni topics diff",
                   "%s has %s %s instead of %s: %s", plan->name, bad->name,
                   bad->has, bad->wants, bad->breaks);
    else if (n)
        doctor_say(ret, DOCTOR_WARN, "see foleni topics diff",
                   "%s has %s %s instead of %s", plan->name, all[0].name,
                   all[0].has, all[0].wants);
}

static void check_topics(struct doctor *d, struct doctor_line *ret)
{
    struct kafka_topic_plan plans[TOPICS_N];
    struct kafka_topic_facts facts[TOPICS_N];
    struct err err;

    if (d->cluster.embedded) {
        doctor_say(ret, DOCTOR_OK, "", "the embedded broker makes its own");
        return;
    }
    kafka_topic_plans(d->cfg, plans);
    if (kafka_topics_read(d->cfg, plans, facts, &err)) {
        doctor_say(ret, DOCTOR_FAIL, "may this client describe topics?", "%s",
                   err.text);
        return;
    }
    for (int i = 0; i < TOPICS_N; i++)
        judge_topic(d, &plans[i], &facts[i], ret);
    doctor_say(ret, DOCTOR_OK, "", "%d topics are as planned", TOPICS_N);
}

const struct doctor_check doctor_kafka[] = {
    {"kafka", NEEDS_NOTHING, check_kafka},
    {"topics", NEEDS_KAFKA, check_topics},
};
const size_t doctor_kafka_n = ARRAY_LEN(doctor_kafka);
