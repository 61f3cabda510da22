/*
 * What a look has read: times that were reserved, permits, rates, breakers,
 * pauses. Everything of before that it does not bear out is dropped.
 */
#include "consumer/lines_priv.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/must.h"

#include <string.h>

/* The database's clock and ours may advance so differently between answers. */
#define JUMP_US US_PER_S
/* What the least offset of late grows by with each look, or a delay of once
   would count for ever. */
#define OFFSET_FADES_US 100
/* Between permits that one worker was given. */
#define TRIAL_STEP_US (100 * US_PER_MS)

/* --- the clock --- */

/* Ours at @p db_at: a late answer makes it later, never earlier. */
static bool meet_clock(struct lines *l, int64_t db_at)
{
    int64_t now_us = clock_now_us();
    int64_t offset_us = now_us - db_at;
    bool jumped = l->db_at && (db_at - l->db_at <
                                   l->look.sent_us - l->answered_us - JUMP_US ||
                               offset_us < l->offset_us - JUMP_US);

    if (!l->db_at || jumped)
        l->offset_us = offset_us;
    else
        l->offset_us = MIN(l->offset_us + OFFSET_FADES_US, offset_us);
    l->db_at = db_at;
    l->answered_us = now_us;
    return jumped;
}

/* Two reservations of before and after may lie over each other. */
static void drop_times(struct lines *l)
{
    log_warn("lines", "clock_jumped", KV("dropped", "every send time held"));
    for (size_t i = 0; i < l->n; i++)
        pace_drop(&l->items[i]->pace);
}

/* --- what was said --- */

static void was_said(struct lines *l, const struct said *said,
                     const struct pg_result *r)
{
    struct line *line = said->line;
    int64_t now_us = clock_now_us();
    struct pace_grant permit = {now_us, TRIAL_STEP_US, 1};

    if (said->what == LINES_SQL_FINE)
        line->guards[OPERATION_PUSH].fine -= said->n;
    if (said->what == LINES_SQL_THROTTLE) {
        line->throttled = false;
        line->throttles += pg_changed(r) ? 1 : 0; /* ours: nothing to learn */
    }
    if (said->what == LINES_SQL_STOP)
        line->retry_after_us = 0;
    if (said->what == LINES_SQL_PERMIT && pg_rows(r)) {
        permit.first_us = MAX(now_us, line->next_us);
        line->next_us = permit.first_us + TRIAL_STEP_US;
        pace_grant(&line->pace, &permit);
    }
    if (said->what == LINES_SQL_MAKE)
        l->made = true;
}

static void read_times(struct lines *l, const struct pg_result *r,
                       int64_t base_us)
{
    for (size_t i = 0; i < pg_rows(r); i++) {
        struct line *line = lines_find(l, pg_get_int(r, i, 0));
        struct pace_grant grant = {
            .n = (size_t)pg_get_int(r, i, 1),
            .first_us = base_us + pg_get_int(r, i, 2),
            .step_us = (double)pg_get_int(r, i, 3) / 1000,
        };

        if (!line || !grant.n)
            continue;
        metric_add(M_TIMES_RESERVED, grant.n);
        pace_grant(&line->pace, &grant);
    }
}

/* --- rows --- */

static void read_line(struct line *line, const struct pg_result *r, size_t row,
                      int64_t base_us)
{
    double rate = (double)pg_get_int(r, row, 2) / 1000;
    int64_t throttles = pg_get_int(r, row, 3);

    line->learning = line->learning ||
                     (line->throttles >= 0 && throttles > line->throttles &&
                      line->rate <= 0 && rate > 0);
    line->throttles = throttles;
    line->rate = rate;
    line->stopped_until_us =
        pg_is_null(r, row, 4) ? 0 : base_us + pg_get_int(r, row, 4);
    line->lowered = pg_get_bool(r, row, 5);
    if (line->throttled)
        line->stopped_until_us =
            MAX(line->stopped_until_us, base_us + line->retry_after_us);
}

static void row_of(const struct pg_result *r, size_t i, int64_t base_us,
                   struct breaker *b)
{
    b->version = pg_get_int(r, i, 2);
    b->state = (enum breaker_state)pg_get_int(r, i, 3);
    text_copy(b->cause, sizeof(b->cause), pg_get_text(r, i, 4, NULL));
    b->since_us = base_us - pg_get_int(r, i, 5);
    b->until_us = pg_is_null(r, i, 6) ? 0 : base_us + pg_get_int(r, i, 6);
    b->open_us = pg_get_int(r, i, 7);
    b->prober = pg_get_int(r, i, 8);
    b->permits = (int)pg_get_int(r, i, 9);
    b->fine = (int)pg_get_int(r, i, 10);
    b->forced = (enum breaker_forced)pg_get_int(r, i, 11);
}

static void count_trip(enum trip trip)
{
    static const enum metric counts[TRIPS_N] = {
        [TRIP_FAULTS] = M_TRIPS_FAULTS,
        [TRIP_UNREACHABLE] = M_TRIPS_UNREACHABLE,
        [TRIP_STALL] = M_TRIPS_STALL,
        [TRIP_TRIAL] = M_TRIPS_TRIAL,
    };

    if (trip)
        metric_add(counts[trip], 1);
}

static void say_move(const struct breaker *b)
{
    log_warn("lines", "breaker", KV_INT("shortcode", b->shortcode),
             KV("operation", operation_name(b->op)),
             KV("state", breaker_state_name(b)), KV("cause", b->cause));
}

/* Somebody moved it, perhaps we: what was seen was of the state before. */
static void moved(struct lines *l, struct guard *g, const struct breaker *was)
{
    struct line *line = lines_find(l, g->row.shortcode);
    bool told = was->version || g->row.state || g->row.forced;

    if (g->row.state == BREAKER_OPEN && was->state != BREAKER_OPEN)
        count_trip(g->trip);
    if (g->row.state == was->state && g->row.forced == was->forced)
        told = false;
    window_clear(&g->window, clock_now_us());
    g->trip = TRIP_NONE;
    g->news.probe = PROBE_NONE;
    g->fine = 0;
    for (size_t i = 0; i < l->n; i++)
        if (g->row.op == OPERATION_PUSH && (!line || line == l->items[i]))
            pace_drop(&l->items[i]->pace);
    if (told)
        say_move(&g->row);
}

static void probe(struct lines *l, struct guard *g)
{
    const struct breaker *b = &g->row;

    if (b->forced || b->state != BREAKER_HALF || g->probing || g->news.probe ||
        b->prober != l->spec.me(l->spec.arg))
        return;
    g->probed = b->version;
    g->probing = l->spec.probe(l->spec.arg, b->op, b->shortcode);
}

static void read_guard(struct lines *l, const struct pg_result *r, size_t i,
                       int64_t base_us)
{
    struct guard *g = lines_guard(l, (enum operation)pg_get_int(r, i, 0),
                                  pg_get_int(r, i, 1));
    struct breaker was;

    if (!g)
        return;
    was = g->row;
    row_of(r, i, base_us, &g->row);
    if (was.version != g->row.version || was.forced != g->row.forced)
        moved(l, g, &was);
    probe(l, g);
}

static void read_pools(struct lines *l, const struct pg_result *r)
{
    memset(l->paused, 0, sizeof(l->paused));
    for (size_t i = 0; i < pg_rows(r); i++)
        l->paused[pg_get_int(r, i, 0)] = true;
}

void lines_read(struct lines *l, struct pg_result *const *results)
{
    const struct look *look = &l->look;
    const struct pg_result *lines = results[look->read];
    int64_t base_us = clock_now_us();
    bool jumped = false;

    if (pg_rows(lines)) {
        jumped = meet_clock(l, pg_get_time(lines, 0, 0));
        base_us = l->db_at + l->offset_us;
    }
    for (size_t i = 0; i < look->n; i++)
        was_said(l, &look->said[i], results[i]);
    for (size_t i = 0; i < pg_rows(lines); i++) {
        struct line *line = lines_find(l, pg_get_int(lines, i, 1));

        if (line)
            read_line(line, lines, i, base_us);
    }
    for (size_t i = 0; i < pg_rows(results[look->read + 1]); i++)
        read_guard(l, results[look->read + 1], i, base_us);
    if (look->reserve)
        read_times(l, results[look->reserve - 1], base_us);
    read_pools(l, results[look->read + 2]);
    if (jumped)
        drop_times(l);
    l->looked_us = look->sent_us;
    lines_measure(l);
}
