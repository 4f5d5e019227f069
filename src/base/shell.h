/* shell.h - names in commands that somebody will copy into a shell.
 */
#pragma once
#include "base/arena.h"
#include "base/str.h"

/* One word of a POSIX shell that means just `name`: as it is when nothing in it is special, else in single
 * quotes. A name may be of an attacker's making: "a`reboot`@example.com" is a mail address. In the arena. */
struct str shell_word(struct arena *, struct str name);
