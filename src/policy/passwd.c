#include "policy/passwd.h"
#include "base/buf.h"
#include "base/error.h"
#include "base/map.h"
#include "mail/address.h"
#include "policy/tenant.h"

#include <crypt.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILE_MAX = 64 << 20 };

struct entry {
    struct str hash;
    bool plain, locked;
};

/* The content of the file at one time. */
struct snapshot {
    struct arena *arena;
    struct map *by_user;       /* user@domain -> struct entry */
    const struct entry *dummy; /* computed for unknown users */
    unsigned references;       /* under the mutex */
};

struct passwd {
    pthread_mutex_t mutex;
    char *path;
    struct str default_domain; /* malloc'd */
    struct snapshot *snapshot;
    struct stat seen; /* of the file, at the last attempt to read it */
    char *problem;    /* of the last attempt; NULL: none */
};

static const struct scheme {
    const char *name, *prefix;
    bool plain;
} schemes[] = {
    {"PLAIN", "", true},
    {"CLEARTEXT", "", true},
    {"CLEAR", "", true},
    {"CRYPT", "", false},
    {"SHA512-CRYPT", "$6$", false},
    {"SHA256-CRYPT", "$5$", false},
    {"BLF-CRYPT", "$2", false},
    {"MD5-CRYPT", "$1$", false},
    {"YESCRYPT", "$y$", false},
    {"SCRYPT", "$7$", false},
    {"GOST-YESCRYPT", "$gy$", false},
    {"SHA1-CRYPT", "$sha1", false},
    {"SUNMD5-CRYPT", "$md5", false},
    {"DES-CRYPT", "", false},
};

static const struct scheme *scheme_find(struct str name) {
    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++)
        if (str_eq_nocase(name, str_of(schemes[i].name)))
            return &schemes[i];
    return NULL;
}

/* ---- reading ---- */

/* The reason why `field` is no password, or NULL. */
static const char *read_password(struct arena *arena, struct str field, struct entry *ret) {
    const struct scheme *scheme = scheme_find(STR("CRYPT"));
    if (field.len && field.at[0] == '{') {
        ptrdiff_t close = str_index(field, '}');
        if (close < 0)
            return "the scheme lacks its closing brace";
        struct str name = str_from(field.at + 1, (size_t)close - 1);
        scheme = scheme_find(name);
        if (!scheme)
            return "the scheme is not known; PLAIN, CRYPT, SHA512-CRYPT, SHA256-CRYPT, BLF-CRYPT, MD5-CRYPT, "
                   "YESCRYPT, SCRYPT, GOST-YESCRYPT, SHA1-CRYPT, SUNMD5-CRYPT and DES-CRYPT are";
        field = str_from_index(field, (size_t)close + 1);
    }
    *ret = (struct entry){.hash = str_copy(arena, field), .plain = scheme->plain};
    ret->locked = !field.len || field.at[0] == '!' || field.at[0] == '*';
    if (ret->locked || scheme->plain)
        return NULL;
    if (!str_starts(field, str_of(scheme->prefix)))
        return "the hash is not of the scheme that stands before it";
    int usable = crypt_checksalt(ret->hash.at);
    if (usable == CRYPT_SALT_INVALID || usable == CRYPT_SALT_METHOD_DISABLED)
        return "the hash is malformed, or of a kind that libcrypt does not know";
    return NULL;
}

/* user@domain of the first field, or the NULL view. */
static struct str read_user(struct arena *arena, struct str field, struct str default_domain) {
    if (str_rindex(field, '@') < 0)
        field = str_printf(arena, "%.*s@%.*s", STR_FMT(field), STR_FMT(default_domain));
    return address_normal(arena, field);
}

static const char *read_line(struct snapshot *s, struct str line, struct str default_domain) {
    struct str rest = line, name, password = STR_NULL;
    if (line.len && line.at[line.len - 1] == '\r')
        rest.len--;
    if (!str_trim(rest).len || rest.at[0] == '#')
        return NULL;
    if (memchr(rest.at, 0, rest.len))
        return "the line has a NUL byte";
    str_cut(&rest, ':', &name);
    if (!rest.at)
        return "a line is user:{SCHEME}hash";
    str_cut(&rest, ':', &password);
    struct str user = read_user(s->arena, name, default_domain);
    if (!user.at)
        return "the user, with the domain, is no mail address";
    struct entry *entry = arena_new_of(s->arena, struct entry);
    const char *wrong = read_password(s->arena, password, entry);
    if (wrong)
        return wrong;
    if (map_get(s->by_user, user))
        return "the user stands here twice";
    map_put(s->by_user, user, entry);
    if (!entry->locked && (!s->dummy || (s->dummy->plain && !entry->plain)))
        s->dummy = entry;
    return NULL;
}

static struct snapshot *snapshot_free(struct snapshot *s) {
    map_free(s->by_user);
    arena_free(s->arena);
    free(s);
    return NULL;
}

static int snapshot_read(const char *path, struct str text, struct str default_domain, struct arena *arena,
                         struct str *ret_why, struct snapshot **ret) {
    struct snapshot *s = xcalloc(1, sizeof *s);
    struct str line;
    s->arena = arena_new(0);
    s->by_user = map_new(true);
    s->references = 1;
    for (int number = 1; str_cut(&text, '\n', &line); number++) {
        const char *wrong = read_line(s, line, default_domain);
        if (!wrong)
            continue;
        *ret_why = str_printf(arena, "%s:%d: %s", path, number, wrong);
        snapshot_free(s);
        return SLUICE_ESYNTAX;
    }
    *ret = s;
    return 0;
}

static int file_read(const char *path, struct buf *out, struct stat *ret_seen) {
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    ssize_t got = 0;
    if (fd < 0)
        return -1;
    bool ok = fstat(fd, ret_seen) == 0;
    if (ok && !S_ISREG(ret_seen->st_mode)) {
        errno = S_ISDIR(ret_seen->st_mode) ? EISDIR : EINVAL;
        ok = false;
    }
    while (ok && out->len <= FILE_MAX) {
        buf_reserve(out, 65536);
        got = read(fd, out->at + out->len, 65536);
        if (got <= 0)
            break;
        out->len += (size_t)got;
    }
    if (out->len > FILE_MAX) {
        errno = EFBIG;
        ok = false;
    }
    int why = errno;
    close(fd);
    errno = why;
    return ok && got >= 0 ? 0 : -1;
}

static int read_all(struct passwd *p, struct arena *arena, struct str *ret_why, struct snapshot **ret) {
    struct buf text = {0};
    struct stat seen = {0};
    int error;
    if (file_read(p->path, &text, &seen) == 0) {
        error = snapshot_read(p->path, buf_view(&text), p->default_domain, arena, ret_why, ret);
    } else {
        *ret_why = str_printf(arena, "%s: can't be read: %s", p->path, strerror(errno));
        error = SLUICE_EIO;
    }
    p->seen = seen;
    if (text.at)
        explicit_bzero(text.at, text.len);
    buf_free(&text);
    return error;
}

int passwd_open(const char *path, struct str default_domain, struct arena *arena, struct str *ret_why,
                struct passwd **ret) {
    struct passwd *p = xcalloc(1, sizeof *p);
    char *domain = xmalloc(default_domain.len + 1);
    memcpy(domain, default_domain.at, default_domain.len);
    pthread_mutex_init(&p->mutex, NULL);
    p->path = strdup(path);
    if (!p->path)
        abort();
    p->default_domain = str_from(domain, default_domain.len);
    int error = read_all(p, arena, ret_why, &p->snapshot);
    if (error)
        passwd_close(p);
    else
        *ret = p;
    return error;
}

struct passwd *passwd_close(struct passwd *p) {
    if (!p)
        return NULL;
    if (p->snapshot)
        snapshot_free(p->snapshot);
    pthread_mutex_destroy(&p->mutex);
    free((char *)p->default_domain.at);
    free(p->path);
    free(p->problem);
    free(p);
    return NULL;
}

/* ---- checking ---- */

static bool changed(const struct stat *a, const struct stat *b) {
    return a->st_ino != b->st_ino || a->st_dev != b->st_dev || a->st_size != b->st_size ||
           a->st_mtim.tv_sec != b->st_mtim.tv_sec || a->st_mtim.tv_nsec != b->st_mtim.tv_nsec ||
           a->st_ctim.tv_sec != b->st_ctim.tv_sec || a->st_ctim.tv_nsec != b->st_ctim.tv_nsec;
}

static void drop(struct passwd *p, struct snapshot *s) {
    pthread_mutex_lock(&p->mutex);
    bool last = --s->references == 0;
    pthread_mutex_unlock(&p->mutex);
    if (last)
        snapshot_free(s);
}

/* The content to answer from; the caller drops it. A damaged new file leaves the old content in use. */
static struct snapshot *current(struct passwd *p, struct arena *arena, struct str *ret_why) {
    struct stat now = {0};
    struct snapshot *fresh = NULL, *old = NULL;
    struct str why = STR_NULL;
    pthread_mutex_lock(&p->mutex);
    bool there = stat(p->path, &now) == 0;
    if (!there || changed(&now, &p->seen)) {
        free(p->problem);
        p->problem = NULL;
        if (read_all(p, arena, &why, &fresh) == 0) {
            old = p->snapshot;
            p->snapshot = fresh;
        } else {
            p->problem = strdup(str_c(arena, why));
        }
    }
    *ret_why = p->problem ? str_copy(arena, str_of(p->problem)) : STR("");
    struct snapshot *s = p->snapshot;
    s->references++;
    bool last = old && --old->references == 0;
    pthread_mutex_unlock(&p->mutex);
    if (last)
        snapshot_free(old);
    return s;
}

/* Takes the same time wherever the difference is. */
static bool same_bytes(const char *a, size_t a_len, const char *b, size_t b_len) {
    unsigned char difference = a_len != b_len;
    for (size_t i = 0; i < a_len && b_len; i++)
        difference |= (unsigned char)(a[i] ^ b[i % b_len]);
    return !difference;
}

static bool matches(const struct entry *entry, struct str password) {
    if (entry->plain)
        return same_bytes(password.at, password.len, entry->hash.at, entry->hash.len) && entry->hash.len;
    if (password.len >= CRYPT_MAX_PASSPHRASE_SIZE || (password.len && memchr(password.at, 0, password.len)))
        return false;
    char phrase[CRYPT_MAX_PASSPHRASE_SIZE] = {0};
    struct crypt_data *work = xcalloc(1, sizeof *work);
    if (password.len)
        memcpy(phrase, password.at, password.len);
    const char *hash = crypt_rn(phrase, entry->hash.at, work, (int)sizeof *work);
    bool same = hash && hash[0] != '*' && same_bytes(hash, strlen(hash), entry->hash.at, entry->hash.len);
    explicit_bzero(phrase, sizeof phrase);
    explicit_bzero(work, sizeof *work);
    free(work);
    return same;
}

int passwd_check(struct passwd *p, struct str user, struct str password, struct arena *arena,
                 struct str *ret_why) {
    struct snapshot *s = current(p, arena, ret_why);
    struct str normal = address_normal(arena, user);
    const struct entry *entry = normal.at ? map_get(s->by_user, normal) : NULL;
    bool usable = entry && !entry->locked;
    bool same = usable ? matches(entry, password) : s->dummy && matches(s->dummy, password);
    drop(p, s);
    return usable && same ? 0 : SLUICE_EDENIED;
}

bool passwd_has(struct passwd *p, struct str user, struct arena *arena) {
    struct str why;
    struct snapshot *s = current(p, arena, &why);
    struct str normal = address_normal(arena, user);
    const struct entry *entry = normal.at ? map_get(s->by_user, normal) : NULL;
    bool usable = entry && !entry->locked;
    drop(p, s);
    return usable;
}

/* The only tenant with users, when `one` is wanted; else the first. */
static const struct tenant *tenant_with_users(const struct policy *policy, bool one) {
    const struct tenant *found = NULL;
    for (size_t i = 0; i < policy->tenant_count; i++) {
        const struct tenant *t = &policy->tenants[i];
        if (!t->users)
            continue;
        if (found)
            return one ? NULL : found;
        found = t;
    }
    return found;
}

int policy_login(const struct policy *policy, struct str login, struct str password, struct arena *arena,
                 struct login *ret, struct str *ret_why) {
    ptrdiff_t at = str_rindex(login, '@');
    const struct tenant *tenant =
        at < 0 ? tenant_with_users(policy, true)
               : policy_tenant_of_domain(policy, str_from_index(login, (size_t)at + 1));
    *ret_why = STR("");
    if (!tenant || !tenant->users) {
        /* Unknown tenant: spend the same time as for a known one. */
        const struct tenant *any = tenant_with_users(policy, false);
        if (any)
            (void)passwd_check(any->users, STR(""), password, arena, ret_why);
        return SLUICE_EDENIED;
    }
    struct str user = read_user(arena, login, tenant->domains[0]);
    int error = passwd_check(tenant->users, user, password, arena, ret_why);
    if (!error)
        *ret = (struct login){tenant, user};
    return error;
}
