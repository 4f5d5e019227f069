/* What is a path is an address, and its normal form is its own normal form. */
#include "mail/address.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len) {
    struct arena *arena = arena_new(0);
    struct str in = str_from(bytes, len), rest;
    struct address a, b;
    unsigned all = ADDRESS_ALLOW_NULL | ADDRESS_ALLOW_POSTMASTER | ADDRESS_ALLOW_UTF8;
    if (address_path(in, all, &a, &rest) == 0) {
        if (rest.at + rest.len != in.at + in.len || address_parse(a.whole, all, &b) != 0)
            abort();
        struct str normal = address_normal(arena, a.whole);
        if (a.domain.len && !normal.at)
            abort();
        if (normal.at && (!str_eq(address_normal(arena, normal), normal) || !address_same(a.whole, normal)))
            abort();
    }
    struct str domain;
    if (domain_normal(arena, in, &domain) == 0 && domain_normal(arena, domain, &domain) != 0)
        abort();
    struct str wire = local_quoted(arena, in);
    if (!str_eq(local_plain(arena, wire), in))
        abort();
    arena_free(arena);
    return 0;
}
