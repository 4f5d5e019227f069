/* Any bytes are a Received field or none; one that is read names an address, and views stay inside. */
#include "mail/received_chain.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len) {
    struct arena *arena = arena_new(0);
    struct received_client client, again;
    struct str value = str_from(bytes, len);
    if (received_client(arena, value, &client)) {
        if (ip_is_none(&client.ip) || client.helo.len > len || client.name.len > len || client.by.len > len ||
            !client.by.len)
            abort();
        /* Nothing that is put behind makes it another client. */
        struct str more = str_printf(arena, "%.*s; (y [192.0.2.99]) with z", STR_FMT(value));
        if (!memchr(bytes, 0, len) && received_client(arena, more, &again) && !ip_eq(&client.ip, &again.ip))
            abort();
    }
    arena_free(arena);
    return 0;
}
