/*
 * A cursor over big-endian bytes that turns bad at the first overrun and then
 * yields zeros, so that a reader looks at it once, at the end. Layouts are
 * those of Kafka's protocol guide (kafka.apache.org/protocol).
 */
#include "tools/frame.h"

#include <string.h>

#define BATCH_HEADER 61    /* bytes of a record batch before its records */
#define RECORD_COUNT_AT 57 /* where in it the count of records stands    */
#define BROKERS_MAX 100    /* in one answer */

struct cursor {
    uint8_t *at;
    size_t left;
    bool bad;
};

/** The next @p n bytes, NULL when there are not so many. */
static uint8_t *take(struct cursor *c, size_t n)
{
    uint8_t *at = c->at;

    if (c->bad || n > c->left) {
        c->bad = true;
        return NULL;
    }
    c->at += n;
    c->left -= n;
    return at;
}

static uint32_t take_number(struct cursor *c, size_t n)
{
    const uint8_t *at = take(c, n);
    uint32_t value = 0;

    for (size_t i = 0; at && i < n; i++)
        value = value << 8 | at[i];
    return value;
}

static int16_t take_16(struct cursor *c)
{
    return (int16_t)take_number(c, 2);
}

static int32_t take_32(struct cursor *c)
{
    return (int32_t)take_number(c, 4);
}

/** A string, or NULL for none; *@p ret_len is 0 then. */
static const char *take_text(struct cursor *c, size_t *ret_len)
{
    int16_t len = take_16(c);

    *ret_len = len > 0 ? (size_t)len : 0;
    return len < 0 ? NULL : (const char *)take(c, *ret_len);
}

static void skip_text(struct cursor *c)
{
    size_t len;

    (void)take_text(c, &len);
}

static void put_32(uint8_t *at, int32_t value)
{
    uint32_t v = (uint32_t)value;

    at[0] = (uint8_t)(v >> 24);
    at[1] = (uint8_t)(v >> 16);
    at[2] = (uint8_t)(v >> 8);
    at[3] = (uint8_t)v;
}

static struct frame_head take_head(struct cursor *c)
{
    struct frame_head head;

    head.api = take_16(c);
    head.version = take_16(c);
    head.correlation = take_32(c);
    return head;
}

/* These two only read. */
static struct cursor cursor_over(const uint8_t *frame, size_t len)
{
    return (struct cursor){.at = (uint8_t *)(uintptr_t)frame, .left = len};
}

bool frame_head_read(const uint8_t *frame, size_t len, struct frame_head *ret)
{
    struct cursor c = cursor_over(frame, len);

    *ret = take_head(&c);
    return !c.bad;
}

bool frame_correlation(const uint8_t *frame, size_t len, int32_t *ret)
{
    struct cursor c = cursor_over(frame, len);

    *ret = take_32(&c);
    return !c.bad;
}

/* --- Produce --- */

static void admit_partition(struct cursor *c, const char *topic,
                            size_t topic_len, frame_admit_fn admit, void *arg)
{
    int32_t partition = take_32(c);
    int32_t len = take_32(c);
    uint8_t *batch = take(c, len > 0 ? (size_t)len : 0);

    if (c->bad || len < BATCH_HEADER)
        return; /* the mock refuses it by itself */
    if (!admit(arg, topic, topic_len, partition, (size_t)len))
        put_32(batch + RECORD_COUNT_AT, 0);
}

static void admit_topic(struct cursor *c, frame_admit_fn admit, void *arg)
{
    size_t topic_len;
    const char *topic = take_text(c, &topic_len);
    int32_t partitions = take_32(c);

    for (int32_t i = 0; !c->bad && i < partitions; i++)
        admit_partition(c, topic, topic_len, admit, arg);
}

bool frame_admit(uint8_t *frame, size_t len, frame_admit_fn admit, void *arg)
{
    struct cursor c = {.at = frame, .left = len};
    struct frame_head head = take_head(&c);
    int32_t topics;

    skip_text(&c); /* client id */
    if (head.version >= 3)
        skip_text(&c); /* transactional id */
    (void)take_16(&c); /* acks */
    (void)take_32(&c); /* time-out */
    topics = take_32(&c);
    for (int32_t i = 0; !c.bad && i < topics; i++)
        admit_topic(&c, admit, arg);
    return !c.bad;
}

/* --- answers that name brokers --- */

/** Node id, host and port. */
static void set_broker(struct cursor *c, int32_t port)
{
    uint8_t *at;

    (void)take_32(c);
    skip_text(c);
    at = take(c, 4);
    if (at)
        put_32(at, port);
}

bool frame_set_port(uint8_t *frame, size_t len,
                    const struct frame_head *request, int32_t port)
{
    struct cursor c = {.at = frame, .left = len};
    int32_t brokers = 1;

    (void)take_32(&c); /* correlation id */
    if (request->api == FRAME_METADATA) {
        brokers = take_32(&c);
    } else {
        if (request->version >= 1)
            (void)take_32(&c); /* throttle time */
        (void)take_16(&c);     /* error */
        if (request->version >= 1)
            skip_text(&c); /* its text */
    }
    if (c.bad || brokers < 0 || brokers > BROKERS_MAX)
        return false;
    for (int32_t i = 0; i < brokers; i++) {
        set_broker(&c, port);
        if (request->api == FRAME_METADATA && request->version >= 1)
            skip_text(&c); /* rack */
    }
    return !c.bad;
}
