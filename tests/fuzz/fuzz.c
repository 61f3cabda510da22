/*
 * One program, many targets: the environment's FUZZ_TARGET names one. What
 * libFuzzer calls, and what the targets share.
 */
#include "tests/fuzz/fuzz.h"

#include "common/kafka.h"
#include "common/must.h"

#include <string.h>

static const struct {
    const char *name;
    fuzz_fn fn;
} targets[] = {
    {"json", fuzz_json},         {"body", fuzz_body},
    {"batch", fuzz_batch},       {"filters", fuzz_filters},
    {"record", fuzz_record},     {"event", fuzz_event},
    {"callback", fuzz_callback}, {"address", fuzz_address},
    {"c2b", fuzz_c2b},           {"answer", fuzz_answer},
    {"token", fuzz_token},       {"config", fuzz_config},
    {"recorder", fuzz_recorder}, {"spool", fuzz_spool},
    {"frame", fuzz_frame},       {"pull", fuzz_pull},
};

struct client fuzz_client = {
    .id = "5a1f3f0e-6d0b-4a9b-9f6e-0c5a0a7d1e01",
    .name = "shop",
    .signing_secret = "test-signing-secret-of-the-shop",
};
static struct shortcode shortcode = {.shortcode = 174379};
struct config fuzz_cfg = {
    .clients = &fuzz_client,
    .clients_n = 1,
    .shortcodes = &shortcode,
    .shortcodes_n = 1,
    .payments_clock_skew_ms = 30000,
    .callbacks_mac_key = "test-key-of-callbacks-0123456789",
    .callbacks_mac_key_id = 1,
    .callbacks_second_mac_key = "",
    .c2b_secret = "",
    .c2b_second_secret = "",
};

static fuzz_fn target;

char *fuzz_text(const uint8_t *data, size_t len)
{
    char *text = must_alloc(len + 1, 1);

    if (len)
        memcpy(text, data, len);
    text[len] = '\0';
    return text;
}

void fuzz_line(const uint8_t **data, size_t *len, char *to, size_t size)
{
    const uint8_t *end = *len ? memchr(*data, '\n', *len) : NULL;
    size_t n = end ? (size_t)(end - *data) : *len;
    size_t used = n < size ? n : size - 1;

    if (used)
        memcpy(to, *data, used);
    to[used] = '\0';
    n += end != NULL;
    *data += n;
    *len -= n;
}

/* As common/kafka.c's, which would bring the whole client with it. */
const char *kafka_header(const struct kafka_record *r, const char *name,
                         size_t *ret_len)
{
    for (size_t i = 0; i < r->headers_n; i++) {
        if (strcmp(r->headers[i].name, name) != 0)
            continue;
        if (ret_len)
            *ret_len = r->headers[i].len;
        return r->headers[i].value;
    }
    return NULL;
}

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    const char *wanted = getenv("FUZZ_TARGET");
    struct err err;

    (void)argc, (void)argv;
    for (size_t i = 0; wanted && i < ARRAY_LEN(targets); i++)
        if (strcmp(targets[i].name, wanted) == 0)
            target = targets[i].fn;
    if (!target) {
        fprintf(stderr, "fuzz: FUZZ_TARGET is one of");
        for (size_t i = 0; i < ARRAY_LEN(targets); i++)
            fprintf(stderr, " %s", targets[i].name);
        fprintf(stderr, "\n");
        exit(2);
    }
    CHECK(uuid_parse(fuzz_client.id, strlen(fuzz_client.id), &fuzz_client.uuid,
                     &err) == ERR_NONE);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    target(data, len);
    return 0;
}
