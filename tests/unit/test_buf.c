/*
 * The bounded buffer: what fits, what does not, and what stays.
 */
#include "common/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void test_new_buffer_is_an_empty_string(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 10);
    assert_string_equal(b.data, "");
    buf_reset(&b);
    buf_add(&b, "x", 0);
    assert_int_equal(b.len, 0);
    assert_false(b.failed);
    buf_done(&b);
}

static void test_writes_follow_each_other(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 100);
    buf_adds(&b, "a");
    buf_addc(&b, ' ');
    buf_addf(&b, "%s-%d", "b", 7);
    buf_add(&b, "\0z", 2);
    assert_int_equal(b.len, 7);
    assert_memory_equal(b.data, "a b-7\0z", 8);
    buf_done(&b);
}

static void test_exactly_the_limit_fits(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 5);
    buf_adds(&b, "12345");
    assert_false(b.failed);
    assert_string_equal(b.data, "12345");
    buf_addc(&b, '6');
    assert_true(b.failed);
    assert_string_equal(b.data, "12345");
    buf_done(&b);
}

static void test_failure_stays_until_reset(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 5);
    buf_adds(&b, "123");
    buf_addf(&b, "%d", 456);
    assert_true(b.failed);
    buf_addc(&b, '4');
    buf_addi(&b, 5);
    assert_string_equal(b.data, "123");
    buf_reset(&b);
    assert_false(b.failed);
    assert_string_equal(b.data, "");
    buf_adds(&b, "12345");
    assert_string_equal(b.data, "12345");
    buf_done(&b);
}

static void test_growth_keeps_the_content(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 100000);
    for (int i = 0; i < 100000; i++)
        buf_addc(&b, (char)('a' + i % 26));
    assert_false(b.failed);
    assert_int_equal(b.len, 100000);
    assert_int_equal(strlen(b.data), 100000);
    for (int i = 0; i < 100000; i++)
        assert_int_equal(b.data[i], 'a' + i % 26);
    buf_done(&b);
    assert_string_equal(b.data, "");
    buf_adds(&b, "again");
    assert_string_equal(b.data, "again");
    buf_done(&b);
}

static void test_numbers_are_printfs(void **state)
{
    static const int64_t numbers[] = {
        0, 1, -1, 9, 10, -10, INT64_MAX, INT64_MIN, INT64_C(1000000000000),
    };
    struct buf b;
    char expected[32];

    (void)state;
    buf_init(&b, 100);
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        buf_reset(&b);
        buf_addi(&b, numbers[i]);
        snprintf(expected, sizeof(expected), "%lld", (long long)numbers[i]);
        assert_string_equal(b.data, expected);
    }
    buf_done(&b);
}

static void test_hex_is_lower_case(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 8);
    buf_addhex(&b, "\x00\x9f\xAB\xff", 4);
    assert_string_equal(b.data, "009fabff");
    buf_addhex(&b, "\x01", 1);
    assert_true(b.failed);
    assert_string_equal(b.data, "009fabff");
    buf_done(&b);
}

static void test_drop_moves_the_rest_down(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 10);
    buf_drop(&b, 0);
    buf_adds(&b, "12345");
    buf_drop(&b, 2);
    assert_string_equal(b.data, "345");
    assert_int_equal(b.len, 3);
    buf_drop(&b, 3);
    assert_string_equal(b.data, "");
    buf_adds(&b, "1234567890");
    assert_false(b.failed);
    buf_done(&b);
}

/* The memory is exactly as long as it says: a sanitizer sees a byte too far. */
static void test_foreign_memory_is_never_left(void **state)
{
    char *memory = malloc(8);
    struct buf b;

    (void)state;
    assert_non_null(memory);
    buf_over(&b, memory, 8);
    assert_string_equal(b.data, "");
    buf_addf(&b, "%d", 1234567);
    assert_false(b.failed);
    assert_ptr_equal(b.data, memory);
    buf_addc(&b, '8');
    assert_true(b.failed);
    assert_string_equal(memory, "1234567");
    free(memory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_new_buffer_is_an_empty_string),
        cmocka_unit_test(test_writes_follow_each_other),
        cmocka_unit_test(test_exactly_the_limit_fits),
        cmocka_unit_test(test_failure_stays_until_reset),
        cmocka_unit_test(test_growth_keeps_the_content),
        cmocka_unit_test(test_numbers_are_printfs),
        cmocka_unit_test(test_hex_is_lower_case),
        cmocka_unit_test(test_drop_moves_the_rest_down),
        cmocka_unit_test(test_foreign_memory_is_never_left),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
