#include "rt/zone_file.h"

#include "base/map.h"
#include "rt/dns_wire.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum { TTL_DEFAULT = 300, TTL_NONE = 60, CHAIN_MAX = 16 };

struct zone_set { /* the records of a name of one type */
    enum dns_type type;
    uint32_t ttl;
    struct dns_record *records;
    size_t count, cap;
    struct zone_set *next;
};

struct zone_name {
    struct str name;
    struct zone_set *sets; /* NULL: only names below it have records */
};

struct zone_file {
    struct arena *arena;
    struct map *names;   /* to struct zone_name */
    struct map *domains; /* to the zone itself */
};

struct line {
    struct zone_file *zone;
    struct str rest;
    struct str why;
    struct arena *scratch;
};

static bool wrong(struct line *line, const char *what, struct str word) {
    if (!line->why.len)
        line->why = word.at ? str_printf(line->scratch, "%s: \"%.*s\"", what, STR_FMT(str_head(word, 100)))
                            : str_printf(line->scratch, "%s", what);
    return false;
}

/* ---- words ---- */

static bool is_space(char c) { return c == ' ' || c == '\t' || c == '\r'; }

static void skip_space(struct line *line) {
    while (line->rest.len && is_space(line->rest.at[0]))
        line->rest = str_from_index(line->rest, 1);
    if (line->rest.len && line->rest.at[0] == ';')
        line->rest = STR_NULL;
}

static struct str next_word(struct line *line) {
    skip_space(line);
    size_t len = 0;
    while (len < line->rest.len && !is_space(line->rest.at[len]) && line->rest.at[len] != ';')
        len += line->rest.at[len] == '\\' && len + 1 < line->rest.len ? 2 : 1;
    struct str word = str_head(line->rest, len);
    line->rest = str_from_index(line->rest, len);
    return word;
}

/* One string of a TXT record, quoted or not: appended to `out`, escapes undone. */
static bool next_text(struct line *line, struct buf *out) {
    bool quoted = line->rest.at[0] == '"';
    size_t start = out->len;
    struct str rest = quoted ? str_from_index(line->rest, 1) : line->rest;
    while (rest.len && (quoted ? rest.at[0] != '"' : !is_space(rest.at[0]) && rest.at[0] != ';')) {
        unsigned char c = (unsigned char)rest.at[0];
        rest = str_from_index(rest, 1);
        if (c == '\\' && rest.len) {
            uint64_t value;
            bool decimal = rest.len >= 3 && str_to_u64(str_head(rest, 3), &value) && value < 256;
            c = decimal ? (unsigned char)value : (unsigned char)rest.at[0];
            rest = str_from_index(rest, decimal ? 3 : 1);
        }
        buf_char(out, (char)c);
    }
    if (quoted && !rest.len)
        return wrong(line, "a quote is not closed", STR_NULL);
    if (out->len - start > 255)
        return wrong(line, "a string of a TXT record has over 255 octets", STR_NULL);
    line->rest = quoted ? str_from_index(rest, 1) : rest;
    return true;
}

static bool next_name(struct line *line, const char *what, struct str *ret) {
    char memory[DNS_NAME_MAX];
    struct str word = next_word(line), name;
    if (!word.len)
        return wrong(line, what, STR_NULL);
    if (!dns_name_normal(word, memory, &name))
        return wrong(line, "this is no name", word);
    *ret = str_copy(line->zone->arena, name);
    return true;
}

static bool next_number(struct line *line, const char *what, uint64_t most, uint64_t *ret) {
    struct str word = next_word(line);
    if (!word.len)
        return wrong(line, what, STR_NULL);
    if (!str_to_u64(word, ret) || *ret > most)
        return wrong(line, "this is no number, or too big", word);
    return true;
}

/* ---- data by type ---- */

static bool read_address(struct line *line, struct dns_record *ret, bool v4) {
    struct str word = next_word(line);
    if (!ip_parse(word, &ret->ip) || ip_is_v4(&ret->ip) != v4)
        return wrong(line, v4 ? "this is no IPv4 address" : "this is no IPv6 address", word);
    return true;
}

static bool read_a(struct line *line, struct dns_record *ret) { return read_address(line, ret, true); }
static bool read_aaaa(struct line *line, struct dns_record *ret) { return read_address(line, ret, false); }

static bool read_host(struct line *line, struct dns_record *ret) {
    return next_name(line, "a name is missing", &ret->name);
}

static bool read_mx(struct line *line, struct dns_record *ret) {
    uint64_t preference;
    if (!next_number(line, "the preference is missing", UINT16_MAX, &preference))
        return false;
    ret->preference = (uint16_t)preference;
    return next_name(line, "the host is missing", &ret->name);
}

static bool read_txt(struct line *line, struct dns_record *ret) {
    struct buf text __attribute__((cleanup(buf_free))) = {0};
    skip_space(line);
    if (!line->rest.len)
        return wrong(line, "the text is missing", STR_NULL);
    for (; line->rest.len; skip_space(line))
        if (!next_text(line, &text))
            return false;
    ret->text = str_copy(line->zone->arena, buf_view(&text));
    return true;
}

static bool read_soa(struct line *line, struct dns_record *ret) {
    struct buf raw __attribute__((cleanup(buf_free))) = {0};
    for (int i = 0; i < 2; i++) {
        struct str name;
        if (!next_name(line, "SOA needs two names and five numbers", &name))
            return false;
        dns_name_wire(name, &raw);
    }
    for (int i = 0; i < 5; i++) {
        uint64_t n;
        if (!next_number(line, "SOA needs two names and five numbers", UINT32_MAX, &n))
            return false;
        for (int shift = 24; shift >= 0; shift -= 8)
            buf_u8(&raw, (uint8_t)(n >> shift));
    }
    ret->raw = str_copy(line->zone->arena, buf_view(&raw));
    return true;
}

static int hex_digit(char c) {
    c = ascii_lower(c);
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool read_tlsa(struct line *line, struct dns_record *ret) {
    struct buf raw __attribute__((cleanup(buf_free))) = {0};
    for (int i = 0; i < 3; i++) {
        uint64_t n;
        if (!next_number(line, "TLSA needs three numbers and hexadecimal data", 255, &n))
            return false;
        buf_u8(&raw, (uint8_t)n);
    }
    int high = -1;
    for (struct str word; (word = next_word(line)).len;)
        for (size_t i = 0; i < word.len; i++) {
            int digit = hex_digit(word.at[i]);
            if (digit < 0)
                return wrong(line, "this is not hexadecimal", word);
            if (high >= 0)
                buf_u8(&raw, (uint8_t)(high << 4 | digit));
            high = high < 0 ? digit : -1;
        }
    if (high >= 0 || raw.len == 3)
        return wrong(line, "TLSA needs three numbers and hexadecimal data", STR_NULL);
    ret->raw = str_copy(line->zone->arena, buf_view(&raw));
    return true;
}

static const struct {
    const char *word;
    enum dns_type type;
    bool (*read)(struct line *, struct dns_record *);
} types[] = {
    {"A", DNS_A, read_a},       {"AAAA", DNS_AAAA, read_aaaa}, {"MX", DNS_MX, read_mx},
    {"TXT", DNS_TXT, read_txt}, {"PTR", DNS_PTR, read_host},   {"CNAME", DNS_CNAME, read_host},
    {"NS", DNS_NS, read_host},  {"SOA", DNS_SOA, read_soa},    {"TLSA", DNS_TLSA, read_tlsa},
};

/* ---- names ---- */

static struct str parent_of(struct str name) {
    size_t at = 0;
    while (at < name.len && name.at[at] != '.')
        at += name.at[at] == '\\' ? 2 : 1;
    return at < name.len ? str_from_index(name, at + 1) : STR_NULL;
}

static size_t label_count(struct str name) {
    size_t count = 0;
    for (; name.len; name = parent_of(name))
        count++;
    return count;
}

/* The domain that this owner makes ours: two labels, or the reverse zone. */
static struct str domain_of(struct str name) {
    size_t labels = label_count(name), wanted = 2;
    if (str_ends(name, STR(".in-addr.arpa")))
        wanted = 5;
    else if (str_ends(name, STR(".ip6.arpa")))
        wanted = 18;
    for (; labels > wanted; labels--)
        name = parent_of(name);
    return name;
}

static struct zone_name *name_make(struct zone_file *zone, struct str name) {
    struct zone_name *made = map_get(zone->names, name);
    if (!made) {
        made = arena_new_of(zone->arena, struct zone_name);
        made->name = str_copy(zone->arena, name);
        map_put(zone->names, name, made);
    }
    return made;
}

/* With the names above it, up to its domain: these exist too. */
static struct zone_name *owner_make(struct zone_file *zone, struct str name) {
    struct str domain = domain_of(name);
    if (!map_get(zone->domains, domain))
        map_put(zone->domains, domain, zone);
    for (struct str above = name; above.len > domain.len;) {
        above = parent_of(above);
        name_make(zone, above);
    }
    return name_make(zone, name);
}

static bool add_record(struct line *line, struct str owner, enum dns_type type, uint32_t ttl,
                       const struct dns_record *record) {
    struct zone_file *zone = line->zone;
    struct zone_name *name = owner_make(zone, owner);
    struct zone_set *set = NULL;
    for (struct zone_set *s = name->sets; s; s = s->next) {
        if ((s->type == DNS_CNAME) != (type == DNS_CNAME))
            return wrong(line, "a name with a CNAME can't have other records", owner);
        if (s->type == type)
            set = s;
    }
    if (set && type == DNS_CNAME)
        return wrong(line, "a second CNAME for this name", owner);
    if (!set) {
        set = arena_new_of(zone->arena, struct zone_set);
        *set = (struct zone_set){.type = type, .ttl = ttl, .next = name->sets};
        name->sets = set;
    }
    if (set->count == set->cap) {
        size_t cap = set->cap ? set->cap * 2 : 2;
        struct dns_record *more = arena_array(zone->arena, struct dns_record, cap);
        if (set->count)
            memcpy(more, set->records, set->count * sizeof *more);
        set->records = more;
        set->cap = cap;
    }
    set->records[set->count++] = *record;
    if (ttl < set->ttl)
        set->ttl = ttl;
    return true;
}

/* ---- the file ---- */

static bool read_line(struct line *line) {
    bool indented = line->rest.len && is_space(line->rest.at[0]);
    skip_space(line);
    if (!line->rest.len)
        return true;
    if (indented)
        return wrong(line, "each line begins with a name", STR_NULL);
    if (line->rest.at[0] == '$')
        return wrong(line, "there are no directives in this file", next_word(line));
    if (str_starts(line->rest, STR("*.")) || str_starts(line->rest, STR("@")))
        return wrong(line, "write names in full, without * and @", next_word(line));
    struct str owner, word;
    uint64_t ttl = TTL_DEFAULT;
    if (!next_name(line, "a name is missing", &owner))
        return false;
    if (str_eq(owner, STR(".")))
        return wrong(line, "the root can't be answered from a file", STR_NULL);
    word = next_word(line);
    if (word.len && word.at[0] >= '0' && word.at[0] <= '9') {
        if (!str_to_u64(word, &ttl) || ttl > INT32_MAX)
            return wrong(line, "this is no TTL in seconds", word);
        word = next_word(line);
    }
    if (str_eq_nocase(word, STR("IN")))
        word = next_word(line);
    if (!word.len)
        return wrong(line, "the type is missing", STR_NULL);
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (!str_eq_nocase(word, str_of(types[i].word)))
            continue;
        struct dns_record record = {0};
        if (!types[i].read(line, &record))
            return false;
        skip_space(line);
        if (line->rest.len)
            return wrong(line, "too much on this line", line->rest);
        return add_record(line, owner, types[i].type, (uint32_t)ttl, &record);
    }
    return wrong(line, "unknown type; there are A AAAA MX TXT PTR CNAME NS SOA TLSA", word);
}

int zone_parse(struct str text, const char *file, struct arena *arena, struct str *ret_why,
               struct zone_file **ret) {
    struct zone_file *zone = xcalloc(1, sizeof *zone);
    zone->arena = arena_new(16 * 1024);
    zone->names = map_new(false);
    zone->domains = map_new(false);
    struct str part;
    for (int number = 1; str_cut(&text, '\n', &part); number++) {
        struct line line = {.zone = zone, .rest = part, .scratch = arena};
        if (part.len && memchr(part.at, 0, part.len))
            wrong(&line, "a NUL byte", STR_NULL);
        else
            read_line(&line);
        if (line.why.len) {
            *ret_why = str_printf(arena, "%s:%d: %.*s", file, number, STR_FMT(line.why));
            zone_free(zone);
            return SLUICE_ESYNTAX;
        }
    }
    *ret = zone;
    return 0;
}

int zone_load(const char *path, struct arena *arena, struct str *ret_why, struct zone_file **ret) {
    FILE *file = fopen(path, "re");
    if (!file) {
        *ret_why = str_printf(arena, "%s: %s", path, strerror(errno));
        return error_from_errno(errno);
    }
    struct buf text __attribute__((cleanup(buf_free))) = {0};
    char piece[4096];
    for (size_t n; (n = fread(piece, 1, sizeof piece, file)) > 0;)
        buf_add(&text, piece, n);
    bool failed = ferror(file);
    fclose(file);
    if (failed) {
        *ret_why = str_printf(arena, "%s: can't be read", path);
        return SLUICE_EIO;
    }
    return zone_parse(buf_view(&text), path, arena, ret_why, ret);
}

struct zone_file *zone_free(struct zone_file *zone) {
    if (!zone)
        return NULL;
    map_free(zone->names);
    map_free(zone->domains);
    arena_free(zone->arena);
    free(zone);
    return NULL;
}

/* ---- answers ---- */

bool zone_covers(const struct zone_file *zone, struct str name) {
    for (; name.len; name = parent_of(name))
        if (map_get(zone->domains, name))
            return true;
    return false;
}

static const struct zone_set *find_set(const struct zone_name *name, enum dns_type type) {
    for (const struct zone_set *set = name->sets; set; set = set->next)
        if (set->type == type)
            return set;
    return NULL;
}

void zone_answer(const struct zone_file *zone, struct str name, enum dns_type type, struct dns_answer *ret,
                 struct str *ret_elsewhere) {
    *ret = (struct dns_answer){.status = DNS_NONE, .ttl = TTL_NONE};
    uint32_t ttl = INT32_MAX;
    *ret_elsewhere = STR_NULL;
    for (int i = 0; i < CHAIN_MAX; i++) {
        if (i)
            ret->canonical = name;
        if (i && !zone_covers(zone, name)) {
            *ret_elsewhere = name;
            return;
        }
        const struct zone_name *found = map_get(zone->names, name);
        ret->nxdomain = !found;
        if (!found)
            return;
        const struct zone_set *set = find_set(found, type);
        const struct zone_set *alias = set ? NULL : find_set(found, DNS_CNAME);
        if (!alias) {
            if (set) {
                ret->status = DNS_RECORDS;
                ret->records = set->records;
                ret->count = set->count;
                ret->ttl = set->ttl < ttl ? set->ttl : ttl;
            }
            return;
        }
        ttl = alias->ttl < ttl ? alias->ttl : ttl;
        name = alias->records[0].name;
    }
    *ret = (struct dns_answer){.status = DNS_FAILED, .why = STR("CNAMEs go in a circle")};
}
