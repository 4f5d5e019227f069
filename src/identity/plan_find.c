#include "identity/plan_find.h"

#include "base/buf.h"
#include "base/map.h"
#include "identity/names.h"
#include <stdlib.h>

struct plan_index {
    const struct plan *plan;
    struct map *first; /* "TYPE name." → number of the first record + 1 */
};

static struct str key_of(struct arena *arena, const char *type, struct str name) {
    return str_printf(arena, "%s %.*s", type, STR_FMT(name));
}

struct plan_index *plan_index_new(const struct plan *plan) {
    struct plan_index *index = xcalloc(1, sizeof *index);
    struct arena *arena = arena_new(0);
    *index = (struct plan_index){.plan = plan, .first = map_new(true)};
    for (size_t i = 0; i < plan->record_count; i++) {
        struct str key = key_of(arena, plan->records[i].type, plan->records[i].name);
        if (!map_get(index->first, key))
            map_put(index->first, key, (void *)(uintptr_t)(i + 1));
        arena_reset(arena);
    }
    arena_free(arena);
    return index;
}

struct plan_index *plan_index_free(struct plan_index *index) {
    if (index)
        map_free(index->first);
    free(index);
    return NULL;
}

struct str plan_lines(const struct plan_index *index, struct arena *arena, const char *type,
                      struct str name) {
    const struct plan *plan = index->plan;
    struct str absolute = str_printf(arena, "%.*s.", STR_FMT(name));
    size_t at = (size_t)(uintptr_t)map_get(index->first, key_of(arena, type, absolute));
    struct buf lines __attribute__((cleanup(buf_free))) = {0};
    for (size_t i = at ? at - 1 : plan->record_count; i < plan->record_count; i++) {
        const struct plan_record *r = &plan->records[i];
        if (!str_eq_nocase(r->name, absolute) || strcmp(r->type, type) != 0)
            break;
        buf_printf(&lines, "%s%.*s %lld %s %.*s", lines.len ? "\n" : "", STR_FMT(r->name), (long long)r->ttl,
                   r->type, STR_FMT(r->data));
    }
    return str_copy(arena, buf_view(&lines));
}

/* The name that a line ends with, without its dot. */
static struct str target_of(struct str line) {
    ptrdiff_t blank = str_rindex(line, ' ');
    struct str name = blank < 0 ? STR_NULL : str_from_index(line, (size_t)blank + 1);
    name.len -= name.len && name.at[name.len - 1] == '.';
    return name;
}

struct str plan_names_of(const struct plan_index *index, struct arena *arena, const struct ip *ip,
                         bool reverse) {
    struct str name = reverse_name(arena, ip), alias = plan_lines(index, arena, "CNAME", name);
    struct str ptr = plan_lines(index, arena, "PTR", alias.len ? target_of(alias) : name);
    struct str host = target_of(ptr);
    struct str forward = host.len ? plan_lines(index, arena, ip_is_v4(ip) ? "A" : "AAAA", host) : STR_NULL;
    struct buf put __attribute__((cleanup(buf_free))) = {0};
    if (reverse && alias.len)
        buf_printf(&put, "%.*s\n", STR_FMT(alias));
    if (reverse)
        buf_str(&put, ptr);
    if (forward.len)
        buf_printf(&put, "%s%.*s", put.len ? "\n" : "", STR_FMT(forward));
    return str_copy(arena, buf_view(&put));
}
