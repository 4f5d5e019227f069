#include "base/clock.h"
#include "cmd/dns.h"
#include "identity/zone.h"
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

static int cant_write(struct cli *cli, const char *path) {
    fprintf(cli->err, "sluice: can't write %s: %s\n", path, strerror(errno));
    return CLI_NO;
}

/* Whole or not at all: a server may read the old file meanwhile. */
static int write_file(struct cli *cli, const char *path, struct str text) {
    const char *draft = str_printf(cli->arena, "%s.new", path).at;
    FILE *file = fopen(draft, "we");
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
            write_file(cli, str_printf(cli->arena, "%s/%.*s", folder, STR_FMT(name)).at, buf_view(&text));
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

int cmd_dns_zone(struct cli *cli, const struct cli_arguments *arguments, const struct settings *s,
                 const struct plan *plan) {
    struct str folder = cli_value(arguments, "out");
    bool script = cli_has(arguments, "nsupdate");
    if ((folder.at != NULL) == script)
        return cli_usage(cli, "sluice dns zone --out DIR or --nsupdate?");
    cmd_dns_notes(cli, plan->notes, plan->note_count);
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
