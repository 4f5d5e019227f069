/* Any bytes as a message: its chain is judged, and a seal on top of one that passes makes one that passes. */
#include "auth/arc.h"
#include "auth/body_hash.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

/* RFC 8463's example key. */
#define PEM                                                                                                  \
    "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n"        \
    "-----END PRIVATE KEY-----\n"

static void lookup(struct resolver *self, struct str name, enum dns_type type, int64_t deadline,
                   struct arena *arena, struct dns_answer *ret) {
    (void)self, (void)type, (void)deadline;
    *ret = (struct dns_answer){.status = DNS_RECORDS, .count = 1};
    ret->records = arena_new_of(arena, struct dns_record);
    ret->records->text =
        str_find(name, STR("dummy")) >= 0
            ? STR("v=DKIM1; k=rsa; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWRiGs5V6NpP3"
                  "idY6Wk08a5qhdR6wy5bdOKb2jLQiY/J16JYi0Qvx/byYzCNb3W91y3FutACDfzwQ/BC/e/8uBsCR"
                  "+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3Ip3G+2kryOTIKT+l/K4w3QID"
                  "AQAB")
            : STR("v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=");
}

static struct arc_verdict judge(struct arena *arena, struct str message, struct header *header,
                                struct str *ret_body) {
    struct resolver resolver = {lookup};
    struct arc_verdict verdict = {.result = ARC_FAIL, .ended = true};
    if (header_parse(arena, message, 0, header) != 0)
        return verdict;
    *ret_body = str_from_index(message, header->body_at);
    struct arc_verify *v = arc_verify_new(arena, header);
    arc_verify_body(v, *ret_body);
    verdict = arc_verify_end(v, &resolver, 0);
    arc_verify_free(v);
    return verdict;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len) {
    struct arena *arena = arena_new(0);
    struct header header, again;
    struct str body, why;
    struct dkim_key *key;
    struct buf out = {0};
    struct arc_verdict verdict = judge(arena, str_from(bytes, len), &header, &body);
    if (dkim_key_parse(STR(PEM), arena, &why, &key) != 0)
        abort();
    struct arc_seal_settings settings = {
        .signer = {key, STR("example.org"), STR("e")}, .results = STR("mx; none"), .now_s = 1};
    uint8_t digest[DKIM_DIGEST_SIZE];
    struct body_hash *hash = body_hash_new();
    body_hash_feed(hash, body);
    body_hash_end(hash, digest);
    body_hash_free(hash);
    struct arc_seal *seal = verdict.ended ? NULL : arc_seal_new(&header, digest, &verdict, &settings);
    if (seal) {
        if (arc_seal_run(seal) == 0) {
            arc_seal_write(seal, &out);
            buf_str(&out, header.whole);
            buf_str(&out, STR("\r\n"));
            buf_str(&out, body);
            struct arc_verdict now = judge(arena, buf_view(&out), &again, &body);
            if ((now.result == ARC_PASS) != (verdict.result != ARC_FAIL))
                abort();
        }
    }
    arc_seal_free(seal);
    dkim_key_free(key);
    buf_free(&out);
    arena_free(arena);
    return 0;
}
