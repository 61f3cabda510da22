/*
 * `foleni topics`: the plan that the settings make, and its execution. Topics
 * that exist are left alone, whatever they look like.
 */
#include "common/buf.h"
#include "common/config.h"
#include "common/json.h"
#include "common/kafka.h"
#include "tools/cli.h"

#include <inttypes.h>
#include <stdio.h>

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
    return err_set(err, first->err.code,
                   "%d of %d topics could not be created; those that were stay "
                   "and are skipped when it is run again",
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
        if (!json)
            print_line(&plans[i], &lines[i]);
    }
    if (json)
        print_json(plans, lines);
    return sum_up(lines, cfg->kafka_brokers, err);
}
