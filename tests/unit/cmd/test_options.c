#include "cmd/cli.h"
#include "cmocka_setup.h"
#include "trace/filter.h"
#include <stdlib.h>

static const struct cli_option options[] = {
    {"sender", 0, "ADDRESS", ""}, {"from", 'f', "ADDRESS", ""}, {"ignore", 'i', NULL, ""},
    {"take", 't', NULL, ""},      {"option", 'o', "X", ""},     {0},
};

struct screen {
    struct cli cli;
    char *out, *err;
    size_t out_len, err_len;
};

static void begin(struct screen *s) {
    *s = (struct screen){.cli = {.arena = arena_new(0), .config = CLI_CONFIG}};
    s->cli.out = open_memstream(&s->out, &s->out_len);
    s->cli.err = open_memstream(&s->err, &s->err_len);
}

static void end(struct screen *s) {
    fclose(s->cli.out);
    fclose(s->cli.err);
    free(s->out);
    free(s->err);
    arena_free(s->cli.arena);
}

static void test_lines(void **state) {
    static const struct {
        const char *argv[8];
        int result;
        const char *given; /* "name=value ..." | words */
    } cases[] = {
        {{"--sender", "a@b"}, 0, "sender=a@b |"},
        {{"--sender=a=b"}, 0, "sender=a=b |"},
        {{"--sender="}, 0, "sender= |"},
        {{"--sender"}, 2, "--sender wants a value: ADDRESS"},
        {{"--ignore=1"}, 2, "--ignore takes no value"},
        {{"-fa@b", "-f", "c@d"}, 0, "from=a@b from=c@d |"},
        {{"-ti", "x"}, 0, "take= ignore= | x"},
        {{"-oi", "-oem", "x"}, 0, "option=i option=em | x"},
        {{"-tfa@b"}, 0, "take= from=a@b |"},
        {{"x", "--", "-i", "--json"}, 0, "| x -i --json"},
        {{"-"}, 0, "| -"},
        {{"--sendr", "a"}, 2, "no such option: --sendr; did you mean '--sender'?"},
        {{"--jsn"}, 2, "no such option: --jsn; did you mean '--json'?"},
        {{"-z"}, 2, "no such option: -z"},
        {{"--json", "x", "-c", "f"}, 0, "| x"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct screen s;
        struct cli_arguments arguments;
        int argc = 0;
        begin(&s);
        while (argc < 8 && cases[i].argv[argc])
            argc++;
        assert_int_equal(cli_parse(&s.cli, options, argc, cases[i].argv, &arguments), cases[i].result);
        if (cases[i].result == 0) {
            for (size_t k = 0; k < arguments.given_count; k++)
                fprintf(s.cli.err, "%s=%.*s ", arguments.given[k].option->name,
                        STR_FMT(arguments.given[k].value));
            fputc('|', s.cli.err);
            for (size_t k = 0; k < arguments.word_count; k++)
                fprintf(s.cli.err, " %s", arguments.words[k]);
        }
        fflush(s.cli.err);
        if (!strstr(s.err, cases[i].given))
            fail_msg("\"%s\" instead of \"%s\"", s.err, cases[i].given);
        end(&s);
    }
}

static void test_last_value_counts(void **state) {
    const char *argv[] = {"-fa", "-fb", "--json", "--config=x"};
    struct screen s;
    struct cli_arguments arguments;
    (void)state;
    begin(&s);
    assert_int_equal(cli_parse(&s.cli, options, 4, argv, &arguments), 0);
    assert_true(str_eq(cli_value(&arguments, "from"), STR("b")));
    assert_false(cli_has(&arguments, "sender"));
    assert_true(s.cli.json && s.cli.config_given);
    assert_string_equal(s.cli.config, "x");
    end(&s);
}

static void test_commands_are_found(void **state) {
    static const struct {
        const char *argv[6];
        int result;
        const char *text;
    } cases[] = {
        {{"sluice"}, CLI_USAGE, "usage: sluice"},
        {{"sluice", "--help"}, CLI_DONE, "usage: sluice"},
        {{"sluice", "--version"}, CLI_DONE, "sluice "},
        {{"sluice", "trcae"}, CLI_USAGE, "no such command: trcae; did you mean 'trace'?"},
        {{"sluice", "xyzzy"}, CLI_USAGE, "no such command: xyzzy\n"},
        {{"sluice", "--jsn", "trace"}, CLI_USAGE, "no such option: --jsn"},
        {{"sluice", "-c"}, CLI_USAGE, "--config wants a value"},
        {{"sluice", "-c", "/no/such/file", "status"}, CLI_USAGE, "/no/such/file can't be read"},
        {{"sluice", "trace", "--help"}, CLI_DONE, "--subject-match HOW"},
        {{"sluice", "trace", "shwo"}, CLI_USAGE, "unexpected word: shwo; did you mean 'show'?"},
        {{"sluice", "trace", "show", "short"}, CLI_USAGE, "no trace id"},
        {{"sluice", "trace", "--status", "Sent"}, CLI_USAGE, "--status Sent: Pending, Delivered"},
        {{"sluice", "trace", "--limit", "0"}, CLI_USAGE, "a number from 1 to 5000"},
        {{"sluice", "queue", "cancel"}, CLI_USAGE, "say which"},
        {{"sluice", "queue", "cancle", "--all"}, CLI_USAGE, "did you mean 'cancel'?"},
        {{"sluice", "queue", "hold", "--older", "long"}, CLI_USAGE, "--older long: an age"},
        {{"sluice", "queue", "hold", "xyz"}, CLI_USAGE, "xyz is no trace id"},
        {{"sluice", "queue", "show"}, CLI_USAGE, "usage: sluice queue show ID"},
        {{"sluice", "status", "now"}, CLI_USAGE, "unexpected word: now"},
        {{"sluice", "send"}, CLI_USAGE, "no recipient"},
        {{"sluice", "spool"}, CLI_USAGE, "usage: sluice spool check"},
        {{"sluice", "spool", "check", "/no/such"}, CLI_NO, "/no/such"},
    };
    static const struct cli_command *const commands[] = {&cmd_trace,  &cmd_queue,  &cmd_status, &cmd_pool,
                                                         &cmd_source, &cmd_reload, &cmd_send,   &cmd_spool,
                                                         &cmd_check,  NULL};
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct screen s;
        int argc = 0;
        begin(&s);
        while (argc < 6 && cases[i].argv[argc])
            argc++;
        int result = cli_main(&s.cli, commands, argc, cases[i].argv);
        fflush(s.cli.out);
        fflush(s.cli.err);
        if (result != cases[i].result || (!strstr(s.err, cases[i].text) && !strstr(s.out, cases[i].text)))
            fail_msg("case %zu: %d, \"%s\" \"%s\"", i, result, s.out, s.err);
        end(&s);
    }
}

/* The options of `trace` are the filters of the trace, all of them. */
static void test_trace_options_are_the_filters(void **state) {
    size_t count = 0;
    (void)state;
    for (; trace_filter_names[count].name; count++) {
        assert_string_equal(cmd_trace.options[count].name, trace_filter_names[count].name);
        assert_string_equal(cmd_trace.options[count].value, trace_filter_names[count].value);
    }
    assert_null(cmd_trace.options[count].name);
}

static void test_places_of_a_broken_file(void **state) {
    static const struct {
        const char *text, *socket, *trace_dir;
    } cases[] = {
        {"", "/run/sluice/api.sock", NULL},
        {"state = \"/var/x\"\nnonsense = 3\n", "/var/x/api.sock", "/var/x/trace"},
        {"state=/var/x", "/var/x/api.sock", "/var/x/trace"},
        {"state = \"./var\"", "/etc/sluice/./var/api.sock", "/etc/sluice/./var/trace"},
        {"# state = \"/a\"\n// state = \"/b\"\n/* state = \"/c\" */ state = '/d'", "/d/api.sock", "/d/trace"},
        {"api { socket = \"/run/s\" bind = {\"127.0.0.1:1\"} }", "/run/s", NULL},
        {"state = \"/x\" api { bind = {\"a\", \"b\"}  socket = \"s\" }", "/x/s", "/x/trace"},
        {"pool \"x\" { socket = \"/wrong\" state = \"/wrong\" }\nstate = \"/x\"", "/x/api.sock", "/x/trace"},
        {"tenant \"t\" { api { socket = \"/wrong\" } }", "/run/sluice/api.sock", NULL},
        {"unclosed { state = \"/x\"", "/run/sluice/api.sock", NULL},
        {"state = \"/x", "/x/api.sock", NULL},
        {"}}} state = \"/x\" \"", "/x/api.sock", "/x/trace"},
        {"/* no end", "/run/sluice/api.sock", NULL},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct arena *arena = arena_new(0);
        struct cli_places places = cli_scan(arena, str_of(cases[i].text), "/etc/sluice/sluice.conf");
        if (cases[i].trace_dir) {
            assert_string_equal(places.socket, cases[i].socket);
            assert_string_equal(places.trace_dir, cases[i].trace_dir);
        }
        arena_free(arena);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines),
        cmocka_unit_test(test_last_value_counts),
        cmocka_unit_test(test_commands_are_found),
        cmocka_unit_test(test_trace_options_are_the_filters),
        cmocka_unit_test(test_places_of_a_broken_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
