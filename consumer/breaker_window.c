/*
 * What a worker sees of the calls that a breaker stands before. Slices of time
 * are found by their number, so that a clock that leaps finds them outdated and
 * not full.
 */
#include "consumer/breaker.h"

#include "common/base.h"
#include "common/clock.h"
#include "common/must.h"

#include <string.h>

#define STALL_P99S 4
#define LATENCIES_MIN 20   /* answers, before their p99 says anything */
#define LATENCIES_MAX 4096 /* then all are halved: old ones fade */

static int64_t slice_us(const struct breaker_policy *policy)
{
    return MAX(policy->window_us / WINDOW_SLICES, 1);
}

static struct slice *
slice_of(struct window *w, const struct breaker_policy *policy, int64_t now_us)
{
    int64_t number = now_us / slice_us(policy);
    struct slice *s = &w->slices[number % WINDOW_SLICES];

    if (s->number != number)
        *s = (struct slice){.number = number};
    return s;
}

void window_began(struct window *w, int64_t now_us)
{
    if (w->in_flight == w->stale)
        w->progress_us = now_us;
    w->in_flight++;
}

static void note_latency(struct window *w, int64_t took_us)
{
    int i = 0;

    for (int64_t ms = took_us / US_PER_MS; ms > 0 && i < LATENCIES_N - 1;
         ms /= 2)
        i++;
    w->latencies[i]++;
    if (++w->latencies_n < LATENCIES_MAX)
        return;
    w->latencies_n = 0;
    for (i = 0; i < LATENCIES_N; i++)
        w->latencies_n += w->latencies[i] /= 2;
}

static void count(struct window *w, const struct breaker_policy *policy,
                  enum outcome outcome, int64_t now_us)
{
    struct slice *s = slice_of(w, policy, now_us);
    bool fault = outcome == OUTCOME_FAULT || outcome == OUTCOME_UNREACHABLE;

    s->calls++;
    s->faults += fault;
    s->unreachable += outcome == OUTCOME_UNREACHABLE;
    w->faults_in_row = fault ? w->faults_in_row + 1 : 0;
}

void window_ended(struct window *w, const struct breaker_policy *policy,
                  enum outcome outcome, int64_t took_us, int64_t now_us)
{
    bool fresh = now_us - took_us >= w->from_us;

    must(w->in_flight > 0);
    w->in_flight--;
    w->stale = MIN(w->stale - (!fresh && w->stale), w->in_flight);
    if (outcome == OUTCOME_NONE)
        return;
    if (outcome == OUTCOME_FINE || outcome == OUTCOME_THROTTLED) {
        w->progress_us = now_us;
        note_latency(w, took_us);
    }
    if (outcome != OUTCOME_THROTTLED && fresh)
        count(w, policy, outcome, now_us);
}

void window_clear(struct window *w, int64_t now_us)
{
    memset(w->slices, 0, sizeof(w->slices));
    w->faults_in_row = 0;
    w->stale = w->in_flight;
    w->from_us = w->progress_us = now_us;
}

struct window_sum window_sum(const struct window *w,
                             const struct breaker_policy *policy,
                             int64_t now_us)
{
    int64_t number = now_us / slice_us(policy);
    struct window_sum sum = {0};

    for (size_t i = 0; i < WINDOW_SLICES; i++) {
        const struct slice *s = &w->slices[i];

        if (s->number <= number - WINDOW_SLICES || s->number > number)
            continue;
        sum.calls += s->calls;
        sum.faults += s->faults;
        sum.unreachable += s->unreachable;
    }
    return sum;
}

int64_t window_stall_us(const struct window *w,
                        const struct breaker_policy *policy)
{
    uint32_t above = 0;
    int i = LATENCIES_N;

    if (w->latencies_n < LATENCIES_MIN)
        return policy->stall_us;
    while (--i > 0) {
        above += w->latencies[i];
        if (above > w->latencies_n / 100)
            break;
    }
    return MAX(policy->stall_us, STALL_P99S * (INT64_C(1) << i) * US_PER_MS);
}

enum trip window_trips(const struct window *w,
                       const struct breaker_policy *policy, int64_t now_us)
{
    struct window_sum sum = window_sum(w, policy, now_us);

    if (w->in_flight - w->stale >= (size_t)policy->stall_calls_min &&
        now_us - w->progress_us >= window_stall_us(w, policy))
        return TRIP_STALL;
    if (w->faults_in_row >= policy->calls_min ||
        (sum.calls >= policy->calls_min &&
         sum.faults * INT64_C(100) >=
             sum.calls * (int64_t)policy->faults_percent))
        return sum.unreachable * 2 > sum.faults ? TRIP_UNREACHABLE
                                                : TRIP_FAULTS;
    return TRIP_NONE;
}
