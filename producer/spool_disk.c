/*
 * The helper thread: writes all items that wait as one batch, syncs once, hands
 * them back; between batches it does what the loop wants done with files.
 *
 * A file to which a write or a sync failed is written to no more: after a
 * failed fsync nobody can say what of it is on the disk. What was confirmed
 * before still counts; the batch's items are told that they are not durable.
 */
#include "producer/spool_priv.h"

#include "common/buf.h"
#include "common/clock.h"
#include "common/must.h"
#include "producer/spool_frame.h"

#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#define BATCH_BYTES (1024 * 1024)
#define NEW_FILE_TRIES \
    2 /* another process may clear it away while it is made */

/* --- the loop's side --- */

static void wake_loop(struct spool_disk *d)
{
    uint64_t one = 1;

    (void)!write(d->wake_fd, &one, sizeof(one));
}

void spool_disk_write(struct spool_disk *d, struct spool_item *item)
{
    pthread_mutex_lock(&d->mutex);
    list_append(&d->waiting, &item->node);
    pthread_cond_signal(&d->more);
    pthread_mutex_unlock(&d->mutex);
}

void spool_disk_do(struct spool_disk *d, struct spool_job *job)
{
    pthread_mutex_lock(&d->mutex);
    must(!d->todo && !d->done);
    d->todo = job;
    pthread_cond_signal(&d->more);
    pthread_mutex_unlock(&d->mutex);
}

void spool_disk_take(struct spool_disk *d, struct list *written,
                     struct list *sealed, struct spool_job **ret_job)
{
    pthread_mutex_lock(&d->mutex);
    list_splice(written, &d->written);
    list_splice(sealed, &d->sealed);
    *ret_job = d->done;
    d->done = NULL;
    pthread_mutex_unlock(&d->mutex);
}

/* --- writing --- */

/* What the thread alone has. */
struct writer {
    struct spool_disk *d;
    struct spool_file *file; /* being written; NULL = none yet */
    struct buf bytes;
};

/* Hands the file over; one without a record is of no use. */
static void seal(struct writer *w)
{
    struct spool_file *f = TAKE(w->file);

    if (!f)
        return;
    if (!f->bytes) {
        spool_file_remove(&w->d->dir, f, false);
        return;
    }
    pthread_mutex_lock(&w->d->mutex);
    list_append(&w->d->sealed, &f->node);
    pthread_mutex_unlock(&w->d->mutex);
}

static enum err_code need_file(struct writer *w, struct err *err)
{
    enum err_code code = ERR_NONE;

    if (w->file && w->file->end >= w->d->file_bytes)
        seal(w);
    for (int i = 0; !w->file && i < NEW_FILE_TRIES; i++)
        code = spool_file_new(&w->d->dir, &w->file, err);
    return code;
}

/* Moves items that make one batch from @p from to @p batch and their frames
   into w->bytes. */
static void gather(struct writer *w, struct list *from, struct list *batch)
{
    struct list *n;

    buf_reset(&w->bytes);
    while (w->bytes.len < BATCH_BYTES && (n = list_shift(from))) {
        struct spool_item *i = container_of(n, struct spool_item, node);

        list_append(batch, n);
        spool_add_frame(&w->bytes, w->file->salt, i->payload, i->len);
    }
    must(!w->bytes.failed);
}

static void count(struct writer *w, const struct list *batch)
{
    for (struct list *n = batch->next; n != batch; n = n->next) {
        struct spool_item *i = container_of(n, struct spool_item, node);

        w->file->bytes += (int64_t)(i->len + SPOOL_FRAME_SIZE);
    }
}

/* Hands a batch back. */
static void tell(struct writer *w, struct list *batch, int64_t took_us,
                 const struct err *err)
{
    for (struct list *n = batch->next; n != batch; n = n->next) {
        struct spool_item *i = container_of(n, struct spool_item, node);

        i->failed = err != NULL;
        if (err)
            i->err = *err;
        i->sync_us = n == batch->next ? took_us : -1;
    }
    pthread_mutex_lock(&w->d->mutex);
    list_splice(&w->d->written, batch);
    pthread_mutex_unlock(&w->d->mutex);
    wake_loop(w->d);
}

static void write_batch(struct writer *w, struct list *items)
{
    int64_t began_us = clock_now_us();
    struct list batch;
    struct err err;

    list_init(&batch);
    if (need_file(w, &err)) {
        list_splice(&batch, items);
        tell(w, &batch, 0, &err);
        return;
    }
    gather(w, items, &batch);
    if (spool_file_append(w->file, w->bytes.data, w->bytes.len, &err)) {
        seal(w);
        tell(w, &batch, 0, &err);
        return;
    }
    count(w, &batch);
    tell(w, &batch, clock_now_us() - began_us, NULL);
}

/* --- jobs --- */

static void load(struct spool_job *job)
{
    if (!spool_file_read(job->file, &job->data, &job->len, &job->err))
        job->err.code = ERR_NONE;
}

static void run(struct writer *w, struct spool_job *job)
{
    job->err.code = ERR_NONE;
    switch (job->kind) {
    case SPOOL_SEAL: seal(w); break;
    case SPOOL_LOAD: load(job); break;
    case SPOOL_REMOVE:
    case SPOOL_SET_ASIDE:
        spool_file_remove(&w->d->dir, TAKE(job->file),
                          job->kind == SPOOL_SET_ASIDE);
        break;
    case SPOOL_SCAN:
        spool_dir_adopt(&w->d->dir, &job->found, SPOOL_ADOPT_MAX);
        break;
    case SPOOL_NO_JOB: break;
    }
    pthread_mutex_lock(&w->d->mutex);
    w->d->done = job;
    pthread_mutex_unlock(&w->d->mutex);
    wake_loop(w->d);
}

/* Items first: somebody waits for an answer. False = nothing is left and the
   thread is to end. */
static bool next(struct spool_disk *d, struct list *items,
                 struct spool_job **ret_job)
{
    *ret_job = NULL;
    pthread_mutex_lock(&d->mutex);
    while (list_empty(&d->waiting) && !d->todo && !d->stop)
        pthread_cond_wait(&d->more, &d->mutex);
    list_splice(items, &d->waiting);
    if (list_empty(items))
        *ret_job = TAKE(d->todo);
    pthread_mutex_unlock(&d->mutex);
    return !list_empty(items) || *ret_job;
}

static void *disk_thread(void *arg)
{
    struct writer w = {.d = arg};
    struct spool_job *job;
    struct list items;

    list_init(&items);
    buf_init(&w.bytes, BATCH_BYTES + SPOOL_PAYLOAD_MAX + SPOOL_FRAME_SIZE);
    while (next(w.d, &items, &job)) {
        while (!list_empty(&items))
            write_batch(&w, &items);
        if (job)
            run(&w, job);
    }
    seal(&w);
    buf_done(&w.bytes);
    return NULL;
}

/* --- life --- */

void spool_disk_start(struct spool_disk *d)
{
    sigset_t all, before;

    must(!pthread_mutex_init(&d->mutex, NULL));
    must(!pthread_cond_init(&d->more, NULL));
    list_init(&d->waiting);
    list_init(&d->written);
    list_init(&d->sealed);
    sigfillset(&all); /* signals are the loop's */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    must(!pthread_create(&d->thread, NULL, disk_thread, d));
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

void spool_disk_stop(struct spool_disk *d)
{
    pthread_mutex_lock(&d->mutex);
    d->stop = true;
    pthread_cond_signal(&d->more);
    pthread_mutex_unlock(&d->mutex);
    pthread_join(d->thread, NULL);
    pthread_cond_destroy(&d->more);
    pthread_mutex_destroy(&d->mutex);
}
