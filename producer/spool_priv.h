/*
 * Between the spool's two threads. The loop's one (spool.c) decides; the
 * helper's (spool_disk.c) waits for the disk. They meet under one mutex, and
 * nothing else is shared: the helper writes no log and moves no metric.
 */
#ifndef FOLENI_PRODUCER_SPOOL_PRIV_H
#define FOLENI_PRODUCER_SPOOL_PRIV_H

#include "producer/spool.h"
#include "producer/spool_file.h"

#include <pthread.h>

#define SPOOL_ADOPT_MAX 64 /* files per look at the directory */

enum spool_job_kind {
    SPOOL_NO_JOB,
    SPOOL_SEAL,      /* ends the file that is being written     */
    SPOOL_LOAD,      /* reads `file` into `data`                */
    SPOOL_REMOVE,    /* removes `file`                          */
    SPOOL_SET_ASIDE, /* keeps `file` as a bad one               */
    SPOOL_SCAN       /* looks for files that nobody answers for */
};

/* What the loop wants done, one thing at a time. */
struct spool_job {
    enum spool_job_kind kind;
    struct spool_file *file;
    uint8_t *data; /* of SPOOL_LOAD, malloc()ed */
    size_t len;
    struct list found; /* of SPOOL_SCAN              */
    struct err err;    /* code ERR_NONE when it went */
};

struct spool_disk {
    struct spool_dir dir;
    int64_t file_bytes;
    int wake_fd; /* of the loop */
    pthread_t thread;

    pthread_mutex_t mutex; /* for all that follows */
    pthread_cond_t more;
    struct list waiting; /* items to be written          */
    struct list written; /* items that were, or failed   */
    struct list sealed;  /* files that are written to no more */
    struct spool_job *todo, *done;
    bool stop;
};

/** Starts the thread; everything in @p d but the shared part is set. */
void spool_disk_start(struct spool_disk *d);

/** Ends the thread when all that waits is written. */
void spool_disk_stop(struct spool_disk *d);

void spool_disk_write(struct spool_disk *d, struct spool_item *item);
void spool_disk_do(struct spool_disk *d, struct spool_job *job);

/** What came back since the last call: appended to the lists; @p ret_job is
 *  NULL when none did. */
void spool_disk_take(struct spool_disk *d, struct list *written,
                     struct list *sealed, struct spool_job **ret_job);

#endif
