#include "identity/faults.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/map.h"
#include "rt/state_file.h"
#include "seeded_bug.h"
#include <jansson.h>
#include <pthread.h>
#include <stdlib.h>

enum { VERSION = 1, FILE_MOST = 256 << 20 };

struct faults {
    pthread_rwlock_t lock;
    struct arena *arena; /* of what follows */
    const struct fault *at;
    size_t count;
    struct map *by_subject; /* the first of a subject; its others follow it */
    struct faults_counts counts;
};

struct faults *faults_new(void) {
    struct faults *f = xcalloc(1, sizeof *f);
    pthread_rwlock_init(&f->lock, NULL);
    f->arena = arena_new(0);
    f->by_subject = map_new(true);
    return f;
}

struct faults *faults_free(struct faults *f) {
    if (!f)
        return NULL;
    arena_free(f->arena);
    map_free(f->by_subject);
    pthread_rwlock_destroy(&f->lock);
    free(f);
    return NULL;
}

/* ---- what is known next ---- */

/* In the making: an array of struct fault, its texts in `arena`. */
struct next {
    struct arena *arena;
    struct buf list;
    size_t unanswered; /* all of them; those in the list are fewer */
};

static void add(struct next *next, const struct fault *f) {
    struct fault copy = *f;
    copy.subject = str_lower(next->arena, f->subject); /* neighbours in the order are compared as they are */
    copy.what = str_copy(next->arena, f->what), copy.put = str_copy(next->arena, f->put);
    buf_add(&next->list, &copy, sizeof copy);
}

static int by_subject(const void *x, const void *y) {
    const struct fault *a = x, *b = y;
    bool last_a = a->code == SURVEY_UNANSWERED, last_b = b->code == SURVEY_UNANSWERED;
    if (last_a != last_b)
        return last_a ? 1 : -1;
    int order = str_cmp(a->subject, b->subject);
    return order ? order : (int)a->code - (int)b->code;
}

/* Takes the place of what was known; `next` is used up. */
static void put_in_place(struct faults *f, struct next *next, int64_t checked) {
    struct fault *list = (struct fault *)(void *)next->list.at;
    size_t count = next->list.len / sizeof *list;
    struct faults_counts counts = {.checked = checked, .unanswered = next->unanswered};
    struct map *index = map_new(true), *old_index = f->by_subject;
    struct arena *old = f->arena;
    if (count)
        qsort(list, count, sizeof *list, by_subject);
    struct fault *kept = arena_array(next->arena, struct fault, count);
    for (size_t i = 0; i < count; i++) {
        kept[i] = list[i];
        counts.by_code[list[i].code]++;
        counts.warnings += survey_code_warns(list[i].code);
        if (list[i].code != SURVEY_UNANSWERED && !map_get(index, list[i].subject))
            map_put(index, list[i].subject, &kept[i]);
    }
    counts.faults = count - counts.by_code[SURVEY_UNANSWERED] - counts.warnings;
    counts.by_code[SURVEY_UNANSWERED] = counts.unanswered;
    pthread_rwlock_wrlock(&f->lock);
    f->arena = next->arena, f->at = kept, f->count = count, f->by_subject = index, f->counts = counts;
    pthread_rwlock_unlock(&f->lock);
    arena_free(old), map_free(old_index);
    buf_free(&next->list);
}

/* Only the one who takes surveys in changes the table, so it reads without the lock. */
static const struct fault *find(const struct faults *f, enum survey_code code, struct str subject) {
    const struct fault *at = map_get(f->by_subject, subject);
    for (; at && at < f->at + f->count && str_eq_nocase(at->subject, subject); at++)
        if (at->code == code)
            return at;
    return NULL;
}

void faults_take(struct faults *f, struct survey *survey, const struct survey_result *result, int64_t now) {
    struct next next = {.arena = arena_new(0), .unanswered = result->unanswered};
    struct arena *keys = arena_new(0);
    struct map *found = map_new(true);
    size_t unanswered = 0;
    for (size_t i = 0; i < result->count; i++) {
        const struct survey_fault *s = &result->faults[i];
        const struct fault *before = find(f, s->code, s->subject);
        struct fault fault = {s->code, s->subject, s->what, s->put, before ? before->since : now, now};
        map_put(found, str_printf(keys, "%d %.*s", (int)s->code, STR_FMT(s->subject)), f);
        if (s->code != SURVEY_UNANSWERED || unanswered++ < FAULTS_UNANSWERED_MAX)
            add(&next, &fault);
    }
    for (size_t i = 0; i < f->count; i++) {
        const struct fault *old = &f->at[i];
#ifdef SLUICE_SEEDED_BUG_FAULT_GONE_UNASKED
        break;
#endif
        if (old->code != SURVEY_UNANSWERED &&
            !map_get(found, str_printf(keys, "%d %.*s", (int)old->code, STR_FMT(old->subject))) &&
            !survey_sure(survey, old->code, old->subject))
            add(&next, old);
    }
    map_free(found);
    arena_free(keys);
    put_in_place(f, &next, now);
}

/* ---- telling ---- */

struct faults_counts faults_count(struct faults *f) {
    pthread_rwlock_rdlock(&f->lock);
    struct faults_counts counts = f->counts;
    pthread_rwlock_unlock(&f->lock);
    return counts;
}

size_t faults_list(struct faults *f, struct arena *arena, struct fault **ret) {
    pthread_rwlock_rdlock(&f->lock);
    size_t count = f->count;
    *ret = arena_array(arena, struct fault, count);
    for (size_t i = 0; i < count; i++) {
        struct fault *copy = &(*ret)[i];
        *copy = f->at[i];
        copy->subject = str_copy(arena, copy->subject);
        copy->what = str_copy(arena, copy->what), copy->put = str_copy(arena, copy->put);
    }
    pthread_rwlock_unlock(&f->lock);
    return count;
}

bool faults_has(struct faults *f, struct str subject) {
    pthread_rwlock_rdlock(&f->lock);
    bool has = map_get(f->by_subject, subject) != NULL;
    pthread_rwlock_unlock(&f->lock);
    return has;
}

struct str faults_about(struct faults *f, struct str subject, struct arena *arena) {
    struct buf text __attribute__((cleanup(buf_free))) = {0};
    char since[CLOCK_RFC3339_SIZE];
    if (!f || !subject.len)
        return STR("");
    pthread_rwlock_rdlock(&f->lock);
    const struct fault *at = map_get(f->by_subject, subject);
    for (; at && at < f->at + f->count && str_eq_nocase(at->subject, subject); at++)
        if (!survey_code_warns(at->code) && at->code != SURVEY_UNANSWERED)
            buf_printf(&text, "%s%s: %.*s (since %.16sZ)", text.len ? "; " : "", survey_code_text(at->code),
                       STR_FMT(at->what), clock_rfc3339(at->since, since));
    pthread_rwlock_unlock(&f->lock);
    return str_copy(arena, buf_view(&text));
}

/* ---- the file ---- */

static bool code_of(struct str text, enum survey_code *ret) {
    for (int code = 0; code < FAULT_CODES; code++)
        if (str_eq(text, str_of(survey_code_text((enum survey_code)code)))) {
            *ret = (enum survey_code)code;
            return true;
        }
    return false;
}

static struct str text_of(const json_t *object, const char *name) {
    const json_t *value = json_object_get(object, name);
    return json_is_string(value) ? str_from(json_string_value(value), json_string_length(value)) : STR_NULL;
}

static bool read_one(struct next *next, const json_t *object) {
    struct fault fault = {.subject = text_of(object, "subject"),
                          .what = text_of(object, "what"),
                          .put = text_of(object, "put")};
    if (!fault.subject.len || !fault.what.at || !fault.put.at ||
        !clock_parse_rfc3339(text_of(object, "since"), &fault.since) ||
        !clock_parse_rfc3339(text_of(object, "seen"), &fault.seen))
        return false;
    if (code_of(text_of(object, "code"), &fault.code)) /* else another version's, that is looked for anew */
        add(next, &fault);
    return true;
}

static bool read_all(struct next *next, const json_t *root, int64_t *ret_checked) {
    const json_t *list = json_object_get(root, "faults");
    size_t at;
    json_t *item;
    bool good = json_integer_value(json_object_get(root, "version")) == VERSION && json_is_array(list) &&
                clock_parse_rfc3339(text_of(root, "checked"), ret_checked);
    next->unanswered = (size_t)json_integer_value(json_object_get(root, "unanswered"));
    json_array_foreach(list, at, item) good = good && read_one(next, item);
    return good;
}

int faults_parse(struct faults *f, struct str text) {
    struct next next = {.arena = arena_new(0)};
    int64_t checked = 0;
    json_t *root = json_loadb(text.at ? text.at : "", text.len, JSON_REJECT_DUPLICATES, NULL);
    bool good = read_all(&next, root, &checked);
    json_decref(root);
    if (good) {
        put_in_place(f, &next, checked);
    } else {
        buf_free(&next.list);
        arena_free(next.arena);
    }
    return good ? 0 : SLUICE_ECORRUPT;
}

int faults_read(struct faults *f, const char *path, struct arena *arena, struct str *ret_why) {
    struct buf text __attribute__((cleanup(buf_free))) = {0};
    int error = state_file_read(path, FILE_MOST, &text);
    if (error) {
        *ret_why = str_printf(arena, "can't read %s: %s", path, error_text(error));
        return error;
    }
    error = faults_parse(f, buf_view(&text));
    if (error)
        *ret_why = str_printf(arena, "%s is damaged", path);
    return error;
}

static json_t *text_json(struct str text) {
    json_t *value = json_stringn(text.at ? text.at : "", text.len);
    return value ? value : json_string("?"); /* no UTF-8 */
}

static json_t *time_json(int64_t wall_ms) {
    char text[CLOCK_RFC3339_SIZE];
    return json_string(clock_rfc3339(wall_ms, text));
}

void faults_text(struct faults *f, struct buf *out) {
    json_t *root = json_object(), *list = json_array();
    pthread_rwlock_rdlock(&f->lock);
    for (size_t i = 0; i < f->count; i++) {
        json_t *object = json_object();
        json_object_set_new(object, "code", json_string(survey_code_text(f->at[i].code)));
        json_object_set_new(object, "subject", text_json(f->at[i].subject));
        json_object_set_new(object, "what", text_json(f->at[i].what));
        json_object_set_new(object, "put", text_json(f->at[i].put));
        json_object_set_new(object, "since", time_json(f->at[i].since));
        json_object_set_new(object, "seen", time_json(f->at[i].seen));
        json_array_append_new(list, object);
    }
    json_object_set_new(root, "version", json_integer(VERSION));
    json_object_set_new(root, "checked", time_json(f->counts.checked));
    json_object_set_new(root, "unanswered", json_integer((json_int_t)f->counts.unanswered));
    json_object_set_new(root, "faults", list);
    pthread_rwlock_unlock(&f->lock);
    char *text = json_dumps(root, JSON_INDENT(1));
    json_decref(root);
    buf_str(out, str_of(text));
    free(text);
}

int faults_write(struct faults *f, const char *path, struct arena *arena, struct str *ret_why) {
    struct buf text __attribute__((cleanup(buf_free))) = {0};
    faults_text(f, &text);
    int error = state_file_write(path, buf_view(&text));
    if (error)
        *ret_why = str_printf(arena, "can't write %s: %s", path, error_text(error));
    return error;
}
