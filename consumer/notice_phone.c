/*
 * Phones as C2B and Pull have them: plain in old samples, masked, or as a hash.
 * What is none of these fits nobody, so nothing is guessed.
 */
#include "consumer/notice_priv.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define MSISDN_DIGITS 12
#define HASH_DIGITS 64

/* Without blanks, in lower case; false when it is too long. */
static bool squeeze(const char *from, char *to, size_t size)
{
    size_t n = 0;

    for (; *from; from++) {
        if (*from == ' ')
            continue;
        if (n + 1 == size)
            return false;
        to[n++] = (char)tolower((unsigned char)*from);
    }
    to[n] = '\0';
    return true;
}

static bool masked(const char *text)
{
    size_t digits = 0;

    for (const char *c = text; *c; c++)
        digits += isdigit((unsigned char)*c) != 0;
    return strlen(text) == MSISDN_DIGITS && digits >= NOTICE_DIGITS_MIN &&
           strspn(text, "0123456789*") == MSISDN_DIGITS;
}

void notice_phone(const char *as_given, char out[NOTICE_PHONE_MAX + 1])
{
    int64_t msisdn;
    struct err err;

    if (!squeeze(as_given, out, NOTICE_PHONE_MAX + 1)) {
        out[0] = '\0';
        return;
    }
    if (strchr(out, '*') && masked(out))
        return;
    if (strlen(out) == HASH_DIGITS &&
        strspn(out, "0123456789abcdef") == HASH_DIGITS)
        return;
    if (msisdn_parse(out, strlen(out), &msisdn, &err))
        out[0] = '\0';
    else
        snprintf(out, NOTICE_PHONE_MAX + 1, "%" PRId64, msisdn);
}
