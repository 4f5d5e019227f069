#include "mail/mime.h"

enum { PARAMETERS_MAX = 64 };

static bool blank(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

/* Past white space and comments (RFC 2045 5.1, RFC 5322 3.2.2). */
static struct str skip_cfws(struct str s) {
    size_t i = 0, depth = 0;
    for (; i < s.len; i++) {
        if (s.at[i] == '(')
            depth++;
        else if (depth && s.at[i] == '\\')
            i++;
        else if (depth && s.at[i] == ')')
            depth--;
        else if (!depth && !blank(s.at[i]))
            break;
    }
    return str_from_index(s, i);
}

static struct str take_until(struct str *s, const char *stops) {
    size_t i = 0;
    while (i < s->len && !blank(s->at[i]) && (!s->at[i] || !strchr(stops, s->at[i])))
        i++;
    struct str taken = str_head(*s, i);
    *s = str_from_index(*s, i);
    return taken;
}

static struct str take_quoted(struct arena *arena, struct str *s) {
    char *out = arena_alloc(arena, s->len);
    size_t len = 0, i = 1;
    for (; i < s->len && s->at[i] != '"'; i++) {
        if (s->at[i] == '\\' && i + 1 < s->len)
            i++;
        if (s->at[i] != '\r' && s->at[i] != '\n')
            out[len++] = s->at[i];
    }
    *s = str_from_index(*s, i + 1);
    return str_from(out, len);
}

/* The name without RFC 2231's `*`, `*0`, `*0*`; *ret_continued: it is a part after the first. */
static struct str plain_name(struct str name, bool *ret_continued) {
    ptrdiff_t star = str_index(name, '*');
    struct str section = star < 0 ? STR_NULL : str_from_index(name, (size_t)star + 1);
    if (section.len && section.at[section.len - 1] == '*')
        section.len--;
    *ret_continued = section.len && !str_eq(section, STR("0"));
    return star < 0 ? name : str_head(name, (size_t)star);
}

static void add_parameter(struct arena *arena, struct content_type *ct, struct str name, struct str value) {
    bool continued;
    name = plain_name(name, &continued);
    for (size_t i = 0; continued && i < ct->parameter_count; i++) {
        struct mime_parameter *p = &ct->parameters[i];
        if (str_eq_nocase(p->name, name)) {
            p->value = str_printf(arena, "%.*s%.*s", STR_FMT(p->value), STR_FMT(value));
            return;
        }
    }
    if (name.len && ct->parameter_count < PARAMETERS_MAX)
        ct->parameters[ct->parameter_count++] = (struct mime_parameter){name, value};
}

static void parse_parameters(struct arena *arena, struct str s, struct content_type *ct) {
    ct->parameters = arena_array(arena, struct mime_parameter, PARAMETERS_MAX);
    while ((s = skip_cfws(s)).len) {
        if (s.at[0] == ';') {
            s = str_from_index(s, 1);
            continue;
        }
        struct str name = take_until(&s, ";=(\"");
        s = skip_cfws(s);
        if (!s.len || s.at[0] != '=') {
            /* A word without a value, or a stray quote: go on after it. */
            if (!name.len && s.len && s.at[0] != ';')
                s = str_from_index(s, 1);
            continue;
        }
        s = skip_cfws(str_from_index(s, 1));
        struct str value = s.len && s.at[0] == '"' ? take_quoted(arena, &s) : take_until(&s, ";");
        add_parameter(arena, ct, name, value);
    }
}

void content_type_parse(struct arena *arena, struct str value, struct content_type *ret) {
    struct str s = skip_cfws(value);
    struct str type = take_until(&s, "/;(\"=");
    *ret = (struct content_type){.type = STR("text"), .subtype = STR("plain")};
    s = skip_cfws(s);
    if (type.len && s.len && s.at[0] == '/') {
        s = skip_cfws(str_from_index(s, 1));
        struct str subtype = take_until(&s, "/;(\"=");
        if (subtype.len) {
            ret->type = str_lower(arena, type);
            ret->subtype = str_lower(arena, subtype);
        }
    }
    s = skip_cfws(s);
    ptrdiff_t semicolon = str_index(s, ';');
    if (semicolon >= 0)
        parse_parameters(arena, str_from_index(s, (size_t)semicolon), ret);
}

struct str content_type_parameter(const struct content_type *ct, const char *name) {
    for (size_t i = 0; i < ct->parameter_count; i++)
        if (str_eq_nocase(ct->parameters[i].name, str_of(name)))
            return ct->parameters[i].value;
    return STR_NULL;
}

bool content_type_is(const struct content_type *ct, const char *type, const char *subtype) {
    return str_eq(ct->type, str_of(type)) && str_eq(ct->subtype, str_of(subtype));
}

enum mime_encoding mime_encoding_parse(struct str value) {
    static const struct {
        const char *name;
        enum mime_encoding encoding;
    } names[] = {{"7bit", MIME_7BIT},
                 {"8bit", MIME_8BIT},
                 {"binary", MIME_BINARY},
                 {"quoted-printable", MIME_QP},
                 {"base64", MIME_BASE64}};
    struct str s = skip_cfws(value);
    struct str word = take_until(&s, ";(");
    if (!word.len)
        return MIME_7BIT;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (str_eq_nocase(word, str_of(names[i].name)))
            return names[i].encoding;
    return MIME_OTHER_ENCODING;
}

static bool signed_smime(const struct content_type *ct) {
    bool pkcs7 = content_type_is(ct, "application", "pkcs7-mime") ||
                 content_type_is(ct, "application", "x-pkcs7-mime");
    return pkcs7 && str_starts_nocase(content_type_parameter(ct, "smime-type"), STR("signed"));
}

void mime_facts_of(struct arena *arena, const struct header *h, struct mime_facts *ret) {
    const struct header_field *field = header_find(h, STR("Content-Type"), NULL);
    struct content_type ct;
    content_type_parse(arena, field ? field->value : STR_NULL, &ct);
    *ret = (struct mime_facts){
        .delivery_report = content_type_is(&ct, "multipart", "report") &&
                           str_eq_nocase(content_type_parameter(&ct, "report-type"), STR("delivery-status")),
        .is_signed = header_find(h, STR("DKIM-Signature"), NULL) ||
                     content_type_is(&ct, "multipart", "signed") || signed_smime(&ct),
        .header_8bit = bytes_8bit(h->whole),
    };
}

bool bytes_8bit(struct str s) {
    size_t i = 0;
    for (; i + 8 <= s.len; i += 8) {
        uint64_t word;
        memcpy(&word, s.at + i, 8);
        if (word & 0x8080808080808080u)
            return true;
    }
    for (; i < s.len; i++)
        if ((unsigned char)s.at[i] > 127)
            return true;
    return false;
}

/* The length of the UTF-8 sequence at `at`, or 0 (RFC 3629 4). */
static size_t utf8_length(const unsigned char *at, size_t left) {
    unsigned char c = at[0], low = 0x80, high = 0xbf;
    size_t len = c < 0x80                 ? 1
                 : c >= 0xc2 && c <= 0xdf ? 2
                 : (c & 0xf0) == 0xe0     ? 3
                 : c >= 0xf0 && c <= 0xf4 ? 4
                                          : 0;
    if (len <= 1 || len > left)
        return len > left ? 0 : len;
    if (c == 0xe0)
        low = 0xa0;
    else if (c == 0xed)
        high = 0x9f;
    else if (c == 0xf0)
        low = 0x90;
    else if (c == 0xf4)
        high = 0x8f;
    if (at[1] < low || at[1] > high)
        return 0;
    for (size_t i = 2; i < len; i++)
        if ((at[i] & 0xc0) != 0x80)
            return 0;
    return len;
}

bool bytes_utf8(struct str s) {
    for (size_t i = 0, len; i < s.len; i += len)
        if (!(len = utf8_length((const unsigned char *)s.at + i, s.len - i)))
            return false;
    return true;
}

struct str utf8_clean(struct arena *arena, struct str s) {
    if (bytes_utf8(s))
        return s;
    char *out = arena_alloc(arena, s.len);
    for (size_t i = 0; i < s.len;) {
        size_t len = utf8_length((const unsigned char *)s.at + i, s.len - i);
        if (len)
            memcpy(out + i, s.at + i, len);
        else
            out[i] = '?';
        i += len ? len : 1;
    }
    return str_from(out, s.len);
}
