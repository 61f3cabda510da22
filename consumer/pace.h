/*
 * The pace of a line in this worker: times at which a push may go out, which
 * were reserved for it from the fleet's row, and how many more it should
 * reserve. Pure: times are given.
 *
 * A time that is not used lapses. What was late goes out apart from the others
 * all the same, so that a process which was stopped for a moment makes no burst
 * of what it held.
 */
#ifndef FOLENI_CONSUMER_PACE_H
#define FOLENI_CONSUMER_PACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PACE_GRANTS_MAX 32

/** @p n times from @p first_us on, @p step_us apart. */
struct pace_grant {
    int64_t first_us;
    double step_us;
    size_t n;
};

struct pace {
    struct pace_grant grants[PACE_GRANTS_MAX]; /* by time */
    size_t grants_n;
    size_t wanted; /* pushes that wait for a time            */
    size_t taken;  /* since the last ask                     */
    int64_t asked_us;
    size_t lapsed;       /* in all: for the metric                 */
    double step_us;      /* of the last grant                      */
    int64_t released_us; /* when the last push was let go          */
};

/** Adds reserved times. Where there is no place they lapse. */
void pace_grant(struct pace *p, const struct pace_grant *grant);

/** Forgets every time it holds, and what was wanted. */
void pace_drop(struct pace *p);

/** Drops times that are past by more than @p slack_us; what was wanted is
 *  forgotten with them. */
void pace_lapse(struct pace *p, int64_t now_us, int64_t slack_us);

/** Times held; what is past counts until it is dropped. */
size_t pace_held(const struct pace *p);

/** Takes the earliest; false = none. */
bool pace_take(struct pace *p, int64_t *ret_send_us);
void pace_give_back(struct pace *p, int64_t send_us);

/** @p n pushes wait. */
void pace_want(struct pace *p, size_t n);

/**
 * How many to reserve now, at @p rate per second: what waits, and what was used
 * since the last ask, twice that while something waits; as far as @p ahead_us
 * goes, less what is held.
 */
size_t pace_ask(struct pace *p, double rate, int64_t ahead_us, int64_t now_us);

/** When a push with time @p send_us may be let go: then, and half a step
 *  after the one before. Not after @p now_us: it is let go.          */
int64_t pace_release_us(struct pace *p, int64_t send_us, int64_t now_us);

#endif
