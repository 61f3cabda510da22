/*
 * Cancels of payments that are claimed: the flow decides, on the version that
 * is there. One that has had its say, or came too late for it, is forgotten;
 * one whose payment nobody knows waits for its claim.
 */
#include "common/must.h"
#include "consumer/consumer_priv.h"

#include <stdlib.h>

/* Whether there is nothing left to be done about it. Only the ledger's word
   counts: a task of it may have been lost. */
static bool has_ended(const struct cancel_row *row)
{
    return row->over || (row->known && !flow_may_cancel(&row->payment));
}

static void begin(struct consumer *c, const struct cancel_row *row)
{
    struct task *t = task_new(c, &row->payment, NULL, FLOW_CANCEL);

    text_copy(t->event.why.text, sizeof(t->event.why.text), row->text);
    task_event(t);
}

static void found(void *arg, const struct cancel_row *rows, size_t n,
                  const struct err *err)
{
    struct consumer *c = arg;
    const struct cancel_row **ended;
    size_t ended_n = 0;

    c->cancels_busy = false;
    if (err)
        return;
    ended = must_alloc(MAX(n, 1), sizeof(*ended));
    for (size_t i = 0; i < n; i++) {
        if (has_ended(&rows[i]))
            ended[ended_n++] = &rows[i];
        else if (rows[i].known)
            begin(c, &rows[i]);
    }
    if (ended_n)
        store_uncancel(c->store, ended, ended_n);
    free(ended);
}

void cancels_scan(struct consumer *c)
{
    if (c->cancels_busy)
        return;
    c->cancels_busy = true;
    store_cancels(c->store, (size_t)c->cfg->worker_batch_max, found, c);
}
