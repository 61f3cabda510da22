/*
 * Networks: read strictly, and what lies in them.
 */
#include "common/net.h"

#include "common/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void test_what_lies_in_it(void **state)
{
    static const struct {
        const char *network, *address;
        bool in;
    } rows[] = {
        {"196.201.214.0/24", "196.201.214.0", true},
        {"196.201.214.0/24", "196.201.214.255", true},
        {"196.201.214.0/24", "196.201.215.0", false},
        {"196.201.214.0/24", "::ffff:196.201.214.7", true},
        {"196.201.212.0/23", "196.201.213.255", true},
        {"196.201.212.0/23", "196.201.214.0", false},
        {"10.0.0.1", "10.0.0.1", true},
        {"10.0.0.1", "10.0.0.2", false},
        {"10.0.0.1/32", "10.0.0.1", true},
        {"0.0.0.0/0", "255.255.255.255", true},
        {"0.0.0.0/0", "::1", false},
        {"::/0", "::1", true},
        {"::/0", "1.2.3.4", true},
        {"::1", "::1", true},
        {"::1", "127.0.0.1", false},
        {"2001:db8::/33", "2001:db8:7fff::1", true},
        {"2001:db8::/33", "2001:db8:8000::1", false},
        {"::ffff:10.0.0.0/104", "10.255.0.1", true},
        {"fe80::/10", "fe80::1%eth0", true},
        {"10.0.0.0/8", "", false},
        {"10.0.0.0/8", "10", false},
        {"10.0.0.0/8", "unix:", false},
    };
    struct network n;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_true(network_parse(rows[i].network, &n));
        if (network_has(&n, rows[i].address) != rows[i].in)
            fail_msg("%s in %s", rows[i].address, rows[i].network);
    }
}

static void test_what_is_none(void **state)
{
    static const char *const texts[] = {
        "",
        "/",
        "/8",
        "10",
        "10.0.0.0/",
        "10.0.0.0/33",
        "10.0.0.0/-1",
        "10.0.0.0/08x",
        "10.0.0.1/8",
        "10.0.0.0 /8",
        "010.0.0.256",
        "::/129",
        "::1/64",
        "example.org",
        "10.0.0.0/8/8",
        "::ffff:10.0.0.1/104",
        "1111:2222:3333:4444:5555:6666:7777:8888:9999:0000:1111:2222:3333",
    };
    struct network n;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        if (network_parse(texts[i], &n))
            fail_msg("%s", texts[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_lies_in_it),
        cmocka_unit_test(test_what_is_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
