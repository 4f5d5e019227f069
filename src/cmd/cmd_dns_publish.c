/* The plan to the primary by dynamic update (RFC 2136), signed with TSIG (RFC 8945), zone by zone: one that
 * fails keeps none of the others. The program nsupdate does the protocol. */
#include "base/clock.h"
#include "cmd/dns.h"
#include "cmd/dns_ask.h"
#include "identity/publish.h"
#include "trace/text.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    NOT_FOUND = 127,
    DEAD_MS = 30 * 1000, /* a primary that let us wait so long is not asked for the other zones */
    QUESTION_MS = 10 * 1000,
};
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
    return CLI_NO;
}

static void add_server(struct buf *script, struct str primary) {
    ptrdiff_t at = str_index(primary, '@');
    struct str ip = at < 0 ? primary : str_head(primary, (size_t)at);
    struct str port = at < 0 ? STR("53") : str_from_index(primary, (size_t)at + 1);
    buf_printf(script, "server %.*s %.*s\n", STR_FMT(ip), STR_FMT(port));
}

/* ---- what stands there ---- */

struct questions {
    struct publication *publication;
    const struct live_set *const *sets;
    struct arena *arena;
};

static bool ask(void *ctx, size_t number, struct resolver *resolver, int64_t deadline) {
    struct questions *q = ctx;
    struct dns_answer answer = {.status = DNS_FAILED, .why = STR("no question before got an answer")};
    if (resolver)
        resolver_lookup(resolver, q->sets[number]->name, DNS_TXT, deadline, q->arena, &answer);
    publication_answer(q->publication, number, &answer);
    return answer.status != DNS_FAILED;
}

/* Of the primary itself, without caches. */
static int ask_primary(struct cli *cli, const struct settings *s, struct publication *publication) {
    struct settings there = *s;
    struct questions q = {.publication = publication, .arena = cli->arena};
    size_t count = publication_questions(publication, &q.sets);
    there.dns.servers = &s->identity.primary, there.dns.server_count = 1;
    there.dns.zone_file = there.dns.trust_anchor = NULL;
    there.dns.timeout_ms = QUESTION_MS;
    return count ? dns_ask(cli, &there, &(struct dns_questions){count, ask, &q}) : CLI_DONE;
}

/* ---- one zone ---- */

static void say_zone(struct cli *cli, const struct publication_zone *zone, bool done, struct str why) {
    struct buf line __attribute__((cleanup(buf_free))) = {0};
    if (!cli->json) {
        if (done)
            fprintf(cli->out, "%.*s: %zu record%s\n", STR_FMT(zone->name), zone->records,
                    zone->records == 1 ? "" : "s");
        else
            fprintf(cli->err, "sluice: %.*s: %.*s\n", STR_FMT(zone->name),
                    STR_FMT(cli_safe(cli->arena, why, 0)));
        return;
    }
    buf_str(&line, STR("{\"zone\":"));
    trace_json_string(&line, zone->name);
    buf_printf(&line, ",\"records\":%zu,\"done\":%s,\"why\":", zone->records, done ? "true" : "false");
    if (done)
        buf_str(&line, STR("null"));
    else
        trace_json_string(&line, why);
    buf_str(&line, STR("}\n"));
    cli_print(cli, buf_view(&line));
}

static bool send_zone(struct cli *cli, const struct settings *s, const struct publication_zone *zone) {
    struct buf script __attribute__((cleanup(buf_free))) = {0};
    if (zone->why.len) {
        say_zone(cli, zone, false, zone->why);
        return false;
    }
    add_server(&script, s->identity.primary);
    buf_str(&script, zone->script);
    bool done = !zone->script.len || run_nsupdate(cli, buf_view(&script), s->identity.key) == CLI_DONE;
    say_zone(cli, zone, done,
             STR("nsupdate failed: the primary may hold a part of what is planned there; run it again"));
    return done;
}

/* ---- all ---- */

/* What is left to others. */
static void say_not_sent(struct cli *cli, const struct plan *plan) {
    for (size_t i = 0; i < plan->zone_count && !cli->json; i++) {
        const struct plan_zone *zone = &plan->zones[i];
        if (zone->owner != PLAN_OURS)
            fprintf(cli->out, "%.*s: not sent: it is %s\n", STR_FMT(zone->name),
                    zone->owner == PLAN_TENANT ? "the customer's" : "the provider's");
        for (size_t j = 0; zone->owner == PLAN_OURS && j < zone->count; j++) {
            const struct plan_record *r = &plan->records[zone->first + j];
            if (r->shared)
                fprintf(cli->out, "%.*s %s: not sent: it belongs to the owner of the domain: %.*s\n",
                        STR_FMT(r->name), r->type, STR_FMT(r->data));
        }
    }
}

static int send_zones(struct cli *cli, const struct settings *s, struct publication *p, bool *done) {
    int bad = CLI_DONE;
    bool dead = false;
    for (size_t i = 0; i < publication_zones(p); i++) {
        struct publication_zone zone = publication_zone(p, i);
        int64_t began = clock_mono_ms();
        if (dead)
            say_zone(cli, &zone, false, STR("not tried: the primary did not answer before"));
        else
            done[i] = send_zone(cli, s, &zone);
        dead |= !done[i] && clock_mono_ms() - began > DEAD_MS;
        bad = done[i] ? bad : CLI_NO;
    }
    return bad;
}

/* The memory is written before, with old and new together: whatever becomes of the updates, nothing that may
 * be there is forgotten. */
static int publish(struct cli *cli, const struct settings *s, struct publication *p, const char *path) {
    struct buf memory __attribute__((cleanup(buf_free))) = {0};
    bool *done = arena_array(cli->arena, bool, publication_zones(p));
    int bad = ask_primary(cli, s, p);
    if (bad)
        return bad;
    publication_write(p);
    publication_memory(p, done, &memory);
    bad = cmd_dns_write(cli, path, buf_view(&memory));
    if (bad)
        return bad;
    bad = send_zones(cli, s, p, done);
    buf_clear(&memory);
    publication_memory(p, done, &memory);
    return cmd_dns_write(cli, path, buf_view(&memory)) || bad ? CLI_NO : CLI_DONE;
}

int cmd_dns_publish(struct cli *cli, const struct settings *s, const struct plan *plan) {
    struct buf old __attribute__((cleanup(buf_free))) = {0};
    const char *path = str_printf(cli->arena, "%s/dns-published", s->state).at;
    if (!s->identity.primary.len)
        return cli_usage(cli, "say where to: identity { primary = \"192.0.2.53\"  key = \"FILE\" }");
    cmd_dns_notes(cli, plan->notes, plan->note_count);
    if (read_list(cli, path, &old))
        return CLI_NO;
    struct publication *publication = publication_new(plan, buf_view(&old));
    int bad = publish(cli, s, publication, path);
    publication_free(publication);
    if (!bad)
        say_not_sent(cli, plan);
    return bad;
}
