/*
 * The loop's side: what may be put, which file goes to Kafka next, what has
 * become of it. Files go one at a time and in order; of a file at most
 * WINDOW_MAX records are without their report.
 */
#include "producer/spool_priv.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/must.h"
#include "common/windows.h"
#include "producer/spool_frame.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TICK_US US_PER_S
#define SCAN_US (5 * US_PER_S)
#define WINDOW_MAX 256                      /* records without their report */
#define WAITING_MAX (16 * INT64_C(1048576)) /* bytes not written yet        */
#define ALARM_AT 80                         /* percent of bytes_max         */
#define ALARM_OVER 60

/* One record of the file that goes to Kafka now. */
struct frame {
    struct spool *spool;
    const uint8_t *payload;
    size_t len;
    bool gone; /* delivered, or no record at all */
};

/* That file, read. */
struct draining {
    struct spool_file *file; /* NULL = none */
    uint8_t *data;
    struct frame *frames;
    size_t n, next, out;
    bool failed; /* a record was not delivered: later again */
    bool bad;    /* something of it could not be read       */
};

struct spool {
    struct loop *loop;
    struct spool_spec spec;
    struct spool_disk disk;
    struct loop_timer tick;
    int64_t bytes, waiting; /* waiting = those not written yet */
    struct list files;      /* that are written to no more, by age */
    struct spool_job job;
    int64_t removing; /* bytes of the file that is being removed */
    struct draining draining;
    int64_t scan_us, retry_us;
    bool seal_due, stopped, alarmed, full, broken;
    struct err err; /* why it is broken */
};

static void advance(struct spool *s);

/* --- how full it is --- */

static void level(struct spool *s, int64_t by)
{
    bool was_empty = s->bytes == 0;
    int64_t percent;

    s->bytes += by;
    must(s->bytes >= 0);
    percent = 100 * s->bytes / s->spec.bytes_max;
    metric_set(M_SPOOL_BYTES, s->bytes);
    if (was_empty && s->bytes)
        log_warn("spool", "spooling", KV("directory", s->spec.directory));
    if (!was_empty && !s->bytes)
        log_info("spool", "empty", KV("directory", s->spec.directory));
    if (percent >= ALARM_AT && !s->alarmed) {
        metric_add(M_ALARM_SPOOL, 1);
        log_error("spool", "filling", KV_INT("bytes", s->bytes),
                  KV_INT("bytes_max", s->spec.bytes_max));
        s->alarmed = true;
    } else if (percent < ALARM_OVER) {
        s->alarmed = false;
    }
}

int64_t spool_bytes(const struct spool *s)
{
    return s->bytes;
}

bool spool_ok(const struct spool *s, char *note, size_t size)
{
    *note = '\0';
    if (s->broken)
        snprintf(note, size, "%s", s->err.text);
    else if (s->alarmed)
        snprintf(note, size, "%lld of %lld bytes are used", (long long)s->bytes,
                 (long long)s->spec.bytes_max);
    return !s->broken && !s->alarmed;
}

/* --- in --- */

struct spool_item *spool_item_new(const struct kafka_record *record)
{
    size_t len = spool_payload_size(record);
    struct spool_item *i = must_alloc(1, sizeof(*i) + len);

    list_init(&i->node);
    i->len = len;
    spool_encode(record, i->payload);
    return i;
}

static int64_t item_bytes(const struct spool_item *i)
{
    return (int64_t)(i->len + SPOOL_FRAME_SIZE);
}

enum err_code spool_put(struct spool *s, struct spool_item *item,
                        kafka_done_fn done, void *arg, struct err *err)
{
    int64_t n = item_bytes(item);

    if (s->bytes + n > s->spec.bytes_max || s->waiting + n > WAITING_MAX) {
        metric_add(M_SPOOL_FULL, 1);
        if (!s->full)
            log_error("spool", "full", KV_INT("bytes", s->bytes),
                      KV_INT("waiting", s->waiting));
        s->full = true;
        return err_set(err, ERR_LIMIT, "could not spool: it is full");
    }
    s->full = false;
    item->done = done;
    item->arg = arg;
    s->waiting += n;
    level(s, n);
    spool_disk_write(&s->disk, item);
    return ERR_NONE;
}

static void broken(struct spool *s, const struct err *err)
{
    if (!s->broken)
        log_error("spool", "not_written", KV_ERR(err));
    s->broken = true;
    s->err = *err;
}

/* The item is its owner's again once done runs. */
static void item_written(struct spool *s, struct spool_item *i)
{
    struct err err = i->err;
    bool failed = i->failed;

    if (i->sync_us >= 0 && !failed)
        metric_observe_us(M_SPOOL_SYNC_SECONDS, i->sync_us);
    metric_add(failed ? M_SPOOL_FAILED : M_SPOOL_KEPT, 1);
    s->waiting -= item_bytes(i);
    if (failed) {
        broken(s, &err);
        level(s, -item_bytes(i));
    } else {
        s->broken = false;
    }
    i->done(i->arg, failed ? &err : NULL);
}

/* --- files --- */

static void file_add(struct spool *s, struct spool_file *f)
{
    struct list *at = s->files.next;

    while (at != &s->files &&
           strcmp(container_of(at, struct spool_file, node)->name, f->name) < 0)
        at = at->next;
    list_append(at, &f->node); /* before `at` */
}

static void do_job(struct spool *s, enum spool_job_kind kind,
                   struct spool_file *file)
{
    must(s->job.kind == SPOOL_NO_JOB);
    s->job = (struct spool_job){.kind = kind, .file = file};
    list_init(&s->job.found);
    spool_disk_do(&s->disk, &s->job);
}

static void found(struct spool *s, struct list *files)
{
    struct list *n;

    if (!list_empty(files))
        s->scan_us = 0; /* a look has a bound: there may be more */
    while ((n = list_shift(files))) {
        struct spool_file *f = container_of(n, struct spool_file, node);

        log_info("spool", "file_taken_over", KV("file", f->name),
                 KV_INT("bytes", f->bytes));
        level(s, f->bytes);
        file_add(s, f);
    }
}

/* --- out --- */

static void add_frame(struct spool *s, const uint8_t *payload, size_t len)
{
    struct draining *d = &s->draining;

    if (d->n % 1024 == 0)
        d->frames = must_grow(d->frames, d->n + 1024, sizeof(*d->frames));
    d->frames[d->n++] =
        (struct frame){.spool = s, .payload = payload, .len = len};
}

/* Finds the records of what was read. An empty file is no bad one: a loss of
   power leaves such, and nothing in it was ever confirmed. */
static void take_apart(struct spool *s, const struct spool_job *job)
{
    struct draining *d = &s->draining;
    struct spool_walk w;
    const uint8_t *payload;
    uint64_t salt;
    size_t len;

    *d = (struct draining){.file = job->file, .data = job->data};
    if (!spool_read_head(job->data, job->len, &salt)) {
        d->bad = job->len > 0;
        return;
    }
    spool_walk_init(&w, job->data, job->len, salt);
    while (spool_walk_next(&w, &payload, &len))
        add_frame(s, payload, len);
    d->bad = w.skipped > 0;
}

static void draining_done(struct draining *d)
{
    free(d->data);
    free(d->frames);
    *d = (struct draining){.file = NULL};
}

static void drained(struct spool *s)
{
    struct draining *d = &s->draining;

    WINDOW(spool_unremoved);
    if (d->bad) {
        metric_add(M_SPOOL_BAD, 1);
        log_error("spool", "file_set_aside", KV("file", d->file->name),
                  KV_INT("bytes", d->file->bytes),
                  KV_INT("records_read", d->n));
    }
    s->removing = d->file->bytes;
    do_job(s, d->bad ? SPOOL_SET_ASIDE : SPOOL_REMOVE, d->file);
}

static void frame_done(void *arg, const struct err *err)
{
    struct frame *f = arg;
    struct spool *s = f->spool;
    struct draining *d = &s->draining;

    must(d->out > 0);
    d->out--;
    if (err && err->code != ERR_INPUT) {
        d->failed = true;
    } else {
        f->gone = true;
        d->bad |= err != NULL; /* no broker takes it: people have to look */
        metric_add(M_SPOOL_DRAINED, !err);
    }
    advance(s);
}

/* Gives one record to Kafka. False = not now. */
static bool give(struct spool *s, struct frame *f)
{
    struct draining *d = &s->draining;
    struct spool_record r;
    enum err_code code;
    struct err err;

    if (!spool_decode(f->payload, f->len, &r)) {
        f->gone = d->bad = true;
        return true;
    }
    d->out++;
    code = s->spec.publish(s->spec.arg, &r.record, frame_done, f, &err);
    if (!code)
        return true;
    d->out--;
    if (code == ERR_INPUT) {
        f->gone = d->bad = true;
        return true;
    }
    d->failed = true;
    return false;
}

static bool may_give(const struct spool *s)
{
    return !s->stopped && !s->draining.failed && s->spec.up(s->spec.arg) &&
           s->retry_us <= loop_now_us(s->loop);
}

static void drain(struct spool *s)
{
    struct draining *d = &s->draining;

    while (d->next < d->n && d->out < WINDOW_MAX && may_give(s)) {
        struct frame *f = &d->frames[d->next];

        if (!f->gone && !give(s, f))
            break;
        d->next++;
    }
    if (d->out)
        return;
    if (d->failed) { /* once more, what was not delivered */
        d->failed = false;
        d->next = 0;
        s->retry_us = loop_now_us(s->loop) + TICK_US;
    } else if (d->next == d->n) {
        drained(s);
    }
}

/* --- what to do next --- */

/* Whether looking for orphans is due; it is, a while after each look. */
static bool scan_due(struct spool *s)
{
    int64_t now_us = loop_now_us(s->loop);

    if (now_us < s->scan_us)
        return false;
    s->scan_us = now_us + SCAN_US;
    return true;
}

/* Once per tick: else each record of a slow Kafka would have its own file. */
static void seal(struct spool *s)
{
    s->seal_due = false;
    do_job(s, SPOOL_SEAL, NULL);
}

static void advance(struct spool *s)
{
    if (s->job.kind != SPOOL_NO_JOB)
        return;
    if (s->draining.file)
        drain(s);
    else if (s->stopped)
        return;
    else if (scan_due(s))
        do_job(s, SPOOL_SCAN, NULL);
    else if (!s->spec.up(s->spec.arg) || s->retry_us > loop_now_us(s->loop))
        return;
    else if (!list_empty(&s->files))
        do_job(s, SPOOL_LOAD,
               container_of(list_shift(&s->files), struct spool_file, node));
    else if (s->bytes && s->seal_due)
        seal(s);
}

static void loaded(struct spool *s, const struct spool_job *job)
{
    if (!job->err.code) {
        take_apart(s, job);
        return;
    }
    log_error("spool", "file_unreadable", KV("file", job->file->name),
              KV_ERR(&job->err));
    if (job->err.code == ERR_INPUT) {
        s->draining = (struct draining){.file = job->file, .bad = true};
        return;
    }
    list_append(&s->files, &job->file->node); /* others first */
    s->retry_us = loop_now_us(s->loop) + TICK_US;
}

static void job_done(struct spool *s)
{
    struct spool_job job = s->job;

    s->job.kind = SPOOL_NO_JOB;
    if (job.kind == SPOOL_LOAD) {
        loaded(s, &job);
    } else if (job.kind == SPOOL_SCAN) {
        /* the list's head has moved with the copy */
        found(s, &s->job.found);
    } else if (job.kind == SPOOL_REMOVE || job.kind == SPOOL_SET_ASIDE) {
        draining_done(&s->draining);
        level(s, -s->removing);
    }
}

/* Takes what the helper thread has done. */
static void collect(struct spool *s)
{
    struct list written, sealed, *n;
    struct spool_job *job;

    list_init(&written);
    list_init(&sealed);
    spool_disk_take(&s->disk, &written, &sealed, &job);
    while ((n = list_shift(&sealed)))
        file_add(s, container_of(n, struct spool_file, node));
    while ((n = list_shift(&written)))
        item_written(s, container_of(n, struct spool_item, node));
    if (job)
        job_done(s);
}

static void on_wake(void *arg)
{
    struct spool *s = arg;

    collect(s);
    advance(s);
}

static void on_tick(void *arg)
{
    struct spool *s = arg;

    timer_set(s->loop, &s->tick, clock_now_us() + TICK_US);
    s->seal_due = true;
    advance(s);
}

/* --- life --- */

enum err_code spool_new(struct loop *loop, const struct spool_spec *spec,
                        struct spool **ret, struct err *err)
{
    struct spool *s = NEW(struct spool);

    if (spool_dir_open(spec->directory, &s->disk.dir, err)) {
        free(s);
        return err->code;
    }
    s->loop = loop;
    s->spec = *spec;
    list_init(&s->files);
    s->disk.file_bytes = spec->file_bytes;
    s->disk.wake_fd = loop_wake_fd(loop, on_wake, s);
    spool_disk_start(&s->disk);
    timer_init(&s->tick, on_tick, s);
    timer_set(loop, &s->tick, clock_now_us());
    *ret = s;
    return ERR_NONE;
}

void spool_stop(struct spool *s)
{
    s->stopped = true;
}

void spool_free(struct spool *s)
{
    struct list *n;

    if (!s)
        return;
    must(s->draining.out == 0);
    s->stopped = true;
    spool_disk_stop(&s->disk);
    collect(s);
    if (s->draining.file)
        spool_file_leave(s->draining.file);
    draining_done(&s->draining);
    while ((n = list_shift(&s->files)))
        spool_file_leave(container_of(n, struct spool_file, node));
    timer_cancel(s->loop, &s->tick);
    loop_wake_close(s->loop, s->disk.wake_fd);
    spool_dir_close(&s->disk.dir);
    free(s);
}
