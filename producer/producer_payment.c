/*
 * POST /v1/payments. 202 follows the delivery report and nothing else. A report
 * that failed may still have been persisted: the client is told so
 * (maybe_queued), and its retry with the same key names the same payment.
 */
#include "producer/producer_priv.h"

#include "common/clock.h"
#include "common/metrics.h"
#include "common/windows.h"

#include <string.h>

static void payment_published(void *arg, const struct err *err)
{
    struct parked *k = arg;
    struct producer *p = k->producer;
    const struct request *request = &k->accepted.request;
    struct asker to = {k->req, k->batch, k->item};
    bool unsure = err && err->code != ERR_UNAVAILABLE;

    WINDOW(request_unanswered);
    metric_add(err ? M_NOT_QUEUED : M_ACCEPTED, 1);
    if (!err) {
        producer_write_queued(p, request);
        producer_put_document(p, request, 0, false);
    }
    if (!err)
        answer_queued(&to, &request->id, p->document.data, p->document.len,
                      false);
    else
        answer_unavailable(&to, unsure ? "maybe_queued" : "not_queued",
                           unsure ? "Kafka did not confirm in time: repeat the "
                                    "request with the same Idempotency-Key"
                                  : "Kafka cannot be reached: repeat the "
                                    "request with the same Idempotency-Key",
                           &request->id);
    producer_unpark(k);
}

/* A request known for certain: it is in Kafka or in Postgres. */
static void reply_known(struct producer *p, const struct asker *to,
                        const struct request *request,
                        const struct status_entry *known)
{
    if (memcmp(known->fingerprint, request->fingerprint, FINGERPRINT_SIZE)) {
        reply_conflict(to, 422,
                       "this key was used for a request with other content",
                       &request->id);
        return;
    }
    metric_add(M_REPLAYED, 1);
    if (known->document) {
        answer_queued(to, &request->id, known->document, known->len, true);
        return;
    }
    producer_write_queued(p, request);
    answer_queued(to, &request->id, p->document.data, p->document.len, true);
}

static struct list *bucket(struct producer *p, const struct uuid *id)
{
    return &p->under_way[uuid_hash(id) % PRODUCER_BUCKETS];
}

/* Whether another content is on its way into Kafka under the same id. */
static bool contradicted(struct producer *p, const struct request *request)
{
    struct list *head = bucket(p, &request->id);

    for (struct list *l = head->next; l != head; l = l->next) {
        const struct request *other =
            &container_of(l, struct parked, node)->accepted.request;

        if (uuid_equal(&other->id, &request->id) &&
            memcmp(other->fingerprint, request->fingerprint, FINGERPRINT_SIZE))
            return true;
    }
    return false;
}

static void publish_payment(struct producer *p, const struct asker *to,
                            const struct accepted *accepted)
{
    const struct request *request = &accepted->request;
    struct parked *k;
    struct err err;

    if (p->app->stopping || p->parked >= (size_t)p->cfg->api_parked_max) {
        answer_unavailable(to, "not_queued", "too many requests are waiting",
                           &request->id);
        return;
    }
    if (producer_sheds(p, request->priority)) {
        metric_add(M_NOT_QUEUED, 1);
        answer_unavailable(to, "not_queued",
                           "Kafka is slow: repeat the request with the same "
                           "Idempotency-Key",
                           &request->id);
        return;
    }
    k = producer_park(p, to->req);
    k->batch = to->batch;
    k->item = to->item;
    k->accepted = *accepted;
    if (publish_request(p->publish, accepted->client, request, accepted->key,
                        payment_published, k, &err)) {
        metric_add(M_NOT_QUEUED, 1);
        producer_unpark(k);
        answer_unavailable(to, "not_queued", err.text, &request->id);
        return;
    }
    list_append(bucket(p, &request->id), &k->node);
    producer_sent(k);
    WINDOW(request_unreported);
}

void producer_take(struct producer *p, const struct asker *to,
                   const struct accepted *accepted)
{
    const struct request *request = &accepted->request;
    struct status_entry known;

    if (status_find(p->status, &request->id, &known))
        reply_known(p, to, request, &known);
    else if (contradicted(p, request))
        reply_conflict(to, 409, "another request with this key is under way",
                       &request->id);
    else
        publish_payment(p, to, accepted);
}

void producer_on_payment(void *arg, struct http_request *req)
{
    struct producer *p = arg;
    const struct client *client = producer_client(p, req);
    struct accepted accepted;

    if (client &&
        accept_payment(p->cfg, client, req, clock_wall_at(), &accepted))
        producer_take(p, &(struct asker){.req = req}, &accepted);
}
