#include "base/buf.h"

#include <stdio.h>
#include <stdlib.h>

void buf_free(struct buf *b) {
    free(b->at);
    *b = (struct buf){0};
}

void buf_reserve(struct buf *b, size_t more) {
    if (b->cap - b->len >= more)
        return;
    size_t cap = b->cap ? b->cap * 2 : 256;
    if (cap < b->len + more)
        cap = b->len + more;
    b->at = xrealloc(b->at, cap);
    b->cap = cap;
}

void buf_add(struct buf *b, const void *bytes, size_t len) {
    if (!len)
        return;
    buf_reserve(b, len);
    memcpy(b->at + b->len, bytes, len);
    b->len += len;
}

void buf_str(struct buf *b, struct str s) { buf_add(b, s.at, s.len); }

void buf_char(struct buf *b, char c) {
    if (b->len == b->cap)
        buf_reserve(b, 1);
    b->at[b->len++] = c;
}

void buf_printf(struct buf *b, const char *format, ...) {
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    buf_reserve(b, 128);
    int n = vsnprintf(b->at + b->len, b->cap - b->len, format, args);
    if (n > 0 && (size_t)n >= b->cap - b->len) {
        buf_reserve(b, (size_t)n + 1);
        vsnprintf(b->at + b->len, b->cap - b->len, format, again);
    }
    if (n > 0)
        b->len += (size_t)n;
    va_end(again);
    va_end(args);
}

static void add_le(struct buf *b, uint64_t value, size_t bytes) {
    for (size_t i = 0; i < bytes; i++)
        buf_char(b, (char)(value >> (8 * i)));
}

void buf_u8(struct buf *b, uint8_t v) { add_le(b, v, 1); }
void buf_u16(struct buf *b, uint16_t v) { add_le(b, v, 2); }
void buf_u32(struct buf *b, uint32_t v) { add_le(b, v, 4); }
void buf_u64(struct buf *b, uint64_t v) { add_le(b, v, 8); }

void buf_consume(struct buf *b, size_t len) {
    if (len >= b->len) {
        b->len = 0;
        return;
    }
    memmove(b->at, b->at + len, b->len - len);
    b->len -= len;
}

const char *buf_c(struct buf *b) {
    buf_reserve(b, 1);
    b->at[b->len] = 0;
    return b->at;
}
