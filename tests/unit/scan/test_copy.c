#include "base/buf.h"
#include "base/error.h"
#include "rt_run.h"
#include "scan/copy.h"
#include <dirent.h>
#include <stdlib.h>
#include <unistd.h>

struct copy_case {
    const char *name;
    size_t size, piece;
    size_t held; /* by others */
    bool no_folder, in_file;
};

static const struct copy_case cases[] = {
    {"nothing", 0, 1},
    {"one byte", 1, 1},
    {"just in memory", SCAN_COPY_MEMORY, 4096},
    {"one byte more", SCAN_COPY_MEMORY + 1, 4096, .in_file = true},
    {"five megabytes", 5 << 20, 60000, .in_file = true},
    {"odd pieces", (1 << 20) + 17, 7777, .in_file = true},
    {"one big piece", 3 << 20, 3 << 20, .in_file = true},
    {"no folder", 1 << 20, 60000, .no_folder = true},
    {"the worker's memory is taken", 20000, 4096, .held = SCAN_COPY_WORKER + 1, .in_file = true},
    {"small when it is taken", 10000, 4096, .held = SCAN_COPY_WORKER + 1},
};

static char byte_at(uint64_t i) { return (char)(i * 31 + (i >> 8) + (i >> 16)); }

static size_t files_in(const char *folder) {
    DIR *d = opendir(folder);
    size_t count = 0;
    while (readdir(d))
        count++;
    closedir(d);
    return count - 2;
}

static const char *folder;

static void run_case(void *arg) {
    const struct copy_case *t = arg;
    size_t held = t->held;
    struct scan_copy_place place = {t->no_folder ? NULL : folder, 0, &held};
    struct scan_copy *copy = scan_copy_new(&place);
    struct buf all = {0};
    for (size_t i = 0; i < t->size; i++)
        buf_char(&all, byte_at(i));
    for (size_t at = 0; at < t->size; at += t->piece)
        CHECK(scan_copy_add(copy, str_head(str_from_index(buf_view(&all), at), t->piece)) == 0);
    CHECK(scan_copy_size(copy) == t->size);
    CHECK(scan_copy_in_file(copy) == t->in_file);
    CHECK(files_in(folder) == 0); /* it has no name */
    CHECK(held - t->held < 2 * SCAN_COPY_MEMORY + 2 * t->piece || t->no_folder);
    for (int round = 0; round < 2; round++) {
        uint64_t at = 0;
        struct str chunk;
        while (scan_copy_read(copy, at, &chunk) == 0 && chunk.len) {
            CHECK(chunk.len <= SCAN_COPY_CHUNK);
            CHECK(memcmp(chunk.at, all.at + at, chunk.len) == 0);
            at += chunk.len;
        }
        CHECK(at == t->size);
    }
    scan_copy_free(copy);
    CHECK(held == t->held);
    buf_free(&all);
}

static void comes_back(void **state) {
    (void)state;
    char path[] = "/tmp/sluice-copy.XXXXXX";
    folder = mkdtemp(path);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct copy_case t = cases[i];
        print_message("%s\n", t.name);
        rt_run(1, run_case, &t);
    }
    rmdir(path);
}

static void run_failures(void *arg) {
    (void)arg;
    char *big = calloc(1, SCAN_COPY_MEMORY + 1);
    struct scan_copy_place place = {"/nonexistent/folder", 0, NULL};
    struct scan_copy *copy = scan_copy_new(&place);
    struct str chunk;
    CHECK(scan_copy_add(copy, str_from(big, 1000)) == 0);
    CHECK(scan_copy_add(copy, str_from(big, SCAN_COPY_MEMORY)) == SLUICE_EIO);
    CHECK(scan_copy_add(copy, STR("x")) == SLUICE_EIO); /* it stays */
    CHECK(scan_copy_read(copy, 0, &chunk) == SLUICE_EIO);
    scan_copy_free(copy);
    place = (struct scan_copy_place){folder, UINT64_MAX / 2, NULL}; /* that much is never free */
    copy = scan_copy_new(&place);
    CHECK(scan_copy_add(copy, str_from(big, SCAN_COPY_MEMORY + 1)) == SLUICE_EFULL);
    CHECK(scan_copy_add(copy, STR("x")) == SLUICE_EFULL);
    scan_copy_free(copy);
    free(big);
}

static void failures(void **state) {
    (void)state;
    folder = "/tmp";
    rt_run(1, run_failures, NULL);
    assert_null(scan_copy_free(NULL));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(comes_back), cmocka_unit_test(failures)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
