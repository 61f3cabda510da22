/*
 * A payment that Postgres had forgotten and that was entered anew as unknown:
 * its callbacks may have been read again before it was, and were kept as strays
 * then. Each look at it takes them in once more; the flow makes nothing of one
 * that it knows.
 */
#include "common/log.h"
#include "common/must.h"
#include "common/recovered.h"
#include "consumer/consumer_priv.h"

#include <stdlib.h>
#include <string.h>

struct strays {
    struct consumer *consumer;
    struct uuid payment;
};

static void stray_found(void *arg, int attempt, const char *body, size_t len)
{
    struct strays *s = arg;
    struct callback cb;
    struct task *t;
    struct err err;

    if (!body) {
        free(s);
        return;
    }
    if (wire_read_callback(body, len, &cb, &err))
        return; /* it stays what it is, a stray */
    log_info("worker", "stray_callback_applied", KV_ID("payment", &s->payment),
             KV_INT("attempt", attempt));
    t = task_new(s->consumer, NULL, &s->payment, FLOW_CALLBACK);
    callback_event(&t->event, &cb, attempt);
    task_event(t);
}

void consumer_look_at_strays(struct consumer *c, const struct payment *p)
{
    struct strays *s;

    if (p->state != PAYMENT_UNKNOWN || strcmp(p->code, RECOVERED_CODE) != 0)
        return;
    s = NEW(struct strays);
    *s = (struct strays){c, p->req.id};
    store_strays(c->store, &p->req.id, STRAY_UNKNOWN, stray_found, s);
}
