/*
 * A header page and an array of slots, mapped shared. A slot is filled back to
 * front: the words that make it count (`begun`, `answered`) are written last
 * and behind a release fence, so that a death between two stores leaves either
 * no mark or a whole one. flock says whether the writer lives; the boot id says
 * whether its page cache does.
 *
 * A slot that is freed keeps its mark until its turn comes again: with slots to
 * spare (RECORDER_MEMORY) that is so many pushes later at the soonest. So who
 * has lost the outcome (a Postgres that forgot its last commits) does not read
 * that the attempt never began, and learns of what it has forgotten altogether.
 */
#include "consumer/recorder_priv.h"

#include "common/must.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define BOOT_ID_PATH "/proc/sys/kernel/random/boot_id"
#define MAKES_MAX 8

struct recorder {
    char path[1024];
    int fd;
    size_t slots, bytes;
    struct head *head;
    struct slot *slot;
    int *free; /* ring of free slots, the one free for longest first */
    size_t free_at, free_n;
};

void recorder_boot_id(char out[BOOT_SIZE])
{
    int fd = open(BOOT_ID_PATH, O_RDONLY | O_CLOEXEC);

    memset(out, 0, BOOT_SIZE);
    if (fd < 0)
        return;
    if (read(fd, out, UUID_TEXT_SIZE - 1) != UUID_TEXT_SIZE - 1)
        memset(out, 0, BOOT_SIZE);
    close(fd);
}

static enum err_code make_file(struct recorder *r, const char *directory,
                               struct err *err)
{
    if ((size_t)snprintf(r->path, sizeof(r->path), "%s/worker-XXXXXX.rec",
                         directory) >= sizeof(r->path))
        return err_set(err, ERR_CONFIG, "path of recorder is too long");
    r->fd = mkostemps(r->path, 4, O_CLOEXEC);
    if (r->fd < 0)
        return err_set_from(err, ERR_IO, ERR_ERRNO, errno,
                            "could not make recorder \"%s\"", r->path);
    if (flock(r->fd, LOCK_EX | LOCK_NB) && errno != EWOULDBLOCK)
        return err_set_from(err, ERR_IO, ERR_ERRNO, errno,
                            "could not lock recorder \"%s\"", r->path);
    return ERR_NONE;
}

/* Until it is locked, somebody who sweeps may take it for a dead one's. */
static bool is_held(const struct recorder *r)
{
    struct stat st;

    return !flock(r->fd, LOCK_EX | LOCK_NB) && !fstat(r->fd, &st) &&
           st.st_nlink > 0;
}

static enum err_code make_held_file(struct recorder *r, const char *directory,
                                    struct err *err)
{
    if (mkdir(directory, 0750) && errno != EEXIST)
        return err_set_from(err, ERR_IO, ERR_ERRNO, errno,
                            "could not make recorder directory \"%s\"",
                            directory);
    for (int i = 0; i < MAKES_MAX; i++) {
        if (make_file(r, directory, err))
            return err->code;
        if (is_held(r))
            return ERR_NONE;
        close(r->fd);
        r->fd = -1;
    }
    return err_set(err, ERR_IO, "recorder \"%s\" is taken away again and again",
                   r->path);
}

static enum err_code allocate(struct recorder *r, struct err *err)
{
    /* allocated whole: a sparse mapping on a full disk would be SIGBUS */
    int rc = posix_fallocate(r->fd, 0, (off_t)r->bytes);

    if (rc)
        return err_set_from(err, ERR_IO, ERR_ERRNO, rc,
                            "could not allocate recorder \"%s\"", r->path);
    return ERR_NONE;
}

static enum err_code map_file(struct recorder *r, struct err *err)
{
    void *map =
        mmap(NULL, r->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, r->fd, 0);

    if (map == MAP_FAILED)
        return err_set_from(err, ERR_IO, ERR_ERRNO, errno,
                            "could not map recorder \"%s\"", r->path);
    r->head = map;
    r->slot = (struct slot *)(void *)((char *)map + HEAD_SIZE);
    r->head->slots = r->slots;
    recorder_boot_id(r->head->boot);
    memcpy(r->head->magic, MAGIC, sizeof(MAGIC));
    return ERR_NONE;
}

enum err_code recorder_open(const char *directory, size_t slots,
                            struct recorder **ret, struct err *err)
{
    struct recorder *r = NEW(struct recorder);

    must(slots > 0 && slots <= SLOTS_MAX);
    r->fd = -1;
    r->slots = slots;
    r->bytes = HEAD_SIZE + slots * sizeof(struct slot);
    if (make_held_file(r, directory, err) || allocate(r, err) ||
        map_file(r, err)) {
        recorder_close(r, r->fd >= 0);
        return err->code;
    }
    r->free = must_alloc(slots, sizeof(*r->free));
    for (; r->free_n < slots; r->free_n++)
        r->free[r->free_n] = (int)r->free_n;
    *ret = r;
    return ERR_NONE;
}

void recorder_close(struct recorder *r, bool remove)
{
    if (!r)
        return;
    if (remove)
        unlink(r->path);
    if (r->head)
        munmap(r->head, r->bytes);
    if (r->fd >= 0)
        close(r->fd);
    free(r->free);
    free(r);
}

const char *recorder_path(const struct recorder *r)
{
    return r->path;
}

int recorder_begin(struct recorder *r, const struct uuid *payment, int attempt,
                   const struct recorder_source *source)
{
    struct slot *s;
    int at;

    if (!r->free_n)
        return -1;
    at = r->free[r->free_at];
    r->free_at = (r->free_at + 1) % r->slots;
    r->free_n--;
    s = &r->slot[at];
    atomic_store_explicit(&s->begun, 0, memory_order_relaxed);
    atomic_store_explicit(&s->answered, 0, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
    memcpy(s->payment, payment->b, sizeof(s->payment));
    s->attempt = attempt;
    s->topic = (uint8_t)source->topic;
    s->partition = source->partition;
    s->offset = source->offset;
    atomic_store_explicit(&s->begun, 1, memory_order_release);
    return at;
}

void recorder_answer(struct recorder *r, int slot, const char *verdict,
                     const char *checkout_id, const char *merchant_id,
                     const char *code)
{
    struct slot *s;

    must(slot >= 0 && (size_t)slot < r->slots);
    s = &r->slot[slot];
    text_copy(s->verdict, sizeof(s->verdict), verdict);
    text_copy(s->checkout_id, sizeof(s->checkout_id), checkout_id);
    text_copy(s->merchant_id, sizeof(s->merchant_id), merchant_id);
    text_copy(s->code, sizeof(s->code), code);
    atomic_store_explicit(&s->answered, 1, memory_order_release);
}

void recorder_free_slot(struct recorder *r, int slot)
{
    must(slot >= 0 && (size_t)slot < r->slots && r->free_n < r->slots);
    r->free[(r->free_at + r->free_n++) % r->slots] = slot;
}

size_t recorder_used(const struct recorder *r)
{
    return r->slots - r->free_n;
}
