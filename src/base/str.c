#include "base/str.h"

#include <stdio.h>

bool str_eq_nocase(struct str a, struct str b) {
    if (a.len != b.len)
        return false;
    for (size_t i = 0; i < a.len; i++)
        if (ascii_lower(a.at[i]) != ascii_lower(b.at[i]))
            return false;
    return true;
}

int str_cmp(struct str a, struct str b) {
    size_t n = a.len < b.len ? a.len : b.len;
    int c = n ? memcmp(a.at, b.at, n) : 0;
    if (c)
        return c;
    return a.len < b.len ? -1 : a.len > b.len;
}

bool str_starts(struct str s, struct str prefix) {
    return s.len >= prefix.len && str_eq(str_head(s, prefix.len), prefix);
}

bool str_starts_nocase(struct str s, struct str prefix) {
    return s.len >= prefix.len && str_eq_nocase(str_head(s, prefix.len), prefix);
}

bool str_ends(struct str s, struct str suffix) {
    return s.len >= suffix.len && str_eq(str_from_index(s, s.len - suffix.len), suffix);
}

bool str_ends_nocase(struct str s, struct str suffix) {
    return s.len >= suffix.len && str_eq_nocase(str_from_index(s, s.len - suffix.len), suffix);
}

ptrdiff_t str_index(struct str s, char c) {
    const char *p = s.len ? memchr(s.at, c, s.len) : NULL;
    return p ? p - s.at : -1;
}

ptrdiff_t str_rindex(struct str s, char c) {
    const char *p = s.len ? memrchr(s.at, c, s.len) : NULL;
    return p ? p - s.at : -1;
}

ptrdiff_t str_find(struct str s, struct str needle) {
    if (needle.len == 0)
        return 0;
    const char *p = s.len ? memmem(s.at, s.len, needle.at, needle.len) : NULL;
    return p ? p - s.at : -1;
}

ptrdiff_t str_find_nocase(struct str s, struct str needle) {
    for (size_t i = 0; i + needle.len <= s.len; i++)
        if (str_eq_nocase(str_from(s.at + i, needle.len), needle))
            return (ptrdiff_t)i;
    return -1;
}

struct str str_from_index(struct str s, size_t from) {
    if (from >= s.len)
        return (struct str){s.at ? s.at + s.len : NULL, 0};
    return (struct str){s.at + from, s.len - from};
}

struct str str_head(struct str s, size_t len) {
    return (struct str){s.at, len < s.len ? len : s.len};
}

static bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

struct str str_trim(struct str s) {
    while (s.len && is_blank(s.at[0]))
        s = str_from_index(s, 1);
    while (s.len && is_blank(s.at[s.len - 1]))
        s.len--;
    return s;
}

bool str_cut(struct str *rest, char separator, struct str *ret_part) {
    if (!rest->at)
        return false;
    ptrdiff_t i = str_index(*rest, separator);
    if (i < 0) {
        *ret_part = *rest;
        *rest = STR_NULL;
        return true;
    }
    *ret_part = str_head(*rest, (size_t)i);
    *rest = str_from_index(*rest, (size_t)i + 1);
    return true;
}

bool str_to_u64(struct str s, uint64_t *ret_value) {
    uint64_t value = 0;
    if (!s.len)
        return false;
    for (size_t i = 0; i < s.len; i++) {
        if (s.at[i] < '0' || s.at[i] > '9')
            return false;
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, (uint64_t)(s.at[i] - '0'), &value))
            return false;
    }
    *ret_value = value;
    return true;
}

struct str str_copy(struct arena *arena, struct str s) {
    char *p = arena_alloc(arena, s.len + 1);
    if (s.len)
        memcpy(p, s.at, s.len);
    return (struct str){p, s.len};
}

const char *str_c(struct arena *arena, struct str s) { return str_copy(arena, s).at; }

struct str str_lower(struct arena *arena, struct str s) {
    char *p = arena_alloc(arena, s.len + 1);
    for (size_t i = 0; i < s.len; i++)
        p[i] = ascii_lower(s.at[i]);
    return (struct str){p, s.len};
}

struct str str_vprintf(struct arena *arena, const char *format, va_list args) {
    va_list again;
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    if (n < 0)
        n = 0;
    char *p = arena_alloc(arena, (size_t)n + 1);
    vsnprintf(p, (size_t)n + 1, format, again);
    va_end(again);
    return (struct str){p, (size_t)n};
}

struct str str_printf(struct arena *arena, const char *format, ...) {
    va_list args;
    va_start(args, format);
    struct str s = str_vprintf(arena, format, args);
    va_end(args);
    return s;
}

/* SipHash-2-4 (Aumasson, Bernstein): who chooses the names but doesn't know the seed finds no two that
 * collide, so neither fills one slot of a map nor takes another sender's count. */
struct sip {
    uint64_t v[4];
};

static uint64_t turned(uint64_t x, unsigned bits) { return x << bits | x >> (64 - bits); }

static void sip_round(struct sip *h) {
    uint64_t *v = h->v;
    v[0] += v[1], v[2] += v[3];
    v[1] = turned(v[1], 13) ^ v[0];
    v[3] = turned(v[3], 16) ^ v[2];
    v[0] = turned(v[0], 32);
    v[2] += v[1], v[0] += v[3];
    v[1] = turned(v[1], 17) ^ v[2];
    v[3] = turned(v[3], 21) ^ v[0];
    v[2] = turned(v[2], 32);
}

static void sip_word(struct sip *h, uint64_t word) {
    h->v[3] ^= word;
    sip_round(h);
    sip_round(h);
    h->v[0] ^= word;
}

static uint64_t sip_hash(struct str s, uint64_t seed, bool fold) {
    uint64_t word = 0, other = seed ^ 0x0808080808080808ULL; /* the second half of the key */
    struct sip h = {{seed ^ 0x736f6d6570736575ULL, other ^ 0x646f72616e646f6dULL,
                     seed ^ 0x6c7967656e657261ULL, other ^ 0x7465646279746573ULL}};
    for (size_t i = 0; i < s.len; i++) {
        uint64_t byte = (unsigned char)(fold ? ascii_lower(s.at[i]) : s.at[i]);
        word |= byte << (i % 8 * 8);
        if (i % 8 == 7) {
            sip_word(&h, word);
            word = 0;
        }
    }
    sip_word(&h, word | (uint64_t)s.len << 56);
    h.v[2] ^= 0xff;
    for (int i = 0; i < 4; i++)
        sip_round(&h);
    return h.v[0] ^ h.v[1] ^ h.v[2] ^ h.v[3];
}

uint64_t str_hash(struct str s, uint64_t seed) { return sip_hash(s, seed, false); }
uint64_t str_hash_nocase(struct str s, uint64_t seed) { return sip_hash(s, seed, true); }

static size_t least(size_t a, size_t b, size_t c) {
    size_t m = a < b ? a : b;
    return m < c ? m : c;
}

size_t str_distance(struct str a, struct str b) {
    enum { LONGEST = 64 };
    if (a.len > LONGEST || b.len > LONGEST)
        return LONGEST;
    size_t d[LONGEST + 1][LONGEST + 1];
    for (size_t i = 0; i <= a.len; i++)
        d[i][0] = i;
    for (size_t j = 0; j <= b.len; j++)
        d[0][j] = j;
    for (size_t i = 1; i <= a.len; i++)
        for (size_t j = 1; j <= b.len; j++) {
            size_t differs = ascii_lower(a.at[i - 1]) != ascii_lower(b.at[j - 1]);
            d[i][j] = least(d[i - 1][j] + 1, d[i][j - 1] + 1, d[i - 1][j - 1] + differs);
            if (i > 1 && j > 1 && a.at[i - 1] == b.at[j - 2] && a.at[i - 2] == b.at[j - 1])
                d[i][j] = least(d[i][j], d[i - 2][j - 2] + 1, d[i][j]);
        }
    return d[a.len][b.len];
}
