/* Any bytes as the file of who owns which domain: what is read is the same when written and read again, and
 * what is refused changes nothing. */
#include "identity/ownership.h"
#include "must.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len) {
    const struct str tenant = STR("contoso"), domain = STR("contoso.com");
    struct arena *arena = arena_new(0);
    struct ownership *table = ownership_new(), *copy = ownership_new();
    struct str why = STR_NULL;
    bool good = ownership_parse(table, str_from(bytes, len), arena, &why) == 0;
    must(good == !why.len);
    struct ownership_fact a = ownership_get(table, arena, tenant, domain), b;
    must(good || (a.state == OWNERSHIP_UNKNOWN && !a.checked));
    char *once = ownership_text(table);
    must(once && ownership_parse(copy, str_of(once), arena, &why) == 0);
    b = ownership_get(copy, arena, tenant, domain);
    must(a.state == b.state && a.since == b.since && a.checked == b.checked && a.missing == b.missing &&
         a.misses == b.misses && str_eq(a.why, b.why));
    char *twice = ownership_text(copy);
    must(twice && strlen(once) == strlen(twice)); /* the order is the table's */
    free(once), free(twice);
    ownership_free(table), ownership_free(copy);
    arena_free(arena);
    return 0;
}
