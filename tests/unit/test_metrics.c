/*
 * The table of metrics and what Prometheus reads of it (text format 0.0.4).
 */
#include "common/metrics.h"

#include "common/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define OUT_BYTES_MAX 1000000
#define ALL_GROUPS (MG_COMMON | MG_API | MG_WORKER | MG_SIM)

static const struct row {
    unsigned group;
    const char *kind, *name, *labels, *help;
} rows[] = {
#define METRIC(id, group, kind, name, labels, help) \
    {group, #kind, name, labels, help},
#include "common/metrics.def"
#undef METRIC
};

static bool ends_with(const char *s, const char *end)
{
    size_t n = strlen(s), m = strlen(end);

    return n >= m && strcmp(s + n - m, end) == 0;
}

static bool shows(unsigned groups, const char *part)
{
    struct buf b;
    bool found;

    buf_init(&b, OUT_BYTES_MAX);
    metrics_write(&b, groups);
    assert_false(b.failed);
    found = strstr(b.data, part) != NULL;
    buf_done(&b);
    return found;
}

static void test_names_follow_the_conventions(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const char *ours = rows[i].group == MG_SIM ? "daraja_sim_" : "foleni_";
        bool counter = strcmp(rows[i].kind, "COUNTER") == 0;
        bool histogram = strcmp(rows[i].kind, "HISTOGRAM") == 0;

        if (strncmp(rows[i].name, ours, strlen(ours)) != 0)
            fail_msg("%s: not ours by name", rows[i].name);
        if (ends_with(rows[i].name, "_total") != counter)
            fail_msg("%s: _total is for counters", rows[i].name);
        if (histogram && !ends_with(rows[i].name, "_seconds"))
            fail_msg("%s: histograms are in seconds", rows[i].name);
        for (const char *c = rows[i].name; *c; c++)
            if (!islower(*c) && !isdigit(*c) && *c != '_')
                fail_msg("%s: not lower case", rows[i].name);
    }
}

/* Rows of one name stand together, are of one kind and group, differ in their
   labels, and the first of them says what they are. */
static void test_families_hold_together(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        bool first = i == 0 || strcmp(rows[i - 1].name, rows[i].name) != 0;

        if (first == (rows[i].help[0] == '\0'))
            fail_msg("%s: one sentence per name, at the first row",
                     rows[i].name);
        for (size_t j = 0; j < i; j++) {
            if (strcmp(rows[j].name, rows[i].name) != 0)
                continue;
            if (first)
                fail_msg("%s: its rows do not stand together", rows[i].name);
            if (strcmp(rows[j].labels, rows[i].labels) == 0)
                fail_msg("%s: labels twice", rows[i].name);
            assert_string_equal(rows[j].kind, rows[i].kind);
            assert_int_equal(rows[j].group, rows[i].group);
        }
    }
}

static void test_counters_add_up(void **state)
{
    int64_t before = metric_get(M_HTTP_2XX);
    char line[128];

    (void)state;
    metric_add(M_HTTP_2XX, 2);
    metric_add(M_HTTP_2XX, 40);
    assert_int_equal(metric_get(M_HTTP_2XX), before + 42);
    snprintf(line, sizeof(line),
             "\nfoleni_http_requests_total{class=\"2xx\"} %lld\n",
             (long long)before + 42);
    assert_true(shows(MG_COMMON, line));
}

static void test_gauges_hold_the_last_value(void **state)
{
    (void)state;
    metric_set(M_RSS, 5);
    metric_set(M_RSS, -3);
    assert_int_equal(metric_get(M_RSS), -3);
    assert_true(shows(MG_COMMON, "\nfoleni_resident_bytes -3\n"));
}

static void test_every_family_has_one_head(void **state)
{
    const char *head = "# TYPE foleni_http_requests_total counter\n";
    struct buf b;
    const char *first;

    (void)state;
    buf_init(&b, OUT_BYTES_MAX);
    metrics_write(&b, MG_COMMON);
    first = strstr(b.data, head);
    assert_non_null(first);
    assert_null(strstr(first + 1, head));
    assert_memory_equal(b.data, "# HELP ", 7);
    buf_done(&b);
}

static void test_groups_are_shown_alone(void **state)
{
    (void)state;
    assert_false(shows(MG_WORKER, "foleni_resident_bytes"));
    assert_true(shows(MG_WORKER, "foleni_pushes_total"));
    assert_false(shows(MG_COMMON, "foleni_pushes_total"));
    assert_true(shows(ALL_GROUPS, "foleni_pushes_total"));
    assert_true(shows(ALL_GROUPS, "foleni_resident_bytes"));
}

static void test_histogram_counts_up_to_each_bound(void **state)
{
    (void)state;
    metric_observe_us(M_HTTP_SECONDS, 0);
    metric_observe_us(M_HTTP_SECONDS, 100);
    metric_observe_us(M_HTTP_SECONDS, 101);
    metric_observe_us(M_HTTP_SECONDS, 1500);
    metric_observe_us(M_HTTP_SECONDS, 60000000);
    metric_observe_us(M_HTTP_SECONDS, 60000001);
    metric_observe_us(M_HTTP_SECONDS, -7);
    assert_int_equal(metric_get(M_HTTP_SECONDS), 7);
#define BUCKET(bound, n)                                                 \
    assert_true(shows(MG_COMMON,                                         \
                      "\nfoleni_http_request_seconds_bucket{le=\"" bound \
                      "\"} " n "\n"))
    BUCKET("0.0001", "3");
    BUCKET("0.00025", "4");
    BUCKET("0.001", "4");
    BUCKET("0.0025", "5");
    BUCKET("30", "5");
    BUCKET("60", "6");
    BUCKET("+Inf", "7");
    assert_true(
        shows(MG_COMMON, "\nfoleni_http_request_seconds_sum 120.001702\n"));
    assert_true(shows(MG_COMMON, "\nfoleni_http_request_seconds_count 7\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names_follow_the_conventions),
        cmocka_unit_test(test_families_hold_together),
        cmocka_unit_test(test_counters_add_up),
        cmocka_unit_test(test_gauges_hold_the_last_value),
        cmocka_unit_test(test_every_family_has_one_head),
        cmocka_unit_test(test_groups_are_shown_alone),
        cmocka_unit_test(test_histogram_counts_up_to_each_bound),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
