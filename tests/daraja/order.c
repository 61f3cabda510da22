/*
 * The parts of a callback URL and the keys that pushes are counted by. Pure.
 *
 * Any URL is taken: only one that ends in a number and one more segment has a
 * payment and an attempt; every other is a payment of its own.
 */
#include "tests/daraja/order.h"

#include <ctype.h>
#include <string.h>

#include "tests/daraja/chance.h"

static const char *find_path(const char *url)
{
    const char *host = strstr(url, "://");
    const char *path = host ? strchr(host + 3, '/') : NULL;

    return path ? path : url + strlen(url);
}

/* The slash before the segment that ends at @p end, or NULL. */
static const char *slash_before(const char *path, const char *end)
{
    while (end > path)
        if (*--end == '/')
            return end;
    return NULL;
}

static int64_t small_number(const char *from, const char *to)
{
    int64_t n = 0;

    if (from == to || to - from > 9)
        return 0;
    for (; from < to; from++) {
        if (!isdigit((unsigned char)*from))
            return 0;
        n = n * 10 + (*from - '0');
    }
    return n;
}

void order_path(const struct order *o, struct order_path *ret)
{
    const char *path = find_path(o->url), *end = path + strlen(path);
    const char *mac = slash_before(path, end);
    const char *attempt = mac ? slash_before(path, mac) : NULL;
    const char *payment = attempt ? slash_before(path, attempt) : NULL;
    size_t len;

    *ret = (struct order_path){path, strlen(path), strlen(path), "", 0};
    if (!payment)
        return;
    ret->attempt = small_number(attempt + 1, mac);
    len = (size_t)(attempt - payment - 1);
    if (ret->attempt == 0 || len >= sizeof(ret->payment))
        return;
    memcpy(ret->payment, payment + 1, len);
    ret->payment[len] = '\0';
    ret->payment_len = (size_t)(attempt - path);
}

uint64_t order_key(const struct order *o)
{
    uint64_t h = chance_hash(o->reference, strlen(o->reference));

    return chance_mix(chance_mix(h, (uint64_t)o->msisdn), (uint64_t)o->amount);
}

uint64_t order_attempt_key(const struct order_path *p)
{
    return chance_hash(p->path, p->path_len);
}

uint64_t order_payment_key(const struct order_path *p)
{
    return chance_mix(chance_hash(p->path, p->payment_len), 1);
}
