/*
 * Filters of a list: what is taken, what is refused by name, and cursors.
 */
#include "producer/find.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define LIMIT_MAX 200
#define ID "56a65011-60fd-5202-ba6a-d40d0d945844"

static bool takes(struct find *f, const char *name, const char *value)
{
    struct fault fault = {0};
    bool refused = find_take(f, name, value, LIMIT_MAX, &fault) != 0;

    assert_int_equal(refused, fault.code != NULL);
    assert_int_equal(refused, *fault.text != '\0');
    return !refused;
}

static void each_filter_is_taken(void **state)
{
    struct find f;

    (void)state;
    find_init(&f);
    assert_int_equal(f.state, -1);
    assert_int_equal(f.limit, FIND_LIMIT);
    assert_true(takes(&f, "ids", ID));
    assert_int_equal(f.ids_n, 1);
    assert_true(takes(&f, "ids", ID "," ID));
    assert_int_equal(f.ids_n, 2);
    assert_true(takes(&f, "msisdn", "0712345678"));
    assert_int_equal(f.msisdn, 254712345678);
    assert_true(takes(&f, "reference", "INV0000042"));
    assert_string_equal(f.reference, "INV0000042");
    assert_true(takes(&f, "status", "waiting"));
    assert_int_equal(f.state, PAYMENT_WAITING);
    assert_true(takes(&f, "from", "2026-11-21T08:00:00Z"));
    assert_true(takes(&f, "to", "2026-11-21T12:00:00.5+03:00"));
    assert_int_equal(f.to_at - f.from_at, INT64_C(3600500000));
    assert_true(takes(&f, "limit", "200"));
    assert_int_equal(f.limit, 200);
}

static void what_cannot_be_used_is_refused(void **state)
{
    static const char *const bad[][2] = {
        {"ids", ""},
        {"ids", "," ID},
        {"ids", ID ","},
        {"ids", "56a65011"},
        {"msisdn", ""},
        {"msisdn", "12345"},
        {"msisdn", "0712345678x"},
        {"reference", ""},
        {"reference", "ABCDEFGHIJKLM"},
        {"reference", "INV 1"},
        {"reference", "' OR 1=1"},
        {"status", ""},
        {"status", "queued"},
        {"status", "paid"},
        {"status", "WAITING"},
        {"from", ""},
        {"from", "yesterday"},
        {"from", "2026-11-21"},
        {"to", "2026-13-21T08:00:00Z"},
        {"limit", ""},
        {"limit", "0"},
        {"limit", "201"},
        {"limit", "-1"},
        {"limit", "5 "},
        {"limit", "99999999999999999999"},
        {"cursor", ""},
        {"cursor", "000000000000000000000000000000000000000000000000"},
        {"cursor", "ffffffffffffffff00000000000000000000000000000000"},
        {"cursor", "00000000000000010000000000000000000000000000000g"},
        {"cursor", "0000000000000001000000000000000000000000000000"},
    };
    struct fault fault;
    struct find f;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        find_init(&f);
        assert_false(takes(&f, bad[i][0], bad[i][1]));
        (void)!find_take(&f, bad[i][0], bad[i][1], LIMIT_MAX, &fault);
        assert_string_equal(fault.code, "invalid_field");
        assert_string_equal(fault.field, bad[i][0]);
    }
}

static void what_is_no_filter_is_named(void **state)
{
    struct fault fault;
    struct find f;

    (void)state;
    find_init(&f);
    assert_int_equal(find_take(&f, "amount", "1", LIMIT_MAX, &fault),
                     ERR_INPUT);
    assert_string_equal(fault.code, "unknown_filter");
    assert_string_equal(fault.field, "amount");
    assert_non_null(strstr(fault.text, "reference"));
    assert_int_equal(find_take(&f, "\xff\xfe", "1", LIMIT_MAX, &fault),
                     ERR_INPUT);
    assert_string_equal(fault.field, "");
}

static void more_ids_than_may_be(void **state)
{
    char many[(FIND_IDS_MAX + 1) * 37 + 1] = "";
    struct find f;
    size_t n = 0;

    (void)state;
    find_init(&f);
    for (int i = 0; i <= FIND_IDS_MAX; i++) {
        n +=
            (size_t)snprintf(many + n, sizeof(many) - n, "%s" ID, i ? "," : "");
        assert_int_equal(takes(&f, "ids", many), i < FIND_IDS_MAX);
    }
}

static void a_cursor_leads_back_to_its_place(void **state)
{
    struct find_place at = {INT64_C(1800000000123456), {{1, 2, [15] = 0xff}}};
    char text[FIND_CURSOR_SIZE];
    struct find f;

    (void)state;
    find_init(&f);
    assert_false(f.goes_on);
    find_cursor(&at, text);
    assert_int_equal(strlen(text), FIND_CURSOR_SIZE - 1);
    assert_true(takes(&f, "cursor", text));
    assert_true(f.goes_on);
    assert_int_equal(f.after.created_at, at.created_at);
    assert_true(uuid_equal(&f.after.id, &at.id));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_filter_is_taken),
        cmocka_unit_test(what_cannot_be_used_is_refused),
        cmocka_unit_test(what_is_no_filter_is_named),
        cmocka_unit_test(more_ids_than_may_be),
        cmocka_unit_test(a_cursor_leads_back_to_its_place),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
