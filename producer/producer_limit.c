/*
 * Limits on their way to the client: 429 with Retry-After when a window is
 * full, and on every answer what is left of it, in the headers RateLimit-Policy
 * and RateLimit (draft-ietf-httpapi-ratelimit-headers). While Kafka is slow
 * 503, the less urgent first.
 */
#include "producer/producer_priv.h"

#include "common/clock.h"
#include "common/metrics.h"
#include "common/must.h"

#include <limits.h>
#include <stdio.h>

/* A record is the request's body and less than this. */
#define RECORD_MORE_BYTES 512

static int seconds(int64_t us)
{
    return (int)MIN((us + US_PER_S - 1) / US_PER_S, INT_MAX);
}

static void add_headers(struct http_request *req, const char *policy,
                        const struct limit_state *s)
{
    char text[96];

    if (!s->quota)
        return;
    snprintf(text, sizeof(text), "\"%s\";q=%lld;w=%lld", policy,
             (long long)s->quota, (long long)s->window_s);
    http_add_header(req, "RateLimit-Policy", text);
    snprintf(text, sizeof(text), "\"%s\";r=%lld;t=%d", policy,
             (long long)s->left, seconds(s->wait_us));
    http_add_header(req, "RateLimit", text);
}

static void reply_limited(struct http_request *req, const char *policy,
                          const char *detail, const struct limit_state *s)
{
    add_headers(req, policy, s);
    http_problem(req, &(struct http_problem){
                          .status = 429,
                          .code = "rate_limited",
                          .title = "Too many requests",
                          .detail = detail,
                          .retry_after_s = seconds(s->wait_us),
                      });
}

static bool admit_address(struct producer *p, struct http_request *req)
{
    struct limit_state s;

    if (limits_address(p->limits, http_peer(req), clock_now_us(), &s))
        return true;
    metric_add(M_LIMITED_ADDRESS, 1);
    reply_limited(req, "address",
                  "this address has made all the requests that it may for now",
                  &s);
    return false;
}

static bool admit_client(struct producer *p, const struct client *client,
                         struct http_request *req)
{
    struct limit_state s;

    if (limits_client(p->limits, client, clock_now_us(), &s)) {
        add_headers(req, "client", &s);
        return true;
    }
    metric_add(M_LIMITED_CLIENT, 1);
    reply_limited(req, "client",
                  "this client has made all the requests that it may for now",
                  &s);
    return false;
}

bool producer_admits(struct producer *p, const struct client *client,
                     struct http_request *req, const struct asker *to)
{
    struct limit_state s;
    bool address =
        limits_address(p->limits, http_peer(req), clock_now_us(), &s);

    if (address && limits_client(p->limits, client, clock_now_us(), &s))
        return true;
    metric_add(address ? M_LIMITED_CLIENT : M_LIMITED_ADDRESS, 1);
    reply_problem(to, &(struct http_problem){
                          .status = 429,
                          .code = "rate_limited",
                          .title = "Too many requests",
                          .detail = "each payment of a batch counts, and these "
                                    "are all that may be made for now",
                          .retry_after_s = seconds(s.wait_us),
                      });
    return false;
}

const struct client *producer_client(struct producer *p,
                                     struct http_request *req)
{
    const struct client *client;

    if (!admit_address(p, req))
        return NULL;
    client = accept_client(p->cfg, req);
    return client && admit_client(p, client, req) ? client : NULL;
}

/* --- while Kafka is slow --- */

static int64_t oldest_us(const struct producer *p)
{
    if (list_empty(&p->publishing))
        return 0;
    return clock_now_us() -
           container_of(p->publishing.next, struct parked, publishing)->sent_us;
}

bool producer_sheds(const struct producer *p, enum priority priority)
{
    static const enum metric counts[] = {
        [PRIORITY_HIGH] = M_SHED_HIGH,
        [PRIORITY_NORMAL] = M_SHED_NORMAL,
        [PRIORITY_LOW] = M_SHED_LOW,
    };
    struct limit_load load = {
        .records = (int64_t)publish_queued(p->publish),
        .records_max = p->cfg->kafka_queue_records_max,
        .bytes = (int64_t)p->publishing_bytes,
        .bytes_max = p->cfg->kafka_queue_kbytes_max * 1024,
        .oldest_us = oldest_us(p),
        .slow_us = p->cfg->limits_slow_ms * US_PER_MS,
    };

    if (!limit_sheds(priority, &load))
        return false;
    metric_add(counts[priority], 1);
    return true;
}

void producer_sent(struct parked *k)
{
    size_t len = 0;

    if (k->req)
        (void)http_body(k->req, &len);
    k->bytes = len + RECORD_MORE_BYTES;
    k->sent_us = clock_now_us();
    k->producer->publishing_bytes += k->bytes;
    list_append(&k->producer->publishing, &k->publishing);
}
