/* docs/configuration.md and docs/man/sluice.conf.5 are what the option tables generate. With
 * SLUICE_WRITE_DOCS set, they are written instead. */
#include "cmocka_setup.h"
#include "settings/settings.h"
#include <stdio.h>
#include <stdlib.h>

static void compare(const char *name, struct buf *expected) {
    char path[512];
    struct buf found = {0};
    snprintf(path, sizeof path, "%s/%s", getenv("SLUICE_SOURCE_ROOT"), name);
    FILE *file = fopen(path, getenv("SLUICE_WRITE_DOCS") ? "w+" : "r");
    if (!file)
        fail_msg("%s is missing", path);
    if (getenv("SLUICE_WRITE_DOCS")) {
        fwrite(expected->at, 1, expected->len, file);
        rewind(file);
    }
    for (int c; (c = getc(file)) != EOF;)
        buf_char(&found, (char)c);
    fclose(file);
    if (!str_eq(buf_view(&found), buf_view(expected)))
        fail_msg("%s is not what the option tables say: write it anew (SLUICE_WRITE_DOCS=1, this test)",
                 name);
    buf_free(&found);
    buf_free(expected);
}

static void test_markdown(void **state) {
    struct buf expected = {0};
    (void)state;
    settings_manual(&expected);
    compare("docs/configuration.md", &expected);
}

static void test_man_page(void **state) {
    struct buf expected = {0};
    (void)state;
    settings_man_page(&expected);
    compare("docs/man/sluice.conf.5", &expected);
}

/* A row of the manual is one line, and says something. */
static void check_table(const struct config_option *table) {
    for (; table->kind != CONFIG_END; table++) {
        assert_non_null(table->doc);
        assert_null(strchr(table->doc, '\n'));
        char last = table->doc[strlen(table->doc) - 1];
        assert_true(last == '.' || last == '?');
        for (const struct config_option *other = table + 1; other->kind != CONFIG_END; other++)
            assert_string_not_equal(table->name, other->name);
        if (table->options)
            check_table(table->options);
    }
}

static void test_tables(void **state) {
    (void)state;
    check_table(settings_options);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_tables), cmocka_unit_test(test_markdown),
                                       cmocka_unit_test(test_man_page)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
