/*
 * Frames are found by their mark, their length and their CRC. After a place
 * that is none the search goes on at the next mark, a bounded number of times:
 * each false one may cost the CRC of a whole payload.
 */
#include "producer/spool_frame.h"

#include "common/buf.h"
#include "common/crc.h"
#include "common/must.h"

#include <endian.h>
#include <string.h>

#define TRIES_MAX 1000
#define FIXED_SIZE 7 /* headers:1 key:2 value:4        */
#define NAME_SIZE 3  /* name:1 value:2, of each header */

static const char file_mark[16] = "FOLENISPOOL1";
static const char frame_mark[4] = {'F', 'S', 'R', '1'};

/* --- numbers --- */

static uint8_t *put16(uint8_t *to, size_t n)
{
    uint16_t le = htole16((uint16_t)n);

    memcpy(to, &le, sizeof(le));
    return to + sizeof(le);
}

static uint8_t *put32(uint8_t *to, size_t n)
{
    uint32_t le = htole32((uint32_t)n);

    memcpy(to, &le, sizeof(le));
    return to + sizeof(le);
}

static uint8_t *put_bytes(uint8_t *to, const void *data, size_t len)
{
    if (len)
        memcpy(to, data, len);
    return to + len;
}

static size_t get16(const uint8_t *from)
{
    uint16_t le;

    memcpy(&le, from, sizeof(le));
    return le16toh(le);
}

static uint32_t get32(const uint8_t *from)
{
    uint32_t le;

    memcpy(&le, from, sizeof(le));
    return le32toh(le);
}

/* --- payloads --- */

size_t spool_payload_size(const struct kafka_record *r)
{
    size_t n = FIXED_SIZE + r->key_len + r->value_len;

    for (size_t i = 0; i < r->headers_n; i++)
        n += NAME_SIZE + strlen(r->headers[i].name) + r->headers[i].len;
    return n;
}

void spool_encode(const struct kafka_record *r, uint8_t *out)
{
    must(r->headers_n <= KAFKA_HEADERS_MAX && r->key_len <= UINT16_MAX);
    must(spool_payload_size(r) <= SPOOL_PAYLOAD_MAX);
    *out++ = (uint8_t)r->headers_n;
    out = put16(out, r->key_len);
    out = put32(out, r->value_len);
    out = put_bytes(out, r->key, r->key_len);
    for (size_t i = 0; i < r->headers_n; i++) {
        const struct kafka_header *h = &r->headers[i];
        size_t name_len = strlen(h->name);

        must(name_len <= UINT8_MAX && h->len <= UINT16_MAX);
        *out++ = (uint8_t)name_len;
        out = put16(out, h->len);
        out = put_bytes(out, h->name, name_len);
        out = put_bytes(out, h->value, h->len);
    }
    (void)put_bytes(out, r->value, r->value_len);
}

/** Bytes that are taken from the front; `data` NULL once they do not reach. */
struct cut {
    const uint8_t *data;
    size_t len;
};

static const uint8_t *cut_off(struct cut *c, size_t n)
{
    const uint8_t *at = c->data;

    if (!at || c->len < n) {
        c->data = NULL;
        return NULL;
    }
    c->data += n;
    c->len -= n;
    return at;
}

static bool decode_header(struct cut *c, struct spool_record *r, size_t i)
{
    const uint8_t *lengths = cut_off(c, NAME_SIZE);
    const uint8_t *name = lengths ? cut_off(c, lengths[0]) : NULL;
    const uint8_t *value = name ? cut_off(c, get16(lengths + 1)) : NULL;

    if (!value || memchr(name, '\0', lengths[0]))
        return false;
    memcpy(r->names[i], name, lengths[0]);
    r->names[i][lengths[0]] = '\0';
    r->headers[i] = (struct kafka_header){
        .name = r->names[i], .value = value, .len = get16(lengths + 1)};
    return true;
}

bool spool_decode(const uint8_t *payload, size_t len, struct spool_record *ret)
{
    struct cut c = {payload, len};
    const uint8_t *fixed = cut_off(&c, FIXED_SIZE);
    struct kafka_record *r = &ret->record;

    if (!fixed || fixed[0] > KAFKA_HEADERS_MAX)
        return false;
    *r = (struct kafka_record){
        .key_len = get16(fixed + 1),
        .value_len = get32(fixed + 3),
        .headers = ret->headers,
        .headers_n = fixed[0],
    };
    r->key = cut_off(&c, r->key_len);
    for (size_t i = 0; r->key && i < r->headers_n; i++)
        if (!decode_header(&c, ret, i))
            return false;
    r->value = cut_off(&c, r->value_len);
    return r->value && c.len == 0;
}

/* --- files --- */

void spool_add_head(struct buf *out, uint64_t salt)
{
    buf_add(out, file_mark, sizeof(file_mark));
    buf_add(out, &salt, sizeof(salt));
}

bool spool_read_head(const uint8_t *data, size_t len, uint64_t *ret_salt)
{
    if (len < SPOOL_HEAD_SIZE || memcmp(data, file_mark, sizeof(file_mark)))
        return false;
    memcpy(ret_salt, data + sizeof(file_mark), sizeof(*ret_salt));
    return true;
}

static uint32_t frame_crc(uint64_t salt, const uint8_t length[4],
                          const uint8_t *payload, size_t len)
{
    uint32_t crc = crc32c(0, &salt, sizeof(salt));

    return crc32c(crc32c(crc, length, 4), payload, len);
}

void spool_add_frame(struct buf *out, uint64_t salt, const uint8_t *payload,
                     size_t len)
{
    uint8_t head[SPOOL_FRAME_SIZE];

    memcpy(head, frame_mark, sizeof(frame_mark));
    put32(head + 4, len);
    put32(head + 8, frame_crc(salt, head + 4, payload, len));
    buf_add(out, head, sizeof(head));
    buf_add(out, payload, len);
}

void spool_walk_init(struct spool_walk *w, const uint8_t *data, size_t len,
                     uint64_t salt)
{
    *w = (struct spool_walk){.data = data, .len = len, .salt = salt};
    w->at = MIN((size_t)SPOOL_HEAD_SIZE, len);
}

/* Whether a whole frame begins where the reader is. */
static bool frame_here(const struct spool_walk *w, size_t *ret_len)
{
    const uint8_t *p = w->data + w->at;
    size_t left = w->len - w->at, len;

    if (left < SPOOL_FRAME_SIZE || memcmp(p, frame_mark, sizeof(frame_mark)))
        return false;
    len = get32(p + 4);
    if (len > SPOOL_PAYLOAD_MAX || len > left - SPOOL_FRAME_SIZE)
        return false;
    *ret_len = len;
    return get32(p + 8) == frame_crc(w->salt, p + 4, p + SPOOL_FRAME_SIZE, len);
}

/* To the next mark behind this place, or to the end. */
static void skip(struct spool_walk *w)
{
    const uint8_t *from = w->data + w->at + 1;
    size_t left = w->len - w->at - 1;
    const uint8_t *mark = NULL;

    if (++w->tries <= TRIES_MAX)
        mark = memmem(from, left, frame_mark, sizeof(frame_mark));
    w->skipped += mark ? (size_t)(mark - from) + 1 : left + 1;
    w->at = mark ? (size_t)(mark - w->data) : w->len;
}

bool spool_walk_next(struct spool_walk *w, const uint8_t **ret, size_t *ret_len)
{
    while (w->at < w->len) {
        size_t len;

        if (!frame_here(w, &len)) {
            skip(w);
            continue;
        }
        *ret = w->data + w->at + SPOOL_FRAME_SIZE;
        *ret_len = len;
        w->at += SPOOL_FRAME_SIZE + len;
        return true;
    }
    return false;
}
