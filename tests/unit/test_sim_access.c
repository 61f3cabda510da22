/* Unit tests of apps, logins and tokens, with a clock of their own. */
#include "tests/daraja/access.h"

#include "common/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define TOKEN_A "AAAAAAAAAAAAAAAAAAAAAAAAAAAA"
#define TOKEN_B "BBBBBBBBBBBBBBBBBBBBBBBBBBBB"
#define BASIC_ONE "Basic b25lOnNlY3JldC0x" /* one:secret-1 */

/* Two shortcodes of one app and one of another. */
static struct shortcode shortcodes[] = {
    {.consumer_key = "one", .consumer_secret = "secret-1"},
    {.consumer_key = "two", .consumer_secret = "secret-2"},
    {.consumer_key = "one", .consumer_secret = "secret-1"},
};

static int set_up(void **state)
{
    static const struct config cfg = {.shortcodes = shortcodes,
                                      .shortcodes_n = ARRAY_LEN(shortcodes)};

    *state = access_new(&cfg);
    return 0;
}

static int tear_down(void **state)
{
    access_free(*state);
    return 0;
}

static void a_login_needs_key_and_secret(void **state)
{
    assert_string_equal(access_key(access_login(*state, BASIC_ONE)), "one");
    assert_null(access_login(*state, "Basic b25lOnNlY3JldC0y"));
    assert_null(access_login(*state, "Basic "));
}

static void a_token_ends(void **state)
{
    struct access_app *one = access_login(*state, BASIC_ONE);

    access_mint(one, TOKEN_A, 100, true);
    assert_ptr_equal(access_check(*state, "Bearer " TOKEN_A, 99), one);
    assert_null(access_check(*state, "Bearer " TOKEN_A, 100));
    assert_null(access_check(*state, TOKEN_A, 99));
    assert_null(access_check(*state, "Bearer ", 99));
    assert_null(access_check(*state, NULL, 99));
}

static void a_new_token_kills_the_old_or_not(void **state)
{
    struct access_app *one = access_login(*state, BASIC_ONE);

    access_mint(one, TOKEN_A, 100, true);
    access_mint(one, TOKEN_B, 100, false);
    assert_non_null(access_check(*state, "Bearer " TOKEN_A, 1));
    assert_non_null(access_check(*state, "Bearer " TOKEN_B, 1));
    access_mint(one, TOKEN_B, 100, true);
    assert_null(access_check(*state, "Bearer " TOKEN_A, 1));
    access_revoke(*state);
    assert_null(access_check(*state, "Bearer " TOKEN_B, 1));
}

static void spike_arrest_admits_one_per_gap(void **state)
{
    struct access_app *one = access_login(*state, BASIC_ONE);
    int admitted = 0;

    for (int64_t us = 0; us < US_PER_S; us += US_PER_MS)
        admitted += access_admit(one, 10, us);
    assert_int_equal(admitted, 10);
    for (int i = 0; i < 100; i++)
        assert_true(access_admit(one, 0, 0));
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_login_needs_key_and_secret),
        CASE(a_token_ends),
        CASE(a_new_token_kills_the_old_or_not),
        CASE(spike_arrest_admits_one_per_gap),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
