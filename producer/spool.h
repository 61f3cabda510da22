/*
 * Where callbacks wait on disk while Kafka does not take them: Daraja calls
 * back once, so what is answered 200 has to be durable somewhere (rule S16).
 *
 * What is put here is fsynced by a helper thread, a batch of all that waits at
 * a time, so that a slow disk stops nobody else. Once Kafka is back, whole
 * files go there in the order in which they were written, and a file is
 * removed after the delivery report of its last record. A death in between
 * repeats records of one file; nothing is lost, and repeated callbacks change
 * nothing. Files whose process is dead are drained by any other one on the
 * host.
 *
 * A torn or rotten file gives what can be read and is kept as *.spool.bad.
 */
#ifndef FOLENI_PRODUCER_SPOOL_H
#define FOLENI_PRODUCER_SPOOL_H

#include "common/err.h"
#include "common/kafka.h"
#include "common/list.h"
#include "common/loop.h"

#include <stdbool.h>
#include <stdint.h>

struct spool;

struct spool_spec {
    const char *directory;
    int64_t bytes_max;  /* of all files this process answers for, and of what
                          waits to be written                              */
    int64_t file_bytes; /* about the size at which a new file begins        */
    /** Gives a record to Kafka, whose topic is the spool's user's business. */
    enum err_code (*publish)(void *arg, const struct kafka_record *record,
                             kafka_done_fn done, void *done_arg,
                             struct err *err);
    /** Whether it is worth trying. */
    bool (*up)(void *arg);
    void *arg;
};

/**
 * Opens the directory, made when missing, and starts the helper thread. Files
 * are made when there is something to write.
 *
 * @return ERR_IO when the directory cannot be used.
 */
MUST_CHECK enum err_code spool_new(struct loop *loop,
                                   const struct spool_spec *spec,
                                   struct spool **ret, struct err *err);

/**
 * Writes what was put, tells it, and leaves the files to whoever comes next.
 * Nothing that spec->publish took may still be open. NULL is fine.
 */
void spool_free(struct spool *s);

/** Gives no more to Kafka: the program stops. */
void spool_stop(struct spool *s);

/** One record on its way to the disk; its owner frees it with free(). */
struct spool_item {
    struct list node; /* the spool's, until it is done */
    kafka_done_fn done;
    void *arg;
    bool failed;
    struct err err;
    int64_t sync_us; /* how long its batch took; -1 = not the batch's first */
    size_t len;
    uint8_t payload[];
};

/** A copy of @p record, without its topic. */
struct spool_item *spool_item_new(const struct kafka_record *record);

/**
 * Writes @p item. After ERR_NONE done runs once, on the loop and not inside
 * this call: @p err NULL = durable, else it could not be written and is not
 * there. Until then the item must stay.
 *
 * @return ERR_LIMIT: there is no room.
 */
MUST_CHECK enum err_code spool_put(struct spool *s, struct spool_item *item,
                                   kafka_done_fn done, void *arg,
                                   struct err *err);

/** Bytes that wait, written or not. */
int64_t spool_bytes(const struct spool *s);

/** False when it fills up or its last write failed; @p note says so. */
bool spool_ok(const struct spool *s, char *note, size_t size);

#endif
