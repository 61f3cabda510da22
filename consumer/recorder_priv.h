/*
 * Between the files of the recorder: what a file looks like. The header is its
 * first page; what makes a slot count is written last.
 */
#ifndef FOLENI_CONSUMER_RECORDER_PRIV_H
#define FOLENI_CONSUMER_RECORDER_PRIV_H

#include "consumer/recorder.h"

#include <stdatomic.h>

#define MAGIC "FOLENIREC1"
#define BOOT_SIZE 40
#define SLOTS_MAX 65536

/* The file's first 4096 bytes. */
struct head {
    char magic[16];
    char boot[BOOT_SIZE];
    uint64_t slots;
};

struct slot {
    _Atomic uint32_t begun; /* 0 = nothing stands here      */
    _Atomic uint32_t answered;
    int32_t attempt;
    uint8_t payment[16];
    char verdict[24];
    char checkout_id[CHECKOUT_ID_MAX + 1];
    char merchant_id[CHECKOUT_ID_MAX + 1];
    char code[RESULT_CODE_MAX + 1];
    int32_t partition;
    int64_t offset;
    uint8_t topic;
    char pad[23];
};

_Static_assert(sizeof(struct slot) == 256, "a slot is 256 bytes");
#define HEAD_SIZE 4096

/** Of this boot, zeros to its end (it is compared whole); all zeros when nobody
 *  can tell. */
void recorder_boot_id(char out[BOOT_SIZE]);

#endif
