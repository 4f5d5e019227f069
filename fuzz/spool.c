/* Recovery over segments of any content. The input is a row of records: type, flags, length of head (2
 * bytes), of body, then the head. Their headers and checksums are made right, so that what is in them gets
 * through; bit 7 of the flags spoils the header, bit 6 a byte of the body. A record of type 0 starts the
 * second segment. */
#include "base/crc32c.h"
#include "spool/format.h"
#include "spool/simdisk.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

enum { SEGMENT = 64 * 1024, KEY = 77, ID = 9 };

struct segment_bytes {
    unsigned char *at;
    uint64_t generation, end, start, commit;
};

static struct segment_bytes new_segment(uint64_t generation) {
    struct segment_bytes s = {.at = calloc(1, SEGMENT),
                              .generation = generation,
                              .end = SPOOL_DATA,
                              .start = SPOOL_DATA,
                              .commit = generation};
    if (!s.at)
        abort();
    segment_header_encode(
        &(struct segment_header){
            .slot = (uint32_t)generation, .size = SEGMENT, .spool = ID, .generation = generation, .key = KEY},
        s.at);
    return s;
}

static void add_record(struct segment_bytes *s, uint8_t type, uint8_t flags, const uint8_t *head,
                       uint16_t head_len, uint32_t body_len) {
    if (s->end + record_size(head_len, body_len) > SEGMENT)
        return;
    unsigned char *at = s->at + s->end, *body = at + SPOOL_HEADER + spool_align(head_len, 8);
    memcpy(at + SPOOL_HEADER, head, head_len);
    memset(body, 'b', body_len);
    record_header_encode(&(struct record_header){.generation = s->generation,
                                                 .key = KEY,
                                                 .commit = s->commit,
                                                 .place = (uint32_t)(s->end / 8),
                                                 .start = (uint32_t)(s->start / 8),
                                                 .head = head_len,
                                                 .body = body_len,
                                                 .type = type,
                                                 .flags = flags & 3,
                                                 .head_crc = crc32c(0, head, head_len),
                                                 .body_crc = crc32c(0, body, body_len)},
                         at);
    if (flags & 0x80)
        at[30] ^= 1;
    if ((flags & 0x40) && body_len)
        body[body_len / 2] ^= 1;
    s->end += record_size(head_len, body_len);
    if (flags & RECORD_LAST) {
        s->end = spool_align(s->end, SPOOL_BLOCK);
        s->start = s->end;
        s->commit++;
    }
}

static void look(void *arg, const struct spool_recovered *r) {
    size_t *sum = arg;
    *sum += r->domain.len + r->last_reply.len + r->envelope->subject.len;
}

static void decode_alone(const uint8_t *bytes, size_t len) {
    struct arena *arena = arena_new(0);
    struct spool_message m;
    struct outcome_record o;
    struct part p;
    struct str head = str_from(bytes, len);
    if (message_decode(head, arena, &m) && m.groups[0].recipient_count == 0)
        abort();
    outcome_decode(head, &o);
    message_part_decode(head, 1, &p);
    int64_t count = state_count(head);
    for (uint32_t i = 0; i < count; i++)
        state_at(head, i);
    arena_free(arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len) {
    decode_alone(bytes, len);
    struct segment_bytes segments[2] = {new_segment(1), new_segment(2)};
    unsigned now = 0;
    while (len >= 5) {
        uint8_t type = bytes[0];
        uint16_t head = (uint16_t)(bytes[2] | bytes[3] << 8);
        if (type == 0)
            now = 1;
        if (head > len - 5)
            head = (uint16_t)(len - 5);
        add_record(&segments[now], type, bytes[1], bytes + 5, head, bytes[4]);
        bytes += 5 + head;
        len -= (size_t)5 + head;
    }
    struct simdisk *disk = simdisk_new();
    simdisk_put(disk, "/s/00000001.segment", segments[0].at, SEGMENT);
    simdisk_put(disk, "/s/00000002.segment", segments[1].at, SEGMENT);
    struct arena *arena = arena_new(0);
    struct str why;
    struct spool_check_result result;
    size_t sum = 0;
    if (spool_check("/s", simdisk_io(disk), NULL, look, &sum, arena, &why, &result) != 0)
        abort();
    arena_free(arena);
    simdisk_free(disk);
    free(segments[0].at);
    free(segments[1].at);
    return 0;
}
