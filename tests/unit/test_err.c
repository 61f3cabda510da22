/*
 * Errors: what a caller and the log can read from one.
 */
#include "common/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

static void test_set_returns_its_code(void **state)
{
    struct err err = {.native = 7, .detail = "40001"};

    (void)state;
    assert_int_equal(err_set(&err, ERR_LIMIT, "%d of %s", 3, "x"), ERR_LIMIT);
    assert_int_equal(err.code, ERR_LIMIT);
    assert_int_equal(err.from, ERR_SELF);
    assert_int_equal(err.native, 0);
    assert_string_equal(err.detail, "");
    assert_string_equal(err.text, "3 of x");
}

static void test_errno_appends_its_reason(void **state)
{
    struct err err;

    (void)state;
    assert_int_equal(err_set_from(&err, ERR_IO, ERR_ERRNO, ENOENT,
                                  "could not open \"%s\"", "a"),
                     ERR_IO);
    assert_int_equal(err.from, ERR_ERRNO);
    assert_int_equal(err.native, ENOENT);
    assert_string_equal(err.text,
                        "could not open \"a\": No such file or directory");
}

static void test_other_numbers_append_nothing(void **state)
{
    struct err err;

    (void)state;
    (void)err_set_from(&err, ERR_UNAVAILABLE, ERR_KAFKA, -195, "no broker");
    assert_int_equal(err.from, ERR_KAFKA);
    assert_int_equal(err.native, -195);
    assert_string_equal(err.text, "no broker");
}

static void test_wrap_keeps_code_and_number(void **state)
{
    struct err err;

    (void)state;
    (void)err_set_from(&err, ERR_IO, ERR_KAFKA, 5, "inner");
    assert_int_equal(err_wrap(&err, "outer %d", 1), ERR_IO);
    assert_int_equal(err.native, 5);
    assert_string_equal(err.text, "outer 1: inner");
}

static void test_long_texts_are_cut(void **state)
{
    struct err err;
    char text[2 * sizeof(err.text)];

    (void)state;
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    (void)err_set_from(&err, ERR_IO, ERR_ERRNO, ENOENT, "%s", text);
    assert_int_equal(strlen(err.text), sizeof(err.text) - 1);
    assert_int_equal(err_wrap(&err, "%s", text), ERR_IO);
    assert_int_equal(strlen(err.text), sizeof(err.text) - 1);
}

static void test_every_code_has_its_own_name(void **state)
{
    (void)state;
    assert_string_equal(err_name(ERR_NONE), "none");
    assert_string_equal(err_name(ERR_NOT_FOUND), "not_found");
    for (unsigned a = ERR_NONE; a <= ERR_INTERNAL; a++)
        for (unsigned b = ERR_NONE; b < a; b++)
            assert_string_not_equal(err_name(a), err_name(b));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_set_returns_its_code),
        cmocka_unit_test(test_errno_appends_its_reason),
        cmocka_unit_test(test_other_numbers_append_nothing),
        cmocka_unit_test(test_wrap_keeps_code_and_number),
        cmocka_unit_test(test_long_texts_are_cut),
        cmocka_unit_test(test_every_code_has_its_own_name),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
