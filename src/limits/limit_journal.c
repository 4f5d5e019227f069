#include "limits/limit_journal.h"
#include "base/crc32c.h"
#include "base/entry.h"
#include "base/error.h"
#include "limits/limit_pack.h"

enum entry_type { /* stored: never change a number */
                  ENTRY_MESSAGE = 1,
                  ENTRY_TENANT = 2,
                  ENTRY_SENDER_RECORD = 3,
                  ENTRY_TENANT_RECORD = 4,
                  ENTRY_RESTRICTION = 5,
};

static const struct str magic = {"SLLIMITS", 8};

void limit_segment_encode(struct buf *b, const struct limit_segment *s) {
    size_t start = b->len;
    buf_str(b, magic);
    buf_u16(b, LIMIT_JOURNAL_VERSION);
    buf_u16(b, 0);
    buf_u64(b, s->number);
    buf_u64(b, s->seed);
    buf_u32(b, crc32c(0, b->at + start, b->len - start));
}

int limit_segment_decode(struct str bytes, struct limit_segment *ret) {
    struct cursor c = cursor_of(bytes);
    bool known = str_eq(cursor_bytes(&c, magic.len), magic);
    uint16_t version = cursor_u16(&c);
    cursor_u16(&c);
    struct limit_segment s = {.number = cursor_u64(&c), .seed = cursor_u64(&c)};
    uint32_t crc = cursor_u32(&c);
    if (!cursor_ok(&c) || !known || crc != crc32c(0, bytes.at, LIMIT_SEGMENT_HEADER - 4))
        return SLUICE_ECORRUPT;
    if (version != LIMIT_JOURNAL_VERSION)
        return SLUICE_EINVALID;
    *ret = s;
    return 0;
}

/* ---- Writing ---- */

void limit_journal_message(struct buf *b, uint64_t key, int64_t now, int64_t turn,
                           const struct limit_bounds *bounds, const struct limit_use *use) {
    size_t start = entry_begin(b, ENTRY_MESSAGE);
    uint32_t half = limit_half(now), ahead = limit_half(turn) > half ? limit_half(turn) - half : 0;
    buf_u64(b, key);
    buf_u32(b, half);
    buf_u16(b, (uint16_t)(ahead < UINT16_MAX ? ahead : UINT16_MAX));
    buf_u32(b, use->external);
    buf_u32(b, use->internal);
    for (enum limit_counter c = 0; c < LIMIT_COUNTERS; c++)
        buf_u8(b, (uint8_t)limit_unit(bounds->limit[c]));
    entry_end(b, start);
}

void limit_journal_tenant(struct buf *b, struct str tenant, int64_t now, uint32_t limit, uint32_t external) {
    size_t start = entry_begin(b, ENTRY_TENANT);
    buf_u32(b, limit_half(now));
    buf_u32(b, limit_unit(limit));
    buf_u32(b, external);
    buf_str(b, tenant);
    entry_end(b, start);
}

void limit_journal_sender_record(struct buf *b, const struct limit_record *r) {
    size_t start = entry_begin(b, ENTRY_SENDER_RECORD);
    buf_u64(b, r->key);
    buf_u32(b, r->last);
    buf_add(b, r->packed, LIMIT_PACKED);
    entry_end(b, start);
}

void limit_journal_tenant_record(struct buf *b, struct str tenant, const struct limit_total *t) {
    size_t start = entry_begin(b, ENTRY_TENANT_RECORD);
    buf_u32(b, t->last);
    buf_u32(b, t->window.unit);
    buf_u32(b, t->window.fill);
    buf_u8(b, t->window.marks);
    buf_u8(b, t->window.cut);
    for (unsigned i = 0; i < t->window.marks; i++)
        buf_u32(b, t->window.at[i]);
    buf_str(b, tenant);
    entry_end(b, start);
}

void limit_journal_restriction(struct buf *b, struct str name, const struct sender_state *s) {
    size_t start = entry_begin(b, ENTRY_RESTRICTION);
    sender_encode(b, name, s);
    entry_end(b, start);
}

/* ---- Reading ---- */

/* The largest limit that has a unit. */
enum { LARGEST_UNIT = UINT32_MAX / 64 };

static bool read_message(struct cursor *c, const struct limit_kept *kept) {
    struct limit_bounds bounds;
    uint64_t key = cursor_u64(c);
    int64_t now = limit_half_ms(cursor_u32(c));
    int64_t turn = now + (int64_t)cursor_u16(c) * 500;
    struct limit_use use;
    use.external = cursor_u32(c);
    use.internal = cursor_u32(c);
    for (enum limit_counter n = 0; n < LIMIT_COUNTERS; n++) {
        uint8_t unit = cursor_u8(c);
        if (unit == 0 || unit > limit_unit(LIMIT_LARGEST))
            cursor_fail(c);
        bounds.limit[n] = (unit - 1u) * 50;
    }
    if (!cursor_ok(c) || c->left || !key || use.external > UINT32_MAX / 2 || use.internal > UINT32_MAX / 2)
        return false;
    return limit_table_replay(kept->senders, key, now, turn, &bounds, &use) == 0;
}

static bool read_tenant(struct cursor *c, const struct limit_kept *kept) {
    int64_t now = limit_half_ms(cursor_u32(c));
    uint32_t unit = cursor_u32(c), external = cursor_u32(c);
    struct str name = cursor_bytes(c, c->left);
    if (!cursor_ok(c) || !name.len || !unit || unit > LARGEST_UNIT)
        return false;
    limit_tenants_settle(kept->tenants, name, now, (unit - 1) * 50, external, true);
    return true;
}

static bool read_sender_record(struct cursor *c, const struct limit_kept *kept) {
    struct limit_record r = {.key = cursor_u64(c)};
    r.last = cursor_u32(c);
    struct str packed = cursor_bytes(c, LIMIT_PACKED);
    if (!cursor_ok(c) || c->left)
        return false;
    memcpy(r.packed, packed.at, LIMIT_PACKED);
    return limit_table_put(kept->senders, &r) == 0;
}

static bool read_tenant_record(struct cursor *c, const struct limit_kept *kept) {
    struct limit_total t = {.last = cursor_u32(c)};
    t.window.unit = cursor_u32(c);
    t.window.fill = cursor_u32(c);
    t.window.marks = cursor_u8(c);
    t.window.cut = cursor_u8(c) != 0;
    if (t.window.marks > LIMIT_MARKS || t.window.unit > LARGEST_UNIT)
        return false;
    for (unsigned i = 0; i < t.window.marks; i++)
        t.window.at[i] = cursor_u32(c);
    struct str name = cursor_bytes(c, c->left);
    return cursor_ok(c) && name.len && limit_tenants_put(kept->tenants, name, &t) == 0;
}

static bool read_restriction(struct cursor *c, const struct limit_kept *kept, int64_t now) {
    struct sender_state s;
    struct str name;
    if (!sender_decode(c, &name, &s) || c->left)
        return false;
    sender_book_put(kept->book, name, &s, now);
    return true;
}

static bool read_entry(uint8_t type, struct str body, const struct limit_kept *kept, int64_t now) {
    struct cursor c = cursor_of(body);
    switch (type) {
    case ENTRY_MESSAGE:
        return read_message(&c, kept);
    case ENTRY_TENANT:
        return read_tenant(&c, kept);
    case ENTRY_SENDER_RECORD:
        return read_sender_record(&c, kept);
    case ENTRY_TENANT_RECORD:
        return read_tenant_record(&c, kept);
    case ENTRY_RESTRICTION:
        return read_restriction(&c, kept, now);
    default:
        return false;
    }
}

/* The size of the whole entry that starts here, or 0. */
static size_t entry_at(struct str bytes, uint8_t *ret_type, struct str *ret_body) {
    size_t size = entry_read(bytes, ret_type, ret_body);
    return ret_body->len && *ret_type && *ret_type <= ENTRY_RESTRICTION ? size : 0;
}

void limit_journal_read(struct str rest, const struct limit_kept *kept, int64_t now,
                        struct limit_journal_report *report) {
    bool lost = false;
    while (rest.len) {
        uint8_t type;
        struct str body;
        size_t size = entry_at(rest, &type, &body);
        if (!size) {
            lost = true;
            rest = str_from_index(rest, 1);
            continue;
        }
        report->gaps += lost;
        lost = false;
        if (read_entry(type, body, kept, now))
            report->entries++;
        else
            report->unusable++;
        rest = str_from_index(rest, size);
    }
}
