/*
 * What commands share that change something: who does it and why, the question
 * before it is done, and the row in the audit trail.
 *
 * Such a command has `.options = CLI_OPERATOR | ...` in commands.c and goes:
 * operator_read(), look at what is there, operator_confirm(), BEGIN, change,
 * operator_audit(), COMMIT.
 */
#ifndef FOLENI_TOOLS_OPERATOR_H
#define FOLENI_TOOLS_OPERATOR_H

#include <stdint.h>

#include "common/base.h"
#include "common/err.h"
#include "common/pg.h"
#include "tools/cli.h"

#define OPERATOR_WHO_MAX 128 /* characters, as in operator_actions */
#define OPERATOR_WHY_MAX 1024

struct operator
{
    char who[4 * OPERATOR_WHO_MAX + 1]; /* --who, else the login's name */
    const char *why;                    /* --why, borrowed from argv    */
    bool yes;                           /* --yes                        */
};

/**
 * Reads --who, --why and --yes. ERR_USAGE: --why is missing or says nothing,
 * one of them is too long or no UTF-8, or nobody knows who this is.
 */
MUST_CHECK enum err_code operator_read(const struct cli *cli,
                                       struct operator* ret, struct err *err);

/**
 * Says on standard error what is about to be done, `fmt` being a phrase such as
 * "enter 12 records of payments.requests.high as unknown", and asks for "yes".
 * With --yes it only says it.
 *
 * ERR_USAGE: standard input is no terminal and --yes is missing. ERR_DENIED:
 * the answer was another one. Nothing may have been changed before.
 */
MUST_CHECK enum err_code operator_confirm(const struct operator* op,
                                          struct err *err, const char *fmt, ...)
    PRINTF_LIKE(3, 4);

/** What was done, for the trail. */
struct operator_action {
    const char *action;         /* "resolve", [a-z][a-z0-9_.]*, 64 at most   */
    const char *subject;        /* what it was done to, as people name it    */
    const char *before, *after; /* JSON, each NULL where there is none      */
};

/**
 * Appends to the audit trail within @p s's transaction (begin it before; other
 * people's commands wait until it ends, so call it last).
 *
 * @param ret  NULL, or gets the row's id.
 * @return     As pg_session_exec(); the transaction is then spoilt.
 */
MUST_CHECK enum err_code operator_audit(struct pg_session *s,
                                        const struct operator* op,
                                        const struct operator_action *done,
                                        int64_t *ret, struct err *err);

#endif
