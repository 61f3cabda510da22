/*
 * The comparison. What is planned but not needed for safety is a difference
 * like any other; only what breaks a promise says so.
 */
#include "tools/topics.h"

#include "common/must.h"

#include <inttypes.h>
#include <stdio.h>

#define MS_PER_H INT64_C(3600000)
#define DEADLINE_MAX_MS (24 * MS_PER_H) /* payments.ttl_ms allows no more */

/** The differences found so far. */
struct found {
    struct topic_difference *items;
    size_t n;
};

static struct topic_difference *add(struct found *f, const char *name,
                                    const char *breaks)
{
    struct topic_difference *d = &f->items[f->n++];

    must(f->n <= TOPIC_DIFFERENCES_MAX);
    *d = (struct topic_difference){.name = name, .breaks = breaks};
    return d;
}

static void add_number(struct found *f, const char *name, int64_t has,
                       int64_t wants, const char *breaks)
{
    struct topic_difference *d;

    if (has == wants && !breaks)
        return;
    d = add(f, name, breaks);
    snprintf(d->has, sizeof(d->has), "%" PRId64, has);
    snprintf(d->wants, sizeof(d->wants), "%" PRId64, wants);
}

static void add_word(struct found *f, const char *name, bool has, bool wants,
                     const char *const words[2], const char *breaks)
{
    struct topic_difference *d;

    if (has == wants)
        return;
    d = add(f, name, breaks);
    snprintf(d->has, sizeof(d->has), "%s", words[has]);
    snprintf(d->wants, sizeof(d->wants), "%s", words[wants]);
}

/** What the retention of a topic that payments come from breaks, or NULL. */
static const char *retention_breaks(const struct config *cfg, int64_t ms)
{
    if (ms < 0 || ms >= cfg->database_retention_h * MS_PER_H)
        return "records outlive their payments' rows (database.retention_h)";
    if (ms <= DEADLINE_MAX_MS)
        return "records go before their payments' deadlines";
    return NULL;
}

size_t topic_compare(const struct config *cfg,
                     const struct kafka_topic_plan *plan,
                     const struct kafka_topic_facts *facts,
                     struct topic_difference ret[TOPIC_DIFFERENCES_MAX])
{
    static const char *const times[2] = {"CreateTime", "LogAppendTime"};
    static const char *const policies[2] = {"delete", "compact"};
    static const char *const answers[2] = {"false", "true"};
    bool source = plan->append_time;
    struct found f = {.items = ret};

    add_number(&f, "partitions", facts->partitions, plan->partitions, NULL);
    add_number(&f, "replication", facts->replication, plan->replication, NULL);
    add_number(&f, "min.insync.replicas", facts->min_insync, plan->min_insync,
               NULL);
    add_number(&f, "retention.ms", facts->retention_ms, plan->retention_ms,
               source ? retention_breaks(cfg, facts->retention_ms) : NULL);
    add_number(&f, "retention.bytes", facts->retention_bytes, -1,
               source && facts->retention_bytes != -1
                   ? "records are deleted for their size, claimed or not"
                   : NULL);
    add_word(&f, "message.timestamp.type", facts->append_time,
             plan->append_time, times,
             source ? "deadlines follow a time that the sender chooses" : NULL);
    add_word(&f, "cleanup.policy", facts->compacted, false, policies,
             source ? "a record of the same key takes an earlier one away"
                    : NULL);
    add_word(&f, "unclean.leader.election.enable", facts->unclean, false,
             answers, "a leader may come back without confirmed records");
    return f.n;
}

const struct topic_difference *
topic_unsafe(const struct topic_difference *differences, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (differences[i].breaks)
            return &differences[i];
    return NULL;
}
