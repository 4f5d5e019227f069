/* The journal of limits with any entries in it. The input is a row of entries: type, length (2 bytes), body.
 * Their checksums are made right, so that what is in them gets through; bit 7 of the type spoils one. What
 * was read is asked for, counted on and written again. */
#include "base/crc32c.h"
#include "base/entry.h"
#include "base/error.h"
#include "limits/limit_journal.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static void add_entry(struct buf *b, uint8_t type, const uint8_t *body, uint16_t len) {
    size_t start = entry_begin(b, type & 0x7f);
    buf_add(b, body, len);
    entry_end(b, start);
    b->at[start] = (char)(b->at[start] ^ type >> 7);
}

static struct limit_kept keep_new(void) {
    return (struct limit_kept){limit_table_new(50), limit_tenants_new(), sender_book_new()};
}

static void keep_free(struct limit_kept *k) {
    limit_table_free(k->senders);
    limit_tenants_free(k->tenants);
    sender_book_free(k->book);
}

/* All that is known, as a sweep writes it. */
static void write_all(const struct limit_kept *k, struct buf *b) {
    struct str name;
    const struct limit_total *total;
    const struct sender_state *state;
    for (uint32_t i = 0; i < limit_table_places(k->senders); i++)
        if (limit_table_at(k->senders, i))
            limit_journal_sender_record(b, limit_table_at(k->senders, i));
    for (size_t at = 0; limit_tenants_next(k->tenants, &at, &name, &total);)
        limit_journal_tenant_record(b, name, total);
    for (size_t at = 0; sender_book_next(k->book, &at, &name, &state);)
        limit_journal_restriction(b, name, state);
}

/* The header of a segment, as it is and with a checksum that is right. */
static void read_segment(struct str bytes) {
    struct limit_segment segment;
    struct buf right = {0};
    (void)!limit_segment_decode(bytes, &segment);
    if (bytes.len >= LIMIT_SEGMENT_HEADER) {
        buf_str(&right, str_head(bytes, LIMIT_SEGMENT_HEADER - 4));
        buf_u32(&right, crc32c(0, right.at, right.len));
        if (limit_segment_decode(buf_view(&right), &segment) == SLUICE_ECORRUPT &&
            str_starts(bytes, STR("SLLIMITS")))
            abort();
    }
    buf_free(&right);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len) {
    const int64_t now = INT64_C(1790000000000);
    static const struct limit_bounds bounds = {{500, 1000, 1000, 30}};
    struct buf entries = {0}, again = {0};
    struct limit_kept kept = keep_new(), copy = keep_new();
    struct limit_journal_report report = {0};
    limit_journal_read(str_from(bytes, len), &kept, now, &report);
    read_segment(str_from(bytes, len));
    while (len >= 3) {
        uint16_t size = (uint16_t)(bytes[1] | bytes[2] << 8);
        if (size > len - 3)
            size = (uint16_t)(len - 3);
        add_entry(&entries, bytes[0], bytes + 3, size);
        bytes += 3 + size;
        len -= (size_t)3 + size;
    }
    limit_journal_read(buf_view(&entries), &kept, now, &report);
    for (uint32_t i = 0; i < limit_table_places(kept.senders); i++) {
        const struct limit_record *r = limit_table_at(kept.senders, i);
        struct limit_standing standing;
        int64_t turn;
        if (!r)
            continue;
        limit_table_look(kept.senders, r->key, now, &bounds, &standing);
        if (limit_table_reserve(kept.senders, r->key, now, &bounds, &(struct limit_use){3, 2}, &turn) == 0)
            limit_table_settle(kept.senders, r->key, now, &bounds, &(struct limit_use){3, 2}, true);
    }
    write_all(&kept, &again);
    report = (struct limit_journal_report){0};
    limit_journal_read(buf_view(&again), &copy, now, &report);
    if (report.gaps || report.unusable)
        abort();
    keep_free(&kept);
    keep_free(&copy);
    buf_free(&entries);
    buf_free(&again);
    return 0;
}
