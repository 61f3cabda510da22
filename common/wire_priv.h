/*
 * What the files of the wire room share: the members of a request, read and
 * written, and how a fault is put into words.
 */
#ifndef FOLENI_COMMON_WIRE_PRIV_H
#define FOLENI_COMMON_WIRE_PRIV_H

#include <stdbool.h>

#include "common/json.h"
#include "common/wire.h"

/** The version of request records that we write and read. */
#define REQUEST_VERSION 1

/* Canonical JSON of a request: about 330 bytes at most, and the metadata. */
#define CANONICAL_MAX (512 + METADATA_MAX)

/** Fills @p f and returns ERR_INPUT; @p field "" = about the whole. */
enum err_code wire_fault(struct fault *f, const char *code, const char *field,
                         const char *fmt, ...) PRINTF_LIKE(4, 5);

/** What a reader of a request has in hand. */
struct wire_reading {
    const struct config *cfg;
    const struct client *client;
    int64_t after_at; /* expires_at must lie after it                 */
    bool record;      /* a record: version and idempotency_key are in it */
    bool item;        /* of a batch: idempotency_key is in it         */
    const char *key;  /* the idempotency key; those bring their own   */
    char *key_out;    /* of an item: where it goes                    */
    struct request *req;
    struct fault *fault;
};

/** Reads a request's JSON: every field of r->req but requested_at. */
MUST_CHECK enum err_code wire_read_members(struct wire_reading *r,
                                           const char *text, size_t len);

/** The members of @p req in canonical order, without brackets. */
void wire_put_members(struct json_out *j, const struct request *req);

/** A record's header as terminated text; false = absent or too long. */
bool wire_header(const struct kafka_record *record, const char *name, char *out,
                 size_t size);

/** Reads "123": digits only, at least one, at most @p max. */
bool wire_decimal(const char *text, int64_t max, int64_t *ret);

#endif
