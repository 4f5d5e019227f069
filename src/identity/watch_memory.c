#include "identity/watch_memory.h"
#include "base/clock.h"
#include "base/error.h"
#include "rt/state_file.h"
#include <jansson.h>
#include <stdio.h>
#include <unistd.h>

enum { VERSION = 1, FILE_MAX = 256 << 20, ZONE_MAX = 253, PATH_SIZE = 4096 };

/* ---- writing ---- */

static json_t *plain(struct str text) {
    char out[WATCH_TEXT_MAX];
    text = str_head(text, sizeof out);
    for (size_t i = 0; i < text.len; i++)
        out[i] = text.at[i] >= ' ' && text.at[i] < 127 ? text.at[i] : '?';
    return json_stringn(out, text.len);
}

static json_t *time_json(int64_t wall_ms) {
    char text[CLOCK_RFC3339_SIZE];
    return json_string(clock_rfc3339(wall_ms, text));
}

static json_t *note_json(const struct watch_note *n) {
    json_t *item = json_object();
    char ip[IP_TEXT_SIZE];
    json_object_set_new(item, "ip", json_string(ip_text(&n->ip, ip)));
    if (n->zone.len)
        json_object_set_new(item, "list", plain(n->zone));
    json_object_set_new(item, "since", time_json(n->since));
    json_object_set_new(item, "answered", time_json(n->answered));
    json_object_set_new(item, "text", plain(n->text));
    return item;
}

static int append(const char *text, size_t len, void *out) {
    buf_add(out, text, len);
    return 0;
}

void watch_memory_write(struct buf *out, const struct watch_note *notes, size_t count) {
    json_t *root = json_object(), *list = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, note_json(&notes[i]));
    json_object_set_new(root, "version", json_integer(VERSION));
    json_object_set_new(root, "notes", list);
    json_dump_callback(root, append, out, JSON_INDENT(1));
    buf_char(out, '\n');
    json_decref(root);
}

/* ---- reading ---- */

struct reading {
    struct arena *arena;
    struct str why; /* the first fault; at == NULL: none */
    size_t at;
};

static void fault(struct reading *r, const char *what) {
    if (!r->why.at)
        r->why = str_printf(r->arena, "note %zu: %s", r->at + 1, what);
}

static struct str text_of(struct reading *r, const json_t *item, const char *name, size_t most) {
    const json_t *value = json_object_get(item, name);
    struct str text = str_from(json_string_value(value), json_string_length(value));
    bool good = json_is_string(value) && text.len <= most;
    for (size_t i = 0; good && i < text.len; i++)
        good = text.at[i] >= ' ' && text.at[i] < 127;
    if (!good)
        fault(r, name);
    return good ? str_copy(r->arena, text) : STR("");
}

static int64_t time_of(struct reading *r, const json_t *item, const char *name) {
    int64_t time = 0;
    if (!clock_parse_rfc3339(text_of(r, item, name, 64), &time) || time < 0)
        fault(r, name);
    return time;
}

static void read_note(struct reading *r, const json_t *item, struct watch_note *n) {
    if (!ip_parse(text_of(r, item, "ip", IP_TEXT_SIZE), &n->ip) || ip_is_none(&n->ip))
        fault(r, "ip");
    n->zone = STR("");
    if (json_object_get(item, "list"))
        n->zone = str_lower(r->arena, text_of(r, item, "list", ZONE_MAX));
    n->text = text_of(r, item, "text", WATCH_TEXT_MAX);
    n->since = time_of(r, item, "since");
    n->answered = time_of(r, item, "answered");
}

int watch_memory_parse(struct arena *arena, struct str text, struct str *ret_why,
                       const struct watch_note **ret, size_t *ret_count) {
    json_error_t error;
    struct reading r = {.arena = arena, .why = STR_NULL};
    json_t *root = json_loadb(text.at ? text.at : "", text.len, JSON_REJECT_DUPLICATES, &error);
    json_t *list = json_object_get(root, "notes");
    size_t count = json_array_size(list);
    struct watch_note *notes = arena_array(arena, struct watch_note, count);
    if (!root)
        r.why = str_printf(arena, "line %d: %s", error.line, error.text);
    else if (json_integer_value(json_object_get(root, "version")) != VERSION || !json_is_array(list))
        r.why = STR("is no memory of version 1");
    for (; r.at < count && !r.why.at; r.at++)
        read_note(&r, json_array_get(list, r.at), &notes[r.at]);
    json_decref(root);
    if (r.why.at) {
        *ret_why = r.why;
        return SLUICE_ESYNTAX;
    }
    *ret = notes, *ret_count = count;
    return 0;
}

/* ---- the file ---- */

int watch_memory_load(struct arena *arena, const char *path, struct str *ret_why,
                      const struct watch_note **ret, size_t *ret_count) {
    struct buf text __attribute__((cleanup(buf_free))) = {0};
    char aside[PATH_SIZE];
    int error = state_file_read(path, FILE_MAX, &text);
    if (error == SLUICE_ENOTFOUND)
        return error;
    if (error) {
        *ret_why = str_of(error == SLUICE_ECORRUPT ? "is no file of ours" : error_text(error));
        return SLUICE_EIO;
    }
    error = watch_memory_parse(arena, buf_view(&text), ret_why, ret, ret_count);
    if (error && snprintf(aside, sizeof aside, "%s.damaged", path) < (int)sizeof aside)
        rename(path, aside); /* else it is written over, which is as good */
    return error;
}
