/* str.h - a view of bytes: where they are and how many.
 *
 * A view owns nothing and need not end with a NUL. It must not outlive the
 * memory that it looks at; crossing into another thread, the spool or the trace
 * copies (str_copy).
 */
#pragma once
#include "base/arena.h"
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

struct str {
    const char *at;
    size_t len;
};

#define STR(literal) ((struct str){(literal), sizeof(literal) - 1})
#define STR_NULL ((struct str){NULL, 0})

/* For printf: "%.*s", STR_FMT(s). */
#define STR_FMT(s) (int)(s).len, (s).at ? (s).at : ""

/* A view of a C string; NULL gives the empty view. */
static inline struct str str_of(const char *c) { return (struct str){c, c ? strlen(c) : 0}; }

static inline struct str str_from(const void *at, size_t len) { return (struct str){at, len}; }

static inline bool str_eq(struct str a, struct str b) {
    return a.len == b.len && (a.len == 0 || memcmp(a.at, b.at, a.len) == 0);
}

/* Case-folded in ASCII only, as SMTP and DNS do it. */
bool str_eq_nocase(struct str a, struct str b);
int str_cmp(struct str a, struct str b);
bool str_starts(struct str s, struct str prefix);
bool str_starts_nocase(struct str s, struct str prefix);
bool str_ends(struct str s, struct str suffix);
bool str_ends_nocase(struct str s, struct str suffix);

/* The index of the first `c` (or of `needle`), or -1. */
ptrdiff_t str_index(struct str s, char c);
ptrdiff_t str_rindex(struct str s, char c);
ptrdiff_t str_find(struct str s, struct str needle);
ptrdiff_t str_find_nocase(struct str s, struct str needle);

/* The part from `from` on; past the end it is empty. */
struct str str_from_index(struct str s, size_t from);
/* At most the first `len` bytes. */
struct str str_head(struct str s, size_t len);

/* Without spaces, tabs, CR and LF at both ends. */
struct str str_trim(struct str s);

/* Takes what stands before the first `separator` off the front of *rest, and the separator too.
 * False when *rest was empty (at == NULL): so `while (str_cut(&rest, ',', &part))` sees every part, empty
 * ones too. */
bool str_cut(struct str *rest, char separator, struct str *ret_part);

/* Decimal digits only, all of the view, no overflow. */
bool str_to_u64(struct str s, uint64_t *ret_value);

/* Copies into the arena. str_copy's result is also followed by a NUL byte. */
struct str str_copy(struct arena *, struct str s);
const char *str_c(struct arena *, struct str s);
struct str str_lower(struct arena *, struct str s);
struct str str_printf(struct arena *, const char *format, ...) __attribute__((format(printf, 2, 3)));
struct str str_vprintf(struct arena *, const char *format, va_list) __attribute__((format(printf, 2, 0)));

/* Keyed 64-bit hash (not for secrets); str_hash_nocase folds ASCII case. */
uint64_t str_hash(struct str s, uint64_t seed);
uint64_t str_hash_nocase(struct str s, uint64_t seed);

/* The number of edits (insert, delete, replace, swap) between two short names; for "did you mean". */
size_t str_distance(struct str a, struct str b);

static inline char ascii_lower(char c) { return (char)(c >= 'A' && c <= 'Z' ? c + 32 : c); }
