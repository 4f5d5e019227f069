#include "rt/dns_wire.h"

#include "base/cursor.h"
#include "seeded_bug.h"

#include <stdio.h>

enum {
    RCODE_NOERROR = 0,
    RCODE_NXDOMAIN = 3,
    CLASS_IN = 1,
    HEADER = 12,
    CHAIN_MAX = 16,
    RECORDS_MAX = 4096,
};

/* ---- names ---- */

static size_t put_octet(char *out, unsigned char c) {
    if (c == '.' || c == '\\' || c == '"' || c == ';') {
        out[0] = '\\';
        out[1] = (char)c;
        return 2;
    }
    if (c > ' ' && c < 127) {
        out[0] = ascii_lower((char)c);
        return 1;
    }
    out[0] = '\\';
    out[1] = (char)('0' + c / 100);
    out[2] = (char)('0' + c / 10 % 10);
    out[3] = (char)('0' + c % 10);
    return 4;
}

/* Takes one octet of a name in presentation form. -1: malformed. */
static int take_octet(struct str *rest) {
    unsigned char c = (unsigned char)rest->at[0];
    *rest = str_from_index(*rest, 1);
    if (c != '\\')
        return c;
    if (!rest->len)
        return -1;
    c = (unsigned char)rest->at[0];
    if (c < '0' || c > '9') {
        *rest = str_from_index(*rest, 1);
        return c;
    }
    uint64_t value;
    if (rest->len < 3 || !str_to_u64(str_head(*rest, 3), &value) || value > 255)
        return -1;
    *rest = str_from_index(*rest, 3);
    return (int)value;
}

bool dns_name_normal(struct str name, char out[DNS_NAME_MAX], struct str *ret) {
    if (str_eq(name, STR("."))) {
        *ret = STR(".");
        return true;
    }
    size_t len = 0, octets = 1, label = 0;
    if (name.len >= DNS_NAME_MAX)
        return false;
    while (name.len) {
        if (name.at[0] == '.') {
            name = str_from_index(name, 1);
            if (!label)
                return false;
            label = 0;
            octets++;
            if (name.len)
                out[len++] = '.';
            continue;
        }
        int c = take_octet(&name);
        if (c < 0 || ++label > 63 || ++octets + 1 > 255)
            return false;
        len += put_octet(out + len, (unsigned char)c);
    }
    *ret = str_from(out, len);
    return len > 0;
}

void dns_name_wire(struct str name, struct buf *out) {
    while (name.len && !str_eq(name, STR("."))) {
        size_t length_at = out->len;
        buf_u8(out, 0);
        while (name.len && name.at[0] != '.')
            buf_u8(out, (uint8_t)take_octet(&name));
        name = str_from_index(name, 1);
        out->at[length_at] = (char)(out->len - length_at - 1);
    }
    buf_u8(out, 0);
}

/* Reads a name at *at, which then stands behind it. Pointers may only go back, so it ends. */
static bool read_name(struct str packet, size_t *at, char out[DNS_NAME_MAX], struct str *ret) {
    size_t from = *at, lowest = *at, len = 0, octets = 1;
    bool jumped = false;
    for (;;) {
        if (from >= packet.len)
            return false;
        unsigned char n = (unsigned char)packet.at[from];
        if ((n & 0xc0) == 0xc0) {
            if (from + 2 > packet.len)
                return false;
            size_t target = (size_t)(n & 0x3f) << 8 | (unsigned char)packet.at[from + 1];
            if (!jumped)
                *at = from + 2;
            jumped = true;
            if (target >= lowest)
                return false;
            from = lowest = target;
            continue;
        }
        if (n > 63 || from + 1 + n > packet.len || (octets += n + 1u) > 255)
            return false;
        from++;
        if (!n)
            break;
        if (len)
            out[len++] = '.';
        for (size_t i = 0; i < n; i++)
            len += put_octet(out + len, (unsigned char)packet.at[from + i]);
        from += n;
    }
    if (!jumped)
        *at = from;
    *ret = len ? str_from(out, len) : STR(".");
    return true;
}

/* ---- records ---- */

struct raw_record {
    char name_memory[DNS_NAME_MAX];
    struct str name;
    uint16_t type, class;
    uint32_t ttl;
    size_t data, length; /* where the data stands in the packet */
};

static uint16_t be16(struct str packet, size_t at) {
    return (uint16_t)((unsigned char)packet.at[at] << 8 | (unsigned char)packet.at[at + 1]);
}

static uint32_t be32(struct str packet, size_t at) {
    return (uint32_t)be16(packet, at) << 16 | be16(packet, at + 2);
}

static bool read_record(struct str packet, size_t *at, struct raw_record *ret) {
    if (!read_name(packet, at, ret->name_memory, &ret->name) || *at + 10 > packet.len)
        return false;
    ret->type = be16(packet, *at);
    ret->class = be16(packet, *at + 2);
    ret->ttl = be32(packet, *at + 4);
    if (ret->ttl > INT32_MAX) /* RFC 2181 8 */
        ret->ttl = 0;
    ret->length = be16(packet, *at + 8);
    ret->data = *at + 10;
    if (ret->data + ret->length > packet.len)
        return false;
    *at = ret->data + ret->length;
    return true;
}

/* A name that fills the data from `skip` on, exactly. */
static bool name_in_data(struct str packet, const struct raw_record *record, size_t skip, struct arena *arena,
                         struct str *ret) {
    char memory[DNS_NAME_MAX];
    size_t at = record->data + skip;
    struct str name;
    if (record->length < skip || !read_name(packet, &at, memory, &name) ||
        at != record->data + record->length)
        return false;
    *ret = str_copy(arena, name);
    return true;
}

/* The strings, joined. */
static bool text_in_data(struct str data, struct arena *arena, struct str *ret) {
    char *text = arena_alloc(arena, data.len);
    size_t len = 0;
    while (data.len) {
        size_t n = (unsigned char)data.at[0];
        if (n + 1 > data.len)
            return false;
        memcpy(text + len, data.at + 1, n);
        len += n;
        data = str_from_index(data, n + 1);
    }
    *ret = str_from(text, len);
    return true;
}

/* Names of a SOA are expanded, so that its raw form means something outside of its packet. */
static bool soa_in_data(struct str packet, const struct raw_record *record, struct arena *arena,
                        struct str *ret) {
    char memory[DNS_NAME_MAX];
    struct str name;
    size_t at = record->data, end = record->data + record->length;
    struct buf raw __attribute__((cleanup(buf_free))) = {0};
    for (int i = 0; i < 2; i++) {
        if (!read_name(packet, &at, memory, &name) || at > end)
            return false;
        dns_name_wire(name, &raw);
    }
    if (end - at != 20)
        return false;
    buf_add(&raw, packet.at + at, 20);
    *ret = str_copy(arena, buf_view(&raw));
    return true;
}

static bool decode_data(struct str packet, const struct raw_record *record, struct arena *arena,
                        struct dns_record *ret) {
    struct str data = str_from(packet.at + record->data, record->length);
    *ret = (struct dns_record){0};
    switch (record->type) {
    case DNS_A:
        if (data.len != 4)
            return false;
        memset(ret->ip.bytes + 10, 0xff, 2);
        memcpy(ret->ip.bytes + 12, data.at, 4);
        return true;
    case DNS_AAAA:
        if (data.len != 16)
            return false;
        memcpy(ret->ip.bytes, data.at, 16);
        return true;
    case DNS_MX:
        if (data.len < 3)
            return false;
        ret->preference = be16(data, 0);
        return name_in_data(packet, record, 2, arena, &ret->name);
    case DNS_PTR:
    case DNS_NS:
    case DNS_CNAME:
        return name_in_data(packet, record, 0, arena, &ret->name);
    case DNS_TXT:
        return text_in_data(data, arena, &ret->text);
    case DNS_SOA:
        return soa_in_data(packet, record, arena, &ret->raw);
    default:
        ret->raw = str_copy(arena, data);
        return true;
    }
}

/* ---- answers ---- */

struct reading {
    struct str packet;
    size_t answers; /* where the section starts */
    unsigned answer_count, authority_count;
    size_t authority;
    enum dns_type type;
    struct arena *arena;
    struct dns_answer *ret;
};

static void fail(struct dns_answer *ret, struct str why) {
    *ret = (struct dns_answer){.status = DNS_FAILED, .why = why};
}

static bool read_header(struct reading *r) {
    if (r->packet.len < HEADER)
        return false;
    unsigned questions = be16(r->packet, 4);
    r->answer_count = be16(r->packet, 6);
    r->authority_count = be16(r->packet, 8);
    size_t at = HEADER;
    for (unsigned i = 0; i < questions; i++) {
        char memory[DNS_NAME_MAX];
        struct str name;
        if (!read_name(r->packet, &at, memory, &name) || at + 4 > r->packet.len)
            return false;
        at += 4;
    }
    r->answers = at;
    struct raw_record record;
    for (unsigned i = 0; i < r->answer_count; i++)
        if (!read_record(r->packet, &at, &record))
            return false;
    r->authority = at;
    return r->answer_count <= RECORDS_MAX;
}

static void note_ttl(struct dns_answer *ret, uint32_t ttl) {
    if (ttl < ret->ttl)
        ret->ttl = ttl;
}

/* The records of `name`: adds those of the wanted type. False: malformed. *ret_alias: a CNAME stands there.
 */
static bool read_answers(struct reading *r, struct str name, bool *ret_alias, char alias[DNS_NAME_MAX],
                         struct str *ret_target) {
    size_t at = r->answers;
    *ret_alias = false;
    for (unsigned i = 0; i < r->answer_count; i++) {
        struct raw_record record;
        if (!read_record(r->packet, &at, &record))
            return false;
        if (record.class != CLASS_IN || !str_eq(record.name, name))
            continue;
        if (record.type == (uint16_t)r->type) {
            if (!decode_data(r->packet, &record, r->arena, &r->ret->records[r->ret->count]))
                return false;
            r->ret->count++;
            note_ttl(r->ret, record.ttl);
        } else if (record.type == DNS_CNAME) {
            size_t data = record.data;
            if (!read_name(r->packet, &data, alias, ret_target) || data != record.data + record.length)
                return false;
            note_ttl(r->ret, record.ttl);
            *ret_alias = true;
        }
    }
    return true;
}

/* How long "no such record" holds (RFC 2308 5). False: no SOA says; a minute then. */
static bool negative_ttl(struct reading *r, uint32_t *ret_ttl) {
    size_t at = r->authority;
    *ret_ttl = 60;
    for (unsigned i = 0; i < r->authority_count; i++) {
        struct raw_record record;
        if (!read_record(r->packet, &at, &record))
            break;
        if (record.type != DNS_SOA || record.length < 20)
            continue;
        uint32_t minimum = be32(r->packet, record.data + record.length - 4);
        *ret_ttl = record.ttl < minimum ? record.ttl : minimum;
        return true;
    }
    return false;
}

static bool read_chain(struct reading *r, struct str name) {
    char alias[2][DNS_NAME_MAX];
    for (int i = 0; i < CHAIN_MAX; i++) {
        bool found;
        struct str target = STR_NULL;
        if (!read_answers(r, name, &found, alias[i & 1], &target))
            return false;
        if (r->ret->count || !found) {
            if (i)
                r->ret->canonical = str_copy(r->arena, name);
            return true;
        }
        name = target;
    }
    return false; /* a circle */
}

struct str dns_rcode_text(struct arena *arena, unsigned rcode) {
    static const char *const names[] = {"NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED"};
    return rcode < sizeof names / sizeof *names ? str_of(names[rcode]) : str_printf(arena, "rcode %u", rcode);
}

void dns_decode(struct str packet, struct str name, enum dns_type type, struct arena *arena,
                struct dns_answer *ret) {
    struct reading r = {.packet = packet, .type = type, .arena = arena, .ret = ret};
    char memory[DNS_NAME_MAX];
    struct str asked;
    *ret = (struct dns_answer){.ttl = INT32_MAX};
    if (packet.len < HEADER || !dns_name_normal(name, memory, &asked)) {
        fail(ret, STR("malformed answer"));
        return;
    }
    unsigned rcode = (unsigned char)packet.at[3] & 15;
#ifdef SLUICE_SEEDED_BUG_CACHED_SERVFAIL_IS_NONE
    if (rcode == 2)
        rcode = RCODE_NOERROR;
#endif
    if (rcode != RCODE_NOERROR && rcode != RCODE_NXDOMAIN) {
        fail(ret, dns_rcode_text(arena, rcode));
        return;
    }
    if (!read_header(&r)) {
        fail(ret, STR("malformed answer"));
        return;
    }
    ret->records = arena_array(arena, struct dns_record, r.answer_count);
    if (!read_chain(&r, asked)) {
        fail(ret, STR("malformed answer"));
        return;
    }
    ret->nxdomain = rcode == RCODE_NXDOMAIN;
    if (ret->nxdomain)
        ret->count = 0;
    ret->status = ret->count ? DNS_RECORDS : DNS_NONE;
    if (ret->count)
        return;
    uint32_t ttl;
    ret->bare = !negative_ttl(&r, &ttl) && !ret->nxdomain;
    note_ttl(ret, ttl);
}

struct str dns_type_text(struct arena *arena, enum dns_type type) {
    switch (type) {
    case DNS_A:
        return STR("A");
    case DNS_NS:
        return STR("NS");
    case DNS_CNAME:
        return STR("CNAME");
    case DNS_SOA:
        return STR("SOA");
    case DNS_PTR:
        return STR("PTR");
    case DNS_MX:
        return STR("MX");
    case DNS_TXT:
        return STR("TXT");
    case DNS_AAAA:
        return STR("AAAA");
    case DNS_TLSA:
        return STR("TLSA");
    }
    return str_printf(arena, "TYPE%u", (unsigned)type);
}
