/*
 * A status event read without parsing JSON: every event is our own encoder's,
 * so that its members stand where wire_write_event() puts them, `data` last.
 * What the reader must know besides stands in the record's headers. Anything
 * that does not look like it is refused, not guessed.
 */
#include "common/wire.h"

#include "common/sign.h"
#include "common/wire_priv.h"

#include <limits.h>
#include <string.h>

#define HEAD "{\"specversion\":\"1.0\",\"id\":\""
#define DATA ",\"data\":{"
#define HEAD_MAX 400 /* bytes before `data`; about 250 are used */
#define NUMBER_SIZE 12

static enum err_code bad(struct err *err, const char *what)
{
    return err_set(err, ERR_INPUT, "cannot read status event: %s", what);
}

/* The document within the value, or NULL. */
static const char *find_document(const struct kafka_record *record,
                                 const char *id, size_t *ret_len)
{
    const char *value = record->value;
    size_t n = record->value_len, head = sizeof(HEAD) - 1;
    const char *at;

    if (!value || n < head + UUID_TEXT_SIZE || value[n - 1] != '}' ||
        memcmp(value, HEAD, head) != 0 ||
        memcmp(value + head, id, UUID_TEXT_SIZE - 1) != 0 ||
        value[head + UUID_TEXT_SIZE - 1] != ':')
        return NULL;
    at = memmem(value, MIN(n, (size_t)HEAD_MAX), DATA, sizeof(DATA) - 1);
    if (!at)
        return NULL;
    at += sizeof(DATA) - 2; /* on the document's bracket */
    *ret_len = n - (size_t)(at - value) - 1;
    return *ret_len >= 2 && at[*ret_len - 1] == '}' ? at : NULL;
}

static bool read_headers(const struct kafka_record *record,
                         struct event_summary *e)
{
    char client[UUID_TEXT_SIZE], version[NUMBER_SIZE], final[2];
    size_t hex_len = 0;
    const char *hex = kafka_header(record, HDR_FINGERPRINT, &hex_len);
    int64_t n;
    struct err err;

    if (!wire_header(record, HDR_CLIENT, client, sizeof(client)) ||
        uuid_parse(client, strlen(client), &e->client, &err) || !hex ||
        !sign_unhex(hex, hex_len, e->fingerprint, sizeof(e->fingerprint)) ||
        !wire_header(record, HDR_VERSION, version, sizeof(version)) ||
        !wire_decimal(version, INT_MAX, &n) ||
        !wire_header(record, HDR_FINAL, final, sizeof(final)) ||
        (strcmp(final, "0") != 0 && strcmp(final, "1") != 0))
        return false;
    e->version = (int)n;
    e->final = *final == '1';
    return true;
}

enum err_code wire_read_event(const struct kafka_record *record,
                              struct event_summary *ret, struct err *err)
{
    struct event_summary e;
    char id[UUID_TEXT_SIZE];

    if (!record->key ||
        uuid_parse(record->key, record->key_len, &e.payment, err))
        return bad(err, "its key is no payment's id");
    if (!read_headers(record, &e))
        return bad(err, "a header is missing or wrong");
    uuid_format(&e.payment, id);
    e.document = find_document(record, id, &e.document_len);
    if (!e.document)
        return bad(err, "its value is not laid out as ours");
    *ret = e;
    return ERR_NONE;
}
