/*
 * Wiring, timers, health and the end. One turn runs claims, callbacks and tasks
 * in this order; the gate and the loop's sources have run before.
 */
#include "consumer/consumer.h"

#include "common/buf.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/must.h"
#include "consumer/consumer_priv.h"

#include <stdlib.h>
#include <string.h>

#define EX_TEMPFAIL 75
#define TOLD_GATHER_US (200 * US_PER_MS)
#define CALLBACKS_NOTED_US US_PER_S
#define CALLBACKS_NOTED_MAX 64 /* partitions; the others come next */
#define TELL_WAIT_MS 3000

/* --- told --- */

static void told_written(void *arg, const struct err *err)
{
    struct consumer *c = arg;

    c->told_busy = false;
    if (err)
        log_debug("worker", "told_failed", KV_ERR(err)); /* owed once more */
}

/* Nothing waits for it, so it gathers: a row is cheap, a statement is not. What
   a crash forgets is told once more. The due-scan's timer brings the turn. */
static bool told_ready(const struct consumer *c)
{
    return c->stopping || c->told_n >= (size_t)c->cfg->worker_batch_max ||
           clock_now_us() - c->told_us >= TOLD_GATHER_US;
}

static void write_told(struct consumer *c)
{
    size_t n = MIN(c->told_n, (size_t)c->cfg->worker_batch_max);

    if (!n || c->told_busy || !store_up(c->store, NULL, 0) || !told_ready(c))
        return;
    memcpy(c->telling, c->told, n * sizeof(*c->told));
    memmove(c->told, c->told + n, (c->told_n - n) * sizeof(*c->told));
    c->told_n -= n;
    c->told_busy = true;
    c->told_us = clock_now_us();
    store_told(c->store, c->telling, n, told_written, c);
}

/* --- the due tick --- */

static void callbacks_noted(void *arg, const struct err *err)
{
    struct consumer *c = arg;

    c->noting = false;
    if (!err)
        intake_callbacks_told(c->intake);
}

/* So that a Postgres which has forgotten callbacks gets them again. */
static void note_callbacks(struct consumer *c)
{
    struct kafka_position at[CALLBACKS_NOTED_MAX];
    int64_t now = clock_now_us();
    size_t n;

    if (c->noting || now < c->noted_us + CALLBACKS_NOTED_US ||
        !store_up(c->store, NULL, 0) || !intake_sure(c->intake))
        return;
    n = intake_callbacks_moved(c->intake, at, ARRAY_LEN(at));
    if (!n)
        return;
    c->noting = true;
    c->noted_us = now;
    store_moved(c->store, at, n, callbacks_noted, c);
}

static void due_tick(void *arg)
{
    struct consumer *c = arg;

    clock_tick(c);
    keys_tick(c);
    due_scan(c);
    note_callbacks(c);
    if (c->unread && store_up(c->store, NULL, 0)) {
        c->unread = false;
        intake_ask_again(c->intake);
    }
    timer_set(c->app->loop, &c->due,
              clock_now_us() + c->cfg->payments_due_scan_ms * US_PER_MS);
}

static void woken(void *arg)
{
    (void)arg; /* for a turn, nothing else */
}

/* --- the end --- */

static void gone(void *arg)
{
    struct consumer *c = arg;

    app_drained(c->app);
}

/* Whether nothing is left that somebody else would have to settle. */
static bool quiet(const struct consumer *c)
{
    return !c->batch && !c->callbacks_out && !c->tasks && !c->told_n &&
           !c->told_busy && !store_busy(c->store) && !tell_queued(c->tell) &&
           intake_quiet(c->intake);
}

static void leave_when_quiet(struct consumer *c)
{
    if (!c->stopping || c->left || !quiet(c))
        return;
    c->left = true;
    c->settled = !intake_stopped(c->intake) &&
                 (memory_sure(c) || !pulse_incarnation(c->pulse));
    if (pulse_incarnation(c->pulse))
        pulse_leave(c->pulse, gone, c);
    else
        gone(c);
}

static void on_stop(void *arg)
{
    struct consumer *c = arg;

    if (c->stopping)
        return;
    c->stopping = true;
    log_info("worker", "stopping", KV_INT("open_calls", gate_open(c->gate)),
             KV_INT("tasks", c->tasks));
    intake_stop(c->intake);
}

static void on_declared_dead(void *arg)
{
    struct consumer *c = arg;

    c->exit_code = EX_TEMPFAIL;
    app_stop(c->app);
}

/* --- the turn --- */

static bool turn(void *arg)
{
    struct consumer *c = arg;
    bool more;

    memory_run(c);
    claims_run(c);
    callbacks_run(c);
    more = tasks_run(c);
    write_told(c);
    due_run(c);
    leave_when_quiet(c);
    metric_set(M_TASKS, (int64_t)c->tasks);
    return more;
}

/* --- the rooms' questions --- */

static bool push_allowed(void *arg, unsigned term)
{
    const struct consumer *c = arg;

    return !c->stopping && consumer_may_push(c) && pulse_term(c->pulse) == term;
}

static void on_store(void *arg, bool up)
{
    struct consumer *c = arg;

    if (!up)
        return;
    memory_doubt(c);
    if (!c->intake)
        return;
    c->unread = false;
    tasks_look_again(c);
    intake_doubt(c->intake);
}

static void on_born(void *arg, int64_t incarnation)
{
    struct consumer *c = arg;

    store_set_owner(c->store, incarnation);
}

struct question {
    struct consumer *consumer;
    size_t group;
    unsigned generation;
};

static void positions_read(void *arg, const char *ledger,
                           const struct kafka_position *positions, size_t n,
                           const struct err *err)
{
    struct question *q = arg;

    q->consumer->unread |= err != NULL;
    if (err)
        log_warn("worker", "positions_unread", KV_ERR(err));
    else
        intake_start(q->consumer->intake, q->group, q->generation, ledger,
                     positions, n);
    free(q);
}

static void on_assign(void *arg, size_t group, unsigned generation,
                      const struct kafka_position *positions, size_t n)
{
    struct consumer *c = arg;
    struct question *q;

    if (!store_up(c->store, NULL, 0))
        return; /* asked again when it is back */
    q = NEW(struct question);
    *q = (struct question){c, group, generation};
    store_positions(c->store, positions, n, positions_read, q);
}

/* What the batch claims is not lost: it was never pushed, and is read again. */
static void on_forgotten(void *arg)
{
    struct consumer *c = arg;

    if (c->phase == CLAIM_CONFLICT_LETTERS)
        return; /* claimed before, and pushed: only letters are missing */
    must(c->batch && !c->claim_busy);
    log_error("worker", "claims_forgotten", KV_INT("rows", c->batch->rows_n));
    claim_abandon(c);
}

static size_t health(void *arg, struct health *rows, size_t max)
{
    struct consumer *c = arg;
    size_t n = 0;

    must(max >= 5);
    rows[n] = (struct health){.name = "postgres",
                              .needed = true,
                              .latency_us = store_latency_us(c->store)};
    rows[n].ok = store_up(c->store, rows[n].note, sizeof(rows[n].note));
    n++;
    rows[n] =
        (struct health){.name = "kafka", .needed = true, .latency_us = -1};
    rows[n].ok = tell_up(c->tell, rows[n].note, sizeof(rows[n].note));
    n++;
    rows[n++] = clock_health(c);
    rows[n++] = keys_health(c);
    n += intake_health(c->intake, rows + n, max - n);
    n += gate_health(c->gate, rows + n, max - n);
    return n + lines_health(c->lines, rows + n, max - n);
}

/* --- SIGHUP --- */

static void key_looked(void *arg, bool used, const struct err *err)
{
    struct consumer *c = arg;

    app_key_used(c->app, used, err);
}

static void ask_key(void *arg, int64_t id)
{
    struct consumer *c = arg;

    store_key_used(c->store, id, key_looked, c);
}

/* What is in the air keeps its key: a number stands for one key for ever. */
static void renewed(void *arg)
{
    struct consumer *c = arg;

    gate_renewed(c->gate);
    lines_renewed(c->lines);
    pull_renewed(c->pull);
    due_renewed(c);
    c->policy.mac_key = (int)c->cfg->callbacks_mac_key_id;
    store_set_mac_key(c->store, c->policy.mac_key);
    keys_changed(c);
}

/* --- life --- */

static const struct app_option options[] = {
    {"pool", "worker.pools", "POOLS", "pools to serve: high,normal,low"},
};

static void check(const struct config *cfg, struct buf *faults)
{
    if (!*cfg->callbacks_mac_key)
        buf_adds(faults, "callbacks.mac_key: is needed by foleni-worker: give "
                         "callbacks.mac_key_file or callbacks.mac_key_env\n");
}

const struct app_spec consumer_app = {
    .name = "foleni-worker",
    .summary = "claims payments from Kafka, pushes them to Daraja and settles "
               "what became of them",
    .options = options,
    .options_n = ARRAY_LEN(options),
    .metric_groups = MG_COMMON | MG_WORKER,
    .check = check,
};

static enum err_code open_rooms(struct consumer *c, struct err *err)
{
    struct loop *loop = c->app->loop;
    struct pulse_spec pulse = {
        .recorder = c->recorder ? recorder_path(c->recorder) : "",
        .on_born = on_born,
        .on_orphans = consumer_orphans,
        .on_declared_dead = on_declared_dead,
        .on_clock = clock_answered,
        .db_now = clock_believed,
        .arg = c,
    };
    struct gate_spec gate = {c->recorder, push_allowed, c, {0}};
    struct intake_spec intake = {on_assign, on_forgotten, claim_admit,
                                 claim_paused, c};

    c->store = store_new(loop, c->cfg, on_store, c);
    store_expect(c->store, clock_expected, c);
    c->pulse = pulse_new(loop, c->cfg, &pulse);
    c->anchor = anchor_new(loop, c->cfg);
    lines_init(c, &gate.lines);
    c->gate = gate_new(loop, c->cfg, &gate);
    c->fetcher = kafka_fetcher_new(loop, c->cfg);
    notices_init(c);
    pulls_init(c);
    if (tell_new(loop, c->cfg, &c->tell, err))
        return err->code;
    return intake_new(loop, c->cfg, &intake, &c->intake, err);
}

static void start_timers(struct consumer *c)
{
    timer_init(&c->due, due_tick, c);
    timer_init(&c->wake, woken, c);
    timer_init(&c->claim_again, woken, c);
    due_tick(c);
    loop_add_room(c->app->loop, turn, c);
}

enum err_code consumer_new(struct app *app, struct consumer **ret,
                           struct err *err)
{
    CLEANUP(consumer_free)
    struct consumer *c = NEW(struct consumer);
    const struct config *cfg = app->cfg;
    size_t told_max = (size_t)cfg->kafka_queue_records_max;

    c->app = app;
    c->cfg = cfg;
    flow_policy_from(cfg, &c->policy);
    tasks_init(c);
    memory_init(c);
    sweep_init(c);
    c->told = must_alloc(told_max, sizeof(*c->told));
    c->telling = must_alloc((size_t)cfg->worker_batch_max, sizeof(*c->telling));
    if (cfg->recorder_enabled &&
        recorder_open(cfg->recorder_directory,
                      gate_capacity(cfg) + RECORDER_MEMORY, &c->recorder, err))
        return err->code;
    if (open_rooms(c, err) ||
        app_admin(app, cfg->worker_admin_listen, NULL, 0, health, c, err))
        return err->code;
    due_init(c);
    start_timers(c);
    app_on_reload(app, &(struct app_reload){ask_key, renewed, c});
    *ret = TAKE(c);
    return ERR_NONE;
}

void consumer_free(struct consumer *c)
{
    if (!c)
        return;
    gate_free(c->gate);
    lines_free(c->lines);
    intake_free(c->intake);
    tell_free(c->tell, TELL_WAIT_MS);
    kafka_fetcher_free(c->fetcher);
    pull_free(c->pull);
    notices_done(c);
    anchor_free(c->anchor);
    pulse_free(c->pulse);
    store_free(c->store);
    timer_cancel(c->app->loop, &c->due);
    timer_cancel(c->app->loop, &c->wake);
    timer_cancel(c->app->loop, &c->claim_again); /* last reports set it */
    recorder_close(c->recorder, c->settled);
    tasks_done(c);
    memory_done(c);
    sweep_done(c);
    due_done(c);
    free(c->told);
    free(c->telling);
    free(c);
}

int consumer_run(struct consumer *c)
{
    int code = app_run(c->app, c->cfg->worker_drain_timeout_ms, on_stop, c);

    return code ? code : c->exit_code;
}
