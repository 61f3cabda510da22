/*
 * Reading the rows of tasks that do not have theirs in hand, or lost a race, or
 * did not hear whether their write was committed.
 *
 * A write whose answer was lost may have landed: when the row is just what the
 * task wanted, its actions follow as if the answer had come. But a new attempt
 * is given back as not sent, since a push follows a commit that was heard of.
 * Otherwise the flow decides anew on what is there.
 *
 * A receipt that is about to be bound is looked for as well: who has it on
 * weaker evidence loses it first (rule S15), and then all is read once more.
 *
 * Callbacks that belong to no row are kept here too, byte for byte.
 */
#include "common/log.h"
#include "common/must.h"
#include "consumer/consumer_priv.h"

#include <stdlib.h>

/* Whether the row is what this task wrote without hearing of it, and not what
   another worker made of another event: the instant of the change tells. */
static bool landed(const struct task *t, const struct payment *row)
{
    const struct payment *next = &t->out.next;

    return t->unsure && next->version > t->seen.version &&
           row->version == next->version && row->state == next->state &&
           row->attempt == next->attempt && row->owner == next->owner &&
           row->updated_at == next->updated_at;
}

/* Whether the row is in the attempt that this task began without hearing of
   it, or was taken over in it. */
static bool took_unheard(const struct task *t, const struct payment *row)
{
    const struct payment *next = &t->out.next;

    return t->unsure && t->out.actions[FLOW_DO_PUSH] &&
           row->attempt == next->attempt && row->owner == next->owner &&
           (row->state == PAYMENT_SENDING || row->state == PAYMENT_UNKNOWN);
}

/* Whether another task of this worker has that attempt in hand: the due-scan
   may have come round to the payment while this one waited. */
static bool in_other_hands(const struct task *t, const struct payment *row)
{
    struct list *live = &t->consumer->live;

    for (struct list *l = live->next; l != live; l = l->next) {
        const struct task *x = container_of(l, struct task, alive);

        if (x != t && x->seen.attempt == row->attempt &&
            uuid_equal(&x->seen.req.id, &row->req.id))
            return true;
    }
    return false;
}

/* A read proves nothing about the standby (rule S1) and comes late: nothing was
   sent, and another attempt follows with a commit of its own. */
static void give_back(struct task *t)
{
    task_unpromise(t);
    t->event.kind = FLOW_NOT_SENT;
    t->event.attempt = t->out.next.attempt;
}

/* --- receipts --- */

/* Another look could find a holder each time only if the flow let it keep what
   it has to lose. The look is never left out: the event comes again later. */
#define HOLDERS_MAX 5

/* Of what says that the receipt is this payment's; NONE = nothing says so. */
static enum evidence strength(const struct task *t)
{
    const struct flow_event *e = &t->event;

    if (e->kind == FLOW_CALLBACK && e->verdict.kind == VERDICT_PAID)
        return EVIDENCE_CALLBACK;
    if (e->kind == FLOW_RESOLVED && e->decision == RESOLVE_PAID)
        return EVIDENCE_PERSON;
    return e->kind == FLOW_MONEY ? e->evidence : EVIDENCE_NONE;
}

static bool brings_receipt(const struct task *t)
{
    return *t->event.money.receipt && strength(t) != EVIDENCE_NONE;
}

static void holder_found(void *tag, const struct uuid *holder, bool equal)
{
    struct task *t = tag;

    t->holds = !holder ? HOLDER_UNSURE : equal ? HOLDER_EQUAL : HOLDER_FOUND;
    if (holder)
        t->holder = *holder;
}

static void ask_holders(struct consumer *c)
{
    size_t n = 0, max = (size_t)c->cfg->worker_batch_max;
    struct holder_row *rows = must_alloc(max, sizeof(*rows));

    for (struct list *l = c->looking.next; l != &c->looking; l = l->next) {
        struct task *t = container_of(l, struct task, node);

        t->holds = HOLDER_NONE;
        if (brings_receipt(t))
            rows[n++] = (struct holder_row){
                .payment = t->seen.req.id,
                .receipt = t->event.money.receipt,
                .evidence = strength(t),
                .tag = t,
            };
    }
    if (n)
        store_holders(c->store, rows, n, holder_found);
    free(rows);
}

/* The task waits, in no list, for the other one's end. */
static void take_receipt(struct task *t)
{
    struct task *x;

    list_remove(&t->node);
    if (++t->takes > HOLDERS_MAX) {
        t->takes = 0;
        task_refused(t, "its receipt is not given up by another payment");
        return;
    }
    x = task_new(t->consumer, NULL, &t->holder, FLOW_RECEIPT_TAKEN);
    log_warn("worker", "receipt_is_anothers", KV_ID("payment", &t->holder),
             KV_ID("by", &t->seen.req.id),
             KV("receipt", t->event.money.receipt));
    x->before = t;
    x->event.evidence = strength(t);
    text_copy(x->event.money.receipt, sizeof(x->event.money.receipt),
              t->event.money.receipt);
    task_event(x);
}

/* --- rows --- */

static void row_found(struct task *t, const struct payment *row)
{
    list_remove(&t->node);
    if (t->unproven) {
        keys_judge(t, row);
        return;
    }
    if (took_unheard(t, row)) {
        if (!in_other_hands(t, row))
            give_back(t);
    } else if (landed(t, row)) {
        task_act(t, 0);
        return;
    }
    if (task_momentary(t) || (t->fence && row->version != t->fence)) {
        task_end(t);
        return;
    }
    t->seen = *row;
    t->unsure = false;
    list_append(&t->consumer->to_step, &t->node);
}

/* A callback of no payment is looked up once more when it is kept: a payment
   that was entered in between would miss it otherwise. */
static const char stray_unknown[] = STRAY_UNKNOWN;

static void stray_kept(void *arg, const struct err *err)
{
    struct task *t = arg;

    if (err)
        task_not_kept(t, err);
    else if (t->stray == stray_unknown)
        list_append(&t->consumer->to_look, &t->node);
    else
        task_end(t);
}

static void keep(struct task *t)
{
    list_remove(&t->node);
    t->unkept = false;
    store_stray(t->consumer->store, &t->seen.req.id, t->event.attempt, t->stray,
                t->record->value, t->record->value_len, stray_kept, t);
}

void task_keep_stray(struct task *t, const char *why)
{
    t->stray = why;
    keep(t);
}

static void row_missing(struct task *t)
{
    list_remove(&t->node);
    if (t->unproven) {
        keys_judge(t, NULL);
        return;
    }
    if (t->stray == stray_unknown) {
        task_end(t);
        return;
    }
    log_error("worker", "payment_not_found", KV_ID("payment", &t->seen.req.id),
              KV("event", flow_event_name(t->event.kind)));
    if (t->record)
        task_keep_stray(t, stray_unknown);
    else
        task_end(t);
}

static void look_done(void *arg, const struct payment *rows, size_t n,
                      int64_t db_now_at, const struct err *err)
{
    struct consumer *c = arg;
    struct list batch;
    struct list *l;

    c->look_busy = false;
    list_init(&batch);
    list_splice(&batch, &c->looking);
    if (err) {
        list_splice(&c->to_look, &batch);
        return;
    }
    consumer_set_db_now(c, db_now_at);
    while ((l = list_shift(&batch))) {
        struct task *t = container_of(l, struct task, node);
        size_t i = 0;

        while (i < n && !uuid_equal(&rows[i].req.id, &t->seen.req.id))
            i++;
        t->event.shared = t->holds == HOLDER_EQUAL;
        if (t->holds == HOLDER_FOUND)
            take_receipt(t);
        else if (t->holds == HOLDER_UNSURE)
            list_append(&c->to_look, &t->node);
        else if (i < n)
            row_found(t, &rows[i]);
        else
            row_missing(t);
    }
}

static void look(struct consumer *c)
{
    size_t n = 0, max = (size_t)c->cfg->worker_batch_max;
    struct list *l;

    while (n < max && (l = list_shift(&c->to_look))) {
        c->look_ids[n++] = container_of(l, struct task, node)->seen.req.id;
        list_append(&c->looking, l);
    }
    c->look_busy = true;
    ask_holders(c);
    store_look(c->store, c->look_ids, n, look_done, c);
}

void looks_run(struct consumer *c)
{
    if (!list_empty(&c->to_keep))
        keep(container_of(c->to_keep.next, struct task, node));
    if (!c->look_busy && !list_empty(&c->to_look))
        look(c);
}
