/*
 * Requests that are answered later, the answers that several handlers give, and
 * the documents behind them.
 */
#include "producer/producer_priv.h"

#include "common/clock.h"
#include "common/metrics.h"
#include "common/must.h"
#include "common/wire.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RETRY_AFTER_S 1

void producer_gone(void *arg)
{
    struct parked *k = arg;

    k->req = NULL;
}

struct parked *producer_park(struct producer *p, struct http_request *req)
{
    struct parked *k = NEW(struct parked);

    k->producer = p;
    k->req = req;
    list_init(&k->node);
    list_init(&k->publishing);
    p->parked++;
    metric_set(M_PARKED, (int64_t)p->parked);
    if (req)
        http_on_close(req, producer_gone, k);
    return k;
}

void producer_unpark(struct parked *k)
{
    list_remove(&k->node);
    list_remove(&k->publishing);
    k->producer->publishing_bytes -= k->bytes;
    k->producer->parked--;
    metric_set(M_PARKED, (int64_t)k->producer->parked);
    free(k);
}

/* --- answers --- */

void reply_document(struct http_request *req, int status, const char *document,
                    size_t len)
{
    http_add_header(req, "Cache-Control", "no-store");
    http_reply(req, status, "application/json", document, len);
}

void reply_queued(struct http_request *req, const struct uuid *id,
                  const char *document, size_t len)
{
    char id_text[UUID_TEXT_SIZE], location[UUID_TEXT_SIZE + 16];

    uuid_format(id, id_text);
    snprintf(location, sizeof(location), "/v1/payments/%s", id_text);
    http_add_header(req, "Location", location);
    reply_document(req, 202, document, len);
}

void reply_problem(const struct asker *to, const struct http_problem *p)
{
    if (to->batch)
        batch_problem(to->batch, to->item, p);
    else if (to->req)
        http_problem(to->req, p);
}

void answer_queued(const struct asker *to, const struct uuid *id,
                   const char *document, size_t len, bool replayed)
{
    if (to->batch) {
        batch_queued(to->batch, to->item, document, len, replayed);
    } else if (to->req) {
        if (replayed)
            http_add_header(to->req, "Idempotent-Replayed", "true");
        reply_queued(to->req, id, document, len);
    }
}

void reply_unavailable(struct http_request *req, const char *code,
                       const char *detail, const struct uuid *id)
{
    answer_unavailable(&(struct asker){.req = req}, code, detail, id);
}

void answer_unavailable(const struct asker *to, const char *code,
                        const char *detail, const struct uuid *id)
{
    char id_text[UUID_TEXT_SIZE];

    if (id)
        uuid_format(id, id_text);
    reply_problem(to, &(struct http_problem){
                          .status = 503,
                          .code = code,
                          .title = "Not available now",
                          .detail = detail,
                          .payment_id = id ? id_text : NULL,
                          .retry_after_s = RETRY_AFTER_S,
                      });
}

void reply_not_found(struct http_request *req)
{
    http_problem(req, &(struct http_problem){
                          .status = 404,
                          .code = "not_found",
                          .title = "Not found",
                          .detail = "no payment of yours has this id",
                      });
}

void reply_conflict(const struct asker *to, int status, const char *detail,
                    const struct uuid *id)
{
    char id_text[UUID_TEXT_SIZE];

    uuid_format(id, id_text);
    metric_add(M_KEY_CONFLICTS, 1);
    reply_problem(to, &(struct http_problem){
                          .status = status,
                          .code = status == 409 ? "key_in_use" : "key_conflict",
                          .title = "Idempotency-Key names another request",
                          .detail = detail,
                          .payment_id = id_text,
                          .retry_after_s = status == 409 ? RETRY_AFTER_S : 0,
                      });
}

/* --- documents --- */

/* The document of a request that no worker has claimed yet. */
void producer_write_queued(struct producer *p, const struct request *req)
{
    struct payment payment = {
        .req = *req,
        .state = PAYMENT_QUEUED,
        .created_at = req->requested_at,
        .updated_at = req->requested_at,
        .deadline_at =
            payment_deadline(req, 0, p->cfg->payments_ttl_ms * US_PER_MS),
    };

    buf_reset(&p->document);
    wire_write_payment(&payment, &p->document);
    must(!p->document.failed);
}

void producer_write_unclaimed(struct producer *p, const struct uuid *id)
{
    char text[UUID_TEXT_SIZE];

    uuid_format(id, text);
    buf_reset(&p->document);
    buf_addf(&p->document,
             "{\"id\":\"%s\",\"status\":\"queued\",\"final\":false,"
             "\"version\":0,\"attempts\":0}",
             text);
}

void producer_put_document(struct producer *p, const struct request *req,
                           int version, bool final)
{
    struct status_entry entry = {
        .client = req->client,
        .version = version,
        .final = final,
        .document = p->document.data,
        .len = p->document.len,
    };

    memcpy(entry.fingerprint, req->fingerprint, FINGERPRINT_SIZE);
    status_put(p->status, &req->id, &entry);
}
