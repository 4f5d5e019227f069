#include "base/crc32c.h"

#include <string.h>

/* Table for one byte at a time; the reflected polynomial is 0x82f63b78. Built by the compiler. */
#define T1(c) ((c)&1 ? ((c) >> 1) ^ 0x82f63b78u : (c) >> 1)
static uint32_t step(uint32_t c) {
    for (int k = 0; k < 8; k++)
        c = T1(c);
    return c;
}

static uint32_t portable(uint32_t crc, const unsigned char *p, size_t len) {
    while (len--)
        crc = step((crc ^ *p++) & 0xff) ^ (crc >> 8);
    return crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t by_instruction(uint32_t crc, const unsigned char *p,
                                                                 size_t len) {
    uint64_t c = crc;
    for (; len >= 8; p += 8, len -= 8) {
        uint64_t word;
        memcpy(&word, p, 8);
        c = __builtin_ia32_crc32di(c, word);
    }
    uint32_t c32 = (uint32_t)c;
    for (; len; p++, len--)
        c32 = __builtin_ia32_crc32qi(c32, *p);
    return c32;
}
#endif

uint32_t crc32c(uint32_t crc, const void *bytes, size_t len) {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("sse4.2"))
        return ~by_instruction(~crc, bytes, len);
#endif
    return ~portable(~crc, bytes, len);
}
