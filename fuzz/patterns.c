/* The snapshot of patterns with any entries in it. The input is a row of entries: type, length (2 bytes),
 * body. Their checksums are made right, so that what is in them gets through; bit 7 of the type spoils one.
 * What was read is used, written again, and read back the same. */
#include "base/entry.h"
#include "detection/pattern.h"
#include "detection/surge.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

enum { SENDERS = 50 };
#define NOW INT64_C(1790000000000)

static void add_entry(struct buf *b, uint8_t type, const uint8_t *body, uint16_t len) {
    size_t start = entry_begin(b, type & 0x7f);
    buf_add(b, body, len);
    entry_end(b, start);
    b->at[start] = (char)(b->at[start] ^ type >> 7);
}

static struct pattern_rules rules(void) {
    struct pattern_rules r = {.apply = true,
                              .senders = SENDERS,
                              .growth = 10,
                              .growth_hour = 200,
                              .growth_day = 500,
                              .destinations = 50,
                              .network = 50,
                              .learning_ms = 86400000,
                              .surge = 50,
                              .surge_growth = 5};
    for (unsigned i = 0; i < SIGN_SHARES; i++)
        r.shares[i] = (struct pattern_share){300, 10, 600};
    return r;
}

static void save(const struct pattern *p, struct buf *b) {
    size_t at = 0;
    while (pattern_save(p, &at, 7, NOW, b)) {
    }
}

/* The same entries as surges: what is taken is used, and reads back. */
static void use_surges(const struct pattern_rules *r, const struct buf *entries) {
    struct surge *s = surge_new(r), *again = surge_new(r);
    struct arena *arena = arena_new(0);
    struct buf b = {0}, once = {0};
    struct surge_alert alert;
    size_t damage, at = 0;
    buf_str(&b, STR("SLSURGE2"));
    if (entries->len > 32)
        buf_add(&b, entries->at + 32, entries->len - 32);
    if (!surge_restore(s, buf_view(&b), NOW, &damage) && damage > b.len)
        abort();
    surge_save(s, &once);
    if (!surge_restore(again, buf_view(&once), NOW, &damage))
        abort();
    for (unsigned i = 0; i < 8; i++)
        surge_event(
            s,
            &(struct surge_event){.tenant = STR("contoso"), .incoming = i % 2, .failing = 1000, .now = NOW},
            arena, &alert);
    while (surge_next_over(s, &at, NOW + 86400000, arena, &alert))
        continue;
    arena_free(arena);
    buf_free(&b);
    buf_free(&once);
    surge_free(s);
    surge_free(again);
}

/* Some send and are answered, and all who are known are asked about. */
static void use(struct pattern *p) {
    struct arena *arena = arena_new(0);
    struct pattern_findings found = {.count = 0};
    struct pattern_suspect suspect;
    struct sender_counts counts;
    for (unsigned i = 0; i < 8; i++) {
        struct str domain = str_printf(arena, "d%u.example", i);
        struct pattern_message m = {.whose = {STR("bob@contoso.com"), STR("contoso/c"), STR("contoso")},
                                    .bad = i % 2,
                                    .recipients = i,
                                    .external = i,
                                    .domains = &domain,
                                    .domain_count = 1,
                                    .now = NOW + i};
        struct pattern_answer a = {.whose = m.whose, .kind = REPLY_UNKNOWN, .recipients = 1, .now = NOW + i};
        pattern_message(p, &m, arena, &found);
        pattern_answer(p, &a, arena, &found);
    }
    for (size_t at = 0; pattern_next_suspect(p, &at, NOW, &suspect);)
        if (pattern_counts(p, suspect.kind, suspect.name, NOW, &counts) && counts.spam > counts.mail)
            abort();
    arena_free(arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len) {
    struct pattern_rules r = rules();
    struct pattern *p = pattern_new(&r, 1, NOW), *again = pattern_new(&r, 2, NOW);
    struct surge *s = surge_new(&r);
    struct buf snapshot = {0}, once = {0}, twice = {0};
    struct pattern_saved saved;
    size_t at = 0;
    (void)!pattern_restore(p, str_from(bytes, len), NOW, &saved);
    (void)surge_restore(s, str_from(bytes, len), NOW, &at);
    at = 0;
    pattern_free(p);
    p = pattern_new(&r, 1, NOW);
    pattern_save(p, &at, 1, NOW, &snapshot); /* a header, and an end to be cut off */
    snapshot.len = 32;
    while (len >= 3) {
        uint16_t size = (uint16_t)(bytes[1] | bytes[2] << 8);
        if (size > len - 3)
            size = (uint16_t)(len - 3);
        add_entry(&snapshot, bytes[0], bytes + 3, size);
        bytes += 3 + size;
        len -= 3 + (size_t)size;
    }
    if (pattern_restore(p, buf_view(&snapshot), NOW, &saved) != 0)
        abort();
    save(p, &once);
    if (pattern_restore(again, buf_view(&once), NOW, &saved) != 0 || saved.damaged)
        abort();
    save(again, &twice);
    if (once.len != twice.len)
        abort();
    use(p);
    use_surges(&r, &snapshot);
    buf_free(&snapshot);
    buf_free(&once);
    buf_free(&twice);
    surge_free(s);
    pattern_free(p);
    pattern_free(again);
    return 0;
}
