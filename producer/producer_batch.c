/*
 * POST /v1/payments/batch: up to 500 payments in one request, each as if it had
 * come alone (rule S20). Its answer has one for each, in their order, when the
 * last of them has its own; no item waits for what another one says.
 */
#include "producer/producer_priv.h"

#include "common/clock.h"
#include "common/metrics.h"
#include "common/must.h"

#include <stdlib.h>

#define ANSWER_MAX 8192 /* bytes of one item's */

struct batch {
    struct producer *producer;
    struct http_request *req; /* NULL = its connection is gone */
    size_t n, left;           /* left: without their answer, and the handler */
    struct buf answers[];
};

static void gone(void *arg)
{
    struct batch *b = arg;

    b->req = NULL;
}

static void reply(struct batch *b)
{
    struct buf out;
    size_t len = 0;

    for (size_t i = 0; i < b->n; i++)
        len += b->answers[i].len + 1;
    buf_init(&out, len + 32);
    buf_adds(&out, "{\"items\":[");
    for (size_t i = 0; i < b->n; i++) {
        if (i)
            buf_addc(&out, ',');
        buf_add(&out, b->answers[i].data, b->answers[i].len);
    }
    buf_adds(&out, "]}");
    must(!out.failed);
    reply_document(b->req, 200, out.data, out.len);
    buf_done(&out);
}

static void release(struct batch *b)
{
    if (--b->left)
        return;
    if (b->req)
        reply(b);
    for (size_t i = 0; i < b->n; i++)
        buf_done(&b->answers[i]);
    b->producer->parked--;
    metric_set(M_PARKED, (int64_t)b->producer->parked);
    free(b);
}

void batch_queued(struct batch *b, size_t item, const char *document,
                  size_t len, bool replayed)
{
    struct buf *out = &b->answers[item];

    buf_addf(out, "{\"status\":202,\"replayed\":%s,\"payment\":",
             replayed ? "true" : "false");
    buf_add(out, document, len);
    buf_addc(out, '}');
    must(!out->failed);
    release(b);
}

void batch_problem(struct batch *b, size_t item, const struct http_problem *p)
{
    struct buf *out = &b->answers[item];

    buf_addf(out, "{\"status\":%d,\"problem\":", p->status);
    http_problem_json(out, p);
    buf_addc(out, '}');
    must(!out->failed);
    release(b);
}

static struct batch *batch_new(struct producer *p, struct http_request *req,
                               size_t n)
{
    struct batch *b = must_alloc(1, sizeof(*b) + n * sizeof(b->answers[0]));

    b->producer = p;
    b->req = req;
    b->n = n;
    b->left = n + 1;
    for (size_t i = 0; i < n; i++)
        buf_init(&b->answers[i], ANSWER_MAX);
    p->parked++;
    metric_set(M_PARKED, (int64_t)p->parked);
    http_on_close(req, gone, b);
    return b;
}

static void refuse(struct batch *b, size_t item, const struct fault *fault)
{
    metric_add(M_REFUSED_INPUT, 1);
    batch_problem(b, item,
                  &(struct http_problem){
                      .status = 400,
                      .code = fault->code,
                      .title = "Request cannot be used",
                      .detail = fault->text,
                      .field = *fault->field ? fault->field : NULL,
                  });
}

static void begin(struct batch *b, size_t item, const struct client *client,
                  const struct wire_item *text)
{
    struct asker to = {.batch = b, .item = item};
    struct accepted accepted = {.client = client};
    struct fault fault;

    if (item > 0 && b->req &&
        !producer_admits(b->producer, client, b->req, &to))
        return;
    if (wire_read_item(b->producer->cfg, client, text, clock_wall_at(),
                       accepted.key, &accepted.request, &fault))
        refuse(b, item, &fault);
    else
        producer_take(b->producer, &to, &accepted);
}

void producer_on_batch(void *arg, struct http_request *req)
{
    struct producer *p = arg;
    const struct client *client = producer_client(p, req);
    struct wire_item items[WIRE_BATCH_MAX];
    struct batch *b;
    size_t n;

    if (!client || !accept_batch(req, items, &n))
        return;
    if (p->app->stopping || p->parked + n > (size_t)p->cfg->api_parked_max) {
        reply_unavailable(req, "not_queued", "too many requests are waiting",
                          NULL);
        return;
    }
    b = batch_new(p, req, n);
    for (size_t i = 0; i < n; i++)
        begin(b, i, client, &items[i]);
    release(b);
}
