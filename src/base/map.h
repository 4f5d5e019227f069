/* map.h - a hash map from names (bytes) to pointers.
 *
 * Keys are copied; values belong to the caller. Open addressing, grows by two.
 * With `fold` keys compare without regard to ASCII case.
 */
#pragma once
#include "base/str.h"

struct map;

struct map *map_new(bool fold);
/* Accepts NULL, returns NULL. Values are not freed. */
struct map *map_free(struct map *);
size_t map_count(const struct map *);
/* The value, or NULL. */
void *map_get(const struct map *, struct str key);
/* Puts or replaces; returns the old value or NULL. `value` may not be NULL. */
void *map_put(struct map *, struct str key, void *value);
/* Removes; returns the value or NULL. */
void *map_remove(struct map *, struct str key);
/* Walks all entries in no order: start with *at = 0; false at the end. The map may not change during the
 * walk. */
bool map_next(const struct map *, size_t *at, struct str *ret_key, void **ret_value);
