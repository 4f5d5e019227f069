#include "base/error.h"
#include "base/ip.h"
#include "mail/address.h"
#include "mail/mime.h"

#include <idn2.h>
#include <stdlib.h>

static bool label_byte(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

static bool label_valid(struct str label) {
    if (!label.len || label.len > 63 || label.at[0] == '-' || label.at[label.len - 1] == '-')
        return false;
    for (size_t i = 0; i < label.len; i++)
        if (!label_byte(label.at[i]))
            return false;
    return true;
}

static bool ascii_valid(struct str domain) {
    struct str rest = domain, label;
    if (!domain.len || domain.len > ADDRESS_DOMAIN_MAX || domain.at[domain.len - 1] == '.')
        return false;
    while (str_cut(&rest, '.', &label))
        if (!label_valid(label))
            return false;
    return true;
}

/* UTS 46, non-transitional: the A-label form, malloc'd by libidn2; NULL when the name is not allowed. */
static char *a_labels(struct str domain) {
    uint8_t name[ADDRESS_DOMAIN_MAX + 1];
    uint8_t *ascii = NULL;
    if (!domain.len || domain.len > ADDRESS_DOMAIN_MAX || memchr(domain.at, 0, domain.len) ||
        !bytes_utf8(domain))
        return NULL;
    memcpy(name, domain.at, domain.len);
    name[domain.len] = 0;
    if (idn2_lookup_u8(name, &ascii, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL) != IDN2_OK)
        return NULL;
    if (ascii_valid(str_of((char *)ascii)))
        return (char *)ascii;
    idn2_free(ascii);
    return NULL;
}

bool domain_valid(struct str domain, bool utf8) {
    if (!bytes_8bit(domain))
        return ascii_valid(domain);
    char *ascii = utf8 && domain.at[domain.len - 1] != '.' ? a_labels(domain) : NULL;
    bool valid = ascii != NULL;
    idn2_free(ascii);
    return valid;
}

bool domain_is_literal(struct str domain) {
    struct ip ip;
    if (domain.len < 3 || domain.at[0] != '[' || domain.at[domain.len - 1] != ']')
        return false;
    struct str inner = str_from(domain.at + 1, domain.len - 2);
    if (str_starts_nocase(inner, STR("IPv6:"))) {
        inner = str_from_index(inner, 5);
        return str_index(inner, ':') >= 0 && ip_parse(inner, &ip);
    }
    return str_index(inner, ':') < 0 && ip_parse(inner, &ip);
}

int domain_normal(struct arena *arena, struct str domain, struct str *ret) {
    if (domain_is_literal(domain)) {
        *ret = str_lower(arena, domain);
        return 0;
    }
    if (domain.len && domain.at[domain.len - 1] == '.')
        domain.len--;
    if (!bytes_8bit(domain)) {
        if (!ascii_valid(domain))
            return SLUICE_ESYNTAX;
        *ret = str_lower(arena, domain);
        return 0;
    }
    char *ascii = a_labels(domain);
    if (!ascii)
        return SLUICE_ESYNTAX;
    *ret = str_lower(arena, str_of(ascii));
    idn2_free(ascii);
    return 0;
}

bool domain_same(struct str a, struct str b) {
    if (str_eq_nocase(a, b))
        return true;
    if (!bytes_8bit(a) && !bytes_8bit(b))
        return false;
    struct arena *arena = arena_new(0);
    struct str normal_a, normal_b;
    bool same = domain_normal(arena, a, &normal_a) == 0 && domain_normal(arena, b, &normal_b) == 0 &&
                str_eq(normal_a, normal_b);
    arena_free(arena);
    return same;
}
