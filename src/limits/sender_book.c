#include "base/map.h"
#include "limits/sender_state.h"

#include <stdlib.h>

struct sender_book {
    struct map *by_name[SENDER_TENANT + 1]; /* name -> struct sender_state */
};

enum { KINDS = SENDER_TENANT + 1 };

struct sender_book *sender_book_new(void) {
    struct sender_book *b = xcalloc(1, sizeof *b);
    for (unsigned kind = 0; kind < KINDS; kind++)
        b->by_name[kind] = map_new(true);
    return b;
}

struct sender_book *sender_book_free(struct sender_book *b) {
    if (!b)
        return NULL;
    for (unsigned kind = 0; kind < KINDS; kind++) {
        struct str name;
        void *state;
        for (size_t at = 0; map_next(b->by_name[kind], &at, &name, &state);)
            free(state);
        map_free(b->by_name[kind]);
    }
    free(b);
    return NULL;
}

const struct sender_state *sender_book_find(const struct sender_book *b, enum sender_kind kind,
                                            struct str name) {
    return map_get(b->by_name[kind], name);
}

size_t sender_book_count(const struct sender_book *b, enum sender_kind kind) {
    return map_count(b->by_name[kind]);
}

struct sender_state *sender_book_of(struct sender_book *b, enum sender_kind kind, struct str name) {
    struct sender_state *s = map_get(b->by_name[kind], name);
    if (!s) {
        s = xcalloc(1, sizeof *s);
        s->kind = kind;
        map_put(b->by_name[kind], name, s);
    }
    return s;
}

void sender_book_put(struct sender_book *b, struct str name, const struct sender_state *state, int64_t now) {
    if (sender_is_blank(state, now))
        free(map_remove(b->by_name[state->kind], name));
    else
        *sender_book_of(b, state->kind, name) = *state;
}

void sender_book_tidy(struct sender_book *b, int64_t now) {
    for (unsigned kind = 0; kind < KINDS; kind++) {
        struct map *map = b->by_name[kind];
        struct str name, *blank = xcalloc(map_count(map) + 1, sizeof *blank);
        size_t count = 0;
        void *state;
        for (size_t at = 0; map_next(map, &at, &name, &state);)
            if (sender_is_blank(state, now))
                blank[count++] = name;
        for (size_t i = 0; i < count; i++)
            free(map_remove(map, blank[i]));
        free(blank);
    }
}

bool sender_book_next(const struct sender_book *b, size_t *at, struct str *ret_name,
                      const struct sender_state **ret) {
    /* The low two bits of the place are the kind. */
    for (unsigned kind = *at & 3; kind < KINDS; kind++) {
        size_t inner = (*at & 3) == kind ? *at >> 2 : 0;
        void *state;
        bool found = map_next(b->by_name[kind], &inner, ret_name, &state);
        *at = inner << 2 | kind;
        if (found) {
            *ret = state;
            return true;
        }
        *at = kind + 1;
    }
    return false;
}
