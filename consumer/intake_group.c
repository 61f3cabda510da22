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
#include <string.h>

#define COMMIT_EVERY_US (200 * US_PER_MS)
#define TICKS_PER_LOOK 10 /* at `intake`, while a partition is stopped */

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

void intake_unhold(struct group *g, int32_t partition)
{
    if (!g->held ||
        (partition >= 0 && kafka_taken_record(g->held)->partition != partition))
        return;
    kafka_release(TAKE(g->held));
}

void intake_stop_part(struct part *p, int64_t offset, const char *why)
{
    p->stopped = true;
    p->stopped_at = MAX(offset, 0);
    metric_add(M_INTAKE_STOPPED, 1);
    log_error("intake", "partition_stopped", KV("topic", p->at.topic),
              KV_INT("partition", p->at.partition), KV_INT("intake", offset),
              KV_INT("claimed", p->known), KV_INT("committed", p->at.committed),
              KV("ledger", p->at.metadata), KV("why", why));
}

/* Whether it is claimed further than Kafka knew when it was assigned. */
static bool ahead(const struct part *p)
{
    return p->known > MAX(p->at.committed, 0);
}

/* --- what recorders know --- */

static struct recall *find_recall(struct intake *in, size_t group,
                                  int32_t partition)
{
    for (size_t i = 0; i < in->recalls_n; i++)
        if (in->recalls[i].group == group &&
            in->recalls[i].partition == partition)
            return &in->recalls[i];
    return NULL;
}

static struct recall *add_recall(struct intake *in, size_t group,
                                 int32_t partition)
{
    struct recall *more = must_alloc(in->recalls_n + 1, sizeof(*more));

    if (in->recalls_n)
        memcpy(more, in->recalls, in->recalls_n * sizeof(*more));
    free(in->recalls);
    in->recalls = more;
    more[in->recalls_n] = (struct recall){group, partition, 0};
    return &more[in->recalls_n++];
}

void intake_recall(struct intake *in, enum topic topic, int32_t partition,
                   int64_t next)
{
    size_t group = (size_t)(topic - TOPIC_HIGH);
    struct recall *r;
    struct part *p;

    if (group >= CALLBACKS || !in->groups[group].consumer)
        return; /* a pool that others serve: they read the recorders too */
    r = find_recall(in, group, partition);
    if (!r)
        r = add_recall(in, group, partition);
    r->next = MAX(r->next, next);
    p = intake_find_part(&in->groups[group], partition);
    if (p)
        p->known = MAX(p->known, next);
}

static int64_t recalled(struct group *g, int32_t partition)
{
    const struct recall *r = find_recall(g->intake, g->index, partition);

    return r ? r->next : 0;
}

/* --- assignment --- */

static void ask(struct group *g)
{
    struct intake *in = g->intake;
    struct kafka_position *at = must_alloc(g->parts_n, sizeof(*at));

    for (size_t i = 0; i < g->parts_n; i++) {
        at[i] = g->parts[i].at;
        g->parts[i].asked = g->parts[i].known;
    }
    g->asked = true;
    g->generation++; /* no older answer is taken for this one's */
    in->spec.on_assign(in->spec.arg, g->index, g->generation, at, g->parts_n);
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
    intake_unhold(g, -1);
    for (size_t i = 0; i < n; i++)
        g->parts[i] = (struct part){
            .at = at[i],
            .known = MAX(at[i].committed, recalled(g, at[i].partition)),
        };
    log_info("intake", "assigned", KV("group", group_name(g->index)),
             KV_INT("partitions", n));
    if (n)
        ask(g);
}

static void on_revoke(void *arg, const struct kafka_position *at, size_t n)
{
    struct group *g = arg;

    (void)at, (void)n; /* the range assignor takes all at once */
    g->generation++;
    g->parts_n = 0;
    intake_unhold(g, -1);
    g->asked = g->doubted = false;
}

static void on_lost_offset(void *arg, const char *topic, int32_t partition)
{
    struct group *g = arg;
    struct part *p = intake_find_part(g, partition);

    if (!p)
        return;
    if (g->index != CALLBACKS) {
        intake_stop_part(p, p->at.offset,
                         "the log no longer holds records that were not "
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

/* Where it was claimed up to is evidence for who recovers it: Kafka is told,
   also by a process that alone knows it. */
static void forgotten(struct part *p, int64_t offset)
{
    if (p->stopped)
        return;
    intake_stop_part(p, offset,
                     "Kafka or this worker knows of more claims than Postgres: "
                     "it has lost commits");
    p->at.offset = p->known;
    p->dirty = ahead(p);
}

/* Rule S2: what Kafka's group has committed was claimed once, and so was what
   this process did; Postgres must know of it. True = begin to read. */
static bool start_part(struct intake *in, struct part *p, int64_t offset)
{
    bool same_place = p->stopped && MAX(offset, 0) == p->stopped_at;

    if (MAX(offset, 0) < p->asked) {
        forgotten(p, offset);
        return false;
    }
    if ((p->started && !p->stopped) || same_place)
        return false;
    in->recovered += p->stopped;
    if (p->stopped)
        log_warn("intake", "partition_goes_on", KV("topic", p->at.topic),
                 KV_INT("partition", p->at.partition), KV_INT("from", offset));
    p->at.offset = offset;
    p->known = MAX(offset, 0);
    p->started = true;
    p->stopped = false;
    /* who dies before a record follows leaves Kafka what it must remember */
    p->dirty = ahead(p);
    return true;
}

/* Callbacks go on where the group was, or where this Postgres was when that is
   earlier; without any place, from the beginning. After a doubt they go back to
   what this Postgres was told, a second's worth when it has forgotten none. */
static bool start_callbacks(struct part *p, int64_t offset)
{
    int64_t committed =
        p->at.committed >= 0 ? p->at.committed : KAFKA_BEGINNING;

    if (!p->started && (committed < 0 || offset < 0))
        p->began = MAX(committed, offset);
    else if (!p->started)
        p->began = MIN(committed, offset);
    else if (offset >= 0)
        p->began = offset;
    if (p->started && p->began >= p->at.offset)
        return false;
    if (p->started)
        log_info("intake", "callbacks_again", KV("topic", p->at.topic),
                 KV_INT("partition", p->at.partition), KV_INT("from", p->began),
                 KV_INT("to", p->at.offset));
    p->at.offset = p->began;
    p->known = MAX(p->began, 0);
    p->started = true;
    return true;
}

static void note_ledger(struct intake *in, const char *ledger)
{
    if (*in->ledger && strcmp(in->ledger, ledger) != 0)
        log_warn("intake", "ledger_changed", KV("was", in->ledger),
                 KV("is", ledger));
    text_copy(in->ledger, sizeof(in->ledger), ledger);
}

/* Another server, or a standby in its place: what it knows is checked below;
   who reads the log learns why. */
static void say_ledger(const struct group *g)
{
    for (size_t i = 0; i < g->parts_n; i++) {
        const struct kafka_position *at = &g->parts[i].at;

        if (*at->metadata && strcmp(at->metadata, g->intake->ledger) != 0) {
            log_info("intake", "offsets_of_another_ledger",
                     KV("topic", at->topic), KV("then", at->metadata),
                     KV("now", g->intake->ledger));
            return;
        }
    }
}

/* A partition that stopped keeps the name under which it was claimed, till
   somebody has recovered it: that is what `foleni recover` tells. */
static void name_parts(struct group *g)
{
    for (size_t i = 0; i < g->parts_n; i++)
        if (!g->parts[i].stopped)
            text_copy(g->parts[i].at.metadata, KAFKA_METADATA_SIZE,
                      g->intake->ledger);
}

static void start_parts(struct group *g, const struct kafka_position *at,
                        size_t n)
{
    struct kafka_position *go = must_alloc(MAX(g->parts_n, 1), sizeof(*go));
    size_t go_n = 0;

    for (size_t i = 0; i < n; i++) {
        struct part *p = intake_find_part(g, at[i].partition);

        must(p);
        if (g->index == CALLBACKS ? start_callbacks(p, at[i].offset)
                                  : start_part(g->intake, p, at[i].offset)) {
            intake_unhold(g, p->at.partition);
            go[go_n++] = p->at;
        }
    }
    if (go_n)
        kafka_start(g->consumer, go, go_n);
    free(go);
}

static bool any_stopped(const struct group *g)
{
    for (size_t i = 0; i < g->parts_n; i++)
        if (g->parts[i].stopped)
            return true;
    return false;
}

void intake_start(struct intake *in, size_t group, unsigned generation,
                  const char *ledger, const struct kafka_position *at, size_t n)
{
    struct group *g = &in->groups[group];
    bool doubted = g->doubted;

    if (generation != g->generation || !g->asked)
        return; /* an answer of before, or a second one */
    g->asked = g->doubted = false;
    note_ledger(in, ledger);
    if (!doubted)
        say_ledger(g);
    start_parts(g, at, n);
    name_parts(g);
    if (doubted && in->busy && any_stopped(g))
        in->spec.on_forgotten(in->spec.arg);
}

void intake_ask_again(struct intake *in)
{
    for (size_t i = 0; i < GROUPS_N; i++)
        if (in->groups[i].consumer && in->groups[i].asked)
            ask(&in->groups[i]);
}

void intake_doubt(struct intake *in)
{
    for (size_t i = 0; i < GROUPS_N; i++) {
        struct group *g = &in->groups[i];

        if (!g->consumer || !g->parts_n)
            continue;
        g->doubted = true;
        ask(g);
    }
}

bool intake_sure(const struct intake *in)
{
    for (size_t i = 0; i < GROUPS_N; i++)
        if (in->groups[i].doubted)
            return false;
    return true;
}

void intake_rewind(struct group *g)
{
    struct kafka_position *go = must_alloc(MAX(g->parts_n, 1), sizeof(*go));
    size_t go_n = 0;

    for (size_t i = 0; i < g->parts_n; i++) {
        struct part *p = &g->parts[i];

        if (!p->started || p->stopped || MAX(p->at.offset, 0) == p->known)
            continue;
        p->at.offset = p->known;
        p->dirty = ahead(p);
        intake_unhold(g, p->at.partition);
        go[go_n++] = p->at;
    }
    if (go_n)
        kafka_start(g->consumer, go, go_n);
    free(go);
}

/* Somebody may have recovered what is stopped. */
static void look_at_stopped(struct intake *in)
{
    if (++in->ticks % TICKS_PER_LOOK || in->stopped)
        return;
    for (size_t i = 0; i < CALLBACKS; i++)
        if (!in->groups[i].asked && any_stopped(&in->groups[i]))
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

        p->dirty |= p->at.offset >= 0 && (p->started || ahead(p));
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
        kafka_commit(g->consumer, at, n, committed, g);
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
    look_at_stopped(in);
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
