/* error.h - programming and system errors, as negative numbers.
 *
 * A function that can fail returns 0 or one of these; the fate of mail is a
 * struct outcome instead (outcome.h). A library function returns an error or
 * logs it, never both.
 */
#pragma once

#define SLUICE_ERRORS(X)                                                                                     \
    X(OK, 0, "no error")                                                                                     \
    X(NOMEM, -1, "out of memory")                                                                            \
    X(IO, -2, "input or output failed")                                                                      \
    X(TIMEOUT, -3, "the deadline passed")                                                                    \
    X(CLOSED, -4, "the other side closed")                                                                   \
    X(CANCELLED, -5, "cancelled")                                                                            \
    X(FULL, -6, "no room left")                                                                              \
    X(SYNTAX, -7, "malformed")                                                                               \
    X(TOOBIG, -8, "over the allowed size")                                                                   \
    X(NOTFOUND, -9, "not found")                                                                             \
    X(DENIED, -10, "not allowed")                                                                            \
    X(EXISTS, -11, "exists already")                                                                         \
    X(CORRUPT, -12, "damaged data")                                                                          \
    X(BUSY, -13, "in use")                                                                                   \
    X(INVALID, -14, "invalid argument")                                                                      \
    X(TLS, -15, "TLS failed")                                                                                \
    X(REFUSED, -16, "connection refused")                                                                    \
    X(UNREACH, -17, "host or network unreachable")                                                           \
    X(BIND, -18, "the local address can't be bound")                                                         \
    X(LIMIT, -19, "a limit is reached")

enum {
#define X(name, value, text) SLUICE_E##name = (value),
    SLUICE_ERRORS(X)
#undef X
};

/* The English text of an error; never NULL. */
const char *error_text(int error);

/* The error that fits an errno value (ENOMEM, ENOSPC, ECONNREFUSED, ...); SLUICE_EIO when none does better.
 */
int error_from_errno(int errno_value);
