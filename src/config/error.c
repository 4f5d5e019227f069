#include "config/node.h"
#include <stdio.h>
#include <stdlib.h>

/* A file of garbage must not cost quadratic time, nor fill a screen a thousand times. */
enum { PROBLEMS_MAX = 500 };

struct problem {
    char *text; /* "file:line: message" */
    size_t file_order;
    int line;
    size_t order;
};

struct problems {
    struct problem *at;
    size_t count, cap;
    bool sorted;
};

struct config_errors {
    struct problems errors, warnings;
    char **files;
    size_t file_count;
};

struct config_errors *config_errors_new(void) {
    return xcalloc(1, sizeof(struct config_errors));
}

static void problems_free(struct problems *p) {
    for (size_t i = 0; i < p->count; i++)
        free(p->at[i].text);
    free(p->at);
}

struct config_errors *config_errors_free(struct config_errors *e) {
    if (!e)
        return NULL;
    problems_free(&e->errors);
    problems_free(&e->warnings);
    for (size_t i = 0; i < e->file_count; i++)
        free(e->files[i]);
    free(e->files);
    free(e);
    return NULL;
}

static size_t file_order(const struct config_errors *e, const char *file) {
    size_t i = 0;
    while (file && i < e->file_count && strcmp(e->files[i], file) != 0)
        i++;
    return file ? i : SIZE_MAX;
}

void config_error_file(struct config_errors *e, const char *file) {
    if (file_order(e, file) < e->file_count)
        return;
    e->files = xrealloc(e->files, (e->file_count + 1) * sizeof *e->files);
    struct str copy = str_of(file);
    e->files[e->file_count] = xmalloc(copy.len + 1);
    memcpy(e->files[e->file_count++], copy.at, copy.len + 1);
}

/* One line each, whatever bytes the file gave us to quote. */
static void make_printable(char *text) {
    for (; *text; text++)
        if ((unsigned char)*text < 32 || *text == 127)
            *text = '?';
}

void config_error_vadd(struct config_errors *e, struct config_place place, bool warning, const char *format,
                       va_list args) {
    struct problems *p = warning ? &e->warnings : &e->errors;
    struct buf text = {0};
    if (p->count >= PROBLEMS_MAX)
        return;
    if (place.file && place.line > 0)
        buf_printf(&text, "%s:%d: ", place.file, place.line);
    else if (place.file)
        buf_printf(&text, "%s: ", place.file);
    struct arena *scratch = arena_new(0);
    buf_str(&text, str_vprintf(scratch, format, args));
    arena_free(scratch);
    buf_char(&text, '\0');
    make_printable(text.at);

    for (size_t i = 0; i < p->count; i++) {
        if (strcmp(p->at[i].text, text.at) == 0) {
            buf_free(&text);
            return;
        }
    }
    if (p->count == p->cap) {
        p->cap = p->cap ? p->cap * 2 : 16;
        p->at = xrealloc(p->at, p->cap * sizeof *p->at);
    }
    p->at[p->count] = (struct problem){
        .text = text.at, .file_order = file_order(e, place.file), .line = place.line, .order = p->count};
    p->count++;
    p->sorted = false;
}

void config_error_add(struct config_errors *e, struct config_place place, bool warning, const char *format,
                      ...) {
    va_list args;
    va_start(args, format);
    config_error_vadd(e, place, warning, format, args);
    va_end(args);
}

static struct config_place place_of(const struct config_node *node, const char *option) {
    if (!node)
        return (struct config_place){0};
    return (struct config_place){config_file(node, option), config_line(node, option)};
}

void config_complain(struct config_errors *e, const struct config_node *node, const char *option,
                     const char *format, ...) {
    va_list args;
    va_start(args, format);
    config_error_vadd(e, place_of(node, option), false, format, args);
    va_end(args);
}

void config_warn(struct config_errors *e, const struct config_node *node, const char *option,
                 const char *format, ...) {
    va_list args;
    va_start(args, format);
    config_error_vadd(e, place_of(node, option), true, format, args);
    va_end(args);
}

static int by_place(const void *a, const void *b) {
    const struct problem *x = a, *y = b;
    if (x->file_order != y->file_order)
        return x->file_order < y->file_order ? -1 : 1;
    if (x->line != y->line)
        return x->line < y->line ? -1 : 1;
    return x->order < y->order ? -1 : x->order > y->order;
}

static const char *problem_at(const struct problems *p, size_t at) {
    if (at >= p->count)
        return NULL;
    if (!p->sorted) { /* sorting does not change what the collection says */
        struct problems *mutable = (struct problems *)(uintptr_t)p;
        qsort(mutable->at, mutable->count, sizeof *mutable->at, by_place);
        mutable->sorted = true;
    }
    return p->at[at].text;
}

size_t config_error_count(const struct config_errors *e) { return e->errors.count; }
size_t config_warning_count(const struct config_errors *e) { return e->warnings.count; }
const char *config_error_at(const struct config_errors *e, size_t at) { return problem_at(&e->errors, at); }
const char *config_warning_at(const struct config_errors *e, size_t at) {
    return problem_at(&e->warnings, at);
}
