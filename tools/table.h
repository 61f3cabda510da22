/*
 * A query of texts as a table for people, or, with --json, as one document.
 */
#ifndef FOLENI_TOOLS_TABLE_H
#define FOLENI_TOOLS_TABLE_H

#include "common/config.h"
#include "common/err.h"
#include "tools/cli.h"

#define TABLE_COLUMNS_MAX 12

struct table {
    const char *name; /* in JSON                           */
    const char *none; /* what is said of no rows           */
    const char *sql;  /* columns of text, as named below   */
    struct {
        const char *name;
        int width;
    } columns[TABLE_COLUMNS_MAX];
};

/** Prints it. As pg_session_open() and pg_session_exec(). */
MUST_CHECK enum err_code table_show(const struct cli *cli,
                                    const struct config *cfg,
                                    const struct table *table, struct err *err);

#endif
