/*
 * The moves of a breaker. Each state has a function that says what may become
 * of it; nothing else decides.
 */
#include "consumer/breaker.h"

#include "common/base.h"
#include "common/clock.h"
#include "common/config.h"
#include "common/must.h"
#include "common/payment.h"
#include "consumer/retry.h"

/* Part of an opening's time that is drawn by lot. */
#define JITTER_SHARE 4
#define RAMP_FROM 0.1
/* Permits of a trial for each call that has to end well: some go down with the
   worker that took them. */
#define PERMITS_PER_CALL 2

void breaker_policy_from(const struct config *cfg, struct breaker_policy *ret)
{
    *ret = (struct breaker_policy){
        .window_us = cfg->breaker_window_ms * US_PER_MS,
        .calls_min = (int)cfg->breaker_calls_min,
        .faults_percent = (int)cfg->breaker_faults_percent,
        .stall_us = cfg->breaker_stall_ms * US_PER_MS,
        .stall_calls_min = (int)cfg->breaker_stall_calls_min,
        .open_min_us = cfg->breaker_open_min_ms * US_PER_MS,
        .open_max_us = cfg->breaker_open_max_ms * US_PER_MS,
        .probe_us = cfg->breaker_probe_ms * US_PER_MS,
        .trial_calls = (int)cfg->breaker_trial_calls,
        /* as long as the calls of a trial may take */
        .trial_us = (cfg->gate_connect_timeout_ms + cfg->gate_total_timeout_ms +
                     cfg->worker_lease_ms) *
                    US_PER_MS,
        .ramp_us = cfg->breaker_ramp_ms * US_PER_MS,
    };
}

struct move {
    const struct breaker *was;
    const struct breaker_news *news;
    const struct breaker_policy *policy;
    int64_t me, now_us;
    uint32_t dice;
    struct breaker *b; /* becomes */
};

static bool go(struct move *m, enum breaker_state to, int64_t until_us)
{
    m->b->state = to;
    m->b->since_us = m->now_us;
    m->b->until_us = until_us;
    m->b->prober = 0;
    m->b->permits = m->b->fine = 0;
    return true;
}

/* Somewhat less or more, so that what depends on one provider does not knock in
   step. */
static bool open_for(struct move *m, int64_t us, const char *cause)
{
    us = MIN(MAX(us, m->policy->open_min_us), m->policy->open_max_us);
    text_copy(m->b->cause, sizeof(m->b->cause), cause);
    m->b->open_us = us;
    return go(m, BREAKER_OPEN,
              m->now_us + retry_between(us - us / JITTER_SHARE,
                                        us + us / JITTER_SHARE, m->dice));
}

static bool open_longer(struct move *m, const char *cause)
{
    return open_for(m, retry_gap(1, m->was->open_us, m->policy->open_max_us),
                    cause);
}

static bool over(const struct move *m)
{
    return m->now_us >= m->was->until_us;
}

static bool from_closed(struct move *m)
{
    return m->news->trip &&
           open_for(m, m->policy->open_min_us, trip_text(m->news->trip));
}

static bool probe_by_me(struct move *m)
{
    go(m, BREAKER_HALF, m->now_us + m->policy->probe_us);
    m->b->prober = m->me;
    return true;
}

static bool from_open(struct move *m)
{
    return over(m) && probe_by_me(m);
}

static bool begin_trial(struct move *m)
{
    go(m, BREAKER_TRIAL, m->now_us + m->policy->trial_us);
    m->b->permits = PERMITS_PER_CALL * m->policy->trial_calls;
    return true;
}

static bool begin_ramp(struct move *m)
{
    return go(m, BREAKER_RAMP, m->now_us + m->policy->ramp_us);
}

static bool probe_fine(struct move *m)
{
    if (m->was->op != OPERATION_PUSH)
        return go(m, BREAKER_CLOSED, 0);
    return m->was->shortcode ? begin_trial(m) : begin_ramp(m);
}

/* Another worker's probe is that one's to end, as long as its lease holds. */
static bool from_half(struct move *m)
{
    if (m->was->prober == m->me && m->news->probe == PROBE_FINE)
        return probe_fine(m);
    if (m->was->prober == m->me && m->news->probe == PROBE_FAILED)
        return open_longer(m, m->was->cause);
    return over(m) && probe_by_me(m);
}

/* At its end one that ended well is enough, and none while permits are left
   means that nobody had a payment. */
static bool from_trial(struct move *m)
{
    if (m->news->trip)
        return open_longer(m, trip_text(m->news->trip));
    if (m->was->fine >= m->policy->trial_calls)
        return begin_ramp(m);
    if (!over(m))
        return false;
    if (m->was->fine)
        return begin_ramp(m);
    return m->was->permits < m->policy->trial_calls * PERMITS_PER_CALL &&
           begin_trial(m);
}

static bool from_ramp(struct move *m)
{
    if (m->news->trip)
        return open_longer(m, trip_text(m->news->trip));
    return over(m) && go(m, BREAKER_CLOSED, 0);
}

bool breaker_move(const struct breaker *b, const struct breaker_news *news,
                  const struct breaker_policy *policy, int64_t me,
                  int64_t now_us, uint32_t dice, struct breaker *ret)
{
    static bool (*const from[])(struct move * m) = {
        [BREAKER_CLOSED] = from_closed, [BREAKER_OPEN] = from_open,
        [BREAKER_HALF] = from_half,     [BREAKER_TRIAL] = from_trial,
        [BREAKER_RAMP] = from_ramp,
    };
    struct breaker next = *b;
    struct move m = {b, news, policy, me, now_us, dice, &next};

    must(b->state < ARRAY_LEN(from));
    if (!b->version || b->forced || !from[b->state](&m))
        return false;
    *ret = next;
    return true;
}

static double ramp_share(const struct breaker *b,
                         const struct breaker_policy *policy, int64_t now_us)
{
    double left = (double)(b->until_us - now_us) / (double)policy->ramp_us;

    return MIN(MAX(1 - (1 - RAMP_FROM) * left, RAMP_FROM), 1);
}

double breaker_share(const struct breaker *b,
                     const struct breaker_policy *policy, int64_t now_us)
{
    if (b->forced)
        return b->forced == FORCED_CLOSED;
    if (b->state == BREAKER_OPEN || b->state == BREAKER_HALF)
        return 0;
    return b->state == BREAKER_RAMP ? ramp_share(b, policy, now_us) : 1;
}

bool breaker_on_trial(const struct breaker *b)
{
    return !b->forced && b->state == BREAKER_TRIAL;
}

const char *trip_text(enum trip trip)
{
    static const char *const texts[TRIPS_N] = {
        [TRIP_NONE] = "",
        [TRIP_FAULTS] = "calls fail or get no answer",
        [TRIP_UNREACHABLE] = "the provider is not reached",
        [TRIP_STALL] = "calls are out and no answer comes",
        [TRIP_TRIAL] = "a push of the trial failed",
    };

    must(trip < TRIPS_N);
    return texts[trip];
}

const char *operation_name(enum operation op)
{
    static const char *const names[OPERATIONS_N] = {"push", "query", "token"};

    must(op < OPERATIONS_N);
    return names[op];
}

const char *breaker_state_name(const struct breaker *b)
{
    static const char *const names[] = {
        [BREAKER_CLOSED] = "closed",  [BREAKER_OPEN] = "open",
        [BREAKER_HALF] = "half-open", [BREAKER_TRIAL] = "on trial",
        [BREAKER_RAMP] = "ramping",
    };

    if (b->forced)
        return b->forced == FORCED_OPEN ? "forced open" : "forced closed";
    return names[b->state];
}
