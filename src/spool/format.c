#include "spool/format.h"

#include "base/crc32c.h"
#include "base/cursor.h"

static void put32(unsigned char *at, uint32_t v) {
    for (int i = 0; i < 4; i++)
        at[i] = (unsigned char)(v >> (8 * i));
}

static void put64(unsigned char *at, uint64_t v) {
    put32(at, (uint32_t)v);
    put32(at + 4, (uint32_t)(v >> 32));
}

static uint32_t get32(const unsigned char *at) {
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static uint64_t get64(const unsigned char *at) { return get32(at) | (uint64_t)get32(at + 4) << 32; }

void segment_header_encode(const struct segment_header *h, unsigned char out[SPOOL_SEGMENT_HEADER]) {
    memset(out, 0, SPOOL_SEGMENT_HEADER);
    put64(out, SPOOL_SEGMENT_MAGIC);
    put32(out + 8, SPOOL_VERSION);
    put32(out + 12, h->slot);
    put64(out + 16, h->size);
    put64(out + 24, h->spool);
    put64(out + 32, h->generation);
    put64(out + 40, h->key);
    put64(out + 48, h->replaced);
    put64(out + 56, (uint64_t)h->written);
    put32(out + 124, crc32c(0, out, 124));
}

bool segment_header_decode(const unsigned char *b, struct segment_header *ret, uint32_t *ret_version) {
    *ret_version = SPOOL_VERSION;
    if (get64(b) != SPOOL_SEGMENT_MAGIC || get32(b + 124) != crc32c(0, b, 124))
        return false;
    *ret_version = get32(b + 8);
    if (*ret_version != SPOOL_VERSION)
        return false;
    *ret = (struct segment_header){
        .slot = get32(b + 12),
        .size = get64(b + 16),
        .spool = get64(b + 24),
        .generation = get64(b + 32),
        .key = get64(b + 40),
        .replaced = get64(b + 48),
        .written = (int64_t)get64(b + 56),
    };
    return true;
}

void record_header_encode(const struct record_header *h, unsigned char out[SPOOL_HEADER]) {
    put64(out, SPOOL_RECORD_MAGIC);
    put64(out + 8, h->generation);
    put64(out + 16, h->key);
    put64(out + 24, h->commit);
    put32(out + 32, h->place);
    put32(out + 36, h->start);
    put32(out + 40, h->head);
    put32(out + 44, h->body);
    put32(out + 48, (uint32_t)h->type | (uint32_t)h->flags << 8);
    put32(out + 52, h->head_crc);
    put32(out + 56, h->body_crc);
    put32(out + 60, crc32c(0, out, 60));
}

bool record_header_decode(const unsigned char *b, struct record_header *ret) {
    if (get64(b) != SPOOL_RECORD_MAGIC || get32(b + 60) != crc32c(0, b, 60))
        return false;
    *ret = (struct record_header){
        .generation = get64(b + 8),
        .key = get64(b + 16),
        .commit = get64(b + 24),
        .place = get32(b + 32),
        .start = get32(b + 36),
        .head = get32(b + 40),
        .body = get32(b + 44),
        .type = b[48],
        .flags = b[49],
        .head_crc = get32(b + 52),
        .body_crc = get32(b + 56),
    };
    return true;
}

void part_encode(struct buf *b, uint64_t stream, uint32_t number) {
    buf_u64(b, stream);
    buf_u32(b, number);
    buf_u32(b, 0);
}

void outcome_encode(struct buf *b, const struct outcome_record *r) {
    struct str reply = str_head(r->outcome.reply, SPOOL_REPLY_MAX);
    buf_u64(b, r->message);
    buf_u32(b, r->recipient);
    buf_u32(b, r->outcome.attempts);
    buf_u64(b, (uint64_t)r->outcome.time);
    buf_u64(b, (uint64_t)r->outcome.due);
    buf_add(b, r->outcome.source.bytes, 16);
    buf_u8(b, (uint8_t)r->outcome.fate);
    buf_u8(b, 0);
    buf_u16(b, (uint16_t)reply.len);
    buf_str(b, reply);
}

bool outcome_decode(struct str head, struct outcome_record *ret) {
    struct cursor c = cursor_of(head);
    struct outcome_record r = {0};
    r.message = cursor_u64(&c);
    r.recipient = cursor_u32(&c);
    r.outcome.attempts = cursor_u32(&c);
    r.outcome.time = (int64_t)cursor_u64(&c);
    r.outcome.due = (int64_t)cursor_u64(&c);
    struct str source = cursor_bytes(&c, 16);
    r.outcome.fate = cursor_u8(&c);
    cursor_u8(&c);
    r.outcome.reply = cursor_bytes(&c, cursor_u16(&c));
    if (!cursor_ok(&c) || r.outcome.fate < SPOOL_DELIVERED || r.outcome.fate > SPOOL_LET_GO)
        return false;
    memcpy(r.outcome.source.bytes, source.at, 16);
    *ret = r;
    return true;
}

void state_encode(struct buf *b, const struct segment_state *states, uint32_t count) {
    buf_u32(b, count);
    buf_u32(b, 0);
    for (uint32_t i = 0; i < count; i++) {
        buf_u64(b, states[i].generation);
        buf_u64(b, states[i].key);
        buf_u64(b, states[i].commit);
        buf_u32(b, states[i].slot);
        buf_u32(b, states[i].end);
        buf_u32(b, states[i].flags);
        buf_u32(b, 0);
    }
}

int64_t state_count(struct str head) {
    if (head.len < STATE_HEAD)
        return -1;
    uint32_t count = get32((const unsigned char *)head.at);
    return (head.len - STATE_HEAD) / STATE_ENTRY >= count ? (int64_t)count : -1;
}

struct segment_state state_at(struct str head, uint32_t number) {
    const unsigned char *b = (const unsigned char *)head.at + STATE_HEAD + (size_t)STATE_ENTRY * number;
    return (struct segment_state){
        .generation = get64(b),
        .key = get64(b + 8),
        .commit = get64(b + 16),
        .slot = get32(b + 24),
        .end = get32(b + 28),
        .flags = get32(b + 32),
    };
}

void message_set_part(unsigned char *head, uint32_t number, const struct part *p) {
    unsigned char *at = head + MESSAGE_PRELUDE + (size_t)MESSAGE_PART * number;
    put64(at, p->generation);
    put32(at + 8, p->place);
    put32(at + 12, p->length);
    put32(at + 16, p->crc);
    put32(at + 20, 0);
}

bool message_prelude_decode(struct str head, struct message_prelude *ret) {
    if (head.len < MESSAGE_PRELUDE)
        return false;
    const unsigned char *b = (const unsigned char *)head.at;
    *ret = (struct message_prelude){
        .number = get64(b),
        .body_size = get64(b + 8),
        .arrival = (int64_t)get64(b + 16),
        .recipients = get32(b + 24),
        .parts = get32(b + 28),
    };
    /* A recipient takes at least a tag and a length. */
    return ret->number == 0 && ret->recipients > 0 && ret->recipients <= head.len / 6 &&
           ret->parts <= (head.len - MESSAGE_PRELUDE) / MESSAGE_PART;
}

bool message_part_decode(struct str head, uint32_t number, struct part *ret) {
    struct message_prelude prelude;
    if (!message_prelude_decode(head, &prelude) || number >= prelude.parts)
        return false;
    const unsigned char *b = (const unsigned char *)head.at + MESSAGE_PRELUDE + (size_t)MESSAGE_PART * number;
    *ret = (struct part){
        .generation = get64(b), .place = get32(b + 8), .length = get32(b + 12), .crc = get32(b + 16)};
    return true;
}
