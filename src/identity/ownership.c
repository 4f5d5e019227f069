#include "identity/ownership.h"
#include "base/error.h"
#include "identity/names.h"
#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    GROUP_OR_OTHERS = 0077,
    HEX_SIZE = 2 * OWNERSHIP_SECRET_SIZE,
    FILE_MAX = HEX_SIZE + 16, /* a line end, and blanks of whoever copied it */
    TOKEN_OCTETS = 20,
    SHOWN_MAX = 60,
};

/* ---- the secret ---- */

static void close_fd(int *fd) {
    if (*fd >= 0)
        close(*fd);
}

static int fails(struct arena *arena, struct str *ret_why, const char *what, const char *path) {
    int error = error_from_errno(errno);
    *ret_why = str_printf(arena, "%s %s: %s", what, path, strerror(errno));
    return errno == ENOENT ? SLUICE_ENOTFOUND : error;
}

static int hex_digit(char c) {
    c = ascii_lower(c);
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool read_hex(struct str text, struct ownership_secret *ret) {
    if (text.len != HEX_SIZE)
        return false;
    for (size_t i = 0; i < OWNERSHIP_SECRET_SIZE; i++) {
        int high = hex_digit(text.at[2 * i]), low = hex_digit(text.at[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        ret->bytes[i] = (unsigned char)(high << 4 | low);
    }
    return true;
}

int ownership_secret_read(const char *path, struct arena *arena, struct str *ret_why,
                          struct ownership_secret *ret) {
    char text[FILE_MAX + 1];
    struct stat file;
    struct ownership_secret secret;
    int fd __attribute__((cleanup(close_fd))) = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &file) != 0)
        return fails(arena, ret_why, "can't read the secret", path);
    if (!S_ISREG(file.st_mode) || file.st_mode & GROUP_OR_OTHERS) {
        *ret_why = str_printf(arena,
                              S_ISREG(file.st_mode)
                                  ? "the secret %s is open to others than its owner (mode %04o): chmod 600 it"
                                  : "the secret %s is no ordinary file",
                              path, file.st_mode & 07777);
        return SLUICE_EDENIED;
    }
    ssize_t len = read(fd, text, sizeof text);
    if (len < 0)
        return fails(arena, ret_why, "can't read the secret", path);
    bool good = len <= FILE_MAX && read_hex(str_trim(str_from(text, (size_t)len)), &secret);
    OPENSSL_cleanse(text, sizeof text);
    if (!good) {
        *ret_why = str_printf(arena, "the secret %s is not %d hexadecimal digits (openssl rand -hex %d)",
                              path, HEX_SIZE, OWNERSHIP_SECRET_SIZE);
        return SLUICE_ESYNTAX;
    }
    *ret = secret;
    OPENSSL_cleanse(&secret, sizeof secret);
    return 0;
}

static struct str folder_of(struct arena *arena, const char *path) {
    ptrdiff_t slash = str_rindex(str_of(path), '/');
    return slash <= 0 ? STR("/") : str_copy(arena, str_head(str_of(path), (size_t)slash));
}

static int sync_folder(const char *folder) {
    int fd __attribute__((cleanup(close_fd))) = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? -1 : fsync(fd);
}

static bool write_secret(int fd) {
    unsigned char bytes[OWNERSHIP_SECRET_SIZE];
    char text[HEX_SIZE + 2];
    if (RAND_priv_bytes(bytes, sizeof bytes) != 1) {
        errno = EIO;
        return false;
    }
    for (size_t i = 0; i < sizeof bytes; i++)
        snprintf(text + 2 * i, 3, "%02x", bytes[i]);
    text[HEX_SIZE] = '\n';
    bool good = write(fd, text, HEX_SIZE + 1) == HEX_SIZE + 1 && fsync(fd) == 0;
    OPENSSL_cleanse(bytes, sizeof bytes), OPENSSL_cleanse(text, sizeof text);
    return good;
}

int ownership_secret_make(const char *path, struct arena *arena, struct str *ret_why,
                          struct ownership_secret *ret) {
    int error = ownership_secret_read(path, arena, ret_why, ret);
    if (error != SLUICE_ENOTFOUND)
        return error;
    const char *folder = folder_of(arena, path).at;
    const char *fresh = str_printf(arena, "%s.%ld.new", path, (long)getpid()).at;
    if (mkdir(folder, 0700) != 0 && errno != EEXIST)
        return fails(arena, ret_why, "can't make", folder);
    unlink(fresh); /* of a process that was cut off and had our number */
    int fd __attribute__((cleanup(close_fd))) =
        open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return fails(arena, ret_why, "can't make", fresh);
    bool good = write_secret(fd) && (link(fresh, path) == 0 || errno == EEXIST);
    error = good ? 0 : fails(arena, ret_why, "can't make the secret", path);
    unlink(fresh);
    if (!error && sync_folder(folder) != 0)
        error = fails(arena, ret_why, "can't make durable", folder);
    return error ? error : ownership_secret_read(path, arena, ret_why, ret);
}

/* ---- the token ---- */

struct str ownership_token(struct arena *arena, const struct ownership_secret *secret, struct str tenant,
                           struct str domain) {
    struct buf text __attribute__((cleanup(buf_free))) = {0}, token __attribute__((cleanup(buf_free))) = {0};
    unsigned char digest[EVP_MAX_MD_SIZE];
    buf_str(&text, tenant);
    buf_char(&text, 0);
    buf_str(&text, domain);
    HMAC(EVP_sha256(), secret->bytes, sizeof secret->bytes, (const unsigned char *)text.at, text.len, digest,
         NULL);
    buf_str(&token, STR("sluice-domain-verification="));
    for (size_t i = 0; i < TOKEN_OCTETS; i++)
        buf_printf(&token, "%02x", digest[i]);
    return str_copy(arena, buf_view(&token));
}

struct str ownership_name(struct arena *arena, struct str domain) {
    return str_printf(arena, OWNERSHIP_LABEL "%.*s", STR_FMT(domain));
}

/* ---- one domain ---- */

const char *ownership_state_text(enum ownership_state state) {
    static const char *const texts[] = {[OWNERSHIP_UNKNOWN] = "unknown",
                                        [OWNERSHIP_UNVERIFIED] = "unverified",
                                        [OWNERSHIP_VERIFIED] = "verified"};
    return texts[state];
}

/* Some forms of DNS providers take the quotes for a part of the text. */
static struct str bare(struct str text) {
    text = str_trim(text);
    bool quoted = text.len > 1 && text.at[0] == '"' && text.at[text.len - 1] == '"';
    return quoted ? str_trim(str_from(text.at + 1, text.len - 2)) : text;
}

static bool has_token(const struct dns_answer *answer, struct str token) {
    for (size_t i = 0; i < answer->count; i++)
        if (str_eq_nocase(bare(answer->records[i].text), token))
            return true;
    return false;
}

/* It may be anything. */
static struct str shown(struct arena *arena, struct str text) {
    struct str copy = str_copy(arena, str_head(text, SHOWN_MAX));
    char *at = (char *)copy.at;
    for (size_t i = 0; i < copy.len; i++)
        if (at[i] < ' ' || at[i] > '~')
            at[i] = '?';
    return copy;
}

enum ownership_finding ownership_ask(struct resolver *resolver, struct str domain, struct str token,
                                     int64_t deadline, struct arena *arena, struct str *ret_why) {
    struct dns_answer answer;
    struct str name = ownership_name(arena, domain);
    resolver_lookup(resolver, name, DNS_TXT, deadline, arena, &answer);
    answer_doubt(&answer);
    if (answer.status == DNS_FAILED) {
        *ret_why = str_printf(arena, "the DNS does not answer for %.*s: %.*s", STR_FMT(name),
                              STR_FMT(answer.why.len ? answer.why : STR("no reason is known")));
        return OWNERSHIP_UNANSWERED;
    }
    if (answer.status == DNS_RECORDS && has_token(&answer, token)) {
        *ret_why = STR("");
        return OWNERSHIP_FOUND;
    }
    if (answer.status == DNS_NONE || !answer.count)
        *ret_why = str_printf(arena, answer.nxdomain ? "there is no %.*s" : "there is no TXT at %.*s",
                              STR_FMT(name));
    else
        *ret_why =
            str_printf(arena, "the TXT at %.*s is not the token: \"%.*s\"%s", STR_FMT(name),
                       STR_FMT(shown(arena, answer.records[0].text)), answer.count > 1 ? ", and others" : "");
    return OWNERSHIP_ABSENT;
}

bool ownership_apply(struct ownership_fact *f, enum ownership_finding finding, struct str why,
                     int64_t grace_ms, int64_t now) {
    enum ownership_state next = f->state;
    f->why = finding == OWNERSHIP_FOUND ? STR("") : why;
    if (finding == OWNERSHIP_UNANSWERED)
        return false;
    f->checked = now;
    if (finding == OWNERSHIP_FOUND) {
        next = OWNERSHIP_VERIFIED;
        f->missing = 0, f->misses = 0;
    } else if (f->state != OWNERSHIP_VERIFIED) {
        next = OWNERSHIP_UNVERIFIED;
    } else {
        f->misses++;
        f->missing = f->missing ? f->missing : now;
        if (now - f->missing >= grace_ms)
            next = OWNERSHIP_UNVERIFIED;
    }
    bool changed = next != f->state;
    if (changed)
        f->state = next, f->since = now;
    return changed;
}
