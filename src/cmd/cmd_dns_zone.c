#include "base/clock.h"
#include "cmd/dns.h"
#include "cmd/dns_ask.h"
#include "identity/zone.h"
#include "trace/text.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static int cant_write(struct cli *cli, const char *path) {
    fprintf(cli->err, "sluice: can't write %s: %s\n", path, strerror(errno));
    return CLI_NO;
}

/* Whole or not at all: a server may read the old file meanwhile. */
int cmd_dns_write(struct cli *cli, const char *path, struct str text) {
    const char *draft = str_printf(cli->arena, "%s.new", path).at;
    /* A folder of the daemon's user must not lead root elsewhere. */
    int fd = unlink(draft) == 0 || errno == ENOENT
                 ? open(draft, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666)
                 : -1;
    FILE *file = fd >= 0 ? fdopen(fd, "w") : NULL;
    if (!file)
        return cant_write(cli, draft);
    bool good = fwrite(text.at, 1, text.len, file) == text.len;
    good &= fflush(file) == 0 && fsync(fileno(file)) == 0;
    good &= fclose(file) == 0;
    if (good && rename(draft, path) == 0)
        return CLI_DONE;
    cant_write(cli, path);
    unlink(draft);
    return CLI_NO;
}

static int write_zones(struct cli *cli, const char *folder, const struct settings *s,
                       const struct plan *plan) {
    uint32_t serial = (uint32_t)(clock_wall_ms() / 1000);
    struct buf text __attribute__((cleanup(buf_free))) = {0};
    if (mkdir(folder, 0777) != 0 && errno != EEXIST)
        return cant_write(cli, folder);
    for (size_t i = 0; i < plan->zone_count; i++) {
        struct str name = zone_file_name(cli->arena, &plan->zones[i]);
        buf_clear(&text);
        zone_text(&text, plan, i, &s->identity, serial);
        int bad =
            cmd_dns_write(cli, str_printf(cli->arena, "%s/%.*s", folder, STR_FMT(name)).at, buf_view(&text));
        if (bad)
            return bad;
        if (cli->json)
            fprintf(cli->out, "{\"zone\":\"%.*s\",\"file\":\"%.*s\",\"serial\":%u}\n",
                    STR_FMT(plan->zones[i].name), STR_FMT(name), serial);
    }
    if (!cli->json)
        fprintf(cli->out, "%zu zone%s, serial %u\n", plan->zone_count, plan->zone_count == 1 ? "" : "s",
                serial);
    return CLI_DONE;
}

/* ---- beside what is live ---- */

static int by_set(const void *a, const void *b) {
    const struct live_line *x = a, *y = b;
    if (x->set != y->set)
        return x->set < y->set ? -1 : 1;
    return (x->state > y->state) - (x->state < y->state);
}

static void print_line(struct cli *cli, const struct live_line *line, struct buf *json) {
    static const char *const STATES[] = {
        [LIVE_MISSING] = "missing", [LIVE_OTHER] = "other", [LIVE_UNKNOWN] = "unknown"};
    static const enum cli_paint PAINTS[] = {
        [LIVE_MISSING] = CLI_GREEN, [LIVE_OTHER] = CLI_RED, [LIVE_UNKNOWN] = CLI_YELLOW};
    const char *type = line->set->records[0]->type;
    if (cli->json || cli->csv) {
        buf_printf(json, "{\"state\":\"%s\",\"name\":", STATES[line->state]);
        trace_json_string(json, line->set->name);
        buf_printf(json, ",\"type\":\"%s\",\"data\":", type);
        trace_json_string(json, line->data);
        buf_str(json, STR("}\n"));
        return;
    }
    fprintf(cli->out, "%s%c %.*s %s %.*s%s\n", cli_paint(cli, PAINTS[line->state]), "+-?"[line->state],
            STR_FMT(line->set->name), type, STR_FMT(cli_safe(cli->arena, line->data, 0)),
            cli_paint(cli, CLI_PLAIN));
}

struct comparing {
    struct arena *arena;
    const struct live_set *sets;
    struct buf *lines;
};

static bool ask(void *ctx, size_t number, struct resolver *resolver, int64_t deadline) {
    struct comparing *c = ctx;
    const struct live_set *set = &c->sets[number];
    struct dns_answer answer = {.status = DNS_FAILED,
                                .why = STR("not asked: no question before got an answer")};
    if (resolver)
        resolver_lookup(resolver, set->name, set->type, deadline, c->arena, &answer);
    live_compare(c->arena, set, &answer, c->lines);
    return answer.status != DNS_FAILED;
}

static int print_differences(struct cli *cli, const struct settings *s, const struct plan *plan) {
    static const struct cli_column columns[] = {
        {"STATE", "state", CLI_TEXT},
        {"NAME", "name", CLI_TEXT},
        {"TYPE", "type", CLI_TEXT},
        {"DATA", "data", CLI_TEXT},
        {0},
    };
    struct buf found __attribute__((cleanup(buf_free))) = {0}, json __attribute__((cleanup(buf_free))) = {0};
    struct live_set *sets;
    size_t count = live_sets(cli->arena, plan, &sets);
    struct comparing comparing = {cli->arena, sets, &found};
    int bad = dns_ask(cli, s, &(struct dns_questions){count, ask, &comparing});
    if (bad)
        return bad;
    struct live_line *lines = (struct live_line *)(void *)found.at;
    size_t line_count = found.len / sizeof *lines;
    if (line_count)
        qsort(lines, line_count, sizeof *lines, by_set);
    bool differs = false;
    for (size_t i = 0; i < line_count; i++) {
        print_line(cli, &lines[i], &json);
        differs |= lines[i].state != LIVE_UNKNOWN;
    }
    if (cli->json || cli->csv)
        cli_rows(cli, buf_view(&json), columns);
    else if (!line_count)
        fprintf(cli->out, "%s%zu names and types are as planned%s\n", cli_paint(cli, CLI_GREEN), count,
                cli_paint(cli, CLI_PLAIN));
    return differs ? CLI_NO : line_count ? CLI_UNREACHABLE : CLI_DONE;
}

int cmd_dns_zone(struct cli *cli, const struct cli_arguments *arguments, const struct settings *s,
                 const struct plan *plan) {
    struct str folder = cli_value(arguments, "out");
    bool script = cli_has(arguments, "nsupdate"), diff = cli_has(arguments, "diff");
    if ((folder.at != NULL) + script + diff != 1)
        return cli_usage(cli, "sluice dns zone --out DIR, --diff or --nsupdate?");
    cmd_dns_notes(cli, plan->notes, plan->note_count);
    if (diff)
        return print_differences(cli, s, plan);
    if (!script) {
        struct zone_faults faults = zone_faults(cli->arena, plan, &s->identity);
        cmd_dns_notes(cli, faults.at, faults.count);
        return write_zones(cli, folder.at, s, plan);
    }
    struct buf out __attribute__((cleanup(buf_free))) = {0};
    zone_nsupdate(&out, plan);
    cli_print(cli, buf_view(&out));
    return CLI_DONE;
}
