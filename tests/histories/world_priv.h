/*
 * Between the files of the world: dice, and how an event is told to the flow.
 */
#ifndef FOLENI_TESTS_HISTORIES_WORLD_PRIV_H
#define FOLENI_TESTS_HISTORIES_WORLD_PRIV_H

#include "common/clock.h"
#include "tests/histories/world.h"

#define T0 (INT64_C(1800000000) * US_PER_S)
#define AMOUNT 100
#define FOREIGN_RECEIPT "FOREIGN0ZZ"
#define CANCELLED 2 /* of world_codes */

/** One of @p n, from what is left of a move's dice. */
uint32_t die(uint32_t *dice, uint32_t n);
bool once_in(uint32_t *dice, uint32_t n);

/** An attempt that was made, mostly the last one; 0 = none was. */
int any_attempt(const struct world *w, uint32_t *dice);

/** A blank event, good until the next one. */
struct flow_event *world_event(struct world *w, enum flow_event_kind kind,
                               int attempt, uint32_t dice);

/** On what the teller has seen of the row (@p on_view): written only where the
 *  version is still that one, else decided anew. What is of a moment is dropped
 *  then. */
void tell(struct world *w, struct flow_event *e, bool on_view);
void tell_sometimes_stale(struct world *w, struct flow_event *e);

/** The end of @p attempt as its worker has noted it. */
void tell_end(struct world *w, int attempt, uint32_t dice);

void set_checkout_id(struct verdict *v, int attempt);

/** What a query about @p attempt, if one is on its way, is told. */
bool answer_query(struct world *w, int attempt, uint32_t dice);

/* The moves. */
#define MOVE(id, play, weight, words) bool play(struct world *w, uint32_t dice);
#include "tests/histories/moves.def"
#undef MOVE

#endif
