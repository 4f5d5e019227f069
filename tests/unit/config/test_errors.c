/* Bad files and the exact lines they give. */
#include "cmocka_setup.h"
#include "tables.h"

enum { ERRORS_MAX = 5 };

static const struct {
    const char *text;
    size_t len; /* 0: until the NUL */
    const char *errors[ERRORS_MAX];
    const char *warning;
} CASES[] = {
    {"pool a {\n  adresses = {x}\n}\n",
     .errors = {"t.conf:2: unknown option `adresses`, did you mean `addresses`?"}},
    {"nodes = 1\n\nzzz = {a, b}\npol \"x\" { y = 1 }\nwhat { a { b = 2 } }\nfoo(1)",
     .errors = {"t.conf:1: unknown option `nodes`, did you mean `node`?", "t.conf:3: unknown option `zzz`",
                "t.conf:4: unknown section `pol`, did you mean `pool`?", "t.conf:5: unknown section `what`",
                "t.conf:6: unknown option `foo`"}},
    {"node = a\n\nnode = b\n", .errors = {"t.conf:3: option `node` is there twice: first at line 1"}},
    {"servers = {a}\nservers = {b}",
     .errors = {"t.conf:2: option `servers` is there twice: first at line 1"}},
    {"tls { }\ntls { depth = 1 }", .errors = {"t.conf:2: section `tls` is there twice: first at line 1"}},
    {"pool x { addresses = a }\n\npool \"x\" { addresses = b }",
     .errors = {"t.conf:3: section `pool \"x\"` is there twice: first at line 1"}},
    {"node = a\npool x {\n addresses = {b}\n",
     .errors = {"t.conf:2: section `pool \"x\"` is opened here and not closed at the end of the file"}},
    {"pool x {\n inner {\n",
     .errors = {"t.conf:2: section `inner` is opened here and not closed at the end of the file"}},
    {"node = a }\nworkers = 0", .errors = {"t.conf:1: unexpected `}`: no section is open here"}},
    {"node = \"a\nworkers = 1",
     .errors = {"t.conf:1: the string that starts here has no closing quote on its line"}},
    {"node = a\0b", 10, {"t.conf:1: a NUL byte: this is not a text file"}},
    {"\n\nnode = \"a\0b\"", 13, {"t.conf:3: a NUL byte: this is not a text file"}},
    {"node = \x01", .errors = {"t.conf:1: a control character: this is not a text file"}},
    {"node = *.x", .errors = {"t.conf:1: a value that starts with `*` or `+` must stand in double quotes"}},
    {"node = x.*", .errors = {"t.conf:1: a value with such characters must stand in double quotes"}},
    {"node = \"\\0\"",
     .errors = {"t.conf:1: a backslash that escapes nothing: write \\\\ for a backslash itself"}},
    {"node = \"${A\"", .errors = {"t.conf:1: `${` without its `}`; write \\$ for a dollar sign itself"}},
    {"node = a${B}", .errors = {"t.conf:1: a value with `${` inside must stand in double quotes"}},
    {"\n/* x\n", .errors = {"t.conf:2: the comment that starts here is never closed"}},
    {"node\nworkers = 2", .errors = {"t.conf:1: missing `=` after `node`"}},
    {"node = \nworkers = 2", .errors = {"t.conf:1: `node` has no value"}},
    {"node =", .errors = {"t.conf:1: `node` has no value"}},
    {"node = {a}", .errors = {"t.conf:1: `node` takes one value, not a list"}},
    {"node { a = 1 }", .errors = {"t.conf:1: `node` is not a section: write node = value"}},
    {"servers { a = 1 }", .errors = {"t.conf:1: `servers` is not a section: write servers = {...}"}},
    {"node += a", .errors = {"t.conf:1: `+=` is for lists, and `node` takes one value"}},
    {"servers = {a\nb}\nnode = c",
     .errors = {"t.conf:2: expected `,` or `}` in the list `servers` opened at line 1, found `b`"}},
    {"servers = {a,\nnode = c",
     .errors = {"t.conf:2: expected `,` or `}` in the list `servers` opened at line 1, found `=`"}},
    {"servers = {a",
     .errors =
         {"t.conf:1: expected `,` or `}` in the list `servers` opened at line 1, found the end of the file"}},
    {"tls = {}", .errors = {"t.conf:1: `tls` is a section: write tls { ... }"}},
    {"tls x { }", .errors = {"t.conf:1: `tls` has no title: write tls { ... }"}},
    {"pool { addresses = a }",
     .errors = {"t.conf:1: `pool` needs a title: write pool \"pool name\" { ... }"}},
    {"pool \"\" { addresses = a }", .errors = {"t.conf:1: the title of `pool` is empty"}},
    {"pool \"\\n\" { addresses = a }",
     .errors = {"t.conf:1: the title of a section can't hold a backslash or `${`"}},
    {"pool a\nnode = b", .errors = {"t.conf:1: missing `{` after section `pool \"a\"`"}},
    {"= 3",
     .errors = {"t.conf:1: expected the name of an option, found `=`", "t.conf:1: unknown option `3`"}},
    {"\"node\" = 3",
     .errors = {"t.conf:1: expected the name of an option, found `\"node\"`",
                "t.conf:1: expected the name of an option, found `=`", "t.conf:1: unknown option `3`"}},
    {"include \"x\"", .errors = {"t.conf:1: write include(\"file\")"}},
    {"include(\"nonexistent.conf\")",
     .errors = {"t.conf:1: can't include nonexistent.conf: No such file or directory"}},
    {"workers = 0\nmax-size = 10\nexpire = 5\nstrict = maybe\npool x { addresses = {} colour = pink }",
     .errors =
         {"t.conf:1: `workers` is `0`, but must be from 1 to 64",
          "t.conf:2: `max-size` is `10`, but must be from 1kb to 1gb",
          "t.conf:3: `expire` is `5`, but must be a time with its unit, such as 500ms, 30s, 5min, 1h or 2d",
          "t.conf:4: `strict` is `maybe`, but must be on or off",
          "t.conf:5: `addresses` needs at least 1 value"}},
    {"pool x { }", .errors = {"t.conf:1: `pool` needs `addresses`"}},
    {"later = x", .warning = "t.conf:1: `later` is accepted, but not active in this version"},
};

static void test_messages(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(CASES); i++) {
        struct arena *arena = arena_new(0);
        struct config_errors *errors = config_errors_new();
        size_t expected = 0;
        struct str text = CASES[i].len ? str_from(CASES[i].text, CASES[i].len) : str_of(CASES[i].text);
        config_parse(arena, text, "t.conf", ROOT, errors);
        for (; expected < ERRORS_MAX && CASES[i].errors[expected]; expected++) {
            const char *got = config_error_at(errors, expected);
            assert_string_equal(got ? got : "", CASES[i].errors[expected]);
        }
        if (expected < ERRORS_MAX && config_error_count(errors) != expected)
            fail_msg("%s: also %s", CASES[i].text, config_error_at(errors, expected));
        assert_int_equal(config_warning_count(errors), CASES[i].warning != NULL);
        if (CASES[i].warning)
            assert_string_equal(config_warning_at(errors, 0), CASES[i].warning);
        config_errors_free(errors);
        arena_free(arena);
    }
}

/* A room's own complaints stand among the engine's, in the order of the file, each once. */
static void test_order(void **state) {
    (void)state;
    struct arena *arena = arena_new(0);
    struct config_errors *errors = config_errors_new();
    const struct config_node *root =
        config_parse(arena, STR("node = a\nworkers = 99\nstrict = on\n"), "t.conf", ROOT, errors);
    assert_non_null(root);
    config_complain(errors, root, "strict", "later");
    config_complain(errors, root, "node", "earlier\n");
    config_complain(errors, root, "node", "earlier\n");
    config_complain(errors, NULL, NULL, "nowhere");
    config_complain(errors, root, NULL, "the file");
    assert_int_equal(config_error_count(errors), 5);
    assert_string_equal(config_error_at(errors, 0), "t.conf: the file");
    assert_string_equal(config_error_at(errors, 1), "t.conf:1: earlier?");
    assert_string_equal(config_error_at(errors, 2), "t.conf:2: `workers` is `99`, but must be from 1 to 64");
    assert_string_equal(config_error_at(errors, 3), "t.conf:3: later");
    assert_string_equal(config_error_at(errors, 4), "nowhere");
    assert_null(config_error_at(errors, 5));
    config_errors_free(errors);
    arena_free(arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_messages), cmocka_unit_test(test_order)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
