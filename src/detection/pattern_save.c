/* The snapshot: what is known of each subject, so that a restart neither resets a threshold nor makes
 * everybody new. All integers little-endian.
 *   header:  "SLPATTRN", u16 version (3), u16 0, u64 seed of the keys, u32 second since 2020 when history
 *            began, u32 second of the snapshot, u32 CRC32C of these 28
 *   entries (base/entry.h), by type:
 *     1 subject (record_encode)
 *     2 suspect: u8 kind, u8 sign, u64 since, u64 until, u16 length and name, u16 length and reason
 *     3 the end: u64 number of subjects
 * What follows damage is left out. Behind it stand the surges (surge_save.c), in version 1 without their
 * windows. Before version 3 the keys were of another hash: those subjects can't be found any more, and who
 * was among them would look like an account that never sent. They are left out, and history begins anew. */
#include "base/crc32c.h"
#include "base/entry.h"
#include "base/error.h"
#include "detection/pattern_inside.h"

#include <stdlib.h>

enum { HEADER = 32, VERSION = 3, KEYS_SINCE = 3 };
enum entry_type { ENTRY_SUBJECT = 1, ENTRY_SUSPECT = 2, ENTRY_END = 3 };
static const char magic[8] = {'S', 'L', 'P', 'A', 'T', 'T', 'R', 'N'};

/* ---- One subject ---- */

static uint32_t cell_of(const struct pattern_record *r, unsigned i) {
    return r->wide ? r->wide[i] : r->cell[i];
}

static void encode_cells(struct buf *b, const struct pattern_record *r) {
    unsigned count = 0;
    for (unsigned i = 0; i < PATTERN_CELLS; i++)
        count += cell_of(r, i) != 0;
    buf_u8(b, (uint8_t)count);
    for (unsigned i = 0; i < PATTERN_CELLS; i++)
        if (cell_of(r, i)) {
            buf_u8(b, (uint8_t)i);
            buf_u32(b, cell_of(r, i));
        }
}

void record_encode(struct buf *b, const struct pattern_record *r) {
    unsigned networks = 0;
    while (networks < PATTERN_NETWORKS && r->networks[networks].hash)
        networks++;
    buf_u64(b, r->key);
    const uint32_t numbers[] = {r->first, r->last, r->day, r->exempt_until, r->voted, r->votes};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        buf_u32(b, numbers[i]);
    for (unsigned i = 0; i < USUALS; i++) {
        buf_u32(b, r->usual[i]);
        buf_u32(b, r->most[i]);
    }
    buf_u8(b, r->wide != NULL);
    buf_u8(b, r->exempt);
    buf_u8(b, r->told);
    buf_u8(b, r->told_restrict);
    buf_add(b, r->actions.of, sizeof r->actions.of);
    buf_u8(b, (uint8_t)networks);
    for (unsigned i = 0; i < networks; i++) {
        buf_u32(b, r->networks[i].hash);
        buf_u32(b, r->networks[i].since);
    }
    buf_add(b, r->sketch, sizeof r->sketch);
    encode_cells(b, r);
}

static void decode_cells(struct cursor *c, struct pattern_record *r) {
    unsigned count = cursor_u8(c);
    for (unsigned i = 0; i < count && cursor_ok(c); i++) {
        uint8_t at = cursor_u8(c);
        uint32_t value = cursor_u32(c), most = r->wide ? UINT32_MAX / DAY_STEPS : UINT16_MAX;
        if (at >= PATTERN_CELLS || value > most)
            cursor_fail(c);
        else if (r->wide)
            r->wide[at] = value;
        else
            r->cell[at] = (uint16_t)value;
    }
}

/* A part that is more than its whole would be a share of over 100 %. */
static void check_parts(struct cursor *c, const struct pattern_record *r) {
    for (unsigned row = 0; row < PATTERN_CELLS; row += PATTERN_COUNTS)
        if (cell_of(r, row + COUNT_BAD) > cell_of(r, row + COUNT_MAIL) ||
            cell_of(r, row + COUNT_UNKNOWN) > cell_of(r, row + COUNT_ANSWERED) ||
            cell_of(r, row + COUNT_REFUSED) > cell_of(r, row + COUNT_ANSWERED))
            cursor_fail(c);
}

static void decode_networks(struct cursor *c, struct pattern_record *r) {
    unsigned count = cursor_u8(c);
    if (count > PATTERN_NETWORKS)
        cursor_fail(c);
    for (unsigned i = 0; i < count && cursor_ok(c); i++) {
        r->networks[i] = (struct pattern_network){cursor_u32(c), cursor_u32(c)};
        if (!r->networks[i].hash || r->networks[i].since > r->last)
            cursor_fail(c);
    }
}

static void decode_sketch(struct cursor *c, struct pattern_record *r) {
    struct str sketch = cursor_bytes(c, sizeof r->sketch);
    if (!cursor_ok(c))
        return;
    memcpy(r->sketch, sketch.at, sketch.len);
    unsigned bits = 0;
    for (unsigned i = 0; i < SKETCH_BYTES; i++)
        bits += (unsigned)__builtin_popcount(r->sketch[0][i]);
    r->sketched = (uint16_t)bits;
}

bool record_decode(struct cursor *c, struct pattern_record *ret) {
    struct pattern_record r = {.key = cursor_u64(c)};
    uint32_t *const numbers[] = {&r.first, &r.last, &r.day, &r.exempt_until, &r.voted, &r.votes};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        *numbers[i] = cursor_u32(c);
    for (unsigned i = 0; i < USUALS; i++) {
        r.usual[i] = cursor_u32(c);
        r.most[i] = cursor_u32(c);
    }
    uint8_t wide = cursor_u8(c);
    r.exempt = cursor_u8(c);
    r.told = cursor_u8(c);
    r.told_restrict = cursor_u8(c);
    struct str actions = cursor_bytes(c, sizeof r.actions.of);
    for (size_t i = 0; i < actions.len; i++) {
        r.actions.of[i] = (uint8_t)actions.at[i];
        if (r.actions.of[i] > PATTERN_RESTRICT)
            cursor_fail(c);
    }
    decode_networks(c, &r);
    decode_sketch(c, &r);
    if (!r.key || !r.first || r.first > r.last || r.day != r.last / 86400 || wide > 1)
        cursor_fail(c);
    if (!cursor_ok(c))
        return false;
    r.wide = wide ? xcalloc(PATTERN_CELLS, sizeof *r.wide) : NULL;
    decode_cells(c, &r);
    check_parts(c, &r);
    if (!cursor_ok(c)) {
        free(r.wide);
        return false;
    }
    *ret = r;
    return true;
}

/* ---- Writing ---- */

static void put_header(const struct pattern *p, int64_t now, struct buf *b) {
    size_t at = b->len;
    buf_add(b, magic, sizeof magic);
    buf_u16(b, VERSION);
    buf_u16(b, 0);
    buf_u64(b, p->seed);
    buf_u32(b, p->born);
    buf_u32(b, pattern_seconds(now));
    buf_u32(b, crc32c(0, b->at + at, HEADER - 4));
}

static void put_text(struct buf *b, struct str s) {
    buf_u16(b, (uint16_t)s.len);
    buf_str(b, s);
}

static void put_suspects(const struct pattern *p, struct buf *b) {
    for (unsigned kind = 0; kind < PATTERN_KINDS; kind++) {
        struct str name;
        void *found;
        for (size_t at = 0; map_next(p->suspects[kind], &at, &name, &found);) {
            const struct suspect *s = found;
            if (name.len > 4096)
                continue;
            size_t entry = entry_begin(b, ENTRY_SUSPECT);
            buf_u8(b, (uint8_t)kind);
            buf_u8(b, (uint8_t)s->sign);
            buf_u64(b, (uint64_t)s->since);
            buf_u64(b, (uint64_t)s->until);
            put_text(b, name);
            put_text(b, str_of(s->reason));
            entry_end(b, entry);
        }
    }
}

/* In the order of places: those that come meanwhile are at the end, or in the place of one that went. */
bool pattern_save(const struct pattern *p, size_t *at, uint32_t most, int64_t now, struct buf *b) {
    if (!*at)
        put_header(p, now, b);
    for (uint32_t i = 0; i < most && *at < p->used; i++, (*at)++) {
        size_t entry = entry_begin(b, ENTRY_SUBJECT);
        record_encode(b, pattern_at(p, (uint32_t)*at));
        entry_end(b, entry);
    }
    if (*at < p->used)
        return true;
    put_suspects(p, b);
    size_t entry = entry_begin(b, ENTRY_END);
    buf_u64(b, *at);
    entry_end(b, entry);
    return false;
}

/* ---- Reading ---- */

static bool read_subject(struct pattern *p, struct cursor *c, uint32_t now) {
    struct pattern_record r;
    if (!record_decode(c, &r))
        return false;
    /* From a clock that was ahead: it would stand still until then. */
    bool future = r.last > now + 86400;
    struct pattern_record *to = future ? NULL : pattern_by_key(p, r.key, false);
    if (to) {
        free(to->wide);
        r.newer = to->newer;
        r.older = to->older;
        r.chain = to->chain;
        r.settled = to->settled;
        *to = r;
        pattern_settle(p, to);
    } else {
        free(r.wide);
    }
    return true;
}

static bool read_suspect(struct pattern *p, struct cursor *c, int64_t now) {
    struct suspect s = {.kind = cursor_u8(c), .sign = cursor_u8(c)};
    s.since = (int64_t)cursor_u64(c);
    s.until = (int64_t)cursor_u64(c);
    struct str name = cursor_bytes(c, cursor_u16(c));
    struct str reason = cursor_bytes(c, cursor_u16(c));
    if (!cursor_ok(c) || s.kind >= PATTERN_KINDS || s.sign >= SIGNS || !name.len ||
        reason.len >= sizeof s.reason || (reason.len && memchr(reason.at, 0, reason.len)))
        return false;
    if (reason.len)
        memcpy(s.reason, reason.at, reason.len);
    /* Never longer than a day: it is what a found one gets. */
    if (now < s.until && s.until - now <= INT64_C(86400000))
        (void)pattern_suspect_put(p, s.kind, name, &s);
    return true;
}

static int read_header(struct pattern *p, struct cursor *c, struct str bytes, struct pattern_saved *ret,
                       bool *ret_keys) {
    struct str m = cursor_bytes(c, sizeof magic);
    uint16_t version = cursor_u16(c);
    (void)cursor_u16(c);
    uint64_t seed = cursor_u64(c);
    uint32_t born = cursor_u32(c);
    ret->seconds = cursor_u32(c);
    uint32_t crc = cursor_u32(c);
    if (!cursor_ok(c) || memcmp(m.at, magic, sizeof magic) != 0 || crc != crc32c(0, bytes.at, HEADER - 4))
        return SLUICE_ECORRUPT;
    if (!version || version > VERSION)
        return SLUICE_EINVALID;
    *ret_keys = version >= KEYS_SINCE;
    p->seed = seed;
    if (*ret_keys && born < p->born)
        p->born = born;
    return 0;
}

/* The next whole entry; false: there is none. */
static bool next_entry(struct cursor *c, uint8_t *ret_type, struct cursor *ret_body) {
    struct str body;
    size_t size = entry_read(str_from(c->at, c->left), ret_type, &body);
    cursor_bytes(c, size);
    *ret_body = cursor_of(body);
    return size > 0;
}

int pattern_restore(struct pattern *p, struct str bytes, int64_t now, struct pattern_saved *ret) {
    struct cursor c = cursor_of(bytes), body;
    uint8_t type;
    bool good = true, keys;
    *ret = (struct pattern_saved){.damaged = true};
    int error = read_header(p, &c, bytes, ret, &keys);
    if (error)
        return error;
    ret->end = HEADER;
    while (good && ret->damaged && next_entry(&c, &type, &body)) {
        switch (type) {
        case ENTRY_SUBJECT:
            if (keys)
                ret->subjects += good = read_subject(p, &body, pattern_seconds(now));
            break;
        case ENTRY_SUSPECT:
            ret->suspects += good = read_suspect(p, &body, now);
            break;
        default:
            good = type == ENTRY_END;
            ret->damaged = !good;
        }
        ret->end = good ? bytes.len - c.left : ret->end;
    }
    ret->rest = str_from(c.at, ret->damaged ? 0 : c.left);
    return 0;
}
