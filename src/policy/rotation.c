#include "policy/rotation.h"
#include "base/clock.h"
#include "base/error.h"
#include "mail/address.h"
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <unistd.h>

enum { FILE_MAX = 64 << 10, VERSION = 1, LABEL_MAX = 63 };

enum rotation_phase rotation_phase(const struct rotation *r, int64_t now_wall_ms) {
    if (!r->old.count || now_wall_ms >= r->keep_ms)
        return ROTATION_OVER;
    return now_wall_ms < r->switch_ms ? ROTATION_PENDING : ROTATION_SWITCHED;
}

static bool has(const struct rotation_keys *keys, struct str selector) {
    for (size_t i = 0; i < keys->count; i++)
        if (str_eq(keys->keys[i].selector, selector))
            return true;
    return false;
}

static bool knows(const struct rotation *r, struct str selector) {
    for (size_t i = 0; i < r->configured_count; i++)
        if (str_eq(r->configured[i], selector))
            return true;
    return has(&r->old, selector) || has(&r->next, selector);
}

bool rotation_knows(const struct rotation *r, const struct signing_set *set) {
    for (size_t i = 0; i < set->count; i++)
        if (!knows(r, set->keys[i].selector))
            return false;
    return true;
}

bool selector_valid(struct str s) {
    struct str label;
    if (!s.len || s.len > DKIM_SELECTOR_MAX)
        return false;
    while (str_cut(&s, '.', &label)) {
        if (!label.len || label.len > LABEL_MAX || label.at[0] == '-' || label.at[label.len - 1] == '-')
            return false;
        for (size_t i = 0; i < label.len; i++)
            if (!isalnum((unsigned char)label.at[i]) && label.at[i] != '-')
                return false;
    }
    return true;
}

const char *rotation_path(struct arena *arena, const char *keys_dir, struct str domain) {
    return str_printf(arena, "%s/%.*s.rotation", keys_dir, STR_FMT(domain)).at;
}

/* ---- reading ---- */

struct reading {
    struct arena *arena;
    json_t *root;
    struct str why; /* the first fault; STR_NULL: none */
};

static void fault(struct reading *r, const char *name, const char *what) {
    if (!r->why.at)
        r->why = str_printf(r->arena, "`%s` %s", name, what);
}

static struct str text_of(struct reading *r, const json_t *value) {
    if (!json_is_string(value))
        return STR_NULL;
    return str_copy(r->arena, str_from(json_string_value(value), json_string_length(value)));
}

static struct str selector_of(struct reading *r, const json_t *value, const char *name) {
    struct str selector = text_of(r, value);
    if (!selector_valid(selector))
        fault(r, name, "has a selector that is none");
    return str_lower(r->arena, selector);
}

static int64_t time_of(struct reading *r, const char *name) {
    int64_t time = 0;
    struct str text = text_of(r, json_object_get(r->root, name));
    if (!text.len || !clock_parse_rfc3339(text, &time))
        fault(r, name, "is no time (2026-11-22T12:00:00Z)");
    return time;
}

/* The list of that name, if it is as long as it may be. */
static json_t *list_of(struct reading *r, const char *name, size_t least) {
    json_t *list = json_object_get(r->root, name);
    if (json_is_array(list) && json_array_size(list) >= least && json_array_size(list) <= SIGNING_SET_MAX)
        return list;
    fault(r, name, least ? "is no list of one or two" : "is no list of at most two");
    return NULL;
}

static void read_keys(struct reading *r, const char *name, size_t least, struct rotation_keys *ret) {
    json_t *list = list_of(r, name, least), *item;
    size_t at;
    json_array_foreach(list, at, item) {
        struct rotation_key *key = &ret->keys[at];
        key->selector = selector_of(r, json_object_get(item, "selector"), name);
        key->key = text_of(r, json_object_get(item, "key"));
        if (json_object_size(item) != 2 || !key->key.len || memchr(key->key.at, 0, key->key.len))
            fault(r, name, "has an item other than {\"selector\", \"key\"}");
        if (has(ret, key->selector))
            fault(r, name, "has a selector twice");
        ret->count++;
    }
}

static void read_names(struct reading *r) {
    static const char *const names[] = {"version", "domain",     "started", "switch",
                                        "keep",    "configured", "old",     "new"};
    const char *key;
    json_t *value;
    json_object_foreach(r->root, key, value) {
        bool known = false;
        for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
            known |= strcmp(key, names[i]) == 0;
        if (!known)
            fault(r, key, "is unknown");
    }
    if (json_integer_value(json_object_get(r->root, "version")) != VERSION)
        fault(r, "version", "is not 1");
}

static void read_rotation(struct reading *r, struct rotation *ret) {
    struct str domain = text_of(r, json_object_get(r->root, "domain"));
    json_t *list, *item;
    size_t at;
    read_names(r);
    if (!domain.len || domain_is_literal(domain) || domain_normal(r->arena, domain, &ret->domain) != 0)
        fault(r, "domain", "is no domain");
    ret->started_ms = time_of(r, "started");
    ret->switch_ms = time_of(r, "switch");
    ret->keep_ms = time_of(r, "keep");
    if (ret->switch_ms < ret->started_ms)
        fault(r, "switch", "is before `started`");
    if (ret->keep_ms < ret->switch_ms)
        fault(r, "keep", "is before `switch`");
    list = list_of(r, "configured", 1);
    json_array_foreach(list, at, item) ret->configured[ret->configured_count++] =
        selector_of(r, item, "configured");
    read_keys(r, "old", 0, &ret->old);
    read_keys(r, "new", 1, &ret->next);
    for (at = 0; at < ret->next.count; at++)
        if (has(&ret->old, ret->next.keys[at].selector))
            fault(r, "new", "has a selector of `old`");
}

int rotation_parse(struct arena *arena, struct str text, struct str *ret_why, struct rotation *ret) {
    json_error_t error;
    struct reading r = {.arena = arena, .why = STR_NULL};
    struct rotation rotation = {0};
    r.root = json_loadb(text.at ? text.at : "", text.len, JSON_REJECT_DUPLICATES, &error);
    if (!r.root)
        r.why = str_printf(arena, "line %d: %s", error.line, error.text);
    else if (!json_is_object(r.root))
        r.why = STR("is no JSON object");
    else
        read_rotation(&r, &rotation);
    json_decref(r.root);
    if (r.why.at) {
        *ret_why = r.why;
        return SLUICE_ESYNTAX;
    }
    *ret = rotation;
    return 0;
}

int rotation_load(struct arena *arena, const char *path, struct str *ret_why, struct rotation *ret) {
    struct buf text __attribute__((cleanup(buf_free))) = {0};
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    ssize_t got = -1;
    buf_reserve(&text, FILE_MAX + 1);
    while (file >= 0 && text.len <= FILE_MAX &&
           (got = read(file, text.at + text.len, FILE_MAX + 1 - text.len)) > 0)
        text.len += (size_t)got;
    int error = got < 0 ? errno : 0;
    if (file >= 0)
        close(file);
    if (error == ENOENT)
        return SLUICE_ENOTFOUND;
    if (error) {
        *ret_why = str_of(strerror(error));
        return SLUICE_EIO;
    }
    if (text.len > FILE_MAX) {
        *ret_why = STR("is too long");
        return SLUICE_ESYNTAX;
    }
    return rotation_parse(arena, buf_view(&text), ret_why, ret);
}

/* ---- writing ---- */

static json_t *text_json(struct str s) { return json_stringn(s.at, s.len); }

static json_t *time_json(int64_t wall_ms) {
    char text[CLOCK_RFC3339_SIZE];
    return json_string(clock_rfc3339(wall_ms, text));
}

static json_t *keys_json(const struct rotation_keys *keys) {
    json_t *list = json_array();
    for (size_t i = 0; i < keys->count; i++) {
        json_t *item = json_object();
        json_object_set_new(item, "selector", text_json(keys->keys[i].selector));
        json_object_set_new(item, "key", text_json(keys->keys[i].key));
        json_array_append_new(list, item);
    }
    return list;
}

void rotation_write(const struct rotation *r, struct buf *out) {
    json_t *root = json_object(), *configured = json_array();
    for (size_t i = 0; i < r->configured_count; i++)
        json_array_append_new(configured, text_json(r->configured[i]));
    json_object_set_new(root, "version", json_integer(VERSION));
    json_object_set_new(root, "domain", text_json(r->domain));
    json_object_set_new(root, "started", time_json(r->started_ms));
    json_object_set_new(root, "switch", time_json(r->switch_ms));
    json_object_set_new(root, "keep", time_json(r->keep_ms));
    json_object_set_new(root, "configured", configured);
    json_object_set_new(root, "old", keys_json(&r->old));
    json_object_set_new(root, "new", keys_json(&r->next));
    char *text = json_dumps(root, JSON_INDENT(2));
    buf_str(out, str_of(text));
    buf_char(out, '\n');
    free(text);
    json_decref(root);
}
