#include "identity/survey_inside.h"
#include "rt/fiber.h"
#include <stdlib.h>

const char *survey_code_text(enum survey_code code) {
    static const char *const texts[] = {
#define X(name, text) [SURVEY_##name] = text,
        SURVEY_CODES(X)
#undef X
    };
    return texts[code];
}

bool survey_code_warns(enum survey_code code) { return code == SURVEY_TXT_SIZE; }

/* ---- what is said ---- */

static struct str key_of(struct arena *arena, enum survey_code code, struct str subject) {
    return str_printf(arena, "%s %.*s", survey_code_text(code), STR_FMT(subject));
}

/* Names and texts of others may hold anything; this goes to terminals, mails and logs. */
static struct str plain(struct arena *arena, struct str text) {
    struct str copy = str_copy(arena, text);
    for (char *c = (char *)(uintptr_t)copy.at; c < copy.at + copy.len; c++) /* ours: just made */
        *c = (*c < ' ' || *c > '~') && *c != '\n' ? '?' : *c;
    return copy;
}

void survey_say(struct survey *a, size_t order, enum survey_code code, struct str subject, struct str what,
                struct str put) {
    struct str key = key_of(a->arena, code, subject);
    if (map_put(a->said, key, a))
        return;
    struct survey_fault fault = {.code = code,
                                 .subject = str_from_index(key, strlen(survey_code_text(code)) + 1),
                                 .what = plain(a->arena, what),
                                 .put = plain(a->arena, put),
                                 .order = order};
    buf_add(&a->faults, &fault, sizeof fault);
    a->unanswered += code == SURVEY_UNANSWERED;
}

void survey_count(struct survey *a, size_t order, enum survey_code code, struct str name, const struct ip *ip,
                  struct str reason) {
    struct str key = key_of(a->arena, code, name);
    struct survey_group *group = map_get(a->group_names, key);
    char text[IP_TEXT_SIZE];
    if (!group) {
        group = arena_new_of(a->arena, struct survey_group);
        *group = (struct survey_group){.next = a->groups,
                                       .code = code,
                                       .name = str_copy(a->arena, name),
                                       .first = str_copy(a->arena, str_of(ip_text(ip, text))),
                                       .reason = str_copy(a->arena, reason),
                                       .order = order};
        a->groups = group;
        map_put(a->group_names, key, group);
    }
    group->count++;
}

struct str survey_put(struct survey *a, struct arena *arena, const char *type, struct str name) {
    return plan_lines(a->index, arena, type, name);
}

/* ---- the work ---- */

static void add_ehlo(struct str *names, size_t *count, struct str name) {
    for (size_t i = 0; i < *count; i++)
        if (str_eq_nocase(names[i], name))
            return;
    names[(*count)++] = name;
}

/* Names that many addresses say; those of one (ehlo = ptr) are looked at with it. */
static void collect_ehlos(struct survey *a) {
    const struct plan_input *in = a->in->planned;
    const struct pools *p = in->pools;
    struct str *names = arena_array(a->arena, struct str, 2 * p->pool_count + in->ehlo_name_count);
    for (size_t i = 0; i < p->pool_count; i++) {
        const struct pool *pool = &p->pools[i];
        if (pool->source_count && pool->sources[0].ehlo != pool->sources[0].ptr)
            add_ehlo(names, &a->ehlo_count, str_of(pool->sources[0].ehlo));
        if (pool->source_count && in->site_ehlo)
            add_ehlo(names, &a->ehlo_count, p->sites[pool->site].ehlo);
    }
    for (size_t i = 0; i < in->ehlo_name_count; i++)
        add_ehlo(names, &a->ehlo_count, in->ehlo_names[i]);
    a->ehlos = names;
}

/* What a survey is about, by number. */
static struct str subject_of(struct survey *a, size_t order) {
    const struct plan_input *in = a->in->planned;
    char text[IP_TEXT_SIZE];
    size_t i = order;
    if (i < a->ehlo_count)
        return a->ehlos[i];
    if ((i -= a->ehlo_count) == 0)
        return a->include;
    if (--i < in->dkim_count)
        return survey_dkim_name(a->arena, &in->dkim[i]);
    if ((i -= in->dkim_count) < in->domain_count)
        return in->domains[i].domain;
    return str_copy(a->arena, str_of(ip_text(&in->pools->sources[i - in->domain_count].ip, text)));
}

/* A survey of many takes long: what is looked for most is found first. But a name of our own before all: when
 * none of the first questions is answered the others are not asked, and the names with faults may all be of
 * customers whose servers are gone. */
static void put_in_order(struct survey *a) {
    bool *first = arena_array(a->arena, bool, a->total);
    struct arena *arena = a->arena;
    size_t at = 0;
    a->turn_order = arena_array(a->arena, size_t, a->total);
    a->arena = arena_new(0); /* for names that nobody keeps */
    for (size_t i = 0; a->in->first && i < a->total; i++) {
        first[i] = a->in->first(a->in->ctx, subject_of(a, i));
        arena_reset(a->arena);
    }
    arena_free(a->arena);
    a->arena = arena;
    first[0] = true;
    for (int pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < a->total; i++)
            if (first[i] == !pass)
                a->turn_order[at++] = i;
}

struct survey *survey_new(const struct survey_input *in, struct resolver *below) {
    struct survey *a = xcalloc(1, sizeof *a);
    a->resolver.lookup = survey_lookup;
    a->below = below;
    a->in = in;
    a->arena = arena_new(0);
    a->remembered = map_new(true), a->index = plan_index_new(in->plan);
    a->said = map_new(true), a->group_names = map_new(true);
    a->include = str_printf(a->arena, "spf.%.*s", STR_FMT(in->planned->settings->domain));
    collect_ehlos(a);
    a->total = a->ehlo_count + 1 + in->planned->dkim_count + in->planned->domain_count +
               in->planned->pools->source_count;
    a->uncertain = arena_array(a->arena, bool, a->total);
    a->come_to = arena_array(a->arena, bool, a->total);
    put_in_order(a);
    a->patience = (struct dns_patience){.timeout_ms = in->timeout_ms,
                                        .wave = a->total < SURVEY_WAVE ? a->total : SURVEY_WAVE};
    return a;
}

struct survey *survey_free(struct survey *a) {
    if (!a)
        return NULL;
    map_free(a->doubtful), map_free(a->remembered), map_free(a->said), map_free(a->group_names);
    plan_index_free(a->index);
    buf_free(&a->faults);
    arena_free(a->arena);
    free(a);
    return NULL;
}

static void work_on(struct survey *a, size_t order, struct arena *arena) {
    const struct plan_input *in = a->in->planned;
    size_t i = order;
    if (i < a->ehlo_count) {
        survey_ehlo(a, order, a->ehlos[i], arena);
        return;
    }
    if ((i -= a->ehlo_count) == 0) {
        survey_include(a, order, arena);
        return;
    }
    if (--i < in->dkim_count) {
        survey_dkim(a, order, &in->dkim[i], arena);
        return;
    }
    if ((i -= in->dkim_count) < in->domain_count) {
        survey_domain(a, order, &in->domains[i], arena);
        return;
    }
    survey_address(a, order, &in->pools->sources[i - in->domain_count], arena);
}

static struct survey_turn *turn_of(struct survey *a, const struct fiber *fiber, bool taken) {
    for (size_t i = 0; i < SURVEY_FIBERS_MAX; i++)
        if (a->turns[i].taken == taken && (!taken || a->turns[i].fiber == fiber))
            return &a->turns[i];
    return NULL;
}

void survey_doubt(struct survey *a) {
    const struct survey_turn *turn = turn_of(a, fiber_self(), true);
    if (turn)
        a->uncertain[turn->order] = true;
}

void survey_work(struct survey *a) {
    struct survey_turn *turn = turn_of(a, NULL, false);
    if (!turn)
        return; /* enough others are at it */
    struct arena *arena = arena_new(0);
    *turn = (struct survey_turn){.fiber = fiber_self(), .taken = true};
    while (a->next < a->total) {
        if (a->in->over && a->in->over(a->in->ctx)) {
            a->next = a->total;
            break;
        }
        turn->order = a->turn_order[a->next++];
        a->come_to[turn->order] = true;
        work_on(a, turn->order, arena);
        arena_reset(arena);
        atomic_fetch_add(&a->done, 1);
    }
    turn->taken = false;
    arena_free(arena);
}

size_t survey_done(const struct survey *a) { return atomic_load(&a->done); }
size_t survey_total(const struct survey *a) { return a->total; }

/* ---- the result ---- */

static void say_group(struct survey *a, const struct survey_group *group) {
    struct arena *arena = a->arena;
    bool leaks = group->code == SURVEY_INCLUDE_LEAKS;
    /* What is wrong with the record itself is said already. */
    if (!leaks && map_get(a->said, key_of(arena, SURVEY_SPF_BROKEN, group->name)))
        return;
    if (leaks && map_get(a->said, key_of(arena, SURVEY_SPF_OPEN, group->name)))
        return;
    struct str more = group->count == 1 ? STR("")
                                        : str_printf(arena, " and %zu more address%s", group->count - 1,
                                                     group->count == 2 ? "" : "es");
    struct str what = str_printf(arena,
                                 leaks ? "SPF passes from %.*s%.*s, of pools that are not published: %.*s"
                                       : "SPF does not pass from %.*s%.*s: %.*s",
                                 STR_FMT(group->first), STR_FMT(more), STR_FMT(group->reason));
    struct buf put __attribute__((cleanup(buf_free))) = {0};
    buf_str(&put, survey_put(a, arena, "TXT", group->name));
    for (unsigned i = 1; put.len && i <= SPF_LOOKUPS_OF_NAME; i++) {
        struct str part = str_printf(arena, "_%u.%.*s", i, STR_FMT(group->name));
        struct str lines = survey_put(a, arena, "TXT", part);
        if (!lines.len)
            break;
        buf_printf(&put, "\n%.*s", STR_FMT(lines));
    }
    survey_say(a, group->order, group->code, group->name, what, buf_view(&put));
}

static int by_order(const void *x, const void *y) {
    const struct survey_fault *a = x, *b = y;
    if (a->order != b->order)
        return a->order < b->order ? -1 : 1;
    if (a->code != b->code)
        return a->code < b->code ? -1 : 1;
    return str_cmp(a->subject, b->subject);
}

struct survey_result survey_end(struct survey *a) {
    for (size_t i = 0; i < a->total; i++)
        a->uncertain[i] |= !a->come_to[i];
    for (struct survey_group *group = a->groups; group; group = group->next)
        say_group(a, group);
    a->groups = NULL;
    if (a->unasked)
        survey_say(a, a->total + 1, SURVEY_UNANSWERED, STR("all others"),
                   str_printf(a->arena, "%zu questions were not asked: none of the first %zu got an answer",
                              a->unasked, a->failed),
                   STR_NULL);
    a->unasked = 0;
    struct survey_fault *faults = (struct survey_fault *)(void *)a->faults.at;
    size_t count = a->faults.len / sizeof *faults, warnings = 0;
    for (size_t i = 0; i < count; i++)
        warnings += survey_code_warns(faults[i].code);
    if (count)
        qsort(faults, count, sizeof *faults, by_order);
    return (struct survey_result){faults, count, a->unanswered, warnings, a->ttl};
}

/* ---- what is certain ---- */

/* Found while addresses are looked at, or anywhere below a record. */
static bool of_many(enum survey_code code) {
    return code == SURVEY_EHLO_SPF || code == SURVEY_INCLUDE_MISSES || code == SURVEY_INCLUDE_LEAKS ||
           code == SURVEY_SPF_SIZE;
}

bool survey_sure(struct survey *a, enum survey_code code, struct str subject) {
    bool build = !a->doubtful;
    if (build)
        a->doubtful = map_new(true);
    for (size_t i = 0; build && i < a->total; i++)
        if (a->uncertain[i])
            map_put(a->doubtful, subject_of(a, i), a);
    return of_many(code) ? !map_count(a->doubtful) : !map_get(a->doubtful, subject);
}

struct map *survey_looked(struct survey *a, struct map *before) {
    struct map *now = map_new(true);
    bool left_out = false;
    for (size_t i = 0; i < a->total; i++) {
        struct str subject = subject_of(a, i);
        if (a->come_to[i]) {
            map_put(now, subject, a);
            map_put(before, subject, a);
        } else {
            left_out |= !map_get(before, subject);
        }
    }
    map_free(left_out ? now : before);
    return left_out ? before : now;
}
