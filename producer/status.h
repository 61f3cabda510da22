/*
 * What is known of payments without asking the database: an index (id, client,
 * fingerprint) that remembers long, and documents that are kept for a shorter
 * time. Both are fed by the topics (requests and status events) and have bounds
 * of their own; the oldest leave first. Long polls wait here.
 *
 * Pure memory: no I/O, only the loop's time.
 */
#ifndef FOLENI_PRODUCER_STATUS_H
#define FOLENI_PRODUCER_STATUS_H

#include "common/config.h"
#include "common/loop.h"
#include "common/payment.h"

#include <stdbool.h>

struct status;

struct status *status_new(struct loop *loop, const struct config *cfg);
void status_free(struct status *s);

/** One payment as it is known. Borrowed until the next call. */
struct status_entry {
    struct uuid client;
    uint8_t fingerprint[FINGERPRINT_SIZE];
    int version; /* 0 = queued, not claimed as far as is known     */
    bool final;
    const char *document; /* NULL = not kept any more: the database has it  */
    size_t len;
};

/** What is known of @p id; false when nothing is. Counts hits and misses. */
bool status_find(struct status *s, const struct uuid *id,
                 struct status_entry *ret);

/**
 * Takes news of a payment: kept unless a newer version is known already. Wakes
 * the long polls of @p id when it is final. The document is copied.
 */
void status_put(struct status *s, const struct uuid *id,
                const struct status_entry *news);

/** Forgets every document and every entry without a long poll. */
void status_clear(struct status *s);

/** Ends every long poll now: the program stops. */
void status_wake(struct status *s);

/** Runs once, on the loop: final (or nothing more was said in time). */
typedef void (*status_woken_fn)(void *arg);

/** Part of whoever waits. */
struct status_wait {
    struct list node;
    struct loop_timer timer;
    struct status *status;
    status_woken_fn fn;
    void *arg;
};

/** Waits for @p id, which is known, to be final, at most @p us. */
void status_wait(struct status *s, const struct uuid *id,
                 struct status_wait *wait, int64_t us, status_woken_fn fn,
                 void *arg);

/** Stops waiting; fn does not run. */
void status_unwait(struct status_wait *wait);

#endif
