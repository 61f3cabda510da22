/*
 * Kafka's consumer (common/kafka.h) in memory, for whoever is built on it: the
 * test says which partitions are assigned, which records stand at which
 * offsets, and how commits end. Its definitions take the place of those in
 * common/kafka_consumer.c when the program is linked: include it once.
 */
#ifndef FOLENI_TESTS_UNIT_FAKE_CONSUMER_H
#define FOLENI_TESTS_UNIT_FAKE_CONSUMER_H

#include "common/kafka.h"
#include "common/must.h"
#include "common/wire.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FAKE_CONSUMERS_MAX 4
#define FAKE_PARTS 3
#define FAKE_RECORDS_MAX 3000 /* of a partition */
#define FAKE_HEADERS 2

struct kafka_taken {
    struct kafka_record record;
    struct kafka_header headers[FAKE_HEADERS];
    char key[16], value[400], time[24];
    bool out;
};

struct fake_part {
    struct kafka_taken *log[FAKE_RECORDS_MAX];
    size_t n, next;
    bool started;
    int64_t from;      /* position that was given to kafka_start() */
    int64_t committed; /* by the group, -1 = nothing               */
    char metadata[KAFKA_METADATA_SIZE];
};

struct kafka_consumer {
    struct kafka_consumer_spec spec;
    char group[KAFKA_TOPIC_SIZE], topic[KAFKA_TOPIC_SIZE];
    struct fake_part parts[FAKE_PARTS];
    int commits, out;
    /* the commit in flight */
    struct kafka_position flying[FAKE_PARTS];
    size_t flying_n;
    kafka_done_fn done;
    void *done_arg;
};

static struct kafka_consumer *fakes[FAKE_CONSUMERS_MAX];
static size_t fakes_n;

/* --- the face of common/kafka.h --- */

enum err_code kafka_consumer_new(struct loop *loop, const struct config *cfg,
                                 const struct kafka_consumer_spec *spec,
                                 struct kafka_consumer **ret, struct err *err)
{
    struct kafka_consumer *c = NEW(struct kafka_consumer);

    (void)loop, (void)cfg, (void)err;
    must(fakes_n < FAKE_CONSUMERS_MAX && spec->topics_n == 1);
    c->spec = *spec;
    text_copy(c->group, sizeof(c->group), spec->group);
    text_copy(c->topic, sizeof(c->topic), spec->topics[0]);
    for (int i = 0; i < FAKE_PARTS; i++)
        c->parts[i].committed = -1;
    fakes[fakes_n++] = c;
    *ret = c;
    return ERR_NONE;
}

void kafka_consumer_free(struct kafka_consumer *c)
{
    if (!c)
        return;
    must(c->out == 0);
    for (int p = 0; p < FAKE_PARTS; p++)
        for (size_t i = 0; i < c->parts[p].n; i++)
            free(c->parts[p].log[i]);
    for (size_t i = 0; i < fakes_n; i++)
        if (fakes[i] == c)
            fakes[i] = NULL;
    free(c);
}

void kafka_start(struct kafka_consumer *c,
                 const struct kafka_position *positions, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct fake_part *p = &c->parts[positions[i].partition];

        must(strcmp(positions[i].topic, c->topic) == 0);
        p->started = true;
        p->from = positions[i].offset;
        p->next = 0;
        while (p->next < p->n && p->log[p->next]->record.offset < p->from)
            p->next++;
    }
}

struct kafka_taken *kafka_take(struct kafka_consumer *c)
{
    for (int i = 0; i < FAKE_PARTS; i++) {
        struct fake_part *p = &c->parts[i];

        if (!p->started || p->next == p->n)
            continue;
        must(!p->log[p->next]->out);
        p->log[p->next]->out = true;
        c->out++;
        return p->log[p->next++];
    }
    return NULL;
}

const struct kafka_record *kafka_taken_record(const struct kafka_taken *t)
{
    return &t->record;
}

void kafka_release(struct kafka_taken *t)
{
    must(t->out);
    t->out = false;
    for (size_t i = 0; i < fakes_n; i++)
        if (fakes[i] && strcmp(fakes[i]->topic, t->record.topic) == 0)
            fakes[i]->out--;
}

void kafka_commit(struct kafka_consumer *c,
                  const struct kafka_position *positions, size_t n,
                  kafka_done_fn done, void *arg)
{
    must(!c->done && n > 0 && n <= FAKE_PARTS);
    memcpy(c->flying, positions, n * sizeof(*positions));
    c->flying_n = n;
    c->done = done;
    c->done_arg = arg;
    c->commits++;
}

/* --- what the test says --- */

static void fake_commit_of(struct kafka_consumer *c,
                           const struct kafka_position *at)
{
    c->parts[at->partition].committed = at->offset;
    text_copy(c->parts[at->partition].metadata, KAFKA_METADATA_SIZE,
              at->metadata);
}

/* Ends the commit in flight. */
UNUSED static void fake_commit_end(struct kafka_consumer *c, bool fine)
{
    struct err err;
    kafka_done_fn done = c->done;

    must(done);
    c->done = NULL;
    err_set(&err, ERR_UNSURE, "for the test");
    for (size_t i = 0; fine && i < c->flying_n; i++)
        fake_commit_of(c, &c->flying[i]);
    done(c->done_arg, fine ? NULL : &err);
}

/* Gives the first @p n partitions to the member, none of them started. */
UNUSED static void fake_assign(struct kafka_consumer *c, size_t n)
{
    struct kafka_position at[FAKE_PARTS];

    for (size_t i = 0; i < n; i++) {
        at[i] = (struct kafka_position){.partition = (int32_t)i,
                                        .offset = KAFKA_BEGINNING,
                                        .committed = c->parts[i].committed};
        text_copy(at[i].topic, sizeof(at[i].topic), c->topic);
        c->parts[i].started = false;
    }
    c->spec.on_assign(c->spec.arg, at, n);
}

UNUSED static void fake_revoke(struct kafka_consumer *c)
{
    for (int i = 0; i < FAKE_PARTS; i++)
        c->parts[i].started = false;
    c->spec.on_revoke(c->spec.arg, NULL, 0);
}

/* A record at @p offset, behind those that are there. */
UNUSED static struct kafka_taken *fake_add(struct kafka_consumer *c,
                                           int32_t partition, int64_t offset,
                                           const char *key, const char *value)
{
    struct fake_part *p = &c->parts[partition];
    struct kafka_taken *t = NEW(struct kafka_taken);

    must(p->n < FAKE_RECORDS_MAX);
    snprintf(t->key, sizeof(t->key), "%s", key);
    must((size_t)snprintf(t->value, sizeof(t->value), "%s", value) <
         sizeof(t->value));
    t->record = (struct kafka_record){
        .topic = c->topic,
        .key = t->key,
        .key_len = strlen(t->key),
        .value = t->value,
        .value_len = strlen(t->value),
        .headers = t->headers,
        .partition = partition,
        .offset = offset,
    };
    p->log[p->n++] = t;
    return t;
}

UNUSED static void fake_header(struct kafka_taken *t, const char *name,
                               const char *value)
{
    must(t->record.headers_n < FAKE_HEADERS);
    t->headers[t->record.headers_n++] =
        (struct kafka_header){name, value, strlen(value)};
}

#endif
