/* The store of deliveries against a plain model. */
#include "cmocka_setup.h"
#include "queue/parts.h"

enum { MESSAGES = 300, STEPS = 200000, EACH_MAX = 8 };

static uint64_t next_random(uint64_t *state) {
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return *state >> 33;
}

static void check(const struct store *store, uint64_t message, struct delivery *const *kept, size_t count) {
    const struct delivery *d = store_first(store, message);
    for (size_t i = 0; i < count; i++, d = store_next(store, d)) {
        assert_ptr_equal(d, kept[i]);
        assert_int_equal(d->message, message);
    }
    assert_null(d);
}

static void test_model(void **state) {
    (void)state;
    static struct delivery *kept[MESSAGES][EACH_MAX];
    static size_t counts[MESSAGES];
    struct store store = {0};
    uint64_t random = 1;
    size_t all = 0;
    for (int step = 0; step < STEPS; step++) {
        size_t m = next_random(&random) % MESSAGES, *count = &counts[m];
        uint64_t message = m * 977 + 1;
        if (*count < EACH_MAX && next_random(&random) % 2) {
            struct delivery *d = store_add(&store, message);
            assert_true(d->next == 0 && d->domain == NULL);
            d->domain = (struct queue_domain *)&store; /* not free */
            kept[m][(*count)++] = d;
            all++;
        } else if (*count) {
            size_t at = next_random(&random) % *count;
            store_remove(&store, kept[m][at]);
            memmove(&kept[m][at], &kept[m][at + 1], (*count - at - 1) * sizeof kept[m][0]);
            (*count)--;
            all--;
        }
        check(&store, message, kept[m], *count);
        assert_int_equal(store.count, all);
    }
    size_t seen = 0;
    for (uint32_t i = 0; i < store.used; i++)
        seen += store_at(&store, i) != NULL;
    assert_int_equal(seen, all);
    store_free(&store);
}

/* What a million waiting recipients cost, with their messages: design, section 5. */
static void test_memory(void **state) {
    (void)state;
    enum { COUNT_OF = 1000000 };
    struct store store = {0};
    for (uint64_t m = 1; m <= COUNT_OF; m++)
        store_add(&store, m);
    size_t bytes = (size_t)store.chunk_count * (STORE_CHUNK * sizeof(struct delivery) + sizeof(void *)) +
                   store.table_cap * sizeof *store.table + COUNT_OF * sizeof(struct heap_node *);
    assert_true(bytes / COUNT_OF <= 82);
    store_free(&store);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_model), cmocka_unit_test(test_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
