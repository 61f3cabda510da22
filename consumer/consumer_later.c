/*
 * Events that cannot be written: the ledger refuses what became of them, also
 * alone, or another payment keeps the receipt that they bring. They wait here,
 * later and later, and hold up nobody. So do callbacks that cannot even be kept
 * as strays, and those hold up the callbacks behind them.
 *
 * After REFUSALS_MAX times a person hears of it. What is kept elsewhere is set
 * aside there: a callback's bytes, which would hold up those behind it, as a
 * stray; a notice as refused. What the due-scan or the next look at the dead
 * comes back to ends at once. The rest, such as the end of a push, whose mark
 * in the recorder must stay until it is written, goes on, slowly.
 */
#include "common/clock.h"
#include "common/log.h"
#include "common/metrics.h"
#include "consumer/consumer_priv.h"

#include <stdio.h>

#define LATER_MIN_US (100 * US_PER_MS)
#define LATER_MAX_US (30 * US_PER_S)
#define TICK_US (100 * US_PER_MS)

static void count(int64_t by)
{
    metric_set(M_EVENTS_LATER, metric_get(M_EVENTS_LATER) + by);
}

static void arm(struct consumer *c)
{
    if (!list_empty(&c->later) && !timer_armed(&c->later_tick))
        timer_set(c->app->loop, &c->later_tick, clock_now_us() + TICK_US);
}

static void tick(void *arg)
{
    struct consumer *c = arg;
    int64_t now_us = clock_now_us();
    struct list all, *l;

    list_init(&all);
    list_splice(&all, &c->later);
    while ((l = list_shift(&all))) {
        struct task *t = container_of(l, struct task, node);
        bool due = now_us >= t->again_us;

        count(due ? -1 : 0);
        if (!due)
            list_append(&c->later, &t->node);
        else
            list_append(t->unkept ? &c->to_keep : &c->to_look, &t->node);
    }
    arm(c);
}

void laters_init(struct consumer *c)
{
    list_init(&c->later);
    timer_init(&c->later_tick, tick, c);
}

int64_t later_wait_us(int refusals)
{
    return MIN(LATER_MIN_US << MIN(refusals, 16), LATER_MAX_US);
}

bool later_is_refusal(const struct err *err)
{
    return err->code == ERR_CONFLICT || err->code == ERR_INTERNAL ||
           err->code == ERR_INPUT;
}

static void come_again(struct task *t)
{
    struct consumer *c = t->consumer;

    t->again_us = clock_now_us() + later_wait_us(t->refusals);
    count(1);
    list_append(&c->later, &t->node);
    arm(c);
}

static void ring(const struct task *t, const char *why)
{
    const struct flow_event *e = &t->event;
    char text[RESULT_TEXT_MAX + 1];

    snprintf(text, sizeof(text), "%s %s %s: %s", flow_event_name(e->kind),
             e->verdict.code, e->verdict.checkout_id, why);
    metric_add(M_ALARM_ASIDE, 1);
    log_error("worker", "event_set_aside", KV_ID("payment", &t->seen.req.id),
              KV("event", flow_event_name(e->kind)),
              KV_INT("attempt", e->attempt), KV("code", e->verdict.code),
              KV("checkout_id", e->verdict.checkout_id),
              KV("receipt", e->money.receipt), KV("why", why));
    store_alarm(t->consumer->store, &t->seen.req.id, e->attempt, "set_aside",
                text);
}

/* Whether somebody comes back to it who finds it where it was. */
static bool is_found_again(const struct task *t)
{
    switch (t->event.kind) {
    case FLOW_DUE:
    case FLOW_PHONE_BUSY:
    case FLOW_QUERY:
    case FLOW_ORPHAN:
    case FLOW_NEVER_BEGAN:
    case FLOW_NO_TRACE:
    case FLOW_NO_MONEY:
    case FLOW_CANCEL: return true;
    case FLOW_RECEIPT_TAKEN: return !t->notice;
    case FLOW_CLAIM:
    case FLOW_NOT_SENT:
    case FLOW_ANSWER:
    case FLOW_LOST:
    case FLOW_CALLBACK:
    case FLOW_MONEY:
    case FLOW_RESOLVED:
    case FLOW_REPLAYED:
    case FLOW_RECOVERED: break;
    }
    /* what a dead worker's recorder shows */
    return t->event.owner != pulse_incarnation(t->consumer->pulse);
}

void task_refused(struct task *t, const char *why)
{
    list_remove(&t->node);
    if (is_found_again(t)) {
        task_end(t);
        return;
    }
    if (++t->refusals == REFUSALS_MAX) {
        ring(t, why);
        if (t->record) {
            task_keep_stray(t, "refused by the ledger");
            return;
        }
        if (t->notice) {
            t->out.refused = "the ledger refused it";
            task_end(t);
            return;
        }
    }
    come_again(t);
}

void task_not_kept(struct task *t, const struct err *err)
{
    t->unkept = true;
    if (later_is_refusal(err) && ++t->refusals == REFUSALS_MAX)
        ring(t, err->text);
    come_again(t);
}
