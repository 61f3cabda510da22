/*
 * POST /v1/payments/{id}/cancel (rule S21). The ledger keeps that a client
 * wants it, whether or not the payment was claimed; its claim, or the flow,
 * makes it cancelled, and the answer waits for that:
 *
 *   200  it is cancelled
 *   202  it was not claimed yet, and no claim can miss the cancel any more
 *   409  a push may have gone out, or it is over
 *   503  not known in time: asking again is harmless, and says
 *
 * Nothing is promised before every claim that may not have seen the cancel has
 * ended: it could push.
 */
#include "producer/producer_priv.h"

#include "common/clock.h"
#include "common/metrics.h"
#include "common/must.h"
#include "common/wire.h"

#include <stdio.h>
#include <string.h>

#define LOOK_AGAIN_US (40 * US_PER_MS)

/* --- answers --- */

static void reply_unsure(struct parked *k, const char *code, const char *detail)
{
    metric_add(M_CANCEL_UNSURE, 1);
    if (k->req)
        reply_unavailable(k->req, code, detail, &k->id);
    producer_unpark(k);
}

static void reply_refused(struct parked *k, const struct payment *payment)
{
    bool waits = payment->state == PAYMENT_WAITING;
    char id[UUID_TEXT_SIZE], detail[96];

    metric_add(M_CANCEL_REFUSED, 1);
    uuid_format(&k->id, id);
    snprintf(detail, sizeof(detail), "it is %s%s",
             payment_state_name(payment->state),
             payment_state_final(payment->state) ? ""
             : waits ? ", and a push of it has gone out"
                     : ": a push of it may have gone out");
    http_problem(k->req, &(struct http_problem){
                             .status = 409,
                             .code = "not_cancellable",
                             .title = "The payment cannot be cancelled",
                             .detail = detail,
                             .payment_id = id,
                         });
    producer_unpark(k);
}

static void reply_cancelled(struct parked *k, const struct payment *payment)
{
    struct producer *p = k->producer;

    metric_add(M_CANCEL_DONE, 1);
    buf_reset(&p->document);
    wire_write_payment(payment, &p->document);
    producer_put_document(p, &payment->req, payment->version, true);
    reply_document(k->req, 200, p->document.data, p->document.len);
    producer_unpark(k);
}

/* The document is what is known of it so far; its end is told when its record
   is claimed. */
static void reply_noted(struct parked *k)
{
    struct producer *p = k->producer;
    struct status_entry known;

    metric_add(M_CANCEL_NOTED, 1);
    if (status_find(p->status, &k->id, &known) && known.document) {
        reply_queued(k->req, &k->id, known.document, known.len);
    } else {
        producer_write_unclaimed(p, &k->id);
        reply_queued(k->req, &k->id, p->document.data, p->document.len);
    }
    producer_unpark(k);
}

static void reply_too_many(struct parked *k)
{
    metric_add(M_CANCEL_LIMITED, 1);
    http_problem(k->req, &(struct http_problem){
                             .status = 429,
                             .code = "too_many_cancels",
                             .title = "Too many cancels",
                             .detail = "so many cancels of this client wait "
                                       "for payments that nobody knows",
                             .retry_after_s = 60,
                         });
    producer_unpark(k);
}

/* --- what became of it --- */

static void look(struct parked *k);

static void look_again(void *arg)
{
    look(arg);
}

/* Whether the payment's row says how it ends; answered then. */
static bool decided(struct parked *k, const struct payment *payment, bool open)
{
    if (!uuid_equal(&payment->req.client, &k->client)) {
        reply_not_found(k->req);
        producer_unpark(k);
    } else if (payment->state == PAYMENT_CANCELLED) {
        reply_cancelled(k, payment);
    } else if (payment->state != PAYMENT_WAITING || !open) {
        reply_refused(k, payment);
    } else {
        return false;
    }
    return true;
}

static void looked(void *arg, const struct look_cancel *c,
                   const struct err *err)
{
    struct parked *k = arg;
    struct producer *p = k->producer;

    if (!k->req) {
        producer_unpark(k);
        return;
    }
    if (c && !k->cancel_tx)
        k->cancel_tx = c->now_tx;
    if (c && c->payment && decided(k, c->payment, c->open))
        return;
    if (c && !c->payment && c->sure && c->open)
        reply_noted(k);
    else if (p->app->stopping || clock_now_us() >= k->until_us)
        reply_unsure(k, "maybe_cancelled",
                     err ? "the ledger cannot be read now: repeat the request"
                         : "nobody has seen to it yet: repeat the request");
    else
        timer_set(p->app->loop, &k->again, clock_now_us() + LOOK_AGAIN_US);
}

static void look(struct parked *k)
{
    look_cancel(k->producer->look, &k->id, &k->client, k->cancel_tx, looked, k);
}

static void noted(void *arg, bool taken, const struct err *err)
{
    struct parked *k = arg;

    if (err)
        reply_unsure(
            k, err->code == ERR_UNSURE ? "maybe_cancelled" : "not_cancelled",
            "the ledger did not confirm: repeat the request");
    else if (!k->req)
        producer_unpark(k);
    else if (!taken)
        reply_too_many(k);
    else
        look(k);
}

/* The settings may have changed since it asked. */
static const char *name_of(const struct config *cfg, const struct uuid *client)
{
    for (size_t i = 0; i < cfg->clients_n; i++)
        if (uuid_equal(&cfg->clients[i].uuid, client))
            return cfg->clients[i].name;
    return "gone";
}

static void ask(struct parked *k)
{
    const struct config *cfg = k->producer->cfg;
    char text[RESULT_TEXT_MAX + 1];

    snprintf(text, sizeof(text), "cancelled by its client, %s",
             name_of(cfg, &k->client));
    look_ask_cancel(k->producer->look, &k->id, &k->client, text,
                    cfg->api_cancels_max, noted, k);
}

static void first_read(void *arg, const struct payment *payment,
                       const struct err *err)
{
    struct parked *k = arg;

    if (!k->req)
        producer_unpark(k);
    else if (err)
        reply_unsure(k, "not_cancelled",
                     "the ledger cannot be read now: repeat the request");
    else if (!payment || !decided(k, payment, true))
        ask(k);
}

/* --- the face --- */

/* A payment that the index knows as another client's. */
static bool is_anothers(struct producer *p, const struct uuid *id,
                        const struct client *client)
{
    struct status_entry known;

    return status_find(p->status, id, &known) &&
           !uuid_equal(&known.client, &client->uuid);
}

void producer_on_cancel(void *arg, struct http_request *req)
{
    struct producer *p = arg;
    const struct client *client = producer_client(p, req);
    const char *text = http_param(req, 0);
    struct uuid id;
    struct err err;
    struct parked *k;

    if (!client)
        return;
    if (uuid_parse(text, strlen(text), &id, &err) ||
        is_anothers(p, &id, client)) {
        reply_not_found(req);
        return;
    }
    if (p->app->stopping || p->parked >= (size_t)p->cfg->api_parked_max) {
        reply_unavailable(req, "not_cancelled", "too many requests are waiting",
                          &id);
        return;
    }
    k = producer_park(p, req);
    k->id = id;
    k->client = client->uuid;
    k->until_us = clock_now_us() + p->cfg->api_cancel_wait_ms * US_PER_MS;
    timer_init(&k->again, look_again, k);
    look_payment(p->look, &id, first_read, k);
}
