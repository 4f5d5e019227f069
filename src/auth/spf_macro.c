#include "auth/spf_macro.h"

#include "base/buf.h"

#include <ctype.h>

enum { DOMAIN_MAX = 253, PARTS_MAX = 128 };

static const char delimiters[] = ".-+,/_=";

/* "%{" letter [digits] ["r"] *delimiter "}" */
struct expand {
    char letter; /* lower case */
    bool escape; /* it was upper case: the value is URL-escaped */
    bool reverse;
    size_t keep;           /* right-hand parts; 0: all */
    struct str delimiters; /* empty: "." */
};

static bool is_letter(char c, enum spf_macro_use use) {
    return c && (strchr("slodiphv", c) || (use != SPF_MACRO_DOMAIN && strchr("crt", c)));
}

/* Reads what follows "%{" off *rest. */
static const char *read_expand(struct str *rest, enum spf_macro_use use, struct expand *ret) {
    ptrdiff_t end = str_index(*rest, '}');
    if (end < 0)
        return "a macro without its closing brace";
    struct str in = str_head(*rest, (size_t)end);
    *rest = str_from_index(*rest, (size_t)end + 1);
    if (!in.len || !is_letter(ascii_lower(in.at[0]), use))
        return "an unknown macro letter";
    *ret = (struct expand){.letter = ascii_lower(in.at[0]), .escape = in.at[0] != ascii_lower(in.at[0])};
    size_t i = 1;
    while (i < in.len && in.at[i] >= '0' && in.at[i] <= '9')
        i++;
    if (i > 1) {
        uint64_t keep;
        if (!str_to_u64(str_from(in.at + 1, i - 1), &keep) || !keep)
            return "a macro with an impossible number of parts";
        ret->keep = keep;
    }
    if (i < in.len && ascii_lower(in.at[i]) == 'r') {
        ret->reverse = true;
        i++;
    }
    ret->delimiters = str_from_index(in, i);
    for (; i < in.len; i++)
        if (!strchr(delimiters, in.at[i]))
            return "a macro with an unknown delimiter";
    return NULL;
}

/* One element of a macro string. */
struct piece {
    enum { PIECE_LITERAL, PIECE_SPACE, PIECE_ESCAPED_SPACE, PIECE_EXPAND } kind;
    struct str literal;
    struct expand expand;
};

/* Takes the next element off *rest, which is not empty. */
static const char *next_piece(struct str *rest, enum spf_macro_use use, struct piece *ret) {
    if (rest->at[0] != '%') {
        size_t len = 0;
        while (len < rest->len && rest->at[len] != '%') {
            unsigned char c = (unsigned char)rest->at[len++];
            if (c < (use == SPF_MACRO_EXPLANATION ? 0x20 : 0x21) || c > 0x7e)
                return "a character that is not printable ASCII";
        }
        *ret = (struct piece){.kind = PIECE_LITERAL, .literal = str_head(*rest, len)};
        *rest = str_from_index(*rest, len);
        return NULL;
    }
    char c = 0;
    if (rest->len > 1)
        c = rest->at[1];
    struct str sign = str_head(*rest, 1);
    *rest = str_from_index(*rest, 2);
    switch (c) {
    case '%':
        *ret = (struct piece){.kind = PIECE_LITERAL, .literal = sign};
        return NULL;
    case '_':
        *ret = (struct piece){.kind = PIECE_SPACE};
        return NULL;
    case '-':
        *ret = (struct piece){.kind = PIECE_ESCAPED_SPACE};
        return NULL;
    case '{':
        *ret = (struct piece){.kind = PIECE_EXPAND};
        return read_expand(rest, use, &ret->expand);
    default:
        return "a % that begins no macro";
    }
}

/* toplabel = ( *alphanum ALPHA *alphanum ) / ( 1*alphanum "-" *( alphanum / "-" ) alphanum ) */
static bool is_top_label(struct str s) {
    bool other = false;
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.at[i];
        if (!isalnum(c) && c != '-')
            return false;
        other |= !isdigit(c);
    }
    return s.len && other && s.at[0] != '-' && s.at[s.len - 1] != '-';
}

/* domain-end = ( "." toplabel [ "." ] ) / macro-expand: `last` is the literal at the end. */
static bool ends_domain(struct str last) {
    if (last.len && last.at[last.len - 1] == '.')
        last.len--;
    ptrdiff_t dot = str_rindex(last, '.');
    return dot >= 0 && is_top_label(str_from_index(last, (size_t)dot + 1));
}

const char *spf_macro_fault(struct str text, enum spf_macro_use use) {
    if (use == SPF_MACRO_DOMAIN && !text.len)
        return "an empty domain";
    struct piece piece = {0};
    bool literal = false;
    while (text.len) {
        bool percent = text.at[0] == '%';
        const char *fault = next_piece(&text, use, &piece);
        if (fault)
            return fault;
        literal = !percent;
    }
    if (use == SPF_MACRO_DOMAIN && literal && !ends_domain(piece.literal))
        return "a domain that does not end in a top-level label or a macro";
    return NULL;
}

/* Dotted quads, or dotted nibbles for IPv6. */
static struct str dotted_ip(struct arena *arena, const struct ip *ip) {
    char text[IP_TEXT_SIZE];
    if (ip_is_v4(ip))
        return str_copy(arena, str_of(ip_text(ip, text)));
    char *out = arena_alloc(arena, 64);
    for (size_t i = 0; i < 32; i++) {
        unsigned nibble = i % 2 ? ip->bytes[i / 2] & 15u : ip->bytes[i / 2] >> 4;
        out[i * 2] = "0123456789abcdef"[nibble];
        out[i * 2 + 1] = '.';
    }
    return str_from(out, 63);
}

static struct str value_of(struct arena *arena, char letter, const struct spf_macro_values *v) {
    char text[IP_TEXT_SIZE];
    switch (letter) {
    case 's':
        return v->sender;
    case 'l':
        return v->local;
    case 'o':
        return v->sender_domain;
    case 'd':
        return v->domain;
    case 'h':
        return v->helo;
    case 'i':
        return dotted_ip(arena, &v->ip);
    case 'v':
        return ip_is_v4(&v->ip) ? STR("in-addr") : STR("ip6");
    case 'c':
        return str_copy(arena, str_of(ip_text(&v->ip, text)));
    case 'r':
        return v->receiver.len ? v->receiver : STR("unknown");
    case 't':
        return str_printf(arena, "%lld", (long long)(v->now / 1000));
    default: /* p */
        return v->validated ? v->validated(v->context) : STR("unknown");
    }
}

static bool is_delimiter(const struct expand *e, char c) {
    return e->delimiters.len ? memchr(e->delimiters.at, c, e->delimiters.len) != NULL : c == '.';
}

static void put_escaped(struct buf *out, struct str s) {
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.at[i];
        if ((c < 128 && isalnum(c)) || (c && strchr("-._~", c)))
            buf_char(out, (char)c);
        else
            buf_printf(out, "%%%02X", c);
    }
}

/* Section 7.3: split at the delimiters, reverse, keep the right-hand parts, join with dots. */
static void put_transformed(struct buf *out, const struct expand *e, struct str value) {
    struct str parts[PARTS_MAX];
    size_t count = 0, from = 0;
    for (size_t i = 0; i <= value.len; i++)
        if (i == value.len || (count < PARTS_MAX - 1 && is_delimiter(e, value.at[i]))) {
            parts[count++] = str_from(value.at + from, i - from);
            from = i + 1;
        }
    size_t keep = e->keep && e->keep < count ? e->keep : count;
    for (size_t i = 0; i < keep; i++) {
        size_t at = e->reverse ? keep - 1 - i : count - keep + i;
        if (i)
            buf_char(out, '.');
        if (e->escape)
            put_escaped(out, parts[at]);
        else
            buf_str(out, parts[at]);
    }
}

static void put_piece(struct arena *arena, struct buf *out, const struct piece *piece,
                      const struct spf_macro_values *values) {
    switch (piece->kind) {
    case PIECE_LITERAL:
        buf_str(out, piece->literal);
        break;
    case PIECE_SPACE:
        buf_char(out, ' ');
        break;
    case PIECE_ESCAPED_SPACE:
        buf_str(out, STR("%20"));
        break;
    case PIECE_EXPAND:
        put_transformed(out, &piece->expand, value_of(arena, piece->expand.letter, values));
    }
}

/* Section 7.3: labels go from the left until at most 253 octets are left. */
static struct str shorten_domain(struct str s) {
    if (s.len && s.at[s.len - 1] == '.')
        s.len--;
    while (s.len > DOMAIN_MAX) {
        ptrdiff_t dot = str_index(s, '.');
        s = dot < 0 ? STR("") : str_from_index(s, (size_t)dot + 1);
    }
    return s;
}

bool spf_macro_expand(struct arena *arena, struct str text, enum spf_macro_use use,
                      const struct spf_macro_values *values, size_t limit, struct str *ret) {
    enum { TAIL = 4 * DOMAIN_MAX };
    struct buf out __attribute__((cleanup(buf_free))) = {0};
    while (text.len) {
        struct piece piece;
        if (next_piece(&text, use, &piece))
            return false;
        put_piece(arena, &out, &piece, values);
        if (use != SPF_MACRO_DOMAIN && out.len > limit)
            return false;
        /* Only the end of a domain counts: what a long record expands to needs no memory. */
        if (use == SPF_MACRO_DOMAIN && out.len > 16 * TAIL)
            buf_consume(&out, out.len - TAIL);
    }
    struct str whole = buf_view(&out);
    *ret = str_copy(arena, use == SPF_MACRO_DOMAIN ? shorten_domain(whole) : whole);
    return true;
}
