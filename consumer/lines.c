/*
 * The face of the lines: rights to push, and what calls tell. Nothing here does
 * I/O; lines_look.c carries it to the fleet and back.
 */
#include "consumer/lines_priv.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/must.h"
#include "common/sign.h"

#include <stdio.h>
#include <stdlib.h>

/* A provider may ask for patience, not for years. */
#define RETRY_AFTER_MAX_S 3600
/* Part of the slack by which a push may begin late, or what a process was
   stopped with would come on top of what the others send. */
#define BEGIN_SHARE 4

struct line *lines_find(const struct lines *l, int64_t shortcode)
{
    for (size_t i = 0; i < l->n; i++)
        if (l->items[i]->shortcode == shortcode)
            return l->items[i];
    return NULL;
}

bool lines_sure(const struct lines *l)
{
    return l->looked_us &&
           clock_now_us() - l->looked_us < l->cfg->lines_trust_ms * US_PER_MS;
}

/* --- what a line lets through --- */

static double guard_share(const struct lines *l, const struct guard *g,
                          int64_t now_us)
{
    return g->trip && !g->row.forced
               ? 0
               : breaker_share(&g->row, &l->policy, now_us);
}

double line_share(const struct lines *l, const struct line *line,
                  int64_t now_us)
{
    if (line->gone || now_us < line->stopped_until_us)
        return 0;
    return guard_share(l, &line->guards[OPERATION_PUSH], now_us) *
           guard_share(l, &l->way, now_us);
}

bool line_paced(const struct lines *l, const struct line *line, int64_t now_us)
{
    return line->rate > 0 || line_share(l, line, now_us) < 1 ||
           breaker_on_trial(&line->guards[OPERATION_PUSH].row);
}

static size_t credit(const struct lines *l, const struct line *line)
{
    int64_t now_us = clock_now_us();

    if (!lines_sure(l) || line_share(l, line, now_us) <= 0)
        return 0;
    return line_paced(l, line, now_us) ? pace_held(&line->pace)
                                       : LINES_UNLIMITED;
}

size_t lines_credit(const struct lines *l, int64_t shortcode)
{
    const struct line *line = lines_find(l, shortcode);

    return line ? credit(l, line) : LINES_UNLIMITED;
}

/* Of a paced line without times nobody knows whether a push waits, until
   somebody has looked and wants one. */
bool lines_flow(const struct lines *l)
{
    for (size_t i = 0; i < l->n; i++) {
        const struct line *line = l->items[i];

        if (credit(l, line) || (lines_sure(l) && !line->pace.wanted &&
                                line_share(l, line, clock_now_us()) > 0))
            return true;
    }
    return !l->n;
}

static void lapse(const struct lines *l, struct line *line, int64_t now_us)
{
    size_t before = line->pace.lapsed;

    /* half of the slack is for what is still to be done before the push */
    pace_lapse(&line->pace, now_us, l->cfg->lines_slack_ms * US_PER_MS / 2);
    metric_add(M_TIMES_LAPSED, line->pace.lapsed - before);
}

bool lines_take(struct lines *l, int64_t shortcode, int64_t *ret_send_us)
{
    struct line *line = lines_find(l, shortcode);
    int64_t now_us = clock_now_us();

    if (!line) { /* the gate says what is wrong with it */
        *ret_send_us = 0;
        return true;
    }
    lapse(l, line, now_us);
    if (!credit(l, line)) {
        lines_want(l, shortcode, 1);
        return false;
    }
    if (!line_paced(l, line, now_us)) {
        *ret_send_us = 0;
        return true;
    }
    return pace_take(&line->pace, ret_send_us);
}

void lines_give_back(struct lines *l, int64_t shortcode, int64_t send_us)
{
    struct line *line = lines_find(l, shortcode);

    if (line && send_us)
        pace_give_back(&line->pace, send_us);
}

void lines_want(struct lines *l, int64_t shortcode, size_t n)
{
    struct line *line = lines_find(l, shortcode);
    bool first;

    if (!line || !n)
        return;
    first = !line->pace.wanted;
    pace_want(&line->pace, n);
    if (first && line_share(l, line, clock_now_us()) > 0)
        lines_news(l);
}

bool lines_paused(const struct lines *l, enum priority pool)
{
    must(pool < PRIORITIES_N);
    return l->paused[pool];
}

bool lines_may_query(const struct lines *l, int64_t shortcode)
{
    const struct line *line = lines_find(l, shortcode);

    return !line ||
           guard_share(l, &line->guards[OPERATION_QUERY], clock_now_us()) > 0;
}

/* --- what the gate asks --- */

/* Connecting may take the rest of the slack. */
int64_t lines_begin_us(struct lines *l, int64_t shortcode, int64_t send_us)
{
    struct line *line = lines_find(l, shortcode);
    int64_t late_us = l->cfg->lines_slack_ms * US_PER_MS / BEGIN_SHARE;

    if (!line || !send_us)
        return send_us;
    if (clock_now_us() > send_us + late_us)
        return LINES_TOO_LATE;
    return pace_release_us(&line->pace, send_us, clock_now_us());
}

static const char *objection(const struct lines *l, const struct line *line,
                             int64_t send_us)
{
    int64_t now_us = clock_now_us();

    if (!lines_sure(l))
        return "this worker knows too little of its line";
    if (line->gone)
        return "its shortcode was taken out of the settings";
    if (now_us < line->stopped_until_us)
        return "the provider wants us to wait";
    if (line_share(l, line, now_us) <= 0)
        return "the breaker of its line is open";
    if (!send_us)
        return line_paced(l, line, now_us) ? "its line is paced by now" : NULL;
    return now_us > send_us + l->cfg->lines_slack_ms * US_PER_MS
               ? "its time to go out has passed"
               : NULL;
}

bool lines_may_send(struct lines *l, int64_t shortcode, int64_t send_us,
                    const char **ret_why)
{
    struct line *line = lines_find(l, shortcode);
    const char *why = line ? objection(l, line, send_us) : NULL;

    if (!why)
        return true;
    metric_add(M_PUSHES_HELD, 1);
    *ret_why = why;
    return false;
}

/* --- what calls tell --- */

void lines_began(struct lines *l, enum operation op, int64_t shortcode)
{
    struct line *line = lines_find(l, shortcode);
    int64_t now_us = clock_now_us();

    if (!line)
        return;
    window_began(&line->guards[op].window, now_us);
    if (op != OPERATION_PUSH)
        return;
    window_began(&l->way.window, now_us);
    line->begun++;
}

static void trip(struct lines *l, struct guard *g, enum trip why)
{
    if (g->trip || !why)
        return;
    g->trip = why;
    lines_news(l);
}

static bool judged(const struct guard *g)
{
    return !g->row.forced &&
           (g->row.state == BREAKER_CLOSED || g->row.state == BREAKER_TRIAL ||
            g->row.state == BREAKER_RAMP);
}

/* It is the way when more than one shortcode has calls, and none of them gets
   through; else each is its own matter. */
static bool all_unreachable(const struct lines *l, int64_t now_us)
{
    size_t called = 0;

    for (size_t i = 0; i < l->n; i++) {
        struct window_sum sum = window_sum(
            &l->items[i]->guards[OPERATION_PUSH].window, &l->policy, now_us);

        if (sum.unreachable * 100 < sum.calls * l->policy.faults_percent)
            return false;
        called += sum.calls > 0;
    }
    return called > 1;
}

void lines_judge(struct lines *l)
{
    int64_t now_us = clock_now_us();

    for (size_t i = 0; i < l->n; i++)
        for (int op = 0; op < OPERATIONS_N; op++) {
            struct guard *g = &l->items[i]->guards[op];

            if (judged(g))
                trip(l, g, window_trips(&g->window, &l->policy, now_us));
        }
    if (judged(&l->way) && all_unreachable(l, now_us) &&
        window_trips(&l->way.window, &l->policy, now_us) == TRIP_UNREACHABLE)
        trip(l, &l->way, TRIP_UNREACHABLE);
}

/* What was sent when the trial had begun already. */
static void tell_trial(struct lines *l, struct guard *g, enum outcome outcome,
                       int64_t began_us)
{
    if (!breaker_on_trial(&g->row) || began_us < g->row.since_us)
        return;
    if (outcome == OUTCOME_FINE) {
        g->fine++;
        lines_news(l);
    } else if (outcome != OUTCOME_NONE && outcome != OUTCOME_THROTTLED) {
        trip(l, g, TRIP_TRIAL);
    }
}

static void tell_throttle(struct lines *l, struct line *line,
                          int64_t retry_after_s)
{
    int64_t wait_us = MIN(MAX(retry_after_s, 0), RETRY_AFTER_MAX_S) * US_PER_S;

    metric_add(M_THROTTLED, 1);
    line->throttled = true;
    line->retry_after_us = MAX(line->retry_after_us, wait_us);
    line->stopped_until_us =
        MAX(line->stopped_until_us, clock_now_us() + wait_us);
    lines_news(l);
}

/* An answer, whatever it says, came by the way; a lost one says nothing. */
static void tell_way(struct lines *l, enum outcome outcome, int64_t took_us)
{
    static const enum outcome of_way[] = {
        [OUTCOME_FINE] = OUTCOME_FINE,
        [OUTCOME_FAULT] = OUTCOME_NONE,
        [OUTCOME_UNREACHABLE] = OUTCOME_UNREACHABLE,
        [OUTCOME_THROTTLED] = OUTCOME_FINE,
        [OUTCOME_NONE] = OUTCOME_NONE,
    };

    window_ended(&l->way.window, &l->policy, of_way[outcome], took_us,
                 clock_now_us());
}

void lines_ended(struct lines *l, enum operation op, int64_t shortcode,
                 enum outcome outcome, int64_t took_us, int64_t retry_after_s)
{
    struct line *line = lines_find(l, shortcode);
    int64_t now_us = clock_now_us();
    struct guard *g;

    if (!line)
        return;
    g = &line->guards[op];
    window_ended(&g->window, &l->policy, outcome, took_us, now_us);
    if (op == OPERATION_PUSH) {
        tell_way(l, outcome, took_us);
        tell_trial(l, g, outcome, now_us - took_us);
        if (outcome == OUTCOME_THROTTLED)
            tell_throttle(l, line, retry_after_s);
    }
    if (outcome == OUTCOME_FAULT || outcome == OUTCOME_UNREACHABLE)
        lines_judge(l);
}

struct guard *lines_guard(struct lines *l, enum operation op, int64_t shortcode)
{
    struct line *line = lines_find(l, shortcode);

    if (!shortcode)
        return &l->way;
    return line ? &line->guards[op] : NULL;
}

void lines_probed(struct lines *l, enum operation op, int64_t shortcode,
                  bool fine)
{
    struct guard *g = lines_guard(l, op, shortcode);

    metric_add(fine ? M_PROBES_FINE : M_PROBES_FAILED, 1);
    if (!g)
        return;
    g->probing = false;
    if (g->probed != g->row.version)
        return; /* another one's to end by now */
    g->news.probe = fine ? PROBE_FINE : PROBE_FAILED;
    lines_news(l);
}

/* --- life --- */

static bool turn(void *arg)
{
    struct lines *l = arg;
    int64_t now_us = clock_now_us();

    for (size_t i = 0; i < l->n; i++)
        lapse(l, l->items[i], now_us);
    metric_set(M_LINES_UNSURE, !lines_sure(l));
    return false;
}

static void init_guard(struct guard *g, enum operation op, int64_t shortcode)
{
    g->row = (struct breaker){.op = op, .shortcode = shortcode};
}

static struct line *add_line(struct lines *l, const struct shortcode *sc)
{
    struct line *line = NEW(struct line);

    line->shortcode = sc->shortcode;
    (void)snprintf(line->name, sizeof(line->name), "line %lld",
                   (long long)sc->shortcode);
    line->throttles = -1;
    line->rate = (double)sc->rate;
    for (int op = 0; op < OPERATIONS_N; op++)
        init_guard(&line->guards[op], (enum operation)op, sc->shortcode);
    l->items = must_grow(l->items, l->n + 1, sizeof(*l->items));
    l->items[l->n++] = line;
    return line;
}

static void take_settings(struct lines *l)
{
    for (size_t i = 0; i < l->cfg->shortcodes_n; i++) {
        const struct shortcode *sc = &l->cfg->shortcodes[i];
        struct line *line = lines_find(l, sc->shortcode);

        if (!line)
            line = add_line(l, sc);
        line->allowed = sc->rate;
        line->gone = sc->gone;
    }
}

void lines_renewed(struct lines *l)
{
    take_settings(l);
    l->made = false;
    lines_news(l);
}

struct lines *lines_new(struct loop *loop, const struct config *cfg,
                        const struct lines_spec *spec)
{
    struct lines *l = NEW(struct lines);
    struct pg_spec pg = {
        .conninfo = cfg->database_conninfo,
        .password = cfg->database_password,
        .application_name = "foleni-worker lines",
        .statements = lines_statements,
        .statements_n = LINES_SQL_N,
        .units_max = 4,
        .session = lines_session,
        .on_state = lines_on_state,
        .arg = l,
    };

    l->loop = loop;
    l->cfg = cfg;
    l->spec = *spec;
    breaker_policy_from(cfg, &l->policy);
    take_settings(l);
    init_guard(&l->way, OPERATION_PUSH, 0);
    sign_random(&l->dice, sizeof(l->dice));
    l->dice |= 1;
    timer_init(&l->next, lines_look, l);
    l->pg = pg_new(loop, &pg);
    loop_add_room(loop, turn, l);
    return l;
}

void lines_free(struct lines *l)
{
    if (!l)
        return;
    timer_cancel(l->loop, &l->next);
    pg_free(l->pg);
    for (size_t i = 0; i < l->n; i++)
        free(l->items[i]);
    free(l->items);
    free(l);
}
