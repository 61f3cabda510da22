/*
 * Offset commits of a group: one in flight. What comes meanwhile is merged into
 * the next one, the later position of a partition winning, so that commits
 * neither pile up (they would time out, librdkafka #826) nor overtake each
 * other. Every caller's callback runs once, with the fate of the commit that
 * carried its positions.
 */
#include "common/kafka_priv.h"

#include "common/must.h"

#include <stdlib.h>
#include <string.h>

struct waiter {
    struct waiter *next;
    kafka_done_fn done;
    void *arg;
};

/** Positions to commit at once, and who wants to know. */
struct commit {
    rd_kafka_topic_partition_list_t *offsets;
    struct waiter *waiters;
    rd_kafka_resp_err_t refused; /* it could not even be sent */
};

struct kafka_commits {
    rd_kafka_t *rk;
    rd_kafka_queue_t *to;
    struct kafka_wake *wake;
    struct commit *flying;
    struct commit *waiting;
};

struct kafka_commits *kafka_commits_new(rd_kafka_t *rk, rd_kafka_queue_t *to,
                                        struct kafka_wake *wake)
{
    struct kafka_commits *cs = NEW(struct kafka_commits);

    cs->rk = rk;
    cs->to = to;
    cs->wake = wake;
    return cs;
}

static struct commit *commit_new(size_t n)
{
    struct commit *commit = NEW(struct commit);

    commit->offsets = rd_kafka_topic_partition_list_new((int)n);
    return commit;
}

/** Tells everybody and frees @p commit. */
static void commit_end(struct commit *commit, rd_kafka_resp_err_t code)
{
    struct waiter *w;
    struct err err;

    if (code)
        (void)err_set_from(&err, ERR_UNSURE, ERR_KAFKA, code,
                           "could not commit offsets: %s",
                           rd_kafka_err2str(code));
    while ((w = commit->waiters)) {
        commit->waiters = w->next;
        w->done(w->arg, code ? &err : NULL);
        free(w);
    }
    rd_kafka_topic_partition_list_destroy(commit->offsets);
    free(commit);
}

static void commit_merge(struct commit *commit,
                         const struct kafka_position *position)
{
    rd_kafka_topic_partition_t *row = rd_kafka_topic_partition_list_find(
        commit->offsets, position->topic, position->partition);

    if (!row)
        row = rd_kafka_topic_partition_list_add(
            commit->offsets, position->topic, position->partition);
    row->offset = position->offset;
    free(row->metadata);
    row->metadata = must_strdup(position->metadata); /* librdkafka frees it */
    row->metadata_size = strlen(position->metadata);
}

static void commit_wait(struct commit *commit, kafka_done_fn done, void *arg)
{
    struct waiter **last = &commit->waiters;

    while (*last)
        last = &(*last)->next;
    *last = NEW(struct waiter);
    (*last)->done = done;
    (*last)->arg = arg;
}

/** Sends what waits; a refusal is told in the next turn, not in this call. */
static void commits_send(struct kafka_commits *cs)
{
    if (cs->flying || !cs->waiting)
        return;
    cs->flying = TAKE(cs->waiting);
    cs->flying->refused = rd_kafka_commit_queue(cs->rk, cs->flying->offsets,
                                                cs->to, NULL, cs->flying);
    if (cs->flying->refused)
        kafka_wake_ring(cs->wake);
}

void kafka_commits_add(struct kafka_commits *cs,
                       const struct kafka_position *positions, size_t n,
                       kafka_done_fn done, void *arg)
{
    if (!cs->waiting)
        cs->waiting = commit_new(n);
    for (size_t i = 0; i < n; i++)
        commit_merge(cs->waiting, &positions[i]);
    if (done)
        commit_wait(cs->waiting, done, arg);
    commits_send(cs);
}

/** The first error of its partitions counts for all of them. */
static rd_kafka_resp_err_t event_code(rd_kafka_event_t *event)
{
    const rd_kafka_topic_partition_list_t *offsets =
        rd_kafka_event_topic_partition_list(event);
    rd_kafka_resp_err_t code = rd_kafka_event_error(event);

    for (int i = 0; !code && offsets && i < offsets->cnt; i++)
        code = offsets->elems[i].err;
    return code;
}

static void flying_end(struct kafka_commits *cs, rd_kafka_resp_err_t code)
{
    struct commit *commit = TAKE(cs->flying);

    commits_send(cs);
    commit_end(commit, code);
}

void kafka_commits_event(struct kafka_commits *cs, rd_kafka_event_t *event)
{
    if (cs->flying && rd_kafka_event_opaque(event) == cs->flying)
        flying_end(cs, event_code(event));
}

void kafka_commits_step(struct kafka_commits *cs)
{
    if (cs->flying && cs->flying->refused)
        flying_end(cs, cs->flying->refused);
}

void kafka_commits_drop(struct kafka_commits *cs)
{
    if (cs->waiting)
        commit_end(TAKE(cs->waiting), RD_KAFKA_RESP_ERR__ASSIGNMENT_LOST);
}

bool kafka_commits_idle(const struct kafka_commits *cs)
{
    return !cs->flying && !cs->waiting;
}

void kafka_commits_free(struct kafka_commits *cs)
{
    if (!cs)
        return;
    if (cs->flying)
        commit_end(cs->flying, RD_KAFKA_RESP_ERR__DESTROY);
    if (cs->waiting)
        commit_end(cs->waiting, RD_KAFKA_RESP_ERR__DESTROY);
    free(cs);
}
