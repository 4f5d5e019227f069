#include "flow/explain.h"

#include "cmd/cli.h"
#include "rt/fiber.h"
#include <errno.h>
#include <jansson.h>
#include <semaphore.h>

enum { MESSAGE_MAX = 64 << 20, SHOWN_ADDRESSES = 12 };

/* A runtime of one worker, to ask the DNS with. */
struct asking {
    struct cli *cli;
    struct flow flow;
    struct flow_worker worker;
    struct settings *settings;
    struct explain_request request;
    struct explain_result result;
    sem_t done;
};

static void run_explain(void *arg) {
    struct asking *a = arg;
    explain(&a->flow, a->settings, &a->request, a->cli->arena, &a->result);
    sem_post(&a->done);
}

static void start_explain(void *arg) {
    struct asking *a = arg;
    if (fiber_start(run_explain, a) == 0)
        return;
    a->result.refusal = (struct outcome){.fate = OUTCOME_LATER, .text = STR("no memory for a fiber")};
    sem_post(&a->done);
}

/* A look-up that was given up may still be under way: its resolver goes when all fibers have ended. */
static void close_resolver(void *arg) {
    struct asking *a = arg;
    a->worker.resolver = resolver_free(a->worker.resolver);
}

static int ask(struct asking *a) {
    struct str why = STR("the runtime can't be started");
    int bad = rt_new(1, 1, NULL, &a->flow.rt);
    if (!bad) {
        a->worker = (struct flow_worker){
            .flow = &a->flow, .worker = rt_worker(a->flow.rt, 0), .settings = a->settings, .random = 1};
        rt_at_end(a->flow.rt, close_resolver, a);
        bad = flow_resolver(a->settings, a->worker.worker, a->cli->arena, &why, &a->worker.resolver);
    }
    if (!bad) {
        worker_set_data(a->worker.worker, &a->worker);
        bad = rt_start(a->flow.rt);
    }
    if (bad) {
        fprintf(a->cli->err, "sluice: %.*s\n", STR_FMT(cli_safe(a->cli->arena, why, 0)));
    } else {
        worker_post(a->worker.worker, start_explain, a);
        while (sem_wait(&a->done) != 0 && errno == EINTR)
            continue;
    }
    rt_free(a->flow.rt);
    return bad ? CLI_NO : CLI_DONE;
}

/* Output */

static json_t *text(struct arena *arena, struct str s) {
    return s.len ? json_string(str_c(arena, cli_safe(arena, s, 0))) : json_null();
}

static json_t *ip(const struct ip *address) {
    char out[IP_TEXT_SIZE];
    return json_string(ip_text(address, out));
}

static json_t *addresses_json(struct arena *arena, const struct explain_result *r, const struct pool *pool) {
    json_t *list = json_array();
    for (uint32_t i = 0; i < pool->source_count; i++) {
        json_t *source = json_object();
        json_object_set_new(source, "ip", ip(&pool->sources[i].ip));
        json_object_set_new(source, "could_carry", json_boolean(explain_carries(r, &pool->sources[i])));
        json_object_set_new(source, "ehlo", text(arena, str_of(pool->sources[i].ehlo)));
        json_object_set_new(source, "ptr", text(arena, str_of(pool->sources[i].ptr)));
        json_array_append_new(list, source);
    }
    return list;
}

static json_t *route_json(struct arena *arena, const struct explain_result *r) {
    json_t *list = json_array();
    for (size_t i = 0; i < r->target_count; i++) {
        json_t *target = json_object();
        json_object_set_new(target, "preference", json_integer(r->targets[i].preference));
        json_object_set_new(target, "host", text(arena, r->targets[i].host));
        json_object_set_new(target, "ip", ip(&r->targets[i].ip));
        json_object_set_new(target, "port", json_integer(r->targets[i].port));
        json_array_append_new(list, target);
    }
    return list;
}

static struct str refusal_of(struct arena *arena, const struct explain_result *r) {
    if (r->refusal.fate == OUTCOME_DONE)
        return STR_NULL;
    return r->refusal.code ? outcome_line(arena, &r->refusal) : r->refusal.text;
}

static struct str no_route(struct arena *arena, const struct explain_result *r) {
    bool none = r->route && r->route->outcome.fate != OUTCOME_DONE;
    return none ? outcome_line(arena, &r->route->outcome) : STR_NULL;
}

static const char *const family_names[] = {[FAMILY_V4] = "IPv4", [FAMILY_V6] = "IPv6"};

/* Why it would be accepted and then wait in this pool, on our own account; empty: it would not. */
static struct str wait_in(struct arena *arena, const struct explain_result *r, const struct pool *pool) {
    for (uint32_t i = 0; i < pool->source_count; i++)
        if (explain_carries(r, &pool->sources[i]))
            return STR_NULL;
    if (!pool->source_count)
        return str_printf(arena, "pool %.*s has no address: the mail would wait", STR_FMT(pool->name));
    return str_printf(arena, "pool %.*s has no %s address, and the destination no other: the mail would wait",
                      STR_FMT(pool->name), family_names[r->families]);
}

/* Is it accepted, and is there an address to send it from and one to send it to? */
static bool leaves(struct arena *arena, const struct explain_result *r) {
    bool ready = false;
    for (size_t i = 0; i < r->pool_count; i++)
        ready |= !wait_in(arena, r, r->pools[i]).len;
    return ready && r->refusal.fate == OUTCOME_DONE && r->route && r->route->outcome.fate == OUTCOME_DONE;
}

static void print_json(struct asking *a) {
    const struct explain_result *r = &a->result;
    struct arena *arena = a->cli->arena;
    bool accepted = r->refusal.fate == OUTCOME_DONE;
    json_t *root = json_object(), *pools = json_array();
    json_object_set_new(root, "sender", text(arena, a->request.from.len ? a->request.from : STR("<>")));
    json_object_set_new(root, "recipient", text(arena, a->request.to));
    json_object_set_new(root, "refusal", text(arena, refusal_of(arena, r)));
    json_object_set_new(root, "tenant", text(arena, r->by.tenant ? r->by.tenant->name : STR_NULL));
    json_object_set_new(root, "connector", text(arena, r->by.connector ? r->by.connector->name : STR_NULL));
    json_object_set_new(root, "relayed", json_boolean(r->by.relayed));
    json_object_set_new(root, "class",
                        accepted ? text(arena, str_of(mail_class_name(r->decision.class))) : json_null());
    json_object_set_new(root, "rule", text(arena, r->decision.rule));
    json_object_set_new(root, "reason", text(arena, r->decision.reason));
    json_object_set_new(root, "outbound_ip_pool_name", text(arena, r->pool ? r->pool->name : STR_NULL));
    for (size_t i = 0; i < r->pool_count; i++) {
        json_t *pool = json_object();
        json_object_set_new(pool, "pool", text(arena, r->pools[i]->name));
        json_object_set_new(pool, "spf", json_string(pool_spf_text(r->pools[i])));
        json_object_set_new(pool, "waits", text(arena, wait_in(arena, r, r->pools[i])));
        json_object_set_new(pool, "addresses", addresses_json(arena, r, r->pools[i]));
        json_array_append_new(pools, pool);
    }
    json_object_set_new(root, "pools", pools);
    json_object_set_new(root, "receiver", text(arena, r->route ? r->route->receiver : STR_NULL));
    json_object_set_new(root, "route", route_json(arena, r));
    json_object_set_new(root, "route_error", text(arena, no_route(arena, r)));
    json_dumpf(root, a->cli->out, JSON_COMPACT);
    fputc('\n', a->cli->out);
    json_decref(root);
}

static void line(struct cli *cli, const char *name, struct str value) {
    fprintf(cli->out, "  %s%-10s%s", cli_paint(cli, CLI_DIM), name, cli_paint(cli, CLI_PLAIN));
    cli_wrap(cli, 12, cli_safe(cli->arena, value, 0));
}

/* The addresses of one family that could carry it. */
static void print_sources(struct cli *cli, const struct explain_result *r, const struct pool *pool, bool v4) {
    char address[IP_TEXT_SIZE];
    unsigned count = 0;
    for (uint32_t i = 0; i < pool->source_count; i++) {
        const struct source *s = &pool->sources[i];
        if (ip_is_v4(&s->ip) != v4 || !explain_carries(r, s) || count++ >= SHOWN_ADDRESSES)
            continue;
        line(cli, count == 1 ? family_names[v4 ? FAMILY_V4 : FAMILY_V6] : "",
             str_printf(cli->arena, "%-15s  EHLO %s%s%s", ip_text(&s->ip, address), s->ehlo,
                        s->ptr ? "  PTR " : "", s->ptr ? s->ptr : ""));
    }
    if (count > SHOWN_ADDRESSES)
        line(cli, "",
             str_printf(cli->arena, "and %u more (sluice source --pool %.*s)", count - SHOWN_ADDRESSES,
                        STR_FMT(pool->name)));
}

static void print_pool(struct cli *cli, const struct explain_result *r, const struct pool *pool) {
    struct str waits = wait_in(cli->arena, r, pool);
    line(cli, "pool",
         str_printf(cli->arena, "%.*s, %u address%s, SPF %s", STR_FMT(pool->name), pool->source_count,
                    pool->source_count == 1 ? "" : "es", pool_spf_text(pool)));
    if (waits.len)
        line(cli, "waits", waits);
    print_sources(cli, r, pool, true);
    print_sources(cli, r, pool, false);
}

static void print_route(struct cli *cli, const struct explain_result *r) {
    struct arena *a = cli->arena;
    char address[IP_TEXT_SIZE];
    struct str none = no_route(a, r);
    if (r->via.len)
        line(cli, "via", r->via);
    if (none.len)
        line(cli, "route", none);
    for (size_t i = 0; i < r->target_count; i++)
        line(cli, i ? "" : "route",
             str_printf(a, "%3u %.*s [%s] port %u", r->targets[i].preference, STR_FMT(r->targets[i].host),
                        ip_text(&r->targets[i].ip, address), r->targets[i].port));
}

static void print_text(struct asking *a) {
    const struct explain_result *r = &a->result;
    struct cli *cli = a->cli;
    struct str refusal = refusal_of(cli->arena, r);
    line(cli, "from", a->request.from.len ? a->request.from : STR("<>"));
    line(cli, "to", a->request.to);
    if (r->by.tenant)
        line(cli, "tenant",
             str_printf(cli->arena, "%.*s%s%.*s%s", STR_FMT(r->by.tenant->name),
                        r->by.connector ? ", connector " : "",
                        STR_FMT(r->by.connector ? r->by.connector->name : STR("")),
                        r->by.relayed ? ", relayed for others" : ""));
    if (refusal.len) {
        line(cli, "refused", refusal);
        return;
    }
    line(cli, "class",
         str_printf(cli->arena, "%s by rule %.*s", mail_class_name(r->decision.class),
                    STR_FMT(r->decision.rule)));
    line(cli, "because", r->decision.reason);
    if (!r->pool_count)
        line(cli, "pool", STR("none carries this class: the mail would wait"));
    for (size_t i = 0; i < r->pool_count; i++)
        print_pool(cli, r, r->pools[i]);
    print_route(cli, r);
}

/* Arguments */

static int read_file(struct cli *cli, const char *path, struct str *ret) {
    FILE *file = strcmp(path, "-") == 0 ? cli->in : fopen(path, "r");
    struct buf in __attribute__((cleanup(buf_free))) = {0};
    if (!file)
        return cli_usage(cli, "%s can't be read: %s", path, strerror(errno));
    for (size_t got;
         buf_reserve(&in, 65536), in.len < MESSAGE_MAX && (got = fread(in.at + in.len, 1, 65536, file)) > 0;)
        in.len += got;
    bool bad = ferror(file);
    if (file != cli->in)
        fclose(file);
    *ret = str_copy(cli->arena, buf_view(&in));
    return bad ? cli_usage(cli, "%s can't be read", path) : CLI_DONE;
}

static int read_address(struct cli *cli, const char *option, struct str text_of, unsigned flags,
                        struct str *ret) {
    struct address address;
    struct str plain = str_trim(text_of);
    if (str_starts(plain, STR("<")) && str_ends(plain, STR(">")))
        plain = str_from(plain.at + 1, plain.len - 2);
    if (address_parse(plain, flags | ADDRESS_ALLOW_UTF8, &address) != 0)
        return cli_usage(cli, "--%s %.*s: not an address", option, STR_FMT(text_of));
    *ret = plain;
    return CLI_DONE;
}

static int read_request(struct cli *cli, const struct cli_arguments *arguments, struct explain_request *ret) {
    struct str from = cli_value(arguments, "from"), to = cli_value(arguments, "to");
    struct str client = cli_value(arguments, "client");
    if (!from.at || !to.at || arguments->word_count != 1)
        return cli_usage(
            cli,
            "usage: sluice explain --from A --to B [--client IP] [--tenant T] FILE (- reads standard input)");
    if (client.at && !ip_parse(client, &ret->client))
        return cli_usage(cli, "--client %.*s: an IP address is wanted", STR_FMT(client));
    ret->tenant = cli_value(arguments, "tenant");
    int bad = read_address(cli, "from", from, ADDRESS_ALLOW_NULL, &ret->from);
    if (!bad)
        bad = read_address(cli, "to", to, 0, &ret->to);
    return bad ? bad : read_file(cli, arguments->words[0], &ret->message);
}

static int load(struct cli *cli, struct settings **ret) {
    struct config_errors *errors = config_errors_new();
    int bad = settings_load(cli->config, NULL, errors, ret);
    for (size_t i = 0; i < config_error_count(errors); i++)
        fprintf(cli->err, "sluice: %s\n", config_error_at(errors, i));
    config_errors_free(errors);
    return bad ? CLI_USAGE : CLI_DONE;
}

static int run(struct cli *cli, const struct cli_arguments *arguments) {
    struct asking a = {.cli = cli};
    int bad = read_request(cli, arguments, &a.request);
    if (!bad)
        bad = load(cli, &a.settings);
    if (bad)
        return bad;
    sem_init(&a.done, 0, 0);
    bad = ask(&a);
    if (!bad && cli->json)
        print_json(&a);
    else if (!bad)
        print_text(&a);
    if (!bad && !leaves(cli->arena, &a.result))
        bad = CLI_NO;
    route_unref(a.result.route);
    settings_unref(a.settings);
    sem_destroy(&a.done);
    return bad;
}

static const struct cli_option options[] = {
    {"from", 0, "ADDRESS", "reverse-path; <> for a report"},
    {"to", 0, "ADDRESS", "one recipient"},
    {"client", 0, "IP", "the client that would bring it; without it a local program"},
    {"tenant", 0, "TENANT", "its connector with that client, else one of its users"},
    {0},
};

const struct cli_command cmd_explain = {
    "explain", "FILE", "What would happen to a message: class, pool, addresses, route; sends nothing",
    options, run};
