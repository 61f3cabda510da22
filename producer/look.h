/*
 * The ledger, read: one payment by its id, for what index and cache do not
 * know. Never on the way of accepting a payment.
 */
#ifndef FOLENI_PRODUCER_LOOK_H
#define FOLENI_PRODUCER_LOOK_H

#include "common/config.h"
#include "common/loop.h"
#include "common/payment.h"

#include <stdbool.h>

struct look;

struct look *look_new(struct loop *loop, const struct config *cfg);
void look_free(struct look *l);

/** @p p NULL and @p err NULL: no such payment. */
typedef void (*look_done_fn)(void *arg, const struct payment *p,
                             const struct err *err);

/** Reads the payment; done runs once, not inside this call. */
void look_payment(struct look *l, const struct uuid *id, look_done_fn done,
                  void *arg);

/** @p err NULL: whether an open attempt uses it. */
typedef void (*look_key_fn)(void *arg, bool used, const struct err *err);

/** Asks for a key of callback paths by its number; as look_payment(). */
void look_key(struct look *l, int64_t id, look_key_fn done, void *arg);

/** @p attempts that are open name @p key, which is not in the settings; 0 = no
 *  key is missing. */
typedef void (*look_keys_fn)(void *arg, int64_t key, int64_t attempts,
                             const struct err *err);

/** Asks for keys of callback paths that are neither @p first nor @p second; as
 *  look_payment(). */
void look_keys(struct look *l, int64_t first, int64_t second, look_keys_fn done,
               void *arg);

bool look_up(const struct look *l, char *note, size_t size);

/** Microseconds of the last answer, -1 = none yet. */
int64_t look_latency_us(const struct look *l);

#endif
