/*
 * A batch: {"payments": [item, ...]}. It is only cut here, each item then is
 * read by itself, so that one that is no JSON spoils no other. What counts for
 * cutting are brackets outside of texts; an item that is cut wrongly because it
 * is wrong itself cannot be read, whatever it swallowed.
 */
#include "common/wire.h"

#include "common/clock.h"
#include "common/wire_priv.h"

#include <string.h>

struct scan {
    const char *at, *end;
};

static void skip_blank(struct scan *s)
{
    while (s->at < s->end && memchr(" \t\r\n", *s->at, 4))
        s->at++;
}

static bool take(struct scan *s, const char *what)
{
    size_t len = strlen(what);

    skip_blank(s);
    if ((size_t)(s->end - s->at) < len || memcmp(s->at, what, len) != 0)
        return false;
    s->at += len;
    skip_blank(s);
    return true;
}

/* Behind the text that begins here; false = it does not end. */
static bool skip_text(struct scan *s)
{
    for (s->at++; s->at < s->end && *s->at != '"'; s->at++)
        if (*s->at == '\\')
            s->at++;
    if (s->at >= s->end)
        return false;
    s->at++;
    return true;
}

/* Up to the comma or bracket that ends the item. */
static bool skip_item(struct scan *s)
{
    int depth = 0;

    while (s->at < s->end) {
        if (*s->at == '"') {
            if (!skip_text(s))
                return false;
            continue;
        }
        if (depth == 0 && (*s->at == ',' || *s->at == ']'))
            return true;
        if (*s->at == '{' || *s->at == '[')
            depth++;
        else if (*s->at == '}' || *s->at == ']')
            depth--;
        if (depth < 0)
            return false;
        s->at++;
    }
    return false;
}

static enum err_code refuse(struct fault *fault)
{
    return wire_fault(fault, "invalid_json", "",
                      "must be {\"payments\": [...]} and nothing else");
}

static enum err_code cut(struct scan *s, struct wire_item *items, size_t *n,
                         struct fault *fault)
{
    do {
        struct wire_item *item = &items[*n];

        if (*n == WIRE_BATCH_MAX)
            return wire_fault(fault, "invalid_field", "payments",
                              "must be at most %d", WIRE_BATCH_MAX);
        skip_blank(s);
        item->text = s->at;
        if (!skip_item(s))
            return refuse(fault);
        item->len = (size_t)(s->at - item->text);
        ++*n;
    } while (*s->at++ == ',');
    return ERR_NONE;
}

enum err_code wire_cut_batch(const char *body, size_t len,
                             struct wire_item items[WIRE_BATCH_MAX],
                             size_t *ret_n, struct fault *fault)
{
    struct scan s = {body, body + len};

    *ret_n = 0;
    if (!take(&s, "{") || !take(&s, "\"payments\"") || !take(&s, ":") ||
        !take(&s, "["))
        return refuse(fault);
    if (take(&s, "]"))
        return wire_fault(fault, "invalid_field", "payments",
                          "must be at least one");
    if (cut(&s, items, ret_n, fault))
        return ERR_INPUT;
    return take(&s, "}") && s.at == s.end ? ERR_NONE : refuse(fault);
}

enum err_code wire_read_item(const struct config *cfg,
                             const struct client *client,
                             const struct wire_item *item, int64_t now_at,
                             char key[IDEMPOTENCY_KEY_MAX + 1],
                             struct request *ret, struct fault *fault)
{
    struct request req = {.requested_at = now_at - now_at % US_PER_MS};
    struct wire_reading r = {
        .cfg = cfg,
        .client = client,
        .after_at = now_at,
        .item = true,
        .key_out = key,
        .req = &req,
        .fault = fault,
    };

    if (wire_read_members(&r, item->text, item->len))
        return ERR_INPUT;
    *ret = req;
    return ERR_NONE;
}
