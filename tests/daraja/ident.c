/*
 * Shapes of identifiers as recorded between 2022 and 2026. Pure.
 */
#include "tests/daraja/ident.h"

#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "tests/daraja/chance.h"

#define BASE36 36
#define RECEIPTS UINT64_C(78364164096) /* 36^7 */

static const char letters[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                              "abcdefghijklmnopqrstuvwxyz";

void ident_init(struct idents *ids, uint64_t seed)
{
    struct chance c;

    chance_seed(&c, chance_mix(seed, 0x1d));
    for (int i = 0; i < IDENT_NODES; i++) {
        uint64_t a = chance_next(&c), b = chance_next(&c);

        snprintf(ids->prefix[i], sizeof(ids->prefix[i]),
                 "%04x-%04x-%04x-%012llx", (unsigned)(a & 0xffff),
                 (unsigned)(0x4000 | ((a >> 16) & 0xfff)),
                 (unsigned)(0x8000 | ((a >> 32) & 0x3fff)),
                 (unsigned long long)(b & UINT64_C(0xffffffffffff)));
        ids->base[i] = 1000000 + chance_below(&c, 8000000);
    }
}

void ident_checkout(int64_t at, int64_t msisdn, char out[CHECKOUT_SIZE])
{
    char eat[15]; /* yyyyMMddHHmmss */

    clock_format_eat(at, eat);
    snprintf(out, CHECKOUT_SIZE, "ws_CO_%.2s%.2s%.4s%s%03d%09lld", eat + 6,
             eat + 4, eat, eat + 8, (int)(at / US_PER_MS % 1000),
             (long long)(msisdn % 1000000000));
}

void ident_request(const struct idents *ids, uint64_t n,
                   char out[REQUEST_ID_SIZE])
{
    size_t node = n % IDENT_NODES;

    snprintf(out, REQUEST_ID_SIZE, "%s%llu", ids->prefix[node],
             (unsigned long long)(ids->base[node] + n));
}

static char day_letter(int day)
{
    return (char)(day < 10 ? '0' + day : 'A' + day - 10);
}

static int two_digits(const char *s)
{
    return (s[0] - '0') * 10 + s[1] - '0';
}

void ident_receipt(int64_t at, uint64_t n, char out[RECEIPT_SIZE])
{
    char eat[15];
    uint64_t rest;
    int year;

    clock_format_eat(at, eat);
    year = two_digits(eat) * 100 + two_digits(eat + 2);
    out[0] = (char)('A' + (year - 2017 + 'L' - 'A') % 26); /* L was 2017 */
    out[1] = (char)('A' + two_digits(eat + 4) - 1);
    out[2] = day_letter(two_digits(eat + 6));
    /* An odd factor that 3 does not divide permutes the numbers below 36^7. */
    rest = n % RECEIPTS * 7919 % RECEIPTS;
    for (int i = 9; i > 2; i--) {
        out[i] = letters[rest % BASE36];
        rest /= BASE36;
    }
    out[10] = '\0';
}

void ident_conversation(int64_t at, uint64_t n, char out[REQUEST_ID_SIZE])
{
    char eat[15];

    clock_format_eat(at, eat);
    snprintf(out, REQUEST_ID_SIZE, "AG_%.8s_%020llx", eat,
             (unsigned long long)chance_mix(n, 0xa6));
}

void ident_token(uint64_t random_a, uint64_t random_b, char out[TOKEN_SIZE])
{
    uint64_t r = random_a;

    for (int i = 0; i < TOKEN_SIZE - 1; i++) {
        if (i == 10)
            r = random_b;
        if (i == 20)
            r = chance_mix(random_a, random_b);
        out[i] = letters[r % (sizeof(letters) - 1)];
        r /= sizeof(letters) - 1;
    }
    out[TOKEN_SIZE - 1] = '\0';
}
