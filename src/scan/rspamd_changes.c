#include "scan/rspamd_changes.h"

#include "scan/milter_wire.h"

struct changing {
    struct arena *arena;
    struct scan_change *list;
    size_t count, bytes;
    const char *why; /* the first thing that is wrong; NULL: nothing */
};

/* A value for a field of ASCII: line ends stay, who writes the field folds there. */
static struct str clean(struct arena *arena, const json_t *text) {
    struct str s = str_from(json_string_value(text), json_string_length(text));
    char *out = arena_alloc(arena, s.len + 1);
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.at[i];
        out[i] = c == '\t' || c == '\r' || c == '\n' || (c >= ' ' && c < 127) ? (char)c : '?';
    }
    return str_from(out, s.len);
}

static void put(struct changing *c, const struct scan_change *change) {
    c->bytes += change->name.len + change->value.len;
    if (c->count == RSPAMD_CHANGES_MAX || c->bytes > RSPAMD_CHANGES_BYTES)
        c->why = "they are too many or too long";
    else if (!milter_is_field_name(change->name))
        c->why = "a field has no proper name";
    else
        c->list[c->count++] = *change;
}

/* 0 means all, a negative one counts from the end. */
static void take_out(struct changing *c, const char *name, const json_t *which) {
    json_int_t index = json_integer_value(which);
    if (!json_is_integer(which) || index > INT16_MAX || index < INT16_MIN)
        c->why = "which field to take out can't be told";
    else
        put(c, &(struct scan_change){
                   .remove = true, .name = str_copy(c->arena, str_of(name)), .index = (int)index});
}

/* "value", or {"value": ..., "order": n}: at the end without an order or with a negative one. */
static void add(struct changing *c, const char *name, const json_t *what) {
    const json_t *value = json_is_object(what) ? json_object_get(what, "value") : what;
    const json_t *order = json_is_object(what) ? json_object_get(what, "order") : NULL;
    json_int_t index = json_is_integer(order) ? json_integer_value(order) : -1;
    if (!json_is_string(value) || (order && !json_is_integer(order)))
        c->why = "a field to add has no value";
    else if (json_string_length(value) > RSPAMD_CHANGES_BYTES)
        c->why = "they are too many or too long";
    else
        put(c, &(struct scan_change){.name = str_copy(c->arena, str_of(name)),
                                     .value = clean(c->arena, value),
                                     .index = index < 0 || index > INT16_MAX ? -1 : (int)index});
}

static void add_all(struct changing *c, const char *name, json_t *what) {
    size_t i;
    const json_t *one;
    if (!json_is_array(what)) {
        add(c, name, what);
        return;
    }
    json_array_foreach(what, i, one) {
        if (!c->why)
            add(c, name, one);
    }
}

/* What is taken out goes first: a field that is added anew must stay. */
static void read_fields(struct changing *c, const json_t *milter) {
    json_t *out = json_object_get(milter, "remove_headers"), *in = json_object_get(milter, "add_headers");
    const char *name;
    json_t *value;
    json_object_foreach(out, name, value) {
        if (!c->why)
            take_out(c, name, value);
    }
    json_object_foreach(in, name, value) {
        if (!c->why)
            add_all(c, name, value);
    }
}

void rspamd_changes(const json_t *answer, const struct scan_settings *s, struct arena *arena,
                    struct scan_result *ret) {
    const json_t *milter = json_object_get(answer, "milter"), *subject = json_object_get(answer, "subject");
    if (s->rewrite_subject && str_eq_nocase(ret->action, STR("rewrite subject")) && json_is_string(subject))
        ret->subject = str_head(clean(arena, subject), SCAN_SUBJECT_MAX);
    if (!s->apply_headers || !json_is_object(milter))
        return;
    struct changing c = {.arena = arena, .list = arena_array(arena, struct scan_change, RSPAMD_CHANGES_MAX)};
    read_fields(&c, milter);
    ret->changes_why = c.why ? str_of(c.why) : STR("");
    ret->changes = c.list;
    ret->change_count = c.why ? 0 : c.count;
}
