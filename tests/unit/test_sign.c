/*
 * Hashes, MACs and encodings against published vectors and Python's hmac.
 */
#include "common/sign.h"

#include "common/buf.h"
#include "common/id.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

static void assert_sha256(const char *text, const char *want)
{
    uint8_t hash[SHA256_SIZE];
    char hex[2 * SHA256_SIZE + 1];
    struct buf b;

    buf_over(&b, hex, sizeof(hex));
    sign_sha256(text, strlen(text), hash);
    buf_addhex(&b, hash, sizeof(hash));
    assert_string_equal(hex, want);
}

/* FIPS 180-2, appendix B, and the empty message. */
static void test_sha256(void **state)
{
    (void)state;
    assert_sha256(
        "abc",
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_sha256(
        "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    assert_sha256(
        "", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

static void assert_record(const char *secret, const struct record_claim *claim,
                          const char *want)
{
    char mac[RECORD_MAC_SIZE];

    sign_record(secret, claim, mac);
    assert_string_equal(mac, want);
}

/* Wanted values by Python's hmac; keys longer than a block are hashed. */
static void test_record(void **state)
{
    struct record_claim request = {"5a1f3f0e-6d0b-4a9b-9f6e-0c5a0a7d1e01",
                                   "1795248000000",
                                   "254712345678",
                                   12,
                                   "{}",
                                   2};
    struct record_claim letters = {"a", "b", "c", 1, NULL, 0};
    char long_key[201];

    (void)state;
    memset(long_key, 's', 200);
    long_key[200] = '\0';
    for (int round = 0; round < 2; round++) {
        assert_record("test-signing-secret-of-the-shop", &request,
                      "cab3c6e7cbee87738d6602847e13a3da"
                      "a0e820bbb6344e0007dc1797cea59be3");
        assert_record("Jefe", &letters,
                      "b1157c6c13f56c7c60ef8a9b5a0c865b"
                      "87684125629e5765172e86754a708178");
        assert_record(long_key, &letters,
                      "83c21aabc69d3bc43847b99b2ce8606a"
                      "9da4aff7c00ba4110e1f2c8c24b24a18");
        /* an empty key is a key, not "the one before" */
        assert_record("", &letters,
                      "2a67eb3b71d6649fafadacd7cdce047d"
                      "f09436dec305595048f3e634e531e862");
    }
}

static void test_everything_in_a_record_counts(void **state)
{
    struct record_claim claims[] = {
        {"client", "1", "key", 3, "value", 5},
        {"Client", "1", "key", 3, "value", 5},
        {"client", "2", "key", 3, "value", 5},
        {"client", "1", "kex", 3, "value", 5},
        {"client", "1", "key", 3, "valve", 5},
        {"client", "1", "key", 3, "value", 4},
        {"client", "1", "keyv", 4, "alue", 4},
        {"client", "1k", "ey", 2, "value", 5},
        {"client1", "", "key", 3, "value", 5},
        {"client", "1", NULL, 0, "value", 5},
    };
    char macs[ARRAY_LEN(claims)][RECORD_MAC_SIZE];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(claims); i++) {
        sign_record("secret", &claims[i], macs[i]);
        for (size_t k = 0; k < i; k++)
            assert_string_not_equal(macs[i], macs[k]);
    }
}

static void test_callback(void **state)
{
    static const char payment[] = "56a65011-60fd-5202-ba6a-d40d0d945844";
    struct uuid id;
    struct err err;
    char mac[CALLBACK_MAC_SIZE], other[CALLBACK_MAC_SIZE];

    (void)state;
    assert_int_equal(uuid_parse(payment, strlen(payment), &id, &err), ERR_NONE);
    sign_callback("test-key-of-the-callback-paths", &id, 1, mac);
    assert_string_equal(mac, "0a4a45de37bf33363320b21958edab5a");
    sign_callback("test-key-of-the-callback-paths", &id, INT32_MAX, other);
    assert_string_equal(other, "0ab07cb36cc29efb535148f0d5cecd17");
    sign_callback("test-key-of-the-callback-pathz", &id, 1, other);
    assert_string_not_equal(mac, other);
    id.b[15] ^= 1;
    sign_callback("test-key-of-the-callback-paths", &id, 1, other);
    assert_string_not_equal(mac, other);
}

static void test_equal(void **state)
{
    (void)state;
    assert_true(sign_equal("abc", "abd", 2));
    assert_false(sign_equal("abc", "abd", 3));
    assert_false(sign_equal("xbc", "abc", 3));
    assert_true(sign_equal("", "", 0));
}

static void test_random_and_wipe(void **state)
{
    uint8_t a[32] = {0}, b[32] = {0}, zero[32] = {0};

    (void)state;
    sign_random(a, sizeof(a));
    sign_random(b, sizeof(b));
    assert_memory_not_equal(a, b, sizeof(a));
    assert_memory_not_equal(a, zero, sizeof(a));
    sign_wipe(a, 16);
    assert_memory_equal(a, zero, 16);
    assert_memory_not_equal(a + 16, zero, 16);
}

/* RFC 4648 section 10, and Daraja's password of the public sandbox form. */
static void test_base64(void **state)
{
    static const struct {
        const char *from, *to;
    } cases[] = {
        {"", ""},
        {"f", "Zg=="},
        {"fo", "Zm8="},
        {"foo", "Zm9v"},
        {"foob", "Zm9vYg=="},
        {"fooba", "Zm9vYmE="},
        {"foobar", "Zm9vYmFy"},
        {"\xff\xfe\xfd", "//79"},
        {"174379test-passkey20240710091526",
         "MTc0Mzc5dGVzdC1wYXNza2V5MjAyNDA3MTAwOTE1MjY="},
    };
    struct buf b;

    (void)state;
    buf_init(&b, 100);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        buf_reset(&b);
        sign_base64(&b, cases[i].from, strlen(cases[i].from));
        assert_string_equal(b.data, cases[i].to);
    }
    buf_done(&b);
}

static void test_unhex(void **state)
{
    uint8_t out[3] = {9, 9, 9};

    (void)state;
    assert_true(sign_unhex("00fFa7", 6, out, 3));
    assert_memory_equal(out, "\x00\xff\xa7", 3);
    assert_false(sign_unhex("00fFa", 5, out, 3));
    assert_false(sign_unhex("00fFa788", 8, out, 3));
    assert_false(sign_unhex("11112g", 6, out, 3));
    assert_false(sign_unhex("1111 2", 6, out, 3));
    assert_memory_equal(out, "\x00\xff\xa7", 3);
    assert_true(sign_unhex("", 0, out, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sha256),
        cmocka_unit_test(test_record),
        cmocka_unit_test(test_everything_in_a_record_counts),
        cmocka_unit_test(test_callback),
        cmocka_unit_test(test_equal),
        cmocka_unit_test(test_random_and_wipe),
        cmocka_unit_test(test_base64),
        cmocka_unit_test(test_unhex),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
