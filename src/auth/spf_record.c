#include "auth/spf_record.h"

#include "auth/spf_macro.h"
#include "base/error.h"

#include <ctype.h>

/* What may follow the name of a term. */
enum shape {
    BARE,       /* all */
    DOMAIN,     /* ":" domain-spec, must be there */
    MAY_DOMAIN, /* [ ":" domain-spec ] */
    DUAL_CIDR,  /* [ ":" domain-spec ] [ dual-cidr-length ] */
    NETWORK4,
    NETWORK6,
};

static const struct {
    struct str name;
    enum spf_term_kind kind;
    enum shape shape;
} mechanisms[] = {
    {STR("all"), SPF_TERM_ALL, BARE},       {STR("include"), SPF_TERM_INCLUDE, DOMAIN},
    {STR("a"), SPF_TERM_A, DUAL_CIDR},      {STR("mx"), SPF_TERM_MX, DUAL_CIDR},
    {STR("ptr"), SPF_TERM_PTR, MAY_DOMAIN}, {STR("ip4"), SPF_TERM_IP4, NETWORK4},
    {STR("ip6"), SPF_TERM_IP6, NETWORK6},   {STR("exists"), SPF_TERM_EXISTS, DOMAIN},
};

static const struct str version = STR("v=spf1");

bool spf_is_record(struct str text) {
    return str_starts_nocase(text, version) && (text.len == version.len || text.at[version.len] == ' ');
}

struct str spf_record_terms(struct str record) {
    return str_from_index(record, version.len);
}

bool spf_term_asks(enum spf_term_kind kind) {
    switch (kind) {
    case SPF_TERM_INCLUDE:
    case SPF_TERM_A:
    case SPF_TERM_MX:
    case SPF_TERM_PTR:
    case SPF_TERM_EXISTS:
    case SPF_TERM_REDIRECT:
        return true;
    default:
        return false;
    }
}

/* Takes "/" length off the end of *s when digits stand there; -1 for a bad length, 0 for none, 1. */
static int cut_length(struct str *s, unsigned most, unsigned *ret) {
    size_t from = s->len;
    while (from && isdigit((unsigned char)s->at[from - 1]))
        from--;
    if (from == s->len || !from || s->at[from - 1] != '/')
        return 0;
    struct str digits = str_from_index(*s, from);
    uint64_t value;
    if ((digits.len > 1 && digits.at[0] == '0') || !str_to_u64(digits, &value) || value > most)
        return -1;
    *ret = (unsigned)value;
    s->len = from - 1;
    return 1;
}

/* dual-cidr-length = [ ip4-cidr-length ] [ "/" ip6-cidr-length ] */
static bool cut_dual_length(struct str *s, struct spf_term *term) {
    struct str whole = *s;
    unsigned length;
    int found = cut_length(s, 128, &length);
    if (found < 0)
        return false;
    if (found && s->len && s->at[s->len - 1] == '/') {
        term->bits6 = length;
        s->len--;
        return cut_length(s, 32, &term->bits4) >= 0;
    }
    *s = whole;
    return cut_length(s, 32, &term->bits4) >= 0;
}

static const char *read_network(struct str s, bool six, struct spf_term *term) {
    int found = six ? cut_length(&s, 128, &term->bits6) : cut_length(&s, 32, &term->bits4);
    if (found < 0)
        return "a prefix length that is too long";
    bool colon = str_index(s, ':') >= 0;
    if (colon != six || !ip_parse(s, &term->network))
        return six ? "no IPv6 address" : "no IPv4 address";
    return NULL;
}

/* What stands after the mechanism's name: "", ":..." or "/...". */
static const char *read_argument(struct str s, enum shape shape, struct spf_term *term) {
    if (shape == BARE)
        return s.len ? "an argument where none may be" : NULL;
    if (shape == DUAL_CIDR && !cut_dual_length(&s, term))
        return "a prefix length that is too long";
    if (!s.len)
        return shape == MAY_DOMAIN || shape == DUAL_CIDR ? NULL : "no argument";
    if (s.at[0] != ':')
        return "a malformed argument";
    s = str_from_index(s, 1);
    if (shape == NETWORK4 || shape == NETWORK6)
        return read_network(s, shape == NETWORK6, term);
    term->domain = s;
    return spf_macro_fault(s, SPF_MACRO_DOMAIN);
}

static const char *read_mechanism(struct spf_term *term) {
    struct str s = term->text;
    term->qualifier = '+';
    if (strchr("+-?~", s.at[0])) {
        term->qualifier = s.at[0];
        s = str_from_index(s, 1);
    }
    size_t len = 0;
    while (len < s.len && s.at[len] != ':' && s.at[len] != '/')
        len++;
    for (size_t i = 0; i < sizeof mechanisms / sizeof *mechanisms; i++)
        if (str_eq_nocase(str_head(s, len), mechanisms[i].name)) {
            term->kind = mechanisms[i].kind;
            return read_argument(str_from_index(s, len), mechanisms[i].shape, term);
        }
    return "an unknown mechanism";
}

static const char *read_modifier(struct spf_term *term, size_t name_len) {
    struct str name = str_head(term->text, name_len);
    term->domain = str_from_index(term->text, name_len + 1);
    term->kind = str_eq_nocase(name, STR("redirect")) ? SPF_TERM_REDIRECT
                 : str_eq_nocase(name, STR("exp"))    ? SPF_TERM_EXP
                                                      : SPF_TERM_UNKNOWN;
    return spf_macro_fault(term->domain, term->kind == SPF_TERM_UNKNOWN ? SPF_MACRO_VALUE : SPF_MACRO_DOMAIN);
}

/* name = ALPHA *( ALPHA / DIGIT / "-" / "_" / "." ), before "=": its length, 0 when it is no modifier. */
static size_t modifier_name(struct str s) {
    if (!isalpha((unsigned char)s.at[0]))
        return 0;
    for (size_t i = 1; i < s.len; i++) {
        if (s.at[i] == '=')
            return i;
        if (!isalnum((unsigned char)s.at[i]) && !memchr("-_.", s.at[i], 3))
            return 0;
    }
    return 0;
}

int spf_term_next(struct str *rest, struct spf_term *ret, const char **ret_why) {
    while (rest->len && rest->at[0] == ' ')
        *rest = str_from_index(*rest, 1);
    if (!rest->len)
        return 0;
    size_t len = 0;
    while (len < rest->len && rest->at[len] != ' ')
        len++;
    *ret =
        (struct spf_term){.text = str_head(*rest, len), .kind = SPF_TERM_UNKNOWN, .bits4 = 32, .bits6 = 128};
    *rest = str_from_index(*rest, len);
    *ret_why = NULL;
    for (size_t i = 0; i < len; i++)
        if (ret->text.at[i] < 0x21 || ret->text.at[i] > 0x7e)
            *ret_why = "a character that is not printable ASCII";
    size_t name = *ret_why ? 0 : modifier_name(ret->text);
    if (!*ret_why)
        *ret_why = name ? read_modifier(ret, name) : read_mechanism(ret);
    return *ret_why ? SLUICE_ESYNTAX : 1;
}

int spf_record_check(struct str record, struct spf_record *ret, struct str *ret_term, const char **ret_why) {
    *ret = (struct spf_record){0};
    struct str rest = spf_record_terms(record);
    struct spf_term term;
    int found;
    while ((found = spf_term_next(&rest, &term, ret_why)) == 1) {
        ret->terms++;
        ret->has_all |= term.kind == SPF_TERM_ALL;
        struct spf_term *once = term.kind == SPF_TERM_REDIRECT ? &ret->redirect
                                : term.kind == SPF_TERM_EXP    ? &ret->exp
                                                               : NULL;
        if (once && once->text.len) {
            *ret_why = "a modifier that stands twice";
            found = SLUICE_ESYNTAX;
            break;
        }
        if (once)
            *once = term;
    }
    if (found < 0)
        *ret_term = term.text;
    return found;
}
