/*
 * One file of the spool and its directory. Every call waits for the disk, so
 * they are for the spool's helper thread (and tests) only; none writes a log.
 *
 * A file is locked (flock) from its making to its removal by the process that
 * answers for it, and it gets its name (*.spool) only under the lock. So a
 * file with a free lock belongs to nobody: its process is dead.
 */
#ifndef FOLENI_PRODUCER_SPOOL_FILE_H
#define FOLENI_PRODUCER_SPOOL_FILE_H

#include "common/err.h"
#include "common/list.h"

#include <stdbool.h>
#include <stdint.h>

#define SPOOL_NAME_SIZE 48
#define SPOOL_FILE_MAX (64 * 1048576) /* larger ones are none of ours */

struct spool_dir {
    char path[1024];
    int fd;
};

struct spool_file {
    struct list node;           /* for whoever keeps it              */
    char name[SPOOL_NAME_SIZE]; /* in its directory; sorted = by age */
    int fd;                     /* holds the lock                    */
    uint64_t salt;
    int64_t end;   /* bytes that are durable                         */
    int64_t bytes; /* what it counts for against the spool's limit   */
};

/** Opens @p path, made with mode 0700 when missing. Nothing of it is read. */
MUST_CHECK enum err_code spool_dir_open(const char *path, struct spool_dir *ret,
                                        struct err *err);
void spool_dir_close(struct spool_dir *dir);

/** Makes and locks an empty file; its name is durable. */
MUST_CHECK enum err_code spool_file_new(const struct spool_dir *dir,
                                        struct spool_file **ret,
                                        struct err *err);

/**
 * Appends bytes and makes them durable. After an error nothing more may be
 * appended: what is durable of the file is not known any better than `end`.
 */
MUST_CHECK enum err_code spool_file_append(struct spool_file *f,
                                           const void *data, size_t len,
                                           struct err *err);

/**
 * Reads all of it; @p ret is the caller's to free.
 *
 * @return ERR_IO or ERR_MEMORY: perhaps later; ERR_INPUT: too large for one of
 *         ours.
 */
MUST_CHECK enum err_code spool_file_read(const struct spool_file *f,
                                         uint8_t **ret, size_t *ret_len,
                                         struct err *err);

/** Removes the file, or keeps it as *.spool.bad for people, and frees @p f. */
void spool_file_remove(const struct spool_dir *dir, struct spool_file *f,
                       bool bad);

/** Unlocks it for whoever comes next, and frees @p f. */
void spool_file_leave(struct spool_file *f);

/** Takes files with a free lock into @p files (struct spool_file), at most
 *  @p max, and clears away what a death during the making of one has left. */
void spool_dir_adopt(const struct spool_dir *dir, struct list *files,
                     size_t max);

#endif
