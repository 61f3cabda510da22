/*
 * Between the walk over the letters and what the ledger says of them.
 */
#ifndef FOLENI_TOOLS_LETTERS_PRIV_H
#define FOLENI_TOOLS_LETTERS_PRIV_H

#include "tools/letters.h"

/** Which request topic @p name is; false = none. */
bool letter_topic(const struct config *cfg, const char *name, enum topic *ret);

/** Asks the ledger about all that are READY, some thousand at a time. */
MUST_CHECK enum err_code letters_judge(struct pg_session *session,
                                       struct letters *letters,
                                       const struct config *cfg,
                                       struct err *err);

#endif
