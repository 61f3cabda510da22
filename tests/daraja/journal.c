/*
 * Group commit by hand: lines go to a buffer, one write per turn sends them to
 * the file, and one fdatasync makes all durable when something that is to go
 * out depends on a line that is not yet. While every answer takes its time,
 * that is rare: what is due now was synced with what was due before.
 */
#include "tests/daraja/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/buf.h"
#include "common/clock.h"
#include "common/metrics.h"
#include "common/must.h"

#define BATCH_BYTES_MAX (16 * 1024 * 1024)
#define FULL_BYTES (8 * 1024 * 1024)
#define READ_BYTES 65536
#define LINE_BYTES_MAX 8192

struct journal {
    int fd;
    uint64_t size;    /* bytes in the file                */
    uint64_t synced;  /* of them surely on the disk       */
    struct buf lines; /* complete ones, not written       */
};

static enum err_code failed(struct err *err, const char *what)
{
    return err_set_from(err, ERR_IO, ERR_ERRNO, errno, "could not %s journal",
                        what);
}

/* Reads the file through; *ret_end is where the last complete line ends. */
static enum err_code read_back(int fd, journal_line_fn line, void *arg,
                               uint64_t *ret_end, struct err *err)
{
    struct buf b;
    uint64_t done = 0;
    ssize_t n = 0;
    char chunk[READ_BYTES];

    buf_init(&b, READ_BYTES + LINE_BYTES_MAX);
    while (!b.failed && (n = read(fd, chunk, sizeof(chunk))) > 0) {
        char *from = b.data, *nl;

        buf_add(&b, chunk, (size_t)n);
        from = b.data;
        while ((nl = memchr(from, '\n', b.len - (size_t)(from - b.data)))) {
            line(arg, from, (size_t)(nl - from),
                 done + (uint64_t)(from - b.data));
            from = nl + 1;
        }
        done += (uint64_t)(from - b.data);
        buf_drop(&b, (size_t)(from - b.data));
    }
    *ret_end = done;
    if (b.failed)
        errno = EFBIG;
    n = b.failed ? -1 : n;
    buf_done(&b);
    return n < 0 ? failed(err, "read back") : ERR_NONE;
}

enum err_code journal_open(const char *path, journal_line_fn line, void *arg,
                           struct journal **ret, struct err *err)
{
    int fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
    struct journal *j;
    uint64_t size;

    if (fd < 0)
        return err_set_from(err, ERR_IO, ERR_ERRNO, errno,
                            "could not open journal \"%s\"", path);
    if (flock(fd, LOCK_EX | LOCK_NB)) {
        close(fd);
        return err_set(err, ERR_CONFLICT,
                       "could not lock journal \"%s\": in use", path);
    }
    if (read_back(fd, line, arg, &size, err) ||
        (ftruncate(fd, (off_t)size) && failed(err, "cut a torn line of"))) {
        close(fd);
        return err->code;
    }
    j = NEW(struct journal);
    j->fd = fd;
    j->size = size;
    buf_init(&j->lines, BATCH_BYTES_MAX);
    *ret = j;
    return ERR_NONE;
}

void journal_close(struct journal *j)
{
    struct err err;

    if (!j)
        return;
    /* Nothing depends on lines that could not be written any more. */
    (void)!journal_commit(j, journal_size(j), &err);
    close(j->fd);
    buf_done(&j->lines);
    free(j);
}

struct buf *journal_begin(struct journal *j)
{
    return &j->lines;
}

void journal_end(struct journal *j)
{
    buf_addc(&j->lines, '\n');
    must(!j->lines.failed); /* journal_full() comes long before */
}

bool journal_full(const struct journal *j)
{
    return j->lines.len > FULL_BYTES;
}

uint64_t journal_size(const struct journal *j)
{
    return j->size + j->lines.len;
}

static enum err_code write_lines(struct journal *j, struct err *err)
{
    size_t done = 0;

    while (done < j->lines.len) {
        ssize_t n = write(j->fd, j->lines.data + done, j->lines.len - done);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            break;
        done += (size_t)n;
    }
    j->size += done;
    buf_drop(&j->lines, done);
    return j->lines.len > 0 ? failed(err, "write") : ERR_NONE;
}

enum err_code journal_commit(struct journal *j, uint64_t need, struct err *err)
{
    int64_t start_us;

    if (j->lines.len > 0 && write_lines(j, err))
        return err->code;
    if (j->synced >= need)
        return ERR_NONE;
    start_us = clock_now_us();
    if (fdatasync(j->fd))
        return failed(err, "sync");
    j->synced = j->size;
    metric_add(M_SIM_SYNCS, 1);
    metric_observe_us(M_SIM_SYNC_SECONDS, clock_now_us() - start_us);
    return ERR_NONE;
}

/* Only complete lines: the file's end is always one. */
enum err_code journal_read(const struct journal *j, uint64_t offset,
                           struct buf *out, struct err *err)
{
    size_t want = (size_t)MIN((uint64_t)out->max, j->size - offset);
    char *text;
    ssize_t n;

    if (offset > j->size)
        return err_set(err, ERR_INPUT, "the journal ends before that offset");
    text = must_alloc(1, want + 1);
    n = pread(j->fd, text, want, (off_t)offset);
    while (n > 0 && text[n - 1] != '\n')
        n--;
    if (n > 0)
        buf_add(out, text, (size_t)n);
    free(text);
    return n < 0 ? failed(err, "read") : ERR_NONE;
}
