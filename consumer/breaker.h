/*
 * The circuit breaker: functions of (state, event, now), without I/O, clock or
 * memory of their own. Two halves:
 *
 * - `struct window`: what this worker sees of the calls of one kind to one
 *   shortcode, and whether that is a trip: too large a share of faults within a
 *   sliding window, too many in a row, or a stall (calls in flight and no
 *   answer). Only the provider's faults count: a customer's "no" is fine, and a
 *   throttle answer is a word about the rate.
 * - `struct breaker`: the fleet's row, and which move may be made on it. A move
 *   is written on the version that was seen, so of all workers one makes it.
 *
 *   closed ──trip──▶ open ──▶ half ──▶ trial ──▶ ramp ──▶ closed
 *                     ▲          │        │         │
 *                     └──────────┴────────┴─────────┘  twice as long
 *
 * Half-open: one worker, by lease, asks something that is no payment. Trial: a
 * few payments, by permits. Ramp: a growing share of the pace. What is no push
 * has no trial and no ramp; nor has shortcode 0, the way to the provider, a
 * trial: each shortcode has its own.
 *
 * Times are boot-clock us of this worker; the room makes durations of them.
 */
#ifndef FOLENI_CONSUMER_BREAKER_H
#define FOLENI_CONSUMER_BREAKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct config;

/** What a breaker stands before. Numbers stand in Postgres. */
enum operation {
    OPERATION_PUSH,
    OPERATION_QUERY,
    OPERATION_TOKEN,
    OPERATIONS_N
};

/** How a call ended, for its breaker. */
enum outcome {
    OUTCOME_FINE,        /* answered; a customer's "no" is fine too         */
    OUTCOME_FAULT,       /* answer lost, 5xx, what nobody understands       */
    OUTCOME_UNREACHABLE, /* name, connect, TLS: nothing left                */
    OUTCOME_THROTTLED,   /* too fast: a word about the rate, not a fault    */
    OUTCOME_NONE         /* says nothing: it was stopped before it began    */
};

/** Figures, from the settings; durations in us. */
struct breaker_policy {
    int64_t window_us;
    int calls_min;       /* of the window, before a share says anything;
                             so many faults in a row trip too          */
    int faults_percent;  /* share that trips                          */
    int64_t stall_us;    /* least time without an answer; or 4 x p99  */
    int stall_calls_min; /* in flight, before silence says anything   */
    int64_t open_min_us, open_max_us;
    int64_t probe_us; /* lease of a prober; longer than its call   */
    int trial_calls;  /* pushes of a trial                         */
    int64_t trial_us; /* a trial without its ends begins anew      */
    int64_t ramp_us;
};

void breaker_policy_from(const struct config *cfg, struct breaker_policy *ret);

/* --- what this worker sees --- */

#define WINDOW_SLICES 10
#define LATENCIES_N 24 /* powers of two from 1 ms on */

struct window {
    struct slice {
        int64_t number; /* which slice of time it holds          */
        int calls, faults, unreachable;
    } slices[WINDOW_SLICES];
    int faults_in_row;
    int64_t from_us;         /* calls that began earlier do not count   */
    int64_t progress_us;     /* last answer, or first call after idling */
    size_t in_flight, stale; /* of them began before `from_us`     */
    uint32_t latencies[LATENCIES_N]; /* of answers, halved as they grow */
    uint32_t latencies_n;
};

/** A call has begun; window_ended() follows exactly once. */
void window_began(struct window *w, int64_t now_us);
void window_ended(struct window *w, const struct breaker_policy *policy,
                  enum outcome outcome, int64_t took_us, int64_t now_us);

/** Forgets what was counted: stragglers of before trip nothing again. */
void window_clear(struct window *w, int64_t now_us);

/** Calls that count within the window, and of them faults of any kind and
 *  those that did not reach the provider. */
struct window_sum {
    int calls, faults, unreachable;
};
struct window_sum window_sum(const struct window *w,
                             const struct breaker_policy *policy,
                             int64_t now_us);

enum trip {
    TRIP_NONE,
    TRIP_FAULTS,
    TRIP_UNREACHABLE,
    TRIP_STALL,
    TRIP_TRIAL, /* a push of the trial failed */
    TRIPS_N
};

/** Why it trips, if it does. */
enum trip window_trips(const struct window *w,
                       const struct breaker_policy *policy, int64_t now_us);

/** Silence of so long is a stall: max(stall, 4 x p99 of the answers). */
int64_t window_stall_us(const struct window *w,
                        const struct breaker_policy *policy);

/* --- the fleet's row --- */

/** Numbers stand in Postgres. */
enum breaker_state {
    BREAKER_CLOSED,
    BREAKER_OPEN,
    BREAKER_HALF,
    BREAKER_TRIAL,
    BREAKER_RAMP,
    BREAKER_STATES_N
};

enum breaker_forced { FORCED_NOT, FORCED_OPEN, FORCED_CLOSED };

#define BREAKER_CAUSE_MAX 160

struct breaker {
    enum operation op;
    int64_t shortcode; /* 0 = the way to the provider, whatever shortcode */
    int64_t version;   /* 0 = not read yet                                */
    enum breaker_state state;
    char cause[BREAKER_CAUSE_MAX + 1]; /* of the last trip               */
    int64_t since_us;  /* when it came into this state                   */
    int64_t until_us;  /* open: probe; half: the lease ends; trial, ramp:
                          their end                                       */
    int64_t open_us;   /* how long it was open last                       */
    int64_t prober;    /* incarnation, half                               */
    int permits, fine; /* trial                                           */
    enum breaker_forced forced; /* while it is not over                   */
};

/** What a worker has to say about it. */
struct breaker_news {
    enum trip trip;
    enum { PROBE_NONE, PROBE_FINE, PROBE_FAILED } probe;
};

/**
 * The move that may be made on @p b now by worker @p me.
 *
 * @return false when there is none; *ret is then untouched. Else *ret is the
 *         row as it becomes; its version is that of @p b.
 */
bool breaker_move(const struct breaker *b, const struct breaker_news *news,
                  const struct breaker_policy *policy, int64_t me,
                  int64_t now_us, uint32_t dice, struct breaker *ret);

/** Share of the pace that may go: 0 = nothing, 1 = all. A trial is 1: its
 *  permits are what limits it. */
double breaker_share(const struct breaker *b,
                     const struct breaker_policy *policy, int64_t now_us);

/** As it stands in a row's cause. */
const char *trip_text(enum trip trip);

/** Whether pushes need permits. */
bool breaker_on_trial(const struct breaker *b);

/** "push". */
const char *operation_name(enum operation op);

/** "open", as people read it; of a forced one "forced open". */
const char *breaker_state_name(const struct breaker *b);

#endif
