/* A DNS packet: the first byte chooses the type asked for. */
#include "rt/dns_wire.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const enum dns_type types[] = {DNS_A,   DNS_AAAA, DNS_MX,    DNS_TXT,
                                          DNS_PTR, DNS_SOA,  DNS_CNAME, DNS_TLSA};
    if (!size)
        return 0;
    struct arena *arena = arena_new(0);
    struct dns_answer answer;
    dns_decode(str_from(data + 1, size - 1), STR("q.x"), types[data[0] % 8], arena, &answer);
    for (size_t i = 0; i < answer.count; i++) {
        /* A name that came from the wire is a name. */
        char memory[DNS_NAME_MAX];
        struct str name = answer.records[i].name, normal;
        if (name.len && (!dns_name_normal(name, memory, &normal) || !str_eq(name, normal)))
            abort();
    }
    if (answer.status == DNS_FAILED    ? !answer.why.len
        : answer.status == DNS_RECORDS ? !answer.count
                                       : answer.count)
        abort();
    arena_free(arena);
    return 0;
}
