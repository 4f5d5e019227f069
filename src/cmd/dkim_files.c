#include "base/clock.h"
#include "base/error.h"
#include "cmd/dkim.h"
#include "cmd/privileges.h"
#include "rt/state_file.h"
#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <pwd.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { NAME_MAX_OCTETS = 255, TRIES = 1000 };

static int fails(struct cli *cli, const char *what, const char *path) {
    fprintf(cli->err, "sluice: %s %s: %s\n", what, path, strerror(errno));
    return CLI_NO;
}

static void close_fd(int *fd) {
    if (*fd >= 0)
        close(*fd);
}

static void buf_cleanse(struct buf *b) {
    if (b->at)
        OPENSSL_cleanse(b->at, b->cap);
    buf_free(b);
}

/* ---- the folder ---- */

/* The folders of a first start, for that user. What root owns nobody can change under our hands. */
static int make_folders(struct cli *cli, const char *state, const char *user) {
    const struct passwd *entry = getpwnam(user);
    if (!entry) {
        fprintf(cli->err, "sluice: %s: there is no such user (option user)\n", user);
        return CLI_NO;
    }
    bool made = mkdir(state, 0750) == 0;
    if (!made && errno != EEXIST)
        return fails(cli, "can't make", state);
    int fd __attribute__((cleanup(close_fd))) = open(state, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return fails(cli, "can't open", state);
    if (mkdirat(fd, "keys", 0700) == 0 &&
        fchownat(fd, "keys", entry->pw_uid, entry->pw_gid, AT_SYMLINK_NOFOLLOW) != 0)
        return fails(cli, "can't give away the folder keys in", state);
    if (made && fchown(fd, entry->pw_uid, entry->pw_gid) != 0)
        return fails(cli, "can't give away", state);
    return CLI_DONE;
}

/* Root becomes whoever the daemon runs as, so that what is made is the daemon's, and nothing that its account
 * may have put in its folders leads root elsewhere. The packaged unit needs no `user`: there it is whoever
 * owns `state`. */
static int become(struct cli *cli, const char *state, const char *user) {
    struct stat found;
    bool there = stat(state, &found) == 0;
    const struct passwd *owner = there && found.st_uid ? getpwuid(found.st_uid) : NULL;
    struct str why;
    int bad = CLI_DONE;
    if (owner)
        user = str_c(cli->arena, str_of(owner->pw_name));
    else if (user)
        bad = make_folders(cli, state, user);
    if (!bad && user && privileges_become(user, cli->arena, &why) != 0) {
        fprintf(cli->err, "sluice: %.*s\n", STR_FMT(why));
        bad = CLI_NO;
    }
    return bad;
}

int dkim_folder_open(struct cli *cli, const char *state, const char *user, int *ret_fd) {
    const char *path = str_printf(cli->arena, "%s/keys", state).at;
    if (geteuid() == 0 && become(cli, state, user) != 0)
        return CLI_NO;
    if ((mkdir(state, 0750) != 0 && errno != EEXIST) || (mkdir(path, 0700) != 0 && errno != EEXIST))
        return fails(cli, "can't make", path);
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return fails(cli, "can't open", path);
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        close(fd);
        fprintf(cli->err, "sluice: another `sluice dkim` is at work in %s\n", path);
        return CLI_NO;
    }
    *ret_fd = fd;
    return CLI_DONE;
}

/* ---- keys ---- */

const char *dkim_key_name(struct arena *arena, struct str domain, struct str selector) {
    return str_printf(arena, "%.*s.%.*s.pem", STR_FMT(domain), STR_FMT(selector)).at;
}

struct str dkim_selector_new(struct cli *cli, int folder, struct str domain, enum dkim_algorithm algorithm,
                             const struct str *taken, size_t taken_count) {
    char now[CLOCK_RFC3339_SIZE];
    struct str selector = STR_NULL;
    clock_rfc3339(clock_wall_ms(), now);
    for (int try = 1; try < TRIES; try++) {
        bool used = false;
        selector = str_printf(cli->arena, "%.4s%.2s%.2s%s", now, now + 5, now + 8,
                              algorithm == DKIM_ED25519 ? "e" : "");
        if (try > 1)
            selector = str_printf(cli->arena, "%.*s-%d", STR_FMT(selector), try);
        for (size_t i = 0; i < taken_count; i++)
            used |= str_eq(taken[i], selector);
        if (!used &&
            faccessat(folder, dkim_key_name(cli->arena, domain, selector), F_OK, AT_SYMLINK_NOFOLLOW) != 0)
            break;
    }
    return selector;
}

/* A new file with these bytes, on disk with its name; EEXIST when the name is taken. */
static int write_new(struct cli *cli, int folder, const char *name, struct str bytes) {
    int fd __attribute__((cleanup(close_fd))) =
        openat(folder, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0 && errno == EEXIST) {
        fprintf(cli->err, "sluice: %s is there already; a key is never written over\n", name);
        return CLI_NO;
    }
    if (fd < 0)
        return fails(cli, "can't make", name);
    if (fchmod(fd, 0600) == 0 && state_file_fill(fd, bytes) && fsync(folder) == 0)
        return CLI_DONE;
    fails(cli, "can't write", name);
    unlinkat(folder, name, 0);
    return CLI_NO;
}

int dkim_key_make(struct cli *cli, int folder, const struct dkim_making *m, struct dkim_key **ret_key) {
    struct buf pem __attribute__((cleanup(buf_cleanse))) = {0};
    const char *name = dkim_key_name(cli->arena, m->domain, m->selector);
    struct dkim_key *key = NULL;
    if (strlen(name) > NAME_MAX_OCTETS)
        return cli_usage(cli, "domain and selector are too long for a file's name");
    int error = dkim_key_new(m->algorithm, m->bits, &key);
    if (!error)
        error = dkim_key_pem(key, &pem);
    if (error)
        fprintf(cli->err, "sluice: no key could be made: %s\n", error_text(error));
    if (error || write_new(cli, folder, name, buf_view(&pem)) != 0) {
        dkim_key_free(key);
        return CLI_NO;
    }
    *ret_key = key;
    return CLI_DONE;
}

/* ---- rotations ---- */

int dkim_rotation_save(struct cli *cli, int folder, struct str domain, const struct rotation *rotation) {
    struct buf text __attribute__((cleanup(buf_free))) = {0};
    const char *name = str_printf(cli->arena, "%.*s.rotation", STR_FMT(domain)).at;
    const char *fresh = str_printf(cli->arena, ".%s.new", name).at;
    if (!rotation) {
        if ((unlinkat(folder, name, 0) != 0 && errno != ENOENT) || fsync(folder) != 0)
            return fails(cli, "can't remove", name);
        return CLI_DONE;
    }
    rotation_write(rotation, &text);
    unlinkat(folder, fresh, 0); /* of one that was cut off; the folder is locked */
    int bad = write_new(cli, folder, fresh, buf_view(&text));
    if (bad)
        return bad;
    if (renameat(folder, fresh, folder, name) == 0 && fsync(folder) == 0)
        return CLI_DONE;
    fails(cli, "can't put in place", name);
    unlinkat(folder, fresh, 0);
    return CLI_NO;
}
