/*
 * Words and small rules of the domain. Pure: no clock, no library, no memory of
 * its own. What may follow what is the flow's business, not this file's.
 */
#include "common/payment.h"

#include "common/must.h"

#include <stdio.h>
#include <string.h>

#define SIGNIFICANT_DIGITS 9 /* of a Kenyan mobile number: 7XXXXXXXX */
#define COUNTRY INT64_C(254)
#define COUNTRY_BASE INT64_C(1000000000)

/* --- words --- */

const char *payment_state_name(enum payment_state s)
{
    switch (s) {
#define STATE(id, number, name, final, announced) \
    case id:                                      \
        return name;
#include "common/payment.def"
#undef STATE
    }
    return "";
}

bool payment_state_final(enum payment_state s)
{
    switch (s) {
#define STATE(id, number, name, final, announced) \
    case id:                                      \
        return final;
#include "common/payment.def"
#undef STATE
    }
    return false;
}

bool payment_state_announced(enum payment_state s)
{
    switch (s) {
#define STATE(id, number, name, final, announced) \
    case id:                                      \
        return announced;
#include "common/payment.def"
#undef STATE
    }
    return false;
}

const char *payment_wait_name(enum payment_wait w)
{
    switch (w) {
#define WAIT(id, number, name) \
    case id:                   \
        return name;
#include "common/payment.def"
#undef WAIT
    }
    return "";
}

const char *result_class_name(enum result_class c)
{
    switch (c) {
#define RESULT(id, number, name) \
    case id:                     \
        return name;
#include "common/payment.def"
#undef RESULT
    }
    return "";
}

const char *evidence_name(enum evidence e)
{
    switch (e) {
#define EVIDENCE(id, number, name) \
    case id:                       \
        return name;
#include "common/payment.def"
#undef EVIDENCE
    }
    return "";
}

static const char *const priorities[PRIORITIES_N] = {
    [PRIORITY_HIGH] = "high",
    [PRIORITY_NORMAL] = "normal",
    [PRIORITY_LOW] = "low",
};

const char *priority_name(enum priority p)
{
    return (unsigned)p < PRIORITIES_N ? priorities[p] : "";
}

bool priority_parse(const char *name, enum priority *ret)
{
    for (int p = 0; p < PRIORITIES_N; p++) {
        if (strcmp(name, priorities[p]) == 0) {
            *ret = (enum priority)p;
            return true;
        }
    }
    return false;
}

/* --- phones --- */

/* What stands before the nine digits: nothing, 0, 254 or +254. */
static bool prefix_ok(const char *text, size_t len)
{
    return len == 0 || (len == 1 && text[0] == '0') ||
           (len == 3 && memcmp(text, "254", 3) == 0) ||
           (len == 4 && memcmp(text, "+254", 4) == 0);
}

enum err_code msisdn_parse(const char *text, size_t len, int64_t *ret,
                           struct err *err)
{
    size_t lead = len - SIGNIFICANT_DIGITS;
    int64_t n = 0;

    if (len < SIGNIFICANT_DIGITS || !prefix_ok(text, lead))
        goto refuse;
    for (size_t i = lead; i < len; i++) {
        if (text[i] < '0' || text[i] > '9')
            goto refuse;
        n = 10 * n + (text[i] - '0');
    }
    n += COUNTRY * COUNTRY_BASE;
    if (!msisdn_valid(n))
        goto refuse;
    *ret = n;
    return ERR_NONE;

refuse:
    return err_set(err, ERR_INPUT,
                   "must be a Kenyan mobile number: 07XXXXXXXX, 01XXXXXXXX, "
                   "2547XXXXXXXX or 2541XXXXXXXX");
}

bool msisdn_valid(int64_t n)
{
    return (n >= INT64_C(254700000000) && n <= INT64_C(254799999999)) ||
           (n >= INT64_C(254100000000) && n <= INT64_C(254199999999));
}

void msisdn_mask(int64_t n, char out[16])
{
    if (msisdn_valid(n))
        snprintf(out, 16, "%04u\xe2\x80\xa6%03u",
                 (unsigned)(n / INT64_C(100000000)) % 10000,
                 (unsigned)(n % 1000));
    else
        snprintf(out, 16, "?");
}

/* --- time --- */

int64_t payment_deadline(const struct request *req, int64_t appended_at,
                         int64_t ttl_us)
{
    int64_t asked_at = req->requested_at;
    int64_t deadline_at;

    if (appended_at > 0)
        asked_at = MIN(asked_at, appended_at);
    if (__builtin_add_overflow(asked_at, ttl_us, &deadline_at))
        deadline_at = INT64_MAX;
    if (req->expires_at > 0)
        deadline_at = MIN(deadline_at, req->expires_at);
    return deadline_at;
}

/* --- text --- */

void text_copy(char *to, size_t size, const char *from)
{
    size_t n = strnlen(from, size);

    must(size > 0);
    if (n == size) {
        /* back to the first byte of the character that does not fit */
        n--;
        while (n > 0 && ((unsigned char)from[n] & 0xc0) == 0x80)
            n--;
    }
    memcpy(to, from, n);
    to[n] = '\0';
}
