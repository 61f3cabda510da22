/*
 * How much may be asked for: a sliding window per client and, where set, per
 * address, and what is shed while Kafka is slow. All of it is arithmetic with
 * the time given; nothing here answers anybody. Callbacks never come here.
 *
 * In no span of limits.window_s are more requests admitted than the quota, at
 * whatever edge they are aligned; a request may have to wait 1 % of the window
 * longer than an exact count would have it. Only what is admitted counts.
 *
 * Memory is bounded. Clients have a window each; addresses (IPv6 by their /64,
 * which one subscriber has) share LIMIT_ADDRESSES places, in buckets that a
 * secret hash chooses. A place is given to another address only when its window
 * is empty, so that nobody gets rid of a window by sending from elsewhere; who
 * finds no place shares one window with all who find none in that bucket.
 */
#ifndef FOLENI_PRODUCER_LIMIT_H
#define FOLENI_PRODUCER_LIMIT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/config.h"
#include "common/payment.h"

#define LIMIT_ADDRESSES 4096

struct limits;

/** What there is to say of a window. */
struct limit_state {
    int64_t quota;   /* requests in window_s, 0 = there is no limit          */
    int64_t left;    /* of them now                                          */
    int64_t wait_us; /* refused: until one may come; else until more are left,
                         0 = all are                                          */
    int64_t window_s;
};

struct limits *limits_new(const struct config *cfg);
void limits_free(struct limits *l);

/** The settings have changed: clients keep their windows, unless the window's
 *  length is another. */
void limits_renew(struct limits *l);

/** Counts a request of @p client, which is of the configuration; false = it
 *  must not be served now, and was not counted. */
bool limits_client(struct limits *l, const struct client *client,
                   int64_t now_us, struct limit_state *ret);

/** The same for the address of a peer, as text. */
bool limits_address(struct limits *l, const char *address, int64_t now_us,
                    struct limit_state *ret);

/** Requests on their way into Kafka, and what is the most of it. */
struct limit_load {
    int64_t records, records_max;
    int64_t bytes, bytes_max;
    int64_t oldest_us; /* how long the oldest has waited for its report */
    int64_t slow_us;   /* limits.slow_ms                                */
};

/**
 * Whether another request of @p priority is turned away, so that queues do not
 * grow: low ones when a quarter of the room is taken or the oldest has waited
 * for slow_us, normal ones at a half or twice that, high ones at nine tenths or
 * four times that.
 */
bool limit_sheds(enum priority priority, const struct limit_load *load);

#endif
