/*
 * Writes the journal's lines and keeps the counts. Reading back is
 * ledger_read.c's, which counts by the same functions.
 */
#include "tests/daraja/ledger.h"

#include <string.h>

#include "common/buf.h"
#include "common/clock.h"
#include "common/json.h"
#include "common/metrics.h"
#include "tests/daraja/journal.h"
#include "tests/daraja/ledger_priv.h"

void ledger_init(struct ledger *l)
{
    memset(l, 0, sizeof(*l));
    tally_init(&l->orders);
    tally_init(&l->attempts);
    tally_init(&l->payments);
}

void ledger_done(struct ledger *l)
{
    tally_done(&l->orders);
    tally_done(&l->attempts);
    tally_done(&l->payments);
}

static void count(struct ledger *l, const struct order *o, enum tally_kind kind)
{
    struct order_path path;

    order_path(o, &path);
    tally_add(&l->orders, order_key(o), kind);
    tally_add(&l->attempts, order_attempt_key(&path), kind);
    tally_add(&l->payments, order_payment_key(&path), kind);
}

/* A push whose phone or URL could not be read names no payment. */
void ledger_count_push(struct ledger *l, const struct order *o)
{
    l->counts.pushes++;
    if (o->msisdn != 0 && o->url[0])
        count(l, o, TALLY_PUSHES);
}

void ledger_count_accept(struct ledger *l, const struct order *o)
{
    l->counts.accepted++;
    count(l, o, TALLY_ACCEPTED);
}

void ledger_count_debit(struct ledger *l, const struct order *o)
{
    l->counts.debits++;
    l->counts.debited += o->amount;
    count(l, o, TALLY_DEBITS);
}

void ledger_count_callback(struct ledger *l, bool lost, int status)
{
    if (lost)
        l->counts.callbacks_lost++;
    else if (status >= 200 && status < 300)
        l->counts.callbacks_acked++;
    else
        l->counts.callbacks_failed++;
}

void ledger_count_notice(struct ledger *l, bool lost, int status)
{
    if (lost)
        l->counts.notices_lost++;
    else if (status >= 200 && status < 300)
        l->counts.notices_acked++;
    else
        l->counts.notices_failed++;
}

void ledger_forget(struct ledger *l, uint64_t since)
{
    memset(&l->counts, 0, sizeof(l->counts));
    tally_reset(&l->orders);
    tally_reset(&l->attempts);
    tally_reset(&l->payments);
    l->since = since;
}

static struct json_out begin(struct ledger *l, const char *type, int64_t at)
{
    struct json_out j = {journal_begin(l->journal), false};
    char text[CLOCK_TEXT_SIZE];

    clock_format(at, 6, text);
    json_open(&j, NULL, '{');
    json_put_text(&j, "t", type);
    json_put_text(&j, "at", text);
    return j;
}

static void end(struct ledger *l, struct json_out *j)
{
    json_close(j, '}');
    journal_end(l->journal);
}

static void put_path(struct json_out *j, const struct order *o)
{
    struct order_path path;

    order_path(o, &path);
    if (path.attempt == 0)
        return;
    json_put_text(j, "payment", path.payment);
    json_put_int(j, "attempt", path.attempt);
}

static void put_order(struct json_out *j, const struct order *o)
{
    json_put_int(j, "msisdn", o->msisdn);
    json_put_int(j, "amount", o->amount);
    json_put_text(j, "reference", o->reference);
}

uint64_t ledger_push(struct ledger *l, const struct order *order, int64_t at,
                     const char *answer, const char *code, const char *peer)
{
    struct json_out j = begin(l, "push", at);

    json_put_int(&j, "n", (int64_t)++l->n);
    json_put_text(&j, "peer", peer);
    json_put_int(&j, "shortcode", order->shortcode);
    put_order(&j, order);
    json_put_text(&j, "url", order->url);
    put_path(&j, order);
    json_put_text(&j, "answer", answer);
    if (*code)
        json_put_text(&j, "code", code);
    end(l, &j);
    ledger_count_push(l, order);
    metric_add(M_SIM_PUSHES, 1);
    return l->n;
}

void ledger_accept(struct ledger *l, const struct ledger_prompt *p)
{
    struct json_out j = begin(l, "accept", p->accepted_at);

    json_put_int(&j, "n", (int64_t)p->n);
    json_put_text(&j, "checkout", p->checkout);
    json_put_text(&j, "merchant", p->merchant);
    json_put_text(&j, "fate", fate_name((int)p->plan.fate));
    json_put_text(&j, "code", p->plan.code);
    json_put_text(&j, "callback", callback_name((int)p->plan.callback));
    end(l, &j);
    ledger_count_accept(l, &p->order);
    metric_add(M_SIM_ACCEPTED, 1);
}

void ledger_debit(struct ledger *l, const struct ledger_prompt *p, int64_t at,
                  const char *receipt)
{
    struct json_out j = begin(l, "debit", at);

    json_put_int(&j, "n", (int64_t)p->n);
    json_put_text(&j, "checkout", p->checkout);
    json_put_text(&j, "receipt", receipt);
    json_put_int(&j, "shortcode", p->order.shortcode);
    put_order(&j, &p->order);
    json_put_text(&j, "url", p->order.url);
    put_path(&j, &p->order);
    end(l, &j);
    ledger_count_debit(l, &p->order);
    metric_add(M_SIM_DEBITS, 1);
}

void ledger_end(struct ledger *l, const struct ledger_prompt *p, int64_t at,
                const char *code)
{
    struct json_out j = begin(l, "end", at);

    json_put_int(&j, "n", (int64_t)p->n);
    json_put_text(&j, "checkout", p->checkout);
    json_put_text(&j, "code", code);
    put_path(&j, &p->order);
    end(l, &j);
    l->counts.ended++;
}

void ledger_callback(struct ledger *l, const struct ledger_callback *c,
                     int64_t at)
{
    struct json_out j = begin(l, "callback", at);

    json_put_int(&j, "n", (int64_t)c->n);
    json_put_text(&j, "checkout", c->checkout);
    json_put_int(&j, "try", c->tries);
    json_put_int(&j, "status", c->status);
    if (c->lost)
        json_put_bool(&j, "lost", true);
    if (*c->error)
        json_put_text(&j, "error", c->error);
    end(l, &j);
    ledger_count_callback(l, c->lost, c->status);
    metric_add(c->lost                               ? M_SIM_CALLBACKS_LOST
               : c->status >= 200 && c->status < 300 ? M_SIM_CALLBACKS_ACKED
                                                     : M_SIM_CALLBACKS_FAILED,
               1);
}

void ledger_paid(struct ledger *l, const struct order *o, int64_t at,
                 const char *receipt)
{
    struct json_out j = begin(l, "paid", at);

    json_put_text(&j, "receipt", receipt);
    json_put_int(&j, "shortcode", o->shortcode);
    put_order(&j, o);
    end(l, &j);
    l->paid_n++;
}

void ledger_reversal(struct ledger *l, const char *receipt, int64_t at)
{
    struct json_out j = begin(l, "reversal", at);

    json_put_text(&j, "receipt", receipt);
    end(l, &j);
}

void ledger_notice(struct ledger *l, const struct ledger_notice *n, int64_t at)
{
    struct json_out j = begin(l, "notice", at);

    json_put_text(&j, "kind", n->kind);
    json_put_text(&j, "receipt", n->receipt);
    json_put_int(&j, "status", n->status);
    if (n->lost)
        json_put_bool(&j, "lost", true);
    if (n->error && *n->error)
        json_put_text(&j, "error", n->error);
    end(l, &j);
    ledger_count_notice(l, n->lost, n->status);
}

void ledger_register(struct ledger *l, const struct ledger_register *r,
                     int64_t at)
{
    struct json_out j = begin(l, "register", at);

    json_put_text(&j, "api", r->api);
    json_put_int(&j, "shortcode", r->shortcode);
    json_put_int(&j, "version", r->version);
    json_put_text(&j, "url", r->url);
    end(l, &j);
}

void ledger_reset(struct ledger *l, int64_t at)
{
    uint64_t since = journal_size(l->journal);
    struct json_out j = begin(l, "reset", at);

    end(l, &j);
    ledger_forget(l, since);
}

static void put_tally(struct json_out *j, const char *name,
                      const struct tally *t)
{
    json_open(j, name, '{');
    json_put_int(j, "n", (int64_t)t->used);
    json_put_int(j, "pushes_max", t->most[TALLY_PUSHES]);
    json_put_int(j, "accepted_max", t->most[TALLY_ACCEPTED]);
    json_put_int(j, "debits_max", t->most[TALLY_DEBITS]);
    json_put_int(j, "pushed_twice", (int64_t)t->twice[TALLY_PUSHES]);
    json_put_int(j, "accepted_twice", (int64_t)t->twice[TALLY_ACCEPTED]);
    json_put_int(j, "debited_twice", (int64_t)t->twice[TALLY_DEBITS]);
    json_close(j, '}');
}

void ledger_summary(const struct ledger *l, struct json_out *j)
{
    const struct ledger_counts *c = &l->counts;

    json_put_int(j, "pushes", (int64_t)c->pushes);
    json_put_int(j, "accepted", (int64_t)c->accepted);
    json_put_int(j, "debits", (int64_t)c->debits);
    json_put_int(j, "debited", c->debited);
    json_put_int(j, "ended", (int64_t)c->ended);
    json_open(j, "callbacks", '{');
    json_put_int(j, "acked", (int64_t)c->callbacks_acked);
    json_put_int(j, "failed", (int64_t)c->callbacks_failed);
    json_put_int(j, "lost", (int64_t)c->callbacks_lost);
    json_close(j, '}');
    json_open(j, "notices", '{');
    json_put_int(j, "acked", (int64_t)c->notices_acked);
    json_put_int(j, "failed", (int64_t)c->notices_failed);
    json_put_int(j, "lost", (int64_t)c->notices_lost);
    json_close(j, '}');
    put_tally(j, "per_order", &l->orders);
    put_tally(j, "per_attempt", &l->attempts);
    put_tally(j, "per_payment", &l->payments);
}
