#include "mail/address.h"
#include "base/buf.h"
#include "base/error.h"
#include "mail/mime.h"

static bool atext(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || (signed char)c < 0 ||
           (c && strchr("!#$%&'*+-/=?^_`{|}~", c));
}

/* The length of the Local-part at the front of `s` (RFC 5321 4.1.2); 0 when there is none. */
static size_t local_length(struct str s) {
    size_t i = 0;
    if (s.len && s.at[0] == '"') {
        for (i = 1; i < s.len && s.at[i] != '"'; i++) {
            bool escaped = s.at[i] == '\\';
            i += escaped;
            if (i >= s.len || (unsigned char)s.at[i] < 32 || s.at[i] == 127 ||
                (escaped && (unsigned char)s.at[i] > 127))
                return 0;
        }
        return i < s.len ? i + 1 : 0;
    }
    while (i < s.len && atext(s.at[i])) {
        while (i < s.len && atext(s.at[i]))
            i++;
        if (i + 1 < s.len && s.at[i] == '.' && atext(s.at[i + 1]))
            i++;
        else
            break;
    }
    return i;
}

/* The length of the domain or literal at the front of `s`: up to what can't be part of one. */
static size_t domain_length(struct str s) {
    size_t i = 0;
    if (s.len && s.at[0] == '[') {
        while (i < s.len && s.at[i] != ']')
            i++;
        return i < s.len ? i + 1 : 0;
    }
    while (i < s.len && ((signed char)s.at[i] < 0 || (s.at[i] > 32 && !strchr("<>()[]\\,;:@\"", s.at[i]))))
        i++;
    return i;
}

static int check_domain(struct str domain, unsigned flags) {
    if (domain.len > ADDRESS_DOMAIN_MAX)
        return SLUICE_ETOOBIG;
    if (bytes_8bit(domain) && !(flags & ADDRESS_ALLOW_UTF8))
        return SLUICE_EDENIED;
    return domain_is_literal(domain) || domain_valid(domain, true) ? 0 : SLUICE_ESYNTAX;
}

/* One mailbox at the front of `s`; *ret_len is its length. */
static int mailbox_at(struct str s, unsigned flags, struct address *ret, size_t *ret_len) {
    size_t local_len = local_length(s), domain_len;
    struct address a = {.local = str_head(s, local_len)};
    if (!local_len)
        return SLUICE_ESYNTAX;
    struct str rest = str_from_index(s, local_len);
    if (!rest.len || rest.at[0] != '@') {
        if (!(flags & ADDRESS_ALLOW_POSTMASTER) || !str_eq_nocase(a.local, STR("postmaster")))
            return SLUICE_ESYNTAX;
        a.whole = a.local;
        *ret = a;
        *ret_len = local_len;
        return 0;
    }
    rest = str_from_index(rest, 1);
    domain_len = domain_length(rest);
    a.domain = str_head(rest, domain_len);
    a.whole = str_head(s, local_len + 1 + domain_len);
    a.utf8 = bytes_8bit(a.whole);
    if (a.local.len > ADDRESS_LOCAL_MAX || a.whole.len > ADDRESS_PATH_MAX - 2)
        return SLUICE_ETOOBIG;
    if (a.utf8 && !(flags & ADDRESS_ALLOW_UTF8))
        return SLUICE_EDENIED;
    int error = bytes_8bit(a.local) && !bytes_utf8(a.local) ? SLUICE_ESYNTAX : check_domain(a.domain, flags);
    if (error)
        return error;
    *ret = a;
    *ret_len = a.whole.len;
    return 0;
}

/* A-d-l ":" (RFC 5321 4.1.2, appendix C): checked, then dropped. */
static int skip_source_route(struct str *s, unsigned flags) {
    while (s->len && s->at[0] == '@') {
        struct str rest = str_from_index(*s, 1);
        size_t len = domain_length(rest);
        int error = check_domain(str_head(rest, len), flags);
        if (error)
            return error;
        rest = str_from_index(rest, len);
        if (!rest.len)
            return SLUICE_ESYNTAX;
        *s = str_from_index(rest, 1);
        if (rest.at[0] == ':')
            return 0;
        if (rest.at[0] != ',' || !s->len || s->at[0] != '@')
            return SLUICE_ESYNTAX;
    }
    return 0;
}

int address_path(struct str s, unsigned flags, struct address *ret, struct str *ret_rest) {
    struct address a;
    size_t len;
    if (!s.len || s.at[0] != '<')
        return SLUICE_ESYNTAX;
    s = str_from_index(s, 1);
    if (s.len && s.at[0] == '>' && (flags & ADDRESS_ALLOW_NULL)) {
        *ret = (struct address){.whole = {s.at, 0}, .local = {s.at, 0}, .domain = {s.at, 0}};
        *ret_rest = str_from_index(s, 1);
        return 0;
    }
    int error = skip_source_route(&s, flags);
    if (!error)
        error = mailbox_at(s, flags, &a, &len);
    if (error)
        return error;
    if (len >= s.len || s.at[len] != '>')
        return SLUICE_ESYNTAX;
    *ret = a;
    *ret_rest = str_from_index(s, len + 1);
    return 0;
}

int address_parse(struct str s, unsigned flags, struct address *ret) {
    struct address a;
    size_t len;
    if (!s.len && (flags & ADDRESS_ALLOW_NULL)) {
        *ret = (struct address){.whole = STR(""), .local = STR(""), .domain = STR("")};
        return 0;
    }
    int error = mailbox_at(s, flags, &a, &len);
    if (error)
        return error;
    if (len != s.len)
        return SLUICE_ESYNTAX;
    *ret = a;
    return 0;
}

struct address address_split(struct str whole) {
    struct address a = {.whole = whole, .local = whole, .domain = STR(""), .utf8 = bytes_8bit(whole)};
    ptrdiff_t at = str_rindex(whole, '@');
    if (at < 0)
        return a;
    a.local = str_head(whole, (size_t)at);
    a.domain = str_from_index(whole, (size_t)at + 1);
    return a;
}

struct str local_plain(struct arena *arena, struct str local) {
    if (local.len < 2 || local.at[0] != '"')
        return local;
    char *out = arena_alloc(arena, local.len);
    size_t len = 0;
    for (size_t i = 1; i + 1 < local.len; i++) {
        if (local.at[i] == '\\' && i + 2 < local.len)
            i++;
        out[len++] = local.at[i];
    }
    return str_from(out, len);
}

struct str local_quoted(struct arena *arena, struct str plain) {
    if (plain.len && plain.at[0] != '"' && local_length(plain) == plain.len)
        return plain;
    char *out = arena_alloc(arena, 2 * plain.len + 2);
    size_t len = 0;
    out[len++] = '"';
    for (size_t i = 0; i < plain.len; i++) {
        if (plain.at[i] == '"' || plain.at[i] == '\\')
            out[len++] = '\\';
        out[len++] = plain.at[i];
    }
    out[len++] = '"';
    return str_from(out, len);
}

bool address_same(struct str whole_a, struct str whole_b) {
    struct address a = address_split(whole_a), b = address_split(whole_b);
    if (!domain_same(a.domain, b.domain))
        return false;
    if (str_eq(a.local, b.local))
        return true;
    struct arena *arena = arena_new(0);
    bool same = str_eq(local_plain(arena, a.local), local_plain(arena, b.local));
    arena_free(arena);
    return same;
}

struct str address_normal(struct arena *arena, struct str whole) {
    struct address a;
    struct str domain;
    if (address_parse(whole, ADDRESS_ALLOW_UTF8, &a) != 0 || domain_normal(arena, a.domain, &domain) != 0)
        return STR_NULL;
    struct str local = local_quoted(arena, local_plain(arena, a.local));
    return str_printf(arena, "%.*s@%.*s", STR_FMT(local), STR_FMT(domain));
}

struct str address_mailbox(struct arena *arena, struct str whole) {
    struct str normal = address_normal(arena, whole);
    if (!normal.len)
        return whole;
    struct address a = address_split(normal);
    struct str local = local_plain(arena, a.local);
    ptrdiff_t plus = str_index(local, '+');
    if (plus <= 0)
        return normal;
    local = local_quoted(arena, str_head(local, (size_t)plus));
    return str_printf(arena, "%.*s@%.*s", STR_FMT(local), STR_FMT(a.domain));
}
