/* probe MODE - answers questions of check_vectors about the mail room, one a line: hex bytes in, text or hex
 * out. */
#include "base/error.h"
#include "mail/address.h"
#include "mail/convert.h"
#include "mail/mime.h"
#include "mail/received.h"

#include <stdio.h>
#include <stdlib.h>

static void put_hex(struct str s) {
    for (size_t i = 0; i < s.len; i++)
        printf("%02x", (unsigned char)s.at[i]);
}

static void probe_address(struct arena *arena, struct str in) {
    struct address a;
    int error = address_parse(in, ADDRESS_ALLOW_UTF8, &a);
    printf("%s", error ? "invalid" : "valid ");
    if (!error)
        put_hex(address_normal(arena, in));
}

static void probe_domain(struct arena *arena, struct str in) {
    struct str out;
    if (domain_normal(arena, in, &out) != 0)
        printf("invalid");
    else
        printf("valid "), put_hex(out);
}

static void probe_list(struct arena *arena, struct str in) {
    struct address_list list;
    printf("%d", address_list_parse(arena, in, &list));
    for (size_t i = 0; i < list.count; i++)
        printf(" "), put_hex(list.items[i].address.whole);
}

static void probe_type(struct arena *arena, struct str in) {
    struct content_type ct;
    content_type_parse(arena, in, &ct);
    put_hex(ct.type);
    printf(" ");
    put_hex(ct.subtype);
}

static void fail(const char *what) {
    printf("FAIL %s", what);
    fflush(stdout);
    abort();
}

/* Reading is total and changes nothing; converting gives 7-bit, and the same again when done twice. */
static void probe_message(struct arena *arena, struct str in) {
    struct header h;
    struct mime_facts facts;
    struct buf joined __attribute__((cleanup(buf_free))) = {0}, out __attribute__((cleanup(buf_free))) = {0},
                      twice __attribute__((cleanup(buf_free))) = {0};
    if (header_parse(arena, in, 0, &h) != 0) {
        printf("toobig");
        return;
    }
    for (size_t i = 0; i < h.count; i++)
        buf_str(&joined, h.fields[i].whole);
    if (!str_eq(buf_view(&joined), h.whole) || !str_eq(h.whole, str_head(in, h.whole.len)) ||
        h.body_at > in.len)
        fail("the fields are not the header");
    mime_facts_of(arena, &h, &facts);
    for (size_t i = 0; i < h.count; i++) {
        struct address_list list;
        (void)!address_list_parse(arena, h.fields[i].value, &list);
    }
    printf("%zu %zu %d ", h.count, h.body_at, facts.delivery_report);
    if (convert_message(in, &out, NULL) != 0) {
        printf("kept");
        return;
    }
    if (bytes_8bit(buf_view(&out)))
        fail("8-bit bytes are left");
    if (!bytes_8bit(in) && !str_eq(buf_view(&out), in))
        fail("changed without need");
    if (convert_message(buf_view(&out), &twice, NULL) != 0 || !str_eq(buf_view(&out), buf_view(&twice)))
        fail("converted twice is not the same");
    put_hex(buf_view(&out));
}

static const struct {
    const char *mode;
    void (*probe)(struct arena *, struct str);
} probes[] = {
    {"address", probe_address}, {"domain", probe_domain},   {"list", probe_list},
    {"type", probe_type},       {"message", probe_message},
};

int main(int argc, char **argv) {
    char *line = NULL;
    size_t cap = 0, mode = 0;
    while (argc == 2 && mode < sizeof probes / sizeof *probes &&
           !str_eq(str_of(argv[1]), str_of(probes[mode].mode)))
        mode++;
    if (argc != 2 || mode == sizeof probes / sizeof *probes)
        return 2;
    for (ssize_t len; (len = getline(&line, &cap, stdin)) >= 0;) {
        struct arena *arena = arena_new(0);
        size_t count = (size_t)len / 2;
        char *bytes = xmalloc(count + 1);
        for (size_t i = 0; i < count; i++)
            sscanf(line + 2 * i, "%2hhx", (unsigned char *)&bytes[i]);
        probes[mode].probe(arena, str_from(bytes, count));
        printf("\n");
        free(bytes);
        arena_free(arena);
    }
    free(line);
    return 0;
}
