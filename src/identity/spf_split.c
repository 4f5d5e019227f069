#include "identity/spf_split.h"
#include "base/buf.h"
#include "identity/names.h"
#include <stdio.h>

#define HEAD "v=spf1"
#define TAIL " -all"

static struct str term_of(const struct cidr *c, char out[CIDR_TEXT_SIZE + 8]) {
    char text[CIDR_TEXT_SIZE];
    int len = snprintf(out, CIDR_TEXT_SIZE + 8, " %s:%s", ip_is_v4(&c->network) ? "ip4" : "ip6",
                       cidr_text(c, text));
    return str_from(out, (size_t)len);
}

static void add_include(struct buf *out, unsigned n, struct str owner) {
    buf_printf(out, " include:_%u.%.*s", n, STR_FMT(owner));
}

/* As many of the terms from *at on as fit; closes the record. */
static struct str fill(struct arena *arena, struct buf *record, const struct cidr *cidrs, size_t count,
                       size_t *at) {
    char term[CIDR_TEXT_SIZE + 8];
    for (; *at < count; ++*at) {
        struct str next = term_of(&cidrs[*at], term);
        if (record->len + next.len + sizeof TAIL - 1 > SPF_TEXT_MAX)
            break;
        buf_str(record, next);
    }
    buf_str(record, STR(TAIL));
    return str_copy(arena, buf_view(record));
}

/* With `includes` records below the owner's; false: that is not enough. */
static bool try_split(struct arena *arena, struct str owner, const struct cidr *cidrs, size_t count,
                      unsigned includes, struct spf_texts *ret) {
    struct buf record __attribute__((cleanup(buf_free))) = {0};
    struct spf_text *texts = arena_array(arena, struct spf_text, includes + 1);
    size_t at = 0;
    buf_str(&record, STR(HEAD));
    for (unsigned i = 1; i <= includes; i++)
        add_include(&record, i, owner);
    if (record.len + sizeof TAIL - 1 > SPF_TEXT_MAX)
        return false;
    texts[0] = (struct spf_text){owner, fill(arena, &record, cidrs, count, &at)};
    for (unsigned i = 1; i <= includes; i++) {
        buf_clear(&record);
        buf_str(&record, STR(HEAD));
        texts[i].name = str_printf(arena, "_%u.%.*s", i, STR_FMT(owner));
        texts[i].text = fill(arena, &record, cidrs, count, &at);
        if (texts[i].name.len > NAME_LENGTH_MAX)
            return false;
    }
    *ret = (struct spf_texts){texts, includes + 1};
    return at == count;
}

bool spf_split(struct arena *arena, struct str owner, const struct cidr *cidrs, size_t count,
               unsigned lookups, struct spf_texts *ret) {
    struct spf_texts texts;
    for (unsigned includes = 0; includes <= lookups; includes++)
        if (try_split(arena, owner, cidrs, count, includes, &texts)) {
            *ret = texts;
            return true;
        }
    return false;
}

struct str spf_exists(struct arena *arena, struct str owner) {
    return str_printf(arena, HEAD " exists:%%{ir}.%%{v}.%.*s" TAIL, STR_FMT(owner));
}

struct str spf_exists_name(struct arena *arena, const struct ip *ip, struct str owner) {
    struct str reverse = reverse_name(arena, ip);
    return str_printf(arena, "%.*s.%.*s", STR_FMT(str_head(reverse, reverse.len - (sizeof ".arpa" - 1))),
                      STR_FMT(owner));
}
