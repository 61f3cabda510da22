/*
 * The flight recorder: a small memory-mapped file per incarnation in which a
 * worker marks an attempt just before its first byte goes out, and notes the
 * answer before it is stored (rules S8, S9). The page cache survives kill -9,
 * so the file of a dead worker shows which of its attempts never began; it does
 * not survive a boot and says nothing then.
 *
 * The file is allocated whole at start and locked (flock) as long as its
 * process lives. Slots are 256 bytes, written by one thread.
 */
#ifndef FOLENI_CONSUMER_RECORDER_H
#define FOLENI_CONSUMER_RECORDER_H

#include <stdbool.h>
#include <stdint.h>

#include "common/err.h"
#include "common/id.h"
#include "common/payment.h"

struct recorder;

/** Slots beside those that may be in use (1 MiB): so many pushes of before are
 *  remembered. */
#define RECORDER_MEMORY 4096

/** Makes and locks a file with @p slots in @p directory (made when missing). */
MUST_CHECK enum err_code recorder_open(const char *directory, size_t slots,
                                       struct recorder **ret, struct err *err);

/** Unlocks; removes the file when @p remove (nothing of it is open). */
void recorder_close(struct recorder *r, bool remove);

const char *recorder_path(const struct recorder *r);

/** Where the request of a payment stands in Kafka. */
struct recorder_source {
    int topic; /* enum topic, as in the row */
    int32_t partition;
    int64_t offset;
};

/** Marks @p attempt of @p payment as begun; -1 = no free slot: do not push. */
int recorder_begin(struct recorder *r, const struct uuid *payment, int attempt,
                   const struct recorder_source *source);

/** Notes a complete answer in @p slot, before it is stored. */
void recorder_answer(struct recorder *r, int slot, const char *verdict,
                     const char *checkout_id, const char *merchant_id,
                     const char *code);

/** The outcome is stored: the slot is free again. Its mark stays until all the
 *  other free slots were used. */
void recorder_free_slot(struct recorder *r, int slot);

/** Slots in use. */
size_t recorder_used(const struct recorder *r);

/* --- reading a dead worker's file --- */

struct recorder_reading;

enum recorder_state {
    RECORDER_ALIVE, /* its process lives: says nothing                     */
    RECORDER_GONE,  /* no such file, another boot, torn: says nothing      */
    RECORDER_DEAD   /* its process is dead: what is not marked never began */
};

/** Reads @p path; RECORDER_DEAD fills @p ret (recorder_reading_free()). */
enum recorder_state recorder_read(const char *path,
                                  struct recorder_reading **ret);
void recorder_reading_free(struct recorder_reading *r);

struct recorder_mark {
    bool begun, answered;
    char verdict[24]; /* verdict_name(); "" as all texts unless answered */
    char checkout_id[CHECKOUT_ID_MAX + 1], merchant_id[CHECKOUT_ID_MAX + 1];
    char code[RESULT_CODE_MAX + 1];
};

/** What the file says of an attempt; not begun when it holds no mark. */
struct recorder_mark recorder_find(const struct recorder_reading *r,
                                   const struct uuid *payment, int attempt);

/* --- reading everybody's marks of what began --- */

/** An attempt that began: positive evidence, whoever shows it, living or dead.
 *  That one is not among them says nothing. */
struct recorder_begun {
    struct uuid payment;
    int attempt;
    struct recorder_source source;
    struct recorder_mark mark;
};

/**
 * Calls @p found for each attempt that a file of this boot in @p directory
 * shows as begun, also those of the living. A mark is kept until its slot is
 * used again, so it holds the last pushes of each process.
 */
void recorder_each_begun(const char *directory,
                         void (*found)(void *arg,
                                       const struct recorder_begun *begun),
                         void *arg);

/** Removes the file of a dead worker: all its rows are settled. A living one
 *  keeps its file, whatever a registration under its path made of it. Returns
 *  whether it was removed now. */
bool recorder_remove(const char *path);

/* --- what the dead have left --- */

enum recorder_kind {
    RECORDER_WHOLE,  /* of this boot: recorder_each_begun() shows its marks */
    RECORDER_SILENT, /* of another boot, or its process died while making it:
                        nobody reads anything from it, ever                 */
    RECORDER_TORN    /* what it held cannot be known                        */
};

/** Calls @p found for each file in @p directory that no process holds, in the
 *  order of their names. One that cannot be opened counts as torn. */
void recorder_each_dead(const char *directory,
                        void (*found)(void *arg, const char *path,
                                      enum recorder_kind kind),
                        void *arg);

#endif
