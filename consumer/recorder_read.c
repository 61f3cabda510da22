/*
 * The recorders of others: what a dead process' file proves, what anybody's
 * shows as begun, and which files the dead have left. A mapping may be of a
 * writer that is at work; only what is the same twice counts then.
 */
#include "consumer/recorder_priv.h"

#include "common/must.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct recorder_reading {
    void *map;
    size_t bytes, slots;
    const struct slot *slot;
};

/* Whether the mapped file is whole and ours. */
static bool is_whole(const struct recorder_reading *r)
{
    const struct head *head = r->map;

    return r->bytes >= HEAD_SIZE &&
           memcmp(head->magic, MAGIC, sizeof(MAGIC)) == 0 && head->slots > 0 &&
           head->slots <= SLOTS_MAX &&
           r->bytes == HEAD_SIZE + head->slots * sizeof(struct slot);
}

static bool is_of_this_boot(const struct recorder_reading *r)
{
    const struct head *head = r->map;
    char boot[BOOT_SIZE];

    recorder_boot_id(boot);
    return *boot && memcmp(head->boot, boot, sizeof(boot)) == 0;
}

static struct recorder_reading *map_whatever(int fd)
{
    struct recorder_reading *r;
    struct stat st;
    void *map;

    if (fstat(fd, &st) || st.st_size <= 0)
        return NULL;
    map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        return NULL;
    r = NEW(struct recorder_reading);
    r->map = map;
    r->bytes = (size_t)st.st_size;
    return r;
}

static enum recorder_state map_reading(int fd, struct recorder_reading **ret)
{
    struct recorder_reading *r = map_whatever(fd);

    if (!r)
        return RECORDER_GONE;
    if (!is_whole(r) || !is_of_this_boot(r)) {
        recorder_reading_free(r);
        return RECORDER_GONE;
    }
    r->slots = (size_t)((const struct head *)r->map)->slots;
    r->slot =
        (const struct slot *)(const void *)((const char *)r->map + HEAD_SIZE);
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

bool recorder_remove(const char *path)
{
    bool alive;
    int fd = lock_dead(path, &alive);

    if (fd < 0)
        return false;
    alive = unlink(path) != 0;
    close(fd);
    return !alive;
}

/* --- what the dead have left --- */

static bool is_blank(const struct recorder_reading *r)
{
    const char *bytes = r->map;

    return !*bytes && memcmp(bytes, bytes + 1, r->bytes - 1) == 0;
}

/* A file of no length was made a moment before its process died; the magic is
   written last. Without a boot on either side nobody can say which it is of. */
static enum recorder_kind kind_of(int fd)
{
    struct recorder_reading *r = map_whatever(fd);
    const struct head *head = r ? r->map : NULL;
    enum recorder_kind kind = RECORDER_TORN;
    char boot[BOOT_SIZE];
    struct stat st;

    recorder_boot_id(boot);
    if (!r)
        return !fstat(fd, &st) && S_ISREG(st.st_mode) && !st.st_size
                   ? RECORDER_SILENT
                   : RECORDER_TORN;
    if (is_blank(r))
        kind = RECORDER_SILENT;
    else if (is_whole(r) && *boot && *head->boot)
        kind = is_of_this_boot(r) ? RECORDER_WHOLE : RECORDER_SILENT;
    recorder_reading_free(r);
    return kind;
}

void recorder_each_dead(const char *directory,
                        void (*found)(void *arg, const char *path,
                                      enum recorder_kind kind),
                        void *arg)
{
    struct dirent **names;
    int n = scandir(directory, &names, is_recorder, alphasort);

    for (int i = 0; i < n; i++) {
        char path[1280];
        bool alive;
        int fd;

        snprintf(path, sizeof(path), "%s/%s", directory, names[i]->d_name);
        free(names[i]);
        fd = lock_dead(path, &alive);
        if (fd >= 0) {
            enum recorder_kind kind = kind_of(fd);

            close(fd);
            found(arg, path, kind);
        } else if (!alive && access(path, F_OK) == 0) {
            found(arg, path, RECORDER_TORN);
        }
    }
    if (n >= 0)
        free(names);
}
