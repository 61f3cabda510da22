/*
 * What Daraja posts, until it is durable. Kafka has spool.after_ms to confirm;
 * then, or at once when it is known to be away, the spool gets a copy, and
 * whoever is first to say that it is durable has Daraja answered 200. In both
 * it is harmless: a worker knows what it has applied. The caller's connection
 * may die meanwhile; what it told us is kept all the same, since Daraja calls
 * once.
 */
#include "producer/producer_priv.h"

#include "common/clock.h"
#include "common/metrics.h"
#include "common/must.h"
#include "common/windows.h"

#include <stdlib.h>

/* A callback or C2B confirmation that is durable nowhere yet. */
struct keeping {
    struct list node; /* in producer.keeping */
    struct producer *producer;
    struct http_request *req; /* NULL = answered, or its connection is gone */
    struct spool_item *item;  /* a copy for the spool; NULL = there is none */
    int64_t due_us;
    enum metric kept, refused;
    bool at_kafka, at_spool, answered;
};

static void gone(void *arg)
{
    struct keeping *k = arg;

    k->req = NULL;
}

static void answer(struct keeping *k, bool durable)
{
    struct http_request *req = TAKE(k->req);

    WINDOW(callback_unanswered);
    k->answered = true;
    metric_add(durable ? k->kept : k->refused, 1);
    if (req && durable)
        callbacks_accepted(req);
    else if (req)
        callbacks_refused(req);
}

/* Over, unless Kafka or the spool has still to say something. */
static void release(struct keeping *k)
{
    struct producer *p = k->producer;

    if (k->at_kafka || k->at_spool)
        return;
    if (!k->answered)
        answer(k, false);
    list_remove(&k->node);
    p->parked--;
    metric_set(M_PARKED, (int64_t)p->parked);
    free(k->item);
    free(k);
}

static void spooled(void *arg, const struct err *err)
{
    struct keeping *k = arg;

    k->at_spool = false;
    if (!err)
        metric_add(M_CALLBACKS_SPOOLED, 1);
    if (!err && !k->answered)
        answer(k, true);
    release(k);
}

/* Ends in release() when the spool does not take it either. */
static void to_spool(struct keeping *k)
{
    struct spool_item *item = k->item;
    struct err err;

    list_remove(&k->node);
    if (item && !k->at_spool &&
        !spool_put(k->producer->spool, item, spooled, k, &err))
        k->at_spool = true;
    else
        release(k);
}

static void published(void *arg, const struct err *err)
{
    struct keeping *k = arg;

    k->at_kafka = false;
    if (!err && !k->answered)
        answer(k, true);
    if (k->answered)
        release(k);
    else
        to_spool(k);
}

/* Kafka's time is over for those at the head; they came in this order. */
static void keep_late(void *arg)
{
    struct producer *p = arg;
    int64_t now_us = loop_now_us(p->app->loop);

    while (!list_empty(&p->keeping)) {
        struct keeping *k = container_of(p->keeping.next, struct keeping, node);

        if (k->due_us > now_us) {
            timer_set(p->app->loop, &p->keep_timer, k->due_us);
            return;
        }
        to_spool(k);
    }
}

static void wait_for_kafka(struct keeping *k)
{
    struct producer *p = k->producer;

    k->at_kafka = true;
    k->due_us = loop_now_us(p->app->loop) + p->cfg->spool_after_ms * US_PER_MS;
    list_append(&p->keeping, &k->node);
    if (!timer_armed(&p->keep_timer))
        timer_set(p->app->loop, &p->keep_timer, k->due_us);
}

static bool kafka_up(struct producer *p)
{
    char note[1];

    return publish_up(p->publish, note, sizeof(note));
}

/* Answers once @p record is durable. */
static void keep(struct producer *p, struct http_request *req,
                 const struct kafka_record *record, enum metric kept,
                 enum metric refused)
{
    struct keeping *k = NEW(struct keeping);
    struct err err;

    WINDOW(callback_unpublished);
    k->producer = p;
    k->req = req;
    k->kept = kept;
    k->refused = refused;
    list_init(&k->node);
    if (p->spool)
        k->item = spool_item_new(record);
    p->parked++;
    metric_set(M_PARKED, (int64_t)p->parked);
    if (req)
        http_on_close(req, gone, k);
    if ((p->spool && !kafka_up(p)) ||
        publish_callback(p->publish, record, published, k, &err))
        to_spool(k);
    else
        wait_for_kafka(k);
}

void producer_keep_callback(struct producer *p, struct http_request *req,
                            const struct producer_callback *cb,
                            enum metric kept)
{
    struct publish_callback out = {
        .payment = cb->path.payment,
        .attempt = cb->path.attempt,
        .mac = cb->path.mac,
        .source = cb->source,
        .body = cb->body,
        .len = cb->len,
    };
    struct publish_record record;

    publish_make_callback(&out, &record);
    keep(p, req, &record.record, kept, M_CALLBACKS_REFUSED);
}

void producer_on_callback(void *arg, struct http_request *req)
{
    struct producer *p = arg;
    struct producer_callback cb = {.source = http_peer(req)};

    if (!callbacks_path(p->cfg, req, &cb.path))
        return;
    cb.body = http_body(req, &cb.len);
    if (cb.path.ours)
        producer_keep_callback(p, req, &cb, M_CALLBACKS_KEPT);
    else
        producer_doubt(p, req, &cb);
}

void producer_on_c2b(void *arg, struct http_request *req)
{
    struct producer *p = arg;
    struct publish_c2b notice;
    struct publish_record record;

    if (!callbacks_c2b(p->cfg, req))
        return;
    notice = (struct publish_c2b){.source = http_peer(req)};
    notice.body = http_body(req, &notice.len);
    publish_make_c2b(p->publish, &notice, &record);
    keep(p, req, &record.record, M_C2B_KEPT, M_C2B_REFUSED);
}

void producer_callbacks_init(struct producer *p)
{
    list_init(&p->keeping);
    timer_init(&p->keep_timer, keep_late, p);
}

void producer_callbacks_done(struct producer *p)
{
    must(list_empty(&p->keeping));
    timer_cancel(p->app->loop, &p->keep_timer);
}
