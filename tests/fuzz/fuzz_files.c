/*
 * Our own files, and the little of Kafka's protocol that the relay reads:
 * settings, flight recorder, spool, frames. Files get torn, and a stranger may
 * write any bytes to a socket.
 */
#include "common/buf.h"
#include "common/json.h"
#include "consumer/recorder.h"
#include "producer/spool_frame.h"
#include "tests/fuzz/fuzz.h"
#include "tools/frame.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static char path[64];

/* A file in memory that has these bytes; the path names it. */
static int file_of(const uint8_t *data, size_t len)
{
    int fd = memfd_create("fuzz", MFD_CLOEXEC);

    CHECK(fd >= 0 && write(fd, data, len) == (ssize_t)len);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    return fd;
}

void fuzz_config(const uint8_t *data, size_t len)
{
    int fd = file_of(data, len);
    struct config *cfg = NULL;
    struct json *root = NULL;
    struct buf faults, shown;
    struct err err;

    buf_init(&faults, 1 << 20);
    if (config_load(path, NULL, 0, &cfg, &faults, &err) == ERR_NONE) {
        buf_init(&shown, 1 << 20);
        config_show_json(cfg, &shown);
        CHECK(!shown.failed);
        CHECK(json_parse_strict(shown.data, shown.len, &root, &err) ==
              ERR_NONE);
        json_free(root);
        buf_reset(&shown);
        config_show(cfg, &shown);
        CHECK(!shown.failed);
        buf_done(&shown);
        config_free(cfg);
    } else {
        CHECK(!cfg && faults.len > 0);
    }
    buf_done(&faults);
    close(fd);
}

/* --- the flight recorder --- */

#define HEAD_SIZE 4096
#define SLOT_SIZE 256

/* What the file says of boot and size is right, so that its slots are read. */
static size_t whole_file(const uint8_t *data, size_t len, uint8_t *to)
{
    uint64_t slots = len / SLOT_SIZE + 1;
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);

    memset(to, 0, HEAD_SIZE + slots * SLOT_SIZE);
    memcpy(to, "FOLENIREC1", 11);
    CHECK(fd >= 0 && read(fd, to + 16, 36) == 36);
    close(fd);
    memcpy(to + 56, &slots, sizeof(slots));
    memcpy(to + HEAD_SIZE, data, len);
    return HEAD_SIZE + slots * SLOT_SIZE;
}

static void check_mark(const struct recorder_mark *m)
{
    CHECK(memchr(m->verdict, 0, sizeof(m->verdict)) &&
          memchr(m->checkout_id, 0, sizeof(m->checkout_id)) &&
          memchr(m->merchant_id, 0, sizeof(m->merchant_id)) &&
          memchr(m->code, 0, sizeof(m->code)));
    CHECK(m->begun || !m->answered);
    CHECK(m->answered || (!*m->verdict && !*m->checkout_id && !*m->code));
}

/* First byte: whether the head is made right; then head and slots, or slots. */
void fuzz_recorder(const uint8_t *data, size_t len)
{
    static uint8_t made[HEAD_SIZE + 65 * SLOT_SIZE];
    struct recorder_reading *r = NULL;
    struct uuid id;
    int32_t attempt = 1;
    size_t n;
    int fd;

    if (len < 2 || len > 64 * SLOT_SIZE)
        return;
    if (data[0] & 1) {
        n = whole_file(data + 1, len - 1, made);
    } else {
        n = len - 1;
        memcpy(made, data + 1, n);
    }
    fd = file_of(made, n);
    if (recorder_read(path, &r) == RECORDER_DEAD) {
        CHECK(n >= HEAD_SIZE + SLOT_SIZE);
        memcpy(&attempt, made + HEAD_SIZE + 8, sizeof(attempt));
        memcpy(id.b, made + HEAD_SIZE + 12, sizeof(id.b));
        struct recorder_mark m = recorder_find(r, &id, attempt);
        check_mark(&m);
        m = recorder_find(r, &(struct uuid){{1}}, 77);
        check_mark(&m);
        recorder_reading_free(r);
    }
    close(fd);
}

/* --- the spool --- */

/* Any payload that is read is written again as the same bytes. */
static void check_payload(const uint8_t *data, size_t len)
{
    static struct spool_record r;
    uint8_t *again;

    if (!spool_decode(data, len, &r))
        return;
    CHECK(spool_payload_size(&r.record) == len);
    again = malloc(len ? len : 1);
    CHECK(again);
    spool_encode(&r.record, again);
    CHECK(memcmp(again, data, len) == 0);
    free(again);
}

/* A frame between rot: it is found, unless the rot is a frame itself. (The salt
   of a real file is random; this one libFuzzer comes to know, and forges.) */
static void check_walk(const uint8_t *data, size_t len)
{
    const uint64_t salt = 0x1234567890abcdef;
    size_t half = len / 2, got_len;
    bool found = false, other = false;
    struct spool_walk w;
    const uint8_t *got;
    struct buf file;

    buf_init(&file, 1 << 22);
    spool_add_head(&file, salt);
    buf_add(&file, data, half);
    spool_add_frame(&file, salt, data + half, len - half);
    buf_add(&file, data, half);
    CHECK(!file.failed);
    spool_walk_init(&w, (const uint8_t *)file.data, file.len, salt);
    while (spool_walk_next(&w, &got, &got_len)) {
        CHECK(got >= w.data && got_len <= file.len &&
              got + got_len <= w.data + file.len);
        if (got_len == len - half && memcmp(got, data + half, got_len) == 0)
            found = true;
        else
            other = true;
    }
    CHECK(found || other || w.tries > 0);
    buf_done(&file);
}

void fuzz_spool(const uint8_t *data, size_t len)
{
    struct spool_walk w;
    uint64_t salt;
    const uint8_t *got;
    size_t got_len;

    check_payload(data, len);
    if (len > 1)
        check_walk(data, len);
    if (!spool_read_head(data, len, &salt))
        return;
    spool_walk_init(&w, data, len, salt);
    while (spool_walk_next(&w, &got, &got_len))
        check_payload(got, got_len);
}

/* --- frames of Kafka's protocol --- */

static bool admit(void *arg, const char *topic, size_t topic_len,
                  int32_t partition, size_t bytes)
{
    uint8_t *sum = arg;

    (void)partition, (void)bytes;
    for (size_t i = 0; i < topic_len; i++)
        *sum = (uint8_t)(*sum + topic[i]);
    return *sum & 1;
}

void fuzz_frame(const uint8_t *data, size_t len)
{
    static const struct frame_head asked[] = {
        {FRAME_METADATA, 0, 1},
        {FRAME_METADATA, 2, 1},
        {FRAME_COORDINATOR, 0, 1},
        {FRAME_COORDINATOR, 2, 1},
    };
    uint8_t *frame = malloc(len ? len : 1), sum = 0;
    struct frame_head head;
    int32_t correlation;

    CHECK(frame);
    memcpy(frame, data, len);
    (void)frame_correlation(frame, len, &correlation);
    if (frame_head_read(frame, len, &head))
        (void)frame_admit(frame, len, admit, &sum);
    for (size_t i = 0; i < ARRAY_LEN(asked); i++) {
        memcpy(frame, data, len);
        if (frame_set_port(frame, len, &asked[i], 1234))
            CHECK(len > 4 && memcmp(frame, data, 4) == 0);
    }
    free(frame);
}
