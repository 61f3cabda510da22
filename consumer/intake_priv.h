/*
 * Between the files of the intake: its groups and their partitions, and what is
 * out of them now.
 */
#ifndef FOLENI_CONSUMER_INTAKE_PRIV_H
#define FOLENI_CONSUMER_INTAKE_PRIV_H

#include "consumer/intake.h"

#define GROUPS_N (PRIORITIES_N + 1)
#define CALLBACKS PRIORITIES_N /* the group after the pools */
#define PARTITIONS_MAX 1024    /* of one group in this process */

/* One partition that this member reads. */
struct part {
    struct kafka_position at; /* offset = next to be taken */
    /* What `intake` must say at least: Kafka's committed offset, and what was
       claimed since. Of callbacks: what it was told. */
    int64_t known;
    int64_t asked; /* `known`, when it was asked for */
    int64_t began; /* callbacks: where this Postgres' knowledge begins */
    bool started, stopped;
    int64_t stopped_at; /* where intake was then */
    bool dirty;         /* moved since its last commit */
};

struct group {
    struct intake *intake;
    size_t index;
    enum topic topic;
    struct kafka_consumer *consumer;
    unsigned generation; /* of its assignment */
    struct part *parts;
    size_t parts_n;
    struct kafka_taken *held; /* INTAKE_HOLD: the next one, or NULL */
    size_t share; /* rows that it has to come, in parts of the weights' sum */
    bool asked;   /* positions are asked for and not given yet */
    bool doubted; /* ... since Postgres was away: nothing is taken till then */
    bool committing;
};

/* What recorders know of claims, per partition. */
struct recall {
    size_t group;
    int32_t partition;
    int64_t next;
};

struct intake {
    struct loop *loop;
    const struct config *cfg;
    struct intake_spec spec;
    unsigned pools;
    struct group groups[GROUPS_N];
    struct loop_timer commit;
    bool busy;    /* a batch is out */
    bool skim;    /* see intake_skim() */
    bool stopped; /* nothing more is taken */
    size_t max;   /* records of a batch */
    struct intake_batch batch;
    struct fault *faults;
    struct kafka_taken **taken;
    size_t taken_n;
    struct kafka_taken **callbacks;
    const struct kafka_record **callback_records;
    size_t callbacks_n;
    unsigned callbacks_of;            /* generation in which they were taken */
    char ledger[KAFKA_METADATA_SIZE]; /* which Postgres it was, for commits */
    struct recall *recalls;
    size_t recalls_n;
    unsigned recovered;
    int ticks; /* of the commit timer, towards another look at the stopped */
};

/* --- intake_group.c --- */

MUST_CHECK enum err_code intake_open_group(struct intake *in, size_t index,
                                           struct err *err);
struct part *intake_find_part(struct group *g, int32_t partition);

/** Lets go of the record that is held, when it is of @p partition (-1 = of any)
 *  and Kafka gives it again. */
void intake_unhold(struct group *g, int32_t partition);

/** Reads it no more, with an alarm (rule S2). @p offset is intake's. */
void intake_stop_part(struct part *p, int64_t offset, const char *why);

/** Reads again what was taken and not claimed. */
void intake_rewind(struct group *g);

/** Commits what has moved. */
void intake_commit(struct intake *in);
/** The timer's: the same, and again soon. */
void intake_commit_tick(void *arg);

#endif
