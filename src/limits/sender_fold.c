#include "limits/sender_fold.h"

#include "mail/address.h"

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

static bool is_alnum(char c) { return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

static bool has_digit(struct str s) {
    for (size_t i = 0; i < s.len; i++)
        if (is_digit(s.at[i]))
            return true;
    return false;
}

/* ---- each syntax: false, or *local is what it stands for ---- */

/* prvs=TAG=local (draft-levine-smtp-batv), and as others write it. */
static bool without_tag(struct str *local) {
    static const struct {
        const char *before, *behind;
    } tags[] = {{"prvs=", "="}, {"msprvs1=", "="}, {"btv1==", "=="}};
    for (size_t i = 0; i < sizeof tags / sizeof *tags; i++) {
        struct str before = str_of(tags[i].before), behind = str_of(tags[i].behind);
        size_t at = before.len;
        if (!str_starts_nocase(*local, before))
            continue;
        while (at < local->len && is_alnum(local->at[at]))
            at++;
        struct str rest = str_from_index(*local, at);
        if (at == before.len || !str_starts(rest, behind) || rest.len == behind.len)
            return false;
        *local = str_from_index(rest, behind.len);
        return true;
    }
    return false;
}

static bool is_srs(struct str *local) {
    if (local->len < 6 ||
        !(str_starts_nocase(*local, STR("SRS0")) || str_starts_nocase(*local, STR("SRS1"))) ||
        !memchr("=+-", local->at[4], 3))
        return false;
    *local = STR("srs0"); /* the domains in it are anybody's: by them one forwarder would be thousands */
    return true;
}

/* Does it end like "...-ann=example.org"? *ret_head is what stands before the "=". */
static bool ends_in_recipient(struct str local, struct str *ret_head) {
    ptrdiff_t equals = str_rindex(local, '=');
    if (equals <= 0)
        return false;
    struct str domain = str_from_index(local, (size_t)equals + 1);
    *ret_head = str_head(local, (size_t)equals);
    return str_index(domain, '.') > 0 && domain_valid(domain, true);
}

/* Before "-return-", "-bounces-" and the like: the list's name. < 0: none. */
static ptrdiff_t list_name(struct str s, bool numbered) {
    static const char *const marks[] = {"-return-", "-returns-", "-bounce-", "-bounces-"};
    for (size_t at = 1; at < s.len; at++)
        for (size_t i = 0; i < sizeof marks / sizeof *marks; i++) {
            struct str rest = str_from_index(s, at), mark = str_of(marks[i]);
            if (str_starts_nocase(rest, mark) &&
                (!numbered || (rest.len > mark.len && is_digit(rest.at[mark.len]))))
                return (ptrdiff_t)at;
        }
    return -1;
}

/* bounces-17, bounce_01ab, verp.3: a word for such mail, then something with a number in it. */
static ptrdiff_t bounce_word(struct str local) {
    static const char *const words[] = {"bounce", "bounces", "return", "returns", "verp"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        struct str word = str_of(words[i]);
        if (str_starts_nocase(local, word) && local.len > word.len && memchr("-_.=", local.at[word.len], 4) &&
            has_digit(str_from_index(local, word.len)))
            return (ptrdiff_t)word.len;
    }
    return -1;
}

static bool without_recipient(struct str *local) {
    struct str head;
    ptrdiff_t end;
    if (ends_in_recipient(*local, &head)) {
        end = list_name(head, false);
        end = end > 0 ? end : str_index(head, '-');
    } else {
        end = list_name(*local, true);
        end = end > 0 ? end : bounce_word(*local);
    }
    if (end <= 0)
        return false;
    *local = str_head(*local, (size_t)end);
    return true;
}

static bool without_detail(struct str *local, const char **how) {
    struct str head;
    ptrdiff_t plus = str_index(*local, '+');
    if (plus <= 0)
        return false;
    if (str_starts_nocase(str_from_index(*local, (size_t)plus), STR("+SRS=")))
        *how = "SRS";
    else if (ends_in_recipient(*local, &head))
        *how = "VERP";
    *local = str_head(*local, (size_t)plus);
    return true;
}

struct str sender_fold(struct arena *arena, struct str reverse_path, const char **ret_how) {
    const char *how = NULL;
    struct str normal = address_normal(arena, reverse_path);
    struct address a = address_split(normal);
    struct str local = normal.len ? local_plain(arena, a.local) : STR("");
    while (without_tag(&local))
        how = "BATV";
    if (is_srs(&local)) {
        how = "SRS";
    } else {
        (void)without_detail(&local, &how);
        while (without_recipient(&local))
            how = "VERP";
    }
    if (ret_how)
        *ret_how = how;
    if (!normal.len)
        return reverse_path;
    return str_printf(arena, "%.*s@%.*s", STR_FMT(local_quoted(arena, local)), STR_FMT(a.domain));
}
