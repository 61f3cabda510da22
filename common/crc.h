/*
 * CRC-32C (Castagnoli): finds torn and rotten bytes in our own files. It keeps
 * nobody from forging: that is what MACs are for (sign.h).
 */
#ifndef FOLENI_COMMON_CRC_H
#define FOLENI_COMMON_CRC_H

#include <stddef.h>
#include <stdint.h>

/** The CRC of @p len bytes that follow those with the CRC @p crc (0 = none). */
uint32_t crc32c(uint32_t crc, const void *data, size_t len);

#endif
