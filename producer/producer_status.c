/*
 * GET /v1/payments/{id}: from the cache, from the ledger when the cache does
 * not have it, and from the index while it waits in Kafka. With ?wait= the
 * answer comes when the payment is final, or when the time is over.
 */
#include "producer/producer_priv.h"

#include "common/must.h"
#include "common/wire.h"

#include <string.h>

static void status_answer(struct parked *k)
{
    struct status_entry known;

    if (k->req && status_find(k->producer->status, &k->id, &known) &&
        known.document)
        reply_document(k->req, 200, known.document, known.len);
    else if (k->req)
        reply_unavailable(k->req, "status_unavailable",
                          "the payment's document left the cache: ask again",
                          &k->id);
    producer_unpark(k);
}

static void payment_read(void *arg, const struct payment *payment,
                         const struct err *err);

/* The cache may have let the document go meanwhile: the ledger has it. */
static void woken(void *arg)
{
    struct parked *k = arg;
    struct status_entry known;

    k->wait_us = 0;
    if (status_find(k->producer->status, &k->id, &known) && known.document) {
        status_answer(k);
        return;
    }
    http_on_close(k->req, producer_gone, k);
    look_payment(k->producer->look, &k->id, payment_read, k);
}

static void waiter_gone(void *arg)
{
    struct parked *k = arg;

    status_unwait(&k->wait);
    producer_unpark(k);
}

/* Answers now, or when the payment is final, or when the wait is over. */
static void answer_or_wait(struct parked *k, bool final)
{
    if (final || k->wait_us == 0 || k->producer->app->stopping) {
        status_answer(k);
        return;
    }
    http_on_close(k->req, waiter_gone, k);
    http_untimed(k->req);
    status_wait(k->producer->status, &k->id, &k->wait, k->wait_us, woken, k);
}

static void reply_queued_alone(struct parked *k)
{
    producer_write_unclaimed(k->producer, &k->id);
    if (k->req)
        reply_document(k->req, 200, k->producer->document.data,
                       k->producer->document.len);
    producer_unpark(k);
}

/* The database does not know it. The index may: then it waits in Kafka. */
static void not_in_ledger(struct parked *k)
{
    struct status_entry known;

    if (status_find(k->producer->status, &k->id, &known) &&
        uuid_equal(&known.client, &k->client)) {
        reply_queued_alone(k);
        return;
    }
    if (k->req)
        reply_not_found(k->req);
    producer_unpark(k);
}

static void payment_read(void *arg, const struct payment *payment,
                         const struct err *err)
{
    struct parked *k = arg;
    struct producer *p = k->producer;

    if (!k->req) {
        producer_unpark(k);
    } else if (err) {
        reply_unavailable(k->req, "status_unavailable",
                          "the ledger cannot be read now", &k->id);
        producer_unpark(k);
    } else if (!payment) {
        not_in_ledger(k);
    } else if (!uuid_equal(&payment->req.client, &k->client)) {
        reply_not_found(k->req);
        producer_unpark(k);
    } else {
        buf_reset(&p->document);
        wire_write_payment(payment, &p->document);
        producer_put_document(p, &payment->req, payment->version,
                              payment_state_final(payment->state));
        answer_or_wait(k, payment_state_final(payment->state));
    }
}

void producer_on_status(void *arg, struct http_request *req)
{
    struct producer *p = arg;
    const struct client *client = producer_client(p, req);
    const char *text = http_param(req, 0);
    struct status_entry known;
    struct uuid id;
    struct err err;
    struct parked *k;
    int64_t wait_us;

    if (!client || !accept_wait(p->cfg, req, &wait_us))
        return;
    if (uuid_parse(text, strlen(text), &id, &err)) {
        reply_not_found(req);
        return;
    }
    if (p->parked >= (size_t)p->cfg->api_parked_max) {
        reply_unavailable(req, "busy", "too many requests are waiting", NULL);
        return;
    }
    k = producer_park(p, req);
    k->id = id;
    k->client = client->uuid;
    k->wait_us = wait_us;
    if (!status_find(p->status, &id, &known) || !known.document) {
        look_payment(p->look, &id, payment_read, k);
    } else if (!uuid_equal(&known.client, &client->uuid)) {
        producer_unpark(k);
        reply_not_found(req);
    } else {
        answer_or_wait(k, known.final);
    }
}
