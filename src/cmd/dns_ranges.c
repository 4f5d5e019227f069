/* `sluice dns ranges`: the published networks, with a serial that rises when they change and at no other
 * time. */
#include "cmd/dns.h"
#include <sys/stat.h>

enum { MEMORY_MOST = 64 << 20 };

/* The latest change of a file in which sites and pools are written: where nobody remembers, and so that nodes
 * with the same files begin with the same. */
static int64_t file_time(const struct settings *s) {
    struct stat status;
    int64_t time = stat(s->file.at, &status) == 0 ? status.st_mtime : 0;
    for (size_t i = 0; i < s->pool_file_count; i++)
        if (stat(s->pool_files[i], &status) == 0 && status.st_mtime > time)
            time = status.st_mtime;
    return time;
}

/* "serial 1795344734\n192.0.2.32/27\n...": what it prints. */
static void write_text(struct buf *out, int64_t serial, const struct cidr *ranges, size_t count) {
    char text[CIDR_TEXT_SIZE];
    buf_printf(out, "serial %lld\n", (long long)serial);
    for (size_t i = 0; i < count; i++)
        buf_printf(out, "%s\n", cidr_text(&ranges[i], text));
}

static void read_memory(const char *path, struct buf *out) {
    char block[16384];
    size_t got;
    FILE *file = fopen(path, "re");
    while (file && (got = fread(block, 1, sizeof block, file)) > 0 && out->len < MEMORY_MOST)
        buf_add(out, block, got);
    if (file)
        fclose(file);
}

/* The serial of the ranges that were printed last; *ret_ranges is their lines. */
static int64_t recall(struct str memory, struct str *ret_ranges) {
    struct str line, word;
    uint64_t serial = 0;
    if (!str_cut(&memory, '\n', &line) || !str_cut(&line, ' ', &word) || !str_eq(word, STR("serial")) ||
        !str_to_u64(line, &serial) || serial > INT64_MAX / 2)
        return 0;
    *ret_ranges = memory;
    return (int64_t)serial;
}

/* Who may not write there gets the same answer; it is only not remembered. */
static void remember(struct cli *cli, const char *path, struct str text) {
    FILE *err = cli->err;
    cli->err = fopen("/dev/null", "we");
    if (cli->err) {
        (void)cmd_dns_write(cli, path, text);
        fclose(cli->err);
    }
    cli->err = err;
}

static int64_t serial_of(struct cli *cli, const struct settings *s, const struct cidr *ranges, size_t count) {
    struct buf memory __attribute__((cleanup(buf_free))) = {0}, text __attribute__((cleanup(buf_free))) = {0};
    const char *path = str_printf(cli->arena, "%s/dns-ranges", s->state).at;
    struct str before = STR(""), now, line;
    read_memory(path, &memory);
    int64_t last = recall(buf_view(&memory), &before), serial = file_time(s);
    write_text(&text, 0, ranges, count);
    now = buf_view(&text);
    str_cut(&now, '\n', &line);
    if (last && str_eq(now, before))
        return last;
    serial = serial > last ? serial : last + 1;
    buf_clear(&text);
    write_text(&text, serial, ranges, count);
    remember(cli, path, buf_view(&text));
    return serial;
}

int cmd_dns_ranges(struct cli *cli, const struct settings *s) {
    static const struct cli_column columns[] = {
        {"SERIAL", "serial", CLI_NUMBER}, {"RANGE", "range", CLI_TEXT}, {0}};
    struct buf lines __attribute__((cleanup(buf_free))) = {0};
    struct cidr *ranges;
    size_t count = plan_ranges(cli->arena, s->pools, &ranges);
    int64_t serial = serial_of(cli, s, ranges, count);
    char text[CIDR_TEXT_SIZE];
    if (!cli->json && !cli->csv) {
        write_text(&lines, serial, ranges, count);
        cli_print(cli, buf_view(&lines));
        return CLI_DONE;
    }
    for (size_t i = 0; i < count; i++)
        buf_printf(&lines, "{\"serial\":%lld,\"range\":\"%s\"}\n", (long long)serial,
                   cidr_text(&ranges[i], text));
    cli_rows(cli, buf_view(&lines), columns);
    return CLI_DONE;
}
