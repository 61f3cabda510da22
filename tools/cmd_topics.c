/*
 * `foleni topics`: the plan that the settings make, its execution, and what a
 * broker has instead. Topics that exist are left alone; what breaks a promise
 * in them is said, and fails.
 */
#include "common/buf.h"
#include "common/config.h"
#include "common/json.h"
#include "common/kafka.h"
#include "tools/cli.h"
#include "tools/topics.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define MS_PER_H INT64_C(3600000)
#define JSON_BYTES_MAX ((size_t)1 << 16)

/** What became of a topic: "" for the plan alone. */
struct line {
    const char *outcome;
    struct err err;
};

static void put_plan(struct json_out *j, const struct kafka_topic_plan *plan,
                     const struct line *line)
{
    json_open(j, NULL, '{');
    json_put_text(j, "topic", plan->name);
    json_put_int(j, "partitions", plan->partitions);
    json_put_int(j, "replication", plan->replication);
    json_put_int(j, "min_insync", plan->min_insync);
    json_put_int(j, "retention_ms", plan->retention_ms);
    json_put_text(j, "timestamps",
                  plan->append_time ? "LogAppendTime" : "CreateTime");
    if (line) {
        json_put_text(j, "outcome", line->outcome);
        if (line->err.text[0])
            json_put_text(j, "error", line->err.text);
    }
    json_close(j, '}');
}

/** All topics as one document; @p lines is NULL for the plan alone. */
static void print_json(const struct kafka_topic_plan *plans,
                       const struct line *lines)
{
    struct buf text;
    struct json_out j = {&text, false};

    buf_init(&text, JSON_BYTES_MAX);
    json_open(&j, NULL, '{');
    json_open(&j, "topics", '[');
    for (int i = 0; i < TOPICS_N; i++)
        put_plan(&j, &plans[i], lines ? &lines[i] : NULL);
    json_close(&j, ']');
    json_close(&j, '}');
    puts(text.data);
    buf_done(&text);
}

enum err_code topics_list_run(const struct cli *cli, const struct config *cfg,
                              struct err *err UNUSED)
{
    struct kafka_topic_plan plans[TOPICS_N];

    kafka_topic_plans(cfg, plans);
    if (cli_has(cli, CLI_JSON)) {
        print_json(plans, NULL);
        return ERR_NONE;
    }
    printf("%-28s %10s %8s %10s %10s  %s\n", "topic", "partitions", "replicas",
           "min insync", "retention", "timestamps");
    for (int i = 0; i < TOPICS_N; i++)
        printf("%-28s %10d %8d %10d %8" PRId64 " h  %s\n", plans[i].name,
               plans[i].partitions, plans[i].replication, plans[i].min_insync,
               plans[i].retention_ms / MS_PER_H,
               plans[i].append_time ? "LogAppendTime" : "CreateTime");
    return ERR_NONE;
}

/** Creates one topic; @p err gets the first failure, line each one's own. */
static void create(const struct config *cfg,
                   const struct kafka_topic_plan *plan, struct line *line)
{
    line->outcome = "created";
    if (!kafka_topic_create(cfg, plan, &line->err))
        return;
    line->outcome = "failed";
    if (line->err.code != ERR_CONFLICT)
        return;
    line->outcome = "exists";
    line->err = (struct err){.code = ERR_NONE};
}

/** Whether trying the next topic is in vain too. */
static bool away(const struct err *err)
{
    return err->code == ERR_UNAVAILABLE || err->code == ERR_TIMEOUT;
}

/** Whether a topic that was there before breaks a promise. */
static void judge(const struct config *cfg, const struct kafka_topic_plan *plan,
                  const struct kafka_topic_facts *facts, struct line *line)
{
    struct topic_difference all[TOPIC_DIFFERENCES_MAX];
    const struct topic_difference *bad;

    bad = topic_unsafe(all, topic_compare(cfg, plan, facts, all));
    if (!bad)
        return;
    line->outcome = "unsafe";
    (void)err_set(&line->err, ERR_CONFLICT,
                  "it exists with %s %s instead of %s: %s", bad->name, bad->has,
                  bad->wants, bad->breaks);
}

/** Judges all that exist; when they cannot be read, each of them has failed. */
static void judge_all(const struct config *cfg,
                      const struct kafka_topic_plan *plans, struct line *lines)
{
    struct kafka_topic_facts facts[TOPICS_N];
    struct err err = {.code = ERR_NONE};
    bool any = false;

    for (int i = 0; i < TOPICS_N; i++)
        any = any || !strcmp(lines[i].outcome, "exists");
    if (any)
        (void)!kafka_topics_read(cfg, plans, facts, &err);
    for (int i = 0; any && i < TOPICS_N; i++) {
        if (strcmp(lines[i].outcome, "exists") != 0)
            continue;
        if (err.code)
            lines[i].err = err;
        else if (facts[i].exists)
            judge(cfg, &plans[i], &facts[i], &lines[i]);
    }
}

static void print_line(const struct kafka_topic_plan *plan,
                       const struct line *line)
{
    printf("%-28s %s%s%s\n", plan->name, line->outcome,
           line->err.text[0] ? ": " : "", line->err.text);
    fflush(stdout);
}

static enum err_code sum_up(const struct line *lines, const char *brokers,
                            struct err *err)
{
    const struct line *first = NULL;
    int failed = 0;

    for (int i = 0; i < TOPICS_N; i++) {
        if (!lines[i].err.code)
            continue;
        first = first ? first : &lines[i];
        failed++;
    }
    if (!first)
        return ERR_NONE;
    if (away(&first->err))
        return err_set(err, ERR_UNAVAILABLE,
                       "could not create topics on \"%.80s\": is the broker "
                       "there (kafka.brokers)? Run it again when it is",
                       brokers);
    return err_set(
        err, first->err.code,
        "%d of %d topics could not be created or are not safe; those "
        "that were created stay and are skipped when it is run again",
        failed, TOPICS_N);
}

enum err_code topics_create_run(const struct cli *cli, const struct config *cfg,
                                struct err *err)
{
    struct kafka_topic_plan plans[TOPICS_N];
    struct line lines[TOPICS_N];
    bool json = cli_has(cli, CLI_JSON);

    kafka_topic_plans(cfg, plans);
    for (int i = 0; i < TOPICS_N; i++) {
        lines[i] = (struct line){.outcome = "not tried"};
        if (i == 0 || !away(&lines[i - 1].err))
            create(cfg, &plans[i], &lines[i]);
        else
            lines[i].err.code = lines[i - 1].err.code;
    }
    judge_all(cfg, plans, lines);
    if (json)
        print_json(plans, lines);
    for (int i = 0; !json && i < TOPICS_N; i++)
        print_line(&plans[i], &lines[i]);
    return sum_up(lines, cfg->kafka_brokers, err);
}

/* --- differences --- */

static void put_difference(struct json_out *j, const char *topic,
                           const struct topic_difference *d)
{
    json_open(j, NULL, '{');
    json_put_text(j, "topic", topic);
    json_put_text(j, "setting", d->name);
    json_put_text(j, "has", d->has);
    json_put_text(j, "planned", d->wants);
    if (d->breaks)
        json_put_text(j, "breaks", d->breaks);
    json_close(j, '}');
}

static void print_difference(const char *topic,
                             const struct topic_difference *d)
{
    printf("%-28s %-30s %s, planned %s%s%s\n", topic, d->name, d->has, d->wants,
           d->breaks ? ": UNSAFE, " : "", d->breaks ? d->breaks : "");
}

/** All of them as lines, or into @p j; returns how many. */
static size_t diff(const struct config *cfg,
                   const struct kafka_topic_plan *plans,
                   const struct kafka_topic_facts *facts, struct json_out *j)
{
    static const struct topic_difference absent = {
        .name = "topic", .has = "absent", .wants = "there"};
    size_t sum = 0;

    for (int i = 0; i < TOPICS_N; i++) {
        struct topic_difference all[TOPIC_DIFFERENCES_MAX] = {absent};
        size_t n = 1;

        if (facts[i].exists)
            n = topic_compare(cfg, &plans[i], &facts[i], all);
        for (size_t k = 0; k < n; k++)
            if (j)
                put_difference(j, plans[i].name, &all[k]);
            else
                print_difference(plans[i].name, &all[k]);
        sum += n;
    }
    return sum;
}

enum err_code topics_diff_run(const struct cli *cli, const struct config *cfg,
                              struct err *err)
{
    struct kafka_topic_plan plans[TOPICS_N];
    struct kafka_topic_facts facts[TOPICS_N];
    struct buf text;
    struct json_out j = {&text, false};
    size_t n;

    kafka_topic_plans(cfg, plans);
    if (kafka_topics_read(cfg, plans, facts, err))
        return err->code;
    buf_init(&text, JSON_BYTES_MAX);
    json_open(&j, NULL, '{');
    json_open(&j, "differences", '[');
    n = diff(cfg, plans, facts, cli_has(cli, CLI_JSON) ? &j : NULL);
    json_close(&j, ']');
    json_close(&j, '}');
    if (cli_has(cli, CLI_JSON))
        puts(text.data);
    buf_done(&text);
    if (!n)
        return ERR_NONE;
    return err_set(err, ERR_INPUT,
                   "the topics differ from their plan in %zu "
                   "points",
                   n);
}
