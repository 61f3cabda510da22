/*
 * Between the files of `foleni resolve`: the payment as it was read, and what
 * stands against a decision about it.
 */
#ifndef FOLENI_TOOLS_RESOLVE_H
#define FOLENI_TOOLS_RESOLVE_H

#include <stdlib.h>
#include <string.h>

#include "common/config.h"
#include "common/payment.h"
#include "common/pg.h"
#include "tools/cli.h"
#include "tools/operator.h"

#define NUMBER_SIZE 24

/* Numbers stand in notices.decision, as enum resolution of consumer/flow.h. */
enum decision { PAID = 0, NOT_PAID = 1, AGAIN = 2 };
/* Columns of the payment's row. */
enum {
    P_STATE,
    P_VERSION,
    P_ATTEMPT,
    P_SPENT,
    P_MSISDN,
    P_AMOUNT,
    P_SHORTCODE,
    P_REFERENCE,
    P_EVIDENCE,
    P_CODE,
    P_TEXT,
    P_RECEIPT,
    P_PUSHED,
    P_DEADLINE,
    P_LATE,
    P_OWNER,
    P_HOST,
    P_BOOT,
    P_RECORDER,
    P_DEAD,
    P_SETTLED
};

struct run {
    const struct cli *cli;
    const struct config *cfg;
    struct pg_session *session;
    struct pg_text_rows *payment; /* one row */
    struct operator op;
    enum decision decision;
    const char *id; /* as it was given */
    char notice[NUMBER_SIZE];
    int64_t audit;
    int state; /* of the payment, at the end */
};

static inline const char *column(const struct run *run, size_t col)
{
    return pg_text_value(run->payment, 0, col);
}

static inline bool yes(const struct run *run, size_t col)
{
    return !strcmp(column(run, col), "t");
}

static inline const char *state_of(const char *number)
{
    return payment_state_name((enum payment_state)strtol(number, NULL, 10));
}

static inline bool forced(const struct run *run)
{
    return cli_has(run->cli, CLI_FORCE);
}

/**
 * Whether the decision may be written at all, rule S11 among others. ERR_DENIED
 * says why not and what can be done.
 */
MUST_CHECK enum err_code resolve_check(const struct run *run, struct err *err);

#endif
