#include "auth/srs.h"

#include "base/buf.h"
#include "base/error.h"
#include "mail/address.h"
#include "seeded_bug.h"

#include <openssl/hmac.h>

enum {
    OPEN_HASH = 4,
    MICROSOFT_HASH = 5,
    DIGEST_TEXT = 27, /* base64 of 20 octets, without padding */
    DAY_MS = 86400000,
    DAYS = 1024,
};

static const char base32[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

static const char *const verdict_texts[] = {
#define X(name, text) [SRS_##name] = (text),
    SRS_VERDICTS(X)
#undef X
};

const char *srs_verdict_text(enum srs_verdict verdict) { return verdict_texts[verdict]; }

/* base64url of HMAC-SHA1(secret, lower(text)): PostSRSd, libsrs2 and Mail::SRS agree on it. */
static void digest(struct str secret, struct str text, char out[DIGEST_TEXT]) {
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    struct buf lower __attribute__((cleanup(buf_free))) = {0};
    for (size_t i = 0; i < text.len; i++)
        buf_char(&lower, ascii_lower(text.at[i]));
    unsigned char raw[EVP_MAX_MD_SIZE + 1] = {0};
    HMAC(EVP_sha1(), secret.at, (int)secret.len, (const unsigned char *)buf_c(&lower), lower.len, raw, NULL);
    raw[20] = 0;
    for (size_t i = 0; i < DIGEST_TEXT; i++) {
        size_t bit = i * 6;
        unsigned two = (unsigned)raw[bit / 8] << 8 | raw[bit / 8 + 1];
        out[i] = alphabet[two >> (10 - bit % 8) & 63u];
    }
}

static struct str sign(struct arena *arena, const struct srs_settings *s, struct str text, size_t len) {
    char *out = arena_alloc(arena, DIGEST_TEXT);
    digest(s->secrets[0], text, out);
    for (size_t i = 0; s->alphabet == SRS_BASE64 && i < len; i++)
        out[i] = (char)(out[i] == '-' ? '+' : out[i] == '_' ? '/' : out[i]);
    return str_from(out, len);
}

static char fold(char c) { return (char)(c == '+' ? '-' : c == '/' ? '_' : ascii_lower(c)); }

/* Which secret made `hash`? -1: none. In constant time for one secret. */
static ptrdiff_t verify(const struct srs_settings *s, struct str text, struct str hash, size_t least) {
    if (hash.len < least || hash.len > DIGEST_TEXT)
        return -1;
    for (size_t k = 0; k < s->secret_count; k++) {
        char own[DIGEST_TEXT];
        digest(s->secrets[k], text, own);
        unsigned differ = 0;
        for (size_t i = 0; i < hash.len; i++)
            differ |= (unsigned)(fold(own[i]) ^ fold(hash.at[i]));
#ifdef SLUICE_SEEDED_BUG_SRS_UNCHECKED
        differ = 0;
#endif
        if (!differ)
            return (ptrdiff_t)k;
    }
    return -1;
}

static unsigned day_of(int64_t now_wall_ms) { return (unsigned)(now_wall_ms / DAY_MS % DAYS); }

static struct str stamp(struct arena *arena, int64_t now_wall_ms) {
    unsigned day = day_of(now_wall_ms);
    return str_printf(arena, "%c%c", base32[day / 32], base32[day % 32]);
}

static bool read_stamp(struct str s, unsigned *ret_day) {
    unsigned day = 0;
    for (size_t i = 0; i < s.len; i++) {
        char c = (char)(s.at[i] >= 'a' && s.at[i] <= 'z' ? s.at[i] - 32 : s.at[i]);
        const char *at = c ? strchr(base32, c) : NULL;
        if (!at)
            return false;
        day = day * 32 + (unsigned)(at - base32);
    }
    *ret_day = day;
    return s.len == 2;
}

static bool is_fresh(const struct srs_settings *s, unsigned day, int64_t now_wall_ms) {
    unsigned most = s->max_age_days ? s->max_age_days : SRS_MAX_AGE_DAYS;
    unsigned age = (day_of(now_wall_ms) + DAYS - day) % DAYS;
    return age <= most || age == DAYS - 1; /* the writer's clock may be ahead of midnight */
}

/* "SRS0" or "SRS1" and a separator? */
static bool is_open(struct str local, char which) {
    return local.len > 5 && str_starts_nocase(local, STR("SRS")) && local.at[3] == which &&
           memchr("=+-", local.at[4], 3);
}

static ptrdiff_t microsoft_mark(struct str local) { return str_find_nocase(local, STR("+SRS=")); }

/* What an SRS1 path keeps of a path that is rewritten already: the first forwarder, and that one's SRS0 local
 * part from its separator on. False for anything else, also for what only begins like SRS1. */
static bool read_rewritten(struct str local, struct str domain, struct str *ret_host, struct str *ret_rest) {
    struct str rest = str_from_index(local, 5), hash, host;
    if (is_open(local, '0')) {
        *ret_host = domain;
        *ret_rest = str_from_index(local, 4);
        return true;
    }
    if (!is_open(local, '1') || !str_cut(&rest, '=', &hash) || !str_cut(&rest, '=', &host) || !host.len ||
        rest.len < 2 || !memchr("=+-", rest.at[0], 3))
        return false;
    *ret_host = host;
    *ret_rest = rest;
    return true;
}

static void forward_open(const struct srs_settings *s, struct address from, int64_t now, struct arena *arena,
                         struct srs_rewritten *ret) {
    char separator = s->separator;
    if (!separator)
        separator = '=';
    struct str local = local_plain(arena, from.local), host, rest, hash;
    if (read_rewritten(local, from.domain, &host, &rest)) {
        hash = sign(arena, s, str_printf(arena, "%.*s%.*s", STR_FMT(host), STR_FMT(rest)), OPEN_HASH);
        local =
            str_printf(arena, "SRS1%c%.*s=%.*s=%.*s", separator, STR_FMT(hash), STR_FMT(host), STR_FMT(rest));
        ret->form = SRS_SRS1;
    } else {
        struct str time = stamp(arena, now);
        hash = sign(arena, s,
                    str_printf(arena, "%.*s%.*s%.*s", STR_FMT(time), STR_FMT(from.domain), STR_FMT(local)),
                    OPEN_HASH);
        local = str_printf(arena, "SRS0%c%.*s=%.*s=%.*s=%.*s", separator, STR_FMT(hash), STR_FMT(time),
                           STR_FMT(from.domain), STR_FMT(local));
        ret->form = SRS_SRS0;
    }
    local = local_quoted(arena, local);
    ret->address = str_printf(arena, "%.*s@%.*s", STR_FMT(local), STR_FMT(s->domain));
}

/* What Microsoft's forms sign. A newline keeps it apart from what the open forms sign. */
static struct str microsoft_text(struct arena *arena, struct str time, struct str original, struct str user,
                                 struct str domain) {
    return str_printf(arena, "+SRS\n%.*s\n%.*s\n%.*s\n%.*s", STR_FMT(time), STR_FMT(original), STR_FMT(user),
                      STR_FMT(domain));
}

static void forward_microsoft(const struct srs_settings *s, struct address from, struct address forwarder,
                              int64_t now, struct arena *arena, struct srs_rewritten *ret) {
    struct str time = stamp(arena, now), hash, local;
    struct str user = local_plain(arena, forwarder.local);
    if (user.len && microsoft_mark(user) < 0) {
        struct str original =
            str_printf(arena, "%.*s=%.*s", STR_FMT(from.domain), STR_FMT(local_plain(arena, from.local)));
        hash = sign(arena, s, microsoft_text(arena, time, original, user, forwarder.domain), MICROSOFT_HASH);
        local = str_printf(arena, "%.*s+SRS=%.*s=%.*s=%.*s", STR_FMT(user), STR_FMT(hash), STR_FMT(time),
                           STR_FMT(original));
        local = local_quoted(arena, local);
        if (local.len <= ADDRESS_LOCAL_MAX) {
            ret->form = SRS_USER;
            ret->address = str_printf(arena, "%.*s@%.*s", STR_FMT(local), STR_FMT(forwarder.domain));
            return;
        }
    }
    hash = sign(arena, s, microsoft_text(arena, time, STR(""), STR("bounces"), s->domain), MICROSOFT_HASH);
    ret->form = SRS_BOUNCES;
    ret->address =
        str_printf(arena, "bounces+SRS=%.*s=%.*s@%.*s", STR_FMT(hash), STR_FMT(time), STR_FMT(s->domain));
}

static bool usable(const struct srs_settings *s) {
    for (size_t i = 0; i < s->secret_count; i++)
        if (!s->secrets[i].len || s->secrets[i].len > 1024)
            return false;
    return s->secret_count && s->domain.len && (!s->separator || strchr("=+-", s->separator));
}

int srs_forward(const struct srs_settings *s, struct str sender, struct str forwarder, int64_t now_wall_ms,
                struct arena *arena, struct srs_rewritten *ret) {
    if (!usable(s))
        return SLUICE_EINVALID;
    struct srs_rewritten out = {.address = str_copy(arena, sender), .form = SRS_UNCHANGED};
    struct address from = address_split(sender), by = address_split(forwarder);
    if (sender.len && (!local_plain(arena, from.local).len || !from.domain.len ||
                       str_index(from.domain, '=') >= 0 || (forwarder.len && !by.domain.len)))
        return SLUICE_ESYNTAX;
    bool ours = !sender.len || domain_same(from.domain, s->domain) ||
                (s->style == SRS_STYLE_MICROSOFT && by.domain.len && domain_same(from.domain, by.domain));
    if (!ours && s->style == SRS_STYLE_OPEN)
        forward_open(s, from, now_wall_ms, arena, &out);
    else if (!ours)
        forward_microsoft(s, from, by, now_wall_ms, arena, &out);
    struct address made = address_split(out.address);
    out.fits = made.local.len <= ADDRESS_LOCAL_MAX && out.address.len <= ADDRESS_PATH_MAX - 2;
    *ret = out;
    return 0;
}

static enum srs_verdict reverse_srs0(const struct srs_settings *s, struct str local, int64_t now,
                                     struct arena *arena, struct srs_original *out) {
    struct str rest = str_from_index(local, 5), hash, time, host;
    unsigned day;
    if (!str_cut(&rest, '=', &hash) || !str_cut(&rest, '=', &time) || !str_cut(&rest, '=', &host) ||
        !host.len || !rest.len)
        return SRS_MALFORMED;
    struct str text = str_printf(arena, "%.*s%.*s%.*s", STR_FMT(time), STR_FMT(host), STR_FMT(rest));
    ptrdiff_t secret = verify(s, text, hash, OPEN_HASH);
    if (secret < 0)
        return SRS_FORGED;
    if (!read_stamp(time, &day))
        return SRS_MALFORMED;
    *out = (struct srs_original){.form = SRS_SRS0, .secret = (size_t)secret};
    out->address = str_printf(arena, "%.*s@%.*s", STR_FMT(local_quoted(arena, rest)), STR_FMT(host));
    return is_fresh(s, day, now) ? SRS_GOOD : SRS_EXPIRED;
}

static enum srs_verdict reverse_srs1(const struct srs_settings *s, struct str local, struct arena *arena,
                                     struct srs_original *out) {
    struct str rest = str_from_index(local, 5), hash, host;
    if (!str_cut(&rest, '=', &hash) || !str_cut(&rest, '=', &host) || !host.len || rest.len < 2 ||
        !memchr("=+-", rest.at[0], 3))
        return SRS_MALFORMED;
    ptrdiff_t secret =
        verify(s, str_printf(arena, "%.*s%.*s", STR_FMT(host), STR_FMT(rest)), hash, OPEN_HASH);
    if (secret < 0)
        return SRS_FORGED;
    *out = (struct srs_original){.form = SRS_SRS1, .secret = (size_t)secret};
    struct str first = local_quoted(arena, str_printf(arena, "SRS0%.*s", STR_FMT(rest)));
    out->address = str_printf(arena, "%.*s@%.*s", STR_FMT(first), STR_FMT(host));
    return SRS_GOOD;
}

static enum srs_verdict reverse_microsoft(const struct srs_settings *s, struct str local, struct str domain,
                                          int64_t now, struct arena *arena, struct srs_original *out) {
    ptrdiff_t mark = microsoft_mark(local);
    struct str user = str_head(local, (size_t)mark), rest = str_from_index(local, (size_t)mark + 5), hash,
               time;
    unsigned day;
    if (!user.len || !str_cut(&rest, '=', &hash) || !str_cut(&rest, '=', &time) || !time.len)
        return SRS_MALFORMED;
    struct str original = rest, host = STR(""), name = rest;
    bool bounces = !rest.at && str_eq_nocase(user, STR("bounces"));
    if (!bounces && (!str_cut(&name, '=', &host) || !host.len || !name.len))
        return SRS_MALFORMED;
    ptrdiff_t secret = verify(s, microsoft_text(arena, time, original, user, domain), hash, MICROSOFT_HASH);
    if (secret < 0)
        return SRS_FORGED;
    if (!read_stamp(time, &day))
        return SRS_MALFORMED;
    *out = (struct srs_original){.form = bounces ? SRS_BOUNCES : SRS_USER, .secret = (size_t)secret};
    if (!bounces)
        out->address = str_printf(arena, "%.*s@%.*s", STR_FMT(local_quoted(arena, name)), STR_FMT(host));
    return is_fresh(s, day, now) ? SRS_GOOD : SRS_EXPIRED;
}

enum srs_verdict srs_reverse(const struct srs_settings *s, struct str recipient, int64_t now_wall_ms,
                             struct arena *arena, struct srs_original *ret) {
    struct address to = address_split(recipient);
    struct str local = local_plain(arena, to.local);
    struct srs_original out = {0};
    enum srs_verdict verdict = SRS_OTHER;
    bool open = local.len > 4 && memchr("=+-", local.at[4], 3);
    if (open && str_starts_nocase(local, STR("SRS0")))
        verdict = reverse_srs0(s, local, now_wall_ms, arena, &out);
    else if (open && str_starts_nocase(local, STR("SRS1")))
        verdict = reverse_srs1(s, local, arena, &out);
    else if (microsoft_mark(local) >= 0)
        verdict = reverse_microsoft(s, local, to.domain, now_wall_ms, arena, &out);
    if (verdict == SRS_GOOD)
        *ret = out;
    return verdict;
}
