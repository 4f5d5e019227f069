#include "config/node.h"
#include <stdio.h>
#include <stdlib.h>

size_t config_table_length(const struct config_option *table) {
    size_t n = 0;
    while (table[n].kind != CONFIG_END)
        n++;
    return n;
}

struct config_node *config_node_new(struct arena *arena, const struct config_option *table, const char *name,
                                    struct config_place place) {
    struct config_node *node = arena_new_of(arena, struct config_node);
    *node =
        (struct config_node){.table = table,
                             .name = name,
                             .title = STR_NULL,
                             .place = place,
                             .entries = arena_array(arena, struct config_entry, config_table_length(table))};
    return node;
}

static const struct config_entry *entry_find(const struct config_node *node, const char *name) {
    for (size_t i = 0; node->table[i].kind != CONFIG_END; i++)
        if (strcmp(node->table[i].name, name) == 0)
            return &node->entries[i];
    return NULL;
}

/* A name or kind that the table doesn't have is a mistake in the caller's code, not in the file. */
static const struct config_entry *entry(const struct config_node *node, const char *name, unsigned kinds) {
    const struct config_entry *found = entry_find(node, name);
    if (!found || !(1u << node->table[found - node->entries].kind & kinds)) {
        fprintf(stderr,
                "configuration option \"%s\" is asked for, but declared with another kind or not at all\n",
                name);
        abort();
    }
    return found;
}

bool config_has(const struct config_node *node, const char *name) { return entry(node, name, ~0u)->written; }

struct str config_string(const struct config_node *node, const char *name) {
    return entry(node, name, 1u << CONFIG_STRING)->text;
}

bool config_bool(const struct config_node *node, const char *name) {
    return entry(node, name, 1u << CONFIG_BOOL)->number != 0;
}

int64_t config_integer(const struct config_node *node, const char *name) {
    return entry(node, name, 1u << CONFIG_INTEGER)->number;
}

int64_t config_size(const struct config_node *node, const char *name) {
    return entry(node, name, 1u << CONFIG_SIZE)->number;
}

int64_t config_duration_ms(const struct config_node *node, const char *name) {
    return entry(node, name, 1u << CONFIG_DURATION)->number;
}

int config_enum(const struct config_node *node, const char *name) {
    const struct config_entry *found = entry(node, name, 1u << CONFIG_ENUM);
    return found->text.at ? (int)found->number : -1;
}

struct config_list config_list(const struct config_node *node, const char *name) {
    return entry(node, name, 1u << CONFIG_LIST)->list;
}

const struct config_node *config_section(const struct config_node *node, const char *name) {
    const struct config_entry *found = entry(node, name, 1u << CONFIG_SECTION);
    return found->written ? found->sections[0] : NULL;
}

const struct config_node *config_section_or_empty(const struct config_node *node, const char *name) {
    return entry(node, name, 1u << CONFIG_SECTION)->sections[0];
}

struct config_sections config_sections(const struct config_node *node, const char *name) {
    const struct config_entry *found = entry(node, name, 1u << CONFIG_TITLED);
    return (struct config_sections){(const struct config_node *const *)found->sections, found->section_count};
}

struct str config_title(const struct config_node *node) {
    return node->title;
}

static struct config_place place(const struct config_node *node, const char *name) {
    const struct config_entry *found = name ? entry_find(node, name) : NULL;
    return found && found->written ? found->place : node->place;
}

const char *config_file(const struct config_node *node, const char *name) {
    const char *file = place(node, name).file;
    return file ? file : "";
}

int config_line(const struct config_node *node, const char *name) { return place(node, name).line; }
