/*
 * After a loss (rule S2): whenever another server's memory answers, and at the
 * start, what every recorder of this host shows as begun is compared with the
 * ledger before anything is pushed.
 *
 *   named     on each connection of the store: whose memory is it
 *   quiet     another one: nobody sends claims of before any more (pulse)
 *   compared  an attempt that began and that the row does not know makes it
 *             unknown; one without any row stops its partition, till `foleni
 *             recover` has entered it; an answer that was noted is applied
 *   sure      pushes go on
 *
 * That an attempt began is positive evidence: it holds whoever shows it, living
 * or dead. Every worker compares for itself, so no word has to be passed on.
 */
#include "common/log.h"
#include "common/must.h"
#include "consumer/consumer_priv.h"

#include <stdlib.h>
#include <string.h>

/* What is entered is compared once more, for its answer; more never helps. */
#define PASSES_MAX 4
#define MARKS_MIN 256

enum phase {
    MEMORY_UNKNOWN, /* a new connection: whose memory is it */
    MEMORY_ASKED,
    MEMORY_NAMED,   /* waits until it is quiet */
    MEMORY_LOOKING, /* rows of marks are on their way, or their tasks */
    MEMORY_SURE
};

struct memory {
    enum phase phase;
    char ledger[LEDGER_SIZE]; /* the one compared with, "" = none */
    char named[LEDGER_SIZE];  /* the one that the store talks to */
    struct recorder_begun *marks;
    size_t marks_n, marks_max;
    size_t at, asked; /* marks whose rows are read, and are being read */
    size_t open;      /* tasks of this pass */
    int passes;
    bool changed;   /* this pass has made tasks */
    size_t missing; /* marks of no payment */
    size_t entered;
    unsigned recovered; /* intake's count when it was compared */
    struct uuid *ids;   /* of one look */
};

/* --- marks --- */

static void add_mark(void *arg, const struct recorder_begun *begun)
{
    struct memory *m = arg;

    if (m->marks_n == m->marks_max) {
        size_t max = MAX(m->marks_max * 2, (size_t)MARKS_MIN);
        struct recorder_begun *more = must_alloc(max, sizeof(*more));

        if (m->marks_n)
            memcpy(more, m->marks, m->marks_n * sizeof(*more));
        free(m->marks);
        m->marks = more;
        m->marks_max = max;
    }
    m->marks[m->marks_n++] = *begun;
}

/* The last attempt of a payment first; of two marks of it the one that has an
   answer. */
static int compare_marks(const void *a, const void *b)
{
    const struct recorder_begun *x = a, *y = b;
    int order = memcmp(x->payment.b, y->payment.b, sizeof(x->payment.b));

    if (order)
        return order;
    if (x->attempt != y->attempt)
        return x->attempt > y->attempt ? -1 : 1;
    return (int)y->mark.answered - (int)x->mark.answered;
}

static void read_marks(struct consumer *c)
{
    struct memory *m = c->memory;
    size_t n = 0;

    m->marks_n = m->at = m->asked = 0;
    m->missing = 0;
    m->changed = false;
    sweep_list(c); /* first: a process that dies after it has more to show */
    if (c->recorder)
        recorder_each_begun(c->cfg->recorder_directory, add_mark, m);
    if (m->marks_n)
        qsort(m->marks, m->marks_n, sizeof(*m->marks), compare_marks);
    for (size_t i = 0; i < m->marks_n; i++)
        if (!n || !uuid_equal(&m->marks[n - 1].payment, &m->marks[i].payment))
            m->marks[n++] = m->marks[i];
    m->marks_n = n;
}

/* --- what they say of rows --- */

static void begin_task(struct consumer *c, struct task *t, int attempt)
{
    t->event.attempt = attempt;
    t->recalls = true;
    c->memory->open++;
    c->memory->changed = true;
    task_event(t);
}

static void enter(struct consumer *c, const struct payment *p,
                  const struct recorder_begun *b)
{
    log_error("worker", "attempt_forgotten", KV_ID("payment", &p->req.id),
              KV_INT("attempt", b->attempt), KV_INT("known", p->attempt));
    c->memory->entered++;
    begin_task(c, task_new(c, p, NULL, FLOW_RECOVERED), b->attempt);
}

/* The id that tells what became of it. */
static void apply_answer(struct consumer *c, const struct payment *p,
                         const struct recorder_begun *b)
{
    struct task *t = task_new(c, p, NULL, FLOW_ANSWER);

    mark_answer(&t->event, &b->mark);
    if (t->event.verdict.kind == VERDICT_ACCEPTED)
        begin_task(c, t, b->attempt);
    else
        task_end(t); /* it may be of another claim of that number */
}

static bool lacks_answer(const struct payment *p)
{
    return (p->state == PAYMENT_SENDING || p->state == PAYMENT_UNKNOWN ||
            p->state == PAYMENT_UNRESOLVED) &&
           !*p->checkout_id;
}

static void compare(struct consumer *c, const struct recorder_begun *b,
                    const struct payment *p)
{
    if (!p) {
        c->memory->missing++;
        intake_recall(c->intake, (enum topic)b->source.topic,
                      b->source.partition, b->source.offset + 1);
    } else if (p->attempt < b->attempt && flow_may_have_gone_on(p->state)) {
        enter(c, p, b);
    } else if (p->attempt == b->attempt && b->mark.answered &&
               lacks_answer(p)) {
        apply_answer(c, p, b);
    }
}

/* --- the way through --- */

static void look_next(struct consumer *c);

static void finish(struct consumer *c)
{
    struct memory *m = c->memory;

    log_info("worker", "recorders_compared", KV("ledger", m->named),
             KV_INT("marks", m->marks_n), KV_INT("entered", m->entered),
             KV_INT("without_payment", m->missing));
    text_copy(m->ledger, sizeof(m->ledger), m->named);
    m->phase = MEMORY_SURE;
    if (m->missing)
        intake_doubt(c->intake);
    else if (!m->changed)
        sweep_compared(c);
}

static void begin_pass(struct consumer *c)
{
    c->memory->passes++;
    read_marks(c);
    look_next(c);
}

static void end_pass(struct consumer *c)
{
    struct memory *m = c->memory;

    if (m->phase != MEMORY_LOOKING || m->at < m->marks_n || m->open)
        return;
    if (!m->changed || m->passes == PASSES_MAX)
        finish(c);
    else
        begin_pass(c);
}

void memory_task_ended(struct consumer *c)
{
    must(c->memory->open > 0);
    c->memory->open--;
}

static void rows_read(void *arg, const struct payment *rows, size_t n,
                      int64_t db_now_at, const struct err *err)
{
    struct consumer *c = arg;
    struct memory *m = c->memory;

    (void)db_now_at;
    if (m->phase != MEMORY_LOOKING)
        return; /* another connection has taken its place */
    if (err) {
        m->phase = MEMORY_UNKNOWN;
        return;
    }
    for (size_t i = m->at; i < m->at + m->asked; i++) {
        size_t k = 0;

        while (k < n && !uuid_equal(&rows[k].req.id, &m->marks[i].payment))
            k++;
        compare(c, &m->marks[i], k < n ? &rows[k] : NULL);
    }
    m->at += m->asked;
    look_next(c);
}

static void look_next(struct consumer *c)
{
    struct memory *m = c->memory;

    m->asked = MIN(m->marks_n - m->at, (size_t)c->cfg->worker_batch_max);
    if (!m->asked)
        return; /* the turn ends the pass */
    for (size_t i = 0; i < m->asked; i++)
        m->ids[i] = m->marks[m->at + i].payment;
    store_look(c->store, m->ids, m->asked, rows_read, c);
}

static void named(void *arg, const char *ledger,
                  const struct kafka_position *positions, size_t n,
                  const struct err *err)
{
    struct consumer *c = arg;
    struct memory *m = c->memory;

    (void)positions, (void)n;
    if (m->phase != MEMORY_ASKED)
        return;
    m->phase = err ? MEMORY_UNKNOWN : MEMORY_NAMED;
    if (!err)
        text_copy(m->named, sizeof(m->named), ledger);
}

/* The pulse talks to the same memory and has ended the term of before. */
static bool is_quiet(const struct consumer *c)
{
    return pulse_incarnation(c->pulse) && pulse_quiet(c->pulse) &&
           strcmp(pulse_ledger(c->pulse), c->memory->named) == 0;
}

static void step(struct consumer *c)
{
    struct memory *m = c->memory;

    if (m->phase == MEMORY_UNKNOWN) {
        m->phase = MEMORY_ASKED;
        store_positions(c->store, NULL, 0, named, c);
    } else if (m->phase == MEMORY_NAMED && strcmp(m->ledger, m->named) == 0) {
        m->phase = MEMORY_SURE;
    } else if (m->phase == MEMORY_NAMED && is_quiet(c)) {
        m->phase = MEMORY_LOOKING;
        m->passes = 0;
        m->entered = 0;
        m->recovered = intake_recovered(c->intake);
        begin_pass(c);
    }
    end_pass(c);
}

void memory_run(struct consumer *c)
{
    struct memory *m = c->memory;

    if (!store_up(c->store, NULL, 0))
        return;
    if (m->phase == MEMORY_SURE &&
        m->recovered != intake_recovered(c->intake)) {
        *m->ledger = '\0'; /* what was entered has answers, perhaps */
        m->phase = MEMORY_NAMED;
    }
    step(c);
}

void memory_doubt(struct consumer *c)
{
    c->memory->phase = MEMORY_UNKNOWN;
}

bool memory_sure(const struct consumer *c)
{
    return c->memory->phase == MEMORY_SURE &&
           strcmp(pulse_ledger(c->pulse), c->memory->ledger) == 0;
}

void memory_init(struct consumer *c)
{
    c->memory = NEW(struct memory);
    c->memory->ids =
        must_alloc((size_t)c->cfg->worker_batch_max, sizeof(*c->memory->ids));
}

void memory_done(struct consumer *c)
{
    if (!c->memory)
        return;
    free(c->memory->marks);
    free(c->memory->ids);
    free(c->memory);
}
