#include "identity/watch_history.h"
#include "base/clock.h"
#include "base/error.h"
#include "identity/watch_memory.h"
#include "rt/state_file.h"
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LINE_MAX_BYTES = 2048 };

const char *watch_event_word(enum watch_event event) {
    static const char *const words[] = {
#define X(name, word) word,
        WATCH_EVENTS(X)
#undef X
    };
    return words[event];
}

/* ---- lines ---- */

static json_t *plain(struct str text) {
    char out[WATCH_TEXT_MAX];
    text = str_head(text, sizeof out);
    for (size_t i = 0; i < text.len; i++)
        out[i] = text.at[i] >= ' ' && text.at[i] < 127 ? text.at[i] : '?';
    return json_stringn(out, text.len);
}

static int append(const char *text, size_t len, void *out) {
    buf_add(out, text, len);
    return 0;
}

void watch_history_line(struct buf *out, const struct watch_change *c) {
    char time[CLOCK_RFC3339_SIZE], ip[IP_TEXT_SIZE];
    json_t *o = json_object();
    json_object_set_new(o, "time", json_string(clock_rfc3339(c->time, time)));
    json_object_set_new(o, "ip", json_string(ip_text(&c->ip, ip)));
    json_object_set_new(o, "event", json_string(watch_event_word(c->event)));
    json_object_set_new(o, "by", plain(c->by));
    json_object_set_new(o, "text", plain(c->text));
    json_dump_callback(o, append, out, JSON_COMPACT);
    buf_char(out, '\n');
    json_decref(o);
}

static struct str member(struct arena *arena, const json_t *o, const char *name) {
    const json_t *value = json_object_get(o, name);
    return str_copy(arena, str_from(json_string_value(value), json_string_length(value)));
}

int watch_history_parse(struct arena *arena, struct str line, struct watch_change *ret) {
    json_t *o = line.len ? json_loadb(line.at, line.len, JSON_REJECT_DUPLICATES, NULL) : NULL;
    struct watch_change c = {.event = WATCH_EVENT_COUNT};
    struct str word = member(arena, o, "event");
    bool good = clock_parse_rfc3339(member(arena, o, "time"), &c.time) && c.time >= 0 &&
                ip_parse(member(arena, o, "ip"), &c.ip) && !ip_is_none(&c.ip) &&
                json_is_string(json_object_get(o, "by")) && json_is_string(json_object_get(o, "text"));
    for (int i = 0; i < WATCH_EVENT_COUNT; i++)
        if (str_eq(word, str_of(watch_event_word((enum watch_event)i))))
            c.event = (enum watch_event)i;
    c.by = str_head(member(arena, o, "by"), WATCH_TEXT_MAX);
    c.text = str_head(member(arena, o, "text"), WATCH_TEXT_MAX);
    json_decref(o);
    if (!good || c.event == WATCH_EVENT_COUNT)
        return SLUICE_ESYNTAX;
    *ret = c;
    return 0;
}

/* ---- the file ---- */

int watch_history_append(const char *path, struct str lines) {
    int file = open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);
    struct stat found;
    char last = '\n';
    if (file < 0)
        return error_from_errno(errno);
    /* A write that was cut off must not spoil the next line. */
    bool good = fstat(file, &found) == 0;
    if (good && found.st_size > 0 && pread(file, &last, 1, found.st_size - 1) == 1 && last != '\n')
        good = write(file, "\n", 1) == 1;
    while (good && lines.len) {
        ssize_t wrote = write(file, lines.at, lines.len);
        good = wrote > 0;
        lines = str_from_index(lines, good ? (size_t)wrote : 0);
    }
    int error = good && fdatasync(file) == 0 ? 0 : error_from_errno(errno);
    bool full = good && found.st_size > WATCH_HISTORY_MOST;
    close(file);
    return !error && full ? watch_history_prune(path, 0) : error;
}

/* Calls each line in turn; `each` returns false to stop. Long lines are passed over. */
static int walk(const char *path, bool (*each)(void *arg, struct str line, size_t at), void *arg) {
    FILE *file = fopen(path, "re");
    char line[LINE_MAX_BYTES];
    size_t at = 0;
    bool whole = true, more = true;
    if (!file)
        return errno == ENOENT ? 0 : error_from_errno(errno);
    while (more && fgets(line, sizeof line, file)) {
        struct str text = str_of(line);
        bool ends = str_ends(text, STR("\n"));
        if (whole && ends)
            more = each(arg, str_head(text, text.len - 1), at);
        whole = ends;
        at += text.len;
    }
    int error = ferror(file) ? SLUICE_EIO : 0;
    fclose(file);
    return error;
}

struct pruning {
    struct buf kept;
    int64_t since;
    size_t skip, dropped; /* bytes; lines */
};

static bool keep(void *arg, struct str line, size_t at) {
    struct pruning *p = arg;
    struct arena *arena = arena_new(0);
    struct watch_change c;
    if (at >= p->skip && watch_history_parse(arena, line, &c) == 0 && c.time >= p->since) {
        buf_str(&p->kept, line);
        buf_char(&p->kept, '\n');
    } else {
        p->dropped++;
    }
    arena_free(arena);
    return true;
}

int watch_history_prune(const char *path, int64_t since) {
    struct pruning p = {.since = since};
    struct stat found;
    if (stat(path, &found) != 0)
        return errno == ENOENT ? 0 : error_from_errno(errno);
    if (found.st_size > WATCH_HISTORY_MOST)
        p.skip = (size_t)found.st_size / 2;
    int error = walk(path, keep, &p);
    if (!error && p.dropped)
        error = state_file_write(path, buf_view(&p.kept));
    buf_free(&p.kept);
    return error;
}

struct search {
    struct arena *arena;
    struct str needle;
    struct ip ip;
    struct watch_change *ring;
    size_t most, count;
};

static bool look(void *arg, struct str line, size_t at) {
    struct search *s = arg;
    struct watch_change c;
    (void)at;
    if (str_find(line, s->needle) >= 0 && watch_history_parse(s->arena, line, &c) == 0 &&
        ip_eq(&c.ip, &s->ip))
        s->ring[s->count++ % s->most] = c;
    return true;
}

int watch_history_read(struct arena *arena, const char *path, const struct ip *ip, size_t most,
                       struct watch_change **ret, size_t *ret_count) {
    char text[IP_TEXT_SIZE];
    struct search s = {.arena = arena, .ip = *ip, .most = most};
    s.needle = str_printf(arena, "\"%s\"", ip_text(ip, text));
    s.ring = arena_array(arena, struct watch_change, most);
    int error = walk(path, look, &s);
    size_t count = s.count < most ? s.count : most;
    struct watch_change *out = arena_array(arena, struct watch_change, count);
    for (size_t i = 0; i < count; i++)
        out[i] = s.ring[(s.count - 1 - i) % most];
    *ret = out, *ret_count = count;
    return error;
}
