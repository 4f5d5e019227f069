/* The plan to the primary by dynamic update (RFC 2136), signed with TSIG (RFC 8945). The program nsupdate
 * does the protocol; what was published is kept, so that what is planned no more can be taken away. */
#include "cmd/dns.h"
#include "identity/zone.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { NOT_FOUND = 127 };
#define TIMEOUT_S "60" /* for one message */

static int cant(struct cli *cli, const char *what, const char *path) {
    fprintf(cli->err, "sluice: can't %s %s: %s\n", what, path, strerror(errno));
    return CLI_NO;
}

/* What the last publication left there; empty when there was none. */
static int read_list(struct cli *cli, const char *path, struct buf *list) {
    char block[16384];
    size_t got;
    FILE *file = fopen(path, "re");
    if (!file)
        return errno == ENOENT ? CLI_DONE : cant(cli, "read", path);
    while ((got = fread(block, 1, sizeof block, file)) > 0)
        buf_add(list, block, got);
    int bad = ferror(file) ? cant(cli, "read", path) : CLI_DONE;
    fclose(file);
    return bad;
}

/* Old and new together: whatever becomes of the update, nothing that may be there is forgotten. */
static int write_both(struct cli *cli, const char *path, struct str old, struct str new) {
    struct buf both __attribute__((cleanup(buf_free))) = {0};
    buf_str(&both, old);
    buf_str(&both, new);
    return cmd_dns_write(cli, path, buf_view(&both));
}

static int script_file(struct str script) {
    int fd = memfd_create("nsupdate", MFD_CLOEXEC);
    for (size_t done = 0; fd >= 0 && done < script.len;) {
        ssize_t wrote = write(fd, script.at + done, script.len - done);
        if (wrote <= 0 && errno != EINTR) {
            close(fd);
            return -1;
        }
        done += wrote > 0 ? (size_t)wrote : 0;
    }
    if (fd >= 0)
        lseek(fd, 0, SEEK_SET);
    return fd;
}

/* By TCP, since updates are large. Its words go to ours. */
static int run_nsupdate(struct cli *cli, struct str script, const char *key) {
    int status, fd = script_file(script);
    if (fd < 0)
        return cant(cli, "write", "the script for nsupdate");
    fflush(cli->out), fflush(cli->err);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(fd, STDIN_FILENO);
        if (key)
            execlp("nsupdate", "nsupdate", "-v", "-t", TIMEOUT_S, "-k", key, (char *)NULL);
        else
            execlp("nsupdate", "nsupdate", "-v", "-t", TIMEOUT_S, (char *)NULL);
        _exit(NOT_FOUND);
    }
    close(fd);
    if (pid < 0)
        return cant(cli, "start", "nsupdate");
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return CLI_DONE;
    if (WIFEXITED(status) && WEXITSTATUS(status) == NOT_FOUND)
        fprintf(cli->err, "sluice: the program nsupdate is not installed\n");
    else
        fprintf(cli->err, "sluice: nsupdate failed: the primary may hold a part of the plan; run it again\n");
    return CLI_NO;
}

static void add_server(struct buf *script, struct str primary) {
    ptrdiff_t at = str_index(primary, '@');
    struct str ip = at < 0 ? primary : str_head(primary, (size_t)at);
    struct str port = at < 0 ? STR("53") : str_from_index(primary, (size_t)at + 1);
    buf_printf(script, "server %.*s %.*s\n", STR_FMT(ip), STR_FMT(port));
}

static void print_zone(struct cli *cli, const struct plan *plan, const struct plan_zone *zone) {
    size_t sent = 0;
    for (size_t i = 0; i < zone->count; i++) {
        const struct plan_record *r = &plan->records[zone->first + i];
        sent += !r->shared;
        if (r->shared && !cli->json)
            fprintf(cli->out, "%.*s %s: not sent: it belongs to the owner of the domain: %.*s\n",
                    STR_FMT(r->name), r->type, STR_FMT(r->data));
    }
    if (cli->json)
        fprintf(cli->out, "{\"zone\":\"%.*s\",\"records\":%zu}\n", STR_FMT(zone->name), sent);
    else
        fprintf(cli->out, "%.*s: %zu record%s\n", STR_FMT(zone->name), sent, sent == 1 ? "" : "s");
}

static void print_done(struct cli *cli, const struct plan *plan) {
    for (size_t i = 0; i < plan->zone_count; i++) {
        const struct plan_zone *zone = &plan->zones[i];
        if (zone->owner == PLAN_OURS)
            print_zone(cli, plan, zone);
        else if (!cli->json)
            fprintf(cli->out, "%.*s: not sent: it is %s\n", STR_FMT(zone->name),
                    zone->owner == PLAN_TENANT ? "the customer's" : "the provider's");
    }
}

int cmd_dns_publish(struct cli *cli, const struct settings *s, const struct plan *plan) {
    struct buf old __attribute__((cleanup(buf_free))) = {0}, new __attribute__((cleanup(buf_free))) = {0};
    struct buf script __attribute__((cleanup(buf_free))) = {0};
    const char *path = str_printf(cli->arena, "%s/dns-published", s->state).at;
    if (!s->identity.primary.len)
        return cli_usage(cli, "say where to: identity { primary = \"192.0.2.53\"  key = \"FILE\" }");
    cmd_dns_notes(cli, plan->notes, plan->note_count);
    if (read_list(cli, path, &old))
        return CLI_NO;
    zone_published(&new, plan);
    add_server(&script, s->identity.primary);
    zone_nsupdate(&script, plan, buf_view(&old));
    int bad = write_both(cli, path, buf_view(&old), buf_view(&new));
    if (!bad)
        bad = run_nsupdate(cli, buf_view(&script), s->identity.key);
    if (!bad)
        bad = cmd_dns_write(cli, path, buf_view(&new));
    if (!bad)
        print_done(cli, plan);
    return bad;
}
