/*
 * From records to payments. A batch of requests goes through four phases:
 *
 *   letters of what no payment can be made of   (durable before intake moves)
 *   the claim                                   (one transaction)
 *   letters of key conflicts                    (known only now)
 *   done: offsets may follow, the next batch may come
 *
 * A claim whose answer was lost is sent again as it is. Rows that this
 * incarnation owns then are its own, claimed by the first try and never begun:
 * they are pushed. Outside of such a repetition the same finding means a
 * duplicate of a request that is already under way.
 */
#include "common/clock.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/must.h"
#include "common/windows.h"
#include "common/wire.h"
#include "consumer/consumer_priv.h"

#include <stdlib.h>
#include <string.h>

#define CLAIM_AGAIN_US (100 * US_PER_MS)
#define CLAIM_TRIES_WARN 20
#define REFUSALS_ALONE 2 /* of a batch; then its rows go one by one */
#define KNOWN_MIN 4      /* of a batch, to be called mostly known */
#define BURIALS_MAX 64   /* at once; the due-scan comes back to the others */

/* Something went wrong: a pause, and the log hears of it when it goes on. */
static void go_round(struct consumer *c, const char *what, int64_t wait_us,
                     const struct err *err)
{
    if (++c->claim_tries % CLAIM_TRIES_WARN == 0)
        log_error("worker", "claim_goes_round", KV("at", what),
                  KV_INT("tries", c->claim_tries), KV_ERR(err));
    timer_set(c->app->loop, &c->claim_again, clock_now_us() + wait_us);
}

static void count_refusals(struct consumer *c, int n)
{
    c->claim_refusals = n;
    metric_set(M_CLAIM_REFUSALS, n);
}

/* --- dead letters --- */

static void letter_done(void *arg, const struct err *err)
{
    struct consumer *c = arg;

    c->letters--;
    if (!err)
        return;
    /* written again from the first one: a letter twice is better than none */
    log_warn("worker", "letter_failed", KV_ERR(err));
    c->letter_next = 0;
    go_round(c, "letter", CLAIM_AGAIN_US, err);
}

/* A decimal header of the record, 0 when there is none or another thing. */
static int64_t number_header(const struct kafka_record *r, const char *name)
{
    char text[24];
    size_t len;
    const char *value = kafka_header(r, name, &len);

    if (!value || len >= sizeof(text))
        return 0;
    memcpy(text, value, len);
    text[len] = '\0';
    return MAX(strtoll(text, NULL, 10), 0);
}

static enum err_code write_letter(struct consumer *c,
                                  const struct kafka_record *record,
                                  const struct uuid *payment, const char *stage,
                                  const char *code, const char *text,
                                  struct err *err)
{
    int64_t now = clock_wall_at();
    struct letter letter = {
        .payment = payment,
        .stage = stage,
        .error_class = "request",
        .error_code = code,
        .error_message = text,
        .first_failure_at = now,
        .last_failure_at = now,
        .replay_count = number_header(record, HDR_REPLAYS),
        .replay = number_header(record, HDR_REPLAY),
    };

    if (tell_dead(c->tell, record, &letter, letter_done, c, err)) {
        go_round(c, "letter", CLAIM_AGAIN_US, err);
        return err->code;
    }
    c->letters++;
    return ERR_NONE;
}

static bool write_bad_letter(struct consumer *c, size_t i)
{
    const struct intake_bad *bad = &c->batch->bad[i];
    struct err err;

    if (write_letter(c, bad->record, NULL, "intake", bad->fault->code,
                     bad->fault->text, &err))
        return false;
    log_warn("worker", "record_set_aside", KV("topic", bad->record->topic),
             KV_INT("partition", bad->record->partition),
             KV_INT("offset", bad->record->offset),
             KV("code", bad->fault->code), KV("field", bad->fault->field),
             KV("why", bad->fault->text));
    return true;
}

static bool write_conflict_letter(struct consumer *c, size_t i)
{
    const struct claim_row *row = &c->batch->rows[i];
    struct err err;

    if (row->verdict != CLAIM_OTHER)
        return true;
    return write_letter(c, c->batch->records[i], &row->req.id, "claim",
                        "key_conflict",
                        "idempotency key was used for another request",
                        &err) == ERR_NONE;
}

/* Writes letters @p n by @p write; true when all are durable. */
static bool letters_written(struct consumer *c, size_t n,
                            bool (*write)(struct consumer *c, size_t i))
{
    while (!timer_armed(&c->claim_again) && c->letter_next < n &&
           write(c, c->letter_next))
        c->letter_next++;
    return c->letter_next == n && c->letters == 0;
}

/* --- a spent payment's letter --- */

struct burial {
    struct consumer *consumer;
    struct payment payment;
    char topic[KAFKA_TOPIC_SIZE];
};

static void buried(void *arg, const struct err *err)
{
    struct burial *b = arg;

    b->consumer->burials--;
    if (err)
        log_warn("worker", "letter_failed",
                 KV_ID("payment", &b->payment.req.id), KV_ERR(err));
    else
        consumer_announce(b->consumer, &b->payment);
    free(b);
}

static void record_fetched(void *arg, const struct kafka_record *record,
                           const struct err *why)
{
    struct burial *b = arg;
    const struct payment *p = &b->payment;
    struct kafka_record gone = {
        .topic = b->topic,
        .partition = p->source_partition,
        .offset = p->source_offset,
        .timestamp_at = p->req.requested_at,
    };
    struct letter letter = {
        .payment = &p->req.id,
        .attempts = p->attempt,
        .stage = "flow",
        .error_class = result_class_name(p->class),
        .error_code = p->code,
        .error_message = p->text,
        .first_failure_at = p->created_at,
        .last_failure_at = p->updated_at,
        .replay_count = p->replays,
        .replay = p->replay,
    };
    struct err err = {0};

    if (!record && why->code == ERR_NOT_FOUND) {
        /* its end must be told all the same, and the letter says of whom */
        log_error("worker", "record_gone", KV_ID("payment", &p->req.id),
                  KV_ERR(why));
        record = &gone;
    }
    if (!record)
        err = *why;
    else if (!tell_dead(b->consumer->tell, record, &letter, buried, b, &err))
        return;
    buried(b, &err); /* still owed: the due-scan comes back to it */
}

void consumer_bury(struct consumer *c, const struct payment *p)
{
    struct burial *b;

    if (c->burials == BURIALS_MAX)
        return; /* owed: the due-scan comes back to it */
    c->burials++;
    b = NEW(struct burial);
    b->consumer = c;
    b->payment = *p;
    kafka_topic(c->cfg, (enum topic)p->source_topic, b->topic);
    kafka_fetch(c->fetcher, b->topic, p->source_partition, p->source_offset,
                record_fetched, b);
}

/* --- what may be read --- */

static size_t parked_max(const struct consumer *c)
{
    return (size_t)c->cfg->lines_parked_max;
}

/* Held: its pool stands still until its shortcode takes pushes again, or until
   somebody lets more be parked. */
static enum intake_admission hold_full(struct consumer *c, int64_t shortcode)
{
    if (!c->full)
        log_error("worker", "parked_max_reached",
                  KV_INT("shortcode", shortcode),
                  KV_INT("parked", parked_max(c)));
    c->full = true;
    metric_set(M_PARKING_FULL, 1);
    return INTAKE_HOLD;
}

static enum intake_admission park(struct consumer *c, int64_t shortcode)
{
    size_t *parked = consumer_parked(c, shortcode);

    if (!lines_flow(c->lines))
        return INTAKE_HOLD; /* Kafka keeps all of it */
    if (parked && *parked >= parked_max(c))
        return hold_full(c, shortcode);
    if (parked)
        (*parked)++;
    return INTAKE_PARK;
}

enum intake_admission claim_admit(void *arg, struct claim_row *row, bool places)
{
    struct consumer *c = arg;
    int64_t shortcode = row->req.shortcode;

    if (!places)
        return park(c, shortcode);
    if (!lines_take(c->lines, shortcode, &row->send_us)) {
        lines_want(c->lines, shortcode, consumer_credit(c));
        return park(c, shortcode);
    }
    row->right = true;
    return INTAKE_GO;
}

bool claim_paused(void *arg, enum priority pool)
{
    const struct consumer *c = arg;

    return lines_paused(c->lines, pool);
}

/* The batch's row does not become a push. */
static void give_back(struct consumer *c, struct claim_row *row)
{
    if (row->right)
        lines_give_back(c->lines, row->req.shortcode, row->send_us);
    row->right = false;
}

void claim_abandon(struct consumer *c)
{
    for (size_t i = 0; i < c->batch->rows_n; i++)
        give_back(c, &c->batch->rows[i]);
    intake_abandon(c->intake);
    count_refusals(c, 0);
    c->batch = NULL;
    c->phase = CLAIM_IDLE;
}

/* --- the claim --- */

static bool under_way(struct consumer *c, const struct uuid *id)
{
    for (struct list *l = c->live.next; l != &c->live; l = l->next)
        if (uuid_equal(&container_of(l, struct task, alive)->seen.req.id, id))
            return true;
    return false;
}

/* One that others took over, since they thought this worker dead, is given back
   as not sent. */
static void begin_push(struct consumer *c, struct claim_row *row)
{
    struct task *t = task_new(c, &row->payment, NULL, FLOW_NOT_SENT);

    t->term = c->batch_term;
    t->send_us = row->send_us;
    t->right = row->right;
    row->right = false;
    WINDOW(claimed);
    if (row->payment.state == PAYMENT_SENDING)
        task_push(t, row->lease_us);
    else
        task_event(t);
}

static void row_claimed(struct consumer *c, struct claim_row *row)
{
    static const enum metric counts[] = {
        [CLAIM_GO] = M_CLAIMED,
        [CLAIM_WAIT] = M_CLAIM_WAIT,
        [CLAIM_PARK] = M_CLAIM_PARK,
        [CLAIM_LATE] = M_CLAIM_LATE,
        [CLAIM_CANCELLED] = M_CLAIM_CANCELLED,
        [CLAIM_SAME] = M_CLAIM_SAME,
        [CLAIM_OWN] = M_CLAIMED,
        [CLAIM_OTHER] = M_CLAIM_OTHER,
    };
    bool own = row->verdict == CLAIM_OWN && c->batch_unsure &&
               !under_way(c, &row->req.id);

    metric_add(counts[row->verdict], 1);
    if (row->verdict == CLAIM_GO || own)
        begin_push(c, row);
    else if (row->verdict < CLAIM_SAME)
        consumer_announce(c, &row->payment);
    give_back(c, row);
}

static void claim_done(void *arg, const struct err *err);

static void send_claim(struct consumer *c)
{
    struct intake_batch *b = c->batch;
    size_t from = c->single ? c->single - 1 : 0;
    size_t n = c->single ? MIN(b->rows_n - from, 1) : b->rows_n;
    bool last = from + n == b->rows_n;

    c->claim_busy = true;
    if (!c->batch_unsure) /* else rows may stand since the try before */
        c->batch_term = pulse_term(c->pulse);
    pace_began(&c->claim_pace, n);
    WINDOW(claim_unsent);
    store_claim(c->store, b->rows + from, n, b->positions,
                last ? b->positions_n : 0, claim_done, c);
    WINDOW(claim_sent);
}

/* A row that the database refuses is no payment; the others are. */
static void refuse_row(struct consumer *c, const struct err *err)
{
    struct fault fault = {.code = "refused_by_database"};

    text_copy(fault.text, sizeof(fault.text), err->text);
    c->letter_next = c->batch->bad_n;
    give_back(c, &c->batch->rows[c->single - 1]);
    intake_refuse(c->intake, c->single - 1, &fault);
    c->phase = CLAIM_BAD_LETTERS;
}

/* Duplicates and what is too late need no place for a push, which shows only
   when they are claimed: so the next batch is not bounded by places. */
static bool mostly_known(const struct intake_batch *b)
{
    size_t known = 0;

    for (size_t i = 0; i < b->rows_n; i++)
        known += b->rows[i].verdict > CLAIM_PARK;
    return known >= KNOWN_MIN && 4 * known >= 3 * b->rows_n;
}

static void claimed(struct consumer *c)
{
    struct intake_batch *b = c->batch;
    size_t from = c->single ? c->single - 1 : 0;
    size_t to = c->single ? MIN(c->single, b->rows_n) : b->rows_n;

    for (size_t i = from; i < to; i++)
        row_claimed(c, &b->rows[i]);
    if (c->single && c->single < b->rows_n) {
        c->single++;
        return;
    }
    intake_claimed(c->intake);
    intake_skim(c->intake, mostly_known(b));
    c->phase = CLAIM_CONFLICT_LETTERS;
    c->letter_next = 0;
}

static void ring(struct consumer *c, const struct err *err)
{
    const struct uuid *id = &c->batch->rows[c->single - 1].req.id;

    metric_add(M_ALARM_CLAIM, 1);
    log_error("worker", "claim_refused", KV_ID("payment", id), KV_ERR(err));
    store_alarm(c->store, id, 0, "claim_refused", err->text);
}

/* Refused, and it says nothing of the row: the ledger may be broken, and then a
   letter would lose a good payment. The others of its batch go one by one; it
   is tried again, later and later, and a person hears of it. Its pool waits. */
static void claim_refused(struct consumer *c, const struct err *err)
{
    count_refusals(c, c->claim_refusals + 1);
    if (c->single && c->claim_refusals == REFUSALS_MAX)
        ring(c, err);
    if (!c->single && c->claim_refusals == REFUSALS_ALONE) {
        c->single = 1;
        count_refusals(c, 0);
    }
    go_round(c, "claim", later_wait_us(c->claim_refusals), err);
}

static void claim_done(void *arg, const struct err *err)
{
    struct consumer *c = arg;

    c->claim_busy = false;
    if (!err) {
        count_refusals(c, 0);
        claimed(c);
    } else if (err->code == ERR_INPUT && c->single) {
        refuse_row(c, err);
    } else if (err->code == ERR_INPUT) {
        c->single = 1;
    } else if (later_is_refusal(err)) {
        claim_refused(c, err);
    } else {
        c->batch_unsure = c->batch_unsure || err->code == ERR_UNSURE;
        log_debug("worker", "claim_again", KV_ERR(err));
        go_round(c, "claim", CLAIM_AGAIN_US, err);
    }
}

static bool may_claim(struct consumer *c)
{
    return !c->stopping && !c->batch && consumer_may_push(c) &&
           store_up(c->store, NULL, 0) && pace_ready(c, &c->claim_pace);
}

static void take_batch(struct consumer *c)
{
    size_t credit = consumer_credit(c);

    if (!credit)
        return;
    c->batch = intake_take(c->intake, credit, consumer_db_now(c));
    c->hungry = c->batch && c->batch->goers >= credit;
    if (!c->batch)
        return;
    c->full = false; /* said again when a record is held */
    metric_set(M_PARKING_FULL, 0);
    if (clock_batch_doubted(c, c->batch)) {
        claim_abandon(c);
        return;
    }
    c->phase = CLAIM_BAD_LETTERS;
    c->letter_next = c->single = 0;
    c->claim_tries = 0;
    c->batch_unsure = false;
}

/* One step of the batch's way; true when the next may follow at once. */
static bool advance(struct consumer *c)
{
    switch (c->phase) {
    case CLAIM_IDLE:
        if (may_claim(c))
            take_batch(c);
        return c->batch != NULL;
    case CLAIM_BAD_LETTERS:
        if (!letters_written(c, c->batch->bad_n, write_bad_letter))
            return false;
        c->phase = CLAIM_ROWS;
        return true;
    case CLAIM_ROWS:
        if (!c->claim_busy && !timer_armed(&c->claim_again) &&
            consumer_may_push(c) && store_up(c->store, NULL, 0))
            send_claim(c);
        return false;
    case CLAIM_CONFLICT_LETTERS:
        if (!letters_written(c, c->batch->rows_n, write_conflict_letter))
            return false;
        intake_done(c->intake);
        c->batch = NULL;
        c->phase = CLAIM_IDLE;
        return true;
    }
    return false;
}

void claims_run(struct consumer *c)
{
    while (advance(c)) {
        /* each step asks for the next */
    }
}

/* --- callbacks --- */

void callback_event(struct flow_event *e, const struct callback *cb,
                    int attempt)
{
    e->attempt = attempt;
    verdict_callback(cb->code, cb->text, &e->verdict);
    text_copy(e->verdict.checkout_id, sizeof(e->verdict.checkout_id),
              cb->checkout_id);
    text_copy(e->verdict.merchant_id, sizeof(e->verdict.merchant_id),
              cb->merchant_id);
    text_copy(e->money.receipt, sizeof(e->money.receipt), cb->receipt);
    e->money.paid_at = cb->paid_at;
    e->money.amount = cb->amount;
    e->money.msisdn = cb->msisdn;
}

static void apply_callback(struct consumer *c,
                           const struct kafka_record *record)
{
    struct callback_address at;
    struct callback cb;
    struct task *t;
    struct err err = {.code = ERR_NONE};

    if (wire_is_c2b(record)) {
        notice_take(c, record);
        return;
    }
    if (wire_read_callback_address(record, c->cfg, &at, &err) == ERR_DENIED) {
        keys_doubt(c, record, &at);
        return;
    }
    if (err.code) {
        metric_add(M_CALLBACK_BAD_MAC, 1);
        log_warn("worker", "callback_refused", KV_ERR(&err));
        return;
    }
    t = task_new(c, NULL, &at.payment, FLOW_CALLBACK);
    t->from_topic = true;
    t->record = record;
    t->event.attempt = at.attempt;
    c->callbacks_open++;
    if (wire_read_callback(record->value, record->value_len, &cb, &err)) {
        metric_add(M_CALLBACK_UNREADABLE, 1);
        log_warn("worker", "callback_kept_raw", KV_ID("payment", &at.payment),
                 KV_INT("attempt", at.attempt), KV_ERR(&err));
        task_keep_stray(t, "unreadable");
        return;
    }
    callback_event(&t->event, &cb, at.attempt);
    task_event(t);
}

void callback_ended(struct consumer *c)
{
    must(c->callbacks_open > 0);
    c->callbacks_open--;
}

void callbacks_run(struct consumer *c)
{
    const struct kafka_record **records;
    size_t n;

    if (c->callbacks_open || notices_pending(c))
        return;
    if (c->callbacks_out)
        intake_callbacks_done(c->intake);
    c->callbacks_out = false;
    if (c->stopping || !store_up(c->store, NULL, 0))
        return;
    if (!memory_sure(c))
        return; /* a row that forgot an attempt would end by an older one */
    records = intake_callbacks(c->intake, CALLBACKS_MAX, &n);
    c->callbacks_out = n > 0;
    if (n)
        WINDOW(callback_unapplied);
    for (size_t i = 0; i < n; i++)
        apply_callback(c, records[i]);
    if (c->callbacks_out && !c->callbacks_open)
        timer_set(c->app->loop, &c->wake, clock_now_us()); /* all refused */
}
