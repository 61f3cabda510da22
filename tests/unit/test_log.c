/*
 * Log lines as they arrive on standard error, which is a file here.
 */
#include "common/log.h"

#include "common/id.h"
#include "common/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int saved_fd, file_fd;
static char text[4 * PIPE_BUF]; /* what was written since caught() */

static int catch_stderr(void **state)
{
    FILE *file = tmpfile();

    (void)state;
    if (!file)
        return -1;
    file_fd = dup(fileno(file));
    fclose(file);
    saved_fd = dup(STDERR_FILENO);
    return dup2(file_fd, STDERR_FILENO) < 0 ? -1 : 0;
}

static int release_stderr(void **state)
{
    (void)state;
    dup2(saved_fd, STDERR_FILENO);
    close(saved_fd);
    close(file_fd);
    return 0;
}

/* Everything that was written; the next line begins anew. */
static const char *caught(void)
{
    ssize_t n = pread(file_fd, text, sizeof(text) - 1, 0);

    text[n > 0 ? n : 0] = '\0';
    assert_int_equal(ftruncate(file_fd, 0), 0);
    lseek(file_fd, 0, SEEK_SET);
    return text;
}

/* The line without its time and its end. */
static const char *caught_line(void)
{
    const char *line = caught();
    size_t n = strlen(line);

    assert_true(n > 25 && line[n - 1] == '\n');
    text[n - 1] = '\0';
    assert_null(strchr(line, '\n'));
    return line + 25;
}

static void assert_value(const char *value, const char *written)
{
    char expected[256];

    log_info("s", "e", KV("k", value));
    snprintf(expected, sizeof(expected), "info test s e k=%s", written);
    assert_string_equal(caught_line(), expected);
}

static void test_line_has_its_fields_in_order(void **state)
{
    struct uuid id = {{0x6f, 0x1c, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13}};

    (void)state;
    log_open("test", LOG_INFO, false);
    log_warn("gate", "push_refused", KV("why", "busy"), KV_INT("n", -5),
             KV_ID("payment", &id));
    assert_string_equal(caught_line(),
                        "warn test gate push_refused why=busy n=-5 "
                        "payment=6f1c0102-0304-0506-0708-090a0b0c0d00");
}

static void test_line_begins_with_the_time(void **state)
{
    const char *line;

    (void)state;
    log_open("test", LOG_INFO, false);
    log_info("s", "e", KV_INT("n", 1));
    line = caught();
    assert_int_equal(line[4], '-');
    assert_int_equal(line[10], 'T');
    assert_int_equal(line[19], '.');
    assert_memory_equal(line + 23, "Z info ", 7);
}

static void test_levels_below_the_least_are_silent(void **state)
{
    (void)state;
    log_open("test", LOG_WARN, false);
    log_debug("s", "e", KV_INT("n", 1));
    log_info("s", "e", KV_INT("n", 1));
    assert_string_equal(caught(), "");
    log_error("s", "e", KV_INT("n", 1));
    assert_string_equal(caught_line(), "error test s e n=1");
}

static void test_values_are_quoted_when_they_must(void **state)
{
    (void)state;
    log_open("test", LOG_INFO, false);
    assert_value("plain-1/2:x", "plain-1/2:x");
    assert_value("", "\"\"");
    assert_value(NULL, "\"\"");
    assert_value("a b", "\"a b\"");
    assert_value("a=b", "\"a=b\"");
    assert_value("say \"x\"", "\"say \\\"x\\\"\"");
    assert_value("back\\slash", "\"back\\\\slash\"");
    assert_value("Müller", "\"Müller\"");
}

/* Nobody outside writes a second line, or moves the reader's terminal. */
static void test_control_bytes_do_not_get_through(void **state)
{
    (void)state;
    log_open("test", LOG_INFO, false);
    assert_value("a\nb\tc", "\"a\\nb\\tc\"");
    assert_value("\x1b[2J", "\"\\u001b[2J\"");
    assert_value("\x7f", "\"\\u007f\"");
    assert_value("\xc2\x9b"
                 "2J",
                 "\"\\u009b2J\"");
    assert_value("\xff\xc3", "\"\\ufffd\\ufffd\"");
    assert_value("\xed\xa0\x80", "\"\\ufffd\\ufffd\\ufffd\"");
    assert_value("\xc0\xaf", "\"\\ufffd\\ufffd\"");
}

static void test_phones_are_masked(void **state)
{
    (void)state;
    log_open("test", LOG_INFO, false);
    log_info("s", "e", KV_MSISDN(INT64_C(254708374149)));
    assert_string_equal(caught_line(), "info test s e msisdn=2547...149");
    log_info("s", "e", KV_MSISDN(70837414));
    assert_string_equal(caught_line(), "info test s e msisdn=...414");
    log_info("s", "e", KV_MSISDN(123456));
    assert_string_equal(caught_line(), "info test s e msisdn=...");
}

static void test_errors_show_all_they_hold(void **state)
{
    struct err err;

    (void)state;
    log_open("test", LOG_INFO, false);
    (void)err_set(&err, ERR_LIMIT, "queue is full");
    log_info("s", "e", KV_ERR(&err));
    assert_string_equal(caught_line(),
                        "info test s e err=limit text=\"queue is full\"");
    (void)err_set_from(&err, ERR_UNAVAILABLE, ERR_POSTGRES, 7, "gone");
    memcpy(err.detail, "57P01", sizeof("57P01"));
    log_info("s", "e", KV_ERR(&err));
    assert_string_equal(caught_line(), "info test s e err=unavailable native=7 "
                                       "detail=57P01 text=gone");
}

static void test_json_lines_are_json(void **state)
{
    CLEANUP(json_free)
    struct json *line = NULL;
    struct err err;
    int64_t n = 0;

    (void)state;
    log_open("test", LOG_INFO, true);
    log_info("gate", "e", KV("k", "a \"b\"\n\x1b\xff"), KV_INT("n", 7));
    caught();
    assert_int_equal(json_parse_strict(text, strlen(text), &line, &err), 0);
    assert_string_equal(json_text(json_get(line, "level")), "info");
    assert_string_equal(json_text(json_get(line, "program")), "test");
    assert_string_equal(json_text(json_get(line, "scope")), "gate");
    assert_string_equal(json_text(json_get(line, "event")), "e");
    assert_string_equal(json_text(json_get(line, "k")),
                        "a \"b\"\n\x1b\xef\xbf\xbd");
    assert_true(json_integer(json_get(line, "n"), &n));
    assert_int_equal(n, 7);
    assert_int_equal(strlen(json_text(json_get(line, "time"))), 24);
}

static void test_long_values_are_cut(void **state)
{
    char value[3000];
    const char *line;

    (void)state;
    log_open("test", LOG_INFO, false);
    memset(value, 'x', sizeof(value) - 1);
    value[sizeof(value) - 1] = '\0';
    log_info("s", "e", KV("k", value), KV("last", "there"));
    line = caught_line();
    assert_true(strlen(line) < 1200);
    assert_non_null(strstr(line, "xxx...\" last=there"));
}

/* Whatever is given, a line fits into PIPE_BUF, ends, and stays JSON. */
static void test_long_lines_lose_fields_and_say_so(void **state)
{
    char value[1000];
    CLEANUP(json_free)
    struct json *line = NULL;
    struct err err;

    (void)state;
    memset(value, '\x01', sizeof(value) - 1);
    value[sizeof(value) - 1] = '\0';
    log_open("test", LOG_INFO, false);
    log_info("s", "e", KV_INT("n", 1), KV("k", value), KV("after", "x"));
    assert_string_equal(caught_line(), "info test s e n=1 cut=true");

    log_open("test", LOG_INFO, true);
    log_info("s", "e", KV_INT("n", 1), KV("k", value), KV("after", "x"));
    caught();
    assert_true(strlen(text) <= PIPE_BUF);
    assert_int_equal(json_parse_strict(text, strlen(text), &line, &err), 0);
    assert_non_null(json_get(line, "n"));
    assert_non_null(json_get(line, "cut"));
    assert_null(json_get(line, "k"));
    assert_null(json_get(line, "after"));
}

/* Every length around the limit, so that each off-by-one has its turn. */
static void test_every_length_ends_well(void **state)
{
    static char a[1001], b[1001], c[1001], d[1001];

    (void)state;
    memset(a, 'x', sizeof(a) - 1);
    memset(b, 'y', sizeof(b) - 1);
    memset(c, 'z', sizeof(c) - 1);
    for (size_t n = 900; n < 1000; n++) {
        memset(d, 'w', n);
        d[n] = '\0';
        for (int json = 0; json < 2; json++) {
            log_open("test", LOG_INFO, json);
            log_info("s", "e", KV("a", a), KV("b", b), KV("c", c), KV("d", d));
            caught();
            assert_true(strlen(text) <= PIPE_BUF);
            assert_non_null(strstr(text, json ? "}\n" : "\n"));
            assert_true(strstr(text, "cut") || strstr(text, "www"));
        }
    }
}

static void test_a_full_disk_is_counted(void **state)
{
    uint64_t before = log_dropped();
    int full_fd = open("/dev/full", O_WRONLY);

    (void)state;
    log_open("test", LOG_INFO, false);
    assert_true(full_fd >= 0);
    dup2(full_fd, STDERR_FILENO);
    log_info("s", "e", KV_INT("n", 1));
    dup2(file_fd, STDERR_FILENO);
    close(full_fd);
    assert_int_equal(log_dropped(), before + 1);
    log_info("s", "e", KV_INT("n", 1));
    assert_int_equal(log_dropped(), before + 1);
    (void)caught();
}

/* Per test, so that what cmocka has to say is seen. */
#define LOG_TEST(test) \
    cmocka_unit_test_setup_teardown(test, catch_stderr, release_stderr)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LOG_TEST(test_line_has_its_fields_in_order),
        LOG_TEST(test_line_begins_with_the_time),
        LOG_TEST(test_levels_below_the_least_are_silent),
        LOG_TEST(test_values_are_quoted_when_they_must),
        LOG_TEST(test_control_bytes_do_not_get_through),
        LOG_TEST(test_phones_are_masked),
        LOG_TEST(test_errors_show_all_they_hold),
        LOG_TEST(test_json_lines_are_json),
        LOG_TEST(test_long_values_are_cut),
        LOG_TEST(test_long_lines_lose_fields_and_say_so),
        LOG_TEST(test_every_length_ends_well),
        LOG_TEST(test_a_full_disk_is_counted),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
