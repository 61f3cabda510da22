/*
 * What the embedded broker's relay reads of Kafka's protocol, on frames made by
 * hand after the protocol guide, whole and cut off at every byte.
 */
#include "tools/frame.h"

#include "common/base.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>

#include <cmocka.h>

#define BATCH 70 /* a batch of one small record; its header has 61 bytes */

struct frame {
    uint8_t bytes[1024];
    size_t len;
};

static void add(struct frame *f, uint32_t value, size_t n)
{
    for (size_t i = 0; i < n; i++)
        f->bytes[f->len++] = (uint8_t)(value >> (8 * (n - 1 - i)));
}

/** NULL is Kafka's null string. */
static void add_text(struct frame *f, const char *text)
{
    size_t len = text ? strlen(text) : 0;

    add(f, text ? (uint32_t)len : 0xffff, 2);
    if (text)
        memcpy(f->bytes + f->len, text, len);
    f->len += len;
}

/** @return where its batch begins. */
static size_t add_partition(struct frame *f, uint32_t partition, size_t len)
{
    size_t at;

    add(f, partition, 4);
    add(f, (uint32_t)len, 4);
    at = f->len;
    memset(f->bytes + at, 0x11, len);
    f->len += len;
    return at;
}

static void produce_begin(struct frame *f, uint32_t version)
{
    memset(f, 0, sizeof(*f));
    add(f, FRAME_PRODUCE, 2);
    add(f, version, 2);
    add(f, 42, 4);
    add_text(f, "client");
    if (version >= 3)
        add_text(f, NULL);
    add(f, 0xffff, 2); /* acks=all */
    add(f, 5000, 4);
}

struct seen {
    int n;
    char topic[8][16];
    int32_t partition[8];
    size_t bytes[8];
    int32_t refuse; /* this partition */
};

static bool admit(void *arg, const char *topic, size_t topic_len,
                  int32_t partition, size_t bytes)
{
    struct seen *s = arg;

    assert_true(s->n < 8);
    snprintf(s->topic[s->n], sizeof(s->topic[0]), "%.*s", (int)topic_len,
             topic);
    s->partition[s->n] = partition;
    s->bytes[s->n++] = bytes;
    return partition != s->refuse;
}

static bool all_are(const uint8_t *p, size_t n, uint8_t value)
{
    for (size_t i = 0; i < n; i++)
        if (p[i] != value)
            return false;
    return true;
}

static void test_produce(void **state)
{
    struct frame f;
    struct seen s = {.refuse = 7};
    size_t good, refused, other;

    (void)state;
    produce_begin(&f, 7);
    add(&f, 2, 4);
    add_text(&f, "one");
    add(&f, 2, 4);
    good = add_partition(&f, 3, BATCH);
    refused = add_partition(&f, 7, BATCH);
    add_text(&f, "two");
    add(&f, 1, 4);
    other = add_partition(&f, 0, BATCH + 5);
    assert_true(frame_admit(f.bytes, f.len, admit, &s));
    assert_int_equal(s.n, 3);
    assert_string_equal(s.topic[1], "one");
    assert_int_equal(s.partition[1], 7);
    assert_int_equal(s.bytes[1], BATCH);
    assert_string_equal(s.topic[2], "two");
    assert_int_equal(s.bytes[2], BATCH + 5);
    assert_true(all_are(f.bytes + good, BATCH, 0x11));
    assert_true(all_are(f.bytes + other, BATCH + 5, 0x11));
    assert_true(all_are(f.bytes + refused, 57, 0x11));
    assert_true(all_are(f.bytes + refused + 57, 4, 0)); /* no records */
    assert_true(all_are(f.bytes + refused + 61, BATCH - 61, 0x11));
}

static void test_produce_before_transactions(void **state)
{
    struct frame f;
    struct seen s = {.refuse = -1};

    (void)state;
    produce_begin(&f, 2);
    add(&f, 1, 4);
    add_text(&f, "one");
    add(&f, 1, 4);
    add_partition(&f, 5, BATCH);
    assert_true(frame_admit(f.bytes, f.len, admit, &s));
    assert_int_equal(s.n, 1);
    assert_int_equal(s.partition[0], 5);
}

/** A copy of exactly @p len bytes, so that a sanitizer sees every overrun. */
static uint8_t *cut(const struct frame *f, size_t len)
{
    uint8_t *p = malloc(len ? len : 1);

    assert_non_null(p);
    memcpy(p, f->bytes, len);
    return p;
}

static void test_produce_cut_off(void **state)
{
    struct frame f;

    (void)state;
    produce_begin(&f, 7);
    add(&f, 1, 4);
    add_text(&f, "one");
    add(&f, 1, 4);
    add_partition(&f, 7, BATCH);
    for (size_t len = 0; len < f.len; len++) {
        struct seen s = {.refuse = 7};
        uint8_t *p = cut(&f, len);

        assert_false(frame_admit(p, len, admit, &s));
        assert_int_equal(s.n, 0);
        free(p);
    }
}

static void test_produce_lies(void **state)
{
    static const uint32_t counts[] = {0x7fffffff, 0xffffffff, 0x80000000};
    struct seen s = {.refuse = 7};
    struct frame f;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(counts); i++) {
        produce_begin(&f, 7);
        add(&f, counts[i], 4); /* topics */
        add_text(&f, "one");
        add(&f, counts[i], 4); /* partitions */
        add(&f, 7, 4);
        add(&f, counts[i], 4); /* bytes */
        (void)frame_admit(f.bytes, f.len, admit, &s);
        assert_int_equal(s.n, 0);
    }
    produce_begin(&f, 7);
    add(&f, 1, 4);
    add_text(&f, "one");
    add(&f, 1, 4);
    add_partition(&f, 7, 60); /* shorter than a batch's header: not touched */
    assert_true(frame_admit(f.bytes, f.len, admit, &s));
    assert_int_equal(s.n, 0);
}

/* --- answers --- */

static void add_broker(struct frame *f, uint32_t port)
{
    add(f, 1, 4);
    add_text(f, "127.0.0.1");
    add(f, port, 4);
}

static void metadata(struct frame *f, uint32_t version, uint32_t port)
{
    memset(f, 0, sizeof(*f));
    add(f, 42, 4);
    add(f, 2, 4);
    for (int i = 0; i < 2; i++) {
        add_broker(f, port);
        if (version >= 1)
            add_text(f, i ? "rack" : NULL);
    }
    add(f, 0x22222222, 4); /* what follows is not looked at */
}

static void coordinator(struct frame *f, uint32_t version, uint32_t port)
{
    memset(f, 0, sizeof(*f));
    add(f, 42, 4);
    if (version >= 1)
        add(f, 0, 4);
    add(f, 0, 2);
    if (version >= 1)
        add_text(f, NULL);
    add_broker(f, port);
}

static void check_answer(void (*make)(struct frame *, uint32_t, uint32_t),
                         int16_t api, int16_t version)
{
    struct frame_head request = {.api = api, .version = version};
    struct frame f, expected;

    make(&expected, (uint32_t)version, 65000);
    make(&f, (uint32_t)version, 40000);
    assert_true(frame_set_port(f.bytes, f.len, &request, 65000));
    assert_int_equal(f.len, expected.len);
    assert_memory_equal(f.bytes, expected.bytes, f.len);
}

static void test_answers(void **state)
{
    (void)state;
    for (int16_t version = 0; version <= 2; version++) {
        check_answer(metadata, FRAME_METADATA, version);
        check_answer(coordinator, FRAME_COORDINATOR, version);
    }
}

static void test_answer_cut_off(void **state)
{
    struct frame_head request = {.api = FRAME_METADATA, .version = 2};
    struct frame f;
    uint32_t many[] = {101, 0xffffffff};

    (void)state;
    metadata(&f, 2, 40000);
    for (size_t len = 0; len < f.len - 4; len++) {
        uint8_t *p = cut(&f, len);

        assert_false(frame_set_port(p, len, &request, 1));
        free(p);
    }
    for (size_t i = 0; i < ARRAY_LEN(many); i++) {
        f.len = 4;
        add(&f, many[i], 4);
        assert_false(frame_set_port(f.bytes, sizeof(f.bytes), &request, 1));
    }
}

static void test_heads(void **state)
{
    const uint8_t frame[] = {0, 3, 0, 2, 0xff, 0xff, 0xff, 0xfe};
    struct frame_head head;
    int32_t correlation;

    (void)state;
    assert_true(frame_head_read(frame, 8, &head));
    assert_int_equal(head.api, FRAME_METADATA);
    assert_int_equal(head.version, 2);
    assert_int_equal(head.correlation, -2);
    assert_false(frame_head_read(frame, 7, &head));
    assert_true(frame_correlation(frame + 4, 4, &correlation));
    assert_int_equal(correlation, -2);
    assert_false(frame_correlation(frame + 4, 3, &correlation));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_produce),
        cmocka_unit_test(test_produce_before_transactions),
        cmocka_unit_test(test_produce_cut_off),
        cmocka_unit_test(test_produce_lies),
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_answer_cut_off),
        cmocka_unit_test(test_heads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
