/*
 * Sealed secrets: the key as RFC 5869 has it, what opens, and what never does.
 */
#include "common/seal.h"

#include "common/must.h"
#include "common/sign.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define PLAIN "SGWcJPtNtYNPGm6uSYR9yPYrAI3Bm"
#define SEALED_SIZE (sizeof(PLAIN) - 1 + SEAL_EXTRA)

struct fixture {
    uint8_t key[SEAL_KEY_SIZE], sealed[SEALED_SIZE];
    char out[sizeof(PLAIN)];
};

static int set_up(void **state)
{
    struct fixture *f = NEW(struct fixture);

    seal_key("a secret of the settings", "test", f->key);
    seal(f->key, "here", PLAIN, sizeof(PLAIN) - 1, f->sealed);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    free(*state);
    return 0;
}

/* RFC 5869, test case 3: no salt, no info. */
static void test_the_key_is_hkdf(void **state)
{
    static const char want[] =
        "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d";
    static const char secret[] = "\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b"
                                 "\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b\x0b";
    uint8_t key[SEAL_KEY_SIZE], wanted[SEAL_KEY_SIZE];

    (void)state;
    must(sign_unhex(want, strlen(want), wanted, sizeof(wanted)));
    seal_key(secret, "", key);
    assert_memory_equal(key, wanted, sizeof(key));
    seal_key(secret, "another purpose", key);
    assert_memory_not_equal(key, wanted, sizeof(key));
}

static void test_what_was_sealed_opens(void **state)
{
    struct fixture *f = *state;
    uint8_t again[SEALED_SIZE];

    assert_true(seal_open(f->key, "here", f->sealed, sizeof(f->sealed), f->out,
                          sizeof(f->out)));
    assert_string_equal(f->out, PLAIN);
    seal(f->key, "here", PLAIN, sizeof(PLAIN) - 1, again);
    assert_memory_not_equal(again, f->sealed, sizeof(again));
    seal(f->key, "", "", 0, again);
    assert_true(
        seal_open(f->key, "", again, SEAL_EXTRA, f->out, sizeof(f->out)));
    assert_string_equal(f->out, "");
}

static void test_every_changed_bit_is_seen(void **state)
{
    struct fixture *f = *state;

    for (size_t bit = 0; bit < 8 * sizeof(f->sealed); bit++) {
        f->sealed[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_false(seal_open(f->key, "here", f->sealed, sizeof(f->sealed),
                               f->out, sizeof(f->out)));
        f->sealed[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    for (size_t len = 0; len < sizeof(f->sealed); len++)
        assert_false(
            seal_open(f->key, "here", f->sealed, len, f->out, sizeof(f->out)));
}

static void test_of_another_key_or_context(void **state)
{
    struct fixture *f = *state;
    uint8_t other[SEAL_KEY_SIZE];

    seal_key("another secret", "test", other);
    assert_false(seal_open(other, "here", f->sealed, sizeof(f->sealed), f->out,
                           sizeof(f->out)));
    assert_false(seal_open(f->key, "there", f->sealed, sizeof(f->sealed),
                           f->out, sizeof(f->out)));
    assert_false(seal_open(f->key, "here", f->sealed, sizeof(f->sealed), f->out,
                           sizeof(f->out) - 1));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_the_key_is_hkdf),
        TEST(test_what_was_sealed_opens),
        TEST(test_every_changed_bit_is_seen),
        TEST(test_of_another_key_or_context),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
