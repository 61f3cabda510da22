/*
 * What operators see of the lines: metrics and rows of /health.
 */
#include "consumer/lines_priv.h"

#include "common/clock.h"
#include "common/metrics.h"

#include <stdio.h>
#include <string.h>

static enum metric gauge_of(const struct breaker *b)
{
    static const enum metric gauges[BREAKER_STATES_N] = {
        [BREAKER_OPEN] = M_BREAKERS_OPEN,
        [BREAKER_HALF] = M_BREAKERS_HALF,
        [BREAKER_TRIAL] = M_BREAKERS_TRIAL,
        [BREAKER_RAMP] = M_BREAKERS_RAMP,
    };

    if (b->forced)
        return b->forced == FORCED_OPEN ? M_BREAKERS_FORCED_OPEN
                                        : M_BREAKERS_FORCED_CLOSED;
    return gauges[b->state];
}

static void measure_guard(const struct guard *g, int64_t now_us,
                          int64_t *probe_us)
{
    const struct breaker *b = &g->row;

    if (!b->forced && b->state == BREAKER_CLOSED)
        return;
    metric_set(gauge_of(b), metric_get(gauge_of(b)) + 1);
    if (!b->forced && b->state == BREAKER_OPEN)
        *probe_us = MIN(*probe_us, MAX(b->until_us - now_us, US_PER_S));
}

void lines_measure(const struct lines *l)
{
    int64_t now_us = clock_now_us(), probe_us = INT64_MAX;
    int64_t stopped = 0, lowered = 0;

    for (enum metric m = M_BREAKERS_OPEN; m <= M_BREAKERS_FORCED_CLOSED; m++)
        metric_set(m, 0);
    measure_guard(&l->way, now_us, &probe_us);
    for (size_t i = 0; i < l->n; i++) {
        const struct line *line = l->items[i];

        stopped += line_share(l, line, now_us) <= 0;
        lowered += line->lowered;
        for (int op = 0; op < OPERATIONS_N; op++)
            measure_guard(&line->guards[op], now_us, &probe_us);
    }
    metric_set(M_LINES_STOPPED, stopped);
    metric_set(M_LINES_LOWERED, lowered);
    metric_set(M_NEXT_PROBE, probe_us == INT64_MAX ? 0 : probe_us / US_PER_S);
}

/* --- /health --- */

static void add_guard(char *note, size_t size, const char *name,
                      const struct breaker *b, int64_t now_us)
{
    size_t len = strlen(note);
    int64_t left_ms = MAX(b->until_us - now_us, 0) / US_PER_MS;

    if (!b->forced && b->state == BREAKER_CLOSED)
        return;
    if (b->forced)
        (void)snprintf(note + len, size - len, "%s%s %s", len ? "; " : "", name,
                       breaker_state_name(b));
    else if (b->state == BREAKER_OPEN)
        (void)snprintf(
            note + len, size - len, "%s%s open: %s; next probe in %lld.%lld s",
            len ? "; " : "", name, b->cause, (long long)(left_ms / 1000),
            (long long)(left_ms % 1000 / 100));
    else
        (void)snprintf(note + len, size - len, "%s%s %s: %s", len ? "; " : "",
                       name, breaker_state_name(b), b->cause);
}

static void add_pace(char *note, size_t size, const struct line *line,
                     int64_t now_us)
{
    size_t len = strlen(note);

    if (line->rate > 0)
        (void)snprintf(note + len, size - len, "%s%.1f/s%s", len ? "; " : "",
                       line->rate, line->lowered ? ", lowered" : "");
    len = strlen(note);
    if (now_us < line->stopped_until_us)
        (void)snprintf(
            note + len, size - len, "%swaits %lld s for the provider",
            len ? "; " : "",
            (long long)((line->stopped_until_us - now_us) / US_PER_S + 1));
}

static void health_of(const struct lines *l, const struct line *line,
                      struct health *row)
{
    int64_t now_us = clock_now_us();

    *row = (struct health){
        .name = line->name,
        .ok = lines_sure(l) && line_share(l, line, now_us) > 0,
        .latency_us = -1,
    };
    (void)snprintf(row->note, sizeof(row->note), "%s",
                   line->gone       ? "taken out of the settings"
                   : !lines_sure(l) ? "not known"
                                    : "");
    add_pace(row->note, sizeof(row->note), line, now_us);
    add_guard(row->note, sizeof(row->note), "way", &l->way.row, now_us);
    for (int op = 0; op < OPERATIONS_N; op++)
        add_guard(row->note, sizeof(row->note),
                  operation_name((enum operation)op), &line->guards[op].row,
                  now_us);
}

/* Those that nothing goes through come first, should there be many. */
size_t lines_health(const struct lines *l, struct health *rows, size_t max)
{
    size_t n = 0;

    for (int ok = 0; ok < 2; ok++)
        for (size_t i = 0; i < l->n && n < max; i++) {
            health_of(l, l->items[i], &rows[n]);
            n += rows[n].ok == ok;
        }
    return n;
}
