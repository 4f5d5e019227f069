#include "smtp/grammar.h"
#include "mail/mime.h"

const struct smtp_verb_entry smtp_verbs[SMTP_VERB_COUNT] = {
#define X(name, flags, syntax) [SMTP_##name] = {STR(#name), (flags), STR(syntax)},
    SMTP_VERBS(X)
#undef X
};

static const struct {
    struct str name;
    unsigned bit;
} extensions[] = {
#define X(name, bit) {STR(#name), SMTP_EXTENSION_##name},
    SMTP_EXTENSIONS(X)
#undef X
};

unsigned smtp_extension_of(struct str keyword) {
    for (size_t i = 0; i < sizeof extensions / sizeof extensions[0]; i++)
        if (str_eq_nocase(keyword, extensions[i].name))
            return extensions[i].bit;
    return 0;
}

struct str smtp_extension_name(enum smtp_extension bit) {
    for (size_t i = 0; i < sizeof extensions / sizeof extensions[0]; i++)
        if (extensions[i].bit == bit)
            return extensions[i].name;
    return STR_NULL;
}

static bool has_control(struct str s) {
    for (size_t i = 0; i < s.len; i++)
        if (((unsigned char)s.at[i] < ' ' && s.at[i] != '\t') || s.at[i] == 0x7f)
            return true;
    return false;
}

static bool is_letter(char c) { return ascii_lower(c) >= 'a' && ascii_lower(c) <= 'z'; }

struct smtp_reply smtp_command_parse(struct str line, struct smtp_command *ret) {
    *ret = (struct smtp_command){.verb = SMTP_UNKNOWN};
    while (line.len && (line.at[line.len - 1] == ' ' || line.at[line.len - 1] == '\t'))
        line.len--;
    if (has_control(line))
        return SMTP_REPLY(500, "5.5.2", "Control bytes are not allowed in a command; lines end with CRLF");
    size_t verb = 0;
    while (verb < line.len && line.at[verb] != ' ' && line.at[verb] != '\t')
        verb++;
    ret->name = str_head(line, verb);
    ret->argument = str_trim(str_from_index(line, verb));
    if (verb == 0)
        return SMTP_REPLY(500, "5.5.2", "A command was expected");
    for (size_t i = 0; i < verb; i++)
        if ((unsigned char)line.at[i] > 0x7f)
            return SMTP_REPLY(500, "5.5.2", "8-bit bytes are not allowed in a command");
    if (!bytes_utf8(ret->argument))
        return SMTP_REPLY(501, "5.5.4", "The command's argument is neither ASCII nor UTF-8");
    if (!is_letter(line.at[0]))
        return (struct smtp_reply){0};
    for (int i = 0; i < SMTP_VERB_COUNT; i++)
        if (str_eq_nocase(ret->name, smtp_verbs[i].name)) {
            ret->verb = (enum smtp_verb)i;
            break;
        }
    return (struct smtp_reply){0};
}

static int hex_value(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    c = ascii_lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool smtp_xtext_decode(struct arena *arena, struct str text, struct str *ret) {
    char *out = arena_alloc(arena, text.len + 1);
    size_t len = 0;
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.at[i];
        if (c <= ' ' || c == '=' || c == 0x7f)
            return false;
        if (c != '+') {
            out[len++] = (char)c;
            continue;
        }
        if (text.len - i < 3)
            return false;
        int high = hex_value(text.at[i + 1]), low = hex_value(text.at[i + 2]);
        if (high < 0 || low < 0)
            return false;
        out[len++] = (char)(high * 16 + low);
        i += 2;
    }
    *ret = str_from(out, len);
    return true;
}

void smtp_xtext_encode(struct buf *out, struct str text) {
    static const char hex[] = "0123456789ABCDEF";
    buf_reserve(out, text.len * 3);
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.at[i];
        if (c <= ' ' || c == '+' || c == '=' || c >= 0x7f) {
            char code[3] = {'+', hex[c >> 4], hex[c & 15]};
            buf_add(out, code, 3);
        } else {
            buf_char(out, (char)c);
        }
    }
}

static const char base64_digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static int base64_value(char c) {
    const char *at = c ? strchr(base64_digits, c) : NULL;
    return at ? (int)(at - base64_digits) : -1;
}

bool smtp_base64_decode(struct arena *arena, struct str text, struct str *ret) {
    if (text.len % 4 != 0)
        return false;
    size_t padding = 0;
    while (padding < 2 && padding < text.len && text.at[text.len - 1 - padding] == '=')
        padding++;
    char *out = arena_alloc(arena, text.len / 4 * 3 + 1);
    size_t len = 0, digits = text.len - padding;
    unsigned bits = 0, count = 0;
    for (size_t i = 0; i < digits; i++) {
        int value = base64_value(text.at[i]);
        if (value < 0)
            return false;
        bits = (bits << 6 | (unsigned)value) & 0xffffff;
        count += 6;
        if (count >= 8) {
            count -= 8;
            out[len++] = (char)(bits >> count & 0xff);
        }
    }
    if (bits & ((1u << count) - 1))
        return false; /* not canonical: two texts would mean the same (RFC 4648 3.5) */
    *ret = str_from(out, len);
    return true;
}

void smtp_base64_encode(struct buf *out, struct str bytes) {
    for (size_t i = 0; i < bytes.len; i += 3) {
        size_t left = bytes.len - i;
        unsigned bits = (unsigned)(unsigned char)bytes.at[i] << 16;
        if (left > 1)
            bits |= (unsigned)(unsigned char)bytes.at[i + 1] << 8;
        if (left > 2)
            bits |= (unsigned)(unsigned char)bytes.at[i + 2];
        char four[4] = {base64_digits[bits >> 18], base64_digits[bits >> 12 & 63],
                        left > 1 ? base64_digits[bits >> 6 & 63] : '=',
                        left > 2 ? base64_digits[bits & 63] : '='};
        buf_add(out, four, 4);
    }
}
