/* The address lists of RFC 5322 3.4 with the obsolete forms of 4.4: first tokens, then addresses. */
#include "base/error.h"
#include "mail/address.h"
#include "mail/mime.h"

enum { ADDRESSES_MAX = 10000 };
enum token_kind { TOKEN_ATOM, TOKEN_QUOTED, TOKEN_LITERAL, TOKEN_SPECIAL, TOKEN_END };

struct token {
    enum token_kind kind;
    char special;
    bool blank_before;
    struct str text;
};

struct lexer {
    struct str rest;
    struct arena *arena;
    bool damaged;
};

static bool blank(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }
static bool special(char c) { return c && strchr("()<>[]:;@\\,.\"", c); }

/* Past a comment, which may nest (RFC 5322 3.2.2); `rest` starts with its parenthesis. */
static void skip_comment(struct lexer *l) {
    size_t depth = 0, i = 0;
    do {
        if (l->rest.at[i] == '\\')
            i++;
        else if (l->rest.at[i] == '(')
            depth++;
        else if (l->rest.at[i] == ')')
            depth--;
        i++;
    } while (depth && i < l->rest.len);
    if (depth)
        l->damaged = true;
    l->rest = str_from_index(l->rest, i);
}

/* What stands between `rest`'s first byte and `close`, unescaped; a quoted string's folds are removed. */
static struct str delimited(struct lexer *l, char close) {
    char *out = arena_alloc(l->arena, l->rest.len);
    size_t len = 0, i = 1;
    for (; i < l->rest.len && l->rest.at[i] != close; i++) {
        if (l->rest.at[i] == '\\' && i + 1 < l->rest.len)
            i++;
        if (l->rest.at[i] != '\r' && l->rest.at[i] != '\n')
            out[len++] = l->rest.at[i];
    }
    if (i >= l->rest.len)
        l->damaged = true;
    l->rest = str_from_index(l->rest, i + 1);
    return str_from(out, len);
}

static struct token next_token(struct lexer *l) {
    struct token t = {.kind = TOKEN_END};
    while (l->rest.len && (blank(l->rest.at[0]) || l->rest.at[0] == '(')) {
        t.blank_before = true;
        if (l->rest.at[0] == '(')
            skip_comment(l);
        else
            l->rest = str_from_index(l->rest, 1);
    }
    if (!l->rest.len)
        return t;
    char c = l->rest.at[0];
    if (c == '"' || c == '[') {
        t.kind = c == '"' ? TOKEN_QUOTED : TOKEN_LITERAL;
        t.text = delimited(l, c == '"' ? '"' : ']');
        return t;
    }
    if (special(c)) {
        t.kind = TOKEN_SPECIAL;
        t.special = c;
        t.text = str_head(l->rest, 1);
        l->rest = str_from_index(l->rest, 1);
        return t;
    }
    size_t len = 0;
    while (len < l->rest.len && !blank(l->rest.at[len]) && !special(l->rest.at[len]))
        len++;
    t.kind = TOKEN_ATOM;
    t.text = str_head(l->rest, len);
    l->rest = str_from_index(l->rest, len);
    return t;
}

struct tokens {
    struct token *at;
    size_t count;
};

static struct tokens tokenise(struct lexer *l) {
    struct tokens all = {0};
    size_t cap = 0;
    struct token t;
    while ((t = next_token(l)).kind != TOKEN_END) {
        if (all.count == cap) {
            struct token *grown = arena_array(l->arena, struct token, cap = cap ? 2 * cap : 64);
            if (all.count)
                memcpy(grown, all.at, all.count * sizeof t);
            all.at = grown;
        }
        all.at[all.count++] = t;
    }
    return all;
}

static bool is(const struct token *t, char special_char) {
    return t->kind == TOKEN_SPECIAL && t->special == special_char;
}

static bool printable(struct str s) {
    for (size_t i = 0; i < s.len; i++)
        if ((s.at[i] >= 0 && s.at[i] < 32) || s.at[i] == 127)
            return false;
    return !bytes_8bit(s) || bytes_utf8(s);
}

/* Words and dots alternate; their texts joined. The NULL view when they don't. `last` may be a literal. */
static struct str joined(struct arena *arena, const struct token *t, size_t count, bool literal_allowed) {
    size_t len = 0;
    if (literal_allowed && count == 1 && t->kind == TOKEN_LITERAL)
        return str_printf(arena, "[%.*s]", STR_FMT(t->text));
    for (size_t i = 0; i < count; i++)
        len += t[i].text.len;
    char *out = arena_alloc(arena, len + 1);
    len = 0;
    for (size_t i = 0; i < count; i++) {
        bool word = t[i].kind == TOKEN_ATOM || (t[i].kind == TOKEN_QUOTED && !literal_allowed);
        bool after_word = i && !is(&t[i - 1], '.');
        if ((!word && !is(&t[i], '.')) || (word && after_word))
            return STR_NULL;
        if (t[i].text.len)
            memcpy(out + len, t[i].text.at, t[i].text.len);
        len += t[i].text.len;
    }
    return str_from(out, len);
}

/* addr-spec of `count` tokens. Over-long local parts are let through: headers have no such limit. */
static int addr_spec(struct arena *arena, const struct token *t, size_t count, struct address *ret) {
    size_t at = count;
    while (at > 0 && !is(&t[at - 1], '@'))
        at--;
    if (at < 2 || at == count)
        return SLUICE_ESYNTAX;
    struct str local = joined(arena, t, at - 1, false), domain = joined(arena, t + at, count - at, true);
    if (!local.at || !domain.at || !printable(local) ||
        (!domain_is_literal(domain) && !domain_valid(domain, true)))
        return SLUICE_ESYNTAX;
    local = local_quoted(arena, local);
    struct str whole = str_printf(arena, "%.*s@%.*s", STR_FMT(local), STR_FMT(domain));
    *ret = address_split(whole);
    return 0;
}

/* A phrase as people read it: quotes resolved, one blank where there were some. */
static struct str phrase(struct arena *arena, const struct token *t, size_t count) {
    size_t len = 0;
    for (size_t i = 0; i < count; i++)
        len += t[i].text.len + 1;
    char *out = arena_alloc(arena, len + 1);
    len = 0;
    for (size_t i = 0; i < count; i++) {
        if (i && t[i].blank_before)
            out[len++] = ' ';
        if (t[i].text.len)
            memcpy(out + len, t[i].text.at, t[i].text.len);
        len += t[i].text.len;
    }
    return str_from(out, len);
}

/* "phrase <route:addr-spec>" or a bare addr-spec. */
static int one_mailbox(struct arena *arena, const struct token *t, size_t count, struct mailbox *ret) {
    size_t open = 0;
    ret->display = STR("");
    while (open < count && !is(&t[open], '<'))
        open++;
    if (open == count)
        return addr_spec(arena, t, count, &ret->address);
    size_t close = open + 1;
    while (close < count && !is(&t[close], '>'))
        close++;
    if (close != count - 1)
        return SLUICE_ESYNTAX;
    ret->display = phrase(arena, t, open);
    open++;
    if (open < close && is(&t[open], '@'))
        for (size_t i = open; i < close; i++)
            if (is(&t[i], ':'))
                open = i + 1;
    return addr_spec(arena, t + open, close - open, &ret->address);
}

/* The tokens of one element end at a comma, a group's start or end; an angle bracket keeps its route
 * together.
 */
static size_t element_end(const struct tokens *all, size_t from) {
    bool angle = false;
    size_t i = from;
    for (; i < all->count; i++) {
        const struct token *t = &all->at[i];
        if (is(t, '<'))
            angle = true;
        else if (is(t, '>'))
            angle = false;
        else if (!angle && (is(t, ',') || is(t, ';') || is(t, ':')))
            break;
    }
    return i;
}

int address_list_parse(struct arena *arena, struct str value, struct address_list *ret) {
    struct lexer lexer = {.rest = value, .arena = arena};
    struct tokens all = tokenise(&lexer);
    struct address_list list = {0};
    size_t cap = 0;
    bool damaged = lexer.damaged, group = false;
    for (size_t i = 0; i < all.count; i++) {
        size_t end = element_end(&all, i);
        char stop = end < all.count ? all.at[end].special : ',';
        struct mailbox mailbox;
        if (stop == ':') {
            damaged |= group || end == i;
            group = true;
        } else if (end > i && one_mailbox(arena, all.at + i, end - i, &mailbox) != 0) {
            damaged = true;
        } else if (end > i) {
            if (list.count == ADDRESSES_MAX)
                return SLUICE_ETOOBIG;
            if (list.count == cap) {
                struct mailbox *grown = arena_array(arena, struct mailbox, cap = cap ? 2 * cap : 4);
                if (list.count)
                    memcpy(grown, list.items, list.count * sizeof mailbox);
                list.items = grown;
            }
            list.items[list.count++] = mailbox;
        }
        if (stop == ';') {
            damaged |= !group;
            group = false;
        }
        i = end;
    }
    *ret = list;
    return damaged || group ? SLUICE_ESYNTAX : 0;
}
