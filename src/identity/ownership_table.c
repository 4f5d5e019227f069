/* What is known of all domains, and its file. */
#include "base/clock.h"
#include "base/error.h"
#include "base/map.h"
#include "identity/ownership.h"
#include "rt/state_file.h"
#include <jansson.h>
#include <pthread.h>
#include <stdlib.h>

enum { VERSION = 1, WHY_MAX = 300, UNANSWERED_PAUSE_MS = 5000, FILE_MOST = 256 << 20 };

/* `fact` looks at the texts behind it. */
struct entry {
    struct ownership_fact fact;
    char *names, *why;
    int64_t unanswered; /* wall ms: the last question, when it had no answer */
};

struct ownership {
    pthread_rwlock_t lock;
    struct map *entries; /* tenant NUL domain → struct entry */
    struct ownership_secret secret;
    bool has_secret, changed;
};

struct ownership *ownership_new(void) {
    struct ownership *o = xcalloc(1, sizeof *o);
    pthread_rwlock_init(&o->lock, NULL);
    o->entries = map_new(false);
    return o;
}

static void entry_free(struct entry *e) {
    free(e->names), free(e->why);
    free(e);
}

static void clear(struct ownership *o) {
    struct str key;
    void *value;
    for (size_t at = 0; map_next(o->entries, &at, &key, &value);)
        entry_free(value);
    map_free(o->entries);
    o->entries = map_new(false);
}

struct ownership *ownership_free(struct ownership *o) {
    if (!o)
        return NULL;
    clear(o);
    map_free(o->entries);
    pthread_rwlock_destroy(&o->lock);
    free(o);
    return NULL;
}

static struct str key_of(struct arena *arena, struct str tenant, struct str domain) {
    char *key = arena_alloc(arena, tenant.len + 1 + domain.len);
    if (tenant.len)
        memcpy(key, tenant.at, tenant.len);
    if (domain.len)
        memcpy(key + tenant.len + 1, domain.at, domain.len);
    return str_from(key, tenant.len + 1 + domain.len);
}

static char *kept(struct str text) {
    char *copy = xmalloc(text.len + 1);
    if (text.len)
        memcpy(copy, text.at, text.len);
    copy[text.len] = 0;
    return copy;
}

static struct str cut(struct str why) {
    size_t len = why.len < WHY_MAX ? why.len : WHY_MAX;
    while (len < why.len && len && ((unsigned char)why.at[len] & 0xC0) == 0x80)
        len--;
    return str_head(why, len);
}

static void set_why(struct entry *e, struct str why) {
    char *old = e->why;
    why = cut(why);
    e->why = kept(why);
    e->fact.why = str_from(e->why, why.len);
    free(old); /* `why` may look at it */
}

static struct entry *add(struct ownership *o, struct str key, struct str tenant) {
    struct entry *e = xcalloc(1, sizeof *e);
    e->names = kept(key);
    e->fact.tenant = str_from(e->names, tenant.len);
    e->fact.domain = str_from(e->names + tenant.len + 1, key.len - tenant.len - 1);
    set_why(e, STR(""));
    map_put(o->entries, key, e);
    return e;
}

static struct ownership_fact copy_of(struct arena *arena, const struct ownership_fact *f) {
    struct ownership_fact copy = *f;
    copy.tenant = str_copy(arena, f->tenant), copy.domain = str_copy(arena, f->domain);
    copy.why = str_copy(arena, f->why);
    return copy;
}

/* ---- tokens ---- */

void ownership_use(struct ownership *o, const struct ownership_secret *secret) {
    pthread_rwlock_wrlock(&o->lock);
    o->has_secret = secret != NULL;
    if (secret)
        o->secret = *secret;
    pthread_rwlock_unlock(&o->lock);
}

struct str ownership_token_of(struct ownership *o, struct arena *arena, struct str tenant,
                              struct str domain) {
    pthread_rwlock_rdlock(&o->lock);
    struct str token = o->has_secret ? ownership_token(arena, &o->secret, tenant, domain) : STR_NULL;
    pthread_rwlock_unlock(&o->lock);
    return token;
}

/* ---- facts ---- */

struct ownership_fact ownership_get(struct ownership *o, struct arena *arena, struct str tenant,
                                    struct str domain) {
    struct ownership_fact fact = {.tenant = tenant, .domain = domain, .why = STR("")};
    struct str key = key_of(arena, tenant, domain);
    pthread_rwlock_rdlock(&o->lock);
    const struct entry *e = map_get(o->entries, key);
    if (e)
        fact = copy_of(arena, &e->fact);
    pthread_rwlock_unlock(&o->lock);
    return fact;
}

enum ownership_state ownership_state_of(struct ownership *o, struct str tenant, struct str domain) {
    struct arena *arena = arena_new(0);
    enum ownership_state state = ownership_get(o, arena, tenant, domain).state;
    arena_free(arena);
    return state;
}

bool ownership_may_ask(struct ownership *o, struct str tenant, struct str domain, int64_t now) {
    struct arena *arena = arena_new(0);
    struct str key = key_of(arena, tenant, domain);
    pthread_rwlock_rdlock(&o->lock);
    const struct entry *e = map_get(o->entries, key);
    bool may = !e || now >= e->unanswered + UNANSWERED_PAUSE_MS || now < e->unanswered;
    pthread_rwlock_unlock(&o->lock);
    arena_free(arena);
    return may;
}

struct ownership_fact ownership_note(struct ownership *o, struct str tenant, struct str domain,
                                     enum ownership_finding finding, struct str why, int64_t grace_ms,
                                     int64_t now, struct arena *arena, bool *ret_changed) {
    struct str key = key_of(arena, tenant, domain);
    pthread_rwlock_wrlock(&o->lock);
    struct entry *e = map_get(o->entries, key);
    if (!e)
        e = add(o, key, tenant);
    *ret_changed = ownership_apply(&e->fact, finding, why, grace_ms, now);
    set_why(e, e->fact.why);
    e->unanswered = finding == OWNERSHIP_UNANSWERED ? now : 0;
    o->changed = true;
    struct ownership_fact fact = copy_of(arena, &e->fact);
    pthread_rwlock_unlock(&o->lock);
    return fact;
}

static struct entry *put(struct ownership *o, struct map *into, struct arena *arena,
                         const struct ownership_fact *f) {
    struct str key = key_of(arena, f->tenant, f->domain);
    struct entry *e = map_remove(o->entries, key);
    if (e)
        map_put(into, key, e);
    return e;
}

void ownership_keep(struct ownership *o, const struct ownership_fact *facts, size_t count) {
    struct arena *arena = arena_new(0);
    struct map *left = map_new(false);
    pthread_rwlock_wrlock(&o->lock);
    for (size_t i = 0; i < count; i++)
        (void)put(o, left, arena, &facts[i]);
    o->changed |= map_count(o->entries) > 0;
    clear(o);
    map_free(o->entries);
    o->entries = left;
    pthread_rwlock_unlock(&o->lock);
    arena_free(arena);
}

bool ownership_take_changes(struct ownership *o) {
    pthread_rwlock_wrlock(&o->lock);
    bool changed = o->changed;
    o->changed = false;
    pthread_rwlock_unlock(&o->lock);
    return changed;
}

/* ---- reading the file ---- */

struct reading {
    struct ownership *into;
    struct arena *arena;
    struct str why; /* the first fault; STR_NULL: none */
};

static void fault(struct reading *r, const char *name) {
    if (!r->why.at)
        r->why = str_printf(r->arena, "`%s` is not what it should be", name);
}

static struct str text_of(struct reading *r, json_t *object, const char *name) {
    json_t *value = json_object_get(object, name);
    if (!json_is_string(value)) {
        fault(r, name);
        return STR("");
    }
    return str_from(json_string_value(value), json_string_length(value));
}

/* Absent or null: 0. */
static int64_t time_of(struct reading *r, json_t *object, const char *name) {
    json_t *value = json_object_get(object, name);
    int64_t time = 0;
    if (value && !json_is_null(value) && !clock_parse_rfc3339(text_of(r, object, name), &time))
        fault(r, name);
    return time;
}

static enum ownership_state state_of(struct reading *r, json_t *object) {
    struct str text = text_of(r, object, "state");
    for (int s = OWNERSHIP_UNKNOWN; s <= OWNERSHIP_VERIFIED; s++)
        if (str_eq(text, str_of(ownership_state_text((enum ownership_state)s))))
            return (enum ownership_state)s;
    fault(r, "state");
    return OWNERSHIP_UNKNOWN;
}

static void read_one(struct reading *r, json_t *object) {
    struct str tenant = text_of(r, object, "tenant"), domain = text_of(r, object, "domain");
    struct str key = key_of(r->arena, tenant, domain);
    json_t *misses = json_object_get(object, "misses");
    if (!domain.len || memchr(key.at, 0, tenant.len) || map_get(r->into->entries, key)) {
        fault(r, "domain");
        return;
    }
    struct entry *e = add(r->into, key, tenant);
    e->fact.state = state_of(r, object);
    e->fact.since = time_of(r, object, "since");
    e->fact.checked = time_of(r, object, "checked");
    e->fact.missing = time_of(r, object, "missing");
    if (!json_is_integer(misses) || json_integer_value(misses) < 0 || json_integer_value(misses) > UINT32_MAX)
        fault(r, "misses");
    else
        e->fact.misses = (unsigned)json_integer_value(misses);
    set_why(e, text_of(r, object, "why"));
}

static void read_all(struct reading *r, json_t *root) {
    json_t *list = json_object_get(root, "domains"), *item;
    size_t at;
    if (json_integer_value(json_object_get(root, "version")) != VERSION)
        fault(r, "version");
    if (!json_is_array(list))
        fault(r, "domains");
    json_array_foreach(list, at, item) read_one(r, item);
}

int ownership_parse(struct ownership *o, struct str text, struct arena *arena, struct str *ret_why) {
    json_error_t where;
    json_t *root = json_loadb(text.at ? text.at : "", text.len, JSON_REJECT_DUPLICATES, &where);
    struct reading r = {.into = ownership_new(), .arena = arena};
    if (root)
        read_all(&r, root);
    else
        r.why = str_printf(arena, "line %d: %s", where.line, where.text);
    json_decref(root);
    if (r.why.at) {
        *ret_why = r.why;
    } else {
        struct map *mine = o->entries;
        pthread_rwlock_wrlock(&o->lock);
        o->entries = r.into->entries;
        r.into->entries = mine;
        pthread_rwlock_unlock(&o->lock);
    }
    ownership_free(r.into);
    return r.why.at ? SLUICE_ECORRUPT : 0;
}

int ownership_read(struct ownership *o, const char *path, struct arena *arena, struct str *ret_why) {
    struct buf text __attribute__((cleanup(buf_free))) = {0};
    int error = state_file_read(path, FILE_MOST, &text);
    if (error) {
        *ret_why = str_printf(arena, "can't read %s: %s", path, error_text(error));
        return error;
    }
    error = ownership_parse(o, buf_view(&text), arena, ret_why);
    if (error)
        *ret_why = str_printf(arena, "%s is damaged: %.*s", path, STR_FMT(*ret_why));
    return error;
}

/* ---- writing it ---- */

static json_t *text_json(struct str text) { return json_stringn_nocheck(text.at ? text.at : "", text.len); }

static json_t *time_json(int64_t wall_ms) {
    char text[CLOCK_RFC3339_SIZE];
    return wall_ms ? json_string(clock_rfc3339(wall_ms, text)) : json_null();
}

static json_t *fact_json(const struct ownership_fact *f) {
    json_t *object = json_object();
    json_object_set_new(object, "tenant", text_json(f->tenant));
    json_object_set_new(object, "domain", text_json(f->domain));
    json_object_set_new(object, "state", json_string(ownership_state_text(f->state)));
    json_object_set_new(object, "since", time_json(f->since));
    json_object_set_new(object, "checked", time_json(f->checked));
    json_object_set_new(object, "missing", time_json(f->missing));
    json_object_set_new(object, "misses", json_integer(f->misses));
    json_object_set_new(object, "why", text_json(f->why));
    return object;
}

char *ownership_text(struct ownership *o) {
    json_t *root = json_object(), *list = json_array();
    struct str key;
    void *value;
    pthread_rwlock_rdlock(&o->lock);
    for (size_t at = 0; map_next(o->entries, &at, &key, &value);)
        json_array_append_new(list, fact_json(&((const struct entry *)value)->fact));
    pthread_rwlock_unlock(&o->lock);
    json_object_set_new(root, "version", json_integer(VERSION));
    json_object_set_new(root, "domains", list);
    char *text = json_dumps(root, JSON_INDENT(1));
    json_decref(root);
    return text;
}

int ownership_write(struct ownership *o, const char *path, struct arena *arena, struct str *ret_why) {
    char *text = ownership_text(o);
    if (!text) {
        *ret_why = STR("a tenant's name is no UTF-8");
        return SLUICE_EINVALID;
    }
    int error = state_file_write(path, str_of(text));
    if (error)
        *ret_why = str_printf(arena, "can't write %s: %s", path, error_text(error));
    free(text);
    return error;
}
