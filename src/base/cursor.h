/* cursor.h - reading packed bytes: read, read, read, check once.
 *
 * After the first read past the end, or cursor_fail, every read gives zero or
 * an empty view, and cursor_ok says false.
 */
#pragma once
#include "base/str.h"

struct cursor {
    const char *at;
    size_t left;
    bool failed;
};

static inline struct cursor cursor_of(struct str s) { return (struct cursor){s.at, s.len, false}; }
static inline bool cursor_ok(const struct cursor *c) { return !c->failed; }
static inline void cursor_fail(struct cursor *c) { c->failed = true, c->left = 0; }

/* The next `len` bytes, or the empty view. */
struct str cursor_bytes(struct cursor *, size_t len);
/* Little-endian (spool). */
uint8_t cursor_u8(struct cursor *);
uint16_t cursor_u16(struct cursor *);
uint32_t cursor_u32(struct cursor *);
uint64_t cursor_u64(struct cursor *);
/* Big-endian (DNS, PROXY). */
uint16_t cursor_be16(struct cursor *);
uint32_t cursor_be32(struct cursor *);
