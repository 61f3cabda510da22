/*
 * One look: tells the fleet's rows what this worker has seen, reserves what its
 * pushes need, and reads everything, in one unit. There is one in flight at a
 * time; what it could not hold, or what its lost answer left open, comes with
 * the next.
 */
#include "consumer/lines_priv.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/must.h"

#include <math.h>
#include <stdlib.h>

#define NEWS_GAP_US (10 * US_PER_MS) /* between looks that cannot wait */
#define JITTER 8                     /* part of the time between looks */
#define MEASURE_US US_PER_S          /* over which pushes are counted  */
#define LATEST_US (100 * US_PER_MS)  /* ... and at least               */
/* A ramp of a line without a limit begins from a tenth of this at least. */
#define RAMP_RATE_MIN 50.0

static uint32_t throw_dice(struct lines *l)
{
    l->dice ^= l->dice << 13;
    l->dice ^= l->dice >> 7;
    l->dice ^= l->dice << 17;
    return (uint32_t)(l->dice >> 32);
}

/* --- what is told --- */

static bool place(struct lines *l, enum lines_statement what, struct line *line,
                  int n)
{
    struct look *look = &l->look;

    if (look->n >= LOOK_STATEMENTS_MAX) {
        look->full = true;
        return false;
    }
    look->said[look->n++] = (struct said){what, line, n};
    return true;
}

static void shortcodes_param(struct lines *l, struct pg_params *p)
{
    pg_array(p, PG_INT4, l->n);
    for (size_t i = 0; i < l->n; i++)
        pg_int4(p, (int32_t)l->items[i]->shortcode);
}

/* Once per connection, and when a rate of the settings has changed. */
static void tell_rows(struct lines *l)
{
    struct pg_params *p;

    if (l->made || !place(l, LINES_SQL_MAKE, NULL, 0) ||
        !place(l, LINES_SQL_MAKE_BREAKERS, NULL, 0))
        return;
    p = pg_params(l->pg);
    pg_array(p, PG_INT4, l->n);
    for (size_t i = 0; i < l->n;
         i++) /* 0: nothing is said of one that is gone */
        pg_int4(p, l->items[i]->gone ? 0 : (int32_t)l->items[i]->shortcode);
    pg_array(p, PG_INT8, l->n);
    for (size_t i = 0; i < l->n; i++)
        pg_int8(p, l->items[i]->allowed);
    pg_send(l->pg, LINES_SQL_MAKE, p);
    p = pg_params(l->pg);
    shortcodes_param(l, p);
    pg_send(l->pg, LINES_SQL_MAKE_BREAKERS, p);
    l->look.made = true;
}

static void send_move(struct lines *l, const struct breaker *b, int64_t now_us)
{
    struct pg_params *p = pg_params(l->pg);

    pg_int2(p, (int16_t)b->op);
    pg_int4(p, (int32_t)b->shortcode);
    pg_int8(p, b->version);
    pg_int2(p, (int16_t)b->state);
    pg_text(p, b->cause);
    if (b->until_us)
        pg_int8(p, b->until_us - now_us);
    else
        pg_null(p);
    pg_int8(p, b->open_us);
    if (b->prober)
        pg_int8(p, b->prober);
    else
        pg_null(p);
    pg_int4(p, b->permits);
    pg_send(l->pg, LINES_SQL_MOVE, p);
}

static void tell_move(struct lines *l, struct guard *g)
{
    int64_t me = l->spec.me(l->spec.arg), now_us = clock_now_us();
    struct breaker next;

    g->news.trip = g->trip;
    if (me &&
        breaker_move(&g->row, &g->news, &l->policy, me, now_us, throw_dice(l),
                     &next) &&
        place(l, LINES_SQL_MOVE, NULL, 0))
        send_move(l, &next, now_us);
}

static void tell_fine(struct lines *l, struct line *line)
{
    struct guard *g = &line->guards[OPERATION_PUSH];
    struct pg_params *p;

    if (!g->fine || !place(l, LINES_SQL_FINE, line, g->fine))
        return;
    p = pg_params(l->pg);
    pg_int4(p, (int32_t)line->shortcode);
    pg_int8(p, g->row.version);
    pg_int4(p, g->fine);
    pg_send(l->pg, LINES_SQL_FINE, p);
}

static int64_t thousandths(double x)
{
    return (int64_t)llround(x * 1000);
}

static void tell_throttle(struct lines *l, struct line *line)
{
    struct pg_params *p;

    if (!line->throttled || !place(l, LINES_SQL_THROTTLE, line, 0))
        return;
    p = pg_params(l->pg);
    pg_int4(p, (int32_t)line->shortcode);
    pg_int8(p, l->cfg->lines_throttle_percent * 10);
    pg_int8(p, l->cfg->lines_creep_permille);
    pg_int8(p, l->cfg->lines_forget_ms * US_PER_MS);
    pg_int8(p, thousandths(MAX(line->measured, line->latest)));
    pg_send(l->pg, LINES_SQL_THROTTLE, p);
}

static void tell_stop(struct lines *l, struct line *line)
{
    struct pg_params *p;

    if (!line->retry_after_us || !place(l, LINES_SQL_STOP, line, 0))
        return;
    p = pg_params(l->pg);
    pg_int4(p, (int32_t)line->shortcode);
    pg_int8(p, line->retry_after_us);
    pg_send(l->pg, LINES_SQL_STOP, p);
}

static void tell_learnt(struct lines *l, struct line *line)
{
    struct pg_params *p;

    if (!line->learning || !place(l, LINES_SQL_LEARN, line, 0))
        return;
    line->learning = false; /* once, whatever becomes of it: it creeps back */
    p = pg_params(l->pg);
    pg_int4(p, (int32_t)line->shortcode);
    pg_int4(p, (int32_t)line->throttles);
    pg_int8(p, thousandths(MAX(line->measured, line->latest)));
    pg_int8(p, l->cfg->lines_throttle_percent * 10);
    pg_int8(p, l->cfg->lines_creep_permille);
    pg_send(l->pg, LINES_SQL_LEARN, p);
}

static void tell_line(struct lines *l, struct line *line)
{
    for (int op = 0; op < OPERATIONS_N; op++)
        tell_move(l, &line->guards[op]);
    tell_fine(l, line);
    tell_throttle(l, line);
    tell_stop(l, line);
    tell_learnt(l, line);
}

/* --- what is reserved --- */

static void ask_permit(struct lines *l, struct line *line)
{
    struct guard *g = &line->guards[OPERATION_PUSH];
    struct pg_params *p;

    if (!line->pace.wanted || pace_held(&line->pace) || g->trip ||
        !place(l, LINES_SQL_PERMIT, line, 0))
        return;
    p = pg_params(l->pg);
    pg_int4(p, (int32_t)line->shortcode);
    pg_int8(p, g->row.version);
    pg_send(l->pg, LINES_SQL_PERMIT, p);
}

/* A ramp where there is no rate: by what this worker pushed before, alone. */
static void ramp_alone(struct lines *l, struct line *line, double share,
                       int64_t now_us)
{
    double rate = MAX(line->measured, RAMP_RATE_MIN) * share;
    int64_t ahead_us = l->cfg->lines_ahead_ms * US_PER_MS;
    struct pace_grant grant = {
        .first_us = MAX(line->next_us, now_us),
        .step_us = (double)US_PER_S / rate,
        .n = pace_ask(&line->pace, rate, ahead_us, now_us),
    };

    if (grant.first_us > now_us + ahead_us)
        return;
    pace_grant(&line->pace, &grant);
    line->next_us = grant.first_us + (int64_t)(grant.step_us * (double)grant.n);
}

struct wish {
    struct line *line;
    size_t n;
    int32_t share;
};

static size_t wishes(struct lines *l, struct wish *out)
{
    int64_t now_us = clock_now_us();
    size_t n = 0;

    for (size_t i = 0; i < l->n; i++) {
        struct line *line = l->items[i];
        double share = line_share(l, line, now_us);
        size_t ask;

        if (share <= 0 || !line_paced(l, line, now_us))
            continue;
        if (breaker_on_trial(&line->guards[OPERATION_PUSH].row)) {
            ask_permit(l, line);
        } else if (line->rate <= 0) {
            ramp_alone(l, line, share, now_us);
        } else {
            ask = pace_ask(&line->pace, line->rate * share,
                           l->cfg->lines_ahead_ms * US_PER_MS, now_us);
            if (ask)
                out[n++] =
                    (struct wish){line, ask, (int32_t)ceil(share * 1000)};
        }
    }
    return n;
}

static void reserve(struct lines *l)
{
    struct wish *list = must_alloc(l->n + 1, sizeof(*list));
    size_t n = wishes(l, list);
    struct pg_params *p;

    l->look.reserve = 0;
    if (n) {
        p = pg_params(l->pg);
        pg_array(p, PG_INT4, n);
        for (size_t i = 0; i < n; i++)
            pg_int4(p, (int32_t)list[i].line->shortcode);
        pg_array(p, PG_INT4, n);
        for (size_t i = 0; i < n; i++)
            pg_int4(p, (int32_t)list[i].n);
        pg_array(p, PG_INT4, n);
        for (size_t i = 0; i < n; i++)
            pg_int4(p, list[i].share);
        pg_int8(p, l->cfg->lines_ahead_ms * US_PER_MS);
        pg_send(l->pg, LINES_SQL_RESERVE, p);
        l->look.reserve = l->look.n + 1;
    }
    free(list);
}

/* --- the look --- */

static void looked(void *arg, struct pg_result *const *results, size_t n,
                   const struct err *err)
{
    struct lines *l = arg;
    int64_t next_us = clock_now_us() + NEWS_GAP_US;

    (void)n;
    l->looking = false;
    if (err) {
        log_debug("lines", "look_failed", KV_ERR(err));
        return;
    }
    lines_read(l, results);
    if (l->look.full && next_us < l->next.node.key)
        timer_set(l->loop, &l->next, next_us);
}

/* What held pushes back makes the count of them worth nothing. */
static void measure(struct lines *l)
{
    int64_t now_us = clock_now_us(), since_us = now_us - l->measured_us;
    double part = MIN((double)since_us / (double)MEASURE_US, 1);

    if (since_us < NEWS_GAP_US)
        return;
    l->measured_us = now_us;
    for (size_t i = 0; i < l->n; i++) {
        struct line *line = l->items[i];
        double now =
            (double)line->begun * US_PER_S / (double)MAX(since_us, LATEST_US);

        if (line_share(l, line, now_us) >= 1 && line->rate <= 0)
            line->measured += (now - line->measured) * part;
        line->latest = now;
        line->begun = 0;
    }
}

static void send_look(struct lines *l)
{
    struct pg_params *p;

    l->look = (struct look){.sent_us = clock_now_us()};
    measure(l);
    lines_judge(l);
    tell_rows(l);
    tell_move(l, &l->way);
    for (size_t i = 0; i < l->n; i++)
        tell_line(l, l->items[i]);
    reserve(l);
    l->look.read = l->look.n + (l->look.reserve > 0);
    p = pg_params(l->pg);
    shortcodes_param(l, p);
    pg_send(l->pg, LINES_SQL_READ, p);
    pg_send(l->pg, LINES_SQL_READ_BREAKERS, p);
    pg_send(l->pg, LINES_SQL_READ_POOLS, NULL);
    l->looking = true;
    pg_sync(l->pg, looked, l);
}

void lines_look(void *arg)
{
    struct lines *l = arg;
    int64_t gap_us = l->cfg->lines_sync_ms * US_PER_MS;

    timer_set(l->loop, &l->next,
              clock_now_us() + gap_us -
                  (int64_t)(throw_dice(l) % (uint32_t)(gap_us / JITTER + 1)));
    if (!l->looking && pg_up(l->pg, NULL, 0))
        send_look(l);
}

void lines_news(struct lines *l)
{
    int64_t at_us = MAX(clock_now_us(), l->look.sent_us + NEWS_GAP_US);

    if (l->looking)
        l->look.full = true;
    else if (!timer_armed(&l->next) || at_us < l->next.node.key)
        timer_set(l->loop, &l->next, at_us);
}

void lines_on_state(void *arg, bool up)
{
    struct lines *l = arg;

    l->looking = false;
    l->made = false;
    l->db_at = 0; /* it may be another server: its clock is met anew */
    if (up)
        timer_set(l->loop, &l->next, clock_now_us());
}
