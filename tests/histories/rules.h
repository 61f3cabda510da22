/*
 * What must hold whatever happens: the invariants, as far as they speak of one
 * payment. They are written from the promise, not from the flow, and share no
 * table with it.
 */
#ifndef FOLENI_TESTS_HISTORIES_RULES_H
#define FOLENI_TESTS_HISTORIES_RULES_H

#include "tests/histories/world.h"

/** Of one decision: @p was → @p out, as the flow gave it. */
void rules_step(struct world *w, const struct payment *was,
                const struct flow_event *e, const struct flow_out *out);

/** Of what was written against what is true, just after it. */
void rules_truth(struct world *w, const struct payment *was,
                 const struct flow_event *e, const struct flow_out *out);

/** The same evidence once more has to be nothing new. */
void rules_once(struct world *w, const struct flow_event *e);

/** When everything had its time. */
void rules_end(struct world *w);

/** The settings; attempts_max differs from world to world. */
extern struct flow_policy rules_policy;

/** The first broken rule is kept. */
static inline void rule(struct world *w, bool holds, const char *name)
{
    if (!holds && !w->fault)
        w->fault = name;
}

#endif
