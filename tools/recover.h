/*
 * Between the files of `foleni recover`: what each partition needs, as it was
 * looked at.
 */
#ifndef FOLENI_TOOLS_RECOVER_H
#define FOLENI_TOOLS_RECOVER_H

#include "common/buf.h"
#include "common/config.h"
#include "common/json.h"
#include "common/kafka.h"
#include "common/payment.h"
#include "common/pg.h"
#include "tools/cli.h"
#include "tools/operator.h"

/** Gaps of one partition that one run names; with more it goes no further than
 *  to the next one, and says so. */
#define GAPS_MAX 64
#define OFFSETS_SIZE 64

/** Offsets that hold no record: deleted, or never given to a reader. */
struct gap {
    int64_t first, last;
};

/** One partition that needs something. */
struct place {
    char topic[KAFKA_TOPIC_SIZE];
    enum topic kind;
    struct kafka_place at;
    int64_t intake;  /* 0 = no row                                      */
    int64_t from;    /* first record that is entered                    */
    int64_t till;    /* behind the last one, as Kafka's group remembers */
    int64_t to;      /* where intake has to be: behind a gap at `till`  */
    int64_t records; /* between from and till                           */
    int64_t gone;    /* offsets of all gaps                             */
    struct gap gaps[GAPS_MAX];
    size_t gaps_n;
    bool more; /* gaps than that: `till` and `to` end before the next */
    size_t entered, known, bad;
    bool done;
};

struct run {
    const struct cli *cli;
    const struct config *cfg;
    struct pg_session *session;
    struct operator who;
    struct place *places;
    size_t places_n;
    struct buf json; /* rows of one statement */
};

/**
 * Fills run->places: reads Kafka's groups, the ledger and the log, changes
 * nothing. A gap behind what Kafka's group has committed counts when a record
 * follows it: that is where a worker stops.
 *
 * ERR_UNAVAILABLE, ERR_TIMEOUT, ERR_NOT_FOUND: as of Kafka and Postgres; what
 * could not be read is never taken for a gap.
 */
MUST_CHECK enum err_code recover_look(struct run *run, struct err *err);

/** Column @p col of the first row of @p sql; 0 = no row, or NULL. */
MUST_CHECK enum err_code recover_number(struct run *run, const char *sql,
                                        const char *const *params, size_t n,
                                        size_t col, int64_t *ret,
                                        struct err *err);

/** Members of an object: what there is to do, with each gap. */
void recover_put_facts(struct json_out *j, const struct place *p);

/** "offset 5", "offsets 5 to 7". */
const char *recover_offsets(const struct gap *gap, char text[OFFSETS_SIZE]);

#endif
