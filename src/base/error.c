#include "base/error.h"

#include <errno.h>
#include <stddef.h>

const char *error_text(int error) {
    switch (error) {
#define X(name, value, text)                                                                                 \
    case SLUICE_E##name:                                                                                     \
        return text;
        SLUICE_ERRORS(X)
#undef X
    default:
        return "unknown error";
    }
}

int error_from_errno(int errno_value) {
    static const struct {
        int from, to;
    } table[] = {
        {0, SLUICE_EOK},
        {ENOMEM, SLUICE_ENOMEM},
        {ENOSPC, SLUICE_EFULL},
        {EDQUOT, SLUICE_EFULL},
        {EFBIG, SLUICE_EFULL},
        {ETIMEDOUT, SLUICE_ETIMEOUT},
        {EPIPE, SLUICE_ECLOSED},
        {ECONNRESET, SLUICE_ECLOSED},
        {ECANCELED, SLUICE_ECANCELLED},
        {ENOENT, SLUICE_ENOTFOUND},
        {EACCES, SLUICE_EDENIED},
        {EPERM, SLUICE_EDENIED},
        {EEXIST, SLUICE_EEXISTS},
        {EADDRINUSE, SLUICE_EBUSY},
        {EBUSY, SLUICE_EBUSY},
        {EINVAL, SLUICE_EINVALID},
        {ECONNREFUSED, SLUICE_EREFUSED},
        {EHOSTUNREACH, SLUICE_EUNREACH},
        {ENETUNREACH, SLUICE_EUNREACH},
        {EADDRNOTAVAIL, SLUICE_EBIND},
        {EMFILE, SLUICE_ELIMIT},
        {ENFILE, SLUICE_ELIMIT},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        if (table[i].from == errno_value)
            return table[i].to;
    return SLUICE_EIO;
}
