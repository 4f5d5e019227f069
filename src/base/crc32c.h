/* crc32c.h - CRC-32C (Castagnoli, RFC 3720 appendix B.4), with the processor's instruction where it has one.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

/* Continues from `crc` (0 to start): crc32c(crc32c(0, a), b) is that of a followed by b. */
uint32_t crc32c(uint32_t crc, const void *bytes, size_t len);
