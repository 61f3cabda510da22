/*
 * Between notices and the flow: C2B records off the callback topic are stored,
 * and what notices turn out to mean becomes events.
 *
 * A batch's C2B records are stored when its callbacks are decided: most then
 * find their receipt bound already, and are not stored at all. The offsets
 * follow both.
 */
#include "common/clock.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/must.h"
#include "common/wire.h"
#include "consumer/consumer_priv.h"

#include <stdlib.h>

#define STORE_AGAIN_US (100 * US_PER_MS)

/* One C2B record of the batch. */
struct money {
    const struct kafka_record *record;
    struct c2b c2b;
};

/* --- records in --- */

void callback_keep(struct consumer *c, const struct kafka_record *record,
                   const char *why)
{
    static const struct uuid nobody;
    struct task *t = task_new(c, NULL, &nobody, FLOW_CALLBACK);

    t->from_topic = true;
    t->record = record;
    c->callbacks_open++;
    task_keep_stray(t, why);
}

void notice_take(struct consumer *c, const struct kafka_record *record)
{
    struct money *m;
    struct err err;

    must(c->money_n < CALLBACKS_MAX);
    if (wire_check_c2b(record, c->cfg, &err)) {
        metric_add(M_NOTICE_BAD_MAC, 1);
        log_warn("worker", "notice_refused", KV_ERR(&err));
        return;
    }
    m = &c->money[c->money_n];
    m->record = record;
    if (!wire_read_c2b(record->value, record->value_len, &m->c2b, &err)) {
        c->money_n++;
        return;
    }
    metric_add(M_NOTICE_UNREADABLE, 1);
    log_warn("worker", "notice_kept_raw", KV_ERR(&err));
    callback_keep(c, record, "unreadable C2B notice");
}

static void money_stored(void *arg, size_t stored, const struct err *err)
{
    struct consumer *c = arg;

    c->money_busy = false;
    if (err) {
        log_warn("worker", "notices_not_stored", KV_ERR(err));
        timer_set(c->app->loop, &c->money_again,
                  clock_now_us() + STORE_AGAIN_US);
        return;
    }
    metric_add(M_NOTICE_STORED, stored);
    metric_add(M_NOTICE_KNOWN, c->money_n - stored);
    c->money_n = 0;
}

static void store_money(struct consumer *c)
{
    struct notice_record *rows = must_alloc(c->money_n, sizeof(*rows));

    for (size_t i = 0; i < c->money_n; i++) {
        const struct money *m = &c->money[i];

        rows[i] = (struct notice_record){
            .source = EVIDENCE_C2B,
            .receipt = m->c2b.receipt,
            .shortcode = m->c2b.shortcode,
            .phone = m->c2b.msisdn,
            .amount = m->c2b.amount,
            .reference = m->c2b.reference,
            .paid_at = m->c2b.paid_at,
            .body = m->record->value,
            .body_len = m->record->value_len,
        };
    }
    c->money_busy = true;
    notice_put(c->notice, rows, c->money_n, money_stored, c);
    free(rows);
}

bool notices_pending(struct consumer *c)
{
    if (c->money_n && !c->money_busy && !timer_armed(&c->money_again) &&
        notice_up(c->notice))
        store_money(c);
    return c->money_n > 0;
}

static void money_again(void *arg)
{
    (void)arg; /* for a turn, nothing else */
}

/* --- findings out --- */

static bool findings_wanted(void *arg)
{
    const struct consumer *c = arg;

    return !c->stopping && pulse_incarnation(c->pulse) && memory_sure(c) &&
           !consumer_crowded(c);
}

/* A decision is of one version of the payment, as the person saw it. */
static void fill(struct task *t, const struct notice_finding *f)
{
    struct flow_event *e = &t->event;

    t->notice = f->notice;
    t->fence = f->version;
    e->attempt = f->attempt;
    e->evidence = f->source;
    e->decision = f->decision;
    e->replay = f->replay;
    e->force = f->force;
    e->money.paid_at = f->paid_at;
    text_copy(e->money.receipt, sizeof(e->money.receipt), f->receipt);
    text_copy(e->why.text, sizeof(e->why.text), f->why);
}

static void on_finding(void *arg, const struct notice_finding *f)
{
    static const enum flow_event_kind kinds[] = {
        [NOTICE_MONEY] = FLOW_MONEY,
        [NOTICE_TAKEN] = FLOW_RECEIPT_TAKEN,
        [NOTICE_DECISION] = FLOW_RESOLVED,
    };
    bool replay = f->means == NOTICE_DECISION && f->decision == RESOLVE_REPLAY;
    struct task *t = task_new(arg, NULL, &f->payment,
                              replay ? FLOW_REPLAYED : kinds[f->means]);

    fill(t, f);
    task_event(t);
}

/* --- life --- */

void notices_init(struct consumer *c)
{
    struct notice_spec spec = {findings_wanted, on_finding, c};

    c->money = must_alloc(CALLBACKS_MAX, sizeof(*c->money));
    timer_init(&c->money_again, money_again, c);
    c->notice = notice_new(c->app->loop, c->cfg, &spec);
}

void notices_done(struct consumer *c)
{
    if (!c->notice)
        return;
    timer_cancel(c->app->loop, &c->money_again);
    notice_free(c->notice);
    free(c->money);
}
