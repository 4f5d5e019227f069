#include "identity/live.h"
#include "base/map.h"

static enum dns_type type_of(const char *type) {
    static const struct {
        const char *name;
        enum dns_type type;
    } types[] = {{"A", DNS_A},     {"AAAA", DNS_AAAA}, {"TXT", DNS_TXT},
                 {"PTR", DNS_PTR}, {"NS", DNS_NS},     {"CNAME", DNS_CNAME}};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (strcmp(types[i].name, type) == 0)
            return types[i].type;
    return DNS_A;
}

size_t live_sets(struct arena *arena, const struct plan *plan, struct live_set **ret) {
    struct live_set *sets = arena_array(arena, struct live_set, plan->record_count);
    const struct plan_record **sorted = arena_array(arena, const struct plan_record *, plan->record_count);
    size_t *set_of = arena_array(arena, size_t, plan->record_count);
    struct map *known = map_new(true);
    size_t count = 0, at = 0;
    for (size_t i = 0; i < plan->record_count; i++) {
        const struct plan_record *r = &plan->records[i];
        struct str key = str_printf(arena, "%s %.*s", r->type, STR_FMT(r->name));
        size_t number = (size_t)(uintptr_t)map_get(known, key);
        if (!number) {
            sets[count++] = (struct live_set){.name = r->name, .type = type_of(r->type), .shared = r->shared};
            map_put(known, key, (void *)(uintptr_t)(number = count));
        }
        set_of[i] = number - 1;
        sets[number - 1].count++;
    }
    for (size_t i = 0; i < count; i++) {
        sets[i].records = sorted + at;
        at += sets[i].count;
        sets[i].count = 0;
    }
    for (size_t i = 0; i < plan->record_count; i++) {
        struct live_set *set = &sets[set_of[i]];
        sorted[(size_t)(set->records - sorted) + set->count++] = &plan->records[i];
    }
    map_free(known);
    *ret = sets;
    return count;
}

/* ---- one record ---- */

/* As the plan would write it. */
static struct str data_of(struct arena *arena, enum dns_type type, const struct dns_record *r) {
    char text[IP_TEXT_SIZE];
    if (type == DNS_A || type == DNS_AAAA)
        return str_copy(arena, str_of(ip_text(&r->ip, text)));
    if (type == DNS_TXT)
        return plan_txt(arena, r->text);
    return str_printf(arena, "%.*s.", STR_FMT(r->name));
}

/* The text of presentation form, without the quotes that begin and end its strings. */
static struct str joined(struct arena *arena, struct str txt) {
    char *out = arena_alloc(arena, txt.len + 1);
    size_t len = 0;
    for (size_t i = 0; i < txt.len; i++) {
        bool escape = txt.at[i] == '\\' && i + 1 < txt.len;
        if (escape)
            i++;
        else if (txt.at[i] == '"' && str_starts(str_from_index(txt, i), STR("\" \"")))
            i += 3;
        else if (txt.at[i] == '"')
            continue;
        if (i < txt.len)
            out[len++] = txt.at[i];
    }
    return str_from(out, len);
}

/* "v=spf1" of "v=spf1 -all", "v=DKIM1" of "v=DKIM1; k=rsa". */
static struct str kind_of(struct str text) {
    size_t end = 0;
    while (end < text.len && text.at[end] != ' ' && text.at[end] != ';')
        end++;
    return str_head(text, end);
}

static bool has_word(struct str text, struct str wanted) {
    struct str word;
    while (str_cut(&text, ' ', &word))
        if (str_eq_nocase(word, wanted) ||
            (str_starts(word, STR("+")) && str_eq_nocase(str_from_index(word, 1), wanted)))
            return true;
    return false;
}

/* "v=spf1 include:spf.example.net -all" → "include:spf.example.net" */
static struct str include_of(struct str text) {
    struct str word;
    while (str_cut(&text, ' ', &word))
        if (str_starts_nocase(word, STR("include:")))
            return word;
    return STR_NULL;
}

/* Does this live TXT do what the customer was asked for? */
static bool serves(struct str planned, struct str live) {
    if (!str_eq_nocase(kind_of(planned), kind_of(live)))
        return false;
    if (str_eq_nocase(kind_of(planned), STR("v=spf1")))
        return has_word(live, include_of(planned));
    return str_eq_nocase(kind_of(planned), STR("v=DMARC1"));
}

static bool fulfils(struct arena *arena, const struct live_set *set, struct str planned, struct str live) {
    if (set->type != DNS_TXT)
        return str_eq_nocase(planned, live);
    planned = joined(arena, planned), live = joined(arena, live);
    return str_eq(planned, live) || (set->shared && serves(planned, live));
}

/* TXT records of other kinds may stand beside ours. */
static bool concerns(struct arena *arena, const struct live_set *set, struct str live) {
    for (size_t i = 0; i < set->count; i++)
        if (set->type != DNS_TXT ||
            str_eq_nocase(kind_of(joined(arena, set->records[i]->data)), kind_of(joined(arena, live))))
            return true;
    return false;
}

static void add_line(struct buf *lines, enum live_state state, const struct live_set *set, int64_t ttl,
                     struct str data) {
    struct live_line line = {state, set, ttl, data};
    buf_add(lines, &line, sizeof line);
}

void live_compare(struct arena *arena, const struct live_set *set, const struct dns_answer *answer,
                  struct buf *lines) {
    size_t count = answer->status == DNS_RECORDS ? answer->count : 0;
    struct str *live = arena_array(arena, struct str, count);
    bool *planned = arena_array(arena, bool, count);
    if (answer->status == DNS_FAILED) {
        add_line(lines, LIVE_UNKNOWN, set, 0,
                 answer->why.len ? str_copy(arena, answer->why) : STR("no answer"));
        return;
    }
    for (size_t i = 0; i < count; i++)
        live[i] = data_of(arena, set->type, &answer->records[i]);
    for (size_t i = 0; i < set->count; i++) {
        bool found = false;
        for (size_t j = 0; j < count; j++)
            if (fulfils(arena, set, set->records[i]->data, live[j]))
                planned[j] = found = true;
        if (!found)
            add_line(lines, LIVE_MISSING, set, set->records[i]->ttl, set->records[i]->data);
    }
    for (size_t j = 0; j < count; j++)
        if (!planned[j] && concerns(arena, set, live[j]))
            add_line(lines, LIVE_OTHER, set, answer->ttl, live[j]);
}
