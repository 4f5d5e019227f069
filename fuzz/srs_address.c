/* What was rewritten comes back the same, and to nobody who has not the secret. */
#include "auth/srs.h"
#include "base/error.h"
#include "mail/address.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static const int64_t now = 1577836860000;

static void check_round_trip(struct arena *arena, const struct srs_settings *settings, struct str sender,
                             struct str forwarder) {
    static const struct str other = STR("other");
    struct srs_settings foreign = *settings;
    foreign.secrets = &other;
    struct srs_rewritten out;
    struct srs_original back;
    struct address from;
    if (address_parse(sender, ADDRESS_ALLOW_UTF8, &from) != 0 ||
        srs_forward(settings, sender, forwarder, now, arena, &out) != 0 || out.form == SRS_UNCHANGED)
        return;
    if (srs_reverse(settings, out.address, now, arena, &back) != SRS_GOOD || back.form != out.form)
        abort();
    if (srs_reverse(&foreign, out.address, now, arena, &back) == SRS_GOOD)
        abort();
    if (out.form == SRS_SRS1 || out.form == SRS_BOUNCES)
        return;
    if (srs_reverse(settings, out.address, now, arena, &back) != SRS_GOOD ||
        !str_eq(local_plain(arena, address_split(back.address).local), local_plain(arena, from.local)) ||
        !str_eq(address_split(back.address).domain, from.domain))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len) {
    static const struct str secret = STR("secret");
    struct arena *arena = arena_new(0);
    struct str input = str_from(bytes, len);
    for (int style = SRS_STYLE_OPEN; style <= SRS_STYLE_MICROSOFT; style++) {
        struct srs_settings settings = {.style = (enum srs_style)style,
                                        .separator = len % 2 ? '+' : '-',
                                        .domain = STR("srs.example"),
                                        .secrets = &secret,
                                        .secret_count = 1};
        struct srs_original back;
        check_round_trip(arena, &settings, input, STR("f@ours.example"));
        check_round_trip(arena, &settings, input, STR(""));
        if (srs_reverse(&settings, input, now, arena, &back) == SRS_GOOD && back.form != SRS_BOUNCES &&
            !back.address.len)
            abort();
    }
    arena_free(arena);
    return 0;
}
