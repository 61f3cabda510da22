/*
 * Topics as a broker has them against those that the settings plan: for
 * `foleni topics`, and for whoever relies on their retention.
 */
#ifndef FOLENI_TOOLS_TOPICS_H
#define FOLENI_TOOLS_TOPICS_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base.h"
#include "common/config.h"
#include "common/kafka.h"

#define TOPIC_DIFFERENCES_MAX 8

/** One setting of one topic. */
struct topic_difference {
    const char *name; /* "retention.ms" */
    char has[32], wants[32];
    const char *breaks; /* what it breaks, NULL = not as planned, but safe */
};

/**
 * Compares a topic that exists. Request and callback topics have to keep their
 * records by time alone, under the broker's own time, longer than any deadline
 * and less long than payments keep their rows (rule S4).
 *
 * @return how many of @p ret were filled.
 */
size_t topic_compare(const struct config *cfg,
                     const struct kafka_topic_plan *plan,
                     const struct kafka_topic_facts *facts,
                     struct topic_difference ret[TOPIC_DIFFERENCES_MAX]);

/** The first of @p n that breaks something, or NULL. */
const struct topic_difference *
topic_unsafe(const struct topic_difference *differences, size_t n);

#endif
