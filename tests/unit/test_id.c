/*
 * UUIDs: the RFC's own example, forms, and what makes ids differ.
 */
#include "common/id.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

static struct uuid parsed(const char *text)
{
    struct uuid id;
    struct err err;

    assert_int_equal(uuid_parse(text, strlen(text), &id, &err), ERR_NONE);
    return id;
}

static void assert_v5(const char *ns, const char *name, const char *want)
{
    struct uuid space = parsed(ns), id;
    char text[UUID_TEXT_SIZE];

    uuid_v5(&space, name, strlen(name), &id);
    uuid_format(&id, text);
    assert_string_equal(text, want);
}

static void test_v5(void **state)
{
    (void)state;
    /* RFC 9562, appendix A.4 */
    assert_v5("6ba7b810-9dad-11d1-80b4-00c04fd430c8", "www.example.com",
              "2ed6657d-e927-568b-95e1-2665a8aea6a2");
    /* Python's uuid.uuid5() */
    assert_v5("5a1f3f0e-6d0b-4a9b-9f6e-0c5a0a7d1e01", "order-42",
              "19d05f16-8fdd-56a4-a576-2d89f589f6c2");
    assert_v5("5a1f3f0e-6d0b-4a9b-9f6e-0c5a0a7d1e02", "order-42",
              "7c221e46-ca42-5b12-ac0e-02be49326412");
    /* and the first once more: nothing is left of the ones between */
    assert_v5("6ba7b810-9dad-11d1-80b4-00c04fd430c8", "www.example.com",
              "2ed6657d-e927-568b-95e1-2665a8aea6a2");
}

static void test_v5_of_bytes(void **state)
{
    struct uuid ns = parsed("5a1f3f0e-6d0b-4a9b-9f6e-0c5a0a7d1e01");
    struct uuid a, b, none;

    (void)state;
    uuid_v5(&ns, "a\0b", 3, &a);
    uuid_v5(&ns, "a\0c", 3, &b);
    uuid_v5(&ns, "", 0, &none);
    assert_false(uuid_equal(&a, &b));
    assert_false(uuid_equal(&a, &none));
}

static void test_v4(void **state)
{
    struct uuid a, b;

    (void)state;
    uuid_v4(&a);
    uuid_v4(&b);
    assert_false(uuid_equal(&a, &b));
    assert_int_equal(a.b[6] >> 4, 4);
    assert_int_equal(a.b[8] >> 6, 2);
}

static void test_both_cases_are_read_and_lower_is_written(void **state)
{
    struct uuid id = parsed("5A1F3f0e-6d0B-4a9b-9f6e-0c5a0a7d1EFf");
    char text[UUID_TEXT_SIZE];

    (void)state;
    uuid_format(&id, text);
    assert_string_equal(text, "5a1f3f0e-6d0b-4a9b-9f6e-0c5a0a7d1eff");
    assert_int_equal(id.b[0], 0x5a);
    assert_int_equal(id.b[15], 0xff);
}

static void test_other_forms_are_refused(void **state)
{
    static const char *const bad[] = {
        "",
        "5a1f3f0e-6d0b-4a9b-9f6e-0c5a0a7d1e0",
        "5a1f3f0e-6d0b-4a9b-9f6e-0c5a0a7d1e011",
        "5a1f3f0e6d0b4a9b9f6e0c5a0a7d1e01",
        "{5a1f3f0e-6d0b-4a9b-9f6e-0c5a0a7d1e01}",
        "5a1f3f0e-6d0b-4a9b-9f6e-0c5a0a7d1e0g",
        "5a1f3f0e-6d0b-4a9b-9f6e-0c5a0a7d1e0 ",
        "5a1f3f0e_6d0b-4a9b-9f6e-0c5a0a7d1e01",
        "5a1f3f0-e6d0b-4a9b-9f6e-0c5a0a7d1e01",
        "5a1f3f0e-6d0b-4a9b-9f6e00c5a0a7d1e01",
        "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx",
    };
    struct uuid id = {{7}};
    struct err err;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (uuid_parse(bad[i], strlen(bad[i]), &id, &err) != ERR_INPUT)
            fail_msg("took %s", bad[i]);
    assert_int_equal(id.b[0], 7);
}

static void test_equal(void **state)
{
    struct uuid a = parsed("5a1f3f0e-6d0b-4a9b-9f6e-0c5a0a7d1e01"), b;

    (void)state;
    for (size_t i = 0; i < sizeof(a.b); i++) {
        b = a;
        assert_true(uuid_equal(&a, &b));
        b.b[i] ^= 1;
        assert_false(uuid_equal(&a, &b));
    }
}

/* 4096 ids into 4096 places, as a hash table takes the low bits: each place has
   a Poisson number of them, 8 is rare, and no place is crowded. */
static void test_hash_spreads(void **state)
{
    static unsigned char places[2][4096];
    struct uuid ns = parsed("5a1f3f0e-6d0b-4a9b-9f6e-0c5a0a7d1e01");

    (void)state;
    for (uint32_t i = 0; i < 4096; i++) {
        struct uuid v5, counter = {{0}};

        uuid_v5(&ns, (const char *)&i, sizeof(i), &v5);
        memcpy(counter.b + 12, &i, sizeof(i));
        places[0][uuid_hash(&v5) % 4096]++;
        places[1][uuid_hash(&counter) % 4096]++;
    }
    for (size_t i = 0; i < 4096; i++) {
        assert_in_range(places[0][i], 0, 9);
        assert_in_range(places[1][i], 0, 9);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_v5),
        cmocka_unit_test(test_v5_of_bytes),
        cmocka_unit_test(test_v4),
        cmocka_unit_test(test_both_cases_are_read_and_lower_is_written),
        cmocka_unit_test(test_other_forms_are_refused),
        cmocka_unit_test(test_equal),
        cmocka_unit_test(test_hash_spreads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
