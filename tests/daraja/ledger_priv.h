/*
 * Counting, shared by the ledger's writer and its reader.
 */
#ifndef FOLENI_TESTS_DARAJA_LEDGER_PRIV_H
#define FOLENI_TESTS_DARAJA_LEDGER_PRIV_H

#include "tests/daraja/ledger.h"

void ledger_count_push(struct ledger *l, const struct order *o);
void ledger_count_accept(struct ledger *l, const struct order *o);
void ledger_count_debit(struct ledger *l, const struct order *o);
void ledger_count_notice(struct ledger *l, bool lost, int status);
void ledger_count_callback(struct ledger *l, bool lost, int status);

/** Begins the counts anew; the reset's line stands at @p since. */
void ledger_forget(struct ledger *l, uint64_t since);

#endif
