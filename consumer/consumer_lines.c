/*
 * The lines between their room and the others: the gate asks them just before
 * the first byte and tells them how calls end.
 */
#include "consumer/consumer_priv.h"

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

static void on_news(void *arg)
{
    (void)arg; /* the driver's turn looks at the lines by itself */
}

void lines_init(struct consumer *c, struct gate_lines *ret)
{
    struct lines_spec spec = {on_news, c};

    c->lines = lines_new(c->app->loop, c->cfg, &spec);
    *ret = (struct gate_lines){begin_us, may_send, began, ended, c->lines};
}
