/*
 * The journal: an append-only file of JSON lines, the oracle for money. Lines
 * are written once per turn, and made durable together before any answer or
 * callback that depends on one of them goes out.
 *
 * One process writes a journal: it is locked while open.
 */
#ifndef FOLENI_TESTS_DARAJA_JOURNAL_H
#define FOLENI_TESTS_DARAJA_JOURNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base.h"
#include "common/err.h"

struct buf;
struct journal;

/** Gets each complete line that was there before, without its end. */
typedef void (*journal_line_fn)(void *arg, const char *line, size_t len,
                                uint64_t offset);

/**
 * Opens or makes the file and reads back what is there. A last line that was
 * cut off by a crash was never acted on; it is removed.
 *
 * @return ERR_IO, or ERR_CONFLICT when another process has it open.
 */
MUST_CHECK enum err_code journal_open(const char *path, journal_line_fn line,
                                      void *arg, struct journal **ret,
                                      struct err *err);

/** Writes what is left and closes. NULL is fine. */
void journal_close(struct journal *j);

/** Where the next line is written to; journal_end() completes it. */
struct buf *journal_begin(struct journal *j);

void journal_end(struct journal *j);

/**
 * Writes all lines, and makes sure that the first @p need bytes of the file are
 * on the disk: a sync that was made for one serves all before it.
 *
 * @return ERR_IO when the disk refuses; the lines stay for the next try.
 */
MUST_CHECK enum err_code journal_commit(struct journal *j, uint64_t need,
                                        struct err *err);

/** Whether more than a turn's worth of lines waits for a disk that refuses. */
bool journal_full(const struct journal *j);

/**
 * Where the next line will stand, in bytes from the file's beginning: what
 * depends on the lines so far needs that much on the disk.
 */
uint64_t journal_size(const struct journal *j);

/**
 * Appends whole lines from @p offset on, at most what @p out takes.
 *
 * @return ERR_INPUT when @p offset is beyond the end, ERR_IO.
 */
MUST_CHECK enum err_code journal_read(const struct journal *j, uint64_t offset,
                                      struct buf *out, struct err *err);

#endif
