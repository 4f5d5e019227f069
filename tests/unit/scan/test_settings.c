#include "cmocka_setup.h"
#include "policy/tenant.h"
#include "scan/settings.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const struct config_option root_options[] = {
    {.name = "verdict", .kind = CONFIG_SECTION, .options = verdict_options, .doc = "Verdict."},
    {.name = "scanner",
     .kind = CONFIG_TITLED,
     .options = scanner_options,
     .title_doc = "name",
     .doc = "Scanner."},
    {.kind = CONFIG_END},
};

struct loaded {
    struct arena *arena;
    struct config_errors *errors;
    struct scan_settings scan;
};

static struct loaded load(const char *text) {
    struct loaded l = {.arena = arena_new(0), .errors = config_errors_new()};
    const struct config_node *root = config_parse(l.arena, str_of(text), "x.conf", root_options, l.errors);
    assert_non_null(root);
    l.scan = scan_load(l.arena, root, "/tmp", l.errors);
    return l;
}

static void unload(struct loaded *l) {
    config_errors_free(l->errors);
    arena_free(l->arena);
}

static void presets(void **state) {
    (void)state;
    struct loaded l = load("");
    assert_int_equal(l.scan.count, 0);
    assert_int_equal(l.scan.timeout_ms, 20000);
    assert_int_equal(l.scan.refuse_count, 0);
    assert_true(scan_is_malware(&l.scan, STR("CLAM_VIRUS")) && scan_is_malware(&l.scan, STR("CLAMAV")));
    assert_false(scan_is_malware(&l.scan, STR("CLAM_VIRUS_FAIL")) || scan_is_malware(&l.scan, STR("")));
    assert_true(scan_action_in(l.scan.spam_actions, l.scan.spam_action_count, STR("Reject")));
    assert_false(scan_action_in(l.scan.spam_actions, l.scan.spam_action_count, STR("no action")));
    unload(&l);
}

static void written(void **state) {
    (void)state;
    char path[] = "/tmp/sluice-password.XXXXXX", text[1000];
    int fd = mkstemp(path);
    assert_int_equal(write(fd, "secret\n", 7), 7);
    close(fd);
    snprintf(text, sizeof text,
             "verdict { rspamd = \"http://127.0.0.1\" timeout = 5s malware-symbols = {\"BAD*\"} refuse = "
             "{\"reject\"}\n"
             "  spam-actions = {\"junk\"} too-large = refuse }\n"
             "scanner \"second\" { rspamd = \"http://Rspamd.example.net:1234/\" password-file = \"%s\" "
             "connections = 3 }\n"
             "scanner \"third\" { spamd = \"[::1]\" user = \"joe\" max-size = 1mb }\n"
             "scanner \"fourth\" { spamd = \"unix:/run/spamd.sock\" }\n",
             path);
    struct loaded l = load(text);
    unlink(path);
    assert_int_equal(config_error_count(l.errors), 0);
    assert_int_equal(l.scan.count, 4);
    const struct scanner_settings *s = l.scan.scanners;
    assert_true(str_eq(s[0].name, STR("rspamd")) && s[0].at.port == 11333 && s[0].max_size == 50 << 20);
    assert_true(str_eq(s[1].at.host, STR("rspamd.example.net")) && s[1].at.port == 1234 &&
                s[1].connections == 3);
    assert_true(str_eq(s[1].password, STR("secret")));
    assert_true(s[2].kind == SCANNER_SPAMD && s[2].at.port == 783 && s[2].connections == 4 &&
                s[2].max_size == 1 << 20);
    assert_true(str_eq(s[2].user, STR("joe")));
    assert_string_equal(s[3].at.path, "/run/spamd.sock");
    assert_int_equal(l.scan.too_large, SCAN_TOO_LARGE_REFUSE);
    assert_true(scan_is_malware(&l.scan, STR("BAD_THING")) && !scan_is_malware(&l.scan, STR("CLAM_VIRUS")));
    assert_true(scan_action_in(l.scan.refuse, l.scan.refuse_count, STR("reject")));
    assert_false(scan_action_in(l.scan.spam_actions, l.scan.spam_action_count, STR("reject")));
    unload(&l);
}

/* A scanner that is nowhere. */
static void idle(void **state) {
    (void)state;
    struct loaded l = load("verdict { on-failure = defer refuse = {\"reject\"} header = \"X: y\" }");
    assert_int_equal(config_error_count(l.errors), 0);
    assert_int_equal(config_warning_count(l.errors), 2);
    assert_non_null(strstr(config_warning_at(l.errors, 0), "on-failure has no effect"));
    unload(&l);
}

static const struct {
    const char *text, *warning; /* NULL: none */
} doubtful[] = {
    {"verdict { rspamd = \"http://127.0.0.1\" spam-actions = {\"Add Header\", \"reject\"} refuse = "
     "{\"greylist\"} }",
     NULL},
    {"verdict { rspamd = \"http://127.0.0.1\" spam-actions = {\"add-header\"} }",
     "`add-header` is no action"},
    {"verdict { rspamd = \"http://127.0.0.1\" refuse = {\"rejct\"} }", "`rejct` is no action"},
    {"verdict { rspamd = \"http://127.0.0.1\" apply-headers = on }", NULL},
    {"verdict { apply-headers = on } scanner \"a\" { spamd = \"127.0.0.1\" }", "apply-headers has no effect"},
    {"verdict { rewrite-subject = off } scanner \"a\" { spamd = \"127.0.0.1\" }", NULL},
};

static void warnings(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof doubtful / sizeof *doubtful; i++) {
        struct loaded l = load(doubtful[i].text);
        assert_int_equal(config_error_count(l.errors), 0);
        assert_int_equal(config_warning_count(l.errors), doubtful[i].warning != NULL);
        if (doubtful[i].warning)
            assert_non_null(strstr(config_warning_at(l.errors, 0), doubtful[i].warning));
        unload(&l);
    }
}

static const struct {
    const char *text, *error;
} wrong[] = {
    {"verdict { rspamd = \"127.0.0.1:11333\" }", "`127.0.0.1:11333` is no place of Rspamd"},
    {"verdict { rspamd = \"https://127.0.0.1:11333\" }", "is no place of Rspamd"},
    {"verdict { rspamd = \"http://127.0.0.1:11333/checkv2\" }", "is no place of Rspamd"},
    {"verdict { rspamd = \"http://\" }", "is no place of Rspamd"},
    {"verdict { rspamd = \"http:///run/x\" }", "is no place of Rspamd"},
    {"verdict { rspamd = \"\" }", "is no place of Rspamd"},
    {"scanner \"a\" { }", "either rspamd or spamd"},
    {"scanner \"a\" { spamd = \"127.0.0.1\" rspamd = \"http://127.0.0.1\" }", "either rspamd or spamd"},
    {"scanner \"a\" { spamd = \"http://127.0.0.1\" }", "is no place of spamd"},
    {"scanner \"a\" { spamd = \"127.0.0.1:99999\" }", "is no place of spamd"},
    {"scanner \"a\" { spamd = \"127.0.0.1\" password-file = \"x\" }", "spamd knows no password"},
    {"scanner \"a\" { rspamd = \"http://127.0.0.1\" user = \"x\" }", "`user` is for spamd"},
    {"scanner \"a\" { spamd = \"127.0.0.1\" user = \"x y\" }", "is no user name"},
    {"scanner \"a\" { rspamd = \"http://127.0.0.1\" password-file = \"/nonexistent/x\" }",
     "can't read /nonexistent/x"},
    {"scanner \"a\" { rspamd = \"http://127.0.0.1\" password-file = \"/dev/null\" }", "holds no password"},
    {"verdict { rspamd = \"http://127.0.0.1\" } scanner \"rspamd\" { spamd = \"127.0.0.1\" }",
     "there is a scanner `rspamd` already"},
};

static void errors(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct loaded l = load(wrong[i].text);
        print_message("%s\n", wrong[i].text);
        assert_true(config_error_count(l.errors) > 0);
        assert_non_null(strstr(config_error_at(l.errors, 0), wrong[i].error));
        unload(&l);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(presets), cmocka_unit_test(written),
                                       cmocka_unit_test(idle), cmocka_unit_test(warnings),
                                       cmocka_unit_test(errors)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
