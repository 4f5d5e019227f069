/* passwd.h - who may log in: Dovecot passwd-files, checked through libxcrypt.
 *
 * A line is user:{SCHEME}hash[:anything]; `#` starts a comment line. Schemes:
 * PLAIN (CLEARTEXT, CLEAR), CRYPT and its forms SHA512-CRYPT, SHA256-CRYPT,
 * BLF-CRYPT, MD5-CRYPT, YESCRYPT, GOST-YESCRYPT, SCRYPT, SHA1-CRYPT,
 * SUNMD5-CRYPT, DES-CRYPT; none is CRYPT.
 * An empty hash, or one that starts with `!` or `*`, lets nobody in.
 * The file is read again when it has changed. All calls but passwd_open may
 * come from several threads at once.
 */
#pragma once
#include "base/str.h"

struct passwd;
struct policy;
struct tenant;

/* Opens and reads `path`; `default_domain` completes bare user names (normalised). On failure *ret_why has
 * "file:line: what", in `arena`. SLUICE_EIO, SLUICE_ESYNTAX. */
[[nodiscard]] int passwd_open(const char *path, struct str default_domain, struct arena *arena,
                              struct str *ret_why, struct passwd **ret);
/* NULL is fine; returns NULL. */
struct passwd *passwd_close(struct passwd *);

/* Blocks (disk, and up to seconds of CPU): call it on an offload thread. `user` is user@domain. 0: right.
 * SLUICE_EDENIED: wrong, or unknown - a hash of the file's cost is computed all the same, so that time does
 * not tell. When the changed file can't be read, the content before the change answers and *ret_why has
 * "file:line: what" for the log, else "". */
[[nodiscard]] int passwd_check(struct passwd *, struct str user, struct str password, struct arena *,
                               struct str *ret_why);

/* Can this user (user@domain) log in? Blocks. */
bool passwd_has(struct passwd *, struct str user, struct arena *);

struct login {
    const struct tenant *tenant;
    struct str user; /* user@domain, wire form, domain normalised; in the arena */
};

/* The login of AUTH: user@domain goes to the tenant that accepts the domain, a bare user to the only tenant
 * with users. Returns as passwd_check; blocks. */
[[nodiscard]] int policy_login(const struct policy *, struct str login, struct str password, struct arena *,
                               struct login *ret, struct str *ret_why);
