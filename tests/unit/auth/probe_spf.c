/* probe_spf - answers questions of check_spf and check_srs: a line of words in, those of text in hex ("-" for
 * none); a line out.
 *   clear | zone NAME TYPE DATA
 *   check IP HELO MAILFROM RECEIVER   -> RESULT EXPLANATION TERMS VOIDS REASON
 *   record TEXT                       -> valid | invalid
 *   macro USE IP TEXT SENDER DOMAIN HELO RECEIVER -> EXPANSION | invalid
 *   forward STYLE ALPHABET SEPARATOR SECRETS DOMAIN TIME SENDER FORWARDER -> FORM FITS ADDRESS | invalid
 *   reverse SECRETS TIME ADDRESS      -> VERDICT FORM SECRET ADDRESS */
#include "auth/spf_inside.h"
#include "auth/srs.h"
#include "base/clock.h"
#include "zone.h"

#include <stdio.h>
#include <stdlib.h>

enum { WORDS_MAX = 10, ZONE_MAX = 4096, SECRETS_MAX = 8 };

struct probe {
    struct arena *arena;   /* of the question */
    struct arena *forever; /* of the zone */
    struct zone_record *records;
    struct zone zone;
    struct str words[WORDS_MAX];
};

static void put_hex(struct str s) {
    printf(" ");
    for (size_t i = 0; i < s.len; i++)
        printf("%02x", (unsigned char)s.at[i]);
    if (!s.len)
        printf("-");
}

static struct str from_hex(struct arena *arena, struct str s) {
    char *out = arena_alloc(arena, s.len / 2 + 1);
    if (str_eq(s, STR("-")))
        return str_from(out, 0);
    for (size_t i = 0; i + 1 < s.len; i += 2) {
        char two[3] = {s.at[i], s.at[i + 1], 0};
        out[i / 2] = (char)strtoul(two, NULL, 16);
    }
    return str_from(out, s.len / 2);
}

static struct str text(struct probe *p, size_t word) { return from_hex(p->arena, p->words[word]); }

static int64_t number(struct probe *p, size_t word) {
    uint64_t value = 0;
    (void)str_to_u64(p->words[word], &value);
    return (int64_t)value;
}

static void do_clear(struct probe *p) {
    arena_reset(p->forever);
    p->records = arena_array(p->forever, struct zone_record, ZONE_MAX);
    zone_open(&p->zone, p->records, 0);
    printf("ok");
}

static void do_zone(struct probe *p) {
    if (p->zone.count < ZONE_MAX)
        p->records[p->zone.count++] = (struct zone_record){.name = from_hex(p->forever, p->words[1]),
                                                           .type = str_copy(p->forever, p->words[2]),
                                                           .data = from_hex(p->forever, p->words[3])};
    printf("ok");
}

static void do_check(struct probe *p) {
    struct spf_query query = {.helo = text(p, 2),
                              .mail_from = text(p, 3),
                              .receiver = text(p, 4),
                              .deadline = clock_mono_ms() + 20000};
    struct spf_check check;
    (void)ip_parse(p->words[1], &query.ip);
    spf_check(&p->zone.resolver, &query, p->arena, &check);
    printf("%s", spf_result_text(check.result));
    put_hex(check.explanation);
    printf(" %u %u", check.terms, check.voids);
    put_hex(check.reason);
}

static void do_record(struct probe *p) {
    struct str record = text(p, 1), term;
    struct spf_record checked;
    const char *why;
    bool valid = spf_is_record(record) && spf_record_check(record, &checked, &term, &why) == 0;
    printf("%s", valid ? "valid" : "invalid");
}

static void do_macro(struct probe *p) {
    struct spf_query query = {.deadline = clock_mono_ms() + 20000};
    struct spf_check check = {0};
    (void)ip_parse(p->words[2], &query.ip);
    struct spf_work w = {.resolver = &p->zone.resolver, .query = &query, .arena = p->arena, .ret = &check};
    struct str in = text(p, 3), sender = text(p, 4), out;
    ptrdiff_t at = str_rindex(sender, '@');
    w.values = (struct spf_macro_values){.ip = query.ip,
                                         .sender = sender,
                                         .local = str_head(sender, (size_t)at),
                                         .sender_domain = str_from_index(sender, (size_t)at + 1),
                                         .domain = text(p, 5),
                                         .helo = text(p, 6),
                                         .receiver = text(p, 7),
                                         .validated = spf_validated_name,
                                         .context = &w};
    enum spf_macro_use use = (enum spf_macro_use)number(p, 1);
    if (spf_macro_fault(in, use) ||
        !spf_macro_expand(p->arena, in, use, &w.values, SPF_EXPLANATION_MAX, &out))
        printf("invalid");
    else
        put_hex(out);
}

static struct srs_settings settings_of(struct probe *p, struct str secrets) {
    struct str *list = arena_array(p->arena, struct str, SECRETS_MAX);
    size_t count = 0;
    while (count < SECRETS_MAX && str_cut(&secrets, ',', &list[count])) {
        list[count] = from_hex(p->arena, list[count]);
        count++;
    }
    return (struct srs_settings){.secrets = list, .secret_count = count};
}

static void do_forward(struct probe *p) {
    struct srs_settings settings = settings_of(p, p->words[4]);
    settings.style = (enum srs_style)number(p, 1);
    settings.alphabet = (enum srs_alphabet)number(p, 2);
    settings.separator = p->words[3].at[0];
    settings.domain = text(p, 5);
    struct srs_rewritten out;
    if (srs_forward(&settings, text(p, 7), text(p, 8), number(p, 6) * 1000, p->arena, &out) != 0) {
        printf("invalid");
        return;
    }
    printf("%d %d", out.form, out.fits);
    put_hex(out.address);
}

static void do_reverse(struct probe *p) {
    struct srs_settings settings = settings_of(p, p->words[1]);
    struct srs_original out = {0};
    printf("%d", srs_reverse(&settings, text(p, 3), number(p, 2) * 1000, p->arena, &out));
    printf(" %d %zu", out.form, out.secret);
    put_hex(out.address);
}

static const struct {
    struct str verb;
    void (*run)(struct probe *);
} verbs[] = {
    {STR("clear"), do_clear},     {STR("zone"), do_zone},   {STR("check"), do_check},
    {STR("record"), do_record},   {STR("macro"), do_macro}, {STR("forward"), do_forward},
    {STR("reverse"), do_reverse},
};

static bool run(struct probe *p, struct str line) {
    for (size_t i = 0; i < WORDS_MAX; i++)
        if (!str_cut(&line, ' ', &p->words[i]))
            p->words[i] = STR("-");
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
        if (str_eq(p->words[0], verbs[i].verb)) {
            verbs[i].run(p);
            printf("\n");
            (void)fflush(stdout);
            return true;
        }
    return false;
}

int main(void) {
    struct probe p = {.arena = arena_new(0), .forever = arena_new(0)};
    p.records = arena_array(p.forever, struct zone_record, ZONE_MAX);
    zone_open(&p.zone, p.records, 0);
    char *line = NULL;
    size_t cap = 0;
    ssize_t len;
    int failed = 0;
    while (!failed && (len = getline(&line, &cap, stdin)) > 0) {
        failed = !run(&p, str_trim(str_from(line, (size_t)len)));
        arena_reset(p.arena);
    }
    free(line);
    arena_free(p.arena);
    arena_free(p.forever);
    return failed;
}
