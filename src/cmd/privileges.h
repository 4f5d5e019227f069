/* privileges.h - becoming the `user` of the configuration, and what that user must be able to do.
 *
 * All of it concerns the whole process: call it before there are threads.
 */
#pragma once
#include "settings/settings.h"

/* Does this process run as root, with a `user` to become? */
bool privileges_to_drop(const struct settings *);

/* Makes the folders of the state and of the API's socket, for the user when there is one to become. One that
 * is there and belongs to root is handed over when it is ours: named sluice, or (the state) holding nothing
 * but our own. Then becomes the user for good. At last, whoever the process runs as: can it write there? On
 * failure *ret_why (in `arena`) names the user, the path and what to do. 0, DENIED, NOTFOUND, IO. */
[[nodiscard]] int privileges_drop(const struct settings *, struct arena *, struct str *ret_why);

/* Only the last step but one: groups, group, user. */
[[nodiscard]] int privileges_become(const char *user, struct arena *, struct str *ret_why);

/* After that: reads the configuration and all files that it names once more, as a reload will. Every error
 * goes to `errors`, and to *ret_why, what to do about them. 0, INVALID. */
[[nodiscard]] int privileges_reload_check(const char *file, const char *user, struct config_errors *errors,
                                          struct arena *, struct str *ret_why);
