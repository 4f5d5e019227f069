#include "auth/dkim_tags.h"

#include <openssl/evp.h>

static bool alpha(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
static bool space(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

static bool name_valid(struct str name) {
    if (!name.len || !alpha(name.at[0]))
        return false;
    for (size_t i = 1; i < name.len; i++)
        if (!alpha(name.at[i]) && name.at[i] != '_' && (name.at[i] < '0' || name.at[i] > '9'))
            return false;
    return true;
}

static bool value_valid(struct str value) {
    for (size_t i = 0; i < value.len; i++)
        if (!space(value.at[i]) && ((unsigned char)value.at[i] < 33 || value.at[i] == 127))
            return false;
    return true;
}

bool dkim_tags_parse(struct str list, struct dkim_tags *ret) {
    struct str rest = list, part;
    ret->count = 0;
    while (str_cut(&rest, ';', &part)) {
        if (!rest.at && ret->count && !str_trim(part).len)
            break;
        ptrdiff_t equals = str_index(part, '=');
        if (equals < 0 || ret->count == DKIM_TAGS_MAX)
            return false;
        struct dkim_tag tag = {.name = str_trim(str_head(part, (size_t)equals)),
                               .hole = str_from_index(part, (size_t)equals + 1)};
        tag.value = str_trim(tag.hole);
        if (!name_valid(tag.name) || !value_valid(tag.value))
            return false;
        for (size_t i = 0; i < ret->count; i++)
            if (str_eq(ret->items[i].name, tag.name))
                return false;
        ret->items[ret->count++] = tag;
    }
    return ret->count > 0;
}

const struct dkim_tag *dkim_tag_find(const struct dkim_tags *tags, const char *name) {
    for (size_t i = 0; i < tags->count; i++)
        if (str_eq(tags->items[i].name, str_of(name)))
            return &tags->items[i];
    return NULL;
}

struct str dkim_tag_value(const struct dkim_tags *tags, const char *name) {
    const struct dkim_tag *tag = dkim_tag_find(tags, name);
    return tag ? tag->value : STR_NULL;
}

bool dkim_list_next(struct str *rest, char separator, struct str *ret_part) {
    if (!str_cut(rest, separator, ret_part))
        return false;
    *ret_part = str_trim(*ret_part);
    return true;
}

static int hex(char c) {
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                  : -1;
}

struct str dkim_quoted_read(struct arena *arena, struct str text) {
    char *out = arena_alloc(arena, text.len);
    size_t len = 0;
    for (size_t i = 0; i < text.len; i++) {
        bool pair =
            text.at[i] == '=' && i + 2 < text.len && hex(text.at[i + 1]) >= 0 && hex(text.at[i + 2]) >= 0;
        if (pair) {
            out[len++] = (char)(hex(text.at[i + 1]) << 4 | hex(text.at[i + 2]));
            i += 2;
        } else if (!space(text.at[i])) {
            out[len++] = text.at[i];
        }
    }
    return str_from(out, len);
}

bool dkim_base64_read(struct arena *arena, struct str text, struct str *ret_bytes) {
    unsigned char *packed = arena_alloc(arena, text.len + 1), *out;
    size_t len = 0, padding = 0;
    for (size_t i = 0; i < text.len; i++)
        if (!space(text.at[i]))
            packed[len++] = (unsigned char)text.at[i];
    while (padding < len && padding < 2 && packed[len - 1 - padding] == '=')
        padding++;
    if (!len || len % 4 != 0 || len > 1 << 20)
        return false;
    for (size_t i = 0; i + padding < len; i++)
        if (!alpha((char)packed[i]) && (packed[i] < '0' || packed[i] > '9') && packed[i] != '+' &&
            packed[i] != '/')
            return false;
    out = arena_alloc(arena, len / 4 * 3 + 1);
    int bytes = EVP_DecodeBlock(out, packed, (int)len);
    if (bytes < (int)padding)
        return false;
    *ret_bytes = str_from(out, (size_t)bytes - padding);
    return true;
}

struct str dkim_base64_write(struct arena *arena, struct str bytes) {
    unsigned char *out = arena_alloc(arena, (bytes.len + 2) / 3 * 4 + 1);
    int len = EVP_EncodeBlock(out, (const unsigned char *)bytes.at, (int)bytes.len);
    return str_from(out, (size_t)len);
}
