#include "cmocka_setup.h"
#include "tables.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct fixture {
    struct arena *arena;
    struct config_errors *errors;
};

static int setup(void **state) {
    struct fixture *f = xcalloc(1, sizeof *f);
    *f = (struct fixture){arena_new(0), config_errors_new()};
    *state = f;
    return 0;
}

static int teardown(void **state) {
    struct fixture *f = *state;
    arena_free(f->arena);
    config_errors_free(f->errors);
    free(f);
    return 0;
}

static const struct config_node *parse(struct fixture *f, const char *text) {
    const struct config_node *root = config_parse(f->arena, str_of(text), "t.conf", ROOT, f->errors);
    if (config_error_count(f->errors))
        print_error("%s\n", config_error_at(f->errors, 0));
    assert_non_null(root);
    assert_int_equal(config_error_count(f->errors), 0);
    return root;
}

#define assert_str(s, c) assert_true(str_eq((s), str_of(c)))

static void test_defaults(void **state) {
    const struct config_node *root = parse(*state, "");
    assert_null(config_string(root, "node").at);
    assert_int_equal(config_integer(root, "workers"), 2);
    assert_int_equal(config_size(root, "max-size"), 25 << 20);
    assert_int_equal(config_duration_ms(root, "expire"), 86400000);
    assert_true(config_bool(root, "strict"));
    assert_false(config_has(root, "workers"));
    assert_int_equal(config_list(root, "servers").count, 1);
    assert_str(config_list(root, "servers").at[0], "127.0.0.1");
    assert_null(config_section(root, "tls"));
    assert_int_equal(config_integer(config_section_or_empty(root, "tls"), "depth"), 3);
    assert_int_equal(config_sections(root, "pool").count, 0);
    assert_int_equal(config_line(root, "node"), 0);
}

static void test_all(void **state) {
    const struct config_node *root =
        parse(*state, "# first\n"
                      "node = \"mta\\\"01\" workers=8 // second\n"
                      "/* third\n   */ max-size = 10kb strict = no\r\n"
                      "servers = {}\n"
                      "#\n"
                      "expire = 500ms tls { depth = 9 }\n"
                      "pool \"a b\" {\n  addresses = {\"x\", 'y\\'z', 1.2.3.4,}\n"
                      "  colour = BLUE inner {names = http://x:1/a}\n}\n"
                      "pool b { addresses = v4 addresses += {v6} }");
    assert_str(config_string(root, "node"), "mta\"01");
    assert_int_equal(config_integer(root, "workers"), 8);
    assert_int_equal(config_size(root, "max-size"), 10240);
    assert_false(config_bool(root, "strict"));
    assert_true(config_has(root, "servers"));
    assert_int_equal(config_list(root, "servers").count, 0);
    assert_int_equal(config_duration_ms(root, "expire"), 500);
    assert_int_equal(config_line(root, "expire"), 7);
    assert_int_equal(config_integer(config_section(root, "tls"), "depth"), 9);
    struct config_sections pools = config_sections(root, "pool");
    assert_int_equal(pools.count, 2);
    assert_str(config_title(pools.at[0]), "a b");
    struct config_list list = config_list(pools.at[0], "addresses");
    assert_int_equal(list.count, 3);
    assert_str(list.at[0], "x");
    assert_str(list.at[1], "y'z");
    assert_str(list.at[2], "1.2.3.4");
    assert_int_equal(config_enum(pools.at[0], "colour"), 2);
    assert_int_equal(config_enum(pools.at[1], "colour"), 1);
    assert_int_equal(config_line(pools.at[0], "colour"), 10);
    assert_int_equal(config_line(pools.at[0], "class"), 8);
    assert_string_equal(config_file(pools.at[0], "colour"), "t.conf");
    assert_str(config_list(config_section(pools.at[0], "inner"), "names").at[0], "http://x:1/a");
    assert_str(config_title(pools.at[1]), "b");
    assert_int_equal(config_list(pools.at[1], "addresses").count, 2);
}

static void test_environment(void **state) {
    setenv("SLUICE_TEST_NAME", "a b", 1);
    unsetenv("SLUICE_TEST_NONE");
    const struct config_node *root = parse(
        *state, "node = \"<${SLUICE_TEST_NAME}>${SLUICE_TEST_NONE:-x}\\$\" servers = {${SLUICE_TEST_NAME}}");
    assert_str(config_string(root, "node"), "<a b>x$");
    assert_str(config_list(root, "servers").at[0], "a b");
}

static void test_again_after_errors(void **state) {
    static const char *const BAD[] = {"node = \"open", "pool {",           "node = '",
                                      "/* ",           "node = \"\\400\"", "pool a { addresses = {"};
    struct fixture *f = *state;
    for (size_t i = 0; i < COUNT(BAD); i++) {
        struct config_errors *errors = config_errors_new();
        assert_null(config_parse(f->arena, str_of(BAD[i]), "t.conf", ROOT, errors));
        assert_int_equal(config_error_count(errors), 1);
        config_errors_free(errors);
        assert_str(config_string(parse(f, "node = good"), "node"), "good");
    }
}

static void write_file(const char *folder, const char *name, const char *text) {
    char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *out = fopen(path, "w");
    assert_non_null(out);
    fputs(text, out);
    fclose(out);
}

static void remove_file(const char *folder, const char *name) {
    char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    unlink(path);
}

static void test_include(void **state) {
    struct fixture *f = *state;
    char folder[] = "/tmp/sluice-config-XXXXXX", path[256], expected[300];
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/conf.d", folder);
    assert_int_equal(mkdir(path, 0700), 0);
    write_file(folder, "main",
               "workers = 4\ninclude(\"conf.d/one\")\nnode = x\npool p { include('conf.d/two') }\n");
    write_file(folder, "conf.d/one", "include(\"two-root\")\n\nexpire = 1h");
    write_file(folder, "conf.d/two-root", "strict = off");
    write_file(folder, "conf.d/two", "\naddresses = {a}\ncolour = pink");
    snprintf(path, sizeof path, "%s/main", folder);

    const struct config_node *root = config_load(f->arena, path, ROOT, f->errors);
    assert_non_null(root);
    assert_int_equal(config_error_count(f->errors), 1);
    snprintf(expected, sizeof expected, "%s/conf.d/two:3: `colour` is `pink`, but must be red, green or blue",
             folder);
    assert_string_equal(config_error_at(f->errors, 0), expected);
    assert_false(config_bool(root, "strict"));
    assert_int_equal(config_duration_ms(root, "expire"), 3600000);
    assert_int_equal(config_line(root, "node"), 3);
    assert_int_equal(config_line(root, "expire"), 3);

    write_file(folder, "conf.d/one", "pool open {\n");
    struct config_errors *errors = config_errors_new();
    assert_null(config_load(f->arena, path, ROOT, errors));
    snprintf(expected, sizeof expected,
             "%s/conf.d/one:1: section `pool \"open\"` is opened here and not closed at the end of the file",
             folder);
    assert_string_equal(config_error_at(errors, 0), expected);
    config_errors_free(errors);

    write_file(folder, "conf.d/one", "include(\"one\")");
    errors = config_errors_new();
    assert_null(config_load(f->arena, path, ROOT, errors));
    snprintf(expected, sizeof expected, "%s/conf.d/one:1: %s/conf.d/one includes itself", folder, folder);
    assert_string_equal(config_error_at(errors, 0), expected);
    config_errors_free(errors);

    remove_file(folder, "conf.d/one");
    errors = config_errors_new();
    assert_null(config_load(f->arena, path, ROOT, errors));
    snprintf(expected, sizeof expected, "%s:2: can't include %s/conf.d/one: No such file or directory", path,
             folder);
    assert_string_equal(config_error_at(errors, 0), expected);
    config_errors_free(errors);

    remove_file(folder, "conf.d/two");
    remove_file(folder, "conf.d/two-root");
    remove_file(folder, "main");
    snprintf(path, sizeof path, "%s/conf.d", folder);
    rmdir(path);
    rmdir(folder);
}

static void test_unreadable(void **state) {
    struct fixture *f = *state;
    assert_null(config_load(f->arena, "/nonexistent/x.conf", ROOT, f->errors));
    assert_string_equal(config_error_at(f->errors, 0),
                        "/nonexistent/x.conf: can't read it: No such file or directory");
    struct config_errors *errors = config_errors_new();
    assert_null(config_load(f->arena, "/", ROOT, errors));
    assert_string_equal(config_error_at(errors, 0), "/: can't read it: Is a directory");
    config_errors_free(errors);
}

static void test_many_titled(void **state) {
    struct buf b = {0};
    for (int i = 0; i < 2000; i++)
        buf_printf(&b, "pool p%d { addresses = {a%d} }\n", i, i);
    const struct config_node *root = parse(*state, buf_c(&b));
    struct config_sections pools = config_sections(root, "pool");
    assert_int_equal(pools.count, 2000);
    assert_str(config_title(pools.at[1999]), "p1999");
    assert_str(config_list(pools.at[1999], "addresses").at[0], "a1999");
    assert_int_equal(config_line(pools.at[1999], NULL), 2000);
    buf_free(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_defaults, setup, teardown),
        cmocka_unit_test_setup_teardown(test_all, setup, teardown),
        cmocka_unit_test_setup_teardown(test_environment, setup, teardown),
        cmocka_unit_test_setup_teardown(test_again_after_errors, setup, teardown),
        cmocka_unit_test_setup_teardown(test_include, setup, teardown),
        cmocka_unit_test_setup_teardown(test_unreadable, setup, teardown),
        cmocka_unit_test_setup_teardown(test_many_titled, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
