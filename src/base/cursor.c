#include "base/cursor.h"

struct str cursor_bytes(struct cursor *c, size_t len) {
    if (c->failed || len > c->left) {
        cursor_fail(c);
        return STR_NULL;
    }
    struct str s = {c->at, len};
    c->at += len;
    c->left -= len;
    return s;
}

static uint64_t number(struct cursor *c, size_t bytes, bool big) {
    struct str s = cursor_bytes(c, bytes);
    uint64_t v = 0;
    for (size_t i = 0; i < s.len; i++)
        v |= (uint64_t)(unsigned char)s.at[i] << (8 * (big ? s.len - 1 - i : i));
    return v;
}

uint8_t cursor_u8(struct cursor *c) { return (uint8_t)number(c, 1, false); }
uint16_t cursor_u16(struct cursor *c) { return (uint16_t)number(c, 2, false); }
uint32_t cursor_u32(struct cursor *c) { return (uint32_t)number(c, 4, false); }
uint64_t cursor_u64(struct cursor *c) { return number(c, 8, false); }
uint16_t cursor_be16(struct cursor *c) { return (uint16_t)number(c, 2, true); }
uint32_t cursor_be32(struct cursor *c) { return (uint32_t)number(c, 4, true); }
