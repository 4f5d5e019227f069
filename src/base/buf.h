/* buf.h - bytes that grow: for building text and records.
 *
 * Zero-initialise to start. The owner frees it with buf_free, or lets
 * `struct buf b __attribute__((cleanup(buf_free))) = {0}` do so.
 * Not NUL-terminated; buf_c adds one past the end.
 */
#pragma once
#include "base/str.h"

struct buf {
    char *at;
    size_t len, cap;
};

void buf_free(struct buf *);
void buf_reserve(struct buf *, size_t more);
void buf_add(struct buf *, const void *bytes, size_t len);
void buf_str(struct buf *, struct str s);
void buf_char(struct buf *, char c);
void buf_printf(struct buf *, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Little-endian integers, as the spool writes them. */
void buf_u8(struct buf *, uint8_t);
void buf_u16(struct buf *, uint16_t);
void buf_u32(struct buf *, uint32_t);
void buf_u64(struct buf *, uint64_t);
/* Removes the first `len` bytes. */
void buf_consume(struct buf *, size_t len);
/* A C string of the content; valid until the next change. */
const char *buf_c(struct buf *);
static inline struct str buf_view(const struct buf *b) { return (struct str){b->at, b->len}; }
static inline void buf_clear(struct buf *b) { b->len = 0; }
