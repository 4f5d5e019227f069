#include "base/buf.h"
#include "base/cursor.h"
#include "base/heap.h"
#include "base/map.h"
#include "cmocka_setup.h"
#include <stdio.h>
#include <stdlib.h>

static void test_map(void **state) {
    (void)state;
    struct map *map = map_new(true);
    static int values[1000];
    char key[32];
    for (int i = 0; i < 1000; i++) {
        snprintf(key, sizeof key, "Key%d", i);
        assert_null(map_put(map, str_of(key), &values[i]));
    }
    for (int i = 0; i < 1000; i += 2) {
        snprintf(key, sizeof key, "kEY%d", i);
        assert_ptr_equal(map_remove(map, str_of(key)), &values[i]);
    }
    assert_int_equal(map_count(map), 500);
    for (int i = 0; i < 1000; i++) {
        snprintf(key, sizeof key, "key%d", i);
        assert_ptr_equal(map_get(map, str_of(key)), i % 2 ? &values[i] : NULL);
    }
    size_t at = 0, seen = 0;
    struct str name;
    void *value;
    while (map_next(map, &at, &name, &value))
        seen++;
    assert_int_equal(seen, 500);
    map_free(map);
}

static void test_map_reuses_graves(void **state) {
    (void)state;
    struct map *map = map_new(false);
    int value;
    for (int i = 0; i < 100000; i++) {
        char key[32];
        snprintf(key, sizeof key, "%d", i);
        map_put(map, str_of(key), &value);
        assert_ptr_equal(map_remove(map, str_of(key)), &value);
    }
    assert_int_equal(map_count(map), 0);
    map_free(map);
}

struct item {
    int value;
    struct heap_node node;
};

static void test_heap_sorts(void **state) {
    (void)state;
    enum { N = 2000 };
    struct item *items = calloc(N, sizeof *items);
    struct heap heap = {0};
    srand(1);
    for (int i = 0; i < N; i++) {
        items[i].value = rand() % 500;
        heap_put(&heap, &items[i].node, items[i].value);
    }
    for (int i = 0; i < N; i += 3)
        heap_remove(&heap, &items[i].node);
    for (int i = 1; i < N; i += 3) {
        items[i].value = rand() % 500;
        heap_put(&heap, &items[i].node, items[i].value);
    }
    int last = -1, count = 0;
    for (struct heap_node *node; (node = heap_first(&heap)); count++) {
        struct item *item = heap_owner(node, struct item, node);
        assert_true(item->value >= last);
        last = item->value;
        heap_remove(&heap, node);
    }
    assert_int_equal(count, N - (N + 2) / 3);
    heap_free(&heap);
    free(items);
}

static void test_cursor_sticks(void **state) {
    (void)state;
    struct buf b = {0};
    buf_u8(&b, 1);
    buf_u16(&b, 0x0203);
    buf_u32(&b, 0x04050607);
    buf_u64(&b, 0x08090a0b0c0d0e0fULL);
    buf_str(&b, STR("tail"));
    struct cursor c = cursor_of(buf_view(&b));
    assert_int_equal(cursor_u8(&c), 1);
    assert_int_equal(cursor_u16(&c), 0x0203);
    assert_int_equal(cursor_u32(&c), 0x04050607);
    assert_true(cursor_u64(&c) == 0x08090a0b0c0d0e0fULL);
    assert_true(str_eq(cursor_bytes(&c, 4), STR("tail")));
    assert_true(cursor_ok(&c));
    assert_int_equal(cursor_u8(&c), 0);
    assert_false(cursor_ok(&c));
    c = cursor_of(STR("\x01\x02\x03"));
    assert_int_equal(cursor_be16(&c), 0x0102);
    assert_int_equal(cursor_be32(&c), 0);
    assert_int_equal(cursor_u8(&c), 0);
    assert_false(cursor_ok(&c));
    buf_free(&b);
}

static void test_buf_grows(void **state) {
    (void)state;
    struct buf b = {0};
    for (int i = 0; i < 1000; i++)
        buf_printf(&b, "%04d,", i);
    assert_int_equal(b.len, 5000);
    buf_consume(&b, 4990);
    assert_string_equal(buf_c(&b), "0998,0999,");
    buf_free(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_map),        cmocka_unit_test(test_map_reuses_graves),
        cmocka_unit_test(test_heap_sorts), cmocka_unit_test(test_cursor_sticks),
        cmocka_unit_test(test_buf_grows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
