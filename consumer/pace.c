/*
 * Reserved times as runs of equal steps. There are few runs: one per look at
 * the fleet's row, and single ones that were given back.
 */
#include "consumer/pace.h"

#include "common/base.h"
#include "common/clock.h"

#include <math.h>
#include <string.h>

#define ASK_MIN_US (50 * US_PER_MS)

static void remove_grant(struct pace *p, size_t i)
{
    p->grants_n--;
    memmove(&p->grants[i], &p->grants[i + 1],
            (p->grants_n - i) * sizeof(p->grants[0]));
}

static void insert(struct pace *p, const struct pace_grant *grant)
{
    size_t i = p->grants_n;

    if (!grant->n)
        return;
    if (i == PACE_GRANTS_MAX) {
        p->lapsed += grant->n;
        return;
    }
    while (i > 0 && p->grants[i - 1].first_us > grant->first_us)
        i--;
    memmove(&p->grants[i + 1], &p->grants[i],
            (p->grants_n - i) * sizeof(p->grants[0]));
    p->grants[i] = *grant;
    p->grants_n++;
}

void pace_grant(struct pace *p, const struct pace_grant *grant)
{
    insert(p, grant);
    p->step_us = grant->step_us;
}

void pace_drop(struct pace *p)
{
    p->lapsed += pace_held(p);
    p->grants_n = 0;
    p->wanted = p->taken = 0;
}

/* What was asked for was not used: then it was not wanted either. Who waits
   says so again. */
void pace_lapse(struct pace *p, int64_t now_us, int64_t slack_us)
{
    int64_t since_us = now_us - slack_us;

    while (p->grants_n && p->grants[0].first_us < since_us) {
        struct pace_grant g = p->grants[0];
        double late = (double)(since_us - g.first_us) / g.step_us;
        size_t n = late < (double)g.n ? (size_t)late + 1 : g.n;

        remove_grant(p, 0);
        g.n -= MIN(n, g.n);
        g.first_us += (int64_t)ceil(g.step_us * (double)n);
        insert(p, &g);
        p->lapsed += n;
        p->wanted = 0;
    }
}

size_t pace_held(const struct pace *p)
{
    size_t n = 0;

    for (size_t i = 0; i < p->grants_n; i++)
        n += p->grants[i].n;
    return n;
}

/* Runs may overlap, so the first one has the earliest time of all. */
bool pace_take(struct pace *p, int64_t *ret_send_us)
{
    struct pace_grant g;

    if (!p->grants_n)
        return false;
    g = p->grants[0];
    *ret_send_us = g.first_us;
    remove_grant(p, 0);
    g.first_us += (int64_t)g.step_us;
    g.n--;
    insert(p, &g);
    p->taken++;
    p->wanted -= p->wanted > 0;
    return true;
}

void pace_give_back(struct pace *p, int64_t send_us)
{
    struct pace_grant one = {send_us, p->step_us, 1};

    insert(p, &one);
    p->taken -= p->taken > 0;
}

void pace_want(struct pace *p, size_t n)
{
    p->wanted = MAX(p->wanted, n);
}

size_t pace_ask(struct pace *p, double rate, int64_t ahead_us, int64_t now_us)
{
    double most = rate * (double)ahead_us / (double)US_PER_S + 1;
    int64_t since_us = MAX(now_us - p->asked_us, ASK_MIN_US);
    double used = (double)p->taken * (double)ahead_us / (double)since_us;
    double need = MIN(MAX((double)p->wanted, used * (p->wanted ? 2 : 1)), most);
    size_t held = pace_held(p);

    p->taken = 0;
    p->asked_us = now_us;
    return need > (double)held ? (size_t)ceil(need) - held : 0;
}

int64_t pace_release_us(struct pace *p, int64_t send_us, int64_t now_us)
{
    int64_t at = MAX(send_us, p->released_us + (int64_t)(p->step_us / 2));

    if (at <= now_us)
        p->released_us = now_us;
    return at;
}
