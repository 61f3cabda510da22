/*
 * The lines between their room and the others: the gate asks them just before
 * the first byte and tells them how calls end; their probes go through it.
 */
#include "consumer/consumer_priv.h"

#include "common/must.h"

#include <stdlib.h>

static int64_t begin_us(void *arg, int64_t shortcode, int64_t send_us)
{
    return lines_begin_us(arg, shortcode, send_us);
}

static bool may_send(void *arg, int64_t shortcode, int64_t send_us,
                     const char **ret_why)
{
    return lines_may_send(arg, shortcode, send_us, ret_why);
}

static void began(void *arg, enum operation op, int64_t shortcode)
{
    lines_began(arg, op, shortcode);
}

static void ended(void *arg, enum operation op, int64_t shortcode,
                  enum outcome outcome, int64_t took_us, int64_t retry_after_s)
{
    lines_ended(arg, op, shortcode, outcome, took_us, retry_after_s);
}

static int64_t me(void *arg)
{
    const struct consumer *c = arg;

    return pulse_incarnation(c->pulse);
}

struct probe {
    struct lines *lines;
    enum operation op;
    int64_t shortcode;
};

static void probe_done(void *arg, const struct gate_result *r)
{
    struct probe *p = arg;

    lines_probed(p->lines, p->op, p->shortcode, r->outcome == OUTCOME_FINE);
    free(p);
}

static bool probe(void *arg, enum operation op, int64_t shortcode)
{
    struct consumer *c = arg;
    struct probe *p;

    if (c->stopping || !gate_can_query(c->gate))
        return false;
    p = NEW(struct probe);
    *p = (struct probe){c->lines, op, shortcode};
    gate_probe(c->gate, shortcode ? shortcode : c->cfg->shortcodes[0].shortcode,
               probe_done, p);
    return true;
}

void lines_init(struct consumer *c, struct gate_lines *ret)
{
    struct lines_spec spec = {me, probe, c};

    c->lines = lines_new(c->app->loop, c->cfg, &spec);
    *ret = (struct gate_lines){begin_us, may_send, began, ended, c->lines};
}
