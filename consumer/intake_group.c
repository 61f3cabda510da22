/*
 * The intake's groups: one Kafka consumer per pool and one for callbacks, the
 * partitions that each has now, where they begin and why they stop.
 *
 * Positions come from Postgres for requests (rule S2) and from the group for
 * callbacks, whose effect is idempotent. Offset commits follow the claims, one
 * timer for all: a commit per batch would overtake itself.
 */
#include "consumer/intake_priv.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/must.h"
#include "common/windows.h"

#include <stdio.h>
#include <stdlib.h>

#define COMMIT_EVERY_US (200 * US_PER_MS)

static const char *group_name(size_t group)
{
    return group == CALLBACKS ? "callbacks"
                              : priority_name((enum priority)group);
}

/* --- partitions --- */

struct part *intake_find_part(struct group *g, int32_t partition)
{
    for (size_t i = 0; i < g->parts_n; i++)
        if (g->parts[i].at.partition == partition)
            return &g->parts[i];
    return NULL;
}

void intake_stop_part(struct part *p, const char *why)
{
    p->stopped = true;
    metric_add(M_INTAKE_STOPPED, 1);
    log_error("intake", "partition_stopped", KV("topic", p->at.topic),
              KV_INT("partition", p->at.partition),
              KV_INT("intake", p->at.offset),
              KV_INT("committed", p->at.committed), KV("why", why));
}

/* --- assignment --- */

static void ask(struct group *g)
{
    struct intake *in = g->intake;
    struct kafka_position *at = must_alloc(g->parts_n, sizeof(*at));

    for (size_t i = 0; i < g->parts_n; i++)
        at[i] = g->parts[i].at;
    g->asked = true;
    in->spec.on_assign(in->spec.arg, g->index, g->generation, at, g->parts_n);
    free(at);
}

/* Callbacks go on where the group was; without a place, from the beginning. */
static void start_callbacks(struct group *g)
{
    struct kafka_position *at = must_alloc(g->parts_n, sizeof(*at));

    for (size_t i = 0; i < g->parts_n; i++) {
        struct part *p = &g->parts[i];

        p->at.offset = p->at.committed >= 0 ? p->at.committed : KAFKA_BEGINNING;
        p->started = true;
        at[i] = p->at;
    }
    kafka_start(g->consumer, at, g->parts_n);
    free(at);
}

static void on_assign(void *arg, const struct kafka_position *at, size_t n)
{
    struct group *g = arg;

    g->generation++;
    if (n > PARTITIONS_MAX) {
        log_error("intake", "too_many_partitions",
                  KV("group", group_name(g->index)), KV_INT("partitions", n),
                  KV_INT("limit", PARTITIONS_MAX));
        n = 0;
    }
    g->parts_n = n;
    for (size_t i = 0; i < n; i++)
        g->parts[i] = (struct part){.at = at[i]};
    log_info("intake", "assigned", KV("group", group_name(g->index)),
             KV_INT("partitions", n));
    if (!n)
        return;
    if (g->index == CALLBACKS)
        start_callbacks(g);
    else
        ask(g);
}

static void on_revoke(void *arg, const struct kafka_position *at, size_t n)
{
    struct group *g = arg;

    (void)at, (void)n; /* the range assignor takes all at once */
    g->generation++;
    g->parts_n = 0;
    g->asked = false;
}

static void on_lost_offset(void *arg, const char *topic, int32_t partition)
{
    struct group *g = arg;
    struct part *p = intake_find_part(g, partition);

    if (!p)
        return;
    if (g->index != CALLBACKS) {
        intake_stop_part(p, "the log no longer holds records that were not "
                            "claimed: requests were deleted, or offsets reset");
        return;
    }
    log_error("intake", "callbacks_deleted", KV("topic", topic),
              KV_INT("partition", partition), KV_INT("offset", p->at.offset));
    p->at.offset = KAFKA_BEGINNING;
    kafka_start(g->consumer, &p->at, 1);
}

static void on_ready(void *arg)
{
    (void)arg; /* the driver takes in this very turn */
}

/* Rule S2: what Kafka's group has committed was claimed once; Postgres must
   know of it. */
static void start_part(struct part *p, int64_t offset)
{
    int64_t known = offset == KAFKA_BEGINNING ? 0 : offset;

    p->at.offset = offset;
    if (p->at.committed > known)
        intake_stop_part(p, "Kafka knows of more claims than Postgres: it has "
                            "lost commits");
    else
        p->started = true;
}

void intake_start(struct intake *in, size_t group, unsigned generation,
                  const struct kafka_position *at, size_t n)
{
    struct group *g = &in->groups[group];
    struct kafka_position *go;
    size_t go_n = 0;

    if (generation != g->generation || !g->asked)
        return; /* an answer of before, or a second one */
    g->asked = false;
    go = must_alloc(g->parts_n, sizeof(*go));
    for (size_t i = 0; i < n; i++) {
        struct part *p = intake_find_part(g, at[i].partition);

        must(p);
        start_part(p, at[i].offset);
        if (p->started)
            go[go_n++] = p->at;
    }
    kafka_start(g->consumer, go, go_n);
    free(go);
}

void intake_ask_again(struct intake *in)
{
    for (size_t i = 0; i < CALLBACKS; i++)
        if (in->groups[i].consumer && in->groups[i].asked)
            ask(&in->groups[i]);
}

/* --- commits --- */

/* Failed: once more with the next tick, unless nobody waits for it. Where Kafka
   knows of more than Postgres the partition was not started, and what the group
   committed is kept: it is the alarm's evidence. */
static void committed(void *arg, const struct err *err)
{
    struct group *g = arg;

    g->committing = false;
    if (!err)
        return;
    log_debug("intake", "commit_failed", KV_ERR(err));
    for (size_t i = 0; i < g->parts_n && !g->intake->stopped; i++) {
        struct part *p = &g->parts[i];

        p->dirty |= p->started && p->at.offset >= 0;
    }
}

static void commit_group(struct group *g)
{
    struct kafka_position *at;
    size_t n = 0;

    if (!g->consumer || g->committing)
        return;
    at = must_alloc(MAX(g->parts_n, 1), sizeof(*at));
    for (size_t i = 0; i < g->parts_n; i++)
        if (g->parts[i].dirty) {
            g->parts[i].dirty = false;
            at[n++] = g->parts[i].at;
        }
    if (n) {
        g->committing = true;
        WINDOW(offset_uncommitted);
        kafka_commit(g->consumer, at, n, "", committed, g);
    }
    free(at);
}

/* Not while a batch is out: its records are not claimed yet. Callbacks move
   only when they are applied. */
void intake_commit(struct intake *in)
{
    if (!in->busy)
        for (size_t i = 0; i < CALLBACKS; i++)
            commit_group(&in->groups[i]);
    commit_group(&in->groups[CALLBACKS]);
}

void intake_commit_tick(void *arg)
{
    struct intake *in = arg;

    intake_commit(in);
    timer_set(in->loop, &in->commit, clock_now_us() + COMMIT_EVERY_US);
}

/* --- a group --- */

enum err_code intake_open_group(struct intake *in, size_t index,
                                struct err *err)
{
    struct group *g = &in->groups[index];
    char topic[KAFKA_TOPIC_SIZE], name[KAFKA_TOPIC_SIZE];
    struct kafka_consumer_spec spec = {
        .group = name,
        .topics = {topic},
        .topics_n = 1,
        .gather_ms =
            index == CALLBACKS ? in->cfg->kafka_callbacks_gather_ms : 0,
        .on_assign = on_assign,
        .on_revoke = on_revoke,
        .on_lost_offset = on_lost_offset,
        .on_ready = on_ready,
        .arg = g,
    };

    g->intake = in;
    g->index = index;
    g->topic = index == CALLBACKS ? TOPIC_CALLBACKS
                                  : (enum topic)(TOPIC_HIGH + (int)index);
    g->parts = must_alloc(PARTITIONS_MAX, sizeof(*g->parts));
    kafka_topic(in->cfg, g->topic, topic);
    snprintf(name, sizeof(name), "%.200sfoleni.%s", in->cfg->kafka_prefix,
             group_name(index));
    return kafka_consumer_new(in->loop, in->cfg, &spec, &g->consumer, err);
}
