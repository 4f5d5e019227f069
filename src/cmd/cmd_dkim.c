#include "base/clock.h"
#include "cmd/dkim.h"
#include "mail/address.h"
#include <jansson.h>
#include <openssl/crypto.h>
#include <unistd.h>

/* ---- keygen ---- */

static int read_bits(struct cli *cli, const struct cli_arguments *arguments, struct dkim_making *ret) {
    struct str bits = cli_value(arguments, "bits"), algorithm = cli_value(arguments, "algorithm");
    uint64_t number = DKIM_CLI_BITS;
    ret->algorithm = DKIM_RSA;
    if (algorithm.at && str_eq(algorithm, STR("ed25519")))
        ret->algorithm = DKIM_ED25519;
    else if (algorithm.at && !str_eq(algorithm, STR("rsa")))
        return cli_usage(cli, "--algorithm %.*s: rsa or ed25519", STR_FMT(algorithm));
    if (bits.at && ret->algorithm == DKIM_ED25519)
        return cli_usage(cli, "--bits is of RSA: Ed25519 keys have one size");
    if (bits.at && (!str_to_u64(bits, &number) || number < DKIM_RSA_MIN || number > DKIM_RSA_MAX))
        return cli_usage(cli, "--bits %.*s: %d to %d", STR_FMT(bits), DKIM_RSA_MIN, DKIM_RSA_MAX);
    ret->bits = (unsigned)number;
    return CLI_DONE;
}

static int read_making(struct cli *cli, const struct cli_arguments *arguments, struct dkim_making *ret) {
    struct str selector = cli_value(arguments, "selector");
    if (arguments->word_count != 2)
        return cli_usage(cli, "usage: sluice dkim keygen DOMAIN [--selector S] [--algorithm rsa|ed25519] "
                              "[--bits 2048]");
    struct str domain = str_of(arguments->words[1]);
    if (domain_is_literal(domain) || domain_normal(cli->arena, domain, &ret->domain) != 0)
        return cli_usage(cli, "%s: no domain", arguments->words[1]);
    if (selector.at && !selector_valid(selector))
        return cli_usage(cli, "--selector %.*s: letters, digits and hyphens, with dots between",
                         STR_FMT(selector));
    ret->selector = selector.at ? str_lower(cli->arena, selector) : STR_NULL;
    return read_bits(cli, arguments, ret);
}

static void print_key(struct cli *cli, const char *state, const struct dkim_making *m,
                      const struct dkim_key *key) {
    struct buf record __attribute__((cleanup(buf_free))) = {0},
                      strings __attribute__((cleanup(buf_free))) = {0};
    struct arena *arena = cli->arena;
    struct str name = str_printf(arena, "%.*s._domainkey.%.*s", STR_FMT(m->selector), STR_FMT(m->domain));
    struct signing_set set = {.count = 1};
    if (dkim_key_record(key, &record) != 0)
        return;
    dkim_record_strings(buf_view(&record), &strings);
    set.keys[0].selector = m->selector;
    set.keys[0].file =
        str_printf(arena, "%s/keys/%s", state, dkim_key_name(arena, m->domain, m->selector)).at;
    struct str section = dkim_section_text(arena, state, m->domain, &set);
    if (!cli->json) {
        fprintf(cli->out,
                "%.*s key: %s\n\nPublish:\n%.*s\n\nAnd, when it is live, in the tenant's section:\n"
                "  %.*s\n",
                STR_FMT(dkim_key_text(arena, key)), set.keys[0].file,
                STR_FMT(dkim_zone_line(arena, name, buf_view(&record))), STR_FMT(section));
        return;
    }
    json_t *line = json_pack("{s:s, s:s, s:s, s:i, s:s, s:s, s:s, s:i, s:s, s:s}", "domain",
                             str_c(arena, m->domain), "selector", str_c(arena, m->selector), "algorithm",
                             dkim_key_algorithm(key) == DKIM_RSA ? "rsa" : "ed25519", "bits",
                             (int)dkim_key_bits(key), "key", set.keys[0].file, "name",
                             str_printf(arena, "%.*s.", STR_FMT(name)).at, "type", "TXT", "ttl", DKIM_CLI_TTL,
                             "data", buf_c(&strings), "configuration", str_c(arena, section));
    json_dumpf(line, cli->out, JSON_COMPACT);
    fputc('\n', cli->out);
    json_decref(line);
}

/* Also with a configuration that has errors: it may name the very key that is to be made. */
int dkim_keygen(struct cli *cli, const struct cli_arguments *arguments) {
    struct dkim_making making = {0};
    struct cli_places places;
    struct dkim_key *key = NULL;
    int folder = -1, bad = read_making(cli, arguments, &making);
    if (!bad)
        bad = cli_find(cli, &places);
    if (!bad && !places.state)
        places.state = CLI_STATE;
    if (!bad)
        bad = dkim_folder_open(cli, places.state, places.user, &folder);
    if (bad)
        return bad;
    if (!making.selector.len)
        making.selector = dkim_selector_new(cli, folder, making.domain, making.algorithm, NULL, 0);
    bad = dkim_key_make(cli, folder, &making, &key);
    if (!bad)
        print_key(cli, places.state, &making, key);
    dkim_key_free(key);
    close(folder);
    return bad;
}

/* ---- record, check ---- */

static int load_rows(struct cli *cli, const struct cli_arguments *arguments, struct settings **ret_settings,
                     struct dkim_rows *ret) {
    if (arguments->word_count > 2)
        return cli_usage(cli, "unexpected word: %s", arguments->words[2]);
    int bad = dkim_settings(cli, ret_settings);
    if (!bad)
        bad = dkim_rows_of(cli, *ret_settings,
                           arguments->word_count == 2 ? str_of(arguments->words[1]) : STR_NULL, ret);
    return bad;
}

static void print_record(struct cli *cli, const struct dkim_row *row, struct buf *lines) {
    struct buf strings __attribute__((cleanup(buf_free))) = {0};
    struct arena *arena = cli->arena;
    if (!cli->json && !cli->csv) {
        fprintf(cli->out, "; %.*s, selector %.*s: %.*s, %.*s\n", STR_FMT(row->domain->domain),
                STR_FMT(row->selector), STR_FMT(dkim_key_text(arena, row->key)),
                STR_FMT(dkim_role_text(arena, row)));
        if (row->record.len)
            fprintf(cli->out, "%.*s\n", STR_FMT(dkim_zone_line(arena, row->name, row->record)));
        return;
    }
    if (!row->record.len)
        return;
    dkim_record_strings(row->record, &strings);
    json_t *line =
        json_pack("{s:s, s:s, s:i, s:s, s:s, s:s, s:s}", "name",
                  str_printf(arena, "%.*s.", STR_FMT(row->name)).at, "type", "TXT", "ttl", DKIM_CLI_TTL,
                  "data", buf_c(&strings), "domain", str_c(arena, row->domain->domain), "selector",
                  str_c(arena, row->selector), "use", str_c(arena, dkim_role_text(arena, row)));
    char *dump = json_dumps(line, JSON_COMPACT);
    buf_printf(lines, "%s\n", dump);
    free(dump);
    json_decref(line);
}

int dkim_record(struct cli *cli, const struct cli_arguments *arguments) {
    struct buf lines __attribute__((cleanup(buf_free))) = {0};
    struct settings *settings = NULL;
    struct dkim_rows rows = {0};
    int bad = load_rows(cli, arguments, &settings, &rows);
    for (size_t i = 0; !bad && i < rows.count; i++)
        print_record(cli, &rows.rows[i], &lines);
    if (!bad && (cli->json || cli->csv))
        cli_rows(cli, buf_view(&lines), NULL);
    dkim_rows_free(&rows);
    settings_unref(settings);
    return bad;
}

int dkim_check(struct cli *cli, const struct cli_arguments *arguments) {
    struct settings *settings = NULL;
    struct dkim_rows rows = {0};
    int bad = load_rows(cli, arguments, &settings, &rows);
    if (!bad)
        bad = dkim_check_rows(cli, settings, &rows);
    dkim_rows_free(&rows);
    settings_unref(settings);
    return bad;
}

/* ---- the command ---- */

static const struct {
    const char *name;
    const char *options; /* that it takes, with blanks around each */
    int (*run)(struct cli *, const struct cli_arguments *);
} parts[] = {
    {"keygen", " selector algorithm bits ", dkim_keygen},
    {"record", "", dkim_record},
    {"check", "", dkim_check},
    {"rotate", " after status cancel finish ", dkim_rotate},
};

static int run(struct cli *cli, const struct cli_arguments *arguments) {
    const char *names[sizeof parts / sizeof parts[0]];
    size_t count = sizeof parts / sizeof parts[0];
    if (!arguments->word_count)
        return cli_usage(cli, "usage: sluice dkim keygen | record | check | rotate");
    for (size_t i = 0; i < count; i++) {
        names[i] = parts[i].name;
        if (strcmp(arguments->words[0], parts[i].name) != 0)
            continue;
        for (size_t k = 0; k < arguments->given_count; k++) {
            const char *name = arguments->given[k].option->name;
            if (!strstr(parts[i].options, str_printf(cli->arena, " %s ", name).at))
                return cli_usage(cli, "sluice dkim %s takes no --%s", parts[i].name, name);
        }
        return parts[i].run(cli, arguments);
    }
    return cli_usage(cli, "no such part of dkim: %s%s", arguments->words[0],
                     cli_nearest(cli->arena, arguments->words[0], names, count));
}

static const struct cli_option options[] = {
    {"selector", 0, "NAME", "keygen: the selector (the date)"},
    {"algorithm", 0, "NAME", "keygen: rsa (the default) or ed25519"},
    {"bits", 0, "NUMBER", "keygen: of an RSA key, 1024 to 4096 (2048)"},
    {"after", 0, "TIME", "rotate: how long until the new key signs (`rotation` of the configuration, 96h)"},
    {"status", 0, NULL, "rotate: how far it is, and what DNS says"},
    {"cancel", 0, NULL, "rotate: takes one back whose new key does not sign yet"},
    {"finish", 0, NULL, "rotate: removes the old key when its record may go"},
    {0},
};

const struct cli_command cmd_dkim = {
    "dkim", "keygen DOMAIN | record [DOMAIN] | check [DOMAIN] | rotate DOMAIN",
    "The keys that sign mail: makes them, prints and checks their records, changes them", options, run};
