/*
 * The ledger's statements: claim, look, step, told, due, orphans. Each is
 * batched, sent as one unit (one transaction, one round trip) and answered in
 * order on the loop. The store writes what the flow decided and says what the
 * database knew; it decides nothing itself but the claim's verdict, which only
 * the database can know.
 *
 * Rows are read by common/payment_row.h.
 *
 * Every statement may be sent again after an answer was lost: it acts on ids
 * and versions, never on "now it must be so".
 */
#ifndef FOLENI_CONSUMER_STORE_H
#define FOLENI_CONSUMER_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/config.h"
#include "common/kafka.h"
#include "common/payment.h"
#include "common/pg.h"
#include "consumer/flow.h"
#include "consumer/share.h"

struct store;

/**
 * @param on_state  Connected (true) or lost; nothing is sent while lost.
 *                  `statements` fail with ERR_UNAVAILABLE then.
 */
struct store *store_new(struct loop *loop, const struct config *cfg,
                        void (*on_state)(void *arg, bool up), void *arg);
void store_free(struct store *store);

bool store_up(const struct store *store, char *note, size_t size);
int64_t store_latency_us(const struct store *store);

/** Units that have not ended yet. */
size_t store_busy(const struct store *store);

/** What is decided by the database's clock fails with ERR_UNAVAILABLE when that
 *  is 5 s off @p now_at, which says what it should be; 0 = not known. */
void store_expect(struct store *store, int64_t (*now_at)(void *arg), void *arg);

/** From now on claims and retries are this incarnation's. */
void store_set_owner(struct store *store, int64_t incarnation);

/** From now on claimed attempts name this key of their callback's MAC. */
void store_set_mac_key(struct store *store, int mac_key);

/** @p err NULL: whether an open attempt uses the key. */
typedef void (*store_key_fn)(void *arg, bool used, const struct err *err);

/** Asks for a key of callback paths by its number. */
void store_key_used(struct store *store, int64_t id, store_key_fn done,
                    void *arg);

/**
 * Asks for open attempts whose key is neither of the settings'; each such key
 * has an open alarm then. @p key, @p attempts: that of most of them, 0 = none.
 */
void store_keys_missing(struct store *store,
                        void (*done)(void *arg, int64_t key, int64_t attempts,
                                     const struct err *err),
                        void *arg);

/* --- claim --- */

/** One record that is to become a payment. */
struct claim_row {
    struct request req;
    enum topic topic; /* HIGH, NORMAL, LOW */
    int32_t partition;
    int64_t offset;
    int64_t deadline_at; /* payment_deadline() */
    bool
        park; /* neither takes its phone nor goes: it waits for its shortcode */
    bool right; /* of its line, for the driver alone: not before send_us      */
    int64_t send_us;

    /* the answer: */
    enum claim_verdict verdict;
    struct payment payment; /* up to CANCELLED, and OWN: the row as it is */
    int64_t lease_us;       /* GO, OWN: how long its push is allowed       */
};

/**
 * @p err NULL: every row has its verdict and the positions are in `intake`.
 * ERR_UNSURE, ERR_UNAVAILABLE, ERR_CONFLICT: claim the same rows again, nothing
 * may be pushed. ERR_INPUT: one of the rows cannot be written; claim them one
 * by one to find it.
 */
typedef void (*store_claim_fn)(void *arg, const struct err *err);

/**
 * Claims @p rows (no id twice) and moves `intake` to @p positions (next
 * offsets; never backwards) with the last of them; both are borrowed until
 * done. What may go is committed first when there is other work, so `intake`
 * may lag behind the claim but never runs ahead of it.
 *
 * GO takes the phone: attempt 1 in `sending`, owned by this incarnation. WAIT:
 * phone held, or an equal amount to the same phone and shortcode within
 * payments.same_amount_gap_ms. PARK: its `park` says so. LATE: deadline_at
 * passed. CANCELLED: its client has asked for that. Rows are written in
 * the order of MSISDN, so that batches of several workers never deadlock.
 *
 * lease_us = min(deadline, worker.lease_ms) from the database's now().
 */
void store_claim(struct store *store, struct claim_row *rows, size_t n,
                 const struct kafka_position *positions, size_t positions_n,
                 store_claim_fn done, void *arg);

/* --- look --- */

/** Rows found, in no order; ids that are not known are missing. */
typedef void (*store_rows_fn)(void *arg, const struct payment *rows, size_t n,
                              int64_t db_now_at, const struct err *err);

/** Reads payments by id. */
void store_look(struct store *store, const struct uuid *ids, size_t n,
                store_rows_fn done, void *arg);

/** Who has a receipt; see store_holders(). */
struct holder_row {
    struct uuid payment; /* that is about to be given it              */
    const char *receipt; /* never ""; borrowed for the call           */
    enum evidence evidence;
    void *tag; /* the caller's, given back                            */
};

/** @p tag of a row, and the payment that has its receipt; NULL when that could
 *  not be found out. @p equal: on as good evidence, or it is about to get it.
 */
typedef void (*store_holder_fn)(void *tag, const struct uuid *holder,
                                bool equal);

/**
 * Finds for each row another payment that has its receipt on weaker evidence,
 * or, where there is none, on equal evidence (rule S15), and calls @p found for
 * those that have one. Units are answered in order: it has run when those that
 * are sent after it have their end.
 */
void store_holders(struct store *store, const struct holder_row *rows, size_t n,
                   store_holder_fn found);

/** Raises alarm @p kind of a payment, anew where it was seen to; some time
 *  soon: a crash may forget it. */
void store_alarm(struct store *store, const struct uuid *payment, int attempt,
                 const char *kind, const char *text);

/* --- step: the one mover --- */

/** One decision of the flow. */
struct step_row {
    const struct payment *seen; /* only id, version and state are used  */
    const struct payment *next; /* written whole, fenced on seen's version */
    enum flow_event_kind cause; /* for the timeline                     */
    bool takes_phone;           /* an attempt: waiting → sending        */
    bool wakes_phone;           /* the phone became free                */
    const bool *actions; /* alarms among them are written; NULL = none   */
    const char *receipt; /* that came with the event, for them           */

    /* the answer: */
    enum step_end {
        STEP_WRITTEN,
        STEP_STALE,      /* another version is there: look again        */
        STEP_PHONE_BUSY, /* takes_phone and the phone is held, or equal amount;
                            or FLOW_RECOVERED, and the phone is held        */
        STEP_REFUSED     /* the database does not take it, also alone   */
    } end;
    struct err why;   /* REFUSED                                        */
    int64_t lease_us; /* takes_phone and written                        */
};

/** @p err as for a claim; db_now_at as of the transaction. */
typedef void (*store_step_fn)(void *arg, int64_t db_now_at,
                              const struct err *err);

/**
 * Writes @p rows (no id twice; borrowed until done), appends the timeline where
 * the version changed, and wakes exactly one waiter (priority, then age) of
 * each phone that became free, in one transaction, which writes the alarms too
 * and closes that of a payment which is unresolved no more; those that take a
 * phone follow in a second one. A row that only moves next_action_at keeps its
 * version. What is refused as one batch is written row by row; a row that is
 * refused alone ends as STEP_REFUSED, or, where others were in its way, as
 * STEP_STALE, and is logged.
 */
void store_step(struct store *store, struct step_row *rows, size_t n,
                store_step_fn done, void *arg);

/* --- told --- */

struct told_row {
    struct uuid payment;
    int version;
};

typedef void (*store_done_fn)(void *arg, const struct err *err);

/**
 * Notes that these versions are on the status topic. A final payment whose
 * last version is told has nothing left to do (next_action_at = null).
 */
void store_told(struct store *store, const struct told_row *rows, size_t n,
                store_done_fn done, void *arg);

/* --- due --- */

/**
 * Takes due rows (next_action_at <= now) by moving their time forward by
 * @p hold_us: nobody else gets them meanwhile. At most @p max of those that
 * need no push, longest due first, and as many of those that wait for one and
 * are past their deadline. The others that wait for a push are left alone.
 */
void store_due(struct store *store, size_t max, int64_t hold_us,
               store_rows_fn done, void *arg);

/** Rows in `waiting` for their shortcode alone, the whole fleet's. */
struct parked_row {
    int64_t shortcode;
    size_t n;
};

/** Lanes by priority, shortcode and client, `due` filled; and what is parked.
 *  Both may be changed, and are gone after the call. */
typedef void (*store_lanes_fn)(void *arg, struct lane *lanes, size_t n,
                               const struct parked_row *parked, size_t parked_n,
                               const struct err *err);

/** Which lanes are looked at; borrowed for the call. */
struct lanes_ask {
    const struct lane *after;  /* of each priority asked for: behind which */
    size_t after_n;            /* ... lane; shortcode 0 = from the first   */
    const int64_t *shortcodes; /* that may push; of others one lane each  */
    size_t shortcodes_n;
    size_t lanes_max;   /* of each priority; less are found = that is all */
    size_t counted_max; /* `due` of a lane: it may be more             */
};

/** Finds the lanes in which payments wait for a push, however many do. */
void store_lanes(struct store *store, const struct lanes_ask *ask,
                 store_lanes_fn done, void *arg);

/** Takes the `take` rows of each lane that are due longest, as store_due(). */
void store_ready(struct store *store, const struct lane *lanes, size_t n,
                 int64_t hold_us, store_rows_fn done, void *arg);

/** Gives back rows that wait for a push, with which nothing was done: they are
 *  due again. Without an answer: that comes with the hold's end too. */
void store_undue(struct store *store, const struct payment *const *rows,
                 size_t n);

/* --- cancels --- */

/** One that was asked for. */
struct cancel_row {
    struct uuid id, client;
    int64_t at;                     /* names it: it may be asked for anew */
    char text[RESULT_TEXT_MAX + 1]; /* who, in words                      */
    bool over;                      /* its payment is past every deadline */
    bool known;             /* the payment is there, and is the client's */
    struct payment payment; /* ... as it is                       */
};

typedef void (*store_cancels_fn)(void *arg, const struct cancel_row *rows,
                                 size_t n, const struct err *err);

/** Takes at most @p max of those whose look is due; the next look of each is
 *  after a second, then at twice its age. */
void store_cancels(struct store *store, size_t max, store_cancels_fn done,
                   void *arg);

/** Forgets these, some time soon. */
void store_uncancel(struct store *store, const struct cancel_row *const *rows,
                    size_t n);

/* --- intake positions --- */

/**
 * Which memory Postgres has, from pg_control_system(): "system identifier/
 * timeline/start". It changes when another server, a promoted standby or the
 * same one after a restart answers: only then can commits have been lost. The
 * name of the present WAL file begins with the timeline. Everybody may ask.
 */
#define LEDGER_NAME                                             \
    "system_identifier || '/' || ('x' || left(pg_walfile_name(" \
    "pg_current_wal_lsn()), 8))::bit(32)::int || '/' || "       \
    "floor(extract(epoch FROM pg_postmaster_start_time()) * 1000)::bigint"
#define LEDGER_SIZE KAFKA_METADATA_SIZE

/** @param ledger  LEDGER_NAME. */
typedef void (*store_positions_fn)(void *arg, const char *ledger,
                                   const struct kafka_position *positions,
                                   size_t n, const struct err *err);

/** Fills `offset` from `intake` (KAFKA_BEGINNING where there is no row). */
void store_positions(struct store *store,
                     const struct kafka_position *positions, size_t n,
                     store_positions_fn done, void *arg);

/**
 * Moves `intake` to @p positions, never backwards, some time soon: for topics
 * whose records are harmless to read again.
 */
void store_moved(struct store *store, const struct kafka_position *positions,
                 size_t n, store_done_fn done, void *arg);

/* --- strays --- */

/** Keeps a callback that could not be applied, byte for byte. */
void store_stray(struct store *store, const struct uuid *payment, int attempt,
                 const char *why, const void *body, size_t len,
                 store_done_fn done, void *arg);

/** After a clock that stepped back: rows that are due later than anybody asks
 *  for are due now, and heartbeats of the future are of now. */
void store_pull_near(struct store *store, store_done_fn done, void *arg);

/** Number of the last `foleni clock accept`; -1 on error. */
void store_clock_word(struct store *store, void (*done)(void *arg, int64_t id),
                      void *arg);

/** A callback that was kept; @p body NULL: there are no more, or an error. */
typedef void (*store_stray_fn)(void *arg, int attempt, const char *body,
                               size_t len);

/** Reads at most 16 callbacks of @p payment that were kept for @p why. */
void store_strays(struct store *store, const struct uuid *payment,
                  const char *why, store_stray_fn fn, void *arg);

#endif
