#include "rt/zone_file.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct arena *arena = arena_new(0);
    struct zone_file *zone;
    struct str why = STR_NULL, elsewhere;
    if (zone_parse(str_from(data, size), "zone", arena, &why, &zone) == 0) {
        struct dns_answer answer;
        zone_answer(zone, STR("a.example"), DNS_MX, &answer, &elsewhere);
        zone_free(zone);
    } else if (!why.len) {
        abort();
    }
    arena_free(arena);
    return 0;
}
