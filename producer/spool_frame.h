/*
 * The bytes of a spool file. Pure: no I/O, so that every way in which a file
 * can be torn is tried in a unit test. Numbers are little-endian.
 *
 *   file     "FOLENISPOOL1" and four zero bytes, salt:8, then frames
 *   frame    "FSR1" length:4 crc:4 payload
 *   payload  headers:1 key:2 value:4 (lengths and number), the key, then per
 *            header name:1 value:2 and both texts, then the value
 *
 * The CRC-32C covers salt, length and payload. The salt is random and the
 * file's own: nobody who writes bodies can write bytes that count as a frame.
 */
#ifndef FOLENI_PRODUCER_SPOOL_FRAME_H
#define FOLENI_PRODUCER_SPOOL_FRAME_H

#include "common/kafka.h"

#include <stdbool.h>
#include <stdint.h>

struct buf;

#define SPOOL_HEAD_SIZE 24
#define SPOOL_FRAME_SIZE 12             /* of a frame without its payload   */
#define SPOOL_PAYLOAD_MAX (2 * 1048576) /* http.body_bytes_max, and the rest */

/** How many bytes spool_encode() writes for @p r. */
size_t spool_payload_size(const struct kafka_record *r);

/** Writes key, headers and value of @p r to @p out, spool_payload_size() bytes;
 *  topic and what only a read record has are left out. */
void spool_encode(const struct kafka_record *r, uint8_t *out);

/** A record read back; everything points into the payload. */
struct spool_record {
    struct kafka_record record; /* its headers are those below; no topic */
    struct kafka_header headers[KAFKA_HEADERS_MAX];
    char names[KAFKA_HEADERS_MAX][256];
};

/** @return false when the payload is none. */
bool spool_decode(const uint8_t *payload, size_t len, struct spool_record *ret);

void spool_add_head(struct buf *out, uint64_t salt);

/** @return false when @p data does not begin with a head. */
bool spool_read_head(const uint8_t *data, size_t len, uint64_t *ret_salt);

void spool_add_frame(struct buf *out, uint64_t salt, const uint8_t *payload,
                     size_t len);

/** Where a reader is in the bytes of a file. */
struct spool_walk {
    const uint8_t *data;
    size_t len, at;
    uint64_t salt;
    size_t skipped; /* bytes so far that were no frame    */
    int tries;      /* false beginnings of frames, bounded */
};

/** Starts behind the head. */
void spool_walk_init(struct spool_walk *w, const uint8_t *data, size_t len,
                     uint64_t salt);

/**
 * The next whole frame's payload. Bytes that are no frame are skipped: what
 * stands behind a rotten place was answered 200 too.
 */
bool spool_walk_next(struct spool_walk *w, const uint8_t **ret,
                     size_t *ret_len);

#endif
