/*
 * What the targets share. A target reads bytes as one of our readers would get
 * them and checks what was made of them: CHECK() that fails is a crash, which
 * libFuzzer keeps.
 */
#ifndef FOLENI_TESTS_FUZZ_FUZZ_H
#define FOLENI_TESTS_FUZZ_FUZZ_H

#include "common/wire.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define CHECK(condition)                                                \
    do {                                                                \
        if (!(condition)) {                                             \
            fprintf(stderr, "%s:%d: property violated: %s\n", __FILE__, \
                    __LINE__, #condition);                              \
            abort();                                                    \
        }                                                               \
    } while (0)

#define FUZZ_NOW_AT INT64_C(1795248000000000) /* 2026-11-21T08:00:00Z */
#define FUZZ_NOW_MS "1795248000000"

/* One client, one shortcode. */
extern struct config fuzz_cfg;
extern struct client fuzz_client;

/** A copy with a zero byte behind it, as readers get it; free() it. */
char *fuzz_text(const uint8_t *data, size_t len);

/** The first line of the input, at most @p size with its end; what follows is
 *  left in @p data and @p len. */
void fuzz_line(const uint8_t **data, size_t *len, char *to, size_t size);

typedef void (*fuzz_fn)(const uint8_t *data, size_t len);

void fuzz_json(const uint8_t *data, size_t len);
void fuzz_body(const uint8_t *data, size_t len);
void fuzz_batch(const uint8_t *data, size_t len);
void fuzz_filters(const uint8_t *data, size_t len);
void fuzz_record(const uint8_t *data, size_t len);
void fuzz_event(const uint8_t *data, size_t len);
void fuzz_callback(const uint8_t *data, size_t len);
void fuzz_address(const uint8_t *data, size_t len);
void fuzz_c2b(const uint8_t *data, size_t len);
void fuzz_pull(const uint8_t *data, size_t len);
void fuzz_answer(const uint8_t *data, size_t len);
void fuzz_token(const uint8_t *data, size_t len);
void fuzz_config(const uint8_t *data, size_t len);
void fuzz_recorder(const uint8_t *data, size_t len);
void fuzz_spool(const uint8_t *data, size_t len);
void fuzz_frame(const uint8_t *data, size_t len);

#endif
