/*
 * A directory of migrations, NNNN_name.sql: read, numbered 1 to n without a
 * gap, and compared with what a database says that it has seen. Knows no
 * database itself.
 */
#ifndef FOLENI_TOOLS_MIGRATIONS_H
#define FOLENI_TOOLS_MIGRATIONS_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

#include "common/base.h"
#include "common/err.h"

#define MIGRATIONS_MAX 9999
#define MIGRATION_BYTES_MAX ((size_t)1 << 20)
#define MIGRATION_NAME_SIZE 64
#define MIGRATION_SUM_SIZE 65

struct migration {
    int number;                        /* 1 is the first                  */
    char name[MIGRATION_NAME_SIZE];    /* "payments"                      */
    char checksum[MIGRATION_SUM_SIZE]; /* SHA-256 of the file in hex   */
    char *sql;
    bool applied;        /* the database has it                        */
    bool now;            /* ... since this run                         */
    char applied_at[40]; /* as the database says it, "" = not yet      */
};

struct migrations {
    struct migration *items; /* items[i].number == i + 1 */
    size_t n;
};

/** The directory: @p wanted (--dir), else that of the source tree in which this
 *  program was built, else as installed. */
void migrations_find(const char *wanted, char out[PATH_MAX]);

/**
 * Reads all of @p directory.
 *
 * @return ERR_NOT_FOUND without the directory, ERR_INPUT for a file that is
 *         called otherwise, a gap, or one that is no text.
 */
MUST_CHECK enum err_code migrations_read(const char *directory,
                                         struct migrations **ret,
                                         struct err *err);
void migrations_free(struct migrations *m);
DEFINE_CLEANUP(migrations_free, struct migrations *)

/** A row of the database's own table. */
struct migration_record {
    int number;
    const char *name, *checksum, *applied_at;
};

/**
 * Marks the migration of @p record as applied. Records come by number.
 *
 * @return ERR_CONFLICT when the file is missing, was changed, or an earlier
 *         one was never applied.
 */
MUST_CHECK enum err_code
migrations_record(struct migrations *m, const struct migration_record *record,
                  struct err *err);

#endif
