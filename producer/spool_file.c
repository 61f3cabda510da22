/*
 * A new file is made under another name, locked, given its head and only then
 * renamed: nobody can take it for an orphan in between. The directory is synced
 * before the first record counts, the data after each append.
 */
#include "producer/spool_file.h"

#include "common/buf.h"
#include "common/clock.h"
#include "common/must.h"
#include "common/payment.h"
#include "common/sign.h"
#include "common/windows.h"
#include "producer/spool_frame.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define SUFFIX ".spool"
#define SUFFIX_NEW ".new"
#define SUFFIX_BAD ".bad"
#define OTHER_NAME_SIZE (SPOOL_NAME_SIZE + 8)

#define FAIL(err, ...) \
    err_set_from((err), ERR_IO, ERR_ERRNO, errno, __VA_ARGS__)

/* --- the directory --- */

enum err_code spool_dir_open(const char *path, struct spool_dir *ret,
                             struct err *err)
{
    text_copy(ret->path, sizeof(ret->path), path);
    if (mkdir(path, 0700) && errno != EEXIST)
        return FAIL(err, "could not make spool directory \"%s\"", path);
    ret->fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (ret->fd < 0)
        return FAIL(err, "could not open spool directory \"%s\"", path);
    if (faccessat(ret->fd, ".", W_OK | X_OK, 0) == 0)
        return ERR_NONE;
    (void)FAIL(err, "could not use spool directory \"%s\"", path);
    spool_dir_close(ret);
    return err->code;
}

void spool_dir_close(struct spool_dir *dir)
{
    if (dir->fd >= 0)
        close(dir->fd);
    dir->fd = -1;
}

/* --- making --- */

static void make_names(struct spool_file *f, char making[OTHER_NAME_SIZE])
{
    uint32_t chance;

    sign_random(&chance, sizeof(chance));
    sign_random(&f->salt, sizeof(f->salt));
    snprintf(f->name, sizeof(f->name), "%016" PRIx64 "-%08" PRIx32 SUFFIX,
             (uint64_t)clock_wall_at(), chance);
    snprintf(making, OTHER_NAME_SIZE, "%s" SUFFIX_NEW, f->name);
}

static enum err_code write_head(struct spool_file *f, struct err *err)
{
    char memory[SPOOL_HEAD_SIZE + 1];
    struct buf head;

    buf_over(&head, memory, sizeof(memory));
    spool_add_head(&head, f->salt);
    must(!head.failed);
    if (pwrite(f->fd, head.data, head.len, 0) != (ssize_t)head.len)
        return FAIL(err, "could not write spool file \"%s\"", f->name);
    f->end = (int64_t)head.len;
    return ERR_NONE;
}

/* What was made under another name becomes a spool file, durably. */
static enum err_code name_it(const struct spool_dir *dir, struct spool_file *f,
                             const char *making, struct err *err)
{
    if (write_head(f, err))
        return err->code;
    if (renameat(dir->fd, making, dir->fd, f->name))
        return FAIL(err, "could not name spool file \"%s\"", f->name);
    if (fsync(dir->fd))
        return FAIL(err, "could not sync spool directory \"%s\"", dir->path);
    return ERR_NONE;
}

enum err_code spool_file_new(const struct spool_dir *dir,
                             struct spool_file **ret, struct err *err)
{
    struct spool_file *f = NEW(struct spool_file);
    char making[OTHER_NAME_SIZE];

    list_init(&f->node);
    make_names(f, making);
    f->fd =
        openat(dir->fd, making, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (f->fd < 0) {
        (void)FAIL(err, "could not make spool file in \"%s\"", dir->path);
    } else if (flock(f->fd, LOCK_EX | LOCK_NB)) {
        (void)FAIL(err, "could not lock spool file \"%s\"", f->name);
    } else if (!name_it(dir, f, making, err)) {
        *ret = f;
        return ERR_NONE;
    }
    unlinkat(dir->fd, making, 0);
    if (f->fd >= 0)
        unlinkat(dir->fd, f->name, 0);
    spool_file_leave(f);
    return err->code;
}

/* --- bytes --- */

static bool write_all(int fd, const char *data, size_t len, int64_t at)
{
    while (len) {
        ssize_t n = pwrite(fd, data, len, (off_t)at);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        data += n;
        at += n;
        len -= (size_t)n;
    }
    return true;
}

enum err_code spool_file_append(struct spool_file *f, const void *data,
                                size_t len, struct err *err)
{
    if (!write_all(f->fd, data, len, f->end)) {
        (void)FAIL(err, "could not write spool file \"%s\"", f->name);
        (void)!ftruncate(f->fd, (off_t)f->end); /* half a record: away */
        return err->code;
    }
    WINDOW(spool_unsynced);
    if (fdatasync(f->fd))
        return FAIL(err, "could not sync spool file \"%s\"", f->name);
    f->end += (int64_t)len;
    return ERR_NONE;
}

static bool read_all(int fd, uint8_t *to, size_t len)
{
    for (size_t at = 0; at < len;) {
        ssize_t n = pread(fd, to + at, len - at, (off_t)at);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        at += (size_t)n;
    }
    return true;
}

enum err_code spool_file_read(const struct spool_file *f, uint8_t **ret,
                              size_t *ret_len, struct err *err)
{
    struct stat st;
    uint8_t *data;

    if (fstat(f->fd, &st))
        return FAIL(err, "could not look at spool file \"%s\"", f->name);
    if (st.st_size > SPOOL_FILE_MAX)
        return err_set(err, ERR_INPUT, "spool file \"%s\" is too large",
                       f->name);
    data = malloc((size_t)st.st_size + 1);
    if (!data)
        return err_set(err, ERR_MEMORY, "no memory for spool file \"%s\"",
                       f->name);
    if (!read_all(f->fd, data, (size_t)st.st_size)) {
        free(data);
        return FAIL(err, "could not read spool file \"%s\"", f->name);
    }
    *ret = data;
    *ret_len = (size_t)st.st_size;
    return ERR_NONE;
}

/* --- the end of a file --- */

void spool_file_leave(struct spool_file *f)
{
    list_remove(&f->node);
    if (f->fd >= 0)
        close(f->fd);
    free(f);
}

void spool_file_remove(const struct spool_dir *dir, struct spool_file *f,
                       bool bad)
{
    char other[OTHER_NAME_SIZE];

    snprintf(other, sizeof(other), "%s" SUFFIX_BAD, f->name);
    if (!bad)
        unlinkat(dir->fd, f->name, 0);
    else if (renameat(dir->fd, f->name, dir->fd, other))
        f->fd = -1; /* kept, and locked as long as we live: not drained again */
    spool_file_leave(f);
}

/* --- orphans --- */

static bool has_suffix(const char *name, const char *suffix)
{
    size_t len = strlen(name), n = strlen(suffix);

    return len > n && strcmp(name + len - n, suffix) == 0;
}

/* Locked, and still what stands under that name: between opening and locking
   another process may have drained it. */
static bool lock_as(const struct spool_dir *dir, int fd, const char *name)
{
    struct stat is, named;

    return !flock(fd, LOCK_EX | LOCK_NB) && !fstat(fd, &is) &&
           !fstatat(dir->fd, name, &named, AT_SYMLINK_NOFOLLOW) &&
           S_ISREG(is.st_mode) && is.st_ino == named.st_ino &&
           is.st_dev == named.st_dev;
}

static int take(const struct spool_dir *dir, const char *name)
{
    int fd =
        openat(dir->fd, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

    if (fd >= 0 && lock_as(dir, fd, name))
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

static void adopt(const struct spool_dir *dir, const char *name,
                  struct list *files)
{
    int fd = take(dir, name);
    struct spool_file *f;
    struct stat st;

    if (fd < 0)
        return;
    f = NEW(struct spool_file);
    list_init(&f->node);
    f->fd = fd;
    text_copy(f->name, sizeof(f->name), name);
    f->bytes = fstat(fd, &st) ? 0 : (int64_t)st.st_size;
    f->end = f->bytes;
    list_append(files, &f->node);
}

/* Half made by a process that died: nothing can stand in it. */
static void clear(const struct spool_dir *dir, const char *name)
{
    int fd = take(dir, name);

    if (fd < 0)
        return;
    unlinkat(dir->fd, name, 0);
    close(fd);
}

void spool_dir_adopt(const struct spool_dir *dir, struct list *files,
                     size_t max)
{
    int fd = openat(dir->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *e;

    if (!d && fd >= 0)
        close(fd);
    while (d && max && (e = readdir(d))) {
        struct list *last = files->prev;

        if (strlen(e->d_name) >= OTHER_NAME_SIZE)
            continue;
        if (has_suffix(e->d_name, SUFFIX) &&
            strlen(e->d_name) < SPOOL_NAME_SIZE)
            adopt(dir, e->d_name, files);
        else if (has_suffix(e->d_name, SUFFIX SUFFIX_NEW))
            clear(dir, e->d_name);
        max -= files->prev != last;
    }
    if (d)
        closedir(d);
}
