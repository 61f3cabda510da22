/*
 * Words out: status events and dead letters, over one producer. An event counts
 * as told after its delivery report; the driver then has it written. What is
 * not told by a crash is owed: the due-scan finds it.
 */
#ifndef FOLENI_CONSUMER_TELL_H
#define FOLENI_CONSUMER_TELL_H

#include <stdbool.h>
#include <stdint.h>

#include "common/app.h"
#include "common/config.h"
#include "common/kafka.h"
#include "common/payment.h"

struct tell;

/** Runs once per event or letter, on the loop. */
typedef void (*tell_done_fn)(void *arg, const struct uuid *payment, int version,
                             const struct err *err);

MUST_CHECK enum err_code tell_new(struct loop *loop, const struct config *cfg,
                                  struct tell **ret, struct err *err);
void tell_free(struct tell *tell, int64_t wait_ms);

/**
 * Announces the present version of @p p. When the queue is full nothing is
 * sent and done does not run: the event stays owed.
 */
void tell_status(struct tell *tell, const struct payment *p, tell_done_fn done,
                 void *arg);

/** Why a letter is dead: the flat headers of payments.dead. */
struct letter {
    const struct uuid *payment; /* NULL = none could be made              */
    int attempts;
    const char *stage; /* "intake", "claim", "flow"                       */
    const char *error_class, *error_code, *error_message;
    int64_t first_failure_at, last_failure_at;
    int64_t replay_count;
    int64_t replay; /* the task that brought it back last, 0 = none       */
};

/**
 * Writes @p record byte for byte, with its headers and the letter's; when that
 * is too large, the letter's alone and foleni-left-out, the value's bytes.
 *
 * @return ERR_LIMIT when the queue is full: try again later.
 */
MUST_CHECK enum err_code tell_dead(struct tell *tell,
                                   const struct kafka_record *record,
                                   const struct letter *letter,
                                   kafka_done_fn done, void *arg,
                                   struct err *err);

/** Events and letters without their report. */
size_t tell_queued(const struct tell *tell);

bool tell_up(const struct tell *tell, char *note, size_t size);

#endif
