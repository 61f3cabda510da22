/*
 * The ledger, read: one payment by its id, for what index and cache do not
 * know. The one thing written is that a client wants a payment cancelled. Never
 * on the way of accepting a payment.
 */
#ifndef FOLENI_PRODUCER_LOOK_H
#define FOLENI_PRODUCER_LOOK_H

#include "common/config.h"
#include "common/loop.h"
#include "common/payment.h"
#include "producer/find.h"

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

/** Rows in the order of lists; whether there are more behind them. */
typedef void (*look_rows_fn)(void *arg, const struct payment *rows, size_t n,
                             bool more, const struct err *err);

/** Finds payments of @p client, whose ever the others are. */
void look_payments(struct look *l, const struct uuid *client,
                   const struct find *find, look_rows_fn done, void *arg);

/** The announced versions of a payment, oldest first, each as it was then; at
 *  most api.list_max. @p known: it is in the ledger, and the client's. */
typedef void (*look_events_fn)(void *arg, bool known,
                               const struct payment *versions, size_t n,
                               bool more, const struct err *err);

/** Reads those behind version @p after. */
void look_events(struct look *l, const struct uuid *id,
                 const struct uuid *client, int after, look_events_fn done,
                 void *arg);

/** @p err NULL: whether it was noted, or there are too many; ERR_UNSURE: it may
 *  be noted. */
typedef void (*look_asked_fn)(void *arg, bool noted, const struct err *err);

/** Notes that @p client wants payment @p id cancelled, whether or not that is
 *  known; @p text says who. At most @p most of its payments that are not. */
void look_ask_cancel(struct look *l, const struct uuid *id,
                     const struct uuid *client, const char *text, int64_t most,
                     look_asked_fn done, void *arg);

/** What the ledger says of a cancel that was noted. */
struct look_cancel {
    const struct payment *payment; /* NULL = it was not claimed yet          */
    bool open;      /* nobody has seen to it yet                              */
    int64_t now_tx; /* the first transaction that had not begun               */
    bool sure;      /* every one before the tx that was asked for has ended   */
};

typedef void (*look_cancel_fn)(void *arg, const struct look_cancel *c,
                               const struct err *err);

/**
 * Looks what became of it. A claim of the moment in which it was noted may not
 * have seen it: with @p tx, the now_tx of a look after that moment, or 0 for
 * this look's own, `sure` says that all such claims have ended, and then
 * `payment` has what they wrote.
 */
void look_cancel(struct look *l, const struct uuid *id,
                 const struct uuid *client, int64_t tx, look_cancel_fn done,
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
