#include "cmocka_setup.h"
#include "tables.h"

static void test_markdown(void **state) {
    (void)state;
    struct buf b = {0};
    config_manual_markdown(&b, ROOT);
    assert_string_equal(
        buf_c(&b),
        "| option | takes | default | meaning |\n|---|---|---|---|\n"
        "| `node` | text | the host's name | Name. |\n"
        "| `workers` | number, 1 to 64 | `2` | Threads. Takes effect at the next start. |\n"
        "| `max-size` | size, 1kb to 1gb | `25mb` | Size. |\n"
        "| `expire` | time | `24h` | Time. |\n"
        "| `strict` | on or off | `on` | Flag. |\n"
        "| `later` | text |  | Not yet. Accepted, not active in this version. |\n"
        "| `servers` | list | `127.0.0.1` | Servers. |\n\n"
        "## `tls`\n\nTLS.\n\n| option | takes | default | meaning |\n|---|---|---|---|\n"
        "| `depth` | number, 1 to 9 | `3` | How deep. |\n| `names` | list |  | Names. |\n\n"
        "## `pool \"pool name\"`\n\nA pool.\n\n| option | takes | default | meaning |\n|---|---|---|---|\n"
        "| `class` | text |  | Code. |\n| `addresses` | list |  | Addresses. Required. |\n"
        "| `colour` | red \\| green \\| blue | `green` | A \\| colour. |\n\n"
        "## `pool \"pool name\" / inner`\n\nMore.\n\n| option | takes | default | meaning "
        "|\n|---|---|---|---|\n"
        "| `depth` | number, 1 to 9 | `3` | How deep. |\n| `names` | list |  | Names. |\n\n");
    buf_free(&b);
}

static void test_roff(void **state) {
    static const struct config_option table[] = {
        {"max-size", CONFIG_SIZE, .preset = "25mb", .doc = "A \\ size."},
        {"tls", CONFIG_SECTION, .options = INNER, .doc = ".TLS"},
        {.kind = CONFIG_END},
    };
    (void)state;
    struct buf b = {0};
    config_manual_roff(&b, table);
    assert_string_equal(buf_c(&b), ".TP\n.B max\\-size\nsize. A \\e size. Default: 25mb.\n"
                                   ".SS tls\n\\&.TLS\n"
                                   ".TP\n.B depth\nnumber, 1 to 9. How deep. Default: 3.\n"
                                   ".TP\n.B names\nlist. Names.\n");
    buf_free(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_markdown), cmocka_unit_test(test_roff)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
