/*
 * Takeover: what a dead worker had in the air. Its `sending` payments become
 * unknown, whoever finds them (rule S8). What its flight recorder shows is
 * evidence, and only a process of its own host can read it: never begun → the
 * payment is tried again and no attempt is burned; an answer → as if it had
 * come now; begun and no answer → other evidence has to speak.
 */
#include "common/clock.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/must.h"
#include "common/windows.h"
#include "consumer/consumer_priv.h"

#include <string.h>

/* An answer that the dead worker noted and could not store. */
void mark_answer(struct flow_event *e, const struct recorder_mark *mark)
{
    struct verdict *v = &e->verdict;

    e->kind = FLOW_ANSWER;
    verdict_by_name(mark->verdict, v);
    text_copy(v->code, sizeof(v->code), mark->code);
    text_copy(v->checkout_id, sizeof(v->checkout_id), mark->checkout_id);
    text_copy(v->merchant_id, sizeof(v->merchant_id), mark->merchant_id);
}

/* What the recorder says of one payment in `unknown`. */
static void read_mark(struct task *t, const struct recorder_reading *reading)
{
    struct recorder_mark mark = {.begun = true};

    if (reading)
        mark = recorder_find(reading, &t->seen.req.id, t->seen.attempt);
    if (mark.answered)
        mark_answer(&t->event, &mark);
    else
        t->event.kind = mark.begun ? FLOW_NO_TRACE : FLOW_NEVER_BEGAN;
}

static void orphan(struct consumer *c, const struct dead_worker *dead,
                   const struct payment *p)
{
    struct task *t = task_new(c, p, NULL, FLOW_ORPHAN);

    t->event.owner = dead->incarnation;
    metric_add(M_TAKEN_OVER, 1);
    task_event(t);
}

static void settle(struct consumer *c, const struct dead_worker *dead)
{
    if (!dead->here && !dead->forgotten)
        return; /* a process of its host may still read its recorder */
    if (dead->here && intake_stopped(c->intake))
        return; /* its recorder may show what `foleni recover` will enter */
    if (dead->here && *dead->recorder)
        recorder_remove(dead->recorder);
    pulse_settled(c->pulse, dead->incarnation);
    log_info("worker", "dead_worker_settled",
             KV_INT("incarnation", dead->incarnation), KV("host", dead->host));
}

void consumer_orphans(void *arg, const struct dead_worker *dead,
                      const struct payment *rows, size_t n)
{
    struct consumer *c = arg;
    struct recorder_reading *reading = NULL;
    enum recorder_state state;

    if (!memory_sure(c))
        return; /* found again */
    if (!n) {
        settle(c, dead);
        return;
    }
    if (consumer_crowded(c))
        return; /* they are found again */
    log_warn("worker", "taking_over", KV_INT("incarnation", dead->incarnation),
             KV("host", dead->host), KV_INT("payments", n));
    WINDOW(taking_over);
    state = *dead->recorder && dead->here
                ? recorder_read(dead->recorder, &reading)
                : RECORDER_GONE;
    for (size_t i = 0; i < n; i++) {
        if (rows[i].state == PAYMENT_SENDING) {
            orphan(c, dead, &rows[i]);
        } else if (state != RECORDER_ALIVE) {
            struct task *t = task_new(c, &rows[i], NULL, FLOW_NO_TRACE);

            t->event.owner = dead->incarnation;
            read_mark(t, reading);
            task_event(t);
        }
    }
    recorder_reading_free(reading);
}
