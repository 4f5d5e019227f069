#include "base/entry.h"

#include "base/crc32c.h"
#include "base/cursor.h"

size_t entry_begin(struct buf *b, uint8_t type) {
    size_t start = b->len;
    buf_u32(b, 0);
    buf_u16(b, 0);
    buf_u8(b, type);
    buf_u8(b, 0);
    return start;
}

void entry_end(struct buf *b, size_t start) {
    size_t body = b->len - start - ENTRY_HEADER;
    if (body > UINT16_MAX) {
        b->len = start;
        return;
    }
    b->at[start + 4] = (char)(body & 0xff);
    b->at[start + 5] = (char)(body >> 8);
    uint32_t crc = crc32c(0, b->at + start + 4, b->len - start - 4);
    for (unsigned i = 0; i < 4; i++)
        b->at[start + i] = (char)(crc >> 8 * i & 0xff);
}

size_t entry_read(struct str bytes, uint8_t *ret_type, struct str *ret_body) {
    struct cursor c = cursor_of(bytes);
    uint32_t crc = cursor_u32(&c);
    uint16_t len = cursor_u16(&c);
    *ret_type = cursor_u8(&c);
    uint8_t zero = cursor_u8(&c);
    *ret_body = cursor_bytes(&c, len);
    if (!cursor_ok(&c) || zero)
        return 0;
    size_t size = (size_t)ENTRY_HEADER + len;
    return crc == crc32c(0, bytes.at + 4, size - 4) ? size : 0;
}
