/* The surges over a restart, behind the patterns in one file. All integers little-endian.
 * "SLSURGE2", then entries (base/entry.h), by type:
 *   1 a tenant: u8 length and name, u32 usual, u64 newest step, u8 there is a surge, u8 its cause;
 *     of three steps: u32 counts (enum share), of four axes u8 number of names, of each u32 count, u32
 *     missed, u8 length and name; u32 samples ever, u8 number of samples, of each three times u8 length and
 *     text
 *   2 the end: u32 number of tenants
 *
 * Before that there was "SLSURGES", u32 number, of each u16 length and name, u32 usual; u32 CRC32C of all
 * before: read, not written. */
#include "base/crc32c.h"
#include "base/cursor.h"
#include "base/entry.h"
#include "detection/surge_inside.h"

enum { MAGIC = 8, ENTRY_TENANT = 1, ENTRY_END = 2, STEPS_AHEAD = STEPS_A_DAY };
static const char magic[MAGIC] = {'S', 'L', 'S', 'U', 'R', 'G', 'E', '2'},
                  magic_before[MAGIC] = {'S', 'L', 'S', 'U', 'R', 'G', 'E', 'S'};

/* ---- Writing ---- */

static void put_text(struct buf *b, const char *text) {
    struct str s = str_of(text);
    buf_u8(b, (uint8_t)s.len);
    buf_str(b, s);
}

static void put_top(struct buf *b, const struct top *t) {
    unsigned count = 0;
    for (unsigned i = 0; i < TOP; i++)
        count += t->at[i].count != 0;
    buf_u8(b, (uint8_t)count);
    for (unsigned i = 0; i < TOP; i++) {
        if (!t->at[i].count)
            continue;
        buf_u32(b, t->at[i].count);
        buf_u32(b, t->at[i].missed);
        put_text(b, t->at[i].name);
    }
}

static void put_tenant(struct buf *b, const struct tenant_reports *r) {
    unsigned samples = r->sampled < SAMPLES ? r->sampled : SAMPLES;
    put_text(b, r->name);
    buf_u32(b, r->usual);
    buf_u64(b, (uint64_t)r->step);
    buf_u8(b, r->active);
    buf_u8(b, (uint8_t)r->cause);
    for (unsigned i = 0; i < STEPS; i++) {
        for (unsigned share = 0; share < SHARES; share++)
            buf_u32(b, r->steps[i].counts[share]);
        for (unsigned axis = 0; axis < AXES; axis++)
            put_top(b, &r->steps[i].tops[axis]);
    }
    buf_u32(b, r->sampled);
    buf_u8(b, (uint8_t)samples);
    for (unsigned i = 0; i < samples; i++) {
        put_text(b, r->samples[i].trace_id);
        put_text(b, r->samples[i].recipient);
        put_text(b, r->samples[i].reply);
    }
}

void surge_save(const struct surge *s, struct buf *b) {
    struct str name;
    void *value;
    buf_add(b, magic, sizeof magic);
    for (size_t at = 0; map_next(s->tenants, &at, &name, &value);) {
        size_t entry = entry_begin(b, ENTRY_TENANT);
        put_tenant(b, value);
        entry_end(b, entry);
    }
    size_t entry = entry_begin(b, ENTRY_END);
    buf_u32(b, (uint32_t)map_count(s->tenants));
    entry_end(b, entry);
}

/* ---- Reading ---- */

static void get_text(struct cursor *c, char *to, size_t size) {
    struct str s = cursor_bytes(c, cursor_u8(c));
    if (s.len >= size || (s.len && memchr(s.at, 0, s.len)))
        cursor_fail(c);
    else
        surge_keep(to, size, s);
}

static void get_top(struct cursor *c, struct top *t) {
    unsigned count = cursor_u8(c);
    if (count > TOP)
        cursor_fail(c);
    for (unsigned i = 0; i < count && cursor_ok(c); i++) {
        struct top_name *one = &t->at[i];
        one->count = cursor_u32(c);
        one->missed = cursor_u32(c);
        get_text(c, one->name, sizeof one->name);
        one->hash = surge_hash(str_of(one->name));
        if (!one->count || one->missed >= one->count || !one->name[0])
            cursor_fail(c);
    }
}

static bool get_tenant(struct cursor *c, struct tenant_reports *ret) {
    get_text(c, ret->name, sizeof ret->name);
    ret->usual = cursor_u32(c);
    uint64_t step = cursor_u64(c);
    uint8_t active = cursor_u8(c), cause = cursor_u8(c);
    for (unsigned i = 0; i < STEPS; i++) {
        for (unsigned share = 0; share < SHARES; share++)
            ret->steps[i].counts[share] = cursor_u32(c);
        for (unsigned axis = 0; axis < AXES; axis++)
            get_top(c, &ret->steps[i].tops[axis]);
    }
    ret->sampled = cursor_u32(c);
    unsigned samples = cursor_u8(c);
    if (step > INT64_MAX / STEP_MS || active > 1 || cause > SURGE_SERVER ||
        samples != (ret->sampled < SAMPLES ? ret->sampled : SAMPLES))
        cursor_fail(c);
    for (unsigned i = 0; i < samples && cursor_ok(c); i++) {
        struct sample *one = &ret->samples[i];
        get_text(c, one->trace_id, sizeof one->trace_id);
        get_text(c, one->recipient, sizeof one->recipient);
        get_text(c, one->reply, sizeof one->reply);
    }
    ret->step = (int64_t)step;
    ret->active = active;
    ret->cause = cause;
    return cursor_ok(c);
}

/* While the daemon was down nothing was counted, and nothing is learned of that time. */
static void take_tenant(struct surge *s, struct tenant_reports *from, int64_t now) {
    int64_t step = now / STEP_MS;
    if (from->step > step + STEPS_AHEAD) /* from a clock that was ahead */
        return;
    if (step - from->step >= STEPS) {
        memset(from->steps, 0, sizeof from->steps);
        from->step = step;
    }
    *surge_tenant(s, str_of(from->name), now) = *from;
}

/* The offset of the first entry that can't be read, or of the end. */
static size_t read_entries(struct surge *s, struct str bytes, int64_t now, bool *ret_whole) {
    size_t at = MAGIC, size;
    uint8_t type;
    struct str body;
    while ((size = entry_read(str_from_index(bytes, at), &type, &body)) > 0) {
        struct tenant_reports r = {0};
        struct cursor c = cursor_of(body);
        *ret_whole = type == ENTRY_END;
        if (type != ENTRY_TENANT || !get_tenant(&c, &r))
            break;
        take_tenant(s, &r, now);
        at += size;
    }
    return at;
}

static bool read_before(struct surge *s, struct str bytes, int64_t now) {
    struct cursor c = cursor_of(str_from_index(bytes, MAGIC));
    struct cursor tail = cursor_of(str_from_index(bytes, bytes.len < 4 ? 0 : bytes.len - 4));
    if (bytes.len < 16 || cursor_u32(&tail) != crc32c(0, bytes.at, bytes.len - 4))
        return false;
    uint32_t count = cursor_u32(&c);
    for (uint32_t i = 0; i < count && i < SURGE_TENANTS; i++) {
        struct str name = cursor_bytes(&c, cursor_u16(&c));
        uint32_t usual = cursor_u32(&c);
        if (!cursor_ok(&c) || name.len >= NAME || (name.len && memchr(name.at, 0, name.len)))
            return false;
        surge_tenant(s, name, now)->usual = usual;
    }
    return true;
}

bool surge_restore(struct surge *s, struct str bytes, int64_t now, size_t *ret_damage) {
    bool whole = false;
    *ret_damage = 0;
    if (bytes.len >= MAGIC && memcmp(bytes.at, magic_before, MAGIC) == 0)
        return read_before(s, bytes, now);
    if (bytes.len >= MAGIC && memcmp(bytes.at, magic, MAGIC) == 0)
        *ret_damage = read_entries(s, bytes, now, &whole);
    return whole;
}
