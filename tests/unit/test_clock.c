/*
 * Dates as text, both ways, against the C library's calendar.
 */
#include "common/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static bool parse(const char *text, int64_t *ret_at)
{
    struct err err;

    return clock_parse(text, strlen(text), ret_at, &err) == ERR_NONE;
}

static bool parse_eat(const char *text, int64_t *ret_at)
{
    struct err err;

    return clock_parse_eat(text, strlen(text), ret_at, &err) == ERR_NONE;
}

static void test_boot_time_does_not_go_back(void **state)
{
    int64_t before_us = clock_now_us();

    (void)state;
    for (int i = 0; i < 1000; i++) {
        int64_t now_us = clock_now_us();

        assert_true(now_us >= before_us);
        before_us = now_us;
    }
}

static void test_wall_is_the_wall_clock(void **state)
{
    int64_t before_s = time(NULL);
    int64_t at = clock_wall_at();

    (void)state;
    /* time() may be a tick behind */
    assert_in_range(at / US_PER_S, before_s, (int64_t)time(NULL) + 1);
}

static void test_format_has_three_widths(void **state)
{
    char text[CLOCK_TEXT_SIZE];
    int64_t at = INT64_C(1795247160123456);

    (void)state;
    clock_format(at, 6, text);
    assert_string_equal(text, "2026-11-21T07:46:00.123456Z");
    clock_format(at, 3, text);
    assert_string_equal(text, "2026-11-21T07:46:00.123Z");
    clock_format(at, 0, text);
    assert_string_equal(text, "2026-11-21T07:46:00Z");
}

static void test_format_stays_within_its_years(void **state)
{
    char text[CLOCK_TEXT_SIZE];

    (void)state;
    clock_format(-1, 0, text);
    assert_string_equal(text, "1970-01-01T00:00:00Z");
    clock_format(INT64_MIN, 6, text);
    assert_string_equal(text, "1970-01-01T00:00:00.000000Z");
    clock_format(INT64_MAX, 6, text);
    assert_string_equal(text, "9999-12-31T23:59:59.999999Z");
}

/* Every day of eight centuries, and back again. */
static void test_calendar_is_the_c_librarys(void **state)
{
    char ours[CLOCK_TEXT_SIZE], theirs[CLOCK_TEXT_SIZE];

    (void)state;
    for (int64_t day = 0; day < 292194; day++) {
        time_t at_s = (time_t)(day * 86400 + day % 86400);
        int64_t back = -1;
        struct tm tm;

        clock_format(at_s * US_PER_S, 0, ours);
        gmtime_r(&at_s, &tm);
        strftime(theirs, sizeof(theirs), "%Y-%m-%dT%H:%M:%SZ", &tm);
        assert_string_equal(ours, theirs);
        assert_true(parse(ours, &back));
        assert_int_equal(back, at_s * US_PER_S);
    }
}

static void test_parse_reads_all_forms(void **state)
{
    static const struct {
        const char *text;
        int64_t at;
    } cases[] = {
        {"1970-01-01T00:00:00Z", 0},
        {"1970-01-01t00:00:01z", 1000000},
        {"1970-01-01T03:00:00+03:00", 0},
        {"1970-01-01T00:00:00-01:30", INT64_C(5400000000)},
        {"1970-01-01T00:00:00-00:00", 0},
        {"1970-01-01T00:00:00.5Z", 500000},
        {"1970-01-01T00:00:00.000001Z", 1},
        {"1970-01-01T00:00:00.1234569999Z", 123456},
        {"2000-02-29T00:00:00Z", INT64_C(951782400000000)},
        {"2016-12-31T23:59:60Z", INT64_C(1483228800000000)},
        {"2017-01-01T02:59:60.25+03:00", INT64_C(1483228800250000)},
        {"9999-12-31T23:59:59.999999Z", INT64_C(253402300799999999)},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int64_t at = -1;

        if (!parse(cases[i].text, &at) || at != cases[i].at)
            fail_msg("\"%s\" became %lld", cases[i].text, (long long)at);
    }
}

static void test_parse_refuses_the_rest(void **state)
{
    static const char *const cases[] = {
        "",
        "now",
        "2026-11-21",
        "2026-11-21T07:46:00",
        "2026-11-21 07:46:00Z",
        "2026-11-21T07:46Z",
        "2026-11-21T07:46:00.Z",
        "2026-11-21T07:46:00,5Z",
        "2026-11-21T07:46:00Z ",
        " 2026-11-21T07:46:00Z",
        "2026-11-21T07:46:00ZZ",
        "2026-11-21T07:46:00+3:00",
        "2026-11-21T07:46:00+0300",
        "2026-11-21T07:46:00+24:00",
        "2026-11-21T07:46:00+03:60",
        "2026-00-21T07:46:00Z",
        "2026-13-21T07:46:00Z",
        "2026-11-00T07:46:00Z",
        "2026-11-31T07:46:00Z",
        "2026-02-29T07:46:00Z",
        "2024-02-30T07:46:00Z",
        "2024-04-31T07:46:00Z",
        "2100-02-29T07:46:00Z",
        "2026-11-21T24:00:00Z",
        "2026-11-21T07:60:00Z",
        "2026-11-21T07:46:61Z",
        "2026-11-21T07:46:60Z",
        "2026-11-21T07:46:-1Z",
        "+026-11-21T07:46:00Z",
        "1969-12-31T23:59:59Z",
        "1970-01-01T00:00:00+00:01",
        "9999-12-31T23:59:60Z",
        "9999-12-31T23:59:59-00:01",
        "12026-11-21T07:46:00Z",
        "2026-11-21T07:46:00.000000000000000000000000000000000000000000000Z",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int64_t at = -1;

        if (parse(cases[i], &at))
            fail_msg("\"%s\" was taken", cases[i]);
        assert_int_equal(at, -1);
    }
}

static void test_parse_looks_at_its_length_alone(void **state)
{
    const char *text = "2026-11-21T07:46:00Z";
    struct err err;
    int64_t at = -1;

    (void)state;
    for (size_t len = 0; len < strlen(text); len++)
        assert_int_equal(clock_parse(text, len, &at, &err), ERR_INPUT);
    assert_int_equal(clock_parse("2026-11-21T07:46:00\0", 20, &at, &err),
                     ERR_INPUT);
    assert_int_equal(at, -1);
}

static void test_eat_is_three_hours_ahead(void **state)
{
    char text[15];
    int64_t at = -1;

    (void)state;
    clock_format_eat(0, text);
    assert_string_equal(text, "19700101030000");
    clock_format_eat(INT64_C(1483217999000000), text);
    assert_string_equal(text, "20161231235959");
    clock_format_eat(INT64_MAX, text);
    assert_string_equal(text, "99991231235959");
    assert_true(parse_eat("20191219102115", &at));
    assert_int_equal(at, INT64_C(1576740075000000));
    assert_true(parse_eat("19700101030000", &at));
    assert_int_equal(at, 0);
}

static void test_eat_refuses_the_rest(void **state)
{
    static const char *const cases[] = {
        "",
        "2019121910211",
        "201912191021150",
        "20191219 02115",
        "20190229102115",
        "20191219240000",
        "20191219102160",
        "19700101025959",
        "-0191219102115",
    };
    int64_t at = -1;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        if (parse_eat(cases[i], &at))
            fail_msg("\"%s\" was taken", cases[i]);
    assert_int_equal(at, -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_boot_time_does_not_go_back),
        cmocka_unit_test(test_wall_is_the_wall_clock),
        cmocka_unit_test(test_format_has_three_widths),
        cmocka_unit_test(test_format_stays_within_its_years),
        cmocka_unit_test(test_calendar_is_the_c_librarys),
        cmocka_unit_test(test_parse_reads_all_forms),
        cmocka_unit_test(test_parse_refuses_the_rest),
        cmocka_unit_test(test_parse_looks_at_its_length_alone),
        cmocka_unit_test(test_eat_is_three_hours_ahead),
        cmocka_unit_test(test_eat_refuses_the_rest),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
