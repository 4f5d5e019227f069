#include "cmd/privileges.h"

#include "base/error.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

/* What the daemon and the commands keep below `state`; first the folders. */
static const char *const OUR_FOLDERS[] = {"spool", "trace", "keys", "identity", "limits", NULL};
static const char *const OUR_FILES[] = {"watch.json",   "watch.json.new", "patterns",
                                        "patterns.new", "dns-published",  "dns-ranges",
                                        "api.sock",     "lost+found",     NULL};

static void close_fd(int *fd) {
    if (*fd >= 0)
        close(*fd);
}

static void close_folder(DIR **folder) {
    if (*folder)
        closedir(*folder);
}

static bool listed(const char *const *names, const char *name) {
    while (*names && strcmp(*names, name) != 0)
        names++;
    return *names != NULL;
}

bool privileges_to_drop(const struct settings *s) { return s->user && geteuid() == 0; }

static struct str own_name(struct arena *arena) {
    const struct passwd *self = getpwuid(geteuid());
    return self ? str_copy(arena, str_of(self->pw_name)) : str_printf(arena, "%u", (unsigned)geteuid());
}

/* ---- folders, as root ---- */

static bool holds_only_ours(int fd) {
    int copy = dup(fd);
    DIR *folder __attribute__((cleanup(close_folder))) = copy >= 0 ? fdopendir(copy) : NULL;
    if (!folder)
        return false;
    for (const struct dirent *entry; (entry = readdir(folder));) {
        const char *name = entry->d_name;
        if (strcmp(name, ".") != 0 && strcmp(name, "..") != 0 && !listed(OUR_FOLDERS, name) &&
            !listed(OUR_FILES, name))
            return false;
    }
    return true;
}

static bool is_named_ours(const char *path) {
    ptrdiff_t slash = str_rindex(str_of(path), '/');
    return strcmp(path + slash + 1, "sluice") == 0;
}

/* Gives the folder to the user when root owns it. Symbolic links are not followed, and nothing in it changes
 * hands but our own folders: what a user can put there must not become a way to root's files. */
static int hand_over(int fd, const struct passwd *user) {
    struct stat found;
    if (fstat(fd, &found) != 0 || (found.st_uid == 0 && fchown(fd, user->pw_uid, user->pw_gid) != 0))
        return error_from_errno(errno);
    return 0;
}

static int folder_fails(struct arena *arena, struct str *ret_why, const char *path, const char *what) {
    int error = error_from_errno(errno);
    *ret_why = str_printf(arena, "%s: the folder %s: %s", path, what, strerror(errno));
    return error;
}

static int open_folder(int at, const char *name) {
    return openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

/* `user` may be NULL: only made. */
static int make_folder(const char *path, const struct passwd *user, bool state, struct arena *arena,
                       struct str *ret_why) {
    bool made = mkdir(path, 0750) == 0;
    if (!made && errno != EEXIST)
        return folder_fails(arena, ret_why, path, "can't be made");
    if (!user)
        return 0;
    int fd __attribute__((cleanup(close_fd))) = open_folder(AT_FDCWD, path);
    if (fd < 0)
        return errno == ELOOP || errno == ENOTDIR ? 0 : folder_fails(arena, ret_why, path, "can't be opened");
    if (!made && !is_named_ours(path) && !(state && holds_only_ours(fd)))
        return 0; /* an administrator's folder keeps its owner */
    if (hand_over(fd, user) != 0)
        return folder_fails(arena, ret_why, path, "can't be given to the user");
    for (size_t i = 0; state && OUR_FOLDERS[i]; i++) {
        int below __attribute__((cleanup(close_fd))) = open_folder(fd, OUR_FOLDERS[i]);
        if (below >= 0 && hand_over(below, user) != 0)
            return folder_fails(arena, ret_why, path, "can't be given to the user");
    }
    return 0;
}

/* ---- the state, as the user ---- */

static int denied(const char *what, const char *path, const char *top, struct arena *arena,
                  struct str *ret_why) {
    int error = errno; /* the next line may change it */
    struct str user = own_name(arena);
    *ret_why = str_printf(arena, "user %.*s can't %s %s (%s): chown -R %.*s: %s", STR_FMT(user), what, path,
                          strerror(error), STR_FMT(user), top);
    return error_from_errno(error);
}

static int not_writable(const char *path, const char *top, struct arena *arena, struct str *ret_why) {
    return denied("write", path, top, arena, ret_why);
}

static int files_writable(const char *path, const char *top, struct arena *arena, struct str *ret_why) {
    DIR *folder __attribute__((cleanup(close_folder))) = opendir(path);
    if (!folder)
        return errno == ENOENT ? 0 : not_writable(path, top, arena, ret_why);
    if (access(path, W_OK | X_OK) != 0)
        return not_writable(path, top, arena, ret_why);
    for (const struct dirent *entry; (entry = readdir(folder));)
        if (entry->d_name[0] != '.' && faccessat(dirfd(folder), entry->d_name, R_OK | W_OK, 0) != 0 &&
            errno != ENOENT)
            return not_writable(str_printf(arena, "%s/%s", path, entry->d_name).at, top, arena, ret_why);
    return 0;
}

/* What is read at a start and replaced later. */
static int memories_readable(const struct settings *s, struct arena *arena, struct str *ret_why) {
    static const char *const names[] = {"watch.json", "patterns"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const char *path = str_printf(arena, "%s/%s", s->state, names[i]).at;
        if (access(path, R_OK) != 0 && errno != ENOENT)
            return denied("read", path, s->state, arena, ret_why);
    }
    return 0;
}

static int writable(const struct settings *s, const char *socket_folder, struct arena *arena,
                    struct str *ret_why) {
    if (access(s->state, W_OK | X_OK) != 0)
        return not_writable(s->state, s->state, arena, ret_why);
    int error = files_writable(s->spool_dir, s->state, arena, ret_why);
    if (!error)
        error = files_writable(s->trace_dir, s->state, arena, ret_why);
    if (!error)
        error = files_writable(s->limits_dir, s->state, arena, ret_why);
    if (!error)
        error = files_writable(s->identity_dir, s->state, arena, ret_why);
    if (!error)
        error = memories_readable(s, arena, ret_why);
    if (error || access(socket_folder, W_OK | X_OK) == 0)
        return error;
    error = errno;
    struct str user = own_name(arena);
    *ret_why = str_printf(arena,
                          "user %.*s can't make the API's socket in %s (%s): chown %.*s: %s, or set `api { "
                          "socket = ... }` to a folder of its own",
                          STR_FMT(user), socket_folder, strerror(error), STR_FMT(user), socket_folder);
    return error_from_errno(error);
}

/* ---- the user ---- */

int privileges_become(const char *user, struct arena *arena, struct str *ret_why) {
    const struct passwd *entry = getpwnam(user);
    if (!entry) {
        *ret_why = str_printf(arena, "%s: there is no such user (option user)", user);
        return SLUICE_ENOTFOUND;
    }
    uid_t uid = entry->pw_uid;
    if (initgroups(user, entry->pw_gid) != 0 || setgid(entry->pw_gid) != 0 || setuid(uid) != 0) {
        *ret_why = str_printf(arena, "user %s: %s", user, strerror(errno));
        return SLUICE_EDENIED;
    }
    if (uid != 0 && setuid(0) == 0) {
        *ret_why = str_printf(arena, "user %s: privileges could not be dropped", user);
        return SLUICE_EDENIED;
    }
    return 0;
}

int privileges_drop(const struct settings *s, struct arena *arena, struct str *ret_why) {
    const struct passwd *user = NULL;
    struct str socket = str_of(s->api.socket);
    const char *socket_folder = str_c(arena, str_head(socket, (size_t)str_rindex(socket, '/')));
    if (privileges_to_drop(s) && !(user = getpwnam(s->user))) {
        *ret_why = str_printf(arena, "%s: there is no such user (option user)", s->user);
        return SLUICE_ENOTFOUND;
    }
    if (!*socket_folder)
        socket_folder = "/";
    int error = make_folder(s->state, user, true, arena, ret_why);
    if (!error && strcmp(socket_folder, s->state) != 0)
        error = make_folder(socket_folder, user, false, arena, ret_why);
    if (!error && user)
        error = privileges_become(s->user, arena, ret_why);
    return error ? error : writable(s, socket_folder, arena, ret_why);
}

/* Whether addresses can be bound doesn't depend on the user: it isn't asked again. */
int privileges_reload_check(const char *file, const char *user, struct config_errors *errors,
                            struct arena *arena, struct str *ret_why) {
    struct settings *settings = NULL;
    int error = settings_load(file, NULL, errors, &settings);
    settings_unref(settings);
    if (error)
        *ret_why =
            str_printf(arena,
                       "user %s, as whom a reload reads it, must be able to read it too: chgrp %s FILE; "
                       "chmod 640 FILE (and its folder: chmod 750)",
                       user, user);
    return error;
}
