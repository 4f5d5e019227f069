/* Any reverse-path: the fold of a fold is itself, and it keeps the domain. */
#include "limits/sender_fold.h"
#include "mail/address.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    struct arena *arena = arena_new(0);
    const char *how;
    struct str path = str_from((const char *)bytes, size), once = sender_fold(arena, path, &how);
    struct str normal = address_normal(arena, path), twice = sender_fold(arena, once, NULL);
    if (!str_eq(once, twice))
        abort();
    if (normal.len && !str_eq(address_split(normal).domain, address_split(once).domain))
        abort();
    arena_free(arena);
    return 0;
}
