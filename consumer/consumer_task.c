/*
 * The way of one event: looked up where the row is not in hand, decided by the
 * flow, written on the version seen, and only then acted upon. Batches of any
 * events share one statement.
 * Reading a row, the first time or again, is consumer_look.c's.
 */
#include "common/clock.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/must.h"
#include "common/sign.h"
#include "common/windows.h"
#include "consumer/consumer_priv.h"

#include <stdlib.h>
#include <string.h>

#define TRIES_WARN 20 /* rounds of one task after which the log hears of it */
#define CLOCK_ANSWER_MAX_US US_PER_S
#define LITTLE 4 /* rows of a batch that does not gather */

int64_t consumer_db_now(const struct consumer *c)
{
    int64_t now_us = clock_now_us();

    if (c->clock.believed) /* also in doubt: nothing is decided by a step */
        return clockwatch_db_at(&c->clock, now_us);
    return now_us + c->db_offset_us;
}

/* An answer that was long on its way, or met a process that was frozen, says
   little about now. */
void consumer_set_db_now(struct consumer *c, int64_t db_now_at)
{
    if (store_latency_us(c->store) < CLOCK_ANSWER_MAX_US)
        c->db_offset_us = db_now_at - clock_now_us();
}

/* --- pace --- */

bool pace_ready(struct consumer *c, const struct pace *pace)
{
    int64_t ready_us = pace->began_us + c->cfg->worker_gather_us;

    if (pace->last_n < LITTLE || clock_now_us() >= ready_us)
        return true;
    if (!timer_armed(&c->wake))
        timer_set(c->app->loop, &c->wake, ready_us);
    return false;
}

void pace_began(struct pace *pace, size_t n)
{
    pace->began_us = clock_now_us();
    pace->last_n = n;
}

/* --- tasks --- */

uint32_t consumer_dice(struct consumer *c)
{
    /* xorshift64: jitter needs no more */
    c->dice ^= c->dice << 13;
    c->dice ^= c->dice >> 7;
    c->dice ^= c->dice << 17;
    return (uint32_t)(c->dice >> 32);
}

struct task *task_new(struct consumer *c, const struct payment *seen,
                      const struct uuid *id, enum flow_event_kind kind)
{
    struct list *n = list_shift(&c->free);
    struct task *t = n ? container_of(n, struct task, node) : NEW(struct task);

    list_init(&t->node);
    list_init(&t->alive);
    t->consumer = c;
    t->seen = seen ? *seen : (struct payment){.req.id = *id};
    t->event = (struct flow_event){
        .kind = kind,
        .attempt = seen ? seen->attempt : 0,
        .dice = consumer_dice(c),
        .owner = pulse_incarnation(c->pulse),
    };
    t->recorder_slot = -1;
    t->term = pulse_term(c->pulse);
    t->send_us = 0;
    t->tries = t->takes = t->refusals = 0;
    t->again_us = 0;
    t->unsure = t->unproven = t->from_topic = t->recalls = false;
    t->promised = t->of_ledger = t->right = t->unkept = false;
    t->record = NULL;
    t->stray = NULL;
    t->notice = 0;
    t->fence = 0;
    t->holds = HOLDER_NONE;
    t->before = NULL;
    t->out.refused = NULL;
    c->tasks++;
    list_append(&c->live, &t->alive);
    return t;
}

/* It becomes no push, or is one now. */
void task_unpromise(struct task *t)
{
    t->consumer->promised -= t->promised;
    t->promised = false;
}

void task_promise(struct task *t, int64_t send_us)
{
    t->promised = t->of_ledger = t->right = true;
    t->send_us = send_us;
    t->consumer->promised++;
    t->consumer->ledger_pushes++;
}

/* Its place is free; a right that it did not use is somebody else's. */
static void leave_place(struct task *t)
{
    struct consumer *c = t->consumer;

    c->ledger_pushes -= t->of_ledger;
    t->of_ledger = false;
    if (t->right)
        lines_give_back(c->lines, t->seen.req.shortcode, t->send_us);
    t->right = false;
}

void task_end(struct task *t)
{
    struct consumer *c = t->consumer;

    task_unpromise(t);
    leave_place(t);
    list_remove(&t->node);
    list_remove(&t->alive);
    if (t->recorder_slot >= 0)
        recorder_free_slot(c->recorder, t->recorder_slot);
    if (t->from_topic)
        callback_ended(c);
    if (t->recalls)
        memory_task_ended(c);
    if (t->notice)
        notice_decided(c->notice, t->notice, t->out.refused);
    if (t->before)
        list_append(&c->to_look, &t->before->node);
    c->tasks--;
    list_append(&c->free, &t->node);
}

void task_event(struct task *t)
{
    struct consumer *c = t->consumer;

    list_remove(&t->node);
    list_append(t->seen.version ? &c->to_step : &c->to_look, &t->node);
}

/* An event about one moment ends when the moment is over: the due-scan sees
   what is due then. */
bool task_momentary(const struct task *t)
{
    return t->event.kind == FLOW_DUE;
}

static void look_again(struct task *t)
{
    if (task_momentary(t) && !t->unsure) {
        task_end(t);
        return;
    }
    if (++t->tries % TRIES_WARN == 0)
        log_warn("worker", "task_goes_round", KV_ID("payment", &t->seen.req.id),
                 KV("event", flow_event_name(t->event.kind)),
                 KV_INT("tries", t->tries));
    list_remove(&t->node);
    list_append(&t->consumer->to_look, &t->node);
}

/* --- actions --- */

static void told(void *arg, const struct uuid *payment, int version,
                 const struct err *err)
{
    struct consumer *c = arg;

    WINDOW(event_untold);
    if (err || c->told_n == (size_t)c->cfg->kafka_queue_records_max)
        return; /* owed: the due-scan finds it */
    c->told[c->told_n++] = (struct told_row){*payment, version};
}

void consumer_announce(struct consumer *c, const struct payment *p)
{
    WINDOW(event_unsent);
    tell_status(c->tell, p, told, c);
}

static void query_done(void *arg, const struct gate_result *r)
{
    struct task *t = arg;

    if (r->end == GATE_ANSWER) {
        t->event.verdict = r->verdict;
        task_event(t);
    } else {
        task_end(t); /* no information: the next due time asks again */
    }
}

static void query(struct consumer *c, const struct payment *p)
{
    struct task *t;

    if (!gate_can_query(c->gate) || c->stopping ||
        !lines_may_query(c->lines, p->req.shortcode))
        return; /* the next due time asks again */
    t = task_new(c, p, NULL, FLOW_QUERY);
    gate_query(c->gate, &t->seen, query_done, t);
}

static void push_done(void *arg, const struct gate_result *r)
{
    static const enum flow_event_kind kinds[] = {
        [GATE_NOT_SENT] = FLOW_NOT_SENT,
        [GATE_ANSWER] = FLOW_ANSWER,
        [GATE_LOST] = FLOW_LOST,
    };
    struct task *t = arg;

    leave_place(t);
    t->event.kind = kinds[r->end];
    t->event.verdict = r->verdict;
    t->event.why = r->why;
    t->event.unreachable = r->unreachable;
    t->event.token_version = r->token_version;
    t->recorder_slot = r->slot;
    task_event(t);
}

void task_push(struct task *t, int64_t lease_us)
{
    struct consumer *c = t->consumer;

    t->event.attempt = t->seen.attempt;
    task_unpromise(t);
    t->right = false;
    list_remove(&t->node);
    gate_push(c->gate, &t->seen,
              &(struct gate_right){lease_us, t->term, t->send_us}, push_done,
              t);
}

static void alarm_for(const struct payment *p, enum metric metric,
                      enum flow_action action)
{
    metric_add(metric, 1);
    log_error("worker", flow_alarm_name(action), KV_ID("payment", &p->req.id),
              KV_INT("attempt", p->attempt), KV_INT("amount", p->req.amount),
              KV_INT("shortcode", p->req.shortcode), KV("code", p->code),
              KV("text", p->text), KV("receipt", p->receipt));
}

static void act_alarms(const struct payment *p, const bool *actions)
{
    static const struct {
        enum flow_action action;
        enum metric metric;
    } alarms[] = {
        {FLOW_DO_STOP_LINE, M_ALARM_CONFIGURATION},
        {FLOW_DO_ALARM_DOUBLE, M_ALARM_DOUBLE},
        {FLOW_DO_ALARM_UNRESOLVED, M_ALARM_UNRESOLVED},
        {FLOW_DO_ALARM_LATE, M_ALARM_LATE},
        {FLOW_DO_ALARM_DIFFERS, M_ALARM_DIFFERS},
        {FLOW_DO_ALARM_TAKEN, M_ALARM_TAKEN},
        {FLOW_DO_ALARM_SHARED, M_ALARM_SHARED},
    };

    for (size_t i = 0; i < ARRAY_LEN(alarms); i++)
        if (actions[alarms[i].action])
            alarm_for(p, alarms[i].metric, alarms[i].action);
}

/* What the decision asked for, now that it is written. */
void task_act(struct task *t, int64_t lease_us)
{
    struct consumer *c = t->consumer;
    const struct payment *p = &t->out.next;
    const bool *actions = t->out.actions;

    if (actions[FLOW_DO_STOP_PUSH])
        gate_stop(c->gate, &p->req.id, p->attempt);
    act_alarms(p, actions);
    if (actions[FLOW_DO_DEAD_LETTER])
        consumer_bury(c, p);
    else if (actions[FLOW_DO_ANNOUNCE])
        consumer_announce(c, p);
    if (actions[FLOW_DO_QUERY])
        query(c, p);
    if (actions[FLOW_DO_ALARM_DOUBLE] && t->record) {
        task_keep_stray(t, "possible double charge"); /* with its receipt */
        return;
    }
    if (!actions[FLOW_DO_PUSH]) {
        task_end(t);
        return;
    }
    t->seen = *p;
    t->unsure = false;
    WINDOW(retry_claimed);
    task_push(t, lease_us);
}

/* --- deciding and writing --- */

static void step_ended(struct task *t, const struct step_row *row)
{
    if (row->end == STEP_WRITTEN) {
        task_act(t, row->lease_us);
    } else if (row->end == STEP_STALE) {
        look_again(t);
    } else if (row->end == STEP_REFUSED) {
        task_refused(t, row->why.text);
    } else {
        if (t->event.kind == FLOW_RECOVERED)
            t->event.phone_taken = true;
        else
            t->event.kind = FLOW_PHONE_BUSY;
        list_append(&t->consumer->to_step, &t->node);
    }
}

static void round_done(void *arg, int64_t db_now_at, const struct err *err)
{
    struct round *r = arg;
    struct consumer *c = r->consumer;

    r->busy = false;
    if (!err)
        consumer_set_db_now(c, db_now_at);
    else
        log_debug("worker", "round_failed", KV_ERR(err), KV_INT("rows", r->n));
    for (size_t i = 0; i < r->n; i++) {
        struct task *t = r->tasks[i];

        if (!err) {
            step_ended(t, &r->rows[i]);
            continue;
        }
        t->unsure = t->unsure || err->code == ERR_UNSURE;
        look_again(t);
    }
}

static bool in_round(const struct round *r, const struct uuid *id)
{
    for (size_t i = 0; i < r->n; i++)
        if (uuid_equal(&r->tasks[i]->seen.req.id, id))
            return true;
    return false;
}

static void add_to_round(struct round *r, struct task *t)
{
    t->term = pulse_term(t->consumer->pulse);
    r->tasks[r->n] = t;
    r->rows[r->n++] = (struct step_row){
        .seen = &t->seen,
        .next = &t->out.next,
        .cause = t->event.kind,
        .takes_phone = t->out.actions[FLOW_DO_PUSH],
        .wakes_phone = t->out.actions[FLOW_DO_WAKE_PHONE],
        .actions = t->out.actions,
        .receipt = t->event.money.receipt,
    };
}

/* Decides until the round is full. A second event about one payment waits for
   the next round, where it meets the row that the first one made. */
static void fill_round(struct consumer *c, struct round *r)
{
    int64_t now_at = consumer_db_now(c);
    struct list again, *l;

    r->n = 0;
    list_init(&again);
    while (r->n < (size_t)c->cfg->worker_batch_max &&
           (l = list_shift(&c->to_step))) {
        struct task *t = container_of(l, struct task, node);

        if (in_round(r, &t->seen.req.id)) {
            list_append(&again, &t->node);
            continue;
        }
        flow_step(&t->seen, &t->event, &c->policy, now_at, &t->out);
        if (t->out.changed)
            add_to_round(r, t);
        else
            task_act(t, 0);
    }
    list_splice(&again, &c->to_step);
    list_splice(&c->to_step, &again);
}

static struct round *idle_round(struct consumer *c)
{
    for (size_t i = 0; i < ROUNDS_N; i++)
        if (!c->rounds[i].busy)
            return &c->rounds[i];
    return NULL;
}

static void run_round(struct consumer *c, struct round *r)
{
    fill_round(c, r);
    pace_began(&c->step_pace, r->n);
    if (!r->n)
        return;
    r->busy = true;
    WINDOW(step_unsent);
    store_step(c->store, r->rows, r->n, round_done, r);
    WINDOW(step_sent);
}

void tasks_look_again(struct consumer *c)
{
    list_splice(&c->to_look, &c->to_step);
}

bool tasks_run(struct consumer *c)
{
    struct round *r;

    if (!store_up(c->store, NULL, 0))
        return false;
    looks_run(c);
    if (list_empty(&c->to_step) || !(r = idle_round(c)) ||
        !pace_ready(c, &c->step_pace))
        return false;
    run_round(c, r);
    return !list_empty(&c->to_step);
}

/* --- life --- */

void tasks_init(struct consumer *c)
{
    size_t max = (size_t)c->cfg->worker_batch_max;

    list_init(&c->free);
    list_init(&c->to_look);
    list_init(&c->looking);
    list_init(&c->to_step);
    list_init(&c->to_keep);
    list_init(&c->live);
    laters_init(c);
    c->look_ids = must_alloc(max, sizeof(*c->look_ids));
    for (size_t i = 0; i < ROUNDS_N; i++) {
        c->rounds[i].consumer = c;
        c->rounds[i].rows = must_alloc(max, sizeof(*c->rounds[i].rows));
        c->rounds[i].tasks = must_alloc(max, sizeof(struct task *));
    }
    sign_random(&c->dice, sizeof(c->dice));
    c->dice |= 1;
    c->db_offset_us = clock_wall_at() - clock_now_us();
}

void tasks_done(struct consumer *c)
{
    struct list *l;

    timer_cancel(c->app->loop, &c->later_tick);
    while ((l = list_shift(&c->live)))
        free(container_of(l, struct task, alive));
    while ((l = list_shift(&c->free)))
        free(container_of(l, struct task, node));
    for (size_t i = 0; i < ROUNDS_N; i++) {
        free(c->rounds[i].rows);
        free(c->rounds[i].tasks);
    }
    free(c->look_ids);
}
