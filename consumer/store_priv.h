/*
 * What the files of the store share: the statements by name, and operations,
 * one per call of the face, that live until their unit has ended.
 */
#ifndef FOLENI_CONSUMER_STORE_PRIV_H
#define FOLENI_CONSUMER_STORE_PRIV_H

#include "common/list.h"
#include "consumer/store.h"

enum store_statement {
    STORE_NOW,
    STORE_LAZY,
    STORE_CLAIM,
    STORE_GO,
    STORE_WAIT,
    STORE_INTAKE,
    STORE_LOOK,
    STORE_HOLDERS,
    STORE_STEP,
    STORE_ALARM,
    STORE_ALARM_ALONE,
    STORE_CALM,
    STORE_TAKE,
    STORE_STILL,
    STORE_WAKE,
    STORE_UNPARK,
    STORE_TOLD,
    STORE_DUE,
    STORE_LANES,
    STORE_READY,
    STORE_PARKED,
    STORE_UNDUE,
    STORE_CANCELS,
    STORE_UNCANCEL,
    STORE_LEDGER,
    STORE_POSITIONS,
    STORE_STRAY,
    STORE_KEY_USED,
    STORE_KEYS_MISSING,
    STORE_STRAYS,
    STORE_CLOCK_WORD,
    STORE_STEADY,
    STORE_NEAR_ROWS,
    STORE_NEAR_BEATS,
    STORE_STATEMENTS_N
};

extern const struct pg_statement store_statements[STORE_STATEMENTS_N];

struct store {
    struct pg *pg;
    const struct config *cfg;
    struct flow_policy policy;
    int64_t owner;                  /* this incarnation, 0 = not known yet */
    int64_t (*expected)(void *arg); /* what the database's clock should say */
    void *expected_arg;
    struct list ops; /* that have not ended                 */
};

/** First member of every operation. */
struct store_op {
    struct list node;
    struct store *store;
};

/** A zeroed operation of @p size bytes, in the store's list. */
void *store_op_new(struct store *store, size_t size);
void store_op_free(struct store_op *op);

/** An array parameter of @p n elements, the i-th put by @p put. */
#define STORE_PUT(p, type, n, put)       \
    do {                                 \
        pg_array((p), (type), (n));      \
        for (size_t i = 0; i < (n); i++) \
            put;                         \
    } while (0)

/**
 * The row of @p r whose first column is @p id, looked for from @p at on and
 * round: cheap when ids are asked for in the order of the rows.
 *
 * @return Whether it is there; @p at is its row then.
 */
bool store_find(const struct pg_result *r, const struct uuid *id, size_t *at);

/** Adds `SELECT now()` to the open unit: its first statement, always. */
void store_send_now(struct store *store);

/** The same for what is decided by that clock: when it is not as expected the
 *  unit fails with ERR_UNAVAILABLE, whole. */
void store_send_steady(struct store *store);

/** The same for a claim, which gets its transaction's number before its other
 *  statements look: then whoever waits for all numbers that are given out has
 *  waited for every claim that cannot have seen what was there (S21). */
void store_send_claim(struct store *store);

/** Spares the open unit the wait for the disk and the standby: for what is done
 *  again without harm after a crash. */
void store_send_lazy(struct store *store);

/** What store_send_now() said. */
int64_t store_now_at(struct pg_result *const *results);

/**
 * How long a push claimed at @p claimed_at is still allowed, 0 = not at all.
 * The answer's own way is taken off.
 */
int64_t store_lease_us(const struct store *store, const struct payment *p,
                       int64_t claimed_at, int64_t now_at);

/** Adds the alarms of steps to the open unit, which writes those steps. */
void store_send_alarms(struct store *store, struct step_row *const *rows,
                       size_t n);

/** Reads PAYMENT_COLUMNS of all rows; the caller frees. NULL for none. */
struct payment *store_read_rows(const struct pg_result *r);

#endif
