#include "mail/received_chain.h"

/* A field is words and comments. Words are what stands at the top; a quoted string is part of its word. */
struct item {
    struct str text; /* of a comment: what stands between its parentheses */
    bool comment;
};

struct reader {
    struct str rest;
    bool broken; /* a comment or a quoted string without an end */
};

static bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

/* The length of the comment that begins the view, both parentheses with it; 0: it has no end. */
static size_t comment_length(struct str s) {
    size_t depth = 0;
    for (size_t i = 0; i < s.len; i++) {
        if (s.at[i] == '\\')
            i++;
        else if (s.at[i] == '(')
            depth++;
        else if (s.at[i] == ')' && --depth == 0)
            return i + 1;
    }
    return 0;
}

static size_t word_length(struct str s, bool *ret_broken) {
    bool quoted = false;
    size_t i = 0;
    for (; i < s.len && (quoted || (!is_blank(s.at[i]) && s.at[i] != '(' && s.at[i] != ';')); i++) {
        if (s.at[i] == '\\' && quoted)
            i++;
        else if (s.at[i] == '"')
            quoted = !quoted;
    }
    *ret_broken = quoted || i > s.len;
    return i > s.len ? s.len : i;
}

/* The next item; false at the end, at the date, or when broken. */
static bool next_item(struct reader *r, struct item *ret) {
    while (r->rest.len && is_blank(r->rest.at[0]))
        r->rest = str_from_index(r->rest, 1);
    if (!r->rest.len || r->rest.at[0] == ';')
        return false;
    size_t len;
    ret->comment = r->rest.at[0] == '(';
    if (ret->comment) {
        len = comment_length(r->rest);
        r->broken = len == 0;
        ret->text = len ? str_from(r->rest.at + 1, len - 2) : STR_NULL;
    } else {
        len = word_length(r->rest, &r->broken);
        ret->text = str_head(r->rest, len);
    }
    r->rest = str_from_index(r->rest, len);
    return !r->broken;
}

static bool is_word(const struct item *item, const char *word) {
    return !item->comment && str_eq_nocase(item->text, str_of(word));
}

/* ---- addresses ---- */

/* "192.0.2.1", "IPv6:2001:db8::1", "fe80::1%eth0". */
static bool parse_bare(struct str text, struct ip *ret) {
    ptrdiff_t zone = str_index(text, '%');
    if (str_starts_nocase(text, STR("IPv6:")))
        text = str_from_index(text, 5), zone -= 5;
    if (zone > 0)
        text = str_head(text, (size_t)zone);
    return ip_parse(text, ret) && !ip_is_none(ret);
}

/* "[192.0.2.1]", with a port behind it as Exim writes it. */
static bool parse_bracketed(struct str text, struct ip *ret) {
    ptrdiff_t end = str_index(text, ']');
    uint64_t port;
    if (end < 1 || text.at[0] != '[')
        return false;
    struct str behind = str_from_index(text, (size_t)end + 1);
    if (behind.len && (behind.at[0] != ':' || !str_to_u64(str_from_index(behind, 1), &port)))
        return false;
    return parse_bare(str_from(text.at + 1, (size_t)end - 1), ret);
}

/* What a from clause has told so far. */
struct clause {
    struct str first;      /* its first word */
    struct ip word_ip;     /* of a second word, "from helo [192.0.2.1]" */
    struct ip ip;          /* of a comment: what the writing host saw */
    struct str helo, name; /* of comments */
    bool clashes;          /* comments name different addresses */
    bool opaque;           /* a comment is there that may stand for an address which it does not tell */
};

static void saw(struct clause *c, const struct ip *ip) {
    if (!ip_is_none(&c->ip) && !ip_eq(&c->ip, ip))
        c->clashes = true;
    c->ip = *ip;
}

/* The next token of a comment: nested comments and quoted strings are left out; what a quote holds is a
 * client's word (a certificate's name). */
static bool next_token(struct str *rest, struct str *ret) {
    for (;;) {
        while (rest->len && (is_blank(rest->at[0]) || rest->at[0] == ',' || rest->at[0] == ')'))
            *rest = str_from_index(*rest, 1);
        if (!rest->len)
            return false;
        if (rest->at[0] == '(') {
            size_t len = comment_length(*rest);
            *rest = str_from_index(*rest, len ? len : rest->len);
            continue;
        }
        size_t i = 0;
        bool quoted = false, quote = false;
        for (; i < rest->len && (quoted || !(is_blank(rest->at[i]) || memchr(",()", rest->at[i], 3))); i++)
            if (rest->at[i] == '\\' && i + 1 < rest->len)
                i++;
            else if (rest->at[i] == '"')
                quoted = !quoted, quote = true;
        *ret = str_head(*rest, i);
        *rest = str_from_index(*rest, i);
        if (!quote)
            return true;
    }
}

static bool is_greeting(struct str token) {
    return str_eq_nocase(token, STR("HELO")) || str_eq_nocase(token, STR("EHLO")) ||
           str_eq_nocase(token, STR("LHLO"));
}

/* "host.example." or Sendmail's "IDENT:user@host.example". */
static struct str name_of(struct str token) {
    ptrdiff_t at = str_rindex(token, '@');
    struct str name = str_from_index(token, (size_t)(at + 1));
    if (name.len && name.at[name.len - 1] == '.')
        name.len--;
    return str_eq_nocase(name, STR("unknown")) || !name.len || name.at[0] == '[' ? STR("") : name;
}

/* One comment of the from clause: the client's name and address, its greeting, or something else. */
static void read_comment(struct clause *c, struct str text) {
    struct str rest = text, token, before = STR("");
    struct ip ip;
    bool known = false, greeting = false, first = false;
    while (next_token(&rest, &token)) {
        if (greeting || str_starts_nocase(token, STR("helo="))) {
            struct str word = greeting ? token : str_from_index(token, 5);
            c->helo = c->helo.len ? c->helo : word;
            /* "(helo [192.0.2.1])" may also be a client whose PTR is "helo". */
            known = !greeting || !first || !parse_bracketed(token, &ip);
            greeting = false;
        } else if (is_greeting(token)) {
            known = greeting = true;
            first = !before.len;
        } else if (parse_bracketed(token, &ip) || parse_bare(token, &ip) ||
                   (!before.len && str_index(token, '@') >= 0 && !rest.len &&
                    parse_bare(str_from_index(token, (size_t)str_rindex(token, '@') + 1), &ip))) {
            saw(c, &ip);
            c->name = c->name.len ? c->name : name_of(before);
            known = true;
        } else if (!before.len &&
                   (str_starts_nocase(token, STR("port=")) || str_eq_nocase(token, STR("using")) ||
                    str_eq_nocase(token, STR("account")) || str_starts_nocase(token, STR("authenticated")))) {
            known = true;
        }
        before = token;
    }
    c->opaque |= !known;
}

static struct str without_brackets_name(struct str word) {
    return str_eq_nocase(word, STR("unknown")) || (word.len && word.at[0] == '[') ? STR("") : word;
}

/* Which address was it, and what did the client say? */
static bool conclude(struct clause *c, struct received_client *ret) {
    struct ip literal = {{0}};
    bool is_literal = parse_bracketed(c->first, &literal);
    if (c->clashes)
        return false;
    if (!ip_is_none(&c->ip))
        ret->ip = c->ip;
    else if (c->opaque)
        return false; /* the first word is then the client's own */
    else if (is_literal)
        ret->ip = literal;
    else if (!ip_is_none(&c->word_ip))
        ret->ip = c->word_ip;
    else
        return false;
    ret->helo = c->helo.len ? c->helo : c->first;
    ret->name = c->name.len ? c->name : c->helo.len ? without_brackets_name(c->first) : STR("");
    return true;
}

static bool is_clause_name(const struct item *item) {
    return is_word(item, "with") || is_word(item, "via") || is_word(item, "id") || is_word(item, "for");
}

/* From the second item to `by` or the end. False: words stand there that no server writes; a client
 * that may put blanks into its HELO could have. */
static bool read_from(struct reader *r, struct clause *c, bool *ret_by) {
    struct item item;
    size_t words = 0;
    *ret_by = false;
    if (!next_item(r, &item) || item.comment)
        return false;
    c->first = item.text;
    while (next_item(r, &item)) {
        if (is_word(&item, "by")) {
            *ret_by = true;
            return true;
        }
        if (item.comment)
            read_comment(c, item.text);
        else if (is_clause_name(&item) || is_word(&item, "from"))
            return false;
        else if (++words == 1)
            parse_bracketed(item.text, &c->word_ip);
    }
    return true;
}

/* The registered names of authenticated transmission (RFC 3848, 6531): ...A, ...SA. Behind `for` words are
 * the client's. */
static bool is_authenticated(struct reader r) {
    static const char *const words[] = {"ESMTPA", "ESMTPSA", "UTF8SMTPA", "UTF8SMTPSA", "LMTPA", "LMTPSA"};
    struct item item;
    while (next_item(&r, &item) && !is_word(&item, "for")) {
        if (!is_word(&item, "with"))
            continue;
        if (!next_item(&r, &item))
            return false;
        for (size_t i = 0; i < sizeof words / sizeof *words; i++)
            if (is_word(&item, words[i]))
                return true;
        return false;
    }
    return false;
}

bool received_is_local(struct str value) {
    struct reader r = {.rest = value};
    struct item item;
    if (!next_item(&r, &item))
        return false;
    if (item.comment) /* (qmail 4711 invoked by uid 1000) */
        return str_find(item.text, STR(" invoked by ")) >= 0;
    bool local = is_word(&item, "by");
    while (local && next_item(&r, &item) && !is_word(&item, "for"))
        if (is_word(&item, "with"))
            return next_item(&r, &item) && is_word(&item, "local");
    return local;
}

/* No second clause of either name, not even behind a semicolon: one of them would be the client's doing. */
static bool only_once(struct reader *r) {
    struct item item;
    for (;;) {
        while (next_item(r, &item))
            if (is_word(&item, "by") || is_word(&item, "from"))
                return false;
        if (r->broken || !r->rest.len)
            return !r->broken;
        r->rest = str_from_index(r->rest, 1); /* the semicolon */
    }
}

bool received_client(struct arena *arena, struct str value, struct received_client *ret) {
    struct reader r = {.rest = value};
    struct clause clause = {0};
    struct received_client found = {0};
    struct item item;
    bool by;
    if (!next_item(&r, &item) || !is_word(&item, "from") || !read_from(&r, &clause, &by))
        return false;
    if (!by || !next_item(&r, &item) || item.comment)
        return false;
    found.by = item.text;
    bool authenticated = is_authenticated(r);
    if (!only_once(&r))
        return false;
    if (!conclude(&clause, &found))
        return false;
    *ret = (struct received_client){
        .ip = found.ip,
        .helo = str_copy(arena, found.helo),
        .name = str_copy(arena, found.name),
        .by = str_copy(arena, found.by),
        .authenticated = authenticated,
    };
    return true;
}
