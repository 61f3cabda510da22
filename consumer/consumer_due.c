/*
 * The due-scan, and how many places it and the claims have for pushes.
 *
 * What waits for a push is taken in two steps: the lanes in which anything is
 * due, then so much of each as share_out() says. A row gets its line's right in
 * the moment in which it is taken; without one it is given back.
 */
#include "common/clock.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/must.h"
#include "consumer/consumer_priv.h"

#include <stdlib.h>

/* A due row that is not settled by then is found again. */
#define HOLD_US (10 * US_PER_S)
#define RETRY_SHARE 8      /* of the slots: places for the ledger's alone   */
#define TASK_BATCHES_MAX 4 /* tasks that may wait for the store, in batches */
#define LANES_MAX 128      /* of one priority in one scan; the next goes on */
#define STRANDED_US (60 * US_PER_S) /* between two words about them */
#define COUNTED_MAX 64 /* rows of a lane; in the next scan, the others  */

/* --- credit --- */

/* What the gate holds, and what is on its way there. */
static size_t pushes_given(const struct consumer *c)
{
    bool claiming = c->batch && c->phase != CLAIM_CONFLICT_LETTERS;

    return gate_pushes(c->gate) + c->promised +
           (claiming ? c->batch->goers : 0);
}

bool consumer_may_push(const struct consumer *c)
{
    return pulse_trusted(c->pulse) && intake_sure(c->intake) &&
           memory_sure(c) && !c->clock.doubted;
}

static size_t places(const struct consumer *c)
{
    return (size_t)c->cfg->worker_slots + (size_t)c->cfg->worker_ahead;
}

static size_t less(size_t a, size_t b)
{
    return a > b ? a - b : 0;
}

/* While both have more than there are places for, each has half of them. */
static size_t left_for(const struct consumer *c, size_t has)
{
    return less(places(c) / 2, has);
}

size_t consumer_credit(const struct consumer *c)
{
    size_t others = c->ready.more ? left_for(c, c->ledger_pushes) : 0;

    return less(places(c), pushes_given(c) + others);
}

/* Fresh requests take every place that they get; so the ledger's have some of
   their own. gate_capacity() has a batch to spare. */
static size_t ledger_credit(const struct consumer *c)
{
    size_t own = MAX((size_t)c->cfg->worker_slots / RETRY_SHARE, 1);
    size_t given = pushes_given(c);
    size_t others = c->hungry ? left_for(c, less(given, c->ledger_pushes)) : 0;

    own = MIN(own, (size_t)c->cfg->worker_batch_max / 2);
    return less(places(c) + own, given + others);
}

bool consumer_crowded(const struct consumer *c)
{
    return c->tasks > gate_open(c->gate) +
                          TASK_BATCHES_MAX * (size_t)c->cfg->worker_batch_max;
}

static bool may_scan(const struct consumer *c)
{
    return !c->stopping && !c->clock.doubted && !consumer_crowded(c) &&
           memory_sure(c) && store_up(c->store, NULL, 0);
}

/* --- what needs no push --- */

/* Whether the scan's answer may be acted upon. Due by a step of the clock: it
   is found again later. */
static bool believed(struct consumer *c, int64_t db_now_at,
                     const struct err *err)
{
    if (err)
        return false;
    clock_answered(c, clock_now_us() - store_latency_us(c->store), db_now_at);
    if (c->clock.doubted)
        return false;
    consumer_set_db_now(c, db_now_at);
    return true;
}

static void due_row(struct consumer *c, const struct payment *p)
{
    consumer_look_at_strays(c, p);
    task_event(task_new(c, p, NULL, FLOW_DUE));
}

static void due_found(void *arg, const struct payment *rows, size_t n,
                      int64_t db_now_at, const struct err *err)
{
    struct consumer *c = arg;

    c->due_busy = c->due_full = false;
    if (!believed(c, db_now_at, err))
        return;
    for (size_t i = 0; i < n; i++)
        due_row(c, &rows[i]);
    c->due_full = n >= (size_t)c->cfg->worker_batch_max;
}

static void scan_due(struct consumer *c)
{
    if (c->due_busy || !may_scan(c))
        return;
    c->due_busy = true;
    store_due(c->store, (size_t)c->cfg->worker_batch_max, HOLD_US, due_found,
              c);
}

/* --- what is parked --- */

size_t *consumer_parked(struct consumer *c, int64_t shortcode)
{
    for (size_t i = 0; i < c->ready.lines_n; i++)
        if (c->parked[i].shortcode == shortcode)
            return &c->parked[i].n;
    return NULL;
}

static void note_parked(struct consumer *c, const struct parked_row *rows,
                        size_t n)
{
    size_t all = 0;

    for (size_t i = 0; i < c->ready.lines_n; i++)
        c->parked[i].n = 0;
    for (size_t i = 0; i < n; i++) {
        size_t *here = consumer_parked(c, rows[i].shortcode);

        all += rows[i].n;
        if (here)
            *here = rows[i].n;
        if (rows[i].n)
            lines_want(c->lines, rows[i].shortcode, rows[i].n);
    }
    metric_set(M_PARKED_ROWS, (int64_t)all);
}

/* --- what waits for a push --- */

/* The right to a push, or else the row goes back. */
static bool take_right(struct consumer *c, const struct payment *p)
{
    int64_t send_us;
    struct task *t;

    if (!lines_take(c->lines, p->req.shortcode, &send_us))
        return false;
    t = task_new(c, p, NULL, FLOW_DUE);
    task_promise(t, send_us);
    consumer_look_at_strays(c, p);
    task_event(t);
    return true;
}

static void ready_found(void *arg, const struct payment *rows, size_t n,
                        int64_t db_now_at, const struct err *err)
{
    struct consumer *c = arg;
    const struct payment **back = must_alloc(MAX(n, 1), sizeof(*back));
    size_t back_n = 0;

    c->ready.busy = false;
    c->promised -= c->ready.asked;
    c->ledger_pushes -= c->ready.asked;
    c->ready.asked = 0;
    n = believed(c, db_now_at, err) ? n : 0;
    for (size_t i = 0; i < n; i++) {
        if (rows[i].deadline_at <= db_now_at)
            due_row(c, &rows[i]); /* it is too late for a push */
        else if (!take_right(c, &rows[i]))
            back[back_n++] = &rows[i];
    }
    if (back_n)
        store_undue(c->store, back, back_n);
    free(back);
}

/* Where the next scan begins: behind what this one saw, or with the first. */
static void note_lanes(struct ready *r, const struct lane *lanes, size_t n)
{
    size_t seen[PRIORITIES_N] = {0};

    for (size_t i = 0; i < n; i++) {
        seen[lanes[i].priority]++;
        r->after[lanes[i].priority] = lanes[i];
    }
    for (int i = 0; i < PRIORITIES_N; i++)
        if (seen[i] < LANES_MAX)
            r->after[i] = (struct lane){.priority = (enum priority)i};
}

/* Tells how many shortcodes have some. */
static size_t note_credit(struct consumer *c)
{
    struct ready *r = &c->ready;
    size_t n = 0;

    for (size_t i = 0; i < r->lines_n; i++) {
        struct line_credit *l = &r->lines[i];

        l->credit = lines_credit(c->lines, l->shortcode);
        if (l->credit)
            r->shortcodes[n++] = l->shortcode;
    }
    return n;
}

/* It may have gone since the question. What has come since is for the next
   scan: of a line that had none only one client was seen. */
static void renew_credit(struct consumer *c)
{
    struct ready *r = &c->ready;

    for (size_t i = 0; i < r->lines_n; i++) {
        struct line_credit *l = &r->lines[i];

        l->credit = MIN(l->credit, lines_credit(c->lines, l->shortcode));
        r->dry[i] = false;
    }
}

static size_t line_of(const struct ready *r, const struct lane *lane)
{
    size_t i = 0;

    while (i < r->lines_n && r->lines[i].shortcode != lane->shortcode)
        i++;
    return i;
}

static bool may_go(const struct ready *r, const struct lane *l)
{
    size_t i = line_of(r, l);

    return l->due && i < r->lines_n && r->lines[i].credit;
}

/* Demand that waits for credit; share_out() has taken what it gave. */
static void say_demand(struct consumer *c, const struct lane *l)
{
    struct ready *r = &c->ready;
    size_t i = line_of(r, l);

    if (l->due == l->take)
        return;
    lines_want(c->lines, l->shortcode, l->due - l->take);
    if (i < r->lines_n && !r->lines[i].credit)
        r->dry[i] = true;
}

/* Nothing will push them: a person has to bring their shortcode back, or to
   cancel them before their deadlines do. */
static void note_stranded(struct consumer *c, const struct lane *lanes,
                          size_t n)
{
    int64_t now_us = clock_now_us(), shortcode = 0;
    size_t waiting = 0;

    for (size_t i = 0; i < n; i++) {
        const struct shortcode *sc =
            config_shortcode(c->cfg, lanes[i].shortcode);

        if (!lanes[i].due || (sc && !sc->gone))
            continue;
        waiting += lanes[i].due;
        shortcode = lanes[i].shortcode;
    }
    metric_set(M_STRANDED, (int64_t)waiting);
    if (!waiting || now_us < c->ready.stranded_us)
        return;
    c->ready.stranded_us = now_us + STRANDED_US;
    log_error("worker", "shortcode_is_gone", KV_INT("shortcode", shortcode),
              KV_INT("waiting", waiting),
              KV("why", "payments wait for a shortcode that is not in the "
                        "settings"));
}

/* Whether a line has got credit that had too little for what waits. */
static bool credit_came(const struct consumer *c)
{
    const struct ready *r = &c->ready;

    for (size_t i = 0; i < r->lines_n; i++)
        if (r->dry[i] && lines_credit(c->lines, r->lines[i].shortcode))
            return true;
    return false;
}

static void lanes_found(void *arg, struct lane *lanes, size_t n,
                        const struct parked_row *parked, size_t parked_n,
                        const struct err *err)
{
    struct consumer *c = arg;
    struct ready *r = &c->ready;
    size_t most = MIN(ledger_credit(c), (size_t)c->cfg->worker_batch_max);
    size_t taken = 0;

    r->busy = r->more = false;
    if (err)
        return;
    note_parked(c, parked, parked_n);
    note_lanes(r, lanes, n);
    note_stranded(c, lanes, n);
    renew_credit(c);
    for (size_t i = 0; i < n; i++)
        r->more |= may_go(r, &lanes[i]);
    r->asked = share_out(&r->shares, lanes, n, r->lines, r->lines_n, most,
                         consumer_dice(c));
    for (size_t i = 0; i < n; i++) {
        say_demand(c, &lanes[i]);
        if (lanes[i].take)
            lanes[taken++] = lanes[i];
    }
    if (!r->asked)
        return;
    r->busy = true;
    c->promised += r->asked;
    c->ledger_pushes += r->asked;
    store_ready(c->store, lanes, taken, HOLD_US, ready_found, c);
}

/* The pools that are pushed here now. */
static size_t open_pools(const struct consumer *c, struct lane *after)
{
    unsigned pools = intake_pools(c->intake);
    size_t n = 0;

    for (int i = 0; i < PRIORITIES_N; i++)
        if (pools >> i & 1u && !lines_paused(c->lines, (enum priority)i))
            after[n++] = c->ready.after[i];
    return n;
}

/* Also without a place or a line that flows: then it tells what is parked. */
static void scan_ready(struct consumer *c)
{
    struct ready *r = &c->ready;
    struct lane after[PRIORITIES_N];
    struct lanes_ask ask = {
        .after = after,
        .after_n = open_pools(c, after),
        .shortcodes = r->shortcodes,
        .shortcodes_n = note_credit(c),
        .lanes_max = LANES_MAX,
        .counted_max = COUNTED_MAX,
    };

    if (r->busy || !may_scan(c) || !consumer_may_push(c))
        return;
    r->busy = true;
    pace_began(&r->pace, LANES_MAX);
    store_lanes(c->store, &ask, lanes_found, c);
}

/* --- the face --- */

void due_scan(struct consumer *c)
{
    scan_due(c);
    scan_ready(c);
    if (may_scan(c))
        cancels_scan(c);
}

void due_run(struct consumer *c)
{
    if (c->due_full)
        scan_due(c);
    if (((c->ready.more && lines_flow(c->lines)) || credit_came(c)) &&
        !c->ready.busy && ledger_credit(c) > 0 && pace_ready(c, &c->ready.pace))
        scan_ready(c);
}

/* A scan that is in flight finds no credit then: the next one does. */
void due_renewed(struct consumer *c)
{
    struct ready *r = &c->ready;
    size_t n = c->cfg->shortcodes_n;

    due_done(c);
    r->lines_n = n;
    r->lines = must_alloc(MAX(n, 1), sizeof(*r->lines));
    r->dry = must_alloc(MAX(n, 1), sizeof(*r->dry));
    r->shortcodes = must_alloc(MAX(n, 1), sizeof(*r->shortcodes));
    c->parked = must_alloc(MAX(n, 1), sizeof(*c->parked));
    for (size_t i = 0; i < n; i++) {
        r->lines[i].shortcode = c->cfg->shortcodes[i].shortcode;
        c->parked[i].shortcode = c->cfg->shortcodes[i].shortcode;
    }
}

void due_init(struct consumer *c)
{
    due_renewed(c);
    for (int i = 0; i < PRIORITIES_N; i++)
        c->ready.after[i].priority = (enum priority)i;
}

void due_done(struct consumer *c)
{
    free(c->ready.lines);
    free(c->ready.dry);
    free(c->ready.shortcodes);
    free(c->parked);
}
