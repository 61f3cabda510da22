/*
 * How the simulated provider behaves: the knobs of profile.def and the
 * probabilities of fates, answers and callbacks. Read from JSON without
 * mercy: a misspelt knob in a test is a test of nothing.
 */
#ifndef FOLENI_TESTS_DARAJA_PROFILE_H
#define FOLENI_TESTS_DARAJA_PROFILE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base.h"
#include "common/err.h"
#include "tests/daraja/chance.h"
#include "tests/daraja/plan.h"

struct buf;
struct json;

enum preset { PRESET_CALM, PRESET_DARAJA, PRESET_SANDBOX };

struct profile {
#define WHOLE(name, field, ...) int64_t field;
#define FLAG(name, field, ...) bool field;
#define SHARE(name, field, ...) int64_t field;
#define WORD(name, field, ...) int64_t field;
#define SPREAD(name, field, ...) struct spread field;
#include "tests/daraja/profile.def"
#undef WHOLE
#undef FLAG
#undef SHARE
#undef WORD
#undef SPREAD
    int64_t fate_ppm[FATES_N];
    int64_t answer_ppm[ANSWERS_N];
    int64_t callback_ppm[CALLBACKS_N];
    int64_t c2b_ppm[C2BS_N];
};

enum {
    MSISDN_VERSION,
    MSISDN_PLAIN,
    MSISDN_HASH,
    MSISDN_MASKED,
    MSISDN_STARRED
};
enum { PENDING_4999, PENDING_PROCESSING, PENDING_EMPTY, PENDING_MIXED };

void profile_preset(struct profile *p, enum preset preset);

/**
 * Changes the members that @p doc names. "preset" ("calm", "daraja",
 * "sandbox") is applied before the others; "fate", "answer", "callback" and
 * "c2b" replace the whole set of probabilities of their kind. "seed" is left to
 * the caller.
 *
 * @return ERR_INPUT with the member in the text; @p p is then untouched.
 */
MUST_CHECK enum err_code profile_read(struct profile *p, const struct json *doc,
                                      struct err *err);

/** Writes the whole profile as profile_read() reads it. */
void profile_write(const struct profile *p, struct buf *out);

#endif
