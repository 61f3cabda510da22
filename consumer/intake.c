/*
 * Records are taken one by one, high first by weight with borrowing and a
 * floor, and kept until the batch is finished, so that a dead letter can be
 * written byte for byte. Where they come from is intake_group.c's.
 */
#include "consumer/intake.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/must.h"
#include "common/wire.h"
#include "consumer/intake_priv.h"
#include "consumer/share.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- taking requests --- */

static bool same_id(const struct claim_row *row, const struct request *req)
{
    return uuid_equal(&row->req.id, &req->id);
}

static void set_aside(struct intake *in, const struct kafka_record *record,
                      const struct fault *fault)
{
    struct intake_batch *b = &in->batch;
    struct intake_bad *bad = &b->bad[b->bad_n];

    in->faults[b->bad_n] = *fault;
    bad->record = record;
    bad->fault = &in->faults[b->bad_n];
    b->bad_n++;
    metric_add(M_RECORDS_BAD, 1);
}

/* The same id twice in one batch: equal bodies are one request. */
static bool seen_in_batch(struct intake *in, const struct kafka_record *record,
                          const struct request *req)
{
    struct intake_batch *b = &in->batch;
    struct fault fault = {.code = "key_conflict"};

    for (size_t i = 0; i < b->rows_n; i++) {
        if (!same_id(&b->rows[i], req))
            continue;
        if (memcmp(b->rows[i].req.fingerprint, req->fingerprint,
                   FINGERPRINT_SIZE) != 0) {
            text_copy(fault.text, sizeof(fault.text),
                      "idempotency key was used for another request");
            set_aside(in, record, &fault);
        } else {
            metric_add(M_RECORDS_SAME, 1);
        }
        return true;
    }
    return false;
}

/* Whether the row is taken, and as what. Too late by our clock: the database's
   decides, but it needs no push. */
static enum intake_admission admit(struct intake *in, struct claim_row *row,
                                   bool places, int64_t now_at)
{
    if (row->deadline_at <= now_at)
        return INTAKE_PARK;
    if (in->spec.admit)
        return in->spec.admit(in->spec.arg, row, places);
    return places ? INTAKE_GO : INTAKE_PARK;
}

/* False: it has to be held. */
static bool add_row(struct intake *in, const struct kafka_record *record,
                    enum topic topic, bool places, int64_t now_at)
{
    struct intake_batch *b = &in->batch;
    struct claim_row *row = &b->rows[b->rows_n];
    enum intake_admission what;
    struct fault fault;

    if (wire_read_request(in->cfg, record, topic, now_at, &row->req, &fault)) {
        set_aside(in, record, &fault);
        return true;
    }
    if (seen_in_batch(in, record, &row->req))
        return true;
    row->topic = topic;
    row->partition = record->partition;
    row->offset = record->offset;
    row->deadline_at = payment_deadline(&row->req, record->timestamp_at,
                                        in->cfg->payments_ttl_ms * US_PER_MS);
    row->right = false;
    row->send_us = 0;
    what = admit(in, row, places, now_at);
    if (what == INTAKE_HOLD)
        return false;
    row->park = what == INTAKE_PARK;
    b->goers += what == INTAKE_GO;
    b->records[b->rows_n++] = record;
    return true;
}

/* Records without a gap: an offset that was skipped was deleted unclaimed. */
static bool follows(struct part *p, int64_t offset)
{
    int64_t due = p->at.offset == KAFKA_BEGINNING ? 0 : p->at.offset;

    if (offset == due)
        return true;
    if (offset > due) {
        log_error("intake", "offsets_missing", KV("topic", p->at.topic),
                  KV_INT("partition", p->at.partition), KV_INT("first", due),
                  KV_INT("last", offset - 1));
        intake_stop_part(p, due,
                         "the log has no record where the next one is due: "
                         "requests were deleted unclaimed, or lost");
    }
    return false;
}

/* Takes one record of the pool; false when it has none now. */
static bool take_one(struct intake *in, struct group *g, bool places,
                     int64_t now_at)
{
    struct kafka_taken *t = g->held ? TAKE(g->held) : kafka_take(g->consumer);
    const struct kafka_record *record;
    struct part *p;

    if (!t)
        return false;
    record = kafka_taken_record(t);
    p = intake_find_part(g, record->partition);
    if (!p || !p->started || p->stopped || !follows(p, record->offset)) {
        kafka_release(t);
        return true;
    }
    if (!add_row(in, record, g->topic, places, now_at)) {
        g->held = t;
        return false;
    }
    in->taken[in->taken_n++] = t;
    p->at.offset = record->offset + 1;
    p->dirty = true;
    metric_add(M_RECORDS, 1);
    return true;
}

/* What one pool may add to the batch, and what became of it. */
struct portion {
    size_t goers, records; /* at most */
    size_t taken;          /* that go */
    bool skim;             /* goes on when no more may go */
    bool dry;              /* it has no more records now */
};

static void take_portion(struct intake *in, struct group *g, struct portion *p,
                         int64_t now_at)
{
    size_t goers = in->batch.goers, records = in->taken_n;

    while (!p->dry && in->taken_n - records < p->records) {
        bool places = in->batch.goers - goers < p->goers;

        if (!places && !p->skim)
            break;
        p->dry = !take_one(in, g, places, now_at);
    }
    p->taken = in->batch.goers - goers;
}

/* The pool's share of this credit and what it has saved up of smaller ones. An
   idle pool saves nothing. Its records are limited like its rows, so that a
   flood of bad ones takes nothing from the others. */
static void take_share(struct intake *in, struct group *g, size_t credit,
                       size_t sum, int64_t now_at)
{
    size_t weight = share_weights[g->index];
    struct portion p = {.records = MAX(in->max * weight / sum, 1)};

    g->share = MIN(g->share + credit * weight, in->max * sum);
    p.goers = MIN(g->share / sum, credit - in->batch.goers);
    p.records = MIN(p.records, in->max - in->taken_n);
    take_portion(in, g, &p, now_at);
    g->share = p.dry ? 0 : g->share - p.taken * sum;
}

static bool serves(const struct intake *in, size_t pool)
{
    return in->groups[pool].consumer &&
           !(in->spec.paused &&
             in->spec.paused(in->spec.arg, (enum priority)pool));
}

/* What no pool had a share for, or did not use: high first. */
static void lend(struct intake *in, size_t credit, int64_t now_at)
{
    for (size_t i = 0; i < PRIORITIES_N; i++) {
        struct portion p = {
            .goers = credit - in->batch.goers,
            .records = in->max - in->taken_n,
            .skim = in->skim,
        };

        if (serves(in, i))
            take_portion(in, &in->groups[i], &p, now_at);
    }
}

static void take_by_weight(struct intake *in, size_t credit, int64_t now_at)
{
    size_t sum = 0;

    for (size_t i = 0; i < PRIORITIES_N; i++)
        sum += serves(in, i) ? share_weights[i] : 0;
    for (size_t i = 0; i < PRIORITIES_N; i++)
        if (serves(in, i))
            take_share(in, &in->groups[i], credit, sum, now_at);
    lend(in, credit, now_at);
}

/* The positions of every partition of which records are taken. Where one
   stopped since Postgres has forgotten, Kafka alone is told of what was
   claimed: `intake` stays what Postgres remembers. */
static void note_positions(struct intake *in)
{
    struct intake_batch *b = &in->batch;

    b->positions_n = 0;
    for (size_t i = 0; i < CALLBACKS; i++) {
        struct group *g = &in->groups[i];

        for (size_t k = 0; k < g->parts_n; k++)
            if (g->parts[k].at.offset > g->parts[k].known)
                b->positions[b->positions_n++] = g->parts[k].at;
    }
}

struct intake_batch *intake_take(struct intake *in, size_t credit,
                                 int64_t now_at)
{
    struct intake_batch *b = &in->batch;

    if (in->busy || in->stopped || !credit || !intake_sure(in))
        return NULL;
    b->rows_n = b->bad_n = b->goers = 0;
    take_by_weight(in, MIN(credit, in->max), now_at);
    if (!in->taken_n)
        return NULL;
    note_positions(in);
    in->busy = true;
    return b;
}

void intake_refuse(struct intake *in, size_t i, const struct fault *fault)
{
    struct intake_batch *b = &in->batch;

    must(in->busy && i < b->rows_n);
    set_aside(in, b->records[i], fault);
    b->goers -= !b->rows[i].park;
    b->rows_n--;
    memmove(&b->rows[i], &b->rows[i + 1], (b->rows_n - i) * sizeof(*b->rows));
    memmove(&b->records[i], &b->records[i + 1],
            (b->rows_n - i) * sizeof(const struct kafka_record *));
}

static void release_batch(struct intake *in)
{
    must(in->busy);
    for (size_t i = 0; i < in->taken_n; i++)
        kafka_release(in->taken[i]);
    in->taken_n = 0;
    in->busy = false;
}

void intake_skim(struct intake *in, bool skim)
{
    in->skim = skim;
}

void intake_claimed(struct intake *in)
{
    must(in->busy);
    for (size_t i = 0; i < CALLBACKS; i++) {
        struct group *g = &in->groups[i];

        for (size_t k = 0; k < g->parts_n; k++)
            if (g->parts[k].started && !g->parts[k].stopped)
                g->parts[k].known =
                    MAX(g->parts[k].at.offset, g->parts[k].known);
    }
}

void intake_done(struct intake *in)
{
    release_batch(in);
}

void intake_abandon(struct intake *in)
{
    release_batch(in);
    for (size_t i = 0; i < CALLBACKS; i++)
        intake_rewind(&in->groups[i]);
}

/* --- callbacks --- */

const struct kafka_record **intake_callbacks(struct intake *in, size_t max,
                                             size_t *ret_n)
{
    struct group *g = &in->groups[CALLBACKS];
    struct kafka_taken *t;

    must(!in->callbacks_n);
    in->callbacks_of = g->generation;
    max = in->stopped || !intake_sure(in) ? 0 : MIN(max, in->max);
    while (in->callbacks_n < max && (t = kafka_take(g->consumer))) {
        const struct kafka_record *record = kafka_taken_record(t);

        in->callbacks[in->callbacks_n] = t;
        in->callback_records[in->callbacks_n++] = record;
    }
    metric_add(M_CALLBACKS_READ, in->callbacks_n);
    *ret_n = in->callbacks_n;
    return in->callback_records;
}

void intake_callbacks_done(struct intake *in)
{
    struct group *g = &in->groups[CALLBACKS];

    for (size_t i = 0; i < in->callbacks_n; i++) {
        const struct kafka_record *record = in->callback_records[i];
        struct part *p = intake_find_part(g, record->partition);

        if (p && in->callbacks_of == g->generation) {
            p->at.offset = record->offset + 1;
            p->dirty = true;
        }
        kafka_release(in->callbacks[i]);
    }
    in->callbacks_n = 0;
}

size_t intake_callbacks_moved(struct intake *in, struct kafka_position *at,
                              size_t max)
{
    struct group *g = &in->groups[CALLBACKS];
    size_t n = 0;

    for (size_t i = 0; i < g->parts_n && !g->asked; i++) {
        struct part *p = &g->parts[i];

        p->asked = p->known;
        if (n < max && p->started && p->at.offset > p->known) {
            p->asked = p->at.offset;
            at[n++] = p->at;
        }
    }
    return n;
}

void intake_callbacks_told(struct intake *in)
{
    struct group *g = &in->groups[CALLBACKS];

    for (size_t i = 0; i < g->parts_n && !g->asked; i++)
        g->parts[i].known = MAX(g->parts[i].known, g->parts[i].asked);
}

/* --- life --- */

static unsigned read_pools(const char *text)
{
    unsigned pools = 0;

    for (int i = 0; i < PRIORITIES_N; i++)
        if (strstr(text, priority_name((enum priority)i)))
            pools |= 1u << i;
    return pools;
}

static void make_batch(struct intake *in)
{
    struct intake_batch *b = &in->batch;

    in->max = (size_t)in->cfg->worker_batch_max;
    b->rows = must_alloc(in->max, sizeof(*b->rows));
    b->bad = must_alloc(in->max, sizeof(*b->bad));
    b->records = must_alloc(in->max, sizeof(const struct kafka_record *));
    b->positions =
        must_alloc(PARTITIONS_MAX * PRIORITIES_N, sizeof(*b->positions));
    in->faults = must_alloc(in->max, sizeof(*in->faults));
    in->taken = must_alloc(in->max, sizeof(struct kafka_taken *));
    in->callbacks = must_alloc(in->max, sizeof(struct kafka_taken *));
    in->callback_records =
        must_alloc(in->max, sizeof(const struct kafka_record *));
}

enum err_code intake_new(struct loop *loop, const struct config *cfg,
                         const struct intake_spec *spec, struct intake **ret,
                         struct err *err)
{
    struct intake *in = NEW(struct intake);

    in->loop = loop;
    in->cfg = cfg;
    in->spec = *spec;
    in->pools = read_pools(cfg->worker_pools);
    make_batch(in);
    timer_init(&in->commit, intake_commit_tick, in);
    for (size_t i = 0; i < GROUPS_N; i++) {
        if (i != CALLBACKS && !(in->pools >> i & 1u))
            continue;
        if (intake_open_group(in, i, err)) {
            intake_free(in);
            return err->code;
        }
    }
    intake_commit_tick(in);
    *ret = in;
    return ERR_NONE;
}

static void free_records(struct intake *in)
{
    for (size_t i = 0; i < in->taken_n; i++)
        kafka_release(in->taken[i]);
    for (size_t i = 0; i < in->callbacks_n; i++)
        kafka_release(in->callbacks[i]);
    for (size_t i = 0; i < GROUPS_N; i++)
        intake_unhold(&in->groups[i], -1);
}

void intake_free(struct intake *in)
{
    if (!in)
        return;
    timer_cancel(in->loop, &in->commit);
    free_records(in);
    for (size_t i = 0; i < GROUPS_N; i++) {
        kafka_consumer_free(in->groups[i].consumer);
        free(in->groups[i].parts);
    }
    free(in->batch.rows);
    free(in->batch.bad);
    free(in->batch.records);
    free(in->batch.positions);
    free(in->faults);
    free(in->taken);
    free(in->callbacks);
    free(in->callback_records);
    free(in->recalls);
    free(in);
}

unsigned intake_pools(const struct intake *in)
{
    return in->pools;
}

void intake_stop(struct intake *in)
{
    in->stopped = true;
    intake_commit(in);
}

bool intake_quiet(const struct intake *in)
{
    for (size_t i = 0; i < GROUPS_N; i++) {
        const struct group *g = &in->groups[i];

        if (g->committing)
            return false;
        for (size_t k = 0; k < g->parts_n; k++)
            if (g->parts[k].dirty)
                return false;
    }
    return !in->busy && !in->callbacks_n;
}

size_t intake_stopped(const struct intake *in)
{
    size_t n = 0;

    for (size_t i = 0; i < GROUPS_N; i++)
        for (size_t k = 0; k < in->groups[i].parts_n; k++)
            n += in->groups[i].parts[k].stopped;
    return n;
}

unsigned intake_recovered(const struct intake *in)
{
    return in->recovered;
}

size_t intake_health(const struct intake *in, struct health *rows, size_t max)
{
    size_t parts = 0;

    if (!max)
        return 0;
    for (size_t i = 0; i < GROUPS_N; i++) {
        const struct group *g = &in->groups[i];

        parts += g->parts_n;
    }
    rows[0] = (struct health){
        .name = "intake",
        .ok = intake_stopped(in) == 0,
        .latency_us = -1,
    };
    snprintf(rows[0].note, sizeof(rows[0].note),
             "%zu partitions, %zu of them stopped", parts, intake_stopped(in));
    return 1;
}
