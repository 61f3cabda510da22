/*
 * Strictness line by line, tolerance, exact numbers, and the writer.
 */
#include "common/json.h"

#include "common/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REPLACEMENT "\xef\xbf\xbd"

/* Text from an exact heap block, so that ASan sees a read behind its end. */
static enum err_code parse(const char *text, size_t len, bool strict,
                           struct json **ret, struct err *err)
{
    char *copy = malloc(len + !len);
    enum err_code code;

    memcpy(copy, text, len);
    code = strict ? json_parse_strict(copy, len, ret, err)
                  : json_parse_tolerant(copy, len, ret, err);
    free(copy);
    return code;
}

static bool strict_takes(const char *text)
{
    struct json *v = NULL;
    struct err err;
    bool taken = !parse(text, strlen(text), true, &v, &err);

    assert_int_equal(taken, v != NULL);
    if (!taken)
        assert_int_equal(err.code, ERR_INPUT);
    json_free(v);
    return taken;
}

static bool tolerant_takes(const char *text)
{
    struct json *v = NULL;
    struct err err;
    bool taken = !parse(text, strlen(text), false, &v, &err);

    assert_int_equal(taken, v != NULL);
    if (!taken)
        assert_int_equal(err.code, ERR_INPUT);
    json_free(v);
    return taken;
}

static struct json *must_parse(const char *text)
{
    struct json *v = NULL;
    struct err err = {.text = ""};

    if (json_parse_tolerant(text, strlen(text), &v, &err))
        fail_msg("%s: %s", text, err.text);
    return v;
}

static void test_every_kind_of_value(void **state)
{
    static const char *const good[] = {"{}",
                                       "[]",
                                       "0",
                                       "-0",
                                       "1",
                                       "-1",
                                       "10",
                                       "1.5",
                                       "1e5",
                                       "1E+05",
                                       "1e-05",
                                       "0.1",
                                       "true",
                                       "false",
                                       "null",
                                       "\"\"",
                                       "\"a\"",
                                       " {} ",
                                       "\t\r\n1\n",
                                       "[1,2]",
                                       "[ 1 , 2 ]",
                                       "{\"a\":1}",
                                       "{ \"a\" : 1 , \"b\" : [ ] }",
                                       "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0041\"",
                                       "\"\x7f\"",
                                       "\"\xc2\x80\"",
                                       "\"\xdf\xbf\"",
                                       "\"\xe0\xa0\x80\"",
                                       "\"\xed\x9f\xbf\"",
                                       "\"\xee\x80\x80\"",
                                       "\"\xef\xbf\xbf\"",
                                       "\"\xf0\x90\x80\x80\"",
                                       "\"\xf4\x8f\xbf\xbf\"",
                                       "\"\\ud83e\\udd81\"",
                                       "\"\\uD83E\\uDD81\"",
                                       "9999999999999999",
                                       "-9999999999999999",
                                       "0.12345678901234",
                                       "1e99",
                                       "{\"\":1}"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        if (!strict_takes(good[i]))
            fail_msg("strict refused %s", good[i]);
        if (!tolerant_takes(good[i]))
            fail_msg("tolerant refused %s", good[i]);
    }
}

/* What both ways of reading refuse. */
static const char *const bad[] = {
    "", " ",
    /* behind the end */
    "{}x", "{}{}", "1 2", "null,", "\"a\"b",
    /* numbers */
    "01", "-01", "00", "+1", ".5", "1.", "1.e5", "1e", "1e+", "-", "0x1", "1_0",
    "NaN", "Infinity", "-Infinity", "99e99", "-10e99", "0.1e-99", "1e100",
    "1e-400", "12345678901234567", "1.000000000000000", "123456789012345.1",
    "100000000000000000000000000000000000000000000000000000000000000000000000",
    /* words */
    "True", "nul", "tru", "falsey", "undefined",
    /* strings */
    "\"", "\"a", "\"\\", "\"\\\"", "\"\\u12\"", "\"\\u12", "\"\\u12g4\"",
    "\"\\x41\"", "\"\\'\"", "'a'", "\"a\nb\"", "\"a\tb\"", "\"\x01\"",
    "\"\x1f\"", "\"\\u0000\"", "\"a\\u0000b\"", "{\"\\u0000\":1}",
    /* half pairs */
    "\"\\ud83e\"", "\"\\ud83ex\"", "\"\\ud83e\\n\"", "\"\\ud83e\\u0041\"",
    "\"\\udd81\"", "\"\\udd81\\ud83e\"", "\"\\ud83e\\ud83e\"", "\"\\ud83e\\u",
    /* structures */
    "{", "[", "}", "]", "{]", "[}", "[1", "[1,", "[1,]", "[,1]", "[1 2]",
    "{\"a\"", "{\"a\":", "{\"a\":}", "{\"a\":1", "{\"a\":1,", "{\"a\":1,}",
    "{a:1}", "{1:1}", "{\"a\" 1}", "{\"a\":1 \"b\":2}", "{,}", "{\"a\"::1}",
    /* white space that is none in JSON */
    "\f1", "1\v",
    "[1,\x01"
    "2]",
    "\xc2\xa0"
    "1",
    /* nine levels */
    "[[[[[[[[[1]]]]]]]]]", "{\"a\":[[[[[[[[1]]]]]]]]}",
    /* comments */
    "/* x */1", "1//x"};

static void test_what_is_no_json_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        if (strict_takes(bad[i]))
            fail_msg("strict took %s", bad[i]);
        if (tolerant_takes(bad[i]))
            fail_msg("tolerant took %s", bad[i]);
    }
    assert_true(strict_takes("[[[[[[[[1]]]]]]]]"));
    assert_true(strict_takes("{\"a\":[[[[[[[1]]]]]]]}"));
}

static void test_zero_byte_behind_the_end_is_refused(void **state)
{
    struct json *v = NULL;
    struct err err;

    (void)state;
    assert_int_equal(json_parse_strict("{}\0", 3, &v, &err), ERR_INPUT);
    assert_int_equal(json_parse_strict("\"a\0b\"", 5, &v, &err), ERR_INPUT);
    assert_null(v);
}

static void test_bytes_that_are_no_utf8(void **state)
{
    static const char *const broken[] = {"\"\x80\"",
                                         "\"\xff\"",
                                         "\"\xc0\xaf\"",
                                         "\"\xc1\xbf\"",
                                         "\"\xc3\"",
                                         "\"\xc3(\"",
                                         "\"\xe2\x82\"",
                                         "\"\xe0\x9f\xbf\"",
                                         "\"\xed\xa0\x80\"",
                                         "\"\xf0\x9f\xa6\"",
                                         "\"\xf5\x80\x80\x80\"",
                                         "\"\xf0\x8f\xbf\xbf\"",
                                         "\"\xf4\x90\x80\x80\"",
                                         "\"\xe2\x28\xa1\"",
                                         "\"\xe2\x82\x28\"",
                                         "\"\xf0\x9f\xa6\x28\""};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(broken); i++) {
        if (strict_takes(broken[i]))
            fail_msg("strict took %zu", i);
        if (!tolerant_takes(broken[i]))
            fail_msg("tolerant refused %zu", i);
    }
    /* outside of a string nothing can be replaced */
    assert_false(tolerant_takes("{\xff}"));
    assert_false(tolerant_takes("{\"a\":\xff}"));
    assert_false(tolerant_takes("\"\xff"));
}

static void test_tolerant_reading_replaces_them(void **state)
{
    CLEANUP(json_free)
    struct json *v = must_parse("{\"a\":\"Jos\xe9 \xc3\xa9\xf0\x9f\",\"b\":1}");

    (void)state;
    assert_string_equal(json_text(json_get(v, "a")),
                        "Jos" REPLACEMENT " \xc3\xa9" REPLACEMENT REPLACEMENT);
    assert_non_null(json_get(v, "b"));
}

static void test_byte_order_mark(void **state)
{
    (void)state;
    assert_false(strict_takes("\xef\xbb\xbf{}"));
    assert_true(tolerant_takes("\xef\xbb\xbf{}"));
    assert_false(tolerant_takes("\xef\xbb\xbf"));
    assert_false(tolerant_takes("\xef\xbb\xbf\xef\xbb\xbf{}"));
}

static void test_equal_names(void **state)
{
    static const char *const twice[] = {
        "{\"a\":1,\"a\":1}",
        "{\"a\":1,\"b\":2,\"a\":3}",
        "{\"a\":1,\"\\u0061\":2}",
        "{\"\":1,\"\":2}",
        "{\"x\":{\"a\":1,\"a\":2}}",
        "[{\"a\":1,\"a\":2}]",
        "[[{\"b\":1},{\"c\":{\"a\":1,\"a\":2}}]]"};
    CLEANUP(json_free)
    struct json *v = NULL;
    int64_t n = 0;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(twice); i++) {
        if (strict_takes(twice[i]))
            fail_msg("strict took %s", twice[i]);
        assert_true(tolerant_takes(twice[i]));
    }
    assert_true(strict_takes("{\"a\":1,\"A\":1,\"b\":{\"a\":1}}"));
    v = must_parse("{\"a\":1,\"a\":2}");
    assert_true(json_integer(json_get(v, "a"), &n));
    assert_int_equal(n, 1);
}

/* Enough names that some share a bit of the set that stands before strcmp. */
static void test_equal_names_among_many(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 1 << 16);
    for (int twin = 0; twin <= 256; twin++) {
        buf_reset(&b);
        for (int i = 0; i < 256; i++)
            buf_addf(&b, "%c\"name%d\":1", i ? ',' : '{',
                     i == 255 && twin < 255 ? twin : i);
        if (twin == 256) /* one more than there may be */
            buf_adds(&b, ",\"another\":1");
        buf_addc(&b, '}');
        assert_int_equal(strict_takes(b.data), twin == 255);
        assert_true(tolerant_takes(b.data));
    }
    buf_done(&b);
}

static void test_errors_say_where(void **state)
{
    struct json *v = NULL;
    struct err err;

    (void)state;
    assert_int_equal(json_parse_strict("{\"a\":01}", 8, &v, &err), ERR_INPUT);
    assert_string_equal(err.text, "cannot read JSON at byte 5: a number begins "
                                  "with 0");
    assert_int_equal(json_parse_strict("{\"a\":1,\"a\":1}", 13, &v, &err),
                     ERR_INPUT);
    assert_string_equal(err.text,
                        "cannot read JSON: name \"a\" stands there twice");
}

static void test_members_are_found_by_their_exact_name(void **state)
{
    CLEANUP(json_free)
    struct json *v = must_parse("{\"Name\":1,\"name\":2,\"n\\u0061m\":3}");
    int64_t n = 0;

    (void)state;
    assert_true(json_integer(json_get(v, "name"), &n));
    assert_int_equal(n, 2);
    assert_true(json_integer(json_get(v, "nam"), &n));
    assert_int_equal(n, 3);
    assert_null(json_get(v, "NAME"));
    assert_null(json_get(NULL, "name"));
    assert_null(json_get(json_get(v, "name"), "name"));
}

static void test_walking(void **state)
{
    CLEANUP(json_free)
    struct json *v = must_parse("{\"a\":[1,\"x\",[]],\"b\":{}}");
    const struct json *a = json_first(v), *i;

    (void)state;
    assert_string_equal(json_name(a), "a");
    assert_string_equal(json_name(json_next(a)), "b");
    assert_null(json_next(json_next(a)));
    i = json_first(a);
    assert_string_equal(json_name(i), "");
    assert_string_equal(json_text(json_next(i)), "x");
    assert_null(json_text(i));
    assert_true(json_is_array(json_next(json_next(i))));
    assert_null(json_get(a, "x"));
    assert_null(json_first(json_get(v, "b")));
    assert_null(json_first(NULL));
    assert_null(json_next(NULL));
    assert_string_equal(json_name(NULL), "");
    assert_null(json_text(NULL));
    assert_false(json_is_object(NULL));
    assert_false(json_is_array(NULL));
}

/* --- numbers --- */

static void test_integers_are_exact_or_refused(void **state)
{
    static const struct {
        const char *text;
        bool whole, whole_or_text;
        int64_t n;
    } cases[] = {
        {"0", true, true, 0},
        {"-0", true, true, 0},
        {"2147483648", true, true, INT64_C(2147483648)},
        {"254712345678", true, true, INT64_C(254712345678)},
        {"9007199254740991", true, true, INT64_C(9007199254740991)},
        {"-9007199254740991", true, true, INT64_C(-9007199254740991)},
        {"9007199254740992", false, false, 0},
        {"9007199254740993", false, false, 0},
        {"9999999999999999", false, false, 0},
        {"-9007199254740992", false, false, 0},
        {"254.0", true, true, 254},
        {"25.4e1", true, true, 254},
        {"1e15", true, true, INT64_C(1000000000000000)},
        {"1e16", false, false, 0},
        {"1.5", false, false, 0},
        {"0.1", false, false, 0},
        {"1e-5", false, false, 0},
        {"250000.000000001", false, false, 0},
        {"99999999999999.9", false, false, 0},
        {"1e99", false, false, 0},
        {"true", false, false, 0},
        {"null", false, false, 0},
        {"[1]", false, false, 0},
        {"\"254\"", false, true, 254},
        {"\"-3\"", false, true, -3},
        {"\"254.00\"", false, true, 254},
        {"\"007\"", false, true, 7},
        {"\"9007199254740991\"", false, true, INT64_C(9007199254740991)},
        {"\"9007199254740992\"", false, false, 0},
        {"\"99999999999999999999999999\"", false, false, 0},
        {"\"\"", false, false, 0},
        {"\"-\"", false, false, 0},
        {"\"254.\"", false, false, 0},
        {"\".0\"", false, false, 0},
        {"\"254.01\"", false, false, 0},
        {"\"254 \"", false, false, 0},
        {"\" 254\"", false, false, 0},
        {"\"+254\"", false, false, 0},
        {"\"1e3\"", false, false, 0},
        {"\"0x10\"", false, false, 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        CLEANUP(json_free)
        struct json *v = must_parse(cases[i].text);
        int64_t n = -77, m = -77;

        if (json_integer(v, &n) != cases[i].whole ||
            n != (cases[i].whole ? cases[i].n : -77))
            fail_msg("json_integer of %s", cases[i].text);
        if (json_integer_or_text(v, &m) != cases[i].whole_or_text ||
            m != (cases[i].whole_or_text ? cases[i].n : -77))
            fail_msg("json_integer_or_text of %s", cases[i].text);
    }
    assert_false(json_integer(NULL, &(int64_t){0}));
    assert_false(json_integer_or_text(NULL, &(int64_t){0}));
}

static void test_scalars(void **state)
{
    CLEANUP(json_free)
    struct json *v = must_parse("{\"s\":\"abc\",\"n\":1032,\"f\":1.00,"
                                "\"h\":0.5,\"b\":true,\"z\":null,\"e\":\"\","
                                "\"neg\":-17,\"big\":9007199254740991}");
    char out[20] = "before";

    (void)state;
    assert_true(json_scalar(json_get(v, "s"), out, 4));
    assert_string_equal(out, "abc");
    assert_false(json_scalar(json_get(v, "s"), out, 3));
    assert_true(json_scalar(json_get(v, "n"), out, 5));
    assert_string_equal(out, "1032");
    assert_false(json_scalar(json_get(v, "n"), out, 4));
    assert_true(json_scalar(json_get(v, "f"), out, sizeof(out)));
    assert_string_equal(out, "1");
    assert_true(json_scalar(json_get(v, "neg"), out, sizeof(out)));
    assert_string_equal(out, "-17");
    assert_true(json_scalar(json_get(v, "big"), out, sizeof(out)));
    assert_string_equal(out, "9007199254740991");
    assert_true(json_scalar(json_get(v, "e"), out, 1));
    assert_string_equal(out, "");
    assert_false(json_scalar(json_get(v, "h"), out, sizeof(out)));
    assert_false(json_scalar(json_get(v, "b"), out, sizeof(out)));
    assert_false(json_scalar(json_get(v, "z"), out, sizeof(out)));
    assert_false(json_scalar(v, out, sizeof(out)));
    assert_false(json_scalar(NULL, out, sizeof(out)));
}

/* --- writing --- */

static void test_printing_is_compact_and_reads_back(void **state)
{
    static const char *const same[] = {
        "{}",
        "[]",
        "{\"a\":1,\"b\":[true,false,null,\"x\"],\"c\":{\"d\":-5}}",
        "254712345678",
        "9007199254740991",
        "\"\\\"\\\\\\n\\u0001\xc3\xa9\"",
        "1.5",
        "{\"\\\"\":1}"};
    struct buf b;

    (void)state;
    buf_init(&b, 1000);
    for (size_t i = 0; i < ARRAY_LEN(same); i++) {
        CLEANUP(json_free)
        struct json *v = must_parse(same[i]);

        buf_reset(&b);
        json_print(v, &b);
        assert_string_equal(b.data, same[i]);
    }
    buf_done(&b);
}

static void test_strings_are_escaped(void **state)
{
    static const struct {
        const char *from, *to;
    } cases[] = {
        {"", "\"\""},
        {"plain /~\x7f", "\"plain /~\x7f\""},
        {"\"\\", "\"\\\"\\\\\""},
        {"\b\f\n\r\t", "\"\\b\\f\\n\\r\\t\""},
        {"\x01\x1f", "\"\\u0001\\u001f\""},
        {"a\nb", "\"a\\nb\""},
        {"\xc3\xa9\xf0\x9f\xa6\x81", "\"\xc3\xa9\xf0\x9f\xa6\x81\""},
        {"a\xff", "\"a" REPLACEMENT "\""},
        {"\xe2\x82", "\"" REPLACEMENT REPLACEMENT "\""},
        {"\xed\xa0\x80x", "\"" REPLACEMENT REPLACEMENT REPLACEMENT "x\""},
    };
    struct buf b;

    (void)state;
    buf_init(&b, 1000);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        buf_reset(&b);
        json_string(&b, cases[i].from, strlen(cases[i].from));
        assert_string_equal(b.data, cases[i].to);
    }
    buf_reset(&b);
    json_string(&b, "a\0b", 3);
    assert_string_equal(b.data, "\"a\\u0000b\"");
    buf_done(&b);
}

static void test_every_byte_string_becomes_json(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 1000);
    for (int i = 1; i < 256; i++) {
        for (int k = 1; k < 256; k++) {
            char text[3] = {(char)i, (char)k, '\0'};

            buf_reset(&b);
            json_string(&b, text, 2);
            if (!strict_takes(b.data))
                fail_msg("%02x %02x", i, k);
        }
    }
    buf_done(&b);
}

static void test_writer_puts_the_commas(void **state)
{
    struct buf b;
    struct json_out j = {.buf = &b};

    (void)state;
    buf_init(&b, 1000);
    json_open(&j, NULL, '{');
    json_put_text(&j, "t", "x\"");
    json_put_int(&j, "n", INT64_MIN);
    json_open(&j, "o", '{');
    json_close(&j, '}');
    json_open(&j, "a", '[');
    json_put_bool(&j, NULL, true);
    json_put_bool(&j, NULL, false);
    json_put_null(&j, NULL);
    json_open(&j, NULL, '[');
    json_close(&j, ']');
    json_put_raw(&j, NULL, "{\"r\":1}", 7);
    json_close(&j, ']');
    json_put_null(&j, "z");
    json_close(&j, '}');
    assert_string_equal(b.data,
                        "{\"t\":\"x\\\"\",\"n\":-9223372036854775808,\"o\":{},"
                        "\"a\":[true,false,null,[],{\"r\":1}],\"z\":null}");
    buf_done(&b);
}

/* Texts one change away from good ones: whatever is taken can be written and
   read again as the same. Run under sanitizers it is a small fuzzer. */
static void test_mutated_texts(void **state)
{
    static const char seed[] = "{\"a\":[1,-2.5e3,\"x\\u00e9\\n\xc3\xa9\"],"
                               "\"b\":{\"c\":null,\"d\":true},\"e\":\"\"}";
    static const char bytes[] = "{}[]\",:\\u0123456789eE+-.tfn \n\x80\xc3\xff";
    uint32_t dice = 12345;
    struct buf b, again;
    int taken = 0;

    (void)state;
    buf_init(&b, 1000);
    buf_init(&again, 1000);
    for (int i = 0; i < 200000; i++) {
        char text[sizeof(seed)];
        struct json *v = NULL, *w = NULL;
        struct err err;

        memcpy(text, seed, sizeof(seed));
        for (int k = 0; k < 2; k++) {
            dice = dice * 1664525 + 1013904223;
            text[(dice >> 8) % (sizeof(seed) - 1)] =
                bytes[(dice >> 20) % (sizeof(bytes) - 1)];
        }
        if (parse(text, sizeof(seed) - 1, i & 1, &v, &err))
            continue;
        taken++;
        buf_reset(&b);
        buf_reset(&again);
        json_print(v, &b);
        if (json_parse_strict(b.data, b.len, &w, &err) && (i & 1))
            fail_msg("%s: %s", b.data, err.text);
        if (w) {
            json_print(w, &again);
            assert_string_equal(again.data, b.data);
        }
        json_free(v);
        json_free(w);
    }
    assert_in_range(taken, 2000, 198000);
    buf_done(&b);
    buf_done(&again);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_kind_of_value),
        cmocka_unit_test(test_what_is_no_json_is_refused),
        cmocka_unit_test(test_zero_byte_behind_the_end_is_refused),
        cmocka_unit_test(test_bytes_that_are_no_utf8),
        cmocka_unit_test(test_tolerant_reading_replaces_them),
        cmocka_unit_test(test_byte_order_mark),
        cmocka_unit_test(test_equal_names),
        cmocka_unit_test(test_equal_names_among_many),
        cmocka_unit_test(test_errors_say_where),
        cmocka_unit_test(test_members_are_found_by_their_exact_name),
        cmocka_unit_test(test_walking),
        cmocka_unit_test(test_integers_are_exact_or_refused),
        cmocka_unit_test(test_scalars),
        cmocka_unit_test(test_printing_is_compact_and_reads_back),
        cmocka_unit_test(test_strings_are_escaped),
        cmocka_unit_test(test_every_byte_string_becomes_json),
        cmocka_unit_test(test_writer_puts_the_commas),
        cmocka_unit_test(test_mutated_texts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
