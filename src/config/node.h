/* node.h - the tree as the engine's own files see it. Not for other rooms. */
#pragma once
#include "config/config.h"

enum { CONFIG_SECTIONS_FIRST = 4 };

struct config_place {
    const char *file; /* in the arena */
    int line;
};

/* What one option of the node's table has: one entry per row, in the table's order. */
struct config_entry {
    bool written;
    struct config_place place; /* of its name, when written */
    struct str text;           /* scalars */
    int64_t number;            /* bool, integer, size, duration, enum */
    struct config_list list;
    struct config_node **sections; /* SECTION: one, also when not written; TITLED: as written */
    size_t section_count, section_cap;
};

struct config_node {
    const struct config_option *table;
    const char *name; /* "pool"; NULL: the root */
    struct str title;
    struct config_place place;
    struct config_entry *entries;
};

struct config_node *config_node_new(struct arena *, const struct config_option *table, const char *name,
                                    struct config_place);
size_t config_table_length(const struct config_option *table);

/* Adds "file:line: message" (without a place when file is NULL). */
void config_error_add(struct config_errors *, struct config_place, bool warning, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
void config_error_vadd(struct config_errors *, struct config_place, bool warning, const char *format, va_list)
    __attribute__((format(printf, 4, 0)));
/* Files are sorted in the order in which they were opened. */
void config_error_file(struct config_errors *, const char *file);

/* The value of a scalar as its kind reads it. False: *ret_why says what is allowed, in `arena`. */
bool config_value(const struct config_option *, struct str text, struct arena *, int64_t *ret_number,
                  struct str *ret_why);

/* A bound as one would write it: "25mb", "1h". */
struct str config_number_text(struct arena *, const struct config_option *, int64_t n);
