/*
 * Who may do what in the database. Four group roles, without a login:
 *
 *   foleni_worker    reads all, writes the ledger, appends to the trail
 *   foleni_operator  the same for commands, but makes no anchors
 *   foleni_reader    reads all: `foleni doctor`
 *   foleni_api       reads all, and notes cancels: foleni-api
 *
 * Nobody of them may change or remove what stands in the trail (timeline,
 * operator_actions, anchors), remove a payment, or touch the table of
 * migrations. The owner of the tables, who runs `foleni migrate`, may; so no
 * program should log in as the owner.
 */
#ifndef FOLENI_TOOLS_ROLES_H
#define FOLENI_TOOLS_ROLES_H

#include <stdbool.h>

#include "common/base.h"
#include "common/err.h"
#include "common/pg.h"

/** What whoever may create roles has to run where we may not. */
#define ROLES_CREATE                                      \
    "CREATE ROLE foleni_worker NOLOGIN; CREATE ROLE "     \
    "foleni_operator NOLOGIN; CREATE ROLE foleni_reader " \
    "NOLOGIN; CREATE ROLE foleni_api NOLOGIN"

/**
 * Creates the roles that are missing (they belong to the whole server) and
 * gives them their rights on the tables of the current schema, no more and no
 * less, in one transaction.
 *
 * @param granted  False when a role is missing and @p s may not create roles:
 *                 nothing was changed then, which is no error.
 */
MUST_CHECK enum err_code roles_grant(struct pg_session *s, bool *granted,
                                     struct err *err);

#endif
