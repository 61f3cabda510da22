/*
 * GET /v1/payments: a client's payments that were claimed, a page at a time,
 * the newest first; and GET /v1/payments/{id}/events: what the status topic
 * tells of one. Both are the ledger's word, read then.
 */
#include "producer/producer_priv.h"

#include "common/must.h"
#include "common/wire.h"

#include <string.h>

#define DOCUMENT_MOST 4096 /* bytes of one */

static struct parked *park(struct producer *p, const struct client *client,
                           struct http_request *req)
{
    struct parked *k;

    if (p->app->stopping || p->parked >= (size_t)p->cfg->api_parked_max) {
        reply_unavailable(req, "busy", "too many requests are waiting", NULL);
        return NULL;
    }
    k = producer_park(p, req);
    k->client = client->uuid;
    return k;
}

/* Whether there is an answer to be given; else it was, or nobody waits. */
static bool answerable(struct parked *k, const struct err *err)
{
    if (k->req && !err)
        return true;
    if (k->req)
        reply_unavailable(k->req, "ledger_unavailable",
                          "the ledger cannot be read now", NULL);
    producer_unpark(k);
    return false;
}

static void reply_list(struct parked *k, struct buf *out)
{
    must(!out->failed);
    reply_document(k->req, 200, out->data, out->len);
    buf_done(out);
    producer_unpark(k);
}

/* --- payments --- */

static void found(void *arg, const struct payment *rows, size_t n, bool more,
                  const struct err *err)
{
    struct parked *k = arg;
    char cursor[FIND_CURSOR_SIZE];
    struct buf out;

    if (!answerable(k, err))
        return;
    buf_init(&out, (n + 1) * DOCUMENT_MOST);
    buf_adds(&out, "{\"payments\":[");
    for (size_t i = 0; i < n; i++) {
        if (i)
            buf_addc(&out, ',');
        wire_write_payment(&rows[i], &out);
    }
    buf_adds(&out, "],\"next\":");
    if (more) {
        find_cursor(
            &(struct find_place){rows[n - 1].created_at, rows[n - 1].req.id},
            cursor);
        buf_addf(&out, "\"%s\"}", cursor);
    } else {
        buf_adds(&out, "null}");
    }
    reply_list(k, &out);
}

void producer_on_list(void *arg, struct http_request *req)
{
    struct producer *p = arg;
    const struct client *client = producer_client(p, req);
    struct parked *k;
    struct find find;

    if (!client || !accept_find(p->cfg, req, &find))
        return;
    k = park(p, client, req);
    if (k)
        look_payments(p->look, &k->client, &find, found, k);
}

/* --- events --- */

/* One that waits in Kafka has none yet. */
static bool waits_in_kafka(struct parked *k)
{
    struct status_entry known;

    return status_find(k->producer->status, &k->id, &known) &&
           uuid_equal(&known.client, &k->client);
}

static void events_read(void *arg, bool known, const struct payment *versions,
                        size_t n, bool more, const struct err *err)
{
    struct parked *k = arg;
    struct buf out;

    if (!answerable(k, err))
        return;
    if (!known && !waits_in_kafka(k)) {
        reply_not_found(k->req);
        producer_unpark(k);
        return;
    }
    buf_init(&out, (n + 1) * DOCUMENT_MOST);
    buf_adds(&out, "{\"events\":[");
    for (size_t i = 0; i < n; i++) {
        if (i)
            buf_addc(&out, ',');
        wire_write_event(&versions[i], &out);
    }
    buf_adds(&out, "],\"next\":");
    if (more)
        buf_addi(&out, versions[n - 1].version);
    else
        buf_adds(&out, "null");
    buf_addc(&out, '}');
    reply_list(k, &out);
}

void producer_on_events(void *arg, struct http_request *req)
{
    struct producer *p = arg;
    const struct client *client = producer_client(p, req);
    const char *text = http_param(req, 0);
    struct uuid id;
    struct err err;
    struct parked *k;
    int after;

    if (!client || !accept_after(req, &after))
        return;
    if (uuid_parse(text, strlen(text), &id, &err)) {
        reply_not_found(req);
        return;
    }
    k = park(p, client, req);
    if (!k)
        return;
    k->id = id;
    look_events(p->look, &k->id, &k->client, after, events_read, k);
}
