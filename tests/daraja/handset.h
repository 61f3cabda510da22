/*
 * The phones: which one has an open prompt, which amounts it was lately asked
 * for, and the script that a test wrote for it.
 */
#ifndef FOLENI_TESTS_DARAJA_HANDSET_H
#define FOLENI_TESTS_DARAJA_HANDSET_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base.h"
#include "tests/daraja/plan.h"

#define SCRIPT_STEPS_MAX 64

struct handset;
struct handsets;

struct handsets *handsets_new(void);
void handsets_free(struct handsets *hs);

/** Forgets every phone and script. */
void handsets_reset(struct handsets *hs);

/** The phone of @p msisdn, made when it is new. Borrowed for the turn. */
struct handset *handset_get(struct handsets *hs, int64_t msisdn,
                            int64_t now_us);

/** Replaces the script; @p n <= SCRIPT_STEPS_MAX, 0 = none. */
void handset_script(struct handset *h, const struct step *steps, size_t n,
                    bool repeat);

/** Takes the script's next step; false when there is none. */
bool handset_step(struct handset *h, struct step *ret);

bool handset_locked(const struct handset *h);
void handset_lock(struct handset *h);
void handset_unlock(struct handset *h);

/**
 * Notes a PIN that was wrong (or right, which begins anew); true when it is
 * the @p tries-th in a row. 0 = never.
 */
bool handset_pin(struct handset *h, bool wrong, int64_t tries);

/** Notes an accepted push; true when an equal one is younger than window. */
bool handset_ask(struct handset *h, int64_t shortcode, int64_t amount,
                 int64_t now_us, int64_t window_us);

#endif
