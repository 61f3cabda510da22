/*
 * The checks of `foleni doctor`, as tables: a name and a function that looks
 * and says one line. Each is bounded in time, changes nothing, and needs no
 * other; what several need (the database's session, the cluster) is opened
 * once.
 */
#ifndef FOLENI_TOOLS_DOCTOR_H
#define FOLENI_TOOLS_DOCTOR_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base.h"
#include "common/config.h"
#include "common/kafka.h"
#include "common/pg.h"

enum doctor_grade { DOCTOR_OK, DOCTOR_WARN, DOCTOR_FAIL };

/** What a check says. */
struct doctor_line {
    enum doctor_grade grade;
    char found[400];
    char todo[300]; /* "" = nothing */
};

struct doctor {
    const struct config *cfg;
    const char *migrations; /* --dir, or NULL                     */
    struct pg_session *pg;  /* NULL = away, pg_err says why       */
    struct err pg_err;
    struct kafka_cluster cluster; /* kafka_err.code: away               */
    struct err kafka_err;
};

/** What a check cannot do without; when it is away, the line says so. */
enum doctor_need { NEEDS_NOTHING, NEEDS_POSTGRES, NEEDS_KAFKA };

struct doctor_check {
    const char *name;
    enum doctor_need need;
    void (*run)(struct doctor *d, struct doctor_line *ret);
};

/** The tables: always, and with --production. */
extern const struct doctor_check doctor_kafka[], doctor_ledger[], doctor_host[],
    doctor_production[];
extern const size_t doctor_kafka_n, doctor_ledger_n, doctor_host_n,
    doctor_production_n;

/** Sets the line's grade to @p grade, unless it is worse already, and then what
 *  was found and what to do. A line that nothing was said of is ok and "". */
void doctor_say(struct doctor_line *line, enum doctor_grade grade,
                const char *todo, const char *fmt, ...) PRINTF_LIKE(4, 5);

/** Runs a statement. false: the line says why there is no answer; else *ret is
 *  the caller's. */
bool doctor_ask(struct doctor *d, struct doctor_line *line, const char *sql,
                const char *const *params, size_t params_n,
                struct pg_text_rows **ret);

/** A number of an answer; 0 for null. */
long long doctor_number(const struct pg_text_rows *rows, size_t row,
                        size_t col);

/** A text of an answer; "" for null. */
const char *doctor_text(const struct pg_text_rows *rows, size_t row,
                        size_t col);

#endif
