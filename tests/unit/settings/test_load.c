#include "files.h"

static struct settings *load_good(const struct files *f, const char *text, size_t warnings) {
    struct config_errors *errors = config_errors_new();
    struct settings *s = files_load(f, text, NULL, errors);
    for (size_t i = 0; i < config_error_count(errors); i++)
        print_error("%s\n", config_error_at(errors, i));
    for (size_t i = warnings; i < config_warning_count(errors); i++)
        print_error("%s\n", config_warning_at(errors, i));
    assert_non_null(s);
    assert_int_equal(config_warning_count(errors), warnings);
    config_errors_free(errors);
    return s;
}

static void assert_path(const struct files *f, const char *got, const char *name) {
    char expected[128];
    snprintf(expected, sizeof expected, "%s/%s", f->folder, name);
    assert_string_equal(got, expected);
}

static void test_defaults(void **state) {
    struct files f = files_make();
    (void)state;
    struct settings *s = load_good(&f, "node = mta.example.net\n" POOLS, 1); /* no listener */
    assert_string_equal(s->state, "/var/lib/sluice");
    assert_string_equal(s->spool_dir, "/var/lib/sluice/spool");
    assert_string_equal(s->api.socket, "/run/sluice/api.sock");
    assert_null(s->user);
    assert_int_equal(s->log_level, LOG_INFO);
    assert_in_range(s->workers, 1, 256);
    assert_int_equal(s->delivery.port, 25);
    assert_int_equal(s->dns.server_count, 0);
    assert_int_equal(s->dns.serve_expired_ms, 86400000);
    assert_int_equal(s->trace.retain_ms, INT64_C(90) * 86400000);
    assert_true(s->policy->aaaa);
    assert_null(s->tls.certificate);
    assert_path(&f, s->file.at, "t.conf");
    settings_unref(s);
    files_remove(&f);
}

static void test_all(void **state) {
    struct files f = files_make();
    (void)state;
    struct settings *s = load_good(
        &f,
        GOOD "workers = 3 log-level = debug\n"
             "listener a { bind = {127.0.0.1:2525, \"[::1]:2525\"} max-size = 1mb max-recipients = 7 timeout "
             "= 2s data-timeout = 3s }\n"
             "listener b { bind = {127.0.0.1:4650} tls = implicit auth = required max-connections = 9 "
             "max-connections-per-client = 4 }\n"
             "listener c { bind = {127.0.0.1:2526} tls = none accept = {forward} proxy = {192.0.2.0/24, "
             "\"::1\"} xforward = "
             "{10.0.0.1-10.0.0.9} }\n"
             "tls { certificate = cert.pem key = key.pem }\n"
             "tenant contoso { domains = {contoso.example} users = users pools { normal = normal } }\n"
             "dns { zone-file = inside servers = {127.0.0.53, \"::1@5353\"} timeout = 3s }\n"
             "spool { memory = 8mb min-free = 0 } trace { retain = 7d } api { bind = {127.0.0.1:8025} }\n"
             "delivery { port = 2527 } classify { aaaa = off }",
        1); /* only a tenant's own pool carries normal */
    assert_int_equal(s->workers, 3);
    assert_int_equal(s->log_level, LOG_DEBUG);
    assert_path(&f, s->state, "state");
    assert_path(&f, s->api.socket, "state/api.sock");
    assert_path(&f, s->tls.certificate, "cert.pem");
    assert_path(&f, s->dns.zone_file, "state/inside");
    assert_int_equal(s->dns.server_count, 2);
    assert_int_equal(s->dns.timeout_ms, 3000);
    assert_int_equal(s->listener_count, 3);
    const struct listener *a = &s->listeners[0], *b = &s->listeners[1];
    assert_int_equal(a->bind_count, 2);
    assert_int_equal(a->bind[1].port, 2525);
    assert_int_equal(a->tls, LISTENER_TLS_OPPORTUNISTIC);
    assert_int_equal(a->auth, LISTENER_AUTH_NONE);
    assert_false(a->accept_forward);
    assert_true(s->listeners[2].accept_forward);
    assert_int_equal(a->max_size, 1 << 20);
    assert_int_equal(a->max_recipients, 7);
    assert_int_equal(a->timeout_ms, 2000);
    assert_int_equal(a->data_timeout_ms, 3000);
    assert_int_equal(a->max_connections, 2000);
    assert_int_equal(b->tls, LISTENER_TLS_IMPLICIT);
    assert_int_equal(b->auth, LISTENER_AUTH_REQUIRED);
    assert_int_equal(b->max_connections, 9);
    assert_int_equal(b->max_connections_per_client, 4);
    assert_int_equal(s->listeners[2].tls, LISTENER_TLS_NONE);
    assert_int_equal(a->proxy_count + a->xforward_count, 0);
    assert_int_equal(s->listeners[2].proxy_count, 2);
    assert_int_equal(s->listeners[2].xforward_count, 1);
    assert_int_equal(ip_range_size(&s->listeners[2].xforward[0]), 9);
    assert_int_equal(s->api.bind_count, 1);
    assert_int_equal(s->spool.memory, 8 << 20);
    assert_int_equal(s->spool.min_free, 0);
    assert_int_equal(s->delivery.port, 2527);
    assert_false(s->policy->aaaa);
    assert_non_null(s->policy->tenants[0].users);
    assert_int_equal(pool_find(s->pools, STR("normal"))->weight, 0);
    assert_ptr_equal(settings_ref(s), s);
    assert_null(settings_unref(s));
    assert_int_equal(s->workers, 3);
    settings_unref(s);
    settings_unref(NULL);
    files_remove(&f);
}

/* What a reload can't apply is named. */
static void test_restart(void **state) {
    static const struct {
        const char *text, *names;
    } cases[] = {
        {"", ""},
        {"log-level = debug delivery { port = 26 } tenant x { domains = {x.example} } dns { timeout = 1s }",
         ""},
        {"workers = 7 user = root", "user, workers"},
        {"listener b { bind = {127.0.0.1:2526} }", "listener \"b\" bind"},
        {"listener b { bind = {127.0.0.1:2526} } log-level = debug trace { retain = 2d }",
         "trace retain, listener \"b\" bind"},
        {"spool { min-free = 1gb } trace { retain = 2d }", "spool min-free, trace retain"},
        {"api { socket = x bind = {127.0.0.1:1} }", "api socket, api bind"},
    };
    struct files f = files_make();
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        char text[1000];
        struct arena *arena = arena_new(0);
        struct settings *now = load_good(&f, GOOD "workers = 2\nlistener a { bind = {127.0.0.1:2525} }", 0);
        snprintf(text, sizeof text, "%s%slistener a { bind = {127.0.0.1:2525} max-size = 2mb }\n%s", GOOD,
                 strstr(cases[i].text, "workers") ? "" : "workers = 2\n", cases[i].text);
        struct settings *next = load_good(&f, text, 0);
        struct str names = settings_needs_restart(now, next, arena);
        assert_string_equal(str_c(arena, names), cases[i].names);
        settings_unref(now);
        settings_unref(next);
        arena_free(arena);
    }
    files_remove(&f);
}

/* The sample of the contract parses as it stands; what it names is not on this machine. */
static void test_sample(void **state) {
    char path[512];
    (void)state;
    snprintf(path, sizeof path, "%s/tests/unit/settings/sample.conf", getenv("SLUICE_SOURCE_ROOT"));
    struct arena *arena = arena_new(0);
    struct config_errors *errors = config_errors_new();
    const struct config_node *root = config_load(arena, path, settings_options, errors);
    for (size_t i = 0; i < config_error_count(errors); i++)
        print_error("%s\n", config_error_at(errors, i));
    assert_int_equal(config_error_count(errors), 0);
    assert_non_null(root);
    assert_int_equal(config_warning_count(errors), 0);
    const struct pools *pools =
        pools_load(arena, root, &(struct pool_options){.node = STR("n.example"), .here = STR("bl2")}, errors);
    assert_int_equal(config_error_count(errors), 0);
    assert_int_equal(pools->source_count, 16 + 16 + 8 * 3);
    assert_string_equal(pools->sources[0].ptr, "mail-bl2nam02on0001.outbound.example.net");
    assert_string_equal(pools->sources[0].ehlo, "nam02-bl2-obe.outbound.example.net");
    config_errors_free(errors);
    arena_free(arena);
}

/* The configuration of `make run` is right, without a warning of its own. */
static void test_etc(void **state) {
    char path[512];
    struct settings *s = NULL;
    (void)state;
    snprintf(path, sizeof path, "%s/etc/sluice.conf", getenv("SLUICE_SOURCE_ROOT"));
    struct config_errors *errors = config_errors_new();
    int error = settings_load(path, NULL, errors, &s);
    for (size_t i = 0; i < config_error_count(errors); i++)
        print_error("%s\n", config_error_at(errors, i));
    assert_int_equal(error, 0);
    snprintf(path, sizeof path, "%s/var", getenv("SLUICE_SOURCE_ROOT"));
    assert_string_equal(s->state, path);
    settings_unref(s);
    config_errors_free(errors);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_defaults), cmocka_unit_test(test_all),
                                       cmocka_unit_test(test_restart), cmocka_unit_test(test_sample),
                                       cmocka_unit_test(test_etc)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
