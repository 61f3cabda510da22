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
#include "consumer/recorder.h"

#include "common/must.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAGIC "FOLENIREC1"
#define BOOT_ID_PATH "/proc/sys/kernel/random/boot_id"
#define BOOT_SIZE 40
#define SLOTS_MAX 65536

/* The file's first 4096 bytes. */
struct head {
    char magic[16];
    char boot[BOOT_SIZE];
    uint64_t slots;
};

struct slot {
    _Atomic uint32_t begun; /* 0 = nothing stands here      */
    _Atomic uint32_t answered;
    int32_t attempt;
    uint8_t payment[16];
    char verdict[24];
    char checkout_id[CHECKOUT_ID_MAX + 1];
    char merchant_id[CHECKOUT_ID_MAX + 1];
    char code[RESULT_CODE_MAX + 1];
    int32_t partition;
    int64_t offset;
    uint8_t topic;
    char pad[23];
};

_Static_assert(sizeof(struct slot) == 256, "a slot is 256 bytes");
#define HEAD_SIZE 4096

struct recorder {
    char path[1024];
    int fd;
    size_t slots, bytes;
    struct head *head;
    struct slot *slot;
    int *free; /* ring of free slots, the one free for longest first */
    size_t free_at, free_n;
};

struct recorder_reading {
    void *map;
    size_t bytes, slots;
    const struct slot *slot;
};

/* Fills @p out to its end with zeros: it is compared whole. */
static void read_boot_id(char out[BOOT_SIZE])
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
    if (mkdir(directory, 0750) && errno != EEXIST)
        return err_set_from(err, ERR_IO, ERR_ERRNO, errno,
                            "could not make recorder directory \"%s\"",
                            directory);
    if ((size_t)snprintf(r->path, sizeof(r->path), "%s/worker-XXXXXX.rec",
                         directory) >= sizeof(r->path))
        return err_set(err, ERR_CONFIG, "path of recorder is too long");
    r->fd = mkostemps(r->path, 4, O_CLOEXEC);
    if (r->fd < 0)
        return err_set_from(err, ERR_IO, ERR_ERRNO, errno,
                            "could not make recorder \"%s\"", r->path);
    if (flock(r->fd, LOCK_EX | LOCK_NB))
        return err_set_from(err, ERR_IO, ERR_ERRNO, errno,
                            "could not lock recorder \"%s\"", r->path);
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
    read_boot_id(r->head->boot);
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
    if (make_file(r, directory, err) || map_file(r, err)) {
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

/* Whether the mapped file is whole, ours and of this boot. */
static bool reading_counts(const struct recorder_reading *r)
{
    const struct head *head = r->map;
    char boot[BOOT_SIZE];

    read_boot_id(boot);
    return memcmp(head->magic, MAGIC, sizeof(MAGIC)) == 0 && *boot &&
           memcmp(head->boot, boot, sizeof(boot)) == 0 && head->slots > 0 &&
           head->slots <= SLOTS_MAX &&
           r->bytes == HEAD_SIZE + head->slots * sizeof(struct slot);
}

static enum recorder_state map_reading(int fd, struct recorder_reading **ret)
{
    struct recorder_reading *r;
    struct stat st;
    void *map;

    if (fstat(fd, &st) || st.st_size < HEAD_SIZE)
        return RECORDER_GONE;
    map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        return RECORDER_GONE;
    r = NEW(struct recorder_reading);
    r->map = map;
    r->bytes = (size_t)st.st_size;
    if (!reading_counts(r)) {
        recorder_reading_free(r);
        return RECORDER_GONE;
    }
    r->slots = (size_t)((const struct head *)map)->slots;
    r->slot =
        (const struct slot *)(const void *)((const char *)map + HEAD_SIZE);
    *ret = r;
    return RECORDER_DEAD;
}

/* Takes the file's lock, which a living process holds: then nothing is taken
   and @p ret_alive is true. */
static int lock_dead(const char *path, bool *ret_alive)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);

    *ret_alive = false;
    if (fd < 0 || !flock(fd, LOCK_EX | LOCK_NB))
        return fd;
    *ret_alive = errno == EWOULDBLOCK;
    close(fd);
    return -1;
}

enum recorder_state recorder_read(const char *path,
                                  struct recorder_reading **ret)
{
    enum recorder_state state;
    bool alive;
    int fd = lock_dead(path, &alive);

    if (fd < 0)
        return alive ? RECORDER_ALIVE : RECORDER_GONE;
    state = map_reading(fd, ret);
    close(fd);
    return state;
}

void recorder_reading_free(struct recorder_reading *r)
{
    if (!r)
        return;
    munmap(r->map, r->bytes);
    free(r);
}

/* Copies a text of the file, which may be torn: it has no promised end. */
static void copy_slot_text(char *to, const char *from, size_t size)
{
    size_t n = strnlen(from, size - 1);

    memcpy(to, from, n);
    to[n] = '\0';
}

/* Without an answer the texts are those of whoever had the slot before. */
static void copy_answer(struct recorder_mark *mark, const struct slot *s)
{
    mark->answered = true;
    copy_slot_text(mark->verdict, s->verdict, sizeof(mark->verdict));
    copy_slot_text(mark->checkout_id, s->checkout_id,
                   sizeof(mark->checkout_id));
    copy_slot_text(mark->merchant_id, s->merchant_id,
                   sizeof(mark->merchant_id));
    copy_slot_text(mark->code, s->code, sizeof(mark->code));
}

struct recorder_mark recorder_find(const struct recorder_reading *r,
                                   const struct uuid *payment, int attempt)
{
    struct recorder_mark mark = {0};

    for (size_t i = 0; i < r->slots; i++) {
        const struct slot *s = &r->slot[i];

        if (!atomic_load_explicit(&s->begun, memory_order_acquire) ||
            s->attempt != attempt ||
            memcmp(s->payment, payment->b, sizeof(s->payment)) != 0)
            continue;
        mark.begun = true;
        if (atomic_load_explicit(&s->answered, memory_order_acquire))
            copy_answer(&mark, s);
        break;
    }
    return mark;
}

/* A slot as it stands, of a writer that may be at work on it: what is the same
   twice, and counts after each time, was not torn. False = it does not count.
   */
static bool copy_slot(const struct slot *s, struct slot *ret)
{
    struct slot again;

    memcpy(ret, s, sizeof(*ret));
    atomic_thread_fence(memory_order_acquire);
    if (!atomic_load_explicit(&s->begun, memory_order_acquire))
        return false;
    memcpy(&again, s, sizeof(again));
    atomic_thread_fence(memory_order_acquire);
    return atomic_load_explicit(&s->begun, memory_order_acquire) &&
           ret->begun && again.begun && ret->attempt == again.attempt &&
           memcmp(ret->payment, again.payment, sizeof(ret->payment)) == 0;
}

static bool read_slot(const struct slot *s, struct recorder_begun *ret)
{
    struct slot copy;

    if (!copy_slot(s, &copy))
        return false;
    *ret = (struct recorder_begun){.attempt = copy.attempt};
    memcpy(ret->payment.b, copy.payment, sizeof(copy.payment));
    ret->source =
        (struct recorder_source){copy.topic, copy.partition, copy.offset};
    ret->mark.begun = true;
    if (copy.answered)
        copy_answer(&ret->mark, &copy);
    return true;
}

static int is_recorder(const struct dirent *e)
{
    size_t n = strlen(e->d_name);

    return n > 4 && strcmp(e->d_name + n - 4, ".rec") == 0;
}

static struct recorder_reading *read_anybodys(const char *directory,
                                              const char *name)
{
    struct recorder_reading *r = NULL;
    char path[1280];
    int fd;

    snprintf(path, sizeof(path), "%s/%s", directory, name);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return NULL;
    (void)map_reading(fd, &r);
    close(fd);
    return r;
}

void recorder_each_begun(const char *directory,
                         void (*found)(void *arg,
                                       const struct recorder_begun *begun),
                         void *arg)
{
    struct recorder_begun begun;
    struct dirent **names;
    int n = scandir(directory, &names, is_recorder, alphasort);

    for (int i = 0; i < n; i++) {
        struct recorder_reading *r = read_anybodys(directory, names[i]->d_name);

        for (size_t k = 0; r && k < r->slots; k++)
            if (read_slot(&r->slot[k], &begun))
                found(arg, &begun);
        recorder_reading_free(r);
        free(names[i]);
    }
    if (n >= 0)
        free(names);
}

void recorder_remove(const char *path)
{
    bool alive;
    int fd = lock_dead(path, &alive);

    if (fd < 0)
        return;
    unlink(path);
    close(fd);
}
