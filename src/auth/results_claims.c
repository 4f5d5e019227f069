/* Who speaks in a field: read as the most tolerant of readers might, and in several ways at once, for a
 * forged field that is left in is worse than a damaged one of somebody else's that is taken out. */
#include "auth/results.h"
#include "mail/address.h"
#include "seeded_bug.h"

enum { NAME_MAX = 1024, SPELLINGS_MAX = 16 };

/* What parts one word from the next. */
enum parting { AT_ALL, NOT_AT_COMMENTS, NOT_AT_BLANKS };

struct words {
    struct str rest, wanted;
    enum parting parting;
    bool open_comment, open_quote; /* one never ends: it is no comment, no quote, and so are those after it */
    unsigned spellings;            /* words whose spelling was looked into */
    bool any;
    struct buf word;
};

static bool blank(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

/* The octets of the comment or quoted string at the front, both ends included; 0 when it has no end. */
static size_t closed(struct str s, char open, char close) {
    unsigned depth = 0;
    for (size_t i = 0; i < s.len; i++) {
        char c = s.at[i];
        if (c == '\\')
            i++;
        else if (c == close && depth <= 1 && i)
            return i + 1;
        else if (c == close && i)
            depth--;
        else if (c == open)
            depth++;
    }
    return 0;
}

/* The word ends: is it the name? */
static bool end_word(struct words *w) {
    struct str word = buf_view(&w->word);
    bool same = false, odd = str_find_nocase(word, STR("xn--")) >= 0;
    if (word.len && word.at[word.len - 1] == '.')
        word.len--;
    for (size_t i = 0; i < word.len; i++)
        odd |= (unsigned char)word.at[i] > 127;
    if (word.len && word.len <= NAME_MAX)
        same = str_eq_nocase(word, w->wanted);
    if (!same && odd && word.len <= ADDRESS_DOMAIN_MAX && w->spellings++ < SPELLINGS_MAX)
        same = domain_same(word, w->wanted);
    w->any |= w->word.len > 0;
    buf_clear(&w->word);
    return same;
}

static void add_quoted(struct words *w, struct str inside) {
    for (size_t i = 0; i < inside.len; i++) {
        i += inside.at[i] == '\\' && i + 1 < inside.len;
        buf_char(&w->word, inside.at[i]);
    }
}

/* Takes one octet, comment or quoted string off the front. True when a word ends there and is the name. */
static bool step(struct words *w) {
    char c = w->rest.at[0];
    size_t len = 1;
    bool same = false;
    if (c == '(' && !w->open_comment) {
        len = closed(w->rest, '(', ')');
        w->open_comment = !len;
        if (!len || w->parting == AT_ALL)
            same = end_word(w);
    } else if (c == '"' && !w->open_quote) {
        len = closed(w->rest, '"', '"');
        w->open_quote = !len;
        if (!len || w->parting == AT_ALL)
            same = end_word(w);
        if (len)
            add_quoted(w, str_head(str_from_index(w->rest, 1), len - 2));
    } else if (blank(c)) {
        if (w->parting != NOT_AT_BLANKS)
            same = end_word(w);
    } else if (c && strchr("()<>@,;:\\\"/[]?=", c)) {
        same = end_word(w);
    } else if ((unsigned char)c > ' ' && c != 127) {
        buf_char(&w->word, c);
    }
    w->rest = str_from_index(w->rest, len ? len : 1);
    return same;
}

static bool names(struct str value, struct str wanted, enum parting parting) {
    struct words w = {.rest = value, .wanted = wanted, .parting = parting};
    bool same = false;
    while (w.rest.len && !same) {
        if (w.rest.at[0] == ';' && (w.any || w.word.len))
            break;
        same = step(&w);
    }
    same = same || end_word(&w);
    buf_free(&w.word);
    return same;
}

bool results_claims(struct arena *arena, const struct header_field *field, struct str authserv_id) {
    struct str wanted = authserv_id;
    (void)arena;
    if (wanted.len && wanted.at[wanted.len - 1] == '.')
        wanted.len--;
    if (!wanted.len || !str_eq_nocase(field->name, STR("Authentication-Results")))
        return false;
#ifdef SLUICE_SEEDED_BUG_FORGED_RESULTS_KEPT
    return str_starts(str_trim(field->value), wanted);
#endif
    return names(field->value, wanted, AT_ALL) || names(field->value, wanted, NOT_AT_COMMENTS) ||
           names(field->value, wanted, NOT_AT_BLANKS);
}
