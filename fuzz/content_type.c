/* Any value is a content type; its words never run past the value. */
#include "mail/mime.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len) {
    struct arena *arena = arena_new(0);
    struct content_type ct;
    struct str value = str_from(bytes, len);
    content_type_parse(arena, value, &ct);
    if (!ct.type.len || !ct.subtype.len)
        abort();
    for (size_t i = 0; i < ct.parameter_count; i++)
        if (ct.parameters[i].name.len + ct.parameters[i].value.len > len)
            abort();
    (void)content_type_parameter(&ct, "boundary");
    (void)mime_encoding_parse(value);
    arena_free(arena);
    return 0;
}
