/*
 * The lines of this worker. For now every line is open and without a limit.
 */
#include "consumer/lines.h"

#include "common/must.h"

#include <stdlib.h>

struct lines {
    const struct config *cfg;
};

struct lines *lines_new(struct loop *loop, const struct config *cfg,
                        const struct lines_spec *spec)
{
    struct lines *l = NEW(struct lines);

    (void)loop, (void)spec;
    l->cfg = cfg;
    return l;
}

void lines_free(struct lines *l)
{
    free(l);
}

bool lines_sure(const struct lines *l)
{
    (void)l;
    return true;
}

size_t lines_credit(const struct lines *l, int64_t shortcode)
{
    (void)l, (void)shortcode;
    return LINES_UNLIMITED;
}

bool lines_flow(const struct lines *l)
{
    (void)l;
    return true;
}

bool lines_take(struct lines *l, int64_t shortcode, int64_t *ret_send_us)
{
    (void)l, (void)shortcode;
    *ret_send_us = 0;
    return true;
}

void lines_give_back(struct lines *l, int64_t shortcode, int64_t send_us)
{
    (void)l, (void)shortcode, (void)send_us;
}

void lines_want(struct lines *l, int64_t shortcode, size_t n)
{
    (void)l, (void)shortcode, (void)n;
}

bool lines_paused(const struct lines *l, enum priority pool)
{
    (void)l, (void)pool;
    return false;
}

bool lines_may_query(const struct lines *l, int64_t shortcode)
{
    (void)l, (void)shortcode;
    return true;
}

int64_t lines_begin_us(struct lines *l, int64_t shortcode, int64_t send_us)
{
    (void)l, (void)shortcode;
    return send_us;
}

bool lines_may_send(struct lines *l, int64_t shortcode, int64_t send_us,
                    const char **ret_why)
{
    (void)l, (void)shortcode, (void)send_us, (void)ret_why;
    return true;
}

void lines_began(struct lines *l, enum operation op, int64_t shortcode)
{
    (void)l, (void)op, (void)shortcode;
}

void lines_ended(struct lines *l, enum operation op, int64_t shortcode,
                 enum outcome outcome, int64_t took_us, int64_t retry_after_s)
{
    (void)l, (void)op, (void)shortcode, (void)outcome;
    (void)took_us, (void)retry_after_s;
}

size_t lines_health(const struct lines *l, struct health *rows, size_t max)
{
    (void)l, (void)rows, (void)max;
    return 0;
}
