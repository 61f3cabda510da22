/*
 * The bytes of a spool file: whatever was cut off or has rotted, what is whole
 * is read back as it was, and nothing else is.
 */
#include "producer/spool_frame.h"

#include "common/buf.h"
#include "common/crc.h"
#include "common/must.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SALT UINT64_C(0x0123456789abcdef)
#define RECORDS 5
#define FILE_MAX 65536

static void test_crc(void **state)
{
    static const uint8_t zeros[32];

    (void)state; /* RFC 3720, B.4, and the usual check value */
    assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283);
    assert_int_equal(crc32c(0, zeros, sizeof(zeros)), 0x8a9136aa);
    assert_int_equal(crc32c(crc32c(0, "1234", 4), "56789", 5), 0xe3069283);
    assert_int_equal(crc32c(0, "", 0), 0);
}

/* --- payloads --- */

static void assert_same(const struct kafka_record *a,
                        const struct kafka_record *b)
{
    assert_int_equal(a->key_len, b->key_len);
    assert_memory_equal(a->key, b->key, a->key_len);
    assert_int_equal(a->value_len, b->value_len);
    assert_memory_equal(a->value, b->value, a->value_len);
    assert_int_equal(a->headers_n, b->headers_n);
    for (size_t i = 0; i < a->headers_n; i++) {
        assert_string_equal(a->headers[i].name, b->headers[i].name);
        assert_int_equal(a->headers[i].len, b->headers[i].len);
        assert_memory_equal(a->headers[i].value, b->headers[i].value,
                            a->headers[i].len);
    }
}

static uint8_t *encoded(const struct kafka_record *r, size_t *ret_len)
{
    uint8_t *payload;

    *ret_len = spool_payload_size(r);
    payload = must_alloc(1, *ret_len + 1);
    spool_encode(r, payload);
    return payload;
}

static void test_a_record_comes_back(void **state)
{
    struct kafka_header headers[KAFKA_HEADERS_MAX];
    static char long_value[60000];
    struct kafka_record r = {.headers = headers};

    (void)state;
    memset(long_value, 'x', sizeof(long_value));
    for (size_t n = 0; n <= KAFKA_HEADERS_MAX; n++) {
        struct spool_record back;
        uint8_t *payload;
        size_t len;

        if (n)
            headers[n - 1] = (struct kafka_header){
                n % 2 ? "foleni-payment-id" : "x", long_value, 97 * n % 251};
        r.headers_n = n;
        r.key = "k\0ey";
        r.key_len = n % 5;
        r.value = long_value;
        r.value_len = n == 7 ? sizeof(long_value) : n;
        payload = encoded(&r, &len);
        assert_true(spool_decode(payload, len, &back));
        assert_same(&r, &back.record);
        free(payload);
    }
}

static void test_a_cut_payload_is_none(void **state)
{
    struct kafka_header headers[] = {{"name", "value", 5}, {"n", "", 0}};
    struct kafka_record r = {.key = "key",
                             .key_len = 3,
                             .value = "body",
                             .value_len = 4,
                             .headers = headers,
                             .headers_n = 2};
    struct spool_record back;
    size_t len;
    uint8_t *payload = encoded(&r, &len), *exact;

    (void)state;
    for (size_t n = 0; n < len; n++) {
        exact = malloc(n + 1); /* so that a sanitizer sees what is behind */
        memcpy(exact, payload, n);
        assert_false(spool_decode(exact, n, &back));
        free(exact);
    }
    assert_false(spool_decode(payload, len + 1, &back));
    payload[0] = KAFKA_HEADERS_MAX + 1;
    assert_false(spool_decode(payload, len, &back));
    free(payload);
}

/* --- files --- */

static void make_file(struct buf *file, size_t ends[RECORDS])
{
    static const char *const bodies[RECORDS] = {"a", "FSR1 inside", "", "ccc",
                                                "FSR1\1\0\0\0"};

    buf_init(file, FILE_MAX);
    spool_add_head(file, SALT);
    for (size_t i = 0; i < RECORDS; i++) {
        spool_add_frame(file, SALT, (const uint8_t *)bodies[i],
                        strlen(bodies[i]));
        ends[i] = file->len;
    }
    must(!file->failed);
}

/* Reads copies of exactly @p len bytes; returns how many records. */
static size_t read_file(const char *data, size_t len, size_t *ret_skipped)
{
    uint8_t *copy = malloc(len + 1);
    struct spool_walk w;
    const uint8_t *payload;
    uint64_t salt = 0;
    size_t n = 0, payload_len;

    memcpy(copy, data, len);
    *ret_skipped = 0;
    if (spool_read_head(copy, len, &salt)) {
        spool_walk_init(&w, copy, len, salt);
        while (spool_walk_next(&w, &payload, &payload_len))
            n++;
        *ret_skipped = w.skipped;
        assert_int_equal(w.at, len);
    }
    free(copy);
    return n;
}

static void test_a_file_torn_at_every_byte(void **state)
{
    size_t ends[RECORDS], skipped, whole = 0;
    struct buf file;

    (void)state;
    make_file(&file, ends);
    for (size_t len = 0; len <= file.len; len++) {
        while (whole < RECORDS && ends[whole] <= len)
            whole++;
        assert_int_equal(read_file(file.data, len, &skipped), whole);
        if (len >= SPOOL_HEAD_SIZE)
            assert_int_equal(skipped,
                             len - (whole ? ends[whole - 1] : SPOOL_HEAD_SIZE));
    }
    assert_int_equal(whole, RECORDS);
    buf_done(&file);
}

/* Whichever bit has rotted: one record is lost, and that is noticed. */
static void test_a_file_with_one_rotten_bit(void **state)
{
    size_t ends[RECORDS], skipped;
    struct buf file;

    (void)state;
    make_file(&file, ends);
    for (size_t at = SPOOL_HEAD_SIZE; at < file.len; at++)
        for (int bit = 0; bit < 8; bit++) {
            file.data[at] = (char)(file.data[at] ^ 1 << bit);
            assert_int_equal(read_file(file.data, file.len, &skipped),
                             RECORDS - 1);
            assert_true(skipped > 0);
            file.data[at] = (char)(file.data[at] ^ 1 << bit);
        }
    for (size_t at = 0; at < SPOOL_HEAD_SIZE; at++) { /* mark, or salt */
        file.data[at] ^= 1;
        assert_int_equal(read_file(file.data, file.len, &skipped), 0);
        file.data[at] ^= 1;
    }
    buf_done(&file);
}

/* A body may hold what looks like a frame: without the salt it is none. */
static void test_a_forged_frame_in_a_rotten_one(void **state)
{
    struct buf forged, file;
    size_t skipped;

    (void)state;
    buf_init(&forged, FILE_MAX);
    for (uint64_t salt = 0; salt < 50; salt++)
        spool_add_frame(&forged, salt, (const uint8_t *)"paid", 4);
    buf_init(&file, FILE_MAX);
    spool_add_head(&file, SALT);
    spool_add_frame(&file, SALT, (const uint8_t *)forged.data, forged.len);
    assert_int_equal(read_file(file.data, file.len, &skipped), 1);
    file.data[SPOOL_HEAD_SIZE + SPOOL_FRAME_SIZE - 1] ^= 1;
    assert_int_equal(read_file(file.data, file.len, &skipped), 0);
    buf_done(&forged);
    buf_done(&file);
}

/* The search behind a rotten place has a bound, whatever stands there. */
static void test_a_file_of_marks_ends(void **state)
{
    static const char mark[] = "FSR1\xff\xff\0";
    struct buf file;
    size_t skipped;

    (void)state;
    buf_init(&file, FILE_MAX);
    spool_add_head(&file, SALT);
    while (file.len + sizeof(mark) < FILE_MAX)
        buf_add(&file, mark, sizeof(mark));
    assert_int_equal(read_file(file.data, file.len, &skipped), 0);
    assert_int_equal(skipped, file.len - SPOOL_HEAD_SIZE);
    buf_done(&file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_crc),
        cmocka_unit_test(test_a_record_comes_back),
        cmocka_unit_test(test_a_cut_payload_is_none),
        cmocka_unit_test(test_a_file_torn_at_every_byte),
        cmocka_unit_test(test_a_file_with_one_rotten_bit),
        cmocka_unit_test(test_a_forged_frame_in_a_rotten_one),
        cmocka_unit_test(test_a_file_of_marks_ends),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
