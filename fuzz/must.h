/* What a fuzzer asserts, also where NDEBUG is on. */
#pragma once
#include <stdbool.h>
#include <stdlib.h>

static inline void must(bool condition) {
    if (!condition)
        abort();
}
