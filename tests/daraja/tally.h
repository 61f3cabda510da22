/*
 * Counts per key: how many pushes were received, how many accepted, how many
 * debited. Keys are 64-bit hashes; of a million keys two fall together with a
 * chance of 1 in 30 million, which would show as a double that the journal
 * does not confirm, never hide one.
 */
#ifndef FOLENI_TESTS_DARAJA_TALLY_H
#define FOLENI_TESTS_DARAJA_TALLY_H

#include <stddef.h>
#include <stdint.h>

enum tally_kind { TALLY_PUSHES, TALLY_ACCEPTED, TALLY_DEBITS, TALLY_KINDS };

struct tally_row {
    uint64_t key; /* 0 = free */
    uint32_t n[TALLY_KINDS];
};

struct tally {
    struct tally_row *rows; /* open addressing, a power of two */
    size_t cap, used;
    uint32_t most[TALLY_KINDS];  /* the largest count of any key        */
    uint64_t twice[TALLY_KINDS]; /* keys whose count is two or more     */
};

void tally_init(struct tally *t);
void tally_done(struct tally *t);

/** Forgets everything. */
void tally_reset(struct tally *t);

/** Counts one more and returns the new count. Dies without memory. */
uint32_t tally_add(struct tally *t, uint64_t key, enum tally_kind kind);

/** The count so far. */
uint32_t tally_get(const struct tally *t, uint64_t key, enum tally_kind kind);

#endif
