/*
 * Between the files of the room: one page as bytes and as records, and the
 * statements.
 */
#ifndef FOLENI_CONSUMER_PULL_PRIV_H
#define FOLENI_CONSUMER_PULL_PRIV_H

#include "common/buf.h"
#include "common/pg.h"
#include "consumer/pull.h"

/* --- pull_page.c, pure --- */

#define PULL_PHONE_MAX 64
#define PULL_REFERENCE_MAX 64
#define PULL_BODY_MAX 1024  /* of one record, as it is kept */
#define PULL_ROWS_MAX 10000 /* records of one page          */

/** What is asked for. */
struct pull_range {
    int64_t shortcode;
    int64_t from, until; /* both included, by the second */
};

struct pull_row {
    char receipt[RECEIPT_MAX + 1];
    char phone[PULL_PHONE_MAX + 1];
    char reference[PULL_REFERENCE_MAX + 1];
    int64_t amount, paid_at;
    struct buf body;
};

struct pull_answer {
    int status;
    const char *body;
    size_t len;
};

struct pull_page {
    enum pull_page_kind {
        PULL_ROWS,  /* one record or more                              */
        PULL_END,   /* none: the pass has them all                     */
        PULL_TOKEN, /* the token was refused                           */
        PULL_LATER, /* an error: no information                        */
        PULL_LIE    /* what came cannot be so                          */
    } kind;
    const char *why; /* LATER, LIE                                     */
    struct pull_row *rows;
    size_t n;
};

/** The body that asks for records from @p offset on. */
void pull_page_ask(struct buf *out, const struct pull_range *range,
                   int64_t offset);

/** Reads an answer; pull_page_done() frees what it holds. */
void pull_page_read(const struct pull_answer *answer,
                    const struct pull_range *range, struct pull_page *ret);
void pull_page_done(struct pull_page *page);

/* --- pull_sql.c --- */

enum pull_statement {
    PULL_SQL_BEGIN,
    PULL_SQL_LEASE,
    PULL_SQL_RENEW,
    PULL_SQL_FAIL,
    PULL_SQL_COMPLETE,
    PULL_SQL_PURGE,
    PULL_SQL_SILENT,
    PULL_SQL_N
};

extern const struct pg_statement pull_statements[PULL_SQL_N];
extern const char *const pull_session[];

#endif
