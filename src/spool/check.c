#include "base/error.h"
#include "spool/inside.h"

#include <errno.h>

int spool_check(const char *dir, const struct spool_io *io,
                void (*damage)(void *arg, const struct spool_damage *),
                void (*waiting)(void *arg, const struct spool_recovered *), void *arg, struct arena *arena,
                struct str *ret_why, struct spool_check_result *ret) {
    struct spool *s = spool_make(&(struct spool_options){.dir = dir, .io = io});
    struct recovery r = {.spool = s, .damage = damage, .waiting = waiting, .arg = arg};
    s->readonly = true;
    int error = spool_lock_dir(s, true, arena, ret_why);
    if (error == SLUICE_ENOTFOUND)
        error = 0; /* a copy without the lock's file */
    if (error == 0)
        error = spool_recover(&r, arena, ret_why);
    if (error == 0 && s->log_count + s->spare_count == 0 && r.damages == 0) {
        *ret_why = str_printf(arena, "spool: there is none in %s", dir);
        error = SLUICE_ENOTFOUND;
    }
    if (error == 0)
        *ret = (struct spool_check_result){.segments = s->log_count + s->spare_count,
                                           .records = r.records,
                                           .messages = r.messages,
                                           .waiting_messages = r.waiting_messages,
                                           .waiting_recipients = r.waiting_recipients,
                                           .damages = r.damages};
    spool_drop(s);
    return error;
}
