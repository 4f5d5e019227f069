/* Any bytes as a message: its signatures are judged, the same wherever the body is cut, and ours on top fit.
 */
#include "auth/dkim_signature.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static void lookup(struct resolver *self, struct str name, enum dns_type type, int64_t deadline,
                   struct arena *arena, struct dns_answer *ret) {
    (void)self, (void)type, (void)deadline;
    *ret = (struct dns_answer){.status = DNS_RECORDS, .count = 1};
    ret->records = arena_new_of(arena, struct dns_record);
    ret->records->text =
        str_find(name, STR("rsa")) >= 0
            ? STR("v=DKIM1; k=rsa; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWRiGs5V6NpP3"
                  "idY6Wk08a5qhdR6wy5bdOKb2jLQiY/J16JYi0Qvx/byYzCNb3W91y3FutACDfzwQ/BC/e/8uBsCR"
                  "+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3Ip3G+2kryOTIKT+l/K4w3QID"
                  "AQAB")
            : STR("v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=");
}

static struct dkim_verdicts verify(struct arena *arena, const struct header *header, struct str body,
                                   size_t cut) {
    struct resolver resolver = {lookup};
    struct dkim_verify *v = dkim_verify_new(arena, header, 1528637909);
    dkim_verify_body(v, str_head(body, cut));
    dkim_verify_body(v, str_from_index(body, cut));
    struct dkim_verdicts verdicts = dkim_verify_end(v, &resolver, 0);
    dkim_verify_free(v);
    return verdicts;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len) {
    struct arena *arena = arena_new(0);
    struct str message = str_from(bytes, len);
    struct header header;
    if (header_parse(arena, message, 0, &header) == 0) {
        struct str body = str_from_index(message, header.body_at);
        struct dkim_verdicts whole = verify(arena, &header, body, body.len),
                             parts = verify(arena, &header, body, len ? bytes[0] % (body.len + 1) : 0);
        if (whole.count != parts.count)
            abort();
        for (size_t i = 0; i < whole.count; i++)
            if (whole.items[i].result != parts.items[i].result ||
                (whole.items[i].result == DKIM_PASS) != !whole.items[i].reason.len)
                abort();
    }
    struct dkim_tags tags;
    if (dkim_tags_parse(message, &tags))
        for (size_t i = 0; i < tags.count; i++)
            if (!tags.items[i].name.len || tags.items[i].hole.at < message.at ||
                tags.items[i].hole.at + tags.items[i].hole.len > message.at + len)
                abort();
    arena_free(arena);
    return 0;
}
