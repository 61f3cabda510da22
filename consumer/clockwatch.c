/*
 * What is known of the distance between the two clocks is an interval: the
 * database read its clock at some moment between sending and answer. Two
 * intervals that are STEP apart at their nearest ends contradict each other.
 */
#include "consumer/clockwatch.h"

#include "common/clock.h"

#define STEP_US (5 * US_PER_S)
#define FUTURE_US (30 * US_PER_S)
#define AGREES_US (10 * US_PER_S) /* before a doubt ends by itself */
#define NARROW_US US_PER_S /* an answer that is worth being believed anew */

/* How far the answer's interval lies from what is believed, with its sign. */
static int64_t distance(const struct clockwatch *w, int64_t least_us,
                        int64_t most_us)
{
    if (least_us > w->most_us)
        return least_us - w->most_us;
    return most_us < w->least_us ? most_us - w->least_us : 0;
}

static void believe(struct clockwatch *w, int64_t least_us, int64_t most_us)
{
    w->believed = true;
    w->least_us = least_us;
    w->most_us = most_us;
}

static bool doubt(struct clockwatch *w, int64_t step_us)
{
    bool began = !w->doubted;

    w->doubted = true;
    w->agrees_us = 0;
    w->step_us = step_us;
    return began;
}

static bool agrees(struct clockwatch *w, int64_t came_us)
{
    if (!w->doubted)
        return false;
    if (!w->agrees_us)
        w->agrees_us = came_us;
    w->doubted = came_us - w->agrees_us < AGREES_US;
    return !w->doubted;
}

bool clockwatch_answer(struct clockwatch *w, int64_t sent_us, int64_t came_us,
                       int64_t db_at)
{
    int64_t least_us = db_at - came_us, most_us = db_at - sent_us, off_us;

    if (!w->believed) {
        believe(w, least_us, most_us);
        return false;
    }
    off_us = distance(w, least_us, most_us);
    if (off_us > STEP_US || off_us < -STEP_US)
        return doubt(w, off_us);
    if (came_us - sent_us <= NARROW_US)
        believe(w, least_us, most_us); /* so a clock may be slewed for ever */
    return agrees(w, came_us);
}

bool clockwatch_appended(struct clockwatch *w, int64_t append_at, int64_t db_at)
{
    if (append_at - db_at <= FUTURE_US)
        return false;
    (void)doubt(w, db_at - append_at);
    return true;
}

void clockwatch_accept(struct clockwatch *w)
{
    *w = (struct clockwatch){0};
}

int64_t clockwatch_db_at(const struct clockwatch *w, int64_t now_us)
{
    if (!w->believed)
        return 0;
    return now_us + w->least_us + (w->most_us - w->least_us) / 2;
}
